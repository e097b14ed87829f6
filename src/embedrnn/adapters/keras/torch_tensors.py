"""The tensors of Keras's PyTorch backend, and their gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.autograd.forward_ad import unpack_dual

from embedrnn.adapters.keras.walk import Walk

Array = npt.NDArray[Any]

# Before the first valid step a walk puts out zeros.
BEGINS_WITH_STATE = False

_DTYPES = (torch.float32, torch.float64, torch.bool)


def transformed() -> bool:
    """Whether calls are traced or transformed, so that numbers alone would not do."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch.utils._python_dispatch._get_current_dispatch_mode() is not None
    )


def plain(tensors: Sequence[Any]) -> bool:
    """Whether these are tensors in memory, of the backend's own class, without a tangent."""
    return all(
        type(one) in {torch.Tensor, torch.nn.Parameter}
        and one.device.type == "cpu"
        and one.dtype in _DTYPES
        and one.layout is torch.strided
        and unpack_dual(one).tangent is None
        for one in tensors
    )


def array(tensor: torch.Tensor) -> Array:
    """Return the memory of a plain tensor."""
    memory: Array = tensor.detach().numpy()
    return memory


def copy(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in memory of its own."""
    return tensor.clone()


def run(
    walk: Walk, tensors: Sequence[torch.Tensor], arrays: Sequence[Array], n_states: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the outputs and the last states of a walk, with their gradients if any are wanted."""
    if torch.is_grad_enabled() and any(one.requires_grad for one in tensors):
        outputs, *last = _Differentiable.apply(walk, n_states, *tensors)
        return outputs, last
    found, states = walk.forward(arrays[0], arrays[1 : 1 + n_states])
    return torch.from_numpy(found), [torch.from_numpy(one) for one in states]


class _Differentiable(torch.autograd.Function):
    """A walk, as a function of the sequences, the states and the weights."""

    @staticmethod
    def forward(
        ctx: Any, walk: Walk, n_states: int, *tensors: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        x, *states = (array(one) for one in tensors[: 1 + n_states])
        outputs, last, ctx.back = walk.vjp(x, states)
        # PyTorch then says so if they have been written to before the way back.
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        return tuple(torch.from_numpy(one) for one in (outputs, *last))

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        tensors, wanted = ctx.saved_tensors, ctx.needs_input_grad
        if all(one is None for one in cotangents):
            return (None,) * len(wanted)
        arrays = ctx.back(*(None if one is None else array(one) for one in cotangents))
        grads = [torch.from_numpy(np.ascontiguousarray(one)) for one in arrays]
        if torch.is_grad_enabled():
            given = [one for one in cotangents if one is not None]
            grads = _Undifferentiable.apply(len(grads), *grads, *tensors, *given)
        return (
            None,
            None,
            *(one if want else None for one, want in zip(grads, wanted[2:], strict=True)),
        )


class _Undifferentiable(torch.autograd.Function):
    """Gradients that depend on tensors in a way that has no derivative here, and say so."""

    @staticmethod
    def forward(_ctx: Any, n_grads: int, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tensors[:n_grads]

    @staticmethod
    def backward(_ctx: Any, *_: torch.Tensor) -> Any:
        raise RuntimeError(
            "the gradients of a recurrent layer of Keras that runs in embedrnn have no "
            "derivatives: uninstall() embedrnn.adapters.keras where they are needed"
        )
