"""What autograd keeps of a call that runs here: tensors that may move, and little memory."""

import copy
import gc
import pickle
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import embedrnn as er
from embedrnn.adapters.torch import LSTM, accelerate
from embedrnn.adapters.torch.recurrent import Live, RecurrentCall
from embedrnn.layers.recurrent import Recurrent

saved_tensors_hooks = torch.autograd.graph.saved_tensors_hooks


class Problem:
    """A module, and what it is called with; `loss` gives a number of the outputs."""

    def __init__(self, module: Any, *inputs: Any) -> None:
        self.module, self.inputs = module, list(inputs)

    def loss(self, *, accelerated: bool) -> Any:
        if accelerated:
            accelerate(self.module)
        outputs = self.module(*self.inputs)
        output = outputs[0] if isinstance(outputs, tuple) else outputs
        return (output.data if isinstance(output, PackedSequence) else output).square().sum()

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yield all floats that a call reads."""
        yield from self.module.parameters()
        for given in self.inputs:
            parts = given if isinstance(given, tuple) else (given,)
            yield from (part for part in parts if part is not None and part.is_floating_point())


def wanting(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def padded() -> Problem:
    module = torch.nn.LSTM(3, 4, 2, bidirectional=True).double()
    return Problem(module, wanting(5, 2, 3), (wanting(4, 2, 4), wanting(4, 2, 4)))


def packed() -> Problem:
    sequences = pack_padded_sequence(
        torch.randn(5, 3, 3, dtype=torch.float64), torch.tensor([2, 5, 4]), enforce_sorted=False
    )
    return Problem(torch.nn.GRU(3, 4).double(), sequences, wanting(1, 3, 4))


def bag() -> Problem:
    module = torch.nn.EmbeddingBag(6, 3, mode="sum").double()
    return Problem(module, torch.tensor([[0, 5, 5], [2, 2, 1]]), None, wanting(2, 3))


each_problem = pytest.mark.parametrize("make", [padded, packed, bag])


def gradients(problem: Problem, loss: Any) -> list[torch.Tensor]:
    wanted = [tensor for tensor in problem.tensors() if tensor.requires_grad]
    return list(torch.autograd.grad(loss, wanted))


def copied(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone()


def floats_copied(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone() if tensor.is_floating_point() and tensor.numel() else tensor


def moved_away(tensor: torch.Tensor) -> Any:
    return pickle.dumps(tensor.detach())


def as_it_is(tensor: Any) -> Any:
    return tensor


@each_problem
@pytest.mark.parametrize(
    ("pack", "unpack"),
    [(copied, as_it_is), (floats_copied, as_it_is), (moved_away, pickle.loads)],
)
def test_hooks_give_the_gradients_at_what_they_have_kept(
    make: Callable[[], Problem], pack: Any, unpack: Any
) -> None:
    problem = make()
    wanted = gradients(problem, problem.loss(accelerated=False))
    with saved_tensors_hooks(pack, unpack):
        loss = problem.loss(accelerated=True)
    with torch.no_grad():
        for tensor in problem.tensors():
            tensor.add_(3)
    for got, want in zip(gradients(problem, loss), wanted, strict=True):
        torch.testing.assert_close(got, want)


@each_problem
def test_tensors_kept_on_another_device_come_back(make: Callable[[], Problem]) -> None:
    problem = make()
    wanted = gradients(problem, problem.loss(accelerated=False))
    with torch.autograd.graph.save_on_cpu():
        loss = problem.loss(accelerated=True)
    for got, want in zip(gradients(problem, loss), wanted, strict=True):
        torch.testing.assert_close(got, want)


def test_a_change_of_what_is_read_is_an_error() -> None:
    lengths, x = torch.tensor([2, 4]), torch.randn(2, 5, 3)
    output, _ = LSTM(3, 4)(x, lengths)
    lengths -= 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()

    bags = torch.nn.EmbeddingBag(6, 3)
    accelerate(bags)
    indices = torch.tensor([[0, 1]])
    output = bags(indices)
    indices += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()

    sequences = pack_padded_sequence(torch.randn(5, 2, 3), torch.tensor([5, 2]))
    gru = torch.nn.GRU(3, 4)
    accelerate(gru)
    output = gru(sequences)[0].data
    sequences.batch_sizes[-1] += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_memory_is_given_back_by_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    module, kept = torch.nn.LSTM(3, 4), []
    accelerate(module)
    plain = RecurrentCall.vjp

    def vjp(call: Any, needed: Any) -> Any:
        outputs, back = plain(call, needed)
        kept.extend(map(weakref.ref, [back, call.layer, *call.layer._cells()]))
        return outputs, back

    monkeypatch.setattr(RecurrentCall, "vjp", vjp)
    output, _ = module(torch.randn(5, 2, 3, requires_grad=True))
    gc.collect()
    assert all(part() is not None for part in kept)
    output.sum().backward()
    assert [part() for part in kept] == [None] * 3
    assert output.grad_fn is not None  # which held them all


@contextmanager
def cells_of_calls() -> Iterator[list[Any]]:
    """Give the packed cells of each recorded call."""
    found: list[Any] = []
    plain = Recurrent._run_vjp

    def run_vjp(layer: Any, *args: Any, **options: Any) -> Any:
        found.append(layer._cells())
        return plain(layer, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recurrent, "_run_vjp", run_vjp)
        yield found


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_calls_that_wait_for_backward_share_their_packed_weights(backend: str) -> None:
    module = torch.nn.LSTM(3, 4, 2, bidirectional=True)
    accelerate(module)
    with er.use_backend(backend), cells_of_calls() as found:
        outputs, state = [], None
        for _ in range(4):  # a decoder, whose steps are calls
            output, state = module(torch.randn(1, 2, 3), state)
            outputs.append(output)
        assert len({id(cell) for cells in found for cell in cells}) == 4
        torch.cat(outputs).sum().backward()


@pytest.mark.parametrize("parameter", ["weight_ih_l0", "weight_hh_l1", "bias_hh_l1_reverse"])
def test_weights_that_change_between_calls_are_packed_again(parameter: str) -> None:
    module = torch.nn.LSTM(3, 4, 2, bidirectional=True).double()
    other = copy.deepcopy(module)
    accelerate(module)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    first, second = (m(x)[0].sum() for m in (module, other))
    for changed in (module, other):
        getattr(changed, parameter).data.view(-1)[-1] += 1  # which no version of PyTorch counts
    for m, before in ((module, first), (other, second)):
        m(x)[0].square().sum().backward()
        assert before.requires_grad
    for got, want in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad)


def test_nothing_is_shared_between_backends_and_instruction_sets() -> None:
    module = torch.nn.GRU(3, 4)
    accelerate(module)
    x = torch.randn(5, 2, 3)
    with cells_of_calls() as found:
        outputs = [module(x)[0]]
        with er.use_backend("numpy"):
            outputs.append(module(x)[0])
        outputs.append(module(x)[0])
    assert type(found[0][0]) is type(found[2][0]) is not type(found[1][0])
    torch.cat(outputs).sum().backward()


def test_a_copy_of_what_is_alive_shares_nothing() -> None:
    layer = LSTM(3, 4)
    output, _ = layer(torch.randn(2, 5, 3))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert isinstance(other._live, Live)
        assert other._live._last == (None, [])
    output.sum().backward()


# --- gradients of gradients, where tensors of a call depend on each other -------------------------


def decoded(module: Any) -> Any:
    x, state = torch.ones(2, 1, 5), None
    for _ in range(3):
        x, state = module(x, state)
    return x.square().sum()


def of_one_state(module: Any) -> Any:
    x, h = torch.ones(2, 4, 5), next(module.parameters())[:2].reshape(1, 2, 5)
    state = (h, h) if isinstance(module, (torch.nn.LSTM, LSTM)) else h
    return module(x, state)[0].square().sum()


def of_states_from_x(module: Any) -> Any:
    x = next(module.parameters())[:2].reshape(2, 1, 5).repeat(1, 4, 1)
    h = x.mean(1)[None]
    state = (h, 2 * h) if isinstance(module, (torch.nn.LSTM, LSTM)) else h
    return module(x, state)[0].square().sum()


def of_packed(module: Any) -> Any:
    h = next(module.parameters())[:2].reshape(1, 2, 5)
    state = (h, 2 * h) if isinstance(module, (torch.nn.LSTM, LSTM)) else h
    sequences = pack_padded_sequence(torch.ones(2, 4, 5), torch.tensor([2, 4]),
                                     batch_first=True, enforce_sorted=False)  # fmt: skip
    return module(sequences, state)[0].data.square().sum()


def derivatives(module: Any, loss: Callable[..., Any], call: Any = None) -> list[torch.Tensor]:
    """Return the first derivatives, and those of their squares."""
    weights = list(module.parameters())
    first = torch.autograd.grad(loss(call or module), weights, create_graph=True)
    second = torch.autograd.grad(sum(grad.square().sum() for grad in first), weights)
    return [*first, *second]


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("cls", [torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM])
@pytest.mark.parametrize("loss", [decoded, of_one_state, of_states_from_x, of_packed])
def test_second_derivatives_of_tensors_that_depend_on_each_other(
    cls: Any, loss: Callable[[Any], Any]
) -> None:
    module = cls(5, 5, batch_first=True)
    wanted = derivatives(module, loss)
    accelerate(module)
    for got, want in zip(derivatives(module, loss), wanted, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.usefixtures("float64")
def test_second_derivatives_of_tied_weights() -> None:
    module = torch.nn.LSTM(5, 5, 2, batch_first=True)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(module, f"{name}_l1", getattr(module, f"{name}_l0"))
    wanted = derivatives(module, decoded)
    accelerate(module)
    for got, want in zip(derivatives(module, decoded), wanted, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.usefixtures("float64")
def test_second_derivatives_of_our_own_modules() -> None:
    module = torch.nn.LSTM(5, 5, batch_first=True)
    ours = LSTM(5, 5)
    ours.load_state_dict(module.state_dict())
    wanted = derivatives(module, decoded)

    def step(x: Any, state: Any) -> Any:
        return ours(x, state=state)

    for got, want in zip(derivatives(ours, decoded, step), wanted, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.usefixtures("float64")
def test_differentiable_gradients_of_bags_whose_weights_are_of_their_table() -> None:
    module, indices = torch.nn.EmbeddingBag(6, 3, mode="sum"), torch.tensor([[0, 5, 5], [2, 2, 1]])

    def gradient() -> Any:
        loss = module(indices, None, module.weight[:2] ** 2).square().sum()
        return torch.autograd.grad(loss, module.weight, create_graph=True)[0]

    wanted = gradient()  # PyTorch itself goes no further
    accelerate(module)
    torch.testing.assert_close(gradient(), wanted)


# --- what goes through autograd otherwise ---------------------------------------------------------


@pytest.mark.usefixtures("float64")
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # of PyTorch's own
def test_a_forward_derivative_of_the_way_back() -> None:
    module, x = torch.nn.GRU(5, 5), torch.randn(3, 2, 5, requires_grad=True)

    def tangent() -> Any:
        output = module(x)[0].square().sum()
        one = torch.tensor(1.0)
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(one, one)
            (grad,) = torch.autograd.grad(output, x, dual)
            return torch.autograd.forward_ad.unpack_dual(grad).tangent.clone()

    wanted = tangent()
    accelerate(module)
    torch.testing.assert_close(tangent(), wanted)


def test_batched_gradients_are_refused_with_what_to_do() -> None:
    module, x = torch.nn.GRU(5, 5, batch_first=True), torch.randn(2, 3, 5, requires_grad=True)
    accelerate(module)
    output, _ = module(x)
    with pytest.raises(NotImplementedError, match="not batched by"):
        torch.autograd.grad(output[:, -1].sum(0), x, torch.eye(5), is_grads_batched=True)
    with pytest.raises(NotImplementedError, match=r"restore\(module\)"):
        torch.autograd.functional.jacobian(lambda x: module(x)[0], x, vectorize=True)


@pytest.mark.parametrize("error", [ValueError, TypeError, IndexError])
def test_errors_of_hooks_are_not_ours(error: type[Exception]) -> None:
    module, calls = torch.nn.LSTM(5, 7, 2), []
    accelerate(module)

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        calls.append(tensor)
        if len(calls) == 3:
            raise error("of a hook")
        return tensor

    with saved_tensors_hooks(pack, as_it_is), pytest.raises(error, match="of a hook"):
        module(torch.randn(3, 2, 5, requires_grad=True))
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("options", "dtype"),
    [({"mode": "max", "sparse": True}, torch.int64), ({"mode": "sum"}, torch.int16)],
)
def test_bags_that_pytorch_refuses(options: Any, dtype: Any) -> None:
    module, indices = torch.nn.EmbeddingBag(9, 5, **options), torch.ones((3, 4), dtype=dtype)
    with pytest.raises((ValueError, RuntimeError)) as wanted:
        module(indices)
    accelerate(module)
    with pytest.raises(wanted.type, match=re.escape(str(wanted.value)[:30])):
        module(indices)
