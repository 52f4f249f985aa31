"""rnnjax: recurrent neural networks in JAX. A cell is a pure step function; the library does the rest."""

from rnnjax import data, losses, sweep, train
from rnnjax.cells import initializers
from rnnjax.cells.coupled_lstm import CoupledGates, CoupledLSTM, CoupledLSTMParams, CoupledPeepholes
from rnnjax.cells.elman import Elman, ElmanParams
from rnnjax.cells.gru import GRU, GRUGates, GRUParams
from rnnjax.cells.leaky import Leaky
from rnnjax.cells.lru import LRU, LRUParams
from rnnjax.cells.lstm import LSTM, LSTMCarry, LSTMGates, LSTMParams
from rnnjax.cells.mgu import MGU, FlaxMGU, FlaxMGUParams, MGUGates, MGUParams
from rnnjax.cells.mingru import MinGRU, MinGRUGates, MinGRUParams
from rnnjax.cells.peephole_lstm import PeepholeLSTM, PeepholeLSTMParams, Peepholes
from rnnjax.cells.projected_lstm import ProjectedLSTM, ProjectedLSTMParams
from rnnjax.compose.backward import Backward
from rnnjax.compose.bidirectional import Bidirectional, Directions
from rnnjax.compose.carry import ExposeCarry, LearnedCarry, LearnedCarryParams
from rnnjax.compose.chain import Chain
from rnnjax.compose.lift import Lift
from rnnjax.compose.recurrent_dropout import RecurrentDropout
from rnnjax.compose.regularize import Dropout, GaussianNoise, TiedDropout, Zoneout, drop
from rnnjax.compose.reparametrize import Reparametrize
from rnnjax.compose.residual import Residual
from rnnjax.compose.two_biases import TwoBiases, TwoBiasesParams
from rnnjax.recurrence.explain import Explanation, LayerExplanation, explain
from rnnjax.recurrence.protocol import Cell, bind
from rnnjax.recurrence.reduce import last, length_mask, max_over_time, mean_over_time
from rnnjax.recurrence.repeat import repeat_last
from rnnjax.recurrence.unroll import unroll
from rnnjax.saving.file import load, read_metadata, save

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "MGU",
    "Backward",
    "Bidirectional",
    "Cell",
    "Chain",
    "CoupledGates",
    "CoupledLSTM",
    "CoupledLSTMParams",
    "CoupledPeepholes",
    "Directions",
    "Dropout",
    "Elman",
    "ElmanParams",
    "Explanation",
    "ExposeCarry",
    "FlaxMGU",
    "FlaxMGUParams",
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
    "MGUGates",
    "MGUParams",
    "MinGRU",
    "MinGRUGates",
    "MinGRUParams",
    "PeepholeLSTM",
    "PeepholeLSTMParams",
    "Peepholes",
    "ProjectedLSTM",
    "ProjectedLSTMParams",
    "RecurrentDropout",
    "Reparametrize",
    "Residual",
    "TiedDropout",
    "TwoBiases",
    "TwoBiasesParams",
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
    "repeat_last",
    "save",
    "sweep",
    "train",
    "unroll",
]
