"""The operator of embedding bags: see `ops`."""

from typing import Any

import torch

from embedrnn.adapters.torch.bags import BagCall, BagForm, Bags, bag_tensors
from embedrnn.adapters.torch.tensors import no_forward_derivatives

_ARGUMENTS = (
    "Tensor weight, Tensor indices, Tensor? offsets, Tensor? per_sample_weights, str mode, "
    "int? padding_idx, bool include_last_offset"
)
_INTEGERS = {torch.int32, torch.int64}


def _call(weight: torch.Tensor, *others: Any) -> BagCall:
    *given, mode, padding_idx, include_last_offset = others
    bags = Bags(*given)
    form = BagForm(mode, padding_idx, include_last_offset, weighted=bags.weights is not None)
    return form.over(bag_tensors(weight, bags))


def _forward(*arguments: Any) -> torch.Tensor:
    no_forward_derivatives()
    return _call(*arguments).forward()[0]


def _backward(grad: torch.Tensor, *arguments: Any) -> list[torch.Tensor]:
    _, back = _call(*arguments).vjp(())
    found: list[Any] = list(back(grad.numpy(force=True)))
    return found


def _fake(weight: Any, indices: Any, offsets: Any, *options: Any) -> Any:
    no_forward_derivatives()
    include_last_offset = options[3]
    n = indices.shape[0] if offsets is None else offsets.shape[0] - include_last_offset
    return weight.new_empty(n, weight.shape[1])


def _fake_backward(_grad: torch.Tensor, weight: torch.Tensor, *rest: Any) -> list[torch.Tensor]:
    weights = rest[2]
    return [part.new_empty(part.shape) for part in (weight, weights) if part is not None]


embedding_bag = torch.library.custom_op(
    "embedrnn::embedding_bag", _forward, mutates_args=(), schema=f"({_ARGUMENTS}) -> Tensor"
)
_back_op = torch.library.custom_op(
    "embedrnn::embedding_bag_backward", _backward, mutates_args=(),
    schema=f"(Tensor grad, {_ARGUMENTS}) -> Tensor[]",
)  # fmt: skip
embedding_bag.register_fake(_fake)
_back_op.register_fake(_fake_backward)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.options = inputs[4:]


def _grads(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    weight, indices, offsets, weights = ctx.saved_tensors
    of_table, *of_weights = _back_op(grad, weight, indices, offsets, weights, *ctx.options)
    nothing = [None] * len(ctx.options)
    return of_table, None, None, of_weights[0] if of_weights else None, *nothing


embedding_bag.register_autograd(_grads, setup_context=_setup)


def can_run(module: Any, bags: Bags) -> bool:
    """Whether `embedding_bag` takes these, as far as one can say when compiling."""
    table, (indices, offsets, weights) = module.weight, bags
    tensors = [part for part in (table, *bags) if part is not None]
    return (
        all(isinstance(part, torch.Tensor) and part.device.type == "cpu" for part in tensors)
        and table.dim() == 2
        and table.dtype in {torch.float32, torch.float64}
        and indices is not None
        and indices.dim() == (2 if offsets is None else 1)
        and indices.dtype in _INTEGERS
        and all(n > 0 for n in (*table.shape, *indices.shape))
        and (offsets is None or _are_offsets(module, offsets))
        and (weights is None or _are_weights(module, indices, weights))
    )


def _are_offsets(module: Any, offsets: torch.Tensor) -> bool:
    has_bags: bool = offsets.dim() == 1 and offsets.shape[0] > module.include_last_offset
    return has_bags and offsets.dtype in _INTEGERS


def _are_weights(module: Any, indices: torch.Tensor, weights: torch.Tensor) -> bool:
    fits: bool = weights.dtype == module.weight.dtype and weights.shape == indices.shape
    return fits and module.mode == "sum"
