"""Operators of PyTorch that run here: what `torch.compile` and `torch.export` see of a call.

``torch.ops.embedrnn.rnn``, ``gru``, ``lstm`` and ``embedding_bag`` take tensors and give tensors.
Backward runs the call again to have its tape, which is no tensor: in eager mode the modules do
without these operators, and keep it. They have no second derivatives, and none forward.

An operator of a recurrent layer takes ``x``, (B, T, I), or (N, I) where there are ``batch_sizes``,
those of a `PackedSequence`; ``states``, one (layers * directions, B, H) for each that the cell has,
or none for zeros; and ``weights`` in PyTorch's order. It gives the output and the last states.
"""

from collections.abc import Sequence
from typing import Any

import torch

from embedrnn.adapters.torch.recorded import Tensors
from embedrnn.adapters.torch.recurrent import (
    PACKED,
    PADDED,
    Kind,
    RecurrentCall,
    RecurrentForm,
    options_of,
)
from embedrnn.adapters.torch.tensors import no_forward_derivatives

_ARGUMENTS = (
    "Tensor x, Tensor[] states, Tensor[] weights, Tensor? lengths, Tensor? batch_sizes, "
    "Tensor? sorted_indices, {variant}int num_layers, bool bias, bool bidirectional"
)
_FIRST_OPTION = 6  # among the arguments of a recurrent operator


def recurrence(
    kind: Kind,
    x: torch.Tensor,
    states: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    *where: torch.Tensor | None,
) -> Sequence[torch.Tensor]:
    """Run the operator of a kind of layer; `where` are lengths, batch_sizes and sorted_indices."""
    options: list[Any] = [kind.num_layers, kind.bias, kind.bidirectional]
    name, _, nonlinearity = kind.mode.lower().partition("_")
    if nonlinearity:
        options.insert(0, nonlinearity)
    found: Sequence[torch.Tensor] = _OPERATORS[name].run(
        x, list(states), list(weights), *where, *options
    )
    return found


def can_run(
    kind: Kind,
    data: torch.Tensor,
    states: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    batch_first: bool,
    fields: Any = None,
) -> bool:
    """Whether an operator takes these, as far as one can say when compiling.

    `fields` are those of packed sequences behind the data.
    """
    tensors = (data, *states, *weights)
    if not all(isinstance(part, torch.Tensor) for part in tensors):
        return False
    return (
        data.dtype in {torch.float32, torch.float64}
        and all(part.dtype == data.dtype for part in tensors)
        and all(part.device.type == "cpu" for part in tensors)
        and data.dim() in ({2, 3} if fields is None else {2})
        and data.shape[-1] == kind.input_size > 0
        and _steps(data, batch_first) > 0
        and (fields is None or _are_sizes(fields[0]))
        and len(states) in {0, kind.states}
        and all(_fits(kind, part, _batch_axes(data, batch_first, fields)) for part in states)
    )


def _are_sizes(sizes: torch.Tensor) -> bool:
    is_cpu: bool = sizes.device.type == "cpu"
    return is_cpu and sizes.dim() == 1 and sizes.dtype == torch.int64


def _steps(x: torch.Tensor, batch_first: bool) -> int:
    steps: int = x.shape[1 if batch_first and x.dim() == 3 else 0]
    return steps


def _batch_axes(data: torch.Tensor, batch_first: bool, fields: Any) -> list[int | None]:
    """Return the axes between the first and the last of a state; None if the data have to say."""
    if fields is not None:
        return [None if fields[1] is None else fields[1].shape[0]]
    return [data.shape[0 if batch_first else 1]] if data.dim() == 3 else []


def _fits(kind: Kind, state: torch.Tensor, axes: list[int | None]) -> bool:
    wanted = [kind.num_layers * kind.directions, *axes, kind.hidden_size]
    return state.dim() == len(wanted) and all(
        want is None or have == want for have, want in zip(state.shape, wanted, strict=True)
    )


def packed(
    kind: Kind,
    data: torch.Tensor,
    fields: Any,
    states: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
) -> Sequence[torch.Tensor]:
    """Run over packed sequences, of which `fields` are those behind the data."""
    return recurrence(kind, data, states, weights, None, fields[0], fields[1])


def padded(
    kind: Kind,
    x: torch.Tensor,
    states: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    batch_first: bool,
) -> Sequence[torch.Tensor]:
    """Run over sequences of one length, (B, T, I) or (T, B, I), or (T, I)."""
    if x.dim() == 2:
        states = [part.unsqueeze(1) for part in states]
        output, *last = recurrence(kind, x.unsqueeze(0), states, weights, None, None, None)
        return output.squeeze(0), *(part.squeeze(1) for part in last)
    if batch_first:
        return recurrence(kind, x, states, weights, None, None, None)
    output, *last = recurrence(kind, x.transpose(0, 1), states, weights, None, None, None)
    return output.transpose(0, 1).contiguous(), *last


