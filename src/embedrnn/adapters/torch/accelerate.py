"""Modules of PyTorch that run here: which, and how they are told to."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any, NamedTuple

import torch
from torch.nn.utils.rnn import PackedSequence

from embedrnn._check import flag, instance
from embedrnn.adapters.torch import bag_ops, ops
from embedrnn.adapters.torch.bags import BagForm, Bags, bag_tensors
from embedrnn.adapters.torch.parameters import Kept, kept, weights_of
from embedrnn.adapters.torch.recorded import Call, Form, Tensors, run
from embedrnn.adapters.torch.recurrent import (
    BATCH_FIRST,
    PACKED,
    TIME_FIRST,
    Kind,
    Live,
    Options,
    RecurrentForm,
    options_of,
)
from embedrnn.adapters.torch.tensors import (
    Declined,
    grad_is_wanted,
    is_observed,
    is_transformed,
)

_NAMES = ("RNN", "GRU", "LSTM", "EmbeddingBag", "RNNCell", "GRUCell", "LSTMCell")
# What our own checks raise: PyTorch then runs the call, and raises the error that is its own.
_REFUSED = (AttributeError, IndexError, TypeError, ValueError)


def asked(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call what is ours; Declined in place of what it raises."""
    try:
        return function(*args, **kwargs)
    except Declined:
        raise
    except _REFUSED as error:
        raise Declined(str(error)) from error


class Asking(NamedTuple):
    """A call that is `asked`. Errors of hooks that PyTorch calls meanwhile are those of others."""

    call: Call

    @property
    def form(self) -> Form:
        """Return that of the call."""
        return self.call.form

    def forward(self) -> Tensors:
        """Return what comes out."""
        outputs: Tensors = asked(self.call.forward)
        return outputs

    def vjp(self, needed: Sequence[bool]) -> Any:
        """Return what comes out, and the way back."""
        return asked(self.call.vjp, needed)


class Report(NamedTuple):
    """What `accelerate` did.

    Attributes
    ----------
    taken : tuple of str
        The names of the submodules that run in embedrnn now; "" is the module itself. `restore`
        gives them back to PyTorch.
    left : dict of str to str
        Of those that were left as they are, by name: why.

    Examples
    --------
    >>> import torch
    >>> from embedrnn.adapters.torch import accelerate
    >>> lstms = [torch.nn.LSTM(5, 7), torch.nn.LSTM(5, 7, proj_size=3)]
    >>> report = accelerate(torch.nn.Sequential(*lstms))
    >>> report.taken, report.left
    (('0',), {'1': 'has projections (proj_size=3)'})
    >>> print(report)
    in embedrnn, until restore(module): 0
    left to PyTorch: 1, which has projections (proj_size=3)
    """

    taken: tuple[str, ...]
    left: dict[str, str]

    def __repr__(self) -> str:
        names = ", ".join(map(_shown, self.taken)) or "nothing"
        lines = [f"in embedrnn, until restore(module): {names}"]
        lines += [f"left to PyTorch: {_shown(n)}, which {why}" for n, why in self.left.items()]
        return "\n".join(lines)


def _shown(name: str) -> str:
    return name or "the module itself"


