"""The examples that run what other packages ship: by definition, and beside the packages' code."""

import io
import pickle
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import consensus
import echo_state
import embedrnn as er
import g2p
import japanese
import packages
import polyphones
import vad
from shipped import CHINESE, JAPANESE
from test_examples import recording


def require(name: str) -> None:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")


# --- what they share ---------------------------------------------------------------------------


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = er.get_num_threads()
    er.set_num_threads(2)
    yield
    er.set_num_threads(before)


@pytest.mark.native
@pytest.mark.usefixtures("two_threads")
def test_times_stand_beside_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    threads = set()

    def ours() -> list[str]:
        threads.add(er.get_num_threads())
        return ["a"]

    equal = packages.Pair("words", lambda: ["a"], ours)
    near = packages.Pair("an array", lambda: np.ones(3), lambda: np.ones(3) + 1e-7, 1e-6)
    packages.side_by_side("theirs", [equal, near])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["milliseconds", "theirs", "embedrnn", "ratio"]
    assert [row.split("  ")[0] for row in rows] == ["words", "an array"]
    assert {len(row) for row in rows} == {len(head)}
    assert threads == {1}
    assert er.get_num_threads() == 2


@pytest.mark.parametrize(
    ("theirs", "ours", "tolerance"), [(["a"], ["b"], 0), (np.ones(3), np.ones(3) + 1e-5, 1e-6)]
)
@pytest.mark.native
@pytest.mark.usefixtures("two_threads")
def test_unequal_answers_are_not_timed(theirs: Any, ours: Any, tolerance: float) -> None:
    pair = packages.Pair("", lambda: theirs, lambda: ours, tolerance)
    with pytest.raises(AssertionError):
        packages.side_by_side("theirs", [pair])
    assert er.get_num_threads() == 2


def test_what_stands_in_for_modules_is_gone_afterwards() -> None:
    before = dict(sys.modules)
    with packages.without("json", "no_such.module", "no_such"):
        import json

        from no_such.module import anything  # type: ignore[import-not-found]

        assert anything() is not None
        assert json is before["json"]
    assert sys.modules == before


@pytest.mark.parametrize(
    ("example", "package"),
    [(polyphones, "g2pM"), (japanese, "nagisa"), (consensus, "medaka")],
    ids=["g2pM", "nagisa", "medaka"],
)
def test_it_is_said_what_to_install(
    example: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit, match=f"pip install --no-deps {package}"):
        example.main([] if example is consensus else ["x"])


# --- each by definition --------------------------------------------------------------------------


def small_reader(monkeypatch: pytest.MonkeyPatch) -> polyphones.Reader:
    rng = np.random.default_rng(0)
    lstm = er.LSTM(6, 5, bidirectional=True, bias=False, rng=rng)
    weights: dict[str, Any] = {f"lstm.{name}": w for name, w in lstm.state_dict().items()}
    shapes = {"embedding.weight": (6, 6), "logit_layer.0.weight": (7, 10),
              "logit_layer.0.bias": (7,), "logit_layer.2.weight": (4, 7),
              "logit_layer.2.bias": (4,)}  # fmt: skip
    weights |= {name: np.float32(3 * rng.standard_normal(shape)) for name, shape in shapes.items()}
    for name in ("logit_layer.0.bias", "logit_layer.2.bias"):
        weights[name][:] = 0
    known = {
        "digest_cedict": {"a": ["a1"], "b": ["b1", "b2"], "c": ["c3", "c4", "c5"]},
        "char2idx": {name: n for n, name in enumerate(["<PAD>", "<UNK>", "시", "끝", "a", "b"])},
        "class2idx": {f"{n}": n for n in range(4)},
        "np_ckpt": weights,
    }
    monkeypatch.setattr(polyphones, "unpickled", known.__getitem__)
    return polyphones.Reader()


def test_readings_are_chosen_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = small_reader(monkeypatch)
    w = reader.weights
    lstm = er.LSTM.from_state_dict({k: v for k, v in w.items() if k.startswith("lstm.")}, "lstm.")

    def by_definition(sentence: str) -> list[str]:
        ids = [2, *({"a": 4, "b": 5}.get(x, 1) for x in sentence), 3]
        output, _ = lstm(w["embedding.weight"][ids][None])
        hidden = np.maximum(output[0] @ w["logit_layer.0.weight"].T + w["logit_layer.0.bias"], 0)
        chosen = (hidden @ w["logit_layer.2.weight"].T + w["logit_layer.2.bias"]).argmax(axis=1)
        return [{"a": "a1", "x": "x"}.get(x, str(chosen[1 + n])) for n, x in enumerate(sentence)]

    sentences = ["abcx", "", "a", "bbbbbbcccccc", "xbabc"]
    expected = [by_definition(sentence) for sentence in sentences]
    assert len({reading for one in expected for reading in one}) > 3
    assert reader(sentences) == expected
    assert reader(["ax", ""]) == [["a1", "x"], []]
    assert reader([]) == []


def dynet(rng: np.random.Generator, width: int, hidden: int) -> SimpleNamespace:
    draw = rng.standard_normal
    return SimpleNamespace(
        WxT=np.float32(draw((width, 4 * hidden))),
        WhT=np.float32(draw((hidden, 4 * hidden))),
        b=np.float32(draw(4 * hidden)),
    )


