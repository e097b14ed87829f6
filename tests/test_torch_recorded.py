"""What autograd keeps of a call that runs here: tensors that may move, and little memory."""

import copy
import gc
import pickle
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
