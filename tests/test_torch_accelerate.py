"""Modules of PyTorch that run in embedrnn: the results, gradients and errors are PyTorch's."""

import copy
import inspect
import io
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
import torch
from torch.nn.utils import prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

import embedrnn as er
from embedrnn.adapters.torch import Report, accelerate, restore
from embedrnn.layers.recurrent import Recurrent

KINDS = {
    "tanh": torch.nn.RNN,
    "relu": lambda *sizes, **options: torch.nn.RNN(*sizes, nonlinearity="relu", **options),
    "gru": torch.nn.GRU,
    "lstm": torch.nn.LSTM,
}
each_kind = pytest.mark.parametrize("kind", KINDS)
EPS = {torch.float32: 3e-6, torch.float64: 1e-13}


def parts(value: Any) -> Iterator[Any]:
    """Yield the tensors of results."""
    if isinstance(value, PackedSequence):
        yield from (part for part in value if part is not None)
    elif isinstance(value, tuple):
        for part in value:
            yield from parts(part)
    else:
        yield value


def detached(tensor: Any) -> Any:
    return tensor.detach()


@contextmanager
def without_pytorch(*classes: type) -> Iterator[None]:
    """Let no call fall back to PyTorch."""

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("the call was left to PyTorch")

    with pytest.MonkeyPatch.context() as patch:
        for cls in classes or (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM, torch.nn.EmbeddingBag):
            patch.setattr(cls, "forward", fail)
        yield


def accelerated(module: Any, **options: Any) -> Any:
    """Return an accelerated copy."""
    copied = copy.deepcopy(module)
    assert accelerate(copied, **options).left == {}
    return copied


