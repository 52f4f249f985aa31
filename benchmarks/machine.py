"""The machine and the versions that rows were measured with."""

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("rnnjax", "jax", "jaxlib", "flax", "dm-haiku", "equinox", "keras", "torch", "numpy")


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_float32() -> None:
    """Float32 for every library: on a GPU JAX would multiply in 19 bits (TF32), and so would cuDNN."""
    if jax.default_backend() != "cpu":
        jax.config.update("jax_default_matmul_precision", "float32")
    jax.config.update("jax_enable_compilation_cache", False)  # first calls are measured


def describe() -> dict[str, Any]:
    """Machine, versions and date, as a run stores them."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "device": jax.devices()[0].device_kind if jax.default_backend() != "cpu" else "cpu",
            "cpu": _cpu_model(),
            "cores": num_cores(),
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,  # before measuring
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