def accelerate(module: torch.nn.Module, *, frozen: bool = False) -> Report:
    """Let the recurrent layers and embedding bags inside a PyTorch module run in embedrnn.

    Every `torch.nn.RNN`, `GRU`, `LSTM` and `EmbeddingBag`, the module itself too, keeps its class,
    parameters, hooks and results, and has another ``forward``, for padded input and for a
    `PackedSequence`, in evaluation and in training.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place. Copies and pickles of it are accelerated as it is.
    frozen : bool
        Whether weights are only written to in ways that PyTorch counts: recurrent layers then keep
        them packed between calls without gradients, which pays where a call has few steps. Those
        that are not counted are fused optimizers, what is done to ``parameter.data`` or written to
        an array that shares its memory, and other processes: such changes would not be seen.
        Weights made in `torch.inference_mode`, which counts nothing, are packed in each call.

    Returns
    -------
    Report
        The names of what runs here, and why others were left. `restore` undoes it.

    Raises
    ------
    TypeError
        If `module` is no module.

    Notes
    -----
    What is not done here is left to PyTorch: whole modules with projections, `max_norm`,
    `scale_grad_by_freq` or a ``forward`` of their own; and calls that are on another device, in
    other dtypes, under autocast, with dropout between layers in training, traced by `torch.jit`,
    transformed by `torch.func`, differentiated forward, of no rows or steps, or not as PyTorch
    wants them, whose errors are its own.

    Under `torch.compile` and `torch.export` the operators of `embedrnn.adapters.torch.ops` run.
    Dynamo looks into no `torch.nn.LSTM` by itself: it runs between two graphs, unless
    ``torch._dynamo.config.allow_rnn`` is True. `torch.jit.script` wants a module restored. What is
    compiled goes by shapes and dtypes, and raises an error of ours for numbers that PyTorch alone
    has a meaning for: packed data with more rows than batch_sizes say, and bags whose last offset
    leaves indices out. It sees `torch.func` in PyTorch 2.5 or later; in 2.4 that is an error.

    Gradients are those of embedrnn; to differentiate them in turn, PyTorch runs the call again.
    Calls that wait for their gradients, as the steps of a decoder do, share the packed weights.
    What a call has read must not change in place until its gradients are made, and gradients are
    not batched by `torch.vmap` or ``is_grads_batched``: both are errors.
    Those of the operators have no derivatives, and a RuntimeError says so: where a call was
    compiled, exported, or made under a `TorchDispatchMode`.
    Results may differ from PyTorch's in the last bits, and a NaN is the maximum of its bag wherever
    it stands. Threads are those of embedrnn: see `embedrnn.set_num_threads`. A shallow copy of a
    module runs with the weights of the original, until it is accelerated itself.

    Examples
    --------
    >>> import torch
    >>> from embedrnn.adapters.torch import accelerate
    >>> lstm = torch.nn.LSTM(5, 7, batch_first=True)
    >>> accelerate(lstm)
    in embedrnn, until restore(module): the module itself
    >>> output, (h_n, c_n) = lstm(torch.ones(3, 4, 5))
    >>> output.shape
    torch.Size([3, 4, 7])
    """
    instance("module", module, "a torch.nn.Module", torch.nn.Module)
    keeps = flag("frozen", frozen)
    taken, left = [], {}
    for name, inner in _candidates(module):
        why = _why_left(inner)
        if why:
            left[name] = why
        else:
            inner.forward = _FORWARDS[_base(inner)](inner, keeps)
            taken.append(name)
    return Report(tuple(taken), left)


def restore(module: torch.nn.Module) -> tuple[str, ...]:
    """Undo `accelerate`: let everything inside a module run in PyTorch again.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place, if there is anything to undo.

    Returns
    -------
    tuple of str
        The names of the submodules that were given back.

    Raises
    ------
    TypeError
        If `module` is no module.

    Examples
    --------
    >>> import torch
    >>> from embedrnn.adapters.torch import accelerate, restore
    >>> model = torch.nn.Sequential(torch.nn.GRU(5, 7))
    >>> accelerate(model).taken, restore(model), restore(model)
    (('0',), ('0',), ())
    """
    instance("module", module, "a torch.nn.Module", torch.nn.Module)
    found = [(name, inner) for name, inner in module.named_modules() if _is_ours(inner)]
    for _, inner in found:
        del inner.__dict__["forward"]
    return tuple(name for name, _ in found)


