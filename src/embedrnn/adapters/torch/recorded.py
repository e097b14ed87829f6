"""Calls of ours as autograd sees them."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from embedrnn.adapters.torch.tensors import differentiates_forward, grad_is_wanted

Tensors = tuple[torch.Tensor, ...]
Grads = Sequence[torch.Tensor | None]


class Call(Protocol):
    """One call on tensors, whose arrays it has read."""

    @property
    def form(self) -> "Form":
        """Return what it is, but for the tensors."""

    def forward(self) -> Tensors:
        """Return what comes out."""

    def vjp(self, needed: Sequence[bool]) -> tuple[Tensors, Callable[..., Grads]]:
        """Return what comes out, and a function from the gradients of that to those of the tensors.

        Gradients that are None stand for zeros, or are those that are not needed; those of tensors
        behind the last that may have one are left out.
        """


class Form(Protocol):
    """What a call is, but for its tensors, which autograd keeps, and may move meanwhile."""

    def over(self, tensors: Sequence[torch.Tensor]) -> Call:
        """Return the call on these tensors."""

    def in_torch(self, tensors: Sequence[torch.Tensor]) -> Tensors:
        """Return what PyTorch itself makes of the tensors."""


def run(call: Call, tensors: Tensors) -> Tensors:
    """Run a call on these tensors, and let autograd record it if one of them has a gradient."""
    if not grad_is_wanted(tensors):
        return call.forward()
    outputs: Tensors = _Recorded.apply(call, *tensors)
    return outputs


class _Recorded(torch.autograd.Function):
    """A call, and its gradients. Those have derivatives in turn: of PyTorch's own operations."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: torch.Tensor) -> Tensors:
        outputs, back = call.vjp(ctx.needs_input_grad[1:])
        ctx.form = call.form
        ctx.save_for_backward(*tensors, _holding(back, tensors))
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        *tensors, holder = ctx.saved_tensors  # which is an error if one has changed
        if all(grad is None for grad in grads):
            return None, *(None for _ in needed)
        if torch.is_grad_enabled() or differentiates_forward():
            with torch.enable_grad():
                return None, *_differentiable(ctx.form, tensors, needed, grads)
        back = _held(holder, tensors) or ctx.form.over(tensors).vjp(needed)[1]
        found = list(back(*map(_numbers, grads)))
        found += [None] * (len(needed) - len(found))
        return None, *(grad if need else None for grad, need in zip(found, needed, strict=True))


def _numbers(grad: torch.Tensor | None) -> Any:
    """Return the array of a gradient, if there is one."""
    if grad is None:
        return None
    try:
        return grad.numpy(force=True)
    except RuntimeError as error:  # as of a tensor that stands for many
        raise NotImplementedError(
            "gradients run here one at a time, and not batched by torch.vmap, is_grads_batched or "
            f"vectorize: restore(module) leaves them to PyTorch ({error})"
        ) from error


def _holding(back: Callable[..., Grads], tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return a tensor that has the way back from a call on these tensors.

    Autograd frees it with what it saves.
    """
    holder: Any = torch.empty(0)
    holder.back, holder.places = back, _places(tensors)
    found: torch.Tensor = holder
    return found


def _held(holder: Any, tensors: Sequence[torch.Tensor]) -> Callable[..., Grads] | None:
    """Return the way back if it is from these tensors, or nothing.

    Hooks on saved tensors, as those of checkpoints, may give others back, whose memory the call has
    not read, and another holder.
    """
    if getattr(holder, "places", None) != _places(tensors):
        return None
    back: Callable[..., Grads] = holder.back
    return back


def _places(tensors: Sequence[torch.Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _differentiable(
    form: Form, tensors: Sequence[torch.Tensor], needed: Sequence[bool], grads: Grads
) -> Grads:
    """Return the gradients of the tensors that need one, for autograd to differentiate again.

    They are taken at views: a tensor may come twice, or have another one in its history, where
    PyTorch goes on by itself.
    """
    tensors = [tensor.view_as(tensor) if tensor.requires_grad else tensor for tensor in tensors]
    outputs = form.in_torch(tensors)
    pairs = [(out, grad) for out, grad in zip(outputs, grads, strict=True) if grad is not None]
    wanted = [tensor for tensor, need in zip(tensors, needed, strict=True) if need]
    found = iter(
        torch.autograd.grad(
            [out for out, _ in pairs], wanted, [grad for _, grad in pairs],
            create_graph=True, allow_unused=True,
        )
    )  # fmt: skip
    return [next(found) if need else None for need in needed]