def assert_alike(got: Any, wanted: Any) -> None:
    """Compare results, in type, shape and numbers."""
    assert type(got) is type(wanted)
    for one, other in zip(map(detached, parts(got)), map(detached, parts(wanted)), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        bound = EPS.get(other.dtype, 0) * max(1.0, float(other.abs().max()) if other.numel() else 1)
        assert float((one - other).abs().max() if one.numel() else 0) <= bound


def run_and_differentiate(module: Any, x: Any, state: Any) -> list[Any]:
    """Return what a call gives, and the gradients of a sum of it to all that it reads."""
    given = [part.detach().clone().requires_grad_() for part in parts(state)] if state else []
    data = x.data.detach().clone().requires_grad_()
    inputs = x._replace(data=data) if isinstance(x, PackedSequence) else data
    hx = None if not given else tuple(given) if len(given) > 1 else given[0]
    results = module(inputs, hx)
    floats = [part for part in parts(results) if part.is_floating_point()]
    weights = [torch.linspace(-1, 1, part.numel()).to(part).view(part.shape) for part in floats]
    loss = sum((part * weight).sum() for part, weight in zip(floats, weights, strict=True))
    return [results, *torch.autograd.grad(loss, [data, *given, *module.parameters()])]


@st.composite
def calls(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    """Draw a module, its input and its state."""
    small = st.integers(1, 5)
    sizes = (draw(small), draw(small), draw(st.integers(1, 3)))
    dtype = draw(st.sampled_from(list(EPS)))
    options = {name: draw(st.booleans()) for name in ("bias", "batch_first", "bidirectional")}
    kind = draw(st.sampled_from(list(KINDS)))
    torch.manual_seed(draw(st.integers(0, 99)))
    module = KINDS[kind](*sizes, dtype=dtype, **options)
    x, batch = draw_input(draw, sizes[0], dtype, options["batch_first"])
    shape = [sizes[2] * (1 + options["bidirectional"]), batch, sizes[1]]
    if batch == 0:
        del shape[1]
    state = tuple(torch.randn(shape, dtype=dtype) for _ in range(1 + (kind == "lstm")))
    return module, x, state if draw(st.booleans()) else ()


def draw_input(draw: st.DrawFn, width: int, dtype: Any, batch_first: bool) -> tuple[Any, int]:
    """Draw sequences, and how many they are: 0 for one without a batch axis."""
    form = draw(st.sampled_from(["padded", "strided", "alone", "sorted", "unsorted"]))
    batch, steps = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    if form == "alone":
        return torch.randn(steps, width, dtype=dtype), 0
    if form in {"sorted", "unsorted"}:
        lengths = sorted((draw(st.integers(1, steps)) for _ in range(batch)), reverse=True)
        rows = [torch.randn(n, width, dtype=dtype) for n in lengths]
        if form == "unsorted":
            rows = draw(st.permutations(rows))
        return pack_sequence(rows, enforce_sorted=form == "sorted"), batch
    outer = (batch, steps) if batch_first else (steps, batch)
    if form == "strided":
        return torch.randn(outer[1], 2 * width, outer[0], dtype=dtype).permute(2, 0, 1)[
            ..., ::2
        ], batch
    return torch.randn(*outer, width, dtype=dtype), batch


@given(calls())
def test_results_and_gradients_are_those_of_pytorch(call: Any) -> None:
    module, x, state = call
    ours = accelerated(module)
    wanted = run_and_differentiate(module, x, state)
    with without_pytorch():
        got = run_and_differentiate(ours, x, state)
        hx = None if not state else state if len(state) > 1 else state[0]
        with torch.no_grad():
            plain = ours(x, hx)
        with torch.inference_mode():
            inferred = ours(x, hx)
    for one, other in zip(got, wanted, strict=True):
        assert_alike(one, other)
    for one, other in zip(parts(plain), parts(got[0]), strict=True):
        assert torch.equal(one, other)
    assert not any(part.requires_grad for part in parts(plain))
    assert all(part.is_inference() for part in parts(inferred) if part.is_floating_point())


@each_kind
def test_time_major_output_is_in_one_piece(kind: str) -> None:
    module = KINDS[kind](3, 5)
    accelerate(module)
    for x in (torch.randn(4, 2, 3), torch.randn(1, 2, 3), torch.randn(4, 1, 3)):
        assert module(x)[0].is_contiguous()
        assert module(x.transpose(0, 1).contiguous().transpose(0, 1))[0].is_contiguous()


@pytest.mark.parametrize("form", ["padded", "packed", "alone"])
@each_kind
def test_gradients_by_finite_differences(kind: str, form: str) -> None:
    module = KINDS[kind](2, 3, 2, bidirectional=True, dtype=torch.float64)
    accelerate(module)
    states = 1 + (kind == "lstm")
    x = torch.randn(*((4,) if form == "alone" else (4, 3)), 2, dtype=torch.float64)
    batch = () if form == "alone" else (3,)
    lengths = torch.tensor([2, 4, 1])
    inputs = [x, *(torch.randn(4, *batch, 3, dtype=torch.float64) for _ in range(states))]

    def call(x: Any, *state: Any) -> Any:
        if form == "packed":
            x = pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, last = module(x, state if states > 1 else state[0])
        return output.data, *parts(last)

    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(call, inputs)
    with without_pytorch():  # which second derivatives do without
        assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


@each_kind
def test_only_what_needs_a_gradient_has_one(kind: str) -> None:
    module = KINDS[kind](3, 4)
    accelerate(module)
    x = torch.randn(5, 2, 3, requires_grad=True)
    module.weight_hh_l0.requires_grad_(False)
    output, _ = module(x)
    output.sum().backward()
    assert x.grad is not None
    assert module.weight_hh_l0.grad is None
    assert module.weight_ih_l0.grad is not None
    module.requires_grad_(False)
    assert not module(x.detach())[0].requires_grad
    _, last = module(x)
    next(parts(last)).sum().backward()  # and the output has no gradient


# --- weights that change -----------------------------------------------------------------------


def _halved(module: Any) -> dict[str, Any]:
    return {name: 0.5 * value for name, value in module.state_dict().items()}


def _fused(module: Any) -> None:
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.Adam(module.parameters(), fused=True, lr=0.1).step()


def _set_data(module: Any) -> None:
    for parameter in module.parameters():
        parameter.data = 0.5 * parameter.data


def _write_data(module: Any) -> None:
    for parameter in module.parameters():
        parameter.data.mul_(0.5)


def _write_through_numpy(module: Any) -> None:
    for parameter in module.parameters():
        parameter.detach().numpy()[...] *= 0.5


def _in_place(module: Any) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)


def _replaced(module: Any) -> None:
    for name, value in _halved(module).items():
        setattr(module, name, torch.nn.Parameter(value))


def _held_replaced(module: Any) -> None:
    for name, value in _halved(module).items():
        module._parameters[name] = torch.nn.Parameter(value)


def _parametrized(module: Any) -> None:
    class Half(torch.nn.Module):
        def forward(self, weight: Any) -> Any:
            return 0.5 * weight

    torch.nn.utils.parametrize.register_parametrization(module, "weight_hh_l0", Half())


CHANGES: dict[str, Callable[[Any], Any]] = {
    "load_state_dict": lambda module: module.load_state_dict(_halved(module)),
    "load_state_dict, assigned": lambda module: module.load_state_dict(
        _halved(module), assign=True
    ),
    "in place": _in_place,
    "set data": _set_data,
    "written data": _write_data,
    "NumPy": _write_through_numpy,
    "fused optimizer": _fused,
    "replaced": _replaced,
    "replaced where they are held": _held_replaced,
    "parametrized": _parametrized,
    "pruned": lambda module: prune.l1_unstructured(module, "weight_hh_l0", 0.5),
    "shared memory": lambda module: (module.share_memory(), _write_data(module)),
    "float64": lambda module: module.double(),
}
# What a version does not count is what frozen weights do without.
COUNTED = CHANGES.keys() - {"written data", "NumPy", "fused optimizer", "shared memory"}


@pytest.mark.parametrize(
    ("change", "frozen"),
    [*((name, False) for name in CHANGES), *((name, True) for name in sorted(COUNTED))],
)
@each_kind
def test_no_weight_is_stale(kind: str, change: str, frozen: bool) -> None:
    module = KINDS[kind](3, 4, bidirectional=True)
    accelerate(module, frozen=frozen)
    x = torch.randn(5, 2, 3)
    for recorded in (False, True, False):  # as in evaluation, training, evaluation
        with torch.set_grad_enabled(recorded):
            before = module(x)
    CHANGES[change](module)
    x = x.to(module.weight_ih_l0.dtype)
    for recorded in (False, True):
        with torch.set_grad_enabled(recorded), without_pytorch():
            after = module(x)
        assert not torch.equal(next(parts(after)), next(parts(before)))
        assert_alike(after, type(module).forward(module, x))


def test_frozen_weights_are_packed_once() -> None:
    module = torch.nn.GRU(3, 4)
    accelerate(module, frozen=True)
    x = torch.randn(5, 2, 3)
    with torch.no_grad():
        module(x)
        kept = module.forward._kept
        module(x)
        assert module.forward._kept is kept
        module.weight_hh_l0.mul_(0.5)
        module(x)
        assert module.forward._kept is not kept


def test_training_follows_pytorch() -> None:
    torch.manual_seed(3)
    theirs = torch.nn.ModuleDict({
        "bag": torch.nn.EmbeddingBag(20, 6), "rnn": torch.nn.GRU(6, 8, 2, bidirectional=True),
        "head": torch.nn.Linear(16, 1),
    })  # fmt: skip
    ours = accelerated(theirs)
    ids = torch.randint(20, (5 * 4, 3))
    losses = []
    for model in (theirs, ours):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02, fused=True)
        losses.append([])
        for _ in range(20):
            optimizer.zero_grad()
            output, _ = model["rnn"](model["bag"](ids).view(5, 4, 6))
            loss = (model["head"](output) - 1).square().mean()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[1][-1] < losses[1][0] / 2
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-4)


