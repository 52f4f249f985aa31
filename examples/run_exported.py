"""Runs what examples/export.py wrote, without rnnjax: whole sequences, and in two pieces, the carries fed back.

python examples/run_exported.py out/export
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np
import onnxruntime

Arrays = dict[str, Any]


def load_onnx(path: Path) -> Callable[[Arrays], Arrays]:
    """The ONNX model as a function of arrays by name."""
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def load_stablehlo(path: Path) -> Callable[[Arrays], Arrays]:
    """The StableHLO function, compiled for each new shape."""
    call = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
    return lambda inputs: jax.tree.map(np.asarray, call(inputs))


def in_pieces(call: Callable[[Arrays], Arrays], inputs: Arrays, cut: int) -> np.ndarray:
    """The first ``cut`` steps, then the rest from where they ended."""
    carry = {name: array for name, array in inputs.items() if name.startswith("carry_in")}
    xs, lengths, ys = inputs["xs"], inputs["lengths"], []
    for piece, before in ((xs[:cut], 0), (xs[cut:], cut)):
        valid = np.clip(lengths - before, 0, len(piece)).astype(np.int32)
        outputs = call({"xs": piece, "lengths": valid, **carry})
        ys.append(outputs.pop("ys"))
        carry = {name.replace("carry_out", "carry_in"): array for name, array in outputs.items()}
    return np.concatenate(ys)


def main(folder: Path) -> None:
    """Write outputs.npz: of each file, whole and in pieces."""
    inputs = dict(np.load(folder / "inputs.npz"))
    outputs = {}
    for name, call in {
        "ONNX": load_onnx(folder / "model.onnx"),
        "StableHLO": load_stablehlo(folder / "model.stablehlo"),
    }.items():
        outputs[name] = call(inputs)["ys"]
        outputs[f"{name} in pieces"] = in_pieces(call, inputs, cut=len(inputs["xs"]) // 3)
    np.savez(folder / "outputs.npz", **outputs)
    assert "rnnjax" not in sys.modules
    print(f"a process without rnnjax ran {', '.join(outputs)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
