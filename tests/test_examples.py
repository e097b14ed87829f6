"""The examples: that they learn, and that a run which was ended goes on with the same bits."""

import io
import sys
import wave
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import embedrnn as er
import encode_text
import g2p
import language_model
import tagger
import text
import training
import vad
from embedrnn._demo.corpus import sentences
from model import Model, cross_entropy, starting_with
from text import Example, Shuffled, held_out, in_batches, joined

PARTS = (
    ["A cat", "The dog", "Old Tom", "NASA"],
    ["sees", "likes"],
    ["a bird", "the mat", "UNICEF"],
)
SIZES = [
    "--vocabulary=30", "--width=8", "--hidden=12", "--batch=8", "--samples=2", "--longest=12",
]  # fmt: skip


@pytest.fixture
def text_file(tmp_path: Path) -> str:
    """Write every sentence that the parts make, two or three in a paragraph, a few words apart."""
    every = [f"{a} {b} {c}." for a in PARTS[0] for b in PARTS[1] for c in PARTS[2]]
    rng = np.random.default_rng(0)
    chosen = [" ".join(rng.choice(every, rng.integers(2, 4))) for _ in range(120)]
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(chosen), encoding="utf-8")
    return str(path)


def trained(monkeypatch: pytest.MonkeyPatch, main: Any, *arguments: str) -> training.Trainer:
    """Run an example, and return what it trained with."""
    found: list[training.Trainer] = []
    train = training.train

    def keep(trainer: training.Trainer, options: Any) -> None:
        found.append(trainer)
        train(trainer, options)

    for example in (language_model, tagger):
        monkeypatch.setattr(example, "train", keep)
    main(arguments)
    return found[0]


def test_the_language_model_beats_frequencies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text_file: str
) -> None:
    arguments = ["--text", text_file, *SIZES, "--steps", "150", "--rate", "0.03"]
    losses = trained(monkeypatch, language_model.main, *arguments).losses
    assert np.mean(losses[-10:]) < 0.6 * losses[0]
    lines = capsys.readouterr().out.splitlines()
    ours, unigram = (
        float(line.rpartition(" ")[2]) for line in lines if line.startswith(("perplex", "of freq"))
    )
    assert ours < unigram / 2
    assert len(lines[lines.index("") + 1 :]) == 2


def test_the_tagger_beats_the_most_frequent_class(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text_file: str
) -> None:
    arguments = ["--text", text_file, *SIZES, "--steps", "100", "--rate", "0.03"]
    losses = trained(
        monkeypatch, tagger.main, *arguments, "--restore", "the dog sees unicef nasa likes a bird"
    ).losses
    assert np.mean(losses[-10:]) < 0.1 * losses[0]
    out = capsys.readouterr().out
    model, frequent = (
        [float(number) for number in line.split()[-4:]]
        for line in out.splitlines()
        if line.startswith(("model", "most frequent"))
    )
    assert all(a > b for a, b in zip(model, frequent, strict=True))
    assert out.endswith("> The dog sees UNICEF. NASA likes a bird.\n")


@pytest.mark.parametrize("example", [language_model, tagger], ids=lambda e: e.__name__)
def test_a_run_that_was_ended_goes_on_with_the_same_bits(
    example: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text_file: str
) -> None:
    arguments = ["--text", text_file, *SIZES, "--steps", "30", "--save-every", "10"]

    def run(name: str) -> dict[str, np.ndarray]:
        example.main([*arguments, "--checkpoint", str(tmp_path / name)])
        with np.load(tmp_path / name) as file:
            return dict(file)

    through = run("through.npz")
    step = training.Trainer.step

    def ended(trainer: training.Trainer) -> int:
        if len(trainer.losses) == 17:
            raise KeyboardInterrupt
        return step(trainer)

    monkeypatch.setattr(training.Trainer, "step", ended)
    with pytest.raises(KeyboardInterrupt):
        run("resumed.npz")
    monkeypatch.setattr(training.Trainer, "step", step)
    with np.load(tmp_path / "resumed.npz") as file:
        assert len(file["losses"]) == 10
    resumed = run("resumed.npz")
    assert through.keys() == resumed.keys()
    for name, array in through.items():
        assert array.tobytes() == resumed[name].tobytes(), name
    assert [path.suffix for path in tmp_path.glob("*.npz*")] == [".npz", ".npz"]


