"""The modules and the operators for PyTorch, alone and in what it compiles and exports."""

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch.export import Dim, export
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import embedrnn as er
from embedrnn.adapters.torch import GRU, LSTM, RNN, accelerate

CLASSES = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
each_cell = pytest.mark.parametrize("cell", CLASSES)
LENGTHS = [4, 0, 2]


def normal(*shape: int) -> Any:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def parts(value: Any) -> list[Any]:
    return (
        [value] if isinstance(value, torch.Tensor) else [p for part in value for p in parts(part)]
    )


# --- modules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [None, LENGTHS, torch.tensor(LENGTHS)], ids=type)
@each_cell
def test_a_module_is_the_layer_of_ours(cell: str, lengths: Any) -> None:
    module = CLASSES[cell](3, 5, 2, bidirectional=True)
    layer = getattr(er, cell.upper())(3, 5, 2, bidirectional=True)
    layer.load_state_dict({k: v.numpy() for k, v in module.state_dict().items()})
    x = torch.randn(3, 4, 3)
    state = tuple(torch.randn(4, 3, 5) for _ in range(1 + (cell == "lstm")))
    given = state if cell == "lstm" else state[0]
    got = parts(module(x, lengths, given))
    arrays = tuple(part.numpy() for part in state)
    wanted = layer(
        x.numpy(), None if lengths is None else np.asarray(lengths),
        arrays if cell == "lstm" else arrays[0],
    )  # fmt: skip
    flat = [wanted[0], *(wanted[1] if cell == "lstm" else [wanted[1]])]
    for one, other in zip(got, flat, strict=True):
        assert np.array_equal(one.detach().numpy(), other)


