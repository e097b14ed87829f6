"""Tensors as arrays and arrays as tensors, of the same memory."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.autograd import forward_ad

Array = npt.NDArray[Any]


class Declined(TypeError):
    """A call that cannot run here; an accelerated module leaves it to PyTorch."""


_PLAIN = (torch.Tensor, torch.nn.Parameter)


def array_of(tensor: Any) -> Array:
    """Return the memory of a tensor on a CPU; Declined if it is of another kind."""
    if type(tensor) not in _PLAIN or not tensor.is_cpu:
        found = getattr(tensor, "device", type(tensor).__name__)
        raise Declined(f"only plain tensors on a CPU run here, got one of {found}")
    try:
        array: Array = tensor.numpy(force=True)  # which takes less than detach().numpy()
    except (RuntimeError, TypeError) as error:  # of another layout or dtype
        raise Declined(f"only plain tensors run here: {error}") from None
    return array


def tensor_of(array: Array) -> torch.Tensor:
    """Return a tensor that shares the memory of an array, or of a copy of what is read-only."""
    writable = np.require(array, requirements=["WRITEABLE"])
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(writable.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(writable)


def grad_is_wanted(tensors: Any) -> bool:
    """Whether autograd is to record a call on these tensors."""
    if torch.is_grad_enabled():
        for tensor in tensors:  # any() would take as long again
            if tensor.requires_grad:
                return True
    return False


def is_transformed() -> bool:
    """Whether PyTorch casts the operations of this call, differentiates forward, or traces."""
    return bool(
        torch.jit.is_tracing()
        or torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def is_observed() -> bool:
    """Whether somebody wants to see what this call consists of, as operators of PyTorch."""
    return bool(torch._C._len_torch_dispatch_stack())
