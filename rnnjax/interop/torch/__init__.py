"""Weights from and to PyTorch: RNN (tanh, relu), LSTM (with projection too), GRU, and their cells."""

from rnnjax.interop.torch.read import from_state_dict, from_torch
from rnnjax.interop.torch.state import carry_from_torch, carry_to_torch
from rnnjax.interop.torch.write import to_torch

__all__ = ["carry_from_torch", "carry_to_torch", "from_state_dict", "from_torch", "to_torch"]
