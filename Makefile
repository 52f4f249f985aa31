# Every target does its own set-up first (.ci/setup): a virtual environment in .venv, pinned by constraints/.
#   PYTHON=python3.13   the Python to make it with; else the first of python3, python3.14 ... python3.11 that will do
#   TEXT=FILE           the text that `make demo` learns from; else Python's own library
#   ARGS="..."          further options of the demo or of pytest: make demo ARGS="--cell gru", make test ARGS="-k lstm"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo examples test test-all test-peers test-newest test-kills bench bench-all constraints clean

export PYTHON TEXT
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

python := .venv/bin/python
# Not `-n auto`: that counts physical cores, which is one on many machines with two logical ones.
pytest := -m pytest -n logical --maxprocesses 8 --dist worksteal

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## train a character language model and let it write (TEXT=FILE, ARGS="--steps 500")
	@sh .ci/setup examples
	@$(python) examples/char_lm.py --out out/demo $${TEXT:+--text "$$TEXT"} $(ARGS)

examples: ## run all examples, and rewrite the table in examples/README.md (most of an hour; ARGS="digits music": some)
	@sh .ci/setup examples
	@$(python) examples/run_all.py $(ARGS)

test: ## ruff, pyright, tests, doctests and the README's code
	@sh .ci/setup test
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m pyright
	$(python) $(pytest) $(ARGS)

test-all: ## the tests with every combination of cell, method and transform
	@sh .ci/setup test
	$(python) $(pytest) --all $(ARGS)

test-peers: ## compare with torch, keras, haiku and equinox (installs them)
	@sh .ci/setup peers
	$(python) $(pytest) tests/peers $(ARGS)

test-newest: ## the tests with the newest jax, where a Python 3.12 is found
	@sh .ci/setup newest
	@test ! -x .venv-newest/bin/python || .venv-newest/bin/python $(pytest) $(ARGS)

test-kills: ## kill a training run at 200 random moments: none may be lost, or come out different
	@sh .ci/setup test
	$(python) tests/kill_and_resume.py --kills 200 $(ARGS)

bench: ## measure against plain scan, flax linen and torch (installs the peers; under 10 minutes)
	@sh .ci/setup peers
	$(python) -m benchmarks --suite peers user long linear population --lengths 1000 10000 $(ARGS)

bench-all: ## also fit, sweeps, the Flax modules, flax NNX, haiku, equinox, keras, and T = 100,000
	@sh .ci/setup peers
	$(python) -m benchmarks --peers all $(ARGS)

constraints: ## renew the pins in constraints/ (needs uv); torch stays at 2.13.0, without its CUDA packages
	for v in 3.11 3.12 3.13 3.14; do \
	  printf 'setuptools>=77\ntorch==2.13.0\n' | uv pip compile --quiet --no-header --no-annotate --python-version $$v \
	    --extra test --extra peers pyproject.toml - >constraints/new && \
	  grep -vE '^(cuda|nvidia|triton)' constraints/new >constraints/py$$v.txt && rm constraints/new || exit 1; \
	done

clean: ## remove the set-ups and caches; what the demo wrote under out/ stays
	rm -rf .venv .venv-newest .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
