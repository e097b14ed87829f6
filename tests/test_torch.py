"""The same numbers as torch.nn.RNN, packed and padded, and as PyTorch's embedding."""

from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import INDICES, RnnCase, values

torch: Any = pytest.importorskip("torch")

# Units in the last place of 1: both sum float32 products of 33 terms at most, in their own order.
TOLERANCE = 16

CASES = (
    RnnCase("full", 4, 7, 5, 17, "no_lengths"),
    RnnCase("no_bias", 4, 7, 5, 17, "no_lengths", ("h_0",)),
    RnnCase("no_state", 4, 7, 5, 17, "no_lengths", ("bias_ih", "bias_hh")),
    RnnCase("one_step", 6, 1, 3, 33, "no_lengths"),
    RnnCase("lengths", 9, 8, 16, 33),
    RnnCase("descending", 9, 8, 3, 5, "descending"),
    RnnCase("one_long", 9, 8, 3, 5, "one_long"),
)
DIRECTIONS = {False: "", True: "_reverse"}


def torch_rnn(arguments: dict[str, Any], nonlinearity: str, reverse: bool) -> list[np.ndarray]:
    """Run one direction of torch.nn.RNN on the same weights.

    The backward half of a bidirectional layer is a layer that runs in reverse alone.
    """
    x = torch.from_numpy(np.nan_to_num(arguments["x"]))
    hidden, inputs = arguments["weight_ih"].shape
    biased = "bias_ih" in arguments
    layer = torch.nn.RNN(inputs, hidden, nonlinearity=nonlinearity, bias=biased, batch_first=True,
                         bidirectional=True, dtype=x.dtype)  # fmt: skip
    names = ["weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if biased else ())]
    state = {
        f"{n}_l0{d}": torch.from_numpy(arguments[n]) for n in names for d in DIRECTIONS.values()
    }
    layer.load_state_dict(state)
    h_0 = arguments.get("h_0")
    h_0 = None if h_0 is None else torch.from_numpy(h_0).expand(2, -1, -1).contiguous()
    lengths = arguments["lengths"]
    with torch.no_grad():
        if lengths is None:
            output, h_n = layer(x, h_0)
        else:
            packing = torch.nn.utils.rnn
            packed = packing.pack_padded_sequence(
                x, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
            )
            output, h_n = layer(packed, h_0)
            output, _ = packing.pad_packed_sequence(
                output, batch_first=True, total_length=x.shape[1]
            )
    half = slice(hidden, None) if reverse else slice(hidden)
    return [output[..., half].numpy(), h_n[int(reverse)].numpy()]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("reverse", DIRECTIONS, ids=["forward", "reverse"])
def test_rnn_forward(
    backend: str, dtype: Any, case: RnnCase, nonlinearity: Any, reverse: bool
) -> None:
    arguments = case.arguments(dtype)
    if arguments["lengths"] is not None:  # PyTorch refuses empty sequences
        arguments["lengths"] = np.maximum(arguments["lengths"], 1)
        arguments["x"] = np.nan_to_num(arguments["x"])
    actual = er.rnn_forward(**arguments, nonlinearity=nonlinearity, reverse=reverse)
    expected = torch_rnn(arguments, nonlinearity, reverse)
    for got, wanted in zip(actual, expected, strict=True):
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
