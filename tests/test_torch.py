"""The same numbers as PyTorch's recurrent layers, packed and padded, embeddings and bags."""

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