def states_of_dynet(cell: SimpleNamespace, rows: np.ndarray) -> np.ndarray:
    """By the equations of DyNet: the gates are input, forget, output and cell."""
    h = c = np.zeros(len(cell.WhT), np.float32)
    found = []
    for x in rows:
        i, f, o, g = np.split(x @ cell.WxT + h @ cell.WhT + cell.b, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        found.append(h)
    return np.array(found)


def test_gates_of_dynet_are_put_in_order() -> None:
    rng = np.random.default_rng(1)
    forward, back = dynet(rng, 6, 4), dynet(rng, 6, 4)
    theirs = SimpleNamespace(layers=[(forward, back)])
    rows = rng.standard_normal((9, 6)).astype(np.float32)
    expected = np.concatenate(
        [states_of_dynet(forward, rows), states_of_dynet(back, rows[::-1])[::-1]], axis=1
    )
    output, _ = japanese.both_ways(theirs)(rows[None])
    np.testing.assert_allclose(output[0], expected, atol=1e-5)

    words = [[0, 1, 2], [3], [2, 2, 1, 0]]
    last = [
        [*states_of_dynet(forward, rows[word])[-1], *states_of_dynet(back, rows[word[-1:]])[-1]]
        for word in words
    ]
    np.testing.assert_allclose(japanese.Speller(rows, theirs)(words), last, atol=1e-5)


def test_pieces_are_called_as_each_alone() -> None:
    rng = np.random.default_rng(2)
    gru = er.GRU(10, 8, num_layers=2, bidirectional=True, rng=rng)
    weights: dict[str, Any] = {f"gru.{name}": w for name, w in gru.state_dict().items()}
    weights["linear.weight"] = np.float32(rng.standard_normal((5, 16)))
    weights["linear.bias"] = np.float32(rng.standard_normal(5))
    pieces = [consensus.drawn(n, rng)[1] for n in (7, 1, 30)]
    for piece, found in zip(pieces, consensus.Caller(weights)(pieces), strict=True):
        scores = gru(piece[None])[0][0] @ weights["linear.weight"].T + weights["linear.bias"]
        odds = np.exp(scores)
        np.testing.assert_allclose(found, odds / odds.sum(axis=1, keepdims=True), atol=1e-6)


def test_readings_are_parts_of_all() -> None:
    strand, counts = consensus.drawn(200, np.random.default_rng(3))
    assert counts.shape == (200, 10)
    np.testing.assert_allclose(counts.sum(axis=1), 1, atol=1e-6)
    by_base = counts[:, :4] + counts[:, 4:8]
    assert ["ACGT"[n] for n in by_base.argmax(axis=1)] == list(strand)
    assert 0.7 < np.mean(by_base.max(axis=1)) < 1


def test_checkpoints_of_pytorch_are_read() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.GRU(3, 5, bidirectional=True)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    with zipfile.ZipFile(buffer) as file:
        found = consensus.Checkpoint(file).load()
    expected = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_checkpoint_calls_nothing() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("m/data.pkl", pickle.dumps(Path("x")))
    with zipfile.ZipFile(buffer) as file, pytest.raises(TypeError, match="'str' object"):
        consensus.Checkpoint(file).load()


def test_echoes_by_the_equation(capsys: pytest.CaptureFixture[str]) -> None:
    reservoir = echo_state.Reservoir.drawn(20, np.random.default_rng(4))
    series = echo_state.mackey_glass(50)
    state = np.zeros(20)
    for x, found in zip(series, reservoir(series), strict=True):
        fed = reservoir.weight_hh @ state + reservoir.weight_ih[:, 0] * x + reservoir.bias
        state = 0.7 * state + 0.3 * np.tanh(fed)
        np.testing.assert_allclose(found, state, rtol=0, atol=1e-12)
    echo_state.main(["--units", "100", "--steps", "1000"])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("  100 units: an error of ")
    assert float(line.split()[5]) < 0.05


# --- beside the packages' own code ---------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # whatever their code warns of
@pytest.mark.parametrize(
    ("example", "package", "words"),
    [
        (g2p, "g2p-en", ["activationist", "Embedrnn"]),
        (polyphones, "g2pM", CHINESE),
        (japanese, "nagisa", JAPANESE),
        (consensus, "medaka", ["60", "9"]),
        (vad, "silero-vad", ["recording.wav"]),
        (echo_state, "reservoirpy", ["--units", "50", "80"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_answers_are_those_of_the_package(
    example: Any,
    package: str,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    require(package)
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # which nagisa adds to
    monkeypatch.setattr(packages, "TURNS", 1)
    if example is vad:
        recording(tmp_path / "recording.wav")
    example.main([*words, "--compare"])
    torch.set_num_threads(threads)
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[1] == package
    assert len(rows) == (1 if example is vad else 2)
    assert all(float(time) > 0 for row in rows for time in row.split()[-3:-1])


@pytest.mark.parametrize(
    ("example", "package", "words", "told"),
    [
        (polyphones, "g2pM", ["银行"], "银行\tyin2 hang2\n"),
        (japanese, "nagisa", ["楽しいです。"], "楽しい/形容詞 です/助動詞 。/補助記号\n"),
        (consensus, "medaka", ["20"], "    20 columns, 0 wrong: "),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.filterwarnings("ignore")
def test_what_they_write(
    example: Any, package: str, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    require(package)
    example.main(words)
    assert capsys.readouterr().out.startswith(told)
