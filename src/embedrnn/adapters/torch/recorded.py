"""Calls of ours as autograd sees them."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from embedrnn.adapters.torch.tensors import grad_is_wanted

Tensors = tuple[torch.Tensor, ...]
Grads = Sequence[torch.Tensor | None]


class Call(Protocol):
    """One call on tensors, whose arrays it has read."""

    def forward(self) -> Tensors:
        """Return what comes out."""

    def vjp(self, needed: Sequence[bool]) -> tuple[Tensors, Callable[..., Grads]]:
        """Return what comes out, and a function from the gradients of that to those of the tensors.

        Gradients that are None stand for zeros, or are those that are not needed.
        """

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
        ctx.call = call
        ctx.save_for_backward(*tensors, _holding(back))
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        *tensors, holder = ctx.saved_tensors  # which is an error if one has changed
        if all(grad is None for grad in grads):
            return None, *(None for _ in needed)
        if torch.is_grad_enabled():
            return None, *_differentiable(ctx.call, tensors, needed, grads)
        given = [None if grad is None else grad.numpy(force=True) for grad in grads]
        back = getattr(holder, "back", None) or ctx.call.vjp(needed)[1]
        found = back(*given)
        return None, *(grad if need else None for grad, need in zip(found, needed, strict=True))


def _holding(back: Callable[..., Grads]) -> torch.Tensor:
    """Return a tensor that has a way back, for autograd to free it with what it saves.

    Hooks on saved tensors, as those of checkpoints, may give another one back, which has none.
    """
    holder: Any = torch.empty(0)
    holder.back = back
    found: torch.Tensor = holder
    return found


def _differentiable(
    call: Call, tensors: Sequence[torch.Tensor], needed: Sequence[bool], grads: Grads
) -> Grads:
    """Return the gradients of the tensors that need one, for autograd to differentiate again."""
    outputs = call.in_torch(tensors)
    pairs = [(out, grad) for out, grad in zip(outputs, grads, strict=True) if grad is not None]
    wanted = [tensor for tensor, need in zip(tensors, needed, strict=True) if need]
    found = iter(
        torch.autograd.grad(
            [out for out, _ in pairs], wanted, [grad for _, grad in pairs],
            create_graph=True, allow_unused=True,
        )
    )  # fmt: skip
    return [next(found) if need else None for need in needed]
