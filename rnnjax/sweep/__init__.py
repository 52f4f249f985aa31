"""Sweeps: many models in one program, over settings and seeds."""

from rnnjax.sweep.groups import Member, Static
from rnnjax.sweep.host_devices import use_host_devices
from rnnjax.sweep.report import draw_curves, draw_settings, write_csv
from rnnjax.sweep.results import Results, Trained
from rnnjax.sweep.run import run
from rnnjax.sweep.settings import choice, grid, log_uniform, random, uniform

__all__ = [
    "Member",
    "Results",
    "Static",
    "Trained",
    "choice",
    "draw_curves",
    "draw_settings",
    "grid",
    "log_uniform",
    "random",
    "run",
    "uniform",
    "use_host_devices",
    "write_csv",
]
