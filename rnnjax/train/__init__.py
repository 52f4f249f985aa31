"""Training: one pure step, for the caller to jit."""

from rnnjax.train.step import TrainState, init_state, make_step

__all__ = ["TrainState", "init_state", "make_step"]
