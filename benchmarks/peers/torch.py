"""PyTorch: ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN``, eager, as their loops are compiled; one thread a core."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.machine import num_cores
from benchmarks.peers.jax_peer import pull_back
from benchmarks.sizes import Size
from benchmarks.timing import Contender


def lstm(params):
    """Gates in the order i f g o, as ours; two biases, added together when it runs."""
    W, U, b = (jnp.concatenate(gates, axis=-1).T for gates in params)
    return [W, U, b / 2, b / 2]


def gru(params):
    """Gates in the order r z n, as ours; two biases, added together but for the candidate's."""
    W, U = (jnp.concatenate(gates, axis=-1).T for gates in params[:2])
    half = params.b._replace(r=params.b.r / 2, z=params.b.z / 2)
    return [W, U, jnp.concatenate(half), jnp.concatenate(half._replace(n=params.b_hn))]


def elman(params):
    return [params.W.T, params.U.T, params.b / 2, params.b / 2]


CELLS = {"LSTM": (torch.nn.LSTM, lstm), "GRU": (torch.nn.GRU, gru), "Elman": (torch.nn.RNN, elman)}


@dataclasses.dataclass(frozen=True)
class TorchPeer:
    """A module, whose weights are loaded when it becomes a contender."""

    module: torch.nn.Module
    convert: Callable[[Any], Any]
    reference: None = None

    def contender(self, variant: str, pass_name: str, params: Any, xs: Any) -> Contender:
        """Run once; there is nothing to compile."""
        device = next(self.module.parameters()).device
        load = lambda array: torch.tensor(np.asarray(array), device=device)
        with torch.no_grad():
            for parameter, weight in zip(self.module.parameters(), self.convert(params), strict=True):
                parameter.copy_(load(weight))
        inputs = load(xs).requires_grad_(pass_name == "training")

        def forward():
            with torch.no_grad():
                return self.module(inputs)[0]

        def training():
            ys, _ = self.module(inputs)
            return torch.autograd.grad(ys.square().sum(), [inputs, *self.module.parameters()])

        fn = forward if pass_name == "forward" else training

        def run():
            result = fn()
            if device.type == "cuda":
                torch.cuda.synchronize()
            return result

        began = time.perf_counter()
        result = jax.tree.map(lambda tensor: tensor.cpu().numpy(), run())
        elapsed = time.perf_counter() - began
        if pass_name == "training":
            of_xs, *gradients = result
            result = pull_back(self.convert, params, gradients), of_xs
        return Contender(variant, run, result, elapsed)


def make(cell_name: str, size: Size) -> TorchPeer:
    """Time-major, PyTorch's own default; on a GPU where JAX is on one and PyTorch sees it."""
    torch.set_num_threads(num_cores())
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    on_gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    module, convert = CELLS[cell_name]
    return TorchPeer(module(size.I, size.H).to("cuda" if on_gpu else "cpu"), convert)
