"""The same numbers as PyTorch's recurrent layers, packed and padded, and as its embedding."""

from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import GATES, INDICES, ORACLE_CASES, RnnCase, cell_arguments, run_cell, values

torch: Any = pytest.importorskip("torch")

# Units in the last place of 1: both sum float32 products of 230 terms at most, in their own order.
TOLERANCE = 16

DIRECTIONS = {False: "", True: "_reverse"}


def torch_layer(cell: str, inputs: int, hidden: int, **options: Any) -> Any:
    if cell.startswith("rnn"):
        options["nonlinearity"] = cell.removeprefix("rnn_")
    layer = {1: torch.nn.RNN, 3: torch.nn.GRU, 4: torch.nn.LSTM}[GATES[cell]]
    return layer(inputs, hidden, batch_first=True, bidirectional=True, **options)


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
@pytest.mark.parametrize("cell", [cell for cell in GATES if cell != "gru_reset_before"])
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