def _candidates(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what one may expect to be accelerated, by name."""
    for name, inner in module.named_modules():
        scripted = getattr(inner, "original_name", "") if _is_script(inner) else ""
        if scripted in _NAMES or isinstance(
            inner, (torch.nn.RNNBase, torch.nn.RNNCellBase, torch.nn.EmbeddingBag)
        ):
            yield name, inner


def _why_left(module: Any) -> str:
    """Return why a module cannot run here, or nothing."""
    base = _base(module)
    if _is_script(module):
        return "is compiled by TorchScript"
    if isinstance(module, torch.nn.RNNCellBase):
        return "is a cell, which takes one step at a time"
    if base is None or type(module).forward is not base.forward:
        return f"has a forward of its own ({type(module).__name__})"
    if "forward" in module.__dict__ and not _is_ours(module):
        return "has a forward that somebody has set"
    return _undone(module)


def _undone(module: Any) -> str:
    """Return which option of a module cannot be done here, or nothing."""
    if getattr(module, "proj_size", 0):
        return f"has projections (proj_size={module.proj_size})"
    if getattr(module, "max_norm", None) is not None:
        return f"writes to its table (max_norm={module.max_norm})"
    if getattr(module, "scale_grad_by_freq", False):
        return "scales its gradient (scale_grad_by_freq=True)"  # not by what PyTorch says it does
    return ""


def _base(module: Any) -> Any:
    """Return which class of PyTorch's a module is of."""
    return next((base for base in _FORWARDS if isinstance(module, base)), None)


def _is_script(module: Any) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _is_ours(module: Any) -> bool:
    return isinstance(module.__dict__.get("forward"), Forward)


class Forward:
    """The ``forward`` of a module that runs here, or in PyTorch where it cannot.

    A copy or a pickle of the module has one of its own.
    """

    def __init__(self, module: Any, frozen: bool) -> None:
        self.module, self.frozen = module, frozen
        self._kept: Kept | None = None
        self._live = Live()
        self._last: tuple[Any, Options | None] = (None, None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a call, here if that can be done."""
        if not is_transformed():
            if torch.compiler.is_compiling():
                return self._compiled(*args, **kwargs)
            try:
                if is_observed():
                    return asked(self._compiled, *args, **kwargs)
                return self._run(*args, **kwargs)
            except Declined:
                pass
        return self._in_torch(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """Run a call here; Declined if that cannot be done, and then nothing has changed."""
        call, tensors, given = asked(self._read, *args, **kwargs)
        return self._returned(run(Asking(call), tensors), given)

    def _read(self, *args: Any, **kwargs: Any) -> tuple[Call, Tensors, Any]:
        """Return the call, its tensors, and what `_returned` is to know of what was given."""
        raise NotImplementedError

    def _returned(self, found: Sequence[torch.Tensor], given: Any) -> Any:
        """Return results as the module does."""
        raise NotImplementedError

    def _compiled(self, *args: Any, **kwargs: Any) -> Any:
        """Run a call by operators that `torch.compile` and `torch.export` know."""
        raise NotImplementedError

    def _in_torch(self, *args: Any, **kwargs: Any) -> Any:
        return type(self.module).forward(self.module, *args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        whole = inspect.signature(type(self.module).forward)
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    @property
    def __code__(self) -> CodeType:
        """Return where PyTorch's ``forward`` is from, which `torch.export` asks of a root."""
        code: CodeType = type(self.module).forward.__code__
        return code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.module, self.frozen)


class RecurrentForward(Forward):
    """That of `torch.nn.RNN`, `GRU` and `LSTM`."""

    def _read(self, input: Any, hx: Any = None) -> tuple[Call, Tensors, Any]:
        module = self.module
        if _drops(module):
            raise Declined("dropout between layers is PyTorch's")
        sequences = isinstance(input, PackedSequence)
        if sequences and input.batch_sizes.dtype != torch.int64:
            raise Declined("batch_sizes must be int64")
        data = input.data if sequences else input
        options = self._options_for(data.dtype)
        states, weights = _states(options.kind, hx), weights_of(module, options)
        where: tuple[Any, ...] = ()
        if sequences:
            where = input[1:2] if input.sorted_indices is None else input[1:3]
        form = RecurrentForm(options, len(states), self._come_as(sequences), self._live)
        tensors = (data, *states, *weights, *where)
        keeps = self.frozen and not grad_is_wanted(tensors)
        layer = self._kept_layer(options, weights) if keeps else None
        return form.over(tensors, layer), tensors, input

    def _returned(self, found: Sequence[torch.Tensor], given: Any) -> Any:
        output, *last = found
        if isinstance(given, PackedSequence):
            output = PackedSequence(output, *given[1:])
        return output, tuple(last) if len(last) > 1 else last[0]

    def _compiled(self, input: Any, hx: Any = None) -> Any:
        module, kind = self.module, _kind(self.module)
        sequences = isinstance(input, PackedSequence)
        data, fields = (input.data, tuple(input[1:])) if sequences else (input, None)
        states = () if hx is None else hx if isinstance(hx, tuple) else (hx,)
        given = hx is None or (isinstance(hx, tuple) == (kind.states > 1) and len(states) > 0)
        weights = [getattr(module, name) for name in module._flat_weights_names]
        operands = (data, states, weights, module.batch_first, fields)
        if _drops(module) or not given or not ops.can_run(kind, *operands):
            return self._in_torch(input, hx)
        if sequences:
            return self._returned(ops.packed(kind, data, fields, states, weights), input)
        return self._returned(ops.padded(kind, data, states, weights, module.batch_first), input)

    def _options_for(self, dtype: torch.dtype) -> Options:
        """Return what `options_of` does; tuples are compared in less than a `Kind` is hashed."""
        module = self.module
        now = (
            module.mode, module.input_size, module.hidden_size, module.num_layers, module.bias,
            module.bidirectional, dtype,
        )  # fmt: skip
        last, options = self._last
        if options is None or now != last:
            options = options_of(Kind(*now[:-1]), dtype)
            self._last = now, options
        return options

    def _come_as(self, packed: bool) -> str:
        return PACKED if packed else BATCH_FIRST if self.module.batch_first else TIME_FIRST

    def _kept_layer(self, options: Options, weights: Any) -> Any:
        """Return our layer over the weights, packed once."""
        found = self._kept  # which another thread may replace
        if found is None or not found.is_of(options, weights):
            found = self._kept = kept(options, weights)
        return found.layer


class BagForward(Forward):
    """That of `torch.nn.EmbeddingBag`, whose words for the same `Bags` has."""

    def _read(
        self,
        input: Any,
        offsets: Any = None,
        per_sample_weights: Any = None,
    ) -> tuple[Call, Tensors, Any]:
        module = self.module
        undone = _undone(module)
        if undone:
            raise Declined(f"the module {undone}")
        form = BagForm(
            module.mode, module.padding_idx, module.include_last_offset, module.sparse,
            per_sample_weights is not None,
        )  # fmt: skip
        bags = Bags(input, offsets, per_sample_weights)
        tensors = bag_tensors(module.weight, bags)
        return form.over(tensors), tensors, None

    def _returned(self, found: Sequence[torch.Tensor], given: Any) -> Any:
        return found[0]

    def _compiled(
        self,
        input: Any,
        offsets: Any = None,
        per_sample_weights: Any = None,
    ) -> Any:
        module, bags = self.module, Bags(input, offsets, per_sample_weights)
        if module.sparse or _undone(module) or not bag_ops.can_run(module, bags):
            return self._in_torch(*bags)
        return bag_ops.embedding_bag(
            module.weight, *bags, module.mode, module.padding_idx, module.include_last_offset
        )  # fmt: skip


_FORWARDS: dict[type, Any] = {
    torch.nn.RNN: RecurrentForward,
    torch.nn.GRU: RecurrentForward,
    torch.nn.LSTM: RecurrentForward,
    torch.nn.EmbeddingBag: BagForward,
}


def _kind(module: Any) -> Kind:
    return Kind(
        module.mode, module.input_size, module.hidden_size, module.num_layers, module.bias,
        module.bidirectional,
    )  # fmt: skip


def _drops(module: Any) -> bool:
    return bool(module.training and module.dropout and module.num_layers > 1)


def _states(kind: Kind, hx: Any) -> tuple[Any, ...]:
    if hx is None:
        return ()
    if kind.states == 1:
        return (hx,)
    if not isinstance(hx, tuple) or len(hx) != kind.states:
        raise Declined("the state of an LSTM must be a tuple of two")
    return hx
