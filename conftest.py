"""Doctests run as a reader runs them: in 32 bits, whatever the tests beside them have set."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def _doctests_in_32_bits(request: pytest.FixtureRequest) -> Iterator[None]:
    if isinstance(request.node, pytest.DoctestItem):
        with jax.enable_x64(False):
            yield
    else:
        yield