class _Operator:
    """The operator of a cell, and the one of its way back."""

    def __init__(self, name: str, states: int, variant: str = "") -> None:
        self.name, self.states = name, states
        given = _ARGUMENTS.format(variant=variant)
        results = ", ".join(["Tensor"] * (1 + states))
        grads = ", ".join(f"Tensor grad_{i}" for i in range(1 + states))
        library = torch.library
        self.run: Any = library.custom_op(
            f"embedrnn::{name}", self._forward, mutates_args=(), schema=f"({given}) -> ({results})"
        )
        self.back: Any = library.custom_op(
            f"embedrnn::{name}_backward", self._backward, mutates_args=(),
            schema=f"({grads}, {given}) -> Tensor[]",
        )  # fmt: skip
        self.run.register_fake(self._fake)
        self.back.register_fake(self._fake_backward)
        self.run.register_autograd(self._grads, setup_context=_keep)

    def _forward(self, *arguments: Any) -> Tensors:
        no_forward_derivatives()
        return _call(self.name, *arguments).forward()

    def _backward(self, *grads_and_arguments: Any) -> list[torch.Tensor]:
        grads, arguments = self._split(grads_and_arguments)
        needed = [True] * (1 + self.states)
        _, back = _call(self.name, *arguments).vjp(needed)
        found: list[Any] = list(back(*(grad.numpy(force=True) for grad in grads)))
        return found

    def _fake(self, x: Any, states: Any, weights: Any, *others: Any) -> tuple[Any, ...]:
        no_forward_derivatives()
        _, batch_sizes, order, *options = others
        kind = _kind(self.name, x, weights, *options)
        batch = x.shape[0] if batch_sizes is None else _batch(states, order)
        output = x.new_empty(*x.shape[:-1], kind.directions * kind.hidden_size)
        shape = (kind.num_layers * kind.directions, batch, kind.hidden_size)
        return output, *(x.new_empty(shape) for _ in range(self.states))

    def _fake_backward(self, *grads_and_arguments: Any) -> list[Any]:
        _, (x, states, weights, *_) = self._split(grads_and_arguments)
        return [part.new_empty(part.shape) for part in (x, *states, *weights)]

    def _grads(self, ctx: Any, *grads: Any) -> tuple[Any, ...]:
        arguments = _nested(ctx.saved_tensors, ctx.counts)
        of_x, *others = self.back(*grads, *arguments, *ctx.options)
        n = ctx.counts[0]
        nothing = [None] * (_FIRST_OPTION - 3 + len(ctx.options))
        return of_x, others[:n], others[n:], *nothing

    def _split(self, both: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        return both[: 1 + self.states], both[1 + self.states :]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*_flat(inputs[:_FIRST_OPTION]))
    ctx.counts = [len(part) for part in inputs[1:3]]
    ctx.options = inputs[_FIRST_OPTION:]


def _flat(arguments: Sequence[Any]) -> list[torch.Tensor | None]:
    x, states, weights, *where = arguments
    return [x, *states, *weights, *where]


def _nested(flat: Sequence[torch.Tensor | None], counts: Sequence[int]) -> list[Any]:
    """Return the arguments that `_flat` was given, of so many states and weights."""
    first, second = 1 + counts[0], 1 + sum(counts)
    return [flat[0], list(flat[1:first]), list(flat[first:second]), *flat[second:]]


def _kind(name: str, x: torch.Tensor, weights: Sequence[torch.Tensor], *options: Any) -> Kind:
    *variant, num_layers, bias, bidirectional = options
    mode = "_".join([name, *variant]).upper()
    hidden = weights[1].shape[1]
    return Kind(mode, int(x.shape[-1]), int(hidden), num_layers, bias, bidirectional)


def _batch(states: Sequence[torch.Tensor], sorted_indices: torch.Tensor | None) -> Any:
    """Return how many packed sequences there are."""
    if sorted_indices is not None:
        return sorted_indices.shape[0]
    return states[0].shape[1] if states else torch.library.get_ctx().new_dynamic_size()


def _call(
    name: str,
    x: torch.Tensor,
    states: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    lengths: torch.Tensor | None,
    batch_sizes: torch.Tensor | None,
    sorted_indices: torch.Tensor | None,
    *options: Any,
) -> RecurrentCall:
    """Return the call of an operator, checked."""
    options_ = options_of(_kind(name, x, weights, *options), x.dtype)
    where = [lengths] if batch_sizes is None else [batch_sizes, sorted_indices]
    form = RecurrentForm(options_, len(states), PADDED if batch_sizes is None else PACKED)
    tensors = (x, *states, *weights, *where)
    return form.over([tensor for tensor in tensors if tensor is not None])


_OPERATORS = {
    "rnn": _Operator("rnn", 1, "str nonlinearity, "),
    "gru": _Operator("gru", 1),
    "lstm": _Operator("lstm", 2),
}