@each_cell
def test_parameters_go_to_pytorch_and_back(cell: str) -> None:
    theirs = getattr(torch.nn, cell.upper())(3, 5, 2, batch_first=True, bidirectional=True)
    ours = CLASSES[cell](3, 5, 2, bidirectional=True)
    assert [k for k, _ in ours.named_parameters()] == [k for k, _ in theirs.named_parameters()]
    bound = 5**-0.5
    assert all(float(weight.detach().abs().max()) <= bound for weight in ours.parameters())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 4, 3)
    for one, other in zip(parts(ours(x)), parts(theirs(x)), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    theirs.load_state_dict(CLASSES[cell](3, 5, 2, bidirectional=True).state_dict())
    assert repr(ours) == f"{cell.upper()}(3, 5, num_layers=2, bidirectional=True)"
    assert repr(CLASSES[cell](3, 5, bias=False)) == f"{cell.upper()}(3, 5, bias=False)"
    for other in (copy.deepcopy(ours), ours.double()):
        assert len(list(other.parameters())) == 16


@each_cell
def test_gradients_by_finite_differences(cell: str) -> None:
    module = CLASSES[cell](2, 3, bidirectional=True, dtype=torch.float64)
    x, lengths = normal(3, 4, 2), torch.tensor(LENGTHS)
    weights = dict(module.named_parameters())

    def call(x: Any, *values: Any) -> list[Any]:
        new = dict(zip(weights, values, strict=True))
        return parts(torch.func.functional_call(module, new, (x, lengths)))

    assert torch.autograd.gradcheck(call, (x, *weights.values()))


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "batch_first": (lambda: GRU(3, 4, batch_first=False), ValueError,
                    "^batch_first must be True: no other value has a meaning here$"),
    "dropout": (lambda: LSTM(3, 4, dropout=0.5), ValueError, "^dropout must be 0: "),
    "projections": (lambda: LSTM(3, 4, proj_size=2), TypeError, "proj_size"),
    "size": (lambda: RNN(3, 0), ValueError, "^hidden_size must be 1 or more, got 0$"),
    "nonlinearity": (lambda: RNN(3, 4, nonlinearity="sin"), ValueError, "^nonlinearity must be "),
    "array": (lambda: GRU(3, 4)(np.ones((2, 5, 3))), TypeError,
              r"^x must be a torch\.Tensor, got ndarray$"),
    "axes": (lambda: GRU(3, 4)(torch.ones(5, 3)), ValueError,
             r"^x must have shape \(B, T, I\), got \(5, 3\)$"),
    "width": (lambda: GRU(3, 4)(torch.ones(2, 5, 4)), ValueError, r"^x must have shape \(B, T, 3"),
    "half": (lambda: GRU(3, 4)(torch.ones(2, 5, 3).half()), TypeError,
             r"^x must be float32 or float64, got torch\.float16$"),
    "other dtype": (lambda: GRU(3, 4)(torch.ones(2, 5, 3).double()), TypeError,
                    "^weights must be float64"),
    "device": (lambda: GRU(3, 4, device="meta")(torch.ones(2, 5, 3)), TypeError,
               "^only plain tensors on a CPU run here, got one of meta$"),
    "lengths": (lambda: GRU(3, 4)(torch.ones(2, 5, 3), [6, 1]), ValueError, "^lengths"),
    "state": (lambda: LSTM(3, 4)(torch.ones(2, 5, 3), None, torch.ones(1, 2, 4)), TypeError,
              "^state must be a tuple of 2 tensors, got Tensor$"),
    "state of arrays": (lambda: LSTM(3, 4)(torch.ones(2, 5, 3), None, (np.ones((1, 2, 4)),) * 2),
                        TypeError, "^state must be a tuple of tensors, got ndarray$"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_errors_name_the_argument(call: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_second_derivatives_are_refused_where_rows_have_lengths() -> None:
    module = LSTM(3, 4)
    x = torch.randn(2, 5, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(module(x)[0].square().sum(), x, create_graph=True)
    grad.sum().backward()
    with pytest.raises(NotImplementedError, match="second derivatives"):
        torch.autograd.grad(module(x, [5, 2])[0].sum(), x, create_graph=True)


# --- operators ---------------------------------------------------------------------------------


def operands(cell: str, form: str, with_state: bool) -> tuple[Any, ...]:
    """Return the arguments of an operator."""
    module = getattr(torch.nn, cell.upper())(2, 3, 2, bidirectional=True, dtype=torch.float64)
    states = [normal(4, 3, 3) for _ in range(1 + (cell == "lstm"))] if with_state else []
    x, where = normal(3, 4, 2), [None, None, None]
    if form == "lengths":
        where[0] = torch.tensor(LENGTHS)
    elif form != "padded":
        lengths = torch.tensor([4, 1, 2] if form == "unsorted" else [4, 2, 1])
        packed = pack_padded_sequence(
            x.detach(), lengths, batch_first=True, enforce_sorted=form == "sorted"
        )
        x, where = packed.data.requires_grad_(), [None, *packed[1:3]]
    variant = ["tanh"] if cell == "rnn" else []
    return x, states, list(module.parameters()), *where, *variant, 2, True, True


@pytest.mark.parametrize("with_state", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("form", ["padded", "lengths", "sorted", "unsorted"])
@each_cell
def test_operators_are_as_pytorch_asks(cell: str, form: str, with_state: bool) -> None:
    arguments = operands(cell, form, with_state)
    op = getattr(torch.ops.embedrnn, cell).default
    assert set(torch.library.opcheck(op, arguments).values()) == {"SUCCESS"}
    x, states, weights, *others = arguments
    n = len(states)

    def call(x: Any, *tensors: Any) -> Any:
        return op(x, list(tensors[:n]), list(tensors[n:]), *others)

    assert torch.autograd.gradcheck(call, (x, *states, *weights), fast_mode=True)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("form", ["rows", "offsets", "last offset", "padding"])
def test_the_operator_of_bags_is_as_pytorch_asks(mode: str, form: str) -> None:
    table, ids = normal(6, 3), torch.tensor([1, 2, 2, 5, 0, 4])
    offsets = torch.tensor([0, 2, 2])
    last = form == "last offset"
    if last:
        offsets = torch.cat([offsets, torch.tensor([6])])
    if form == "rows":
        ids, offsets = ids.view(2, 3), None
    weights = normal(*ids.shape) if mode == "sum" else None
    others = (mode, 2 if form == "padding" else None, last)
    op = torch.ops.embedrnn.embedding_bag.default
    results = torch.library.opcheck(op, (table, ids, offsets, weights, *others))
    assert set(results.values()) == {"SUCCESS"}
    call = lambda *floats: op(floats[0], ids, offsets, *(floats[1:] or [None]), *others)  # noqa: E731
    assert torch.autograd.gradcheck(call, (table, *([weights] if mode == "sum" else [])))


def test_operators_refuse_what_does_not_fit() -> None:
    x, states, weights, *others = operands("gru", "padded", with_state=False)
    run = torch.ops.embedrnn.gru
    with pytest.raises(TypeError, match="weights must be float64"):
        run(x[..., :1], states, weights, *others)
    with pytest.raises(TypeError, match="x must be float32 or float64"):
        run(x.half(), states, weights, *others)
    with pytest.raises(ValueError, match="state must have shape"):
        run(x, [normal(1, 3, 3)], weights, *others)


# --- compiled and exported ---------------------------------------------------------------------


class Model(torch.nn.Module):
    """Layers of PyTorch, on padded sequences."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(5, 7, 2, batch_first=batch_first, bidirectional=True)
        self.rnn = torch.nn.RNN(14, 4, nonlinearity="relu", batch_first=batch_first)
        self.gru = torch.nn.GRU(4, 3, batch_first=batch_first)

    def forward(self, x: Any) -> Any:
        output, (h_n, _) = self.lstm(x)
        output, state = self.rnn(output, torch.ones_like(h_n[:1, :, :4]))
        return self.gru(output)[0].sum(-1) + h_n.sum() + state.sum()


class Ragged(torch.nn.Module):
    """Layers of ours, on sequences and their lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = LSTM(5, 7, bidirectional=True), GRU(14, 3)

    def forward(self, x: Any, lengths: Any) -> Any:
        output, (h_n, _) = self.lstm(x, lengths)
        return self.gru(output, lengths, torch.zeros_like(h_n[:1, :, :3]))[0].sum(-1)


class Packed(torch.nn.Module):
    """A layer of PyTorch on the fields of packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = torch.nn.GRU(5, 7)

    def forward(self, *fields: Any) -> Any:
        output, h_n = self.gru(PackedSequence(*fields))
        return output.data.sum() + h_n.sum()


@pytest.fixture
def compiling() -> Any:
    """Let Dynamo look into recurrent layers, which it does not by itself."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):
        yield


def operators(program: Any) -> set[str]:
    names = {str(node.target) for node in program.graph.nodes}
    return {name.split(".")[1] for name in names if name.startswith("embedrnn.")}


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize("batch_first", [True, False])
def test_compiled_models_and_their_gradients(batch_first: bool) -> None:
    model = Model(batch_first)
    ours = copy.deepcopy(model)
    accelerate(ours)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    for shape in ((3, 4), (6, 8)):
        x = torch.randn(*shape, 5)
        got, wanted = compiled(x), model(x)
        assert torch.allclose(got, wanted, atol=1e-5)
        grads = [
            torch.autograd.grad(result.sum(), list(m.parameters()))
            for result, m in ((got, ours), (wanted, model))
        ]
        for one, other in zip(*grads, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize("make", [Ragged, Packed])
def test_compiled_models_of_unequal_lengths(make: Any) -> None:
    model = make()
    x, lengths = torch.randn(3, 4, 5), torch.tensor([4, 1, 2])
    arguments = (x, lengths)
    if make is Packed:
        arguments = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    wanted = model(*arguments)
    accelerate(model)
    got = torch.compile(model, fullgraph=True, backend="aot_eager")(*arguments)
    assert torch.allclose(got, wanted, atol=1e-5)
    got.sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_without_a_full_graph_layers_run_between_graphs() -> None:
    torch._dynamo.reset()
    model = Model(batch_first=True)
    x = torch.randn(3, 4, 5)
    wanted = model(x)
    accelerate(model)
    compiled = torch.compile(model, backend="aot_eager")
    assert torch.allclose(compiled(x), wanted, atol=1e-5)


@pytest.mark.usefixtures("compiling")
def test_compiled_bags() -> None:
    model = torch.nn.EmbeddingBag(9, 5)
    ids, offsets = torch.tensor([1, 2, 8]), torch.tensor([0, 1])
    wanted = model(ids, offsets)
    accelerate(model)
    got = torch.compile(model, fullgraph=True, backend="aot_eager")(ids, offsets)
    assert torch.allclose(got, wanted)
    got.sum().backward()
    assert float(model.weight.grad.sum()) == pytest.approx(10)


B, T = Dim("B", min=1), Dim("T", min=1)


@pytest.mark.parametrize("strict", [False, True], ids=["non-strict", "strict"])
def test_exported_models_have_any_batch_and_time(strict: bool) -> None:
    model = Model(batch_first=True).eval()
    accelerate(model)
    shapes = ({0: B, 1: T},)
    program = export(model, (torch.randn(3, 4, 5),), dynamic_shapes=shapes, strict=strict)
    assert operators(program) == {"lstm", "rnn", "gru"}
    x = torch.randn(6, 8, 5)
    assert torch.allclose(program.module()(x), model(x), atol=1e-6)


@pytest.mark.parametrize("strict", [False, True], ids=["non-strict", "strict"])
def test_exported_models_have_any_lengths(strict: bool) -> None:
    model = Ragged().eval()
    example = (torch.randn(3, 4, 5), torch.tensor(LENGTHS))
    shapes = ({0: B, 1: T}, {0: B})
    program = export(model, example, dynamic_shapes=shapes, strict=strict)
    assert operators(program) == {"lstm", "gru"}
    x, lengths = torch.randn(6, 8, 5), torch.tensor([1, 8, 3, 0, 5, 2])
    assert torch.equal(program.module()(x, lengths), model(x, lengths))


def test_traced_modules_run_the_operators() -> None:
    model = Ragged()
    x, lengths = torch.randn(3, 4, 5), torch.tensor(LENGTHS)
    traced = torch.jit.trace(model, (x, lengths))
    assert torch.equal(traced(x, lengths), model(x, lengths))
