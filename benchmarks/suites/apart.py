"""Suites on two host devices: their number is fixed when JAX starts, so each runs in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence

NAMES = ("population", "sweep")
NUM_DEVICES = 2
VARIABLE = "JAX_NUM_CPU_DEVICES"  # read by JAX when it starts


def is_apart() -> bool:
    """Whether this process was started for such a suite."""
    return os.environ.get(VARIABLE) == str(NUM_DEVICES)


def run_apart(name: str, argv: Sequence[str]) -> int:
    """``python -m benchmarks --suite NAME`` with two host devices; its exit status."""
    command = [sys.executable, "-m", "benchmarks", *argv, "--suite", name]
    return subprocess.run(command, check=False, env=os.environ | {VARIABLE: str(NUM_DEVICES)}).returncode
