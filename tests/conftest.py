"""Float64 for all tests, so that tolerances can be tight; two host devices; `--all` for the full product."""

from collections.abc import Sequence

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all`: every cell with every variant of every law."""
    parser.addoption("--all", action="store_true", help="the full product of cells, methods and laws")


def full(*values: object) -> object:
    """A parameter set that only `--all` runs: `@pytest.mark.parametrize("seed", [0, full(1), full(2)])`."""
    return pytest.param(*values, marks=pytest.mark.full)


def every(step: int, entries: Sequence, start: int) -> list:
    """Every ``step``-th entry from ``start``, the others with `--all`; laws start apart, so each entry has some."""
    return [entry if index % step == start else full(entry) for index, entry in enumerate(entries)]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: a variant that only --all runs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--all`, leave out what is marked `full`."""
    if not config.getoption("--all"):
        full = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if not item.get_closest_marker("full")]
