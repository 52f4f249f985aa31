"""Float64 for all tests, so that tolerances can be tight; two host devices; `--all` for the full product.

Tests run many small programs once: compiling them fast matters, compiling them well does not. `--all` compiles as users
do.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
KNOWN = """
import json, sys, jax
for name, value in json.loads(sys.argv[1]).items():
    try:
        jax.jit(lambda: 0, compiler_options={name: value})()
        print(f"--{name}={str(value).lower()}")
    except Exception:
        pass
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all`: every cell with every variant of every law."""
    parser.addoption("--all", action="store_true", help="the full product of cells, methods and laws")


def full(*values: object) -> object:
    """A parameter set that only `--all` runs: `@pytest.mark.parametrize("seed", [0, full(1), full(2)])`."""
    return pytest.param(*values, marks=pytest.mark.full)


def every(step: int, entries: Sequence, start: int) -> list:
    """Every ``step``-th entry from ``start``, the others with `--all`; laws start apart, so each entry has some."""
    rows = [entry if type(entry) is tuple else (entry,) for entry in entries]
    return [pytest.param(*row) if index % step == start else full(*row) for index, row in enumerate(rows)]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: a variant that only --all runs")
    if not config.getoption("--all") and "XLA_FLAGS" not in os.environ:  # workers and children get those of the parent
        known = subprocess.run(
            [sys.executable, "-c", KNOWN, json.dumps(QUICK)], capture_output=True, text=True, check=True
        )
        os.environ["XLA_FLAGS"] = " ".join(known.stdout.split())  # XLA would stop at one that it does not know


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--all`, leave out what is marked `full`."""
    if not config.getoption("--all"):
        full = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if not item.get_closest_marker("full")]
