"""The same numbers as PyTorch's recurrent layers, packed and padded, embeddings and bags."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import (
    BAG_CASES,
    INDICES,
    ORACLE_CASES,
    BagCase,
    RnnCase,
    cell_arguments,
    run_cell,
    values,
)

torch: Any = pytest.importorskip("torch")

# Units in the last place of 1: both sum float32 products of 230 terms at most, in their own order.
TOLERANCE = 16

# The cells that PyTorch has.
LAYERS = {
    "rnn_tanh": torch.nn.RNN,
    "rnn_relu": torch.nn.RNN,
    "gru": torch.nn.GRU,
    "lstm": torch.nn.LSTM,
}

DIRECTIONS = {False: "", True: "_reverse"}


def torch_layer(cell: str, inputs: int, hidden: int, **options: Any) -> Any:
    if cell.startswith("rnn"):
        options["nonlinearity"] = cell.removeprefix("rnn_")
    return LAYERS[cell](inputs, hidden, batch_first=True, bidirectional=True, **options)


def torch_cell(cell: str, arguments: dict[str, Any], reverse: bool) -> list[np.ndarray]:
    """Run one direction of a layer of PyTorch on the same weights.

    The backward half of a bidirectional layer is a layer that runs in reverse alone.
    """
    x = torch.from_numpy(np.nan_to_num(arguments["x"]))
    inputs, hidden = x.shape[2], arguments["weight_hh"].shape[1]
    biased = "bias_ih" in arguments
    layer = torch_layer(cell, inputs, hidden, bias=biased, dtype=x.dtype)
    names = ["weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if biased else ())]
    layer.load_state_dict(
        {f"{n}_l0{d}": torch.from_numpy(arguments[n]) for n in names for d in DIRECTIONS.values()}
    )
    start = [
        torch.from_numpy(arguments[name]).expand(2, -1, -1).contiguous()
        for name in ("h_0", "c_0")
        if name in arguments
    ]
    state = None if not start else tuple(start) if cell == "lstm" else start[0]
    lengths = arguments["lengths"]
    with torch.no_grad():
        if lengths is None:
            output, last = layer(x, state)
        else:
            packing = torch.nn.utils.rnn
            packed = packing.pack_padded_sequence(
                x, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
            )
            output, last = layer(packed, state)
            output, _ = packing.pad_packed_sequence(
                output, batch_first=True, total_length=x.shape[1]
            )
    half = slice(hidden, None) if reverse else slice(hidden)
    states = last if cell == "lstm" else [last]
    return [output[..., half].numpy(), *(part[int(reverse)].numpy() for part in states)]


@pytest.mark.parametrize("case", ORACLE_CASES, ids=str)
@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("reverse", DIRECTIONS, ids=["forward", "reverse"])
def test_recurrent_cells(backend: str, dtype: Any, case: RnnCase, cell: str, reverse: bool) -> None:
    arguments = cell_arguments(case, dtype, cell)
    if arguments["lengths"] is not None:
        arguments["lengths"] = np.maximum(arguments["lengths"], 1)
        arguments["x"] = np.nan_to_num(arguments["x"])
    actual = run_cell(cell, arguments, reverse=reverse)
    for got, wanted in zip(actual, torch_cell(cell, arguments, reverse), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE * np.finfo(dtype).eps)


@pytest.mark.parametrize("kind", ["none", "scalar", "matrix", "duplicates"])
def test_embedding_and_its_gradient(backend: str, dtype: Any, kind: str) -> None:
    weight, indices = values((7, 19), dtype), INDICES[kind](7) % 7
    grad = values((*indices.shape, 19), dtype, seed=1)
    table = torch.from_numpy(weight).requires_grad_()
    rows = torch.nn.functional.embedding(torch.from_numpy(np.asarray(indices)), table)
    rows.backward(torch.from_numpy(grad))
    np.testing.assert_array_equal(er.gather(weight, indices), rows.detach().numpy())
    np.testing.assert_array_equal(
        er.scatter_add(np.zeros_like(weight), indices, grad), table.grad.numpy()
    )


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("case", BAG_CASES, ids=str)
def test_embedding_bag_and_its_gradient(backend: str, dtype: Any, case: BagCase, mode: Any) -> None:
    weight, indices = case.table(dtype), case.indices() % max(case.n_rows, 1)
    if 0 in (*weight.shape, len(case.lengths), indices.size):
        pytest.skip("PyTorch refuses some empty tables, and some calls without bags or indices")
    table = torch.from_numpy(weight).requires_grad_()
    expected = torch.nn.functional.embedding_bag(
        torch.from_numpy(indices), table, torch.from_numpy(case.offsets[:-1]), mode=mode
    )
    output, backward = er.embedding_bag_vjp(weight, indices, case.offsets[:-1], mode=mode)
    grad = BagCase("", len(output), case.width, case.kind).table(dtype)
    expected.backward(torch.from_numpy(grad))
    tolerance = {"rtol": 0, "atol": 200 * np.finfo(dtype).eps}
    np.testing.assert_allclose(output, expected.detach().numpy(), **tolerance)
    gradient = backward(grad).weight.to_dense(len(weight))
    np.testing.assert_allclose(gradient, table.grad.numpy(), **tolerance)


@pytest.mark.parametrize("case", [BagCase("", 9, 19, "ragged"), BagCase("", 9, 19, "one_long")])
def test_gradient_of_the_weights_of_a_bag(backend: str, dtype: Any, case: BagCase) -> None:
    weight, indices = case.table(dtype), case.indices() % case.n_rows
    weights = torch.from_numpy(case.weights(dtype)).requires_grad_()
    expected = torch.nn.functional.embedding_bag(
        torch.from_numpy(indices),
        torch.from_numpy(weight),
        torch.from_numpy(case.offsets[:-1]),
        mode="sum",
        per_sample_weights=weights,
    )
    output, backward = er.embedding_bag_vjp(
        weight, indices, case.offsets[:-1], per_sample_weights=case.weights(dtype)
    )
    expected.backward(torch.ones_like(expected))
    tolerance = {"rtol": 0, "atol": 500 * np.finfo(dtype).eps}
    np.testing.assert_allclose(output, expected.detach().numpy(), **tolerance)
    actual = backward(np.ones_like(output)).per_sample_weights
    np.testing.assert_allclose(actual, weights.grad.numpy(), **tolerance)


@pytest.mark.parametrize("kind", ["matrix", "duplicates", "all_equal", "descending"])
def test_coalesce(backend: str, dtype: Any, kind: str) -> None:
    indices = INDICES[kind](7).ravel() % 7
    updates = values((indices.size, 19), dtype)
    grad = er.coalesce(indices, updates)
    shape = (7, 19)
    sparse = torch.sparse_coo_tensor(
        indices[None], torch.from_numpy(updates), shape, check_invariants=True
    )
    expected = sparse.coalesce()  # which sums the rows of an index in any order
    assert grad.indices.tolist() == expected.indices()[0].tolist()
    tolerance = 50 * np.finfo(dtype).eps * np.abs(updates).max()
    np.testing.assert_allclose(grad.values, expected.values().numpy(), rtol=0, atol=tolerance)


def test_fifty_steps_of_training_have_the_losses_of_pytorch() -> None:
    rng = np.random.default_rng(13)
    ids, lengths = rng.integers(0, 30, (8, 9)), rng.integers(1, 10, 8)
    targets = rng.integers(0, 4, 8)
    model = {"embedding": er.Embedding(30, 12, rng=1), "lstm": er.LSTM(12, 20, 2, rng=2)}
    head = rng.standard_normal((4, 20)).astype(np.float32) / 5
    theirs = list(their_losses(model, head, ids, lengths, targets))
    ours = list(our_losses(model, head, ids, lengths, targets))
    assert ours[-1] < ours[0] / 3
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def our_losses(
    model: dict[str, Any], head: np.ndarray, ids: np.ndarray, lengths: np.ndarray, targets: Any
) -> Iterator[float]:
    """Yield the loss of each step, which changes the weights in place."""
    optimizer = er.optim.Adam(model | {"head": head}, lr=1e-2)
    rows = np.arange(len(targets))
    for _ in range(50):
        vectors, to_embedding = model["embedding"].vjp(ids)
        (_, (h_n, _)), to_lstm = model["lstm"].vjp(vectors, lengths)
        scores = h_n[-1] @ head.T
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        yield float(-np.log(chances[rows, targets]).mean())
        chances[rows, targets] -= 1
        grad_scores = chances / len(targets)
        grad_h_n = np.zeros_like(h_n)
        grad_h_n[-1] = grad_scores @ head
        grads = to_lstm(None, (grad_h_n, None))
        optimizer.step({
            "embedding": {"weight": to_embedding(grads.x)},
            "lstm": grads.parameters,
            "head": grad_scores.T @ h_n[-1],
        })  # fmt: skip


def their_losses(
    model: dict[str, Any], head: np.ndarray, ids: np.ndarray, lengths: np.ndarray, targets: Any
) -> Iterator[float]:
    """Yield the loss of each step of PyTorch, from copies of the same weights."""
    embedding = torch.nn.Embedding(30, 12, sparse=True)
    lstm = torch.nn.LSTM(12, 20, 2, batch_first=True)
    for name, module in (("embedding", embedding), ("lstm", lstm)):
        weights = {k: torch.tensor(v) for k, v in model[name].state_dict().items()}
        module.load_state_dict(weights)
    weight = torch.nn.Parameter(torch.tensor(head))
    optimizers = [
        torch.optim.SparseAdam(embedding.parameters(), lr=1e-2),
        torch.optim.Adam([*lstm.parameters(), weight], lr=1e-2),
    ]
    for _ in range(50):
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            embedding(torch.tensor(ids)), torch.tensor(lengths), batch_first=True,
            enforce_sorted=False,
        )  # fmt: skip
        _, (h_n, _) = lstm(packed)
        loss = torch.nn.functional.cross_entropy(h_n[-1] @ weight.T, torch.tensor(targets))
        yield loss.item()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
