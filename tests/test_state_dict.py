"""Checkpoints in one call: prefixes, names of cells, dtypes, files, and layers of their sizes."""

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import LAYERS, assert_same_bits
from embedrnn._safetensors import SafeTensors

each_cell = pytest.mark.parametrize("cell", LAYERS)
each_table = pytest.mark.parametrize("table", ["Embedding", "EmbeddingBag"])

HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
UNFIT = "parameters do not fit LSTM(5, 7): "


def state_of(layer: Any, prefix: str = "") -> dict[str, np.ndarray]:
    return {prefix + name: array.copy() for name, array in layer.state_dict().items()}


def cell_of(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state_dict of a cell of PyTorch."""
    return {name.removesuffix("_l0"): array for name, array in state.items()}


def lstm(**options: Any) -> er.LSTM:
    return er.LSTM(5, 7, rng=3, **options)


def assert_equal(layer: Any, state: Mapping[str, np.ndarray]) -> None:
    assert list(layer.state_dict()) == list(state)
    for name, array in layer.state_dict().items():
        assert_same_bits(array, state[name])
        assert not np.shares_memory(array, state[name])


def refusal(call: Callable[[], Any]) -> str:
    """Return the type and the words of an error."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    return f"{caught.type.__name__}: {caught.value}"


# --- prefixes and names ------------------------------------------------------------------------


@each_cell
def test_a_prefix_picks_one_layer_of_a_model(cell: str) -> None:
    first, second = (getattr(er, cell)(5, 7, rng=seed) for seed in (1, 2))
    model = state_of(first, "a.rnn.") | state_of(second, "b.rnn.") | {"b.bias": np.zeros(3)}
    layer = getattr(er, cell)(5, 7)
    assert layer.load_state_dict(model, "b.rnn.") == ([], [])
    assert_equal(layer, state_of(second))
    assert layer.load_state_dict(model, prefix="a.rnn.").missing_keys == []
    assert_equal(layer, state_of(first))


def test_a_prefix_leads_to_the_names_behind_it_alone() -> None:
    class Lazy(Mapping[str, np.ndarray]):
        """A mapping whose other arrays cannot be read."""

        def __iter__(self) -> Iterator[str]:
            return iter([*state_of(lstm(), "it."), "other.weight"])

        def __len__(self) -> int:
            return 5

        def __getitem__(self, name: str) -> np.ndarray:
            return state_of(lstm(), "it.")[name]

    layer = er.LSTM(5, 7)
    layer.load_state_dict(Lazy(), "it.")
    assert_equal(layer, state_of(lstm()))


@each_cell
@pytest.mark.parametrize("bias", [True, False])
def test_names_of_cells(cell: str, bias: bool) -> None:
    source = getattr(er, cell)(5, 7, bias=bias, rng=1)
    layer = getattr(er, cell)(5, 7, bias=bias)
    layer.load_state_dict(cell_of(state_of(source)))
    assert_equal(layer, state_of(source))
    layer.update({"weight_hh": 2 * source.weight_hh_l0})
    assert_same_bits(layer.weight_hh_l0, 2 * source.weight_hh_l0)
    again = getattr(er, cell).from_state_dict(cell_of(state_of(source)))
    assert_equal(again, state_of(source))


def test_names_of_cells_are_none_of_a_stack() -> None:
    cells = cell_of(state_of(lstm()))
    for options in ({"num_layers": 2}, {"bidirectional": True}):
        layer = er.LSTM(5, 7, **options)
        message = refusal(lambda layer=layer: layer.load_state_dict(cells))
        assert "unexpected weight_ih, weight_hh, bias_ih, bias_hh" in message


# --- what is missing, and what else is there -----------------------------------------------------


def test_what_is_there_is_loaded_unless_strict() -> None:
    layer, source = er.LSTM(5, 7), state_of(lstm(), "it.")
    kept = layer.bias_hh_l0.copy()
    del source["it.bias_hh_l0"]
    model = source | {"it.head.weight": np.ones((2, 7)), "other": np.ones(1)}
    keys = layer.load_state_dict(model, "it.", strict=False)
    assert keys == (["it.bias_hh_l0"], ["it.head.weight"])
    assert (keys.missing_keys, keys.unexpected_keys) == (["it.bias_hh_l0"], ["it.head.weight"])
    assert_same_bits(layer.weight_ih_l0, source["it.weight_ih_l0"])
    assert_same_bits(layer.bias_hh_l0, kept)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "shape_unless_strict": ({"weight_hh_l0": np.zeros((28, 3))}, {"strict": False},
                            f"{UNFIT}weight_hh_l0 must have shape (28, 7), got (28, 3)"),
    "nothing_there": ({"x": np.zeros(1)}, {"strict": False},
                      f"ValueError: {UNFIT}missing weight_ih_l0, weight_hh_l0, bias_ih_l0, "
                      "bias_hh_l0"),
    "data_parallel": (state_of(lstm(), "module."), {},
                      "there are such names with the prefix 'module.'"),
    "two_of_them": (state_of(lstm(), "a.") | state_of(lstm(), "b."), {"prefix": "rnn."},
                    "there are such names with the prefix 'a.', 'b.'"),
    "most_of_them": (state_of(lstm(), "a.") | {"b.weight_ih": np.zeros((28, 5))}, {"prefix": "x."},
                     "there are such names with the prefix 'a.'"),
    "cell_elsewhere": (cell_of(state_of(lstm(), "cell.")), {"prefix": "x."},
                       "there are such names with the prefix 'cell.'"),
    "no_prefix": (state_of(lstm()), {"prefix": "lstm."},
                  "there are such names with the prefix ''"),
    "many": ({k: v for n in "abcdefgh" for k, v in state_of(lstm(), f"{n}.").items()},
             {"prefix": "x."}, "the prefix 'a.', 'b.', 'c.', 'd.', 'e.', 'f.', ..."),
    "weight_norm": (
        {"weight_hh_l0_g": np.zeros((28, 1)), "weight_hh_l0_v": np.zeros((28, 7))}, {},
        "weight_hh_l0_g is what weight_norm makes weight_hh_l0 of: call "
        "torch.nn.utils.remove_weight_norm(module, 'weight_hh_l0') before state_dict()"),
    "parametrizations": (
        {"a.parametrizations.weight_hh_l0.original0": np.zeros((28, 1))}, {"prefix": "a."},
        "a.parametrizations.weight_hh_l0.original0 is what a parametrization, such as weight_norm, "
        "makes weight_hh_l0 of: call torch.nn.utils.parametrize.remove_parametrizations(module, "
        "'weight_hh_l0') before state_dict()"),
    "weight_drop": ({"weight_hh_l0_raw": np.zeros((28, 7))}, {},
                    "weight_hh_l0_raw is what a weight drop, as of fastai and torchnlp, keeps "
                    "weight_hh_l0 as: give it under that name"),
    "projection": (
        {"weight_hr_l0": np.zeros((3, 7)), "weight_hh_l0": np.zeros((28, 3))}, {},
        "weight_hr_l0 is the projection of an LSTM with a proj_size: multiply it into the weights "
        "that read the state, weight_hh @ weight_hr_l0, and the output by it, output @ "
        "weight_hr_l0.T"),
    "key": ({1: np.zeros(1)}, {}, "unexpected 1"),
    "integers": ({"weight_hh_l0": np.zeros((28, 7), int)}, {"cast": True, "strict": False},
                 f"TypeError: {UNFIT}weight_hh_l0 must be float32, got int64"),
    "halves": ({"weight_hh_l0": np.zeros((28, 7), "f2")}, {"strict": False},
               f"TypeError: {UNFIT}weight_hh_l0 must be float32, got float16"),
    "too_great": ({"weight_hh_l0": np.full((28, 7), 1e39)}, {"cast": True, "strict": False},
                  "ValueError: weight_hh_l0 holds numbers that are too great for float32"),
    "prefix": ({}, {"prefix": 1}, "TypeError: prefix must be a str, got 1"),
    "strict": ({}, {"strict": "a"}, "TypeError: strict must be True or False, got 'a'"),
    "cast": ({}, {"cast": "f4"}, "TypeError: cast must be True or False, got 'f4'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    state, options, words = REFUSED[name]
    layer = er.LSTM(5, 7)
    before = layer.state_dict()
    assert words in refusal(lambda: layer.load_state_dict(state, **options))
    assert all(array is before[name] for name, array in layer.state_dict().items())


@pytest.mark.parametrize("name", ["weight_norm", "parametrizations", "weight_drop", "projection"])
def test_what_became_of_a_parameter_is_said_in_any_case(name: str) -> None:
    state, options, words = REFUSED[name]
    layer = er.LSTM(5, 7)
    given = state | state_of(lstm(), options.get("prefix", ""))
    assert words in refusal(lambda: layer.load_state_dict(given, strict=False, **options))
    assert words in refusal(lambda: er.LSTM.from_state_dict(given, **options))


# --- dtypes ------------------------------------------------------------------------------------


@each_cell
@pytest.mark.parametrize("given", ["float16", "bfloat16", "float32", "float64", ">f8"])
def test_any_float_is_cast(dtype: Any, cell: str, given: str) -> None:
    found = np.dtype(HALVES.get(given, given))
    layer = getattr(er, cell)(5, 7, dtype=dtype)
    state = {name: array.astype(found) for name, array in state_of(layer).items()}
    other = getattr(er, cell)(5, 7, dtype=dtype, rng=1)
    other.load_state_dict(state, cast=True)
    assert_equal(other, {name: array.astype(dtype) for name, array in state.items()})


@each_table
@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("given", ["float16", "bfloat16", "float32", "float64"])
def test_tables_are_cast(table: str, stored: str, given: str) -> None:
    dtype, found = (np.dtype(HALVES.get(name, name)) for name in (stored, given))
    weight = np.random.default_rng(0).standard_normal((9, 3)).astype(found)
    layer = getattr(er, table)(9, 3, dtype=dtype)
    layer.load_state_dict({"m.weight": weight}, "m.", cast=True)
    assert_same_bits(layer.weight, weight.astype(dtype))


def test_what_is_infinite_stays_so() -> None:
    layer, bias = er.LSTM(1, 1), np.array([np.inf, -np.inf, np.nan, 1e-60])
    with np.errstate(all="raise"):
        layer.load_state_dict({"bias_ih_l0": bias}, strict=False, cast=True)
    np.testing.assert_array_equal(layer.bias_ih_l0, bias.astype(np.float32))


@pytest.mark.parametrize("dtype_name", ["float16", "bfloat16", "float32", "float64"])
def test_tensors_of_pytorch(dtype_name: str) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(5, 7, 2, bidirectional=True, dtype=getattr(torch, dtype_name))
    expected = {name: value.double().numpy() for name, value in module.state_dict().items()}
    for state in (module.state_dict(), dict(module.named_parameters())):
        layer = er.LSTM.from_state_dict(state, cast=True, dtype="f8")
        assert_equal(layer, expected)


def test_bfloat16_is_cast_without_ml_dtypes(monkeypatch: Any, tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    path = written(tmp_path / "a.safetensors", {"weight": weight.astype(ml_dtypes.bfloat16)})
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    assert_same_bits(er.Embedding.from_state_dict(path, cast=True).weight, weight)
    assert "weight is of bfloat16, which NumPy has with ml_dtypes alone" in refusal(
        lambda: er.Embedding.from_state_dict(path)
    )
    torch = pytest.importorskip("torch")
    state = {"weight": torch.from_numpy(weight).bfloat16().requires_grad_()}
    assert_same_bits(er.Embedding.from_state_dict(state, cast=True).weight, weight)


# --- layers of the sizes of their parameters -----------------------------------------------------


@each_cell
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_the_sizes_are_read(
    dtype: Any, cell: str, num_layers: int, bidirectional: bool, bias: bool
) -> None:
    make = getattr(er, cell)
    source = make(5, 7, num_layers, bias=bias, bidirectional=bidirectional, dtype=dtype)
    model = state_of(source, "x.") | {"x2.weight_hh_l9": np.zeros(1)}
    layer = make.from_state_dict(model, "x.", dropout=0.25)
    assert (layer.input_size, layer.hidden_size, layer.dropout) == (5, 7, 0.25)
    assert (layer.bias, layer.bidirectional, layer.num_layers) == (bias, bidirectional, num_layers)
    assert_equal(layer, state_of(source))
    x = np.random.default_rng(1).standard_normal((2, 4, 5)).astype(dtype)
    assert_same_bits(layer(x)[0], source(x)[0])


@pytest.mark.parametrize("bidirectional", [True, False])
def test_peepholes_and_leaks_are_told(bidirectional: bool) -> None:
    options = {"num_layers": 2, "bidirectional": bidirectional, "rng": 1}
    source = er.LSTM(5, 7, peepholes=True, **options)  # type: ignore[arg-type]
    layer = er.LSTM.from_state_dict(state_of(source, "a."), "a.")
    assert repr(layer) == repr(source)
    assert_equal(layer, state_of(source))
    leaky = er.RNN(5, 7, leak=0.25, **options)  # type: ignore[arg-type]
    leaky.update({"leak_l1": np.linspace(0.1, 1, 7, dtype=np.float32)})
    twin = er.RNN.from_state_dict(state_of(leaky))
    assert_equal(twin, state_of(leaky))
    x = np.random.default_rng(1).standard_normal((2, 4, 5)).astype(np.float32)
    assert_same_bits(twin(x)[0], leaky(x)[0])
    cells = er.LSTM(5, 7, peepholes=True)
    assert_equal(er.LSTM.from_state_dict(cell_of(state_of(cells))), state_of(cells))
    assert refusal(lambda: er.LSTM(5, 7).load_state_dict(state_of(cells))).endswith(
        "unexpected weight_ch_l0"
    )


def test_options_that_weights_do_not_tell() -> None:
    state = state_of(er.GRU(5, 7))
    assert not er.GRU.from_state_dict(state, reset_after=False).reset_after
    backwards = er.GRU.from_state_dict(state, reverse=True)
    x = np.random.default_rng(1).standard_normal((2, 4, 5)).astype(np.float32)
    forwards = er.GRU.from_state_dict(state)
    assert_same_bits(backwards(x)[0], forwards(x[:, ::-1])[0][:, ::-1])
    stack = er.GRU(5, 7, 2, bidirectional=True, merge="sum")
    assert_equal(er.GRU.from_state_dict(state_of(stack), merge="sum"), state_of(stack))
    state = state_of(er.RNN(5, 7))
    assert er.RNN.from_state_dict(state, nonlinearity="relu").nonlinearity == "relu"
    layer = er.Embedding.from_state_dict({"weight": np.ones((4, 3))}, padding_idx=-1, max_norm=1.0)
    assert (layer.padding_idx, layer.max_norm, layer.dtype) == (3, 1.0, np.float64)
    assert np.linalg.norm(layer(0)) == pytest.approx(1)
    bag = er.EmbeddingBag.from_state_dict({"weight": np.ones((4, 3))}, mode="sum")
    assert bag([[0, 1]]).tolist() == [[2, 2, 2]]


@each_table
@pytest.mark.parametrize("dtype_name", ["float16", "bfloat16", "float32", "float64", "int8"])
def test_the_sizes_of_tables_are_read(table: str, dtype_name: str) -> None:
    source = getattr(er, table)(9, 3, dtype=HALVES.get(dtype_name, dtype_name), rng=0)
    layer = getattr(er, table).from_state_dict(state_of(source, "a."), "a.")
    assert repr(layer) == repr(source)
    assert_equal(layer, state_of(source))
    if dtype_name == "int8":  # whose table is not what the state_dict holds
        again = getattr(er, table).from_state_dict({"weight": source.weight})
        assert_equal(again, state_of(source))


def test_a_layer_takes_no_memory_of_others() -> None:
    state = state_of(lstm())
    layer = er.LSTM.from_state_dict(state)
    state["weight_hh_l0"][...] = 0
    assert_equal(layer, state_of(lstm()))


@pytest.mark.parametrize(
    ("layer", "options", "words"),
    [
        ("LSTM", {"state_dict": {}}, "ValueError: state_dict must have weight_ih_l0, weight_hh_l0"),
        ("LSTM", {"state_dict": state_of(lstm(), "a.")},
         "ValueError: state_dict must have weight_ih_l0, weight_hh_l0; there are such names with "
         "the prefix 'a.'"),
        ("GRU", {"state_dict": state_of(lstm())},
         "ValueError: parameters do not fit GRU(5, 7): weight_ih_l0 must have shape (21, 5), got "
         "(28, 5)"),
        ("LSTM", {"state_dict": state_of(lstm()) | {"weight_hh_l0": np.zeros(7)}},
         "ValueError: weight_hh_l0 must have 2 axes, got shape (7,)"),
        ("LSTM", {"state_dict": state_of(lstm()) | {"weight_ih_l2": np.zeros((28, 7))}},
         "ValueError: parameters do not fit LSTM(5, 7, num_layers=2): missing weight_ih_l1, "),
        ("LSTM", {"state_dict": state_of(lstm()), "hidden_size": 7},
         "TypeError: hidden_size of LSTM is read from the parameters: leave it out"),
        ("LSTM", {"state_dict": state_of(lstm()), "bias": True},
         "TypeError: bias of LSTM is read from the parameters: leave it out"),
        ("LSTM", {"state_dict": state_of(lstm()), "reset_after": True},
         "TypeError: reset_after is for GRU alone"),
        ("LSTM", {"state_dict": state_of(lstm()), "dtype": "f8"},
         "TypeError: parameters do not fit LSTM(5, 7, dtype=float64): weight_ih_l0 must be float"),
        ("LSTM", {"state_dict": {k: v.astype("f2") for k, v in state_of(lstm()).items()}},
         "TypeError: parameters do not fit LSTM(5, 7): weight_ih_l0 must be float32, got float16"),
        ("Embedding", {"state_dict": {"a.weight": np.ones((2, 2))}},
         "ValueError: state_dict must have weight; there are such names with the prefix 'a.'"),
        ("Embedding", {"state_dict": {"weight": np.ones((2, 2), int)}},
         "TypeError: parameters do not fit Embedding(2, 2): weight must be float32, got int64"),
        ("Embedding", {"state_dict": {"weight": np.ones((2, 2), "u1")}},
         "ValueError: parameters do not fit Embedding(2, 0, dtype=int8): weight must have shape"),
        ("Embedding", {"state_dict": {"weight": np.ones((2, 2))}, "embedding_dim": 2},
         "TypeError: embedding_dim of Embedding is read from the parameters: leave it out"),
    ],
)  # fmt: skip
def test_no_layer_of_these_parameters(layer: str, options: dict[str, Any], words: str) -> None:
    assert refusal(lambda: getattr(er, layer).from_state_dict(**options)).startswith(words)


def test_weights_of_a_cell_that_pytorch_has() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.GRUCell(5, 7)
    layer = er.GRU.from_state_dict({f"d.{k}": v for k, v in module.state_dict().items()}, "d.")
    x = torch.randn(4, 5)
    with torch.no_grad():
        expected = module(x)
    np.testing.assert_allclose(layer.step(x.numpy())[0], expected.numpy(), rtol=0, atol=1e-6)


def test_what_pytorch_makes_of_weight_norm() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(5, 7)
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    said = refusal(lambda: er.LSTM.from_state_dict(module.state_dict()))
    assert "parametrizations.weight_hh_l0.original0 is what a parametrization" in said
    torch.nn.utils.parametrize.remove_parametrizations(module, "weight_hh_l0")
    assert_equal(
        er.LSTM.from_state_dict(module.state_dict()),
        {name: module.state_dict()[name].numpy() for name in state_of(er.LSTM(5, 7))},
    )


# --- files -------------------------------------------------------------------------------------


def written(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Write arrays by the definition of the format."""
    names = {"f": "F", "i": "I", "u": "U", "V": "BF"}
    entries: dict[str, Any] = {"__metadata__": {"format": "np"}}
    end, parts = 0, []
    for name, array in arrays.items():
        kind = "BF" if array.dtype.name == "bfloat16" else names[array.dtype.kind]
        offsets = [end, end + array.nbytes]
        entries[name] = {
            "dtype": f"{kind}{8 * array.itemsize}", "shape": list(array.shape),
            "data_offsets": offsets,
        }  # fmt: skip
        end = offsets[1]
        parts.append(array.tobytes())
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(parts))
    return path


def savez(path: Path, arrays: Mapping[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


def savez_compressed(path: Path, arrays: Mapping[str, Any]) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def safetensors_save(path: Path, arrays: Mapping[str, Any]) -> Path:
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(dict(arrays), str(path))
    return path


FILES: dict[str, tuple[str, Callable[[Path, Mapping[str, Any]], Path]]] = {
    "savez": ("model.npz", savez),
    "savez_compressed": ("model.NPZ", savez_compressed),
    "by_definition": ("model.safetensors", written),
    "safetensors": ("model.SafeTensors", safetensors_save),
}
each_file = pytest.mark.parametrize("kind", FILES)


@each_file
@pytest.mark.parametrize("as_text", [True, False])
def test_files(tmp_path: Path, dtype: Any, kind: str, as_text: bool) -> None:
    name, write = FILES[kind]
    source = er.GRU(5, 7, 2, bidirectional=True, dtype=dtype, rng=1)
    table = er.Embedding(9, 3, dtype=dtype, rng=1)
    if name == "model.NPZ":  # savez appends a suffix that it does not see
        name = "model.npz"
    file = write(tmp_path / name, state_of(source, "enc.gru.") | state_of(table, "emb."))
    path = str(file) if as_text else file
    layer = er.GRU.from_state_dict(path, "enc.gru.")
    assert_equal(layer, state_of(source))
    layer = er.GRU(5, 7, 2, bidirectional=True, dtype=dtype)
    assert layer.load_state_dict(path, "enc.gru.") == ([], [])
    assert_equal(layer, state_of(source))
    assert_equal(er.Embedding.from_state_dict(path, "emb."), state_of(table))
    file.unlink()


@pytest.mark.parametrize("dtype_name", ["float16", "bfloat16", "float64"])
def test_what_safetensors_writes_of_pytorch(tmp_path: Path, dtype_name: str) -> None:
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("safetensors.torch")
    module = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(5, 7, 2, dtype=getattr(torch, dtype_name))})
    path = tmp_path / "model.safetensors"
    library.save_file(module.state_dict(), path, metadata={"format": "pt"})
    layer = er.LSTM.from_state_dict(path, "rnn.", dtype="f8", cast=True)
    expected = {name: value.double().numpy() for name, value in module["rnn"].state_dict().items()}
    assert_equal(layer, expected)


def test_the_bits_of_bfloat16(tmp_path: Path) -> None:
    every = np.arange(2**16, dtype=np.uint16).reshape(-1, 4).view(ml_dtypes.bfloat16)
    path = written(tmp_path / "a.safetensors", {"weight": every})
    assert_same_bits(er.Embedding.from_state_dict(path).weight, every)
    finite = every[np.isfinite(every.astype(np.float32)).all(axis=1)]
    path = written(tmp_path / "b.safetensors", {"weight": finite})
    layer = er.Embedding.from_state_dict(path, cast=True)
    assert_same_bits(layer.weight, finite.astype(np.float32))
    half = er.Embedding.from_state_dict(path, cast=True, dtype=ml_dtypes.bfloat16)
    assert_same_bits(half.weight, finite)


GOOD = {"weight": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}


ENTRY = json.dumps(GOOD["weight"]).encode()


def file_of(entries: Any, numbers: bytes = bytes(8), length: int | None = None) -> bytes:
    header = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + numbers


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it ends within its first 8 bytes"),
    "short": (b"1234567", "it ends within its first 8 bytes"),
    "length": (file_of(GOOD, length=2**63), "and a header of 9223372036854775808"),
    "cut_header": (file_of(GOOD)[:40], "it has 40 bytes, and a header of 69"),
    "no_json": (file_of(b"{not json"), "it has no header of tensors"),
    "not_utf8": (file_of(b"\xff\xfe{}"), "it has no header of tensors"),
    "deep": (file_of(b"[" * 100_000), "it has no header of tensors"),
    "list": (file_of([1]), "it has no header of tensors"),
    "entry": (file_of({"weight": 1}), "it has no header of tensors"),
    "offsets": (file_of({"weight": GOOD["weight"] | {"data_offsets": [8]}}),
                "it has no header of tensors"),
    "negative": (file_of({"weight": GOOD["weight"] | {"shape": [-2, -1]}}),
                 "it has no header of tensors"),
    "fraction": (file_of({"weight": GOOD["weight"] | {"shape": [2.0, 1]}}),
                 "it has no header of tensors"),
    "size": (file_of({"weight": GOOD["weight"] | {"shape": [3, 1]}}),
             "weight has another size than its shape (3, 1) and F32 make"),
    "huge": (file_of({"weight": GOOD["weight"] | {"shape": [2**62, 2**62]}}),
             "weight has another size"),
    "cut": (file_of(GOOD, bytes(7)), "weight does not lie within it"),
    "outside": (file_of({"weight": GOOD["weight"] | {"data_offsets": [16, 8]}}),
                "weight does not lie within it"),
    "twice": (file_of(b'{"weight": 1, "weight": 1}'.replace(b"1", ENTRY)),
              "it has no header of tensors"),
    "field_twice": (file_of(b'{"weight": 1}'.replace(b"1", ENTRY[:-1] + b', "dtype": "F32"}')),
                    "it has no header of tensors"),
    "no_number": (file_of(b'{"weight": 1}'.replace(b"1", ENTRY[:-1] + b', "x": NaN}')),
                  "it has no header of tensors"),
    "utf16": (file_of(json.dumps(GOOD).encode("utf-16-le")), "it has no header of tensors"),
    "mark": (file_of(json.dumps(GOOD).encode("utf-8-sig")), "it has no header of tensors"),
    "about": (file_of(GOOD | {"__metadata__": {"a": 1}}), "it has no header of tensors"),
    "about_list": (file_of(GOOD | {"__metadata__": ["a"]}), "it has no header of tensors"),
    "same": (file_of(GOOD | {"x": GOOD["weight"]}),
             "x begins at byte 0, where those before end at 8"),
    "overlap": (file_of(GOOD | {"x": GOOD["weight"] | {"data_offsets": [4, 12]}}, bytes(12)),
                "x begins at byte 4, where those before end at 8"),
    "hole": (file_of(GOOD | {"x": GOOD["weight"] | {"data_offsets": [12, 20]}}, bytes(20)),
             "x begins at byte 12, where those before end at 8"),
    "before": (file_of({"weight": GOOD["weight"] | {"data_offsets": [4, 12]}}, bytes(12)),
               "weight begins at byte 4, where those before end at 0"),
    "behind": (file_of(GOOD, bytes(9)), "its tensors end at byte 8 of 9"),
    "nothing": (file_of({}, b"1"), "its tensors end at byte 0 of 1"),
}  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 0, 0, 1])),
             max_size=4),
    st.permutations(range(4)),
    st.sampled_from([0, 0, 1]),
)  # fmt: skip
def test_files_are_refused_that_the_library_refuses(
    tmp_path: Path, sizes: list[tuple[int, int, int]], order: list[int], more: int
) -> None:
    library = pytest.importorskip("safetensors.numpy")
    entries, end = {}, 0
    for k, (rows, columns, hole) in enumerate(sizes):
        begin, end = end + hole, end + hole + rows * columns
        entries[f"t{k}"] = {"dtype": "U8", "shape": [rows, columns], "data_offsets": [begin, end]}
    data = file_of({f"t{k}": entries[f"t{k}"] for k in order if k < len(sizes)}, bytes(end + more))
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    try:
        expected = library.load(data)
    except Exception:
        with pytest.raises(ValueError, match="cannot be read as safetensors"):
            SafeTensors(path)
        return
    found = SafeTensors(path)
    assert {name: array.shape for name, array in found.items()} == {
        name: array.shape for name, array in expected.items()
    }


def test_a_file_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_of(GOOD, np.array([1.5, -2], "<f4").tobytes()))
    assert er.Embedding.from_state_dict(path).weight.tolist() == [[1.5], [-2]]
    path.write_bytes(file_of({}, b""))
    assert "state_dict must have weight" in refusal(lambda: er.Embedding.from_state_dict(path))


def test_a_dtype_that_numpy_lacks(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    entry = GOOD["weight"]
    eights = {"dtype": "F8_E4M3", "shape": [2, 1], "data_offsets": [8, 10]}
    path.write_bytes(file_of({"a.weight": entry, "x.weight": eights}, bytes(10)))
    assert er.Embedding.from_state_dict(path, "a.").weight.shape == (2, 1)
    said = refusal(lambda: er.Embedding.from_state_dict(path, "x."))
    assert said == "TypeError: x.weight is of F8_E4M3, which NumPy has not"


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(tmp_path: Path, name: str) -> None:
    content, words = BROKEN[name]
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    layer = er.Embedding(2, 1)
    before = layer.weight
    said = refusal(lambda: layer.load_state_dict(path))
    assert said.startswith("ValueError: ")
    assert words in said
    assert layer.weight is before


@pytest.mark.parametrize("end", [0, 10, 300])
def test_broken_npz(tmp_path: Path, end: int) -> None:
    path = savez(tmp_path / "a.npz", state_of(er.Embedding(20, 10)))
    path.write_bytes(path.read_bytes()[:end])
    said = refusal(lambda: er.Embedding.from_state_dict(path))
    assert said.startswith(f"ValueError: {path} cannot be read as .npz: ")


def test_an_array_alone_is_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, np.ones((2, 1)))
    said = refusal(lambda: er.Embedding.from_state_dict(path))
    assert said.endswith("cannot be read as .npz: it holds one array without a name")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = savez(tmp_path / "a.npz", {"weight": np.array([[1.0, None]], object)})
    said = refusal(lambda: er.Embedding.from_state_dict(path))
    assert said.startswith("ValueError: weight cannot be read: ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.pt", ", which is a pickle: give what torch.load(path, map_location='cpu', "
                     "weights_only=True) returns"),
        ("model.PTH", ", which is a pickle: give what torch.load("),
        ("pytorch_model.bin", ", which is a pickle: give what torch.load("),
        ("model.keras", ", which is of Keras: load the model there, and give its layers to"),
        ("model.h5", ", which is of Keras: load the model there"),
        ("model.onnx", ", which is of ONNX: see embedrnn.convert"),
        ("model", ""),
        ("model.npy", ""),
    ],
)  # fmt: skip
def test_other_files(name: str, words: str) -> None:
    said = refusal(lambda: er.Embedding(2, 1).load_state_dict(Path(name)))
    expected = "state_dict must be a mapping or the path of an .npz or .safetensors file, got "
    assert re.match(f"^ValueError: {re.escape(f'{expected}{name!r}{words}')}", said), said


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_file_that_is_not_there(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(FileNotFoundError):
        er.Embedding.from_state_dict(tmp_path / f"a.{suffix}")
