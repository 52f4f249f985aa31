"""Weights from and to Keras 3: SimpleRNN, LSTM, GRU, Bidirectional, and stacks of them."""

from rnnjax.interop.keras.read import from_keras
from rnnjax.interop.keras.write import to_keras

__all__ = ["from_keras", "to_keras"]
