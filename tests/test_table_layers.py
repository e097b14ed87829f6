"""Embedding and EmbeddingBag: their options by the definitions, and PyTorch's numbers."""

import copy
import mmap
import pickle
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import HALVES, INDICES, INT_DTYPES, assert_same_bits, values

both_layers = pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
each_kind = pytest.mark.parametrize("kind", INDICES)
modes = pytest.mark.parametrize("mode", ["sum", "mean", "max"])

V, D = 11, 5
IDS = np.array([[3, 0, -1], [0, 7, 3], [3, 3, 10]])  # 3 comes four times, 10 twice, as -1 too


def table(dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((V, D)).astype(dtype)


def gradient_of(indices: np.ndarray, grads: np.ndarray, padding: int | None = None) -> er.RowGrad:
    """The definition: np.add.at on a dense gradient; rows that are named, but for padding."""
    ids = np.asarray(indices).reshape(-1) % V
    kept = ids != padding
    dense = np.zeros((V, D), grads.dtype)
    np.add.at(dense, ids[kept], grads.reshape(-1, D)[kept])
    rows = np.unique(ids[kept])
    return er.RowGrad(rows, dense[rows])


def assert_grad(actual: er.RowGrad, expected: er.RowGrad) -> None:
    assert_same_bits(actual.indices, expected.indices)
    assert_same_bits(actual.values, expected.values)


# --- Embedding: forward and gradient -----------------------------------------------------------


@each_kind
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_rows(backend: str, dtype: Any, kind: str) -> None:
    weight, indices = table(dtype), INDICES[kind](V)
    layer = er.Embedding.from_pretrained(weight)
    assert_same_bits(layer(indices), weight[indices])
    out = np.empty((*indices.shape, D), weight.dtype)
    assert layer(indices, out=out) is out
    assert_same_bits(out, weight[indices])


@each_kind
@pytest.mark.parametrize("padding", [None, 3, -1])
def test_gradient(backend: str, dtype: Any, kind: str, padding: int | None) -> None:
    indices = INDICES[kind](V)
    layer = er.Embedding.from_pretrained(table(dtype), padding_idx=padding)
    output, backward = layer.vjp(indices)
    assert_same_bits(output, layer(indices))
    grads = values((*indices.shape, D), dtype)
    assert_grad(backward(grads), gradient_of(indices, grads, padding and padding % V))


@pytest.mark.parametrize("index", INT_DTYPES)
@pytest.mark.parametrize("padding", [0, 3, 10])
def test_padding_in_every_dtype_of_index(backend: str, index: str, padding: int) -> None:
    ids = (IDS % V if index.startswith("u") else IDS).astype(index)
    _, backward = er.Embedding(V, D, padding_idx=padding).vjp(ids)
    grads = values((3, 3, D), np.float32)
    assert_grad(backward(grads), gradient_of(ids.astype(int), grads, padding))


def test_gradient_of_a_half(backend: str) -> None:
    layer = er.Embedding(V, D, dtype=np.float16, scale_grad_by_freq=True)
    _, backward = layer.vjp(np.zeros(5000, int))
    grad = backward(np.ones((5000, D), np.float16))
    assert_same_bits(grad.values, np.ones((1, D), np.float16))  # 5000 ones over 5000


def test_scale_grad_by_freq(backend: str, dtype: Any) -> None:
    layer = er.Embedding(V, D, scale_grad_by_freq=True, padding_idx=0, dtype=dtype)
    _, backward = layer.vjp(IDS)
    grads = values((3, 3, D), dtype)
    plain, counts = gradient_of(IDS, grads, 0), np.array([4, 1, 2], dtype)  # of 3, 7 and 10
    assert_grad(backward(grads), er.RowGrad(plain.indices, plain.values / counts[:, None]))


def test_backward_reads_the_indices_that_there_were(backend: str) -> None:
    ids = IDS.copy()
    _, backward = er.Embedding(V, D).vjp(ids)
    ids[...] = 0
    grads = values((3, 3, D), np.float32)
    assert_grad(backward(grads), gradient_of(IDS, grads))


@modes
@pytest.mark.parametrize("weighted", [False, True])
def test_backward_of_bags_keeps_what_it_needs(backend: str, mode: Any, weighted: bool) -> None:
    ids, grads = IDS.reshape(-1).copy(), values((3, D), "f8")
    arguments: dict[str, Any] = {"indices": ids, "offsets": np.array([0, 2, 5]), "mode": mode}
    if weighted:
        if mode == "max":
            pytest.skip("maxima have no weights")
        arguments["per_sample_weights"] = values((9,), "f8", seed=2)
    weight = table("f8")
    _, backward = er.embedding_bag_vjp(weight, **arguments)
    expected = backward(grads)
    for spoilt in (np.full(9, V - 1), np.full(9, 10**9)):
        ids[...] = spoilt
        arguments["offsets"][...] = 0
        if weighted:
            arguments["per_sample_weights"][...] = np.nan
        else:
            weight[...] = 7  # which has another maximum
        actual = backward(grads)
        assert_grad(actual.weight, expected.weight)
        if weighted:
            assert_same_bits(actual.per_sample_weights, expected.per_sample_weights)


@given(
    ids=st.lists(st.integers(-V, V - 1), max_size=30), padding=st.none() | st.integers(-V, V - 1)
)
def test_any_gradient(backend: str, ids: list[int], padding: int | None) -> None:
    layer = er.Embedding(V, D, padding_idx=padding)
    grads = values((len(ids), D), np.float32)
    _, backward = layer.vjp(ids)
    rows = None if padding is None else padding % V
    assert_grad(backward(grads), gradient_of(np.array(ids, int), grads, rows))


# --- EmbeddingBag ------------------------------------------------------------------------------

OFFSETS = [0, 2, 2, 5]  # four bags of the nine, the second of them empty
BAG_OF = np.array([0, 0, 2, 2, 2, 3, 3, 3, 3])


@modes
@pytest.mark.parametrize("padding", [None, 3, -1])
def test_bags_are_the_function(backend: str, dtype: Any, mode: Any, padding: int | None) -> None:
    layer = er.EmbeddingBag.from_pretrained(table(dtype), mode=mode, padding_idx=padding)
    ids, grads = IDS.reshape(-1), values((4, D), dtype)
    options: dict[str, Any] = {"mode": mode, "padding_idx": padding}
    if mode == "sum":
        options["per_sample_weights"] = values((9,), dtype, seed=2)
    expected, gradients = er.embedding_bag_vjp(table(dtype), ids, OFFSETS, **options)
    weights = options.get("per_sample_weights")
    output, backward = layer.vjp(ids, OFFSETS, weights)
    assert_same_bits(output, expected)
    assert_same_bits(layer(ids, lengths=[2, 0, 3, 4], per_sample_weights=weights), expected)
    actual, wanted = backward(grads), gradients(grads)
    assert_grad(actual.weight, wanted.weight)
    if weights is None:
        assert actual.per_sample_weights is None
    else:
        assert_same_bits(actual.per_sample_weights, wanted.per_sample_weights)


def test_bags_of_other_shapes(backend: str) -> None:
    layer = er.EmbeddingBag(V, D, mode="sum", include_last_offset=True)
    by_offsets = layer(IDS.reshape(-1), [0, 3, 6, 9])
    assert_same_bits(by_offsets, layer(IDS))
    assert_same_bits(by_offsets, layer(IDS.reshape(-1), lengths=[3, 3, 3]))
    assert er.EmbeddingBag(V, D).mode == "mean"


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_frequencies_are_those_of_all_bags(backend: str, dtype: Any, mode: Any) -> None:
    # PyTorch 2.13 divides by the counts of other rows on a CPU (issue 190063): this is its rule.
    layer = er.EmbeddingBag(V, D, mode=mode, scale_grad_by_freq=True, padding_idx=0, dtype=dtype)
    ids, grads = IDS.reshape(-1), values((4, D), dtype)
    _, backward = layer.vjp(ids, OFFSETS)
    shares = np.array([1, 1, 2, 2, 2, 4, 4, 4, 4] if mode == "mean" else [1] * 9, dtype)
    plain = gradient_of(ids, grads[BAG_OF] / shares[:, None], 0)
    expected = er.RowGrad(plain.indices, plain.values / np.array([[4], [1], [2]], dtype))
    actual = backward(grads).weight
    assert_same_bits(actual.indices, expected.indices)
    np.testing.assert_allclose(actual.values, expected.values, rtol=8 * np.finfo(dtype).eps)


def test_the_example_of_the_issue(backend: str) -> None:
    layer = er.EmbeddingBag(5, 1, mode="sum", scale_grad_by_freq=True)
    _, backward = layer.vjp([3, 0, 0, 1, 4, 0, 3], [0])
    grad = backward(np.ones((1, 1), np.float32)).weight
    assert grad.indices.tolist() == [0, 1, 3, 4]
    assert grad.values.ravel().tolist() == [1, 1, 1, 1]


# --- norms -------------------------------------------------------------------------------------


def renormalised(weight: np.ndarray, rows: Any, max_norm: float, p: float) -> np.ndarray:
    """The definition, row by row in float64."""
    new = weight.astype("f8")
    for row in set(rows):
        size = np.abs(new[row])
        norm = size.max() if np.isinf(p) else (size**p).sum() ** (1 / p)
        if norm > max_norm:
            new[row] *= max_norm / (norm + 1e-7)
    return new


@both_layers
@pytest.mark.parametrize("p", [1, 2, 3.5, np.inf])
def test_max_norm(backend: str, dtype: Any, name: str, p: float) -> None:
    before = table(dtype)
    layer = getattr(er, name).from_pretrained(before, max_norm=1.5, norm_type=p, padding_idx=7)
    ids = IDS if name == "EmbeddingBag" else IDS.reshape(-1)
    expected = renormalised(before, (IDS % V).reshape(-1), 1.5, p)
    held = layer.weight
    output = layer(ids)
    tolerance = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(layer.weight, expected, rtol=tolerance)
    untouched = np.setdiff1d(np.arange(V), IDS % V)
    assert_same_bits(layer.weight[untouched], before[untouched])
    assert_same_bits(output, getattr(er, name).from_pretrained(layer.weight, padding_idx=7)(ids))
    assert np.shares_memory(held, layer.weight)  # in place
    assert not layer.weight.flags.writeable
    assert_same_bits(before, table(dtype))  # the caller's is another
    again = copy.deepcopy(layer)
    vjp_output, _ = again.vjp(ids)
    np.testing.assert_allclose(vjp_output, output, rtol=tolerance, atol=tolerance)


def test_rows_of_a_small_norm_stay(backend: str) -> None:
    layer = er.Embedding.from_pretrained(table(), max_norm=100.0)
    assert_same_bits(layer(IDS), table()[IDS])
    assert_same_bits(layer.weight, table())


@both_layers
@pytest.mark.parametrize("p", [0.5, 1, 2, 3.5, 64, 3000, np.inf])
@pytest.mark.parametrize(
    ("dtype", "greatest", "max_norm"),
    [("f4", 3e38, 1.5), ("f4", 1e-44, 2e-45), ("f8", 1e308, 1.5), ("f8", 1e-300, 1e-305),
     ("f8", 1e300, 1e-300), ("f2", 6e4, 1.5), (HALVES[1], 3e38, 1.5)],
    ids=str,
)  # fmt: skip
def test_norms_of_great_and_small_rows(
    backend: str, name: str, dtype: Any, greatest: float, max_norm: float, p: float
) -> None:
    row = (np.array([[0.5, -1.0, 0.25]]) * greatest).astype(dtype)
    layer = getattr(er, name).from_pretrained(row, max_norm=max_norm, norm_type=p)
    layer([[0]])
    parts = row.astype("g") / np.abs(row.astype("g")).max()
    norm = np.linalg.norm(parts, p, axis=1)[:, None] * np.abs(row.astype("g")).max()
    expected = row.astype("g") * (max_norm / (norm + np.longdouble("1e-7")))
    info = ml_dtypes.finfo(dtype)
    tolerance = 8 * float(info.eps), 4 * float(info.smallest_subnormal)
    np.testing.assert_allclose(layer.weight.astype("g"), expected, *tolerance)


@both_layers
def test_rows_that_are_not_finite_keep_their_norms(backend: str, name: str) -> None:
    rows = np.array([[np.nan, 1.0], [np.inf, 1.0], [0.0, 0.0], [np.nan, np.inf]])
    layer = getattr(er, name).from_pretrained(rows, max_norm=1.0)
    layer([[0, 1, 2, 3]])
    np.testing.assert_array_equal(layer.weight[[0, 2, 3]], rows[[0, 2, 3]])
    np.testing.assert_array_equal(layer.weight[1], [np.nan, 0])


@both_layers
def test_a_frequency_divides_sums_that_are_not_rounded(backend: str, name: str) -> None:
    options = {"mode": "sum"} if name == "EmbeddingBag" else {}
    layer = getattr(er, name)(2, 1, dtype="f2", scale_grad_by_freq=True, **options)
    ids = np.zeros((5000, 1), int)
    output, backward = layer.vjp(ids)
    for number, dtype in ((20.0, "f2"), (20.0, "f4"), (1e-7, "f4")):
        grad = backward(np.full(output.shape, number, dtype))
        grad = getattr(grad, "weight", grad)
        assert_same_bits(grad.values, np.array([[number]], "f2"))
    ids = np.zeros((3, 1), int)
    output, backward = layer.vjp(ids)
    grad = backward(np.reshape([2048, 1, 1], output.shape).astype("f2"))
    assert getattr(grad, "weight", grad).values == np.float16(2050 / 3)


def test_a_half_that_a_gradient_is_added_to_is_rounded_once(backend: str) -> None:
    into = np.full((1, 1), 2048, "f2")
    _, backward = er.embedding_bag_vjp(np.zeros((1, 1), "f2"), [[0, 0, 0]])
    backward(np.array([[683.633]], "f4"), into=into)  # 2050.9 in all, by itself 2050 as a half
    assert into == 4100


@both_layers
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_gradients_of_halves_may_be_float32(backend: str, name: str, half: Any) -> None:
    output, backward = getattr(er, name)(V, D, dtype=half).vjp(IDS)
    grads = values(output.shape, half)
    expected, actual = backward(grads), backward(grads.astype("f4"))
    expected, actual = (getattr(grad, "weight", grad) for grad in (expected, actual))
    assert_grad(actual, expected)
    with pytest.raises(TypeError, match=r"^grad_output must be (b?float16) as the output is"):
        backward(grads.astype("f8"))


@both_layers
def test_a_refused_look_up_renormalises_nothing(backend: str, name: str) -> None:
    layer = getattr(er, name).from_pretrained(table(), max_norm=0.1)
    bag = name == "EmbeddingBag"
    for bad, error in ((np.array([[0, V]]), IndexError), (np.array([[0.0]]), TypeError)):
        with pytest.raises(error):
            layer(bad)
        with pytest.raises(error):
            layer.vjp(bad)
    with pytest.raises(ValueError, match=r"^offsets\[1\]" if bag else "^out must have shape"):
        layer([0, 1], [0, 3]) if bag else layer([0, 1], out=np.zeros((3, D), np.float32))
    assert_same_bits(layer.weight, table())


@both_layers
def test_threads_renormalise_a_row_once(
    backend: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = getattr(er, name).from_pretrained
    expected = make(np.full((1, 7), 3.0), max_norm=1.0)([[0]])
    layer, chosen = make(np.full((1, 7), 3.0), max_norm=1.0), er.config()["backend"]
    norm, inside = np.linalg.norm, []

    def slow_norm(*args: Any, **kwargs: Any) -> Any:
        inside.append("in")
        time.sleep(0.02)  # in which another thread would come in, if it could
        result = norm(*args, **kwargs)
        inside.append("out")
        return result

    def work(_: int) -> np.ndarray:
        with er.use_backend(chosen):
            return layer([[0]])

    monkeypatch.setattr(np.linalg, "norm", slow_norm)
    with ThreadPoolExecutor(4) as pool:
        for rows in pool.map(work, range(4)):
            assert_same_bits(rows, expected)
    assert inside == ["in", "out"] * 4


@both_layers
def test_a_table_replaced_during_a_look_up_gets_no_old_row(
    backend: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = getattr(er, name).from_pretrained
    old, new = np.full((3, 7), 3.0), np.full((3, 7), 5.0)
    layer, expected = make(old, max_norm=1.0), make(old, max_norm=1.0)([[0]])
    norm, updates = np.linalg.norm, [threading.Thread(target=layer.update, args=({"weight": new},))]

    def norm_and_update(*args: Any, **kwargs: Any) -> Any:
        if not updates[0].is_alive():
            updates[0].start()
            time.sleep(0.05)  # in which the update would be done, if nothing kept it
        return norm(*args, **kwargs)

    monkeypatch.setattr(np.linalg, "norm", norm_and_update)
    assert_same_bits(layer([[0]]), expected)
    updates[0].join()
    assert_same_bits(layer.weight, new)


# --- negative indices ----------------------------------------------------------------------------


@both_layers
@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_a_strict_layer(backend: str, name: str, max_norm: float | None) -> None:
    make = partial(getattr(er, name).from_pretrained, table(), max_norm=max_norm)
    strict, usual, ids = make(strict=True), make(), IDS % V
    assert_same_bits(strict(ids), usual(ids))
    (output, backward), (expected, run) = strict.vjp(ids), usual.vjp(ids)
    assert_same_bits(output, expected)
    grads = [got if name == "Embedding" else got.weight for got in (backward(output), run(output))]
    assert_grad(grads[0], grads[1])
    message = r"^index -1 at position \(0, 2\) .*: expected 0 <= index < 11$"
    for layer in (strict, strict.quantize(), copy.copy(strict), pickle.loads(pickle.dumps(strict))):
        assert layer.strict
        with pytest.raises(IndexError, match=message):
            layer(IDS)


# --- int8 rows ---------------------------------------------------------------------------------


@both_layers
def test_a_layer_of_int8_rows(backend: str, name: str) -> None:
    rows = er.quantize_rows(table())
    layer = getattr(er, name).from_pretrained(rows, padding_idx=3)
    look = er.gather if name == "Embedding" else partial(er.embedding_bag, mode="mean")
    padding = {"padding_idx": 3} if name == "EmbeddingBag" else {}
    assert_same_bits(layer(IDS), look(rows, IDS, **padding))
    assert layer(IDS).dtype == np.float32
    assert isinstance(layer.weight, er.QuantizedRows)
    assert layer.weight is layer.weight
    assert np.shares_memory(layer.weight.rows, rows.rows)
    assert rows.rows.flags.writeable
    assert not layer.weight.rows.flags.writeable
    assert (layer.num_embeddings, layer.embedding_dim) == layer.weight.shape == (V, D)
    assert layer.dtype == np.int8
    assert layer.weight.nbytes == V * (D + 8)


def test_int8_rows_into_out(backend: str) -> None:
    layer = er.Embedding.from_pretrained(er.quantize_rows(table()))
    for dtype in ("f4", *HALVES):
        out = np.empty((*IDS.shape, D), dtype)
        assert layer(IDS, out=out) is out
        assert_same_bits(out, layer.weight.dequantize()[IDS].astype(dtype))


@modes
def test_bags_of_int8_rows(backend: str, mode: Any) -> None:
    rows, ids = er.quantize_rows(table()), IDS.reshape(-1)
    options: dict[str, Any] = {"mode": mode, "include_last_offset": True}
    layer = er.EmbeddingBag.from_pretrained(rows, **options)
    weights = values((9,), "f4") if mode == "sum" else None
    expected = er.embedding_bag(rows, ids, [0, 2, 9], per_sample_weights=weights, **options)
    assert_same_bits(layer(ids, [0, 2, 9], weights), expected)


@both_layers
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_quantize(backend: str, name: str, dtype: Any) -> None:
    options = {"mode": "sum", "include_last_offset": True} if name == "EmbeddingBag" else {}
    trained = getattr(er, name)(
        V, D, padding_idx=3, scale_grad_by_freq=True, dtype=dtype, **options
    )
    before = trained.weight.copy()
    layer = trained.quantize()
    assert_same_bits(layer.weight.rows, er.quantize_rows(before).rows)
    assert_same_bits(trained.weight, before)
    expected = repr(getattr(er, name)(V, D, padding_idx=3, dtype="i1", **options))
    assert repr(layer) == expected
    assert "dtype=int8" in expected
    with pytest.raises(TypeError, match=r"^weight must be array_like, got QuantizedRows$"):
        layer.quantize()


@both_layers
def test_a_bounded_layer_is_quantized_with_its_norms(backend: str, name: str) -> None:
    trained, looked_up = (getattr(er, name).from_pretrained(table(), max_norm=0.5) for _ in "12")
    looked_up(np.arange(V)[:, None])
    layer = trained.quantize()
    assert_same_bits(layer.weight.rows, er.quantize_rows(looked_up.weight).rows)
    assert layer.max_norm is None


@both_layers
def test_a_new_table_of_int8_rows(name: str) -> None:
    layer = getattr(er, name)(V, D, padding_idx=3, dtype=np.int8, rng=4)
    expected = getattr(er, name)(V, D, padding_idx=3, rng=4).quantize()
    assert_same_bits(layer.weight.rows, expected.weight.rows)
    assert not layer.weight.dequantize()[3].any()
    again = getattr(er, name)(V, D, dtype="int8", _weight=layer.weight)
    assert np.shares_memory(again.weight.rows, layer.weight.rows)
    wide = np.repeat(layer.weight.rows, 2, axis=0)[::2]
    assert_same_bits(getattr(er, name)(V, D, dtype="int8", _weight=wide)(IDS), again(IDS))


@both_layers
@pytest.mark.parametrize("way", ["pickle", "copy", "deepcopy", "joblib", "joblib_mapped"])
def test_a_layer_of_int8_rows_from_anywhere(
    backend: str, name: str, way: str, tmp_path: Path
) -> None:
    layer = getattr(er, name)(V, D, padding_idx=3, dtype="int8")
    other = WAYS[way](layer, tmp_path)
    assert repr(other) == repr(layer)
    assert_same_bits(other(IDS), layer(IDS))
    assert not other.weight.rows.flags.writeable


@both_layers
def test_the_state_of_int8_rows(backend: str, name: str, tmp_path: Path) -> None:
    layer, other = (getattr(er, name)(V, D, dtype="int8", rng=rng) for rng in (1, 2))
    np.savez(tmp_path / "state.npz", **layer.state_dict())
    with np.load(tmp_path / "state.npz") as state:
        other.load_state_dict(state)
    assert_same_bits(layer.state_dict()["weight"], layer.weight.rows)
    assert_same_bits(other.weight.rows, layer.weight.rows)
    assert_same_bits(other(IDS), layer(IDS))
    rows = er.quantize_rows(table())
    other.update({"weight": rows})
    assert_same_bits(other.weight.rows, rows.rows)
    assert not np.shares_memory(other.weight.rows, rows.rows)
    assert_same_bits(other(IDS), getattr(er, name).from_pretrained(rows)(IDS))


# --- PyTorch -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"padding_idx": 3}, {"padding_idx": -1}, {"scale_grad_by_freq": True},
     {"max_norm": 1.5}, {"max_norm": 1.5, "norm_type": 1.0},
     {"padding_idx": 0, "scale_grad_by_freq": True, "max_norm": 2.0, "norm_type": 3.0}],
    ids=str,
)  # fmt: skip
@both_layers
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_pytorch_gives_the_same(
    backend: str, dtype: Any, name: str, mode: Any, options: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch")
    bag = name == "EmbeddingBag"
    if bag and "scale_grad_by_freq" in options:
        pytest.skip("PyTorch divides by other counts (its issue 190063)")
    if not bag and mode == "mean":
        pytest.skip("only bags have a mode")
    ids = IDS % V  # PyTorch takes no negative ones
    mine = options | ({"mode": mode} if bag else {})
    module = getattr(torch.nn, name)(V, D, dtype=getattr(torch, np.dtype(dtype).name), **mine)
    layer = getattr(er, name)(V, D, dtype=dtype, **mine)
    layer.load_state_dict({"weight": table(dtype)})
    module.load_state_dict({"weight": torch.from_numpy(table(dtype))})
    wanted = module(torch.from_numpy(ids))
    output, backward = layer.vjp(ids)
    tolerance = 16 * np.finfo(dtype).eps
    np.testing.assert_allclose(output, wanted.detach().numpy(), rtol=0, atol=tolerance)
    np.testing.assert_allclose(layer.weight, module.weight.detach().numpy(), rtol=tolerance)
    grads = np.random.default_rng(3).standard_normal(output.shape).astype(dtype)
    wanted.backward(torch.from_numpy(grads))
    grad = backward(grads)
    dense = (grad.weight if bag else grad).to_dense(V)
    np.testing.assert_allclose(dense, module.weight.grad.numpy(), rtol=0, atol=tolerance)


# --- PyTorch's words ---------------------------------------------------------------------------


@both_layers
def test_words_for_what_is_so_anyway(name: str) -> None:
    make = getattr(er, name)
    plain = repr(make(V, D))
    assert repr(make(V, D, sparse=True, freeze=True, device="cpu", dtype=None)) == plain
    layer = make.from_pretrained(table(), True, sparse=True, device=None)
    assert repr(layer) == plain
    assert_same_bits(layer.weight, table())


def test_options_by_position_come_in_the_order_of_pytorch() -> None:
    options: dict[str, Any] = {"max_norm": 1.5, "norm_type": 1.0, "scale_grad_by_freq": True}
    layer = er.Embedding(V, D, 3, *options.values())
    assert repr(layer) == repr(er.Embedding(V, D, padding_idx=3, **options))
    bag = er.EmbeddingBag(V, D, *options.values(), "sum")
    assert repr(bag) == repr(er.EmbeddingBag(V, D, mode="sum", **options))


@both_layers
def test_a_table_may_come_with_the_sizes(backend: str, name: str) -> None:
    weight = table()
    layer = getattr(er, name)(V, D, _weight=weight)
    assert np.shares_memory(layer.weight, weight)
    assert_same_bits(layer.weight, table())
    columns = np.asfortranarray(weight)
    assert_same_bits(getattr(er, name)(V, D, _weight=columns)(IDS), layer(IDS))
    assert_same_bits(getattr(er, name)(V, D, _weight=weight.tolist(), dtype="f8").weight,
                     weight.astype("f8"))  # fmt: skip


# --- the table ---------------------------------------------------------------------------------


@both_layers
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_new_tables(name: str, dtype: Any) -> None:
    layer = getattr(er, name)(500, 20, padding_idx=-2, dtype=dtype, rng=4)
    weight = layer.weight.astype("f8")
    assert layer.weight.dtype == dtype
    assert layer.padding_idx == 498
    assert not weight[498].any()
    rest = np.delete(weight, 498, axis=0)
    assert abs(rest.mean()) < 0.05  # five standard errors of the standard normal distribution
    assert abs(rest.var() - 1) < 0.075
    again = getattr(er, name)(500, 20, padding_idx=498, dtype=dtype, rng=np.random.default_rng(4))
    assert_same_bits(layer.weight, again.weight)


@both_layers
def test_a_pretrained_table_is_taken_as_it_is(name: str) -> None:
    weight = table()
    layer = getattr(er, name).from_pretrained(weight, padding_idx=2)
    assert_same_bits(layer.weight, weight)  # the row of padding too
    assert np.shares_memory(layer.weight, weight)
    assert weight.flags.writeable
    assert not layer.weight.flags.writeable
    layer.update({"weight": weight})
    assert not np.shares_memory(layer.weight, weight)


def test_a_table_on_disk_is_read_in_place(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    np.save(path, table())
    mapped = np.load(path, mmap_mode="r")
    layer = er.Embedding.from_pretrained(mapped)
    assert np.shares_memory(layer.weight, mapped)
    assert_same_bits(layer(IDS), table()[IDS])


@both_layers
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_tables_are_renormalised(backend: str, name: str, protocol: int) -> None:
    layer = getattr(er, name).from_pretrained(table(), max_norm=0.5)
    other = pickle.loads(pickle.dumps(layer, protocol))
    assert_same_bits(other(IDS), layer(IDS))
    assert_same_bits(other.weight, layer.weight)
    assert not other.weight.flags.writeable


def by_pickle(layer: Any, tmp_path: Path) -> Any:
    buffers: list[Any] = []
    stream = pickle.dumps(layer, 5, buffer_callback=buffers.append)
    return pickle.loads(stream, buffers=[bytes(buffer) for buffer in buffers])


def by_flat_owners(layer: Any, tmp_path: Path) -> Any:
    """As a loader does that reads bytes, and makes an array of them."""
    make, (*others, parameters, extra) = layer.__reduce__()
    read = {
        name: np.frombuffer(bytearray(a.tobytes()), a.dtype).reshape(a.shape)
        for name, a in parameters.items()
    }
    return make(*others, read, extra)


def by_shared_memory(layer: Any, tmp_path: Path) -> Any:
    memory = mmap.mmap(-1, layer.weight.nbytes)
    shared = np.ndarray(layer.weight.shape, layer.weight.dtype, memory)
    shared[...] = layer.weight
    return type(layer).from_pretrained(shared, max_norm=layer.max_norm, mode=layer.mode)


def by_file(layer: Any, tmp_path: Path, mode: Any = "r") -> Any:
    np.save(tmp_path / "table.npy", layer.weight)
    mapped = np.load(tmp_path / "table.npy", mmap_mode=mode)
    return type(layer).from_pretrained(mapped, max_norm=layer.max_norm, mode=layer.mode)


def by_joblib(layer: Any, tmp_path: Path, mode: Any = None) -> Any:
    joblib = pytest.importorskip("joblib")
    joblib.dump(layer, tmp_path / "layer")
    return joblib.load(tmp_path / "layer", mmap_mode=mode)


WAYS: dict[str, Callable[[Any, Path], Any]] = {
    "pickle": by_pickle,
    "copy": lambda layer, _: copy.copy(layer),
    "deepcopy": lambda layer, _: copy.deepcopy(layer),
    "flat_owners": by_flat_owners,
    "shared_memory": by_shared_memory,
    "file": by_file,
    "file_to_write": lambda layer, path: by_file(layer, path, "r+"),
    "copied_file": lambda layer, path: copy.deepcopy(by_file(layer, path, "c")),
    "joblib": by_joblib,
    "joblib_mapped": lambda layer, path: by_joblib(layer, path, "r"),
    "joblib_copied": lambda layer, path: by_joblib(layer, path, "c"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_a_layer_from_anywhere_works_as_a_new_one(
    backend: str, way: str, max_norm: float | None, tmp_path: Path
) -> None:
    def new() -> er.EmbeddingBag:
        return er.EmbeddingBag.from_pretrained(table(), max_norm=max_norm, mode="sum")

    layer, other = new(), WAYS[way](new(), tmp_path)
    before = other.weight
    assert_same_bits(other(IDS), layer(IDS))
    assert_same_bits(other.weight, layer.weight)
    assert before is other.weight
    assert not other.weight.flags.writeable
    other.update({"weight": np.ones((V, D), "f4")})
    assert (other.weight == 1).all()


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (er.Embedding(V, D), "Embedding(11, 5)"),
        (er.Embedding(V, D, padding_idx=-1, max_norm=1, norm_type=1, dtype="f8"),
         "Embedding(11, 5, padding_idx=10, max_norm=1.0, norm_type=1.0, dtype=float64)"),
        (er.EmbeddingBag(V, D), "EmbeddingBag(11, 5, mode='mean')"),
        (er.EmbeddingBag(V, D, mode="sum", scale_grad_by_freq=True, include_last_offset=True),
         "EmbeddingBag(11, 5, scale_grad_by_freq=True, mode='sum', include_last_offset=True)"),
        (er.Embedding(V, D, strict=True), "Embedding(11, 5, strict=True)"),
    ],
)  # fmt: skip
def test_repr(layer: Any, text: str) -> None:
    assert repr(layer) == text


# --- refusals ----------------------------------------------------------------------------------

REFUSED: dict[str, tuple[type[Exception], tuple[Any, ...], dict[str, Any], str]] = {
    "rows": (ValueError, (-1, 3), {}, "num_embeddings must be 0 or more, got -1"),
    "columns": (TypeError, (3, 2.5), {}, "embedding_dim must be an integer, got float"),
    "padding": (ValueError, (3, 2), {"padding_idx": 3}, "padding_idx must be in [-3, 3), got 3"),
    "norm": (ValueError, (3, 2), {"max_norm": 0}, "max_norm must be positive, got 0.0"),
    "nan": (ValueError, (3, 2), {"max_norm": np.nan}, "max_norm must be positive, got nan"),
    "no_norm": (TypeError, (3, 2), {"max_norm": "1x"}, "max_norm must be a number, got '1x'"),
    "p": (ValueError, (3, 2), {"norm_type": -1}, "norm_type must be positive, got -1.0"),
    "dtype": (TypeError, (3, 2), {"dtype": "i4"},
              "dtype must be float32, float64, float16, bfloat16 or int8, got int32"),
}  # fmt: skip


@both_layers
@pytest.mark.parametrize("case", REFUSED)
def test_refused_options(name: str, case: str) -> None:
    error, sizes, options, message = REFUSED[case]
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        getattr(er, name)(*sizes, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "min"}, "mode must be 'sum' or 'mean' or 'sqrtn' or 'max', got 'min'"),
        ({"mode": "max", "scale_grad_by_freq": True},
         "scale_grad_by_freq must be False where mode is 'max'"),
    ],
)  # fmt: skip
def test_refused_bags(options: dict[str, Any], message: str) -> None:
    for make in (lambda **o: er.EmbeddingBag(V, D, **o),
                 lambda **o: er.EmbeddingBag.from_pretrained(table(), **o)):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            make(**options)


@both_layers
def test_refused_tables(name: str) -> None:
    make = getattr(er, name).from_pretrained
    with pytest.raises(ValueError, match=r"^weight must have shape \(V, D\), got \(11,\)$"):
        make(table()[:, 0])
    with pytest.raises(TypeError, match=r"^weight must be float32, .* got int64$"):
        make(table().astype(np.int64))


@both_layers
def test_refused_gradients(backend: str, name: str) -> None:
    _, backward = getattr(er, name)(V, D).vjp(IDS)
    shape = (3, D) if name == "EmbeddingBag" else (3, 3, D)
    with pytest.raises(ValueError, match=r"^grad_output must have shape"):
        backward(np.ones((*shape, 1), np.float32))
    with pytest.raises(TypeError, match=r"^grad_output must be float32"):
        backward(np.ones(shape, np.float64))
