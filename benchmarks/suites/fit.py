"""What `rx.train.fit` adds to its step: 200 steps of about 5 ms by it, and by a loop over the jitted step alone."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

import rnnjax as rx
from benchmarks.agreement import check_same
from benchmarks.sizes import Size, draw
from benchmarks.suites import Options, labels
from benchmarks.timing import Contender, Effort, Row, measure

SIZE = Size(100, 16, 32, 64)
STEPS = 200  # of a run: the start of fit, some 7 ms, is a run's, not a step's
OURS, BARE = "fit", "bare step"
LONGER = 20  # times as other suites: it is about 3 in 100, and machines are noisier than that


def loss_fn(params, carry, xs, key):
    """The sum of squares of an LSTM's outputs."""
    return jnp.square(rx.unroll(rx.LSTM(SIZE.H), params, xs)[1]).mean(), (carry, {})


def run(options: Options) -> Iterator[list[Row]]:
    """Rows of both; no metrics are looked at by the loop, and all of them by fit."""
    params, xs = draw(rx.LSTM(SIZE.H), SIZE, STEPS)
    params = jax.tree.map(lambda leaf: leaf[0], params)
    optimizer, batches = optax.adam(1e-3), list(xs)
    step = rx.train.make_step(loss_fn, optimizer)
    start = rx.train.init_state(params, optimizer)
    jitted = jax.jit(step, donate_argnums=0)

    def bare() -> Any:
        state = jax.tree.map(jnp.copy, start)
        for batch in batches:
            state, _ = jitted(state, batch)
        return jax.block_until_ready(state.params)

    def fit() -> Any:
        return jax.block_until_ready(rx.train.fit(step, start, batches, num_epochs=1).state.params)

    contenders = [_contender(OURS, fit), _contender(BARE, bare)]
    check_same("fit", "training", contenders[0].result, contenders[1].result)
    effort = Effort(3 * options.effort.rounds, LONGER * options.effort.budget)
    yield measure(labels("fit", "LSTM", SIZE, "training"), contenders, effort)


def _contender(variant: str, run: Callable[[], Any]) -> Contender:
    began = time.perf_counter()
    result = run()
    return Contender(variant, run, result, time.perf_counter() - began)
