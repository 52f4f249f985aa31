"""Law tests run many small programs once: compiling fast matters, compiling well does not."""

from collections.abc import Callable, Iterator
from functools import partial

import jax
import pytest

from tests.laws.compare import unroll_with_gradients
from tests.registry import Entry

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


@pytest.fixture(autouse=True)
def less_optimised(request: pytest.FixtureRequest) -> Iterator[None]:
    """What runs outside of `jit` compiles faster too; `--all` leaves it."""
    jax.config.update("jax_disable_most_optimizations", not request.config.getoption("--all"))
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def jit(request: pytest.FixtureRequest) -> Callable:
    """`jax.jit` without XLA's costly optimisations, a third of the time to compile; `--all` keeps them."""
    if request.config.getoption("--all"):
        return jax.jit
    return partial(jax.jit, compiler_options={name: value for name, value in QUICK.items() if _known(name, value)})


def _known(name: str, value: object) -> bool:
    """Whether this release of XLA has the option."""
    try:
        jax.jit(lambda: 0, compiler_options={name: value})()
    except Exception:
        return False
    return True


@pytest.fixture(scope="session")
def unrolled(jit: Callable) -> Callable:
    """`unrolled(entry)` is `unroll_with_gradients(entry)`, compiled: one program for all laws."""
    programs = {}

    def program(entry: Entry) -> Callable:
        if entry.name not in programs:
            programs[entry.name] = jit(unroll_with_gradients(entry))
        return programs[entry.name]

    return program
