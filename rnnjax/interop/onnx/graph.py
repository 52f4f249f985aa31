"""An ONNX graph while it is being built."""

import hashlib
from types import ModuleType
from typing import Any

import numpy as np

from rnnjax.interop._convert import refuse

_OPSET, _IR_VERSION = 22, 10  # of the newest recurrent operators


class Graph:
    """Inputs, constants, operators and outputs, each known by the name of its tensor."""

    def __init__(self, onnx: ModuleType, dtype: np.dtype):
        self.onnx = onnx
        self.dtype = dtype  # of all weights, carries and outputs
        self.lengths = ""  # int32 [B] where the model takes them; "" is ONNX's name for what is not given
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._nodes: list[Any] = []
        self._made: dict[str, list[str]] = {}  # outputs of the operators, by what they are
        self._constants: dict[Any, tuple[str, np.ndarray]] = {}  # by content: tied weights are stored once

    def input(self, name: str, dtype: np.dtype, *shape: int | str) -> str:
        """An input of the model; axes with a name are free."""
        self._inputs.append(self._declared(name, dtype, shape))
        return name

    def output(self, name: str, tensor: str, *shape: int | str) -> None:
        """A tensor as an output of the model."""
        self._nodes.append(self.onnx.helper.make_node("Identity", [tensor], [name], f"Identity_{len(self._nodes)}"))
        self._outputs.append(self._declared(name, self.dtype, shape))

    def constant(self, array: Any) -> str:
        """An array as it is."""
        array = np.asarray(array)
        content = array.dtype, array.shape, hashlib.sha256(array.tobytes()).digest()
        return self._constants.setdefault(content, (f"constant_{len(self._constants)}", array))[0]

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operator with one output."""
        return self.ops(kind, inputs, 1, **attributes)[0]

    def ops(self, kind: str, inputs: tuple[str, ...], num_outputs: int, **attributes: Any) -> list[str]:
        """An operator with several outputs; the same one on the same inputs is made once."""
        what = repr((kind, inputs, num_outputs, attributes))
        if what not in self._made:
            name = f"{kind}_{len(self._nodes)}"
            self._made[what] = [name, *(f"{name}.{index}" for index in range(1, num_outputs))]
            self._check_float32(name, attributes)
            self._nodes.append(self.onnx.helper.make_node(kind, inputs, self._made[what], name, **attributes))
        return self._made[what]

    def model(self) -> Any:
        """What was built, checked, without what no output depends on."""
        helper = self.onnx.helper
        wanted, nodes = {output.name for output in self._outputs}, []
        for node in reversed(self._nodes):
            if wanted & set(node.output):
                nodes.insert(0, node)
                wanted |= set(node.input)
        initializers = [
            self.onnx.numpy_helper.from_array(array, name) for name, array in self._constants.values() if name in wanted
        ]
        graph = helper.make_graph(nodes, "rnnjax", self._inputs, self._outputs, initializers)
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, producer_name="rnnjax", opset_imports=[opset], ir_version=_IR_VERSION)
        self.onnx.checker.check_model(model, full_check=True)
        return self.onnx.shape_inference.infer_shapes(model)  # tells the number of features of ys

    def _declared(self, name: str, dtype: np.dtype, shape: tuple[int | str, ...]) -> Any:
        element = self.onnx.helper.np_dtype_to_tensor_dtype(dtype)
        return self.onnx.helper.make_tensor_value_info(name, element, shape)

    def _check_float32(self, name: str, attributes: dict[str, Any]) -> None:
        """ONNX keeps the numbers among attributes in float32, whatever the weights are."""
        for attribute, value in attributes.items():
            for number in value if isinstance(value, list) else [value]:
                if self.dtype == np.float64 and isinstance(number, float) and float(np.float32(number)) != number:
                    reason = "ONNX keeps it in float32, but params are float64; cast them to float32"
                    raise refuse("to_onnx", f"{attribute}={number} of {name}", reason)
