"""Where somebody speaks in a recording: Silero VAD in NumPy, with the LSTM of this package.

    pip install --no-deps silero-vad
    python examples/vad.py recording.wav
    pip install onnxruntime torch==2.13.0 && python examples/vad.py --compare recording.wav

The package silero-vad (Silero Team, 2021) brings a model as an ONNX file, which is read here with
NumPy alone: a short-time Fourier transform, four convolutions, an LSTM over all windows of the
recording, and the probability of speech in each of them, every 32 ms. The numbers are those of
ONNX Runtime. It knows sound of 16 kHz.
"""

import argparse
import warnings
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import embedrnn as er
from embedrnn import convert
from packages import Pair, file_of, side_by_side

Array = npt.NDArray[np.float32]

RATE = 16_000  # samples in a second
STEP, BEFORE, BEHIND = 512, 64, 64  # samples: a window, what it sees before it, and mirrored behind
HOP, BINS = 128, 129  # of the Fourier transform
STRIDES = (1, 2, 2, 1)
BLOCK = 64  # windows at once, two seconds: what is made of them stays in a near cache

SPEECH, SILENCE = 0.5, 0.35  # probabilities at which it begins, and below which it ends
PAUSE = 4  # windows of silence that end it


class Detector:
    """The probability of speech in each window of a recording."""

    def __init__(self, path: Path) -> None:
        self.weights: dict[str, Any] = convert.load_onnx_initializers(path)
        self.lstm: er.LSTM = convert.from_onnx(path)

    def __call__(self, sound: Array) -> Array:
        """Return probabilities, one for each window that begins in the sound, (N,)."""
        found, state = [np.empty(0, np.float32)], None
        for windows in in_blocks(sound):
            output, state = self.lstm(self.features(windows), state=state)
            w = self.weights
            score = np.maximum(output, 0) @ w["output.weight"][0, :, 0] + w["output.bias"]
            found.append(1 / (1 + np.exp(-score)))
        return np.concatenate(found)

    def features(self, windows: Array) -> Array:
        """Return what the LSTM reads: magnitudes of frequencies through four convolutions."""
        w, padded = self.weights, np.pad(windows, ((0, 0), (0, BEHIND)), mode="reflect")
        waves = convolved(padded[:, :, None], w["stft.forward_basis_buffer"], HOP)
        x = np.hypot(waves[..., :BINS], waves[..., BINS:])
        for k, stride in enumerate(STRIDES):
            x = np.pad(x, ((0, 0), (1, 1), (0, 0)))
            x = convolved(x, w[f"encoder.{k}.weight"], stride) + w[f"encoder.{k}.bias"]
            x = np.maximum(x, 0)
        return x[:, 0]


def convolved(x: Array, weight: Array, stride: int) -> Array:
    """Return a convolution along time: x is (N, T, I), the weight (O, I, K)."""
    parts = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2], axis=1)[:, ::stride]
    n, steps = parts.shape[:2]
    rows = parts.reshape(n * steps, -1) @ weight.reshape(len(weight), -1).T
    return rows.reshape(n, steps, -1)


def in_blocks(sound: Array) -> Iterator[Array]:
    """Yield windows in their order, (N, BEFORE + STEP), many at a time; the last has silence."""
    padded = np.pad(sound, (BEFORE, -len(sound) % STEP))
    if len(padded) > BEFORE:
        windows = np.lib.stride_tricks.sliding_window_view(padded, BEFORE + STEP)[::STEP]
        for first in range(0, len(windows), BLOCK):
            yield windows[first : first + BLOCK]


def spoken(probabilities: Sequence[float] | Array) -> list[tuple[int, int]]:
    """Return the windows where speech begins, and where it has ended, which short pauses do not."""
    found: list[tuple[int, int]] = []
    begin = end = -1
    for window, p in enumerate([*probabilities, *[0.0] * PAUSE]):
        if begin < 0 and p >= SPEECH:
            begin = window
        if begin >= 0 and p >= SILENCE:
            end = window + 1
        elif begin >= 0 and window + 1 - end >= PAUSE:
            found.append((begin, end))
            begin = -1
    return found


def detector(path: Path | None = None) -> Detector:
    """Return one with the weights of a file, or of the installed silero-vad: it is not imported."""
    file = "silero_vad/data/silero_vad_16k_sequence.onnx"
    try:
        return Detector(path or file_of("silero-vad", file))
    except OSError as error:
        raise SystemExit(f"{error.filename}: {error.strerror or error}") from error


def package_code() -> Callable[[Array], Array]:
    """Return the package's own code for whole recordings, which ONNX Runtime runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how it finds its files
        from silero_vad import load_silero_vad

        run: Callable[[Array], Array] = load_silero_vad(sequence=True).audio_forward
    return run


def pair(sound: Array, theirs: Callable[[Array], Array], ours: Callable[[Array], Array]) -> Pair:
    """Return the probabilities in a recording by both."""
    what = f"{len(sound) / RATE:.1f} s of sound"
    return Pair(what, lambda: theirs(sound), lambda: ours(sound), tolerance=1e-5)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write when speech begins and ends in each recording, in seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("recordings", nargs="+", type=Path, metavar="FILE.wav")
    add("--model", type=Path, metavar="FILE",
        help="a silero_vad_16k_sequence.onnx (default: that of the installed silero-vad)",
    )  # fmt: skip
    add("--compare", action="store_true", help="time the package's own code beside")
    options = parser.parse_args(arguments)
    detect = detector(options.model)
    if options.compare:
        theirs = package_code()
        some = map(read, options.recordings)
        side_by_side("silero-vad", (pair(sound, theirs, detect) for sound in some))
        return
    for path in options.recordings:
        for begin, end in spoken(detect(read(path))):
            print(f"{path}\t{begin * STEP / RATE:.2f}\t{end * STEP / RATE:.2f}")


def read(path: Path) -> Array:
    """Return the samples of a recording, the mean of its channels, in [-1, 1)."""
    try:
        with wave.open(str(path)) as file:
            channels, width, rate = file.getparams()[:3]
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise SystemExit(f"{path}: {str(error) or 'it ends too early'}") from error
    if (width, rate) != (2, RATE):
        raise SystemExit(f"{path}: it must have 16 bits and {RATE} Hz, got {8 * width} and {rate}")
    samples = np.frombuffer(data, "<i2").astype(np.float32).reshape(-1, channels)
    sound: Array = samples.mean(axis=1) / np.float32(2**15)
    return sound


if __name__ == "__main__":
    main()