# --- bags --------------------------------------------------------------------------------------


@given(st.data())
def test_bags_and_their_gradients_are_those_of_pytorch(data: Any) -> None:
    draw, dtype = data.draw, data.draw(st.sampled_from(list(EPS)))
    mode = draw(st.sampled_from(["sum", "mean", "max"]))
    options = {
        "padding_idx": draw(st.sampled_from([None, 0, -1, 3])),
        "include_last_offset": draw(st.booleans()),
    }
    weighted = mode == "sum" and draw(st.booleans())
    module = torch.nn.EmbeddingBag(7, 3, mode=mode, dtype=dtype, **options)
    ids = torch.tensor(draw(st.lists(st.integers(0, 6), min_size=1, max_size=12)))
    ids = ids.to(draw(st.sampled_from([torch.int32, torch.int64])))
    offsets = None
    if draw(st.booleans()):
        ids = ids.view(1, -1) if draw(st.booleans()) else ids.view(-1, 1)
    else:
        inner = draw(st.lists(st.integers(0, len(ids)), max_size=3))
        ends = [len(ids)] if options["include_last_offset"] else []
        offsets = torch.tensor([0, *sorted(inner), *ends]).to(ids.dtype)
    weights = torch.randn(ids.shape, dtype=dtype, requires_grad=True) if weighted else None
    found = []
    for bag in (module, accelerated(module)):
        with without_pytorch() if found else pytest.MonkeyPatch.context():
            output = bag(ids, offsets, weights)
        wanted = [bag.weight, *([weights] if weighted else [])]
        grads = torch.autograd.grad((output * output.detach()).sum(), wanted)
        found.append((output, *grads))
    for got, expected in zip(found[1], found[0], strict=True):
        assert_alike(got, expected)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_sparse_gradients_of_bags(mode: str) -> None:
    module = torch.nn.EmbeddingBag(9, 4, mode=mode, sparse=True)
    ours = accelerated(module)
    ids = torch.tensor([[1, 2, 1], [8, 1, 0]])
    for bag in (module, ours):
        bag(ids).square().sum().backward()
    assert ours.weight.grad.is_sparse
    assert ours.weight.grad._nnz() == 4
    assert_alike(ours.weight.grad.to_dense(), module.weight.grad.to_dense())
    for bag in (module, ours):
        torch.optim.SparseAdam([bag.weight]).step()
    assert_alike(ours.weight, module.weight)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_gradients_of_bags_by_finite_differences(mode: str) -> None:
    module = torch.nn.EmbeddingBag(5, 3, mode=mode, padding_idx=1, dtype=torch.float64)
    accelerate(module)
    ids, offsets = torch.tensor([0, 4, 4, 1, 2]), torch.tensor([0, 3, 3])
    inputs = [module.weight]
    if mode == "sum":
        inputs.append(torch.randn(5, dtype=torch.float64, requires_grad=True))
    call = lambda _, *weights: module(ids, offsets, *weights)  # noqa: E731
    assert torch.autograd.gradcheck(call, inputs)
    with pytest.raises(NotImplementedError):  # as PyTorch's
        torch.autograd.gradgradcheck(call, inputs)


