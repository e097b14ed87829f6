"""Tensors as arrays and arrays as tensors, of the same memory."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.autograd import forward_ad

Array = npt.NDArray[Any]


class Declined(TypeError):
    """A call that cannot run here; an accelerated module leaves it to PyTorch."""


_IS_HIDDEN = torch.__version__ < (2, 5)  # whether Dynamo cannot tell that torch.func transforms
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
    """Whether PyTorch casts the operations of this call, differentiates forward, or traces.

    Dynamo reads all of it as it is where the call stands in what it compiles.
    """
    return bool(
        torch.jit.is_tracing()
        or torch.is_autocast_enabled("cpu")
        or _is_in_function_transform()
        or differentiates_forward()
    )


def _is_in_function_transform() -> bool:
    if _IS_HIDDEN and torch.compiler.is_compiling():
        return False
    return bool(torch._C._are_functorch_transforms_active())


def differentiates_forward() -> bool:
    """Whether this call is made where PyTorch differentiates forward."""
    return bool(forward_ad._current_level >= 0)


def no_forward_derivatives() -> None:
    """Refuse to run where they are wanted, which an operator would leave out without a word."""
    if differentiates_forward():
        raise NotImplementedError(
            "there are no forward derivatives: call no operator of embedrnn in torch.func.jvp, "
            "jacfwd or torch.autograd.forward_ad.dual_level"
        )


def is_observed() -> bool:
    """Whether somebody wants to see what this call consists of, as operators of PyTorch."""
    return bool(torch._C._len_torch_dispatch_stack())