def test_a_checkpoint_of_other_options_is_refused(tmp_path: Path, text_file: str) -> None:
    arguments = ["--text", text_file, *SIZES, "--checkpoint", str(tmp_path / "run.npz")]
    tagger.main([*arguments, "--steps", "2"])
    with pytest.raises(SystemExit, match="run with other options"):
        tagger.main([*arguments, "--steps", "3"])


def test_a_file_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"none\.txt"):
        language_model.main(["--text", str(tmp_path / "none.txt")])


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    training.plot([3.0, 2.0, 1.5], tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 0


def test_gradients_by_differences() -> None:
    """Every parameter of a small model, in the direction of its gradient."""
    rng = np.random.default_rng(1)
    lengths = (3, 1, 5)
    batch = joined([Example(*rng.integers(0, 6, (2, n))) for n in lengths])
    model = Model(6, 6, width=4, hidden=5, layers=2, bidirectional=True)
    _, grads = model.gradients(batch, rng)
    grads["embedding"] = {"weight": grads["embedding"]["weight"].to_dense(6)}
    before = {name: array.copy() for name, array in model.state_dict().items()}
    for name, value in before.items():
        part, _, key = name.partition(".")
        grad = grads[part][key]
        losses = []
        for sign in (-1, 1):
            moved = value + np.float32(sign * 0.01 / np.linalg.norm(grad)) * grad
            model.load_state_dict({**before, name: moved})
            losses.append(model.loss(batch))
        slope = (losses[1] - losses[0]) / 0.02
        np.testing.assert_allclose(slope, np.linalg.norm(grad), rtol=0.02, err_msg=name)


def test_cross_entropy_by_hand() -> None:
    scores = np.log(np.array([[1, 2, 1], [3, 1, 4]], np.float32))
    loss, grad = cross_entropy(scores, np.array([1, 0]))
    np.testing.assert_allclose(loss, -(np.log(2 / 4) + np.log(3 / 8)) / 2, rtol=1e-6)
    expected = [[0.125, -0.25, 0.125], [-0.3125, 0.0625, 0.25]]
    np.testing.assert_allclose(grad, expected, rtol=1e-6)


def test_cross_entropy_of_great_scores_is_finite() -> None:
    scores = np.array([[3e38, -3e38, 0], [-3e38, -3e38, -3e38]], np.float32)
    with np.errstate(over="ignore"):  # of scores that are further apart than float32 reaches
        loss, grad = cross_entropy(scores[1:].copy(), np.array([2]))
        far, of_far = cross_entropy(scores[:1] / 4, np.array([0]))
    np.testing.assert_allclose([loss, far], [np.log(3), 0], atol=1e-6)
    assert np.isfinite(grad).all()
    assert np.isfinite(of_far).all()


def test_batches_have_every_example_once_in_each_pass() -> None:
    examples = [Example(np.arange(n), np.arange(n)) for n in range(1, 12)]
    batches = Shuffled(examples, 4, seed=3)
    again = Shuffled(examples, 4, seed=3)
    passes = [[batches[3 * p + i] for i in range(3)] for p in range(2)]
    for three in passes:
        lengths = np.concatenate([np.diff(batch.offsets) for batch in three])
        assert sorted(lengths) == list(range(1, 12))
    np.testing.assert_array_equal(again[4].words, passes[1][1].words)
    assert passes[0][0].words.tolist() != passes[1][0].words.tolist()
    in_order = np.concatenate([np.diff(batch.offsets) for batch in in_batches(examples, 5)])
    assert in_order.tolist() == list(range(1, 12))


def test_words_are_numbered_by_frequency() -> None:
    vocabulary = language_model.known([["b", "a", "b"], ["c", "b", "a"]], 4)
    assert vocabulary.tokens == ("<unknown>", "<end>", "b", "a")
    assert vocabulary.ids(["a", "c", "<end>"]).tolist() == [3, 0, 1]


def test_blocks_of_neighbours_are_held_out() -> None:
    training_items, trial = held_out(range(4000))
    assert len(training_items) + len(trial) == 4000
    assert trial == [*range(1000, 1100), *range(3000, 3100)]


def test_classes_of_words() -> None:
    found = [word for s in sentences('See "PEP 8" or I/O. A dog!') for word in tagger.labelled(s)]
    cap, up, ends = tagger.CAPITALISED, tagger.UPPER, tagger.ENDS
    assert found == [
        ("see", cap), ("pep", up), ("8", 0), ("or", 0), ("i", cap), ("o", cap + ends),
        ("a", cap), ("dog", ends),
    ]  # fmt: skip


def test_scores_by_hand() -> None:
    cap, ends = tagger.CAPITALISED, tagger.ENDS
    found = tagger.scores(np.array([cap, 0, 0, ends]), np.array([cap, 0, ends, ends + cap]))
    # Classes cap 1, none 2/3, ends 0 and ends + cap 0; of ends one was told, rightly, of two.
    np.testing.assert_allclose(found, [0.5, 2 / 3, 2 / 3, (1 + 2 / 3) / 4])


def test_passages_have_half_of_the_words_that_are_allowed() -> None:
    found = tagger.passages(tagger.paragraphs("A b.\n\nC d.\n\nno end\n\nE f g.\n\nC d.\n\nH."), 5)
    assert ["".join(word.word for word in words) for words in found] == ["abcd", "efg", "h"]


# --- vectors of sentences ----------------------------------------------------------------------


def told(text_file: str) -> tuple[list[list[str]], er.Vocabulary]:
    """Return the sentences of the text, and the words that are known."""
    sentences = text.sentences(Path(text_file).read_text(encoding="utf-8").lower(), 12)
    return sentences, language_model.known(held_out(sentences)[0], 30)


def assert_encoded(vectors: np.ndarray, model: Any, text_file: str) -> None:
    """Vectors are the mean of what the LSTM gives, over each sentence by itself."""
    sentences, vocabulary = told(text_file)
    assert len(vectors) == len(sentences)
    for vector, words in zip(vectors, sentences, strict=True):
        ids = vocabulary.ids([language_model.END, *words])
        output, _ = model.lstm(model.embedding(ids))
        np.testing.assert_allclose(vector, output.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_sentences_are_encoded_by_random_weights(
    tmp_path: Path, text_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vectors.npy"
    arguments = [
        "--text",
        text_file,
        "--vocabulary=30",
        "--width=64",
        "--hidden=64",
        "--longest=12",
    ]
    encode_text.main([*arguments, "--out", str(out), "--query", "The dog sees the bird."])
    rng = np.random.default_rng(0)
    model = SimpleNamespace(
        embedding=er.Embedding(len(told(text_file)[1]), 64, rng=rng),
        lstm=er.LSTM(64, 64, bidirectional=True, rng=rng),
    )
    assert_encoded(np.load(out), model, text_file)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "the dog sees the bird ."
    assert len(lines) == 6
    assert {line[8:] for line in lines[3:5]} == {"the dog sees a bird .", "the dog sees the mat ."}


def test_sentences_are_encoded_by_a_language_model(
    tmp_path: Path, text_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, checkpoint = tmp_path / "vectors.npy", str(tmp_path / "lm.npz")
    arguments = ["--text", text_file, "--checkpoint", checkpoint]
    language_model.main([*arguments, *SIZES, "--steps=3", "--layers=2"])
    encode_text.main([*arguments, "--out", str(out), "--samples=2"])
    words = len(told(text_file)[1])
    model = Model(words, words, width=8, hidden=12, layers=2)
    with np.load(checkpoint) as file:
        model.load_state_dict(starting_with("model.", file))
    assert_encoded(np.load(out), model, text_file)
    assert capsys.readouterr().out.count("\n  ") == 6


def test_a_language_model_of_other_text_is_refused(tmp_path: Path, text_file: str) -> None:
    checkpoint = str(tmp_path / "lm.npz")
    language_model.main(["--text", text_file, *SIZES, "--steps=1", "--checkpoint", checkpoint])
    with pytest.raises(SystemExit, match="has learnt from other text"):
        encode_text.main(["--checkpoint", checkpoint])
    with pytest.raises(SystemExit, match=r"none\.npz: No such file"):
        encode_text.main(["--checkpoint", str(tmp_path / "none.npz")])


def test_neighbours_by_hand() -> None:
    vectors = np.array([[1, 0], [3, 4], [-1, 0], [0, 0]], np.float32)
    asked = np.array([[2, 0], [0, 0]], np.float32)
    near, of_nothing = encode_text.neighbours(asked, vectors, n=3)
    assert [number for _, number in near] == [0, 1, 3]
    np.testing.assert_allclose([cosine for cosine, _ in near], [1, 0.6, 0], rtol=1e-6)
    assert [cosine for cosine, _ in of_nothing] == [0, 0, 0]


# --- phonemes ----------------------------------------------------------------------------------


def drawn_weights(hidden: int = 24, width: int = 16) -> dict[str, np.ndarray]:
    """Return weights of g2p's names, of which some words end and others do not."""
    rng = np.random.default_rng(4)
    shapes = {"fc_w": (74, hidden), "fc_b": (74,)}
    for name, symbols in (("enc", 29), ("dec", 74)):
        shapes |= {f"{name}_emb": (symbols, width), f"{name}_w_ih": (3 * hidden, width),
                   f"{name}_w_hh": (3 * hidden, hidden), f"{name}_b_ih": (3 * hidden,),
                   f"{name}_b_hh": (3 * hidden,)}  # fmt: skip
    weights = {
        name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    weights["fc_b"][g2p.END] += 8
    return weights


def gru_step(w: dict[str, np.ndarray], name: str, symbol: int, h: np.ndarray) -> np.ndarray:
    """The equations of a GRU, of one word."""
    gates_x = w[f"{name}_w_ih"] @ w[f"{name}_emb"][symbol] + w[f"{name}_b_ih"]
    gates_h = w[f"{name}_w_hh"] @ h + w[f"{name}_b_hh"]
    (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(gates_x, 3), np.split(gates_h, 3)
    r, z = 1 / (1 + np.exp(-(x_r + h_r))), 1 / (1 + np.exp(-(x_z + h_z)))
    return (1 - z) * np.tanh(x_n + r * h_n) + z * h


def spoken(w: dict[str, np.ndarray], word: str) -> list[str]:
    """The phonemes of one word by the definition: at each step the likeliest goes in again."""
    h = np.zeros(w["enc_w_hh"].shape[1], np.float32)
    for letter in [*word, "</s>"]:
        known = letter if letter in g2p.LETTERS else "<unk>"
        h = gru_step(w, "enc", g2p.LETTERS.index(known), h)
    told = [g2p.START]
    while len(told) <= 20:
        h = gru_step(w, "dec", told[-1], h)
        told.append(int((w["fc_w"] @ h + w["fc_b"]).argmax()))
        if told[-1] == g2p.END:
            break
    return [g2p.PHONEMES[p] for p in told[1:] if p != g2p.END]


WORDS = ["a", "embedrnn", "activationist", "", "naïve", "don't", "x" * 40, "cat", "cats"]


def test_phonemes_of_many_words_are_those_of_each() -> None:
    weights = drawn_weights()
    rng = np.random.default_rng(5)
    words = WORDS + ["".join(rng.choice([*"abcdefgh"], n)) for n in rng.integers(1, 9, 60)]
    expected = [spoken(weights, word) for word in words]
    assert {0, 20} < set(map(len, expected))  # some end before the first phoneme, some never
    pronounce = g2p.Pronouncer(weights)
    assert pronounce(words) == expected
    assert pronounce(words[3:4]) == expected[3:4]
    assert pronounce([]) == []


def test_phonemes_of_the_weights_of_g2p_en(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        metadata.distribution("g2p-en")
    except metadata.PackageNotFoundError:
        pytest.skip("g2p-en is not installed")
    weights = g2p.read_weights()
    assert g2p.Pronouncer(weights)(WORDS) == [spoken(weights, word) for word in WORDS]
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello the\nbrown\n"))
    g2p.main(["--batch", "2"])
    assert capsys.readouterr().out == "Hello\tHH EH1 L OW0\nthe\tDH IY1\nbrown\tB R AW1 N\n"


def test_without_weights_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(SystemExit, match="pip install --no-deps g2p-en"):
        g2p.main(["word"])
    with pytest.raises(SystemExit, match=r"none\.npz: No such file"):
        g2p.main(["word", "--weights", str(tmp_path / "none.npz")])


# --- speech ------------------------------------------------------------------------------------


def test_convolutions_by_hand() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 6, 2)
    weight = np.arange(18, dtype=np.float32).reshape(3, 2, 3) - 5
    expected = [
        [[np.sum(x[n, t : t + 3].T * weight[o]) for o in range(3)] for t in (0, 2)]
        for n in range(2)
    ]
    np.testing.assert_array_equal(vad.convolved(x, weight, 2), expected)


def test_windows_begin_in_the_sound() -> None:
    for samples, windows in ((0, 0), (1, 1), (512, 1), (513, 2), (512 * 1025, 1025)):
        sound = np.arange(1, samples + 1, dtype=np.float32)
        found = list(vad.in_blocks(sound))
        assert sum(map(len, found)) == windows
        if windows:
            joined_ = np.concatenate(found)
            assert not joined_[0, :64].any()
            np.testing.assert_array_equal(joined_[:, 64:].reshape(-1)[:samples], sound)
            np.testing.assert_array_equal(joined_[1:, :64], joined_[:-1, -64:])


def test_short_pauses_do_not_end_speech() -> None:
    assert vad.spoken([]) == []
    assert vad.spoken([0.4, 0.5, 0.4, 0.3, 0.4, 0.2]) == [(1, 5)]
    assert vad.spoken([0.9] + [0.3] * 4 + [0.9]) == [(0, 1), (5, 6)]
    assert vad.spoken([0.9] + [0.3] * 3 + [0.9]) == [(0, 5)]
    assert vad.spoken([0.4, 0.49, 0.1]) == []


def recording(path: Path, seconds: float = 3.0) -> np.ndarray:
    """Write a tone that is broken as syllables are, in noise, on two channels; return the mean."""
    rng, time = np.random.default_rng(0), np.arange(int(seconds * vad.RATE)) / vad.RATE
    tones = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20))
    sound = 3000 * tones * (np.sin(2 * np.pi * 4 * time) > 0) * (abs(time - 1.5) < 0.7)
    samples = (sound[:, None] + rng.normal(0, 20, (len(time), 2))).round().astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, vad.RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    mean: np.ndarray = samples.mean(axis=1)
    return mean


def test_probabilities_of_speech_are_those_of_onnx_runtime(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        wheel = metadata.distribution("silero-vad")
    except metadata.PackageNotFoundError:
        pytest.skip("silero-vad is not installed")
    ort: Any = pytest.importorskip("onnxruntime")
    path = tmp_path / "recording.wav"
    mean = recording(path)
    sound = vad.read(path)
    np.testing.assert_allclose(sound, mean / 2**15, rtol=1e-6)
    probabilities = vad.detector()(sound)

    windows = np.concatenate(list(vad.in_blocks(sound)))
    zeros = np.zeros((1, 1, 128), np.float32)
    of_sequence, of_one = (
        ort.InferenceSession(str(wheel.locate_file(f"silero_vad/data/silero_vad_16k_{name}.onnx")))
        for name in ("sequence", "op15")
    )
    expected = of_sequence.run(None, {"input": windows, "h": zeros, "c": zeros})[0]
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
    state, found = np.zeros((2, 1, 128), np.float32), []
    for window in windows:  # as the package itself runs it
        p, state = of_one.run(None, {"input": window[None], "state": state, "sr": np.array(16000)})
        found.append(p[0, 0])
    np.testing.assert_allclose(probabilities, found, rtol=0, atol=1e-5)

    vad.main([str(path)])
    assert np.ptp(probabilities) > 0.3
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(float(b), float(e)) for _, b, e in lines] == [
        (round(b * 0.032, 2), round(e * 0.032, 2)) for b, e in vad.spoken(probabilities)
    ]


def test_a_recording_in_blocks_is_that_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        detect = vad.detector()
    except SystemExit:
        pytest.skip("silero-vad is not installed")
    sound = np.random.default_rng(0).normal(0, 0.1, 20 * 512).astype(np.float32)
    whole = detect(sound)
    monkeypatch.setattr(vad, "BLOCK", 3)
    np.testing.assert_allclose(detect(sound), whole, rtol=0, atol=1e-6)


def test_without_a_model_or_a_recording_it_is_said_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "recording.wav"
    with pytest.raises(SystemExit, match=r"none\.wav: .*No such file"):
        vad.read(tmp_path / "none.wav")
    path.write_bytes(b"RIFF")
    with pytest.raises(SystemExit, match=r"recording\.wav: it ends too early"):
        vad.read(path)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
    with pytest.raises(SystemExit, match="it must have 16 bits and 16000 Hz, got 16 and 8000"):
        vad.read(path)
    with pytest.raises(SystemExit, match=r"none\.onnx: No such file"):
        vad.detector(tmp_path / "none.onnx")

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(SystemExit, match="pip install --no-deps silero-vad"):
        vad.main([str(path)])