# --- what is left to PyTorch -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_the_report_has_reasons() -> None:
    class Own(torch.nn.GRU):
        def forward(self, x: Any) -> Any:
            return x

    class Named(torch.nn.GRU):
        pass

    somebodys = torch.nn.GRU(3, 4)
    somebodys.forward = lambda x: x
    model = torch.nn.ModuleDict({
        "lstm": torch.nn.LSTM(3, 4), "named": Named(3, 4), "bag": torch.nn.EmbeddingBag(3, 4),
        "projected": torch.nn.LSTM(3, 4, proj_size=2), "own": Own(3, 4), "set": somebodys,
        "norm": torch.nn.EmbeddingBag(3, 4, max_norm=1.0),
        "scaled": torch.nn.EmbeddingBag(3, 4, scale_grad_by_freq=True),
        "cell": torch.nn.LSTMCell(3, 4),
        "scripted": torch.jit.script(torch.nn.GRU(3, 4)), "linear": torch.nn.Linear(3, 4),
    })  # fmt: skip
    report = accelerate(model)
    assert report == Report(("lstm", "named", "bag"), report.left)
    assert report.left == {
        "projected": "has projections (proj_size=2)",
        "own": "has a forward of its own (Own)",
        "set": "has a forward that somebody has set",
        "norm": "writes to its table (max_norm=1.0)",
        "scaled": "scales its gradient (scale_grad_by_freq=True)",
        "cell": "is a cell, which takes one step at a time",
        "scripted": "is compiled by TorchScript",
    }
    assert str(report).startswith("in embedrnn, until restore(module): lstm, named, bag\n")
    assert "left to PyTorch: own, which has a forward of its own (Own)" in repr(report)
    assert str(accelerate(torch.nn.Linear(3, 4))) == "in embedrnn, until restore(module): nothing"
    assert accelerate(model).taken == report.taken  # again
    assert restore(model) == report.taken
    assert restore(model) == ()
    assert "forward" not in model["lstm"].__dict__
    assert "forward" in somebodys.__dict__


@pytest.mark.parametrize("call", [accelerate, restore])
def test_what_is_no_module_is_refused(call: Any) -> None:
    with pytest.raises(TypeError, match=r"^module must be a torch\.nn\.Module, got ndarray$"):
        call(np.ones(3))


