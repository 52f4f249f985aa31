"""Which way members run, and how many at a time: by a memory limit and a short measurement."""

import dataclasses
import math
import os
import time
from collections.abc import Sequence
from typing import Any

import jax

from rnnjax.sweep.job import Job
from rnnjax.sweep.program import WAYS, Devices, Place

WORTHWHILE = 5  # the other way is tried where the run would take so many times as long as trying it


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the members of a group run."""

    place: Place
    size: int  # members at a time, a multiple of the number of devices
    num_bytes: int  # that they take, by XLA's account of the compiled programs

    def parts(self, count: int) -> list[list[int]]:
        """The numbers of the members that run together."""
        return [list(range(begin, min(begin + self.size, count))) for begin in range(0, count, self.size)]

    def filled(self, numbers: list[int]) -> list[int]:
        """A part as large as the others: the last member is there several times."""
        return numbers + numbers[-1:] * (self.size - len(numbers))

    def __str__(self) -> str:
        return f"{self.size} at a time by {self.place}, {_gib(self.num_bytes)}"


def make_plan(job: Job, batches: Any, num_rows: int, ways: Sequence[str], devices: Devices, limit: float) -> Plan:
    """The faster one of ``ways``, within the limit.

    Args:
      job: the group.
      batches: those of the first row.
      num_rows: how many rows there will be.
      ways: the first is taken where trying the others would not pay.
      devices: to split members over.
      limit: bytes.
    """
    devices = devices[: len(job.group)]
    began = time.perf_counter()
    plan = _fit(job, batches, Place(ways[0], devices), limit)
    for way in ways[1:]:
        seconds = _seconds(job, batches, plan)
        if seconds * num_rows < WORTHWHILE * (time.perf_counter() - began):
            break
        other = _fit(job, batches, Place(way, devices), limit)
        if _seconds(job, batches, other) < seconds:
            plan = other
    return plan


def usual_ways(devices: Devices) -> tuple[str, ...]:
    """All ways, the likelier one first: on a CPU one small model fits the cache, an accelerator is idle with one."""
    return WAYS if devices[0].platform == "cpu" else WAYS[::-1]


def default_limit(devices: Devices) -> float:
    """Half of the machine's memory, or of that of its accelerators."""
    if devices[0].platform == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2
    return sum((device.memory_stats() or {}).get("bytes_limit", float("inf")) for device in devices) / 2


def _fit(job: Job, batches: Any, place: Place, limit: float) -> Plan:
    """As many members at a time as the limit allows, in parts of the same size."""
    count, few = len(job.group), len(place.devices)
    batches = place.copy(batches)

    def plan(num_parts: int) -> Plan:
        size = -(-count // (num_parts * few)) * few
        return Plan(place, size, job.num_bytes(batches, place, size))

    whole = plan(1)
    if whole.num_bytes <= limit:
        return whole
    least = plan(count)
    if least.num_bytes > limit:
        raise ValueError(
            f"run: {few} members at a time, one on each device, take {_gib(least.num_bytes)}, above"
            f" memory_limit={_gib(limit)}"
        )
    each = (whole.num_bytes - least.num_bytes) / (whole.size - least.size)
    fewest = math.ceil(count / (least.size + (limit - least.num_bytes) / each))
    return next(fits for num_parts in range(fewest, count + 1) if (fits := plan(num_parts)).num_bytes <= limit)


def _seconds(job: Job, batches: Any, plan: Plan) -> float:
    """Of one row of all members, by that of the first part, on states of their own."""
    parts, batches = plan.parts(len(job.group)), plan.place.copy(batches)
    states = jax.block_until_ready(plan.place.split(job.start(plan.filled(parts[0]))))
    began = time.perf_counter()
    jax.block_until_ready(job.advance(states, batches, plan.place))
    return (time.perf_counter() - began) * len(parts)


def _gib(num_bytes: float) -> str:
    if num_bytes < 2**20:
        return f"{num_bytes:,.0f} bytes"
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**27 else f"{num_bytes / 2**20:.2f} MiB"
