"""rnnjax: recurrent neural networks in JAX. A cell is a pure step function; the library does the rest."""

from rnnjax import data, losses, train
from rnnjax.cells import initializers
from rnnjax.cells.elman import Elman, ElmanParams
from rnnjax.cells.gru import GRU, GRUGates, GRUParams
from rnnjax.cells.leaky import Leaky
from rnnjax.cells.lru import LRU, LRUParams
from rnnjax.cells.lstm import LSTM, LSTMCarry, LSTMGates, LSTMParams
from rnnjax.cells.mingru import MinGRU, MinGRUGates, MinGRUParams
from rnnjax.compose.bidirectional import Bidirectional, Directions
from rnnjax.compose.carry import ExposeCarry, LearnedCarry, LearnedCarryParams
from rnnjax.compose.chain import Chain
from rnnjax.compose.lift import Lift
from rnnjax.compose.recurrent_dropout import RecurrentDropout
from rnnjax.compose.regularize import Dropout, GaussianNoise, TiedDropout, Zoneout, drop
from rnnjax.compose.reparametrize import Reparametrize
from rnnjax.compose.residual import Residual
from rnnjax.recurrence.explain import Explanation, LayerExplanation, explain
from rnnjax.recurrence.protocol import Cell, bind
from rnnjax.recurrence.reduce import last, length_mask, max_over_time, mean_over_time
from rnnjax.recurrence.unroll import unroll
from rnnjax.saving.file import load, read_metadata, save

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "Bidirectional",
    "Cell",
    "Chain",
    "Directions",
    "Dropout",
    "Elman",
    "ElmanParams",
    "Explanation",
    "ExposeCarry",
    "GRUGates",
    "GRUParams",
    "GaussianNoise",
    "LRUParams",
    "LSTMCarry",
    "LSTMGates",
    "LSTMParams",
    "LayerExplanation",
    "Leaky",
    "LearnedCarry",
    "LearnedCarryParams",
    "Lift",
    "MinGRU",
    "MinGRUGates",
    "MinGRUParams",
    "RecurrentDropout",
    "Reparametrize",
    "Residual",
    "TiedDropout",
    "Zoneout",
    "bind",
    "data",
    "drop",
    "explain",
    "initializers",
    "last",
    "length_mask",
    "load",
    "losses",
    "max_over_time",
    "mean_over_time",
    "read_metadata",
    "save",
    "train",
    "unroll",
]