@contextmanager
def counting_calls(cls: type) -> Iterator[list[Any]]:
    """Count the calls that are left to PyTorch."""
    calls: list[Any] = []
    plain = cls.forward  # type: ignore[attr-defined]

    def count(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return plain(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls, "forward", count)
        yield calls


def _lstm(**options: Any) -> Any:
    module = torch.nn.LSTM(3, 4, batch_first=True, **options)
    accelerate(module)
    return module


X = torch.zeros(2, 5, 3)


def _autocast(module: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return module(X)


LEFT: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "half": (lambda: _lstm(dtype=torch.bfloat16), lambda m: m(X.bfloat16())),
    "no rows": (_lstm, lambda m: m(X[:0])),
    "dropout": (lambda: _lstm(num_layers=2, dropout=0.5), lambda m: m(X)),
    "autocast": (_lstm, _autocast),
    "meta": (lambda: _lstm(device="meta"), lambda m: m(X.to("meta"))),
    "traced": (_lstm, lambda m: torch.jit.trace(m, X)),
    "torch.func": (_lstm, lambda m: torch.func.grad(lambda x: m(x)[0].sum())(X)),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(("make", "call"), LEFT.values(), ids=LEFT)
def test_calls_are_left_to_pytorch(make: Any, call: Any) -> None:
    module = make()
    with counting_calls(torch.nn.LSTM) as calls:
        call(module)
    assert calls


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forward_derivatives_are_pytorchs() -> None:
    module = torch.nn.RNN(3, 4, dtype=torch.float64)
    x, tangent = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    step = 1e-6 * tangent
    wanted = (module(x + step)[0] - module(x - step)[0]) / 2e-6
    accelerate(module)
    with torch.no_grad(), torch.autograd.forward_ad.dual_level():
        output, _ = module(torch.autograd.forward_ad.make_dual(x, tangent))
        got = torch.autograd.forward_ad.unpack_dual(output).tangent
    assert torch.allclose(got, wanted, atol=1e-6)


def test_what_is_observed_shows_operators() -> None:
    module = torch.nn.GRU(3, 4)
    x = torch.randn(5, 2, 3)
    accelerate(module)
    graph = torch.fx.experimental.proxy_tensor.make_fx(lambda x: module(x)[0])(x)
    assert "embedrnn.gru" in graph.code
    assert_alike(graph(2 * x), module(2 * x)[0])


def test_dropout_is_of_training_alone() -> None:
    module = torch.nn.LSTM(3, 4, 2, dropout=0.5)
    accelerate(module)
    module.eval()
    with without_pytorch():
        module(torch.randn(5, 2, 3))
    torch.manual_seed(0)
    dropped = module.train()(torch.ones(5, 2, 3))
    torch.manual_seed(0)
    assert_alike(dropped, type(module).forward(module, torch.ones(5, 2, 3)))


WRONG: dict[str, Callable[[Any], Any]] = {
    "width": lambda m: m(torch.zeros(2, 5, 4)),
    "axes": lambda m: m(torch.zeros(2, 5, 3, 1)),
    "one axis": lambda m: m(torch.zeros(3)),
    "dtype": lambda m: m(X.double()),
    "integers": lambda m: m(X.long()),
    "no steps": lambda m: m(X[:, :0]),
    "state of another batch": lambda m: m(X, (torch.zeros(1, 3, 4), torch.zeros(1, 3, 4))),
    "state without a batch": lambda m: m(X, (torch.zeros(1, 4), torch.zeros(1, 4))),
    "state of one sequence": lambda m: m(X[0], (torch.zeros(1, 1, 4), torch.zeros(1, 1, 4))),
    "state of another dtype": lambda m: m(X, (torch.zeros(1, 2, 4).double(),) * 2),
    "one state": lambda m: m(X, (torch.zeros(1, 2, 4),)),
    "no tensor": lambda m: m(X.numpy()),
    "list": lambda m: m(X.tolist()),
    "state of lists": lambda m: m(X, ([], [])),
    "no arguments": lambda m: m(),
    "unknown argument": lambda m: m(X, lengths=3),
    "packed of another dtype": lambda m: m(pack_sequence([torch.zeros(5, 3).double()])),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_errors_are_those_of_pytorch(call: Any) -> None:
    module = torch.nn.LSTM(3, 4, batch_first=True)
    with pytest.raises(Exception) as wanted:  # noqa: PT011 (whatever PyTorch raises)
        call(module)
    accelerate(module)
    with pytest.raises(type(wanted.value)) as got:
        call(module)
    assert str(got.value) == str(wanted.value)
    assert got.value.__context__ is None


WRONG_BAGS: dict[str, Callable[[Any], Any]] = {
    "out of range": lambda m: m(torch.tensor([[1, 7]])),
    "negative": lambda m: m(torch.tensor([[-1, 2]])),
    "offsets with rows": lambda m: m(torch.tensor([[1, 2]]), torch.tensor([0])),
    "no offsets": lambda m: m(torch.tensor([1, 2])),
    "offsets from 1": lambda m: m(torch.tensor([1, 2]), torch.tensor([1])),
    "floats": lambda m: m(torch.tensor([[1.0]])),
    "weights of a mean": lambda m: m(torch.tensor([[1]]), None, torch.ones(1, 1)),
    "weights of another shape": lambda m: m(torch.tensor([[1]]), None, torch.ones(1)),
}


@pytest.mark.parametrize("call", WRONG_BAGS.values(), ids=WRONG_BAGS)
def test_errors_of_bags_are_those_of_pytorch(call: Any) -> None:
    module = torch.nn.EmbeddingBag(7, 3)
    with pytest.raises(Exception) as wanted:  # noqa: PT011
        call(module)
    accelerate(module)
    with pytest.raises(type(wanted.value)) as got:
        call(module)
    assert str(got.value) == str(wanted.value)


def test_weights_of_another_shape_are_an_error_of_pytorch() -> None:
    module = torch.nn.GRU(3, 4)
    accelerate(module)
    module.weight_hh_l0 = torch.nn.Parameter(torch.zeros(12, 5))
    with pytest.raises(RuntimeError):
        module(torch.zeros(5, 2, 3))


# --- modules as they were ----------------------------------------------------------------------


def test_an_accelerated_module_is_as_it_was() -> None:
    module = torch.nn.LSTM(3, 4)
    state, shown = set(module.state_dict()), repr(module)
    signature = inspect.signature(module.forward)
    accelerate(module)
    assert type(module) is torch.nn.LSTM
    assert set(module.state_dict()) == state
    assert repr(module) == shown
    assert inspect.signature(module.forward) == signature
    assert [name for name, _ in module.named_modules()] == [""]


def test_hooks_fire() -> None:
    module, seen = torch.nn.LSTM(3, 4), []
    accelerate(module)
    module.register_forward_pre_hook(lambda _, args: seen.append("before"))
    module.register_forward_hook(lambda *_: seen.append("behind"))
    module.register_full_backward_hook(lambda *_: seen.append("backward"))
    x = torch.randn(5, 2, 3, requires_grad=True)
    with without_pytorch():
        module(x)[0].sum().backward()
    assert seen == ["before", "behind", "backward"]


def _through_pickle(module: Any) -> Any:
    return pickle.loads(pickle.dumps(module))


def _through_torch(module: Any) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, _through_pickle, _through_torch])
def test_copies_have_weights_of_their_own(copied: Any) -> None:
    model = torch.nn.Sequential(torch.nn.GRU(3, 4), torch.nn.Identity())
    accelerate(model, frozen=True)
    x = torch.randn(5, 2, 3)
    with torch.no_grad():
        before = model[0](x)
    other = copied(model)
    assert other[0].forward.module is other[0]
    assert other[0].forward.frozen
    with torch.no_grad(), without_pytorch():
        assert_alike(other[0](x), before)
        for weight in other.parameters():
            weight.zero_()
        assert float(other[0](x)[0].abs().max()) == 0
        assert_alike(model[0](x), before)
    assert restore(other) == ("0",)
    assert accelerate(model).taken == ("0",)


def test_restored_modules_go_with_no_trace() -> None:
    module = torch.nn.GRU(3, 4)
    before = set(module.__dict__)
    accelerate(module)
    module(torch.zeros(5, 2, 3))
    restore(module)
    assert set(module.__dict__) == before


def test_other_devices_and_back() -> None:
    module = torch.nn.GRU(3, 4)
    accelerate(module)
    x = torch.randn(5, 2, 3)
    wanted = module(x)
    state = module.state_dict()
    module.to("meta")
    assert module(x.to("meta"))[0].device.type == "meta"
    module.to_empty(device="cpu").load_state_dict(state)
    with without_pytorch():
        assert_alike(module(x), wanted)


def test_functional_calls_have_their_own_weights() -> None:
    module = torch.nn.LSTM(3, 4)
    accelerate(module)
    x, zeros = torch.randn(5, 2, 3), {k: 0 * v for k, v in module.state_dict().items()}
    with without_pytorch():
        output, _ = torch.func.functional_call(module, zeros, (x,))
    assert float(output.detach().abs().max()) == 0
    assert float(module(x)[0].detach().abs().max()) > 0


@pytest.mark.parametrize("changed", ["x", "weight_hh_l0"])
def test_what_changes_before_backward_is_an_error_as_in_pytorch(changed: str) -> None:
    module = torch.nn.GRU(3, 4)
    accelerate(module)
    x = torch.randn(5, 2, 3)
    output, _ = module(x)
    with torch.no_grad():
        (x if changed == "x" else module.weight_hh_l0).zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(reentrant: bool) -> None:
    module = torch.nn.GRU(3, 4)
    accelerate(module)
    x = torch.randn(5, 2, 3, requires_grad=True)
    run = lambda x: module(x)[0]  # noqa: E731
    torch.utils.checkpoint.checkpoint(run, x, use_reentrant=reentrant).sum().backward()
    (wanted,) = torch.autograd.grad(run(x).sum(), x)
    assert_alike(x.grad, wanted)


def test_backward_may_be_called_again_where_the_graph_is_kept() -> None:
    module = torch.nn.GRU(3, 4)
    accelerate(module)
    x = torch.randn(5, 2, 3, requires_grad=True)
    loss = module(x)[0].sum()
    first, second = (torch.autograd.grad(loss, x, retain_graph=keep) for keep in (True, False))
    assert torch.equal(first[0], second[0])
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, x)


