"""What the gallery's cells get: input for the models that packages ship, and both who run them.

The examples hold the code, ours and how the package's own is called. They are imported when a cell
is made: another build of ours may not have what they ask for.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedrnn.bench.workloads import SEED, Array

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))

CHINESE = [
    "银行行长重新长大了，他还得还钱。",
    "音乐让人快乐，我们都觉得这首曲子很好听。",
    "他把花种在院子里，种子是从朋友那里要来的。",
    "孩子们一边数数，一边在操场上跑得很快，没有人觉得累，也没有人想马上回家。",
]
JAPANESE = [
    "昨日は雨が降っていたので、私たちは家で本を読みながら、温かいお茶をゆっくり飲んで過ごしました。"
    "明日は晴れるそうですから、みんなで公園へ行くつもりです。",
    "東京駅から新幹線に乗って、京都の古いお寺を見に行きました。",
    "Pythonで書かれた小さなプログラムを速くする方法を教えてください。",
    "日本語の形態素解析は楽しいです。",
]


@dataclass(frozen=True)
class Shipped:
    """One piece of work for both, and what the products of its recurrent layers take."""

    theirs: Callable[[], Any]
    ours: Callable[[], Any]
    flops: float


def english(n: int) -> Shipped:
    """Return words for g2p-en: those of its list of homographs."""
    import g2p
    from packages import file_of

    lines = file_of("g2p-en", "g2p_en/homographs.en").read_text(encoding="utf-8").splitlines()
    words = [line.partition("|")[0].lower() for line in lines if not line.startswith("#")][:n]
    ours = g2p.Pronouncer(g2p.read_weights())
    letters, phonemes = sum(map(len, words)), sum(map(len, ours(words)))
    pair = g2p.pair(words, g2p.package_code(), ours)
    return Shipped(pair.theirs, pair.ours, flops(3, 0, 256, letters + phonemes + 2 * len(words)))


def chinese(n: int) -> Shipped:
    """Return sentences for g2pM."""
    import polyphones

    sentences = (CHINESE * math.ceil(n / len(CHINESE)))[-n:]
    pair = polyphones.pair(sentences, polyphones.package_code(), polyphones.Reader())
    steps = sum(2 + len(sentence) for sentence in sentences)
    return Shipped(pair.theirs, pair.ours, 2 * flops(4, 0, 32, steps))


def japanese(n: int) -> Shipped:
    """Return sentences for nagisa."""
    import japanese as example

    theirs, sentences = example.package_code(), (JAPANESE * math.ceil(n / len(JAPANESE)))[:n]
    ours = example.Tagger(theirs)
    pair = example.pair(sentences, theirs, ours)
    characters, words = sum(map(len, sentences)), sum(map(len, ours(sentences)))
    of_lstms = flops(4, 200, 50, characters) + flops(4, 64, 50, words)
    return Shipped(pair.theirs, pair.ours, 2 * of_lstms + flops(4, 0, 16, characters + words))


def readings(units: int) -> Shipped:
    """Return pieces for a model of medaka, of the lengths that its example has."""
    import consensus

    rng = np.random.default_rng(SEED)
    pieces = [consensus.drawn(n, rng)[1] for n in consensus.LENGTHS]
    ours = consensus.Caller(consensus.read_weights(units))
    pair = consensus.pair(pieces, consensus.package_code(units), ours)
    steps = sum(consensus.LENGTHS)
    of_layers = flops(3, 10, units, steps) + flops(3, 2 * units, units, steps)
    return Shipped(pair.theirs, pair.ours, 2 * of_layers)


def sound(seconds: int) -> Shipped:
    """Return a recording for silero-vad: a tone that is broken as syllables are, in noise."""
    import vad

    time = np.arange(seconds * vad.RATE) / vad.RATE
    tones = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20))
    noise = np.random.default_rng(SEED).normal(0, 0.001, len(time))
    recording = (0.1 * tones * (np.sin(2 * np.pi * 4 * time) > 0) + noise).astype(np.float32)
    pair = vad.pair(recording, vad.package_code(), vad.detector())
    return Shipped(pair.theirs, pair.ours, flops(4, 128, 128, len(time) // vad.STEP))


def echoes(units: int, steps: int) -> Shipped:
    """Return a series for a reservoir of reservoirpy."""
    import echo_state

    reservoir = echo_state.Reservoir.drawn(units, np.random.default_rng(SEED))
    series = echo_state.mackey_glass(steps)
    pair = echo_state.pair(units, echo_state.package_code(reservoir), reservoir, series)
    return Shipped(pair.theirs, pair.ours, flops(1, 1, units, steps))


def flops(gates: int, width: int, hidden: int, steps: int) -> float:
    """Return the floating-point operations of one direction: width 0 of a frozen encoder."""
    return 2.0 * steps * gates * hidden * (width + hidden)


def as_numbers(answer: Any) -> Array:
    """Return an answer as an array; of words, their characters."""
    return answer if isinstance(answer, np.ndarray) else np.array([*map(ord, repr(answer))])
