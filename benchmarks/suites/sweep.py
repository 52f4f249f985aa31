"""A whole sweep, ``rx.sweep.run``, against the best Python loop: one jitted step, member after member.

Runs in a process of its own, on two host devices: see ``apart``. Times are of all steps, of starting
the members and of fetching their metrics and states; compiling is apart. ``NUM_STEPS`` is a tenth of a real sweep:
only the start, which both sides have, weighs less there.
"""

import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import rnnjax as rx
from benchmarks.agreement import check_same
from benchmarks.sizes import Size
from benchmarks.suites import Options, labels
from benchmarks.suites.population import ONE_BY_ONE
from benchmarks.timing import Contender, Row, measure

SIZE = Size(100, 8, 32, 32)
SETTINGS = rx.sweep.grid(lr=np.logspace(-4, -2, 8))
NUM_SEEDS, NUM_STEPS, EVERY = 8, 50, 10
MANY, LIMIT, LIMITED = 512, 2 * 2**30, "sweep under 2 GiB"  # members, bytes
BATCHES = [np.random.default_rng(n).normal(size=(SIZE.T, SIZE.B, SIZE.I)).astype(np.float32) for n in range(NUM_STEPS)]
cell, adam = rx.LSTM(SIZE.H), optax.inject_hyperparams(optax.adam)


def init(hparams, key):
    """An LSTM and its optimiser, whose learning rate is in its state."""
    return rx.train.init_state(cell.init(key, SIZE.I), adam(hparams["lr"]))


def loss_fn(params, carry, batch, key):
    """The sum of squares of the outputs."""
    return jnp.square(rx.unroll(cell, params, batch)[1]).sum(), (carry, {})


step = rx.train.make_step(loss_fn, adam(0.0))


def run(options: Options) -> Iterator[list[Row]]:
    """What many members take under a limit; then the times of few."""
    yield [_many()]
    contenders = [_contender(ONE_BY_ONE, one_by_one)]
    for way in ("map", "vmap"):
        contenders.append(_contender(f"sweep, {way}", lambda way=way: sweep(way)))
        check_same(f"sweep, {way}", "training", contenders[-1].result, contenders[0].result)
    yield measure(_labels(len(SETTINGS) * NUM_SEEDS), contenders, options.effort)


def sweep(way: str) -> Any:
    """The params of all members, in one program."""
    options = {"num_steps": NUM_STEPS, "seeds": range(NUM_SEEDS), "every": EVERY, "way": way}
    results = rx.sweep.run(init, step, SETTINGS, BATCHES, **options)
    return [results[number].state.params for number in range(len(results))]


def one_by_one() -> Any:
    """The same, member after member; each step is dispatched without waiting for the one before."""
    batches, params = jax.device_put(BATCHES), []
    for hparams in SETTINGS:
        for seed in range(NUM_SEEDS):
            state = _start(hparams, jax.random.key(seed))
            for batch in batches:
                state, _ = _step(state, batch)
            params.append(state.params)
    return jax.block_until_ready(params)


_start, _step = jax.jit(init), jax.jit(step, donate_argnums=0)


def _many() -> Row:
    """The most memory that this process had at any time, after a row of steps of many members at once."""
    settings = rx.sweep.grid(lr=np.logspace(-4, -2, MANY // NUM_SEEDS))
    options = {"num_steps": EVERY, "seeds": range(NUM_SEEDS), "way": "vmap", "memory_limit": LIMIT}
    began = time.perf_counter()
    [plan] = rx.sweep.run(init, step, settings, BATCHES, **options).plans
    elapsed = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return _labels(MANY) | {
        "variant": LIMITED,
        "ms": round(1000 * elapsed, 4),
        "first_call_s": round(elapsed, 4),
        "at_a_time": plan.size,
        "total_bytes": plan.num_bytes,
        "peak_bytes": peak,
    }


def _labels(members: int) -> Row:
    return labels("sweep", "LSTM", SIZE, "training") | {"models": members}


def _contender(variant: str, run: Any) -> Contender:
    jax.clear_caches()
    began = time.perf_counter()
    result = run()
    return Contender(variant, run, result, time.perf_counter() - began)