def test_threads_share_a_module() -> None:
    module = torch.nn.LSTM(16, 32, 2, bidirectional=True)
    accelerate(module, frozen=True)
    inputs = [torch.randn(7, 3, 16) for _ in range(4)]
    wanted = [module(x)[0].detach() for x in inputs]
    wrong = []

    def work(x: Any, output: Any) -> None:
        for i in range(30):
            with torch.set_grad_enabled(i % 2 == 0):
                if not torch.equal(module(x)[0].detach(), output):
                    wrong.append(i)

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(inputs, wanted, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_numpy_backend_runs_modules_too() -> None:
    module = torch.nn.LSTM(3, 4, bidirectional=True)
    x = torch.randn(5, 2, 3)
    wanted = run_and_differentiate(module, x, ())
    accelerate(module)
    with er.use_backend("numpy"), without_pytorch():
        got = run_and_differentiate(module, x, ())
    for one, other in zip(got, wanted, strict=True):
        assert_alike(one, other)


@pytest.mark.parametrize("cls", [torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM])
@pytest.mark.parametrize("of_x", [False, True])
@pytest.mark.parametrize("of_state", [None, False, True])
def test_what_nobody_needs_is_not_computed(
    cls: Any, of_x: bool, of_state: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, asked = cls(3, 4, 2, batch_first=True).double(), []
    plain = Recurrent._run_vjp

    def run_vjp(layer: Any, *args: Any, of_x: bool, of_state: bool) -> Any:
        asked.append((of_x, of_state))
        return plain(layer, *args, of_x=of_x, of_state=of_state)

    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=of_x)
    parts = [torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=bool(of_state))
             for _ in range(1 + (cls is torch.nn.LSTM))]  # fmt: skip
    hx = None if of_state is None else tuple(parts) if len(parts) > 1 else parts[0]
    wanted = [tensor for tensor in (x, *parts) if tensor.requires_grad and of_state is not None]
    wanted += [x] if of_x and of_state is None else []
    wanted += module.parameters()

    def gradients() -> Any:
        output, last = module(x, hx)
        last = last[0] if isinstance(last, tuple) else last
        return torch.autograd.grad(output.square().sum() + last.sum(), wanted)

    expected = gradients()
    accelerate(module)
    monkeypatch.setattr(Recurrent, "_run_vjp", run_vjp)
    for got, want in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(got, want)
    assert asked == [(of_x, bool(of_state))]


def test_frozen_weights_of_inference_mode_are_packed_in_each_call() -> None:
    with torch.inference_mode():
        module = torch.nn.GRU(5, 7)
        accelerate(module, frozen=True)
        x = torch.randn(3, 4, 5)
        before = module(x)
        module.weight_hh_l0.mul_(0.5)
        after = module(x)
        assert not torch.equal(after[0], before[0])
        assert_alike(after, torch.nn.GRU.forward(module, x))
