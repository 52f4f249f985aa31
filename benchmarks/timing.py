"""Timing: what runs is compiled first, then runs in turn with what it is compared with."""

import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import rnnjax as rx

Row = dict[str, Any]

MIN_ROUNDS, SLOW_ROUND = 5, 10.0  # rounds; seconds, and above them 3 rounds do
SAMPLE = 0.02  # seconds: shorter runs are repeated to fill it, so that a sample is not the clock's noise
MAX_REPEATS = 10


@dataclasses.dataclass
class Contender:
    """One implementation, ready to be timed."""

    variant: str
    run: Callable[[], object]  # once, returning when it is done
    result: Any  # of the first run, in rnnjax's layout, for comparing
    first_call_s: float  # tracing, compiling and the first run
    temp_bytes: int | None = None  # peak temporary memory, by XLA's own analysis of the compiled program
    total_bytes: int | None = None  # the same with arguments and results


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure: rounds until ``budget`` seconds have passed, ``MIN_ROUNDS`` at least, ``rounds`` at most."""

    rounds: int = 15
    budget: float = 3.0


def start() -> None:
    """Do once what the first compilation of a process does, lest the first contender pay for it."""
    cell = rx.Elman(2)
    params, xs = cell.init(jax.random.key(0), 2), jnp.ones((3, 2, 2))
    for method in ("auto", "scan"):
        loss = lambda params, method=method: rx.unroll(cell, params, xs, method=method)[1].sum()
        jax.block_until_ready(jax.jit(jax.grad(loss))(params))


def compiled(variant: str, fn: Callable, *args: Any, limit_bytes: float = float("inf")) -> Contender | Row:
    """``jit(fn)`` of ``args``, compiled from nothing; a row that says why not where it needs too much memory."""
    jax.clear_caches()
    began = time.perf_counter()
    program = jax.jit(fn).lower(*args).compile()
    analysis = program.memory_analysis()
    assert analysis is not None  # None before compilation only
    temp = analysis.temp_size_in_bytes
    total = temp + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    if temp > limit_bytes:
        note = f"not run: {temp / 2**30:.1f} GiB of temporary memory"
        return {"variant": variant, "ms": None, "temp_bytes": temp, "total_bytes": total, "note": note}
    result = jax.block_until_ready(program(*args))
    elapsed = time.perf_counter() - began
    return Contender(variant, lambda: jax.block_until_ready(program(*args)), result, elapsed, temp, total)


def compiled_within_memory(variant: str, fn: Callable, *args: Any) -> Contender:
    """``compiled`` without a limit."""
    contender = compiled(variant, fn, *args)
    assert isinstance(contender, Contender)
    return contender


def in_turn(contenders: Sequence[Contender], effort: Effort) -> list[list[float]]:
    """Seconds of each contender's runs, one sample a round, in an order drawn anew for each round.

    Interleaved, so that what disturbs the machine disturbs all alike; in any order, so that none always follows the
    same other. A short run has one untimed before it: the threads of the library before may still spin, and the
    caches hold its data.
    """
    order = random.Random(0)
    estimates = [_seconds(contender) for contender in contenders]
    samples: list[list[float]] = [[] for _ in contenders]
    min_rounds = min(effort.rounds, MIN_ROUNDS if sum(estimates) < SLOW_ROUND else 3)
    began = time.perf_counter()
    for number in range(effort.rounds):
        if number >= min_rounds and time.perf_counter() - began > effort.budget:
            break
        for index in order.sample(range(len(contenders)), len(contenders)):
            if estimates[index] < 2 * SAMPLE:
                contenders[index].run()
            repeats = min(max(round(SAMPLE / estimates[index]), 1), MAX_REPEATS)
            samples[index].append(_seconds(contenders[index], repeats))
    return samples


def _seconds(contender: Contender, repeats: int = 1) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        contender.run()
    return (time.perf_counter() - began) / repeats


def measure(labels: Row, contenders: Sequence[Contender], effort: Effort) -> list[Row]:
    """One row for each contender: ``labels``, its times, and the medians of all it ran ``together`` with.

    Ratios are taken within ``together``, never between rows: these may be of different runs.
    """
    samples = [[1000 * second for second in seconds] for seconds in in_turn(contenders, effort)]
    together = {c.variant: round(statistics.median(ms), 4) for c, ms in zip(contenders, samples, strict=True)}
    rows = []
    for contender, ms in zip(contenders, samples, strict=True):
        low, _, high = statistics.quantiles(ms, n=4, method="inclusive") if len(ms) > 1 else (ms[0],) * 3
        rows.append(
            labels
            | {
                "variant": contender.variant,
                "ms": together[contender.variant],
                "ms_quartiles": [round(low, 4), round(high, 4)],
                "rounds": len(ms),
                "first_call_s": round(contender.first_call_s, 4),
                "temp_bytes": contender.temp_bytes,
                "total_bytes": contender.total_bytes,
                "together": together,
            }
        )
    return rows
