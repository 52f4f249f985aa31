"""One program for all laws."""

from collections.abc import Callable

import jax
import pytest

from tests.laws.compare import unroll_with_gradients
from tests.registry import Entry


@pytest.fixture(scope="session")
def unrolled() -> Callable:
    """`unrolled(entry)` is `unroll_with_gradients(entry)`, compiled: one program for all laws."""
    programs = {}

    def program(entry: Entry) -> Callable:
        if entry.name not in programs:
            programs[entry.name] = jax.jit(unroll_with_gradients(entry))
        return programs[entry.name]

    return program
