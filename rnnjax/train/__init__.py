"""Training: one pure step, and what runs it."""

from rnnjax.train.devices import DataParallel
from rnnjax.train.fit import Fitted, fit
from rnnjax.train.fitting.best import Best
from rnnjax.train.fitting.refuse import NotFiniteError
from rnnjax.train.parts import only
from rnnjax.train.paths import paths
from rnnjax.train.precision import half_precision
from rnnjax.train.predict import predict
from rnnjax.train.skip import skip_nonfinite
from rnnjax.train.step import TrainState, init_state, make_step

__all__ = [
    "Best",
    "DataParallel",
    "Fitted",
    "NotFiniteError",
    "TrainState",
    "fit",
    "half_precision",
    "init_state",
    "make_step",
    "only",
    "paths",
    "predict",
    "skip_nonfinite",
]
