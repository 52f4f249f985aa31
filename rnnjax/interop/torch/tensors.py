"""PyTorch's tensors as NumPy arrays and back, in their own dtype."""

from typing import Any

import ml_dtypes
import numpy as np

from rnnjax.interop._convert import library


def to_numpy(owner: str, name: str, tensor: Any) -> np.ndarray:
    """A tensor, or what is an array already; bfloat16, which PyTorch does not hand to NumPy, by its bits."""
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    if tensor.is_meta:
        raise ValueError(f"{owner}: {name} is on the meta device, expected a tensor with values")
    if tensor.is_quantized:
        raise TypeError(f"{owner}: {name} is quantised, expected floating-point weights")
    torch = library(owner, "torch", "torch")
    if tensor.layout is not torch.strided or (tensor.is_floating_point() and tensor.element_size() == 1):
        raise TypeError(
            f"{owner}: {name} is {tensor.dtype}, {tensor.layout}, expected dense weights of 16 bits or more"
        )
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def to_tensor(owner: str, array: Any) -> Any:
    """A tensor of its own memory."""
    torch = library(owner, "torch", "torch")
    array = np.array(array)
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
