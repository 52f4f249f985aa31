"""ONNX: its recurrent operators as cells, and whole models as ONNX files that need neither rnnjax nor JAX.

``from_onnx`` takes an RNN, LSTM or GRU operator over; ``to_onnx`` writes a model that onnxruntime runs for any batch
and any number of steps.
"""

from rnnjax.interop._carries import carry_inputs
from rnnjax.interop.onnx.activations import (
    Affine,
    Clipped,
    Elu,
    HardSigmoid,
    LeakyRelu,
    ScaledTanh,
    ThresholdedRelu,
)
from rnnjax.interop.onnx.read import from_onnx
from rnnjax.interop.onnx.states import carry_from_onnx, carry_to_onnx
from rnnjax.interop.onnx.write import to_onnx

__all__ = [
    "Affine",
    "Clipped",
    "Elu",
    "HardSigmoid",
    "LeakyRelu",
    "ScaledTanh",
    "ThresholdedRelu",
    "carry_from_onnx",
    "carry_inputs",
    "carry_to_onnx",
    "from_onnx",
    "to_onnx",
]
