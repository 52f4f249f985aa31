"""More devices on a CPU, which must be asked for before JAX starts."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import jax

from rnnjax import _checks


def use_host_devices(num_devices: int | None = None) -> int:
    """Ask for several devices on the CPU, so that a sweep uses all cores; call it before any JAX operation.

    A small model keeps one core busy, a device runs one program at a time, and a CPU is one device unless JAX is told
    otherwise before it starts. Later it is too late: a warning says so, and sweeps run on the devices there are.

    Args:
      num_devices: how many; None: one for each core of this process.

    Returns:
      How many there are now.

    Raises:
      ValueError: not a positive integer.

    >>> import rnnjax as rx
    >>> count = rx.sweep.use_host_devices()                                                       # doctest: +SKIP
    """
    if num_devices is not None:
        _checks.positive_int("use_host_devices", "num_devices", num_devices)
    wanted = num_devices or _num_cores()
    try:
        jax.config.update("jax_num_cpu_devices", wanted)
    except RuntimeError:
        found = jax.local_device_count("cpu")
        if found != wanted:
            warnings.warn(
                f"use_host_devices: JAX has started with {found} host devices, so {wanted} cannot be had any more;"
                " sweeps run on those there are (call this first, before any JAX operation)",
                stacklevel=2,
            )
        return found
    return wanted


def hint_at_host_devices(num_members: int, devices: Sequence[Any]) -> None:
    """Say that more devices are to be had, where a sweep of many members has one device of a CPU of many cores."""
    if num_members > 1 and len(devices) == 1 and devices[0].platform == "cpu" and _num_cores() > 1:
        warnings.warn(
            f"run: JAX has one host device, this machine {_num_cores()} cores: rx.sweep.use_host_devices() at the start"
            " of the program, before any JAX operation, makes a device of each",
            stacklevel=3,
        )


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
