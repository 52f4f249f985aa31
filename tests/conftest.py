"""Float64 for all tests, so that tolerances can be tight; two host devices; `--all` for the full product."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
import pytest

jax.config.update("jax_enable_x64", True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all`: every cell with every variant of every law."""
    parser.addoption("--all", action="store_true", help="the full product of cells, methods and laws")
