"""PyTorch's words for a layer that have one meaning here, and what to do about any other."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from embedrnn._check.options import scalar, shown


class Word(NamedTuple):
    """The values that mean what is so anyway, what an error says they are, and what to do instead.

    Where `fits` is None the word has no value that means something.
    """

    fits: Callable[[Any], bool] | None
    expected: str
    instead: str


Words = Mapping[str, Word]


def _is_true(value: Any) -> bool:
    return _is_number(value) and bool(value == 1)  # another came by position to the wrong place


def _is_zero(value: Any) -> bool:
    return _is_number(value) and bool(value == 0)


def _is_number(value: Any) -> bool:
    return isinstance(scalar(value), (int, float, np.number, np.bool_))


def _is_cpu(value: Any) -> bool:
    """Whether this is no device, or one that is written as "cpu" or "cpu:0"; PyTorch's are so."""
    return value is None or str(value).partition(":")[0] == "cpu"


_DEVICE = Word(_is_cpu, "None or 'cpu'", "NumPy arrays are in the memory of the CPU")
_FREEZE = Word(_is_true, "True", "parameters are read-only; to train, replace them by update()")

RECURRENT_WORDS: Words = {
    "batch_first": Word(
        _is_true, "True", "give time-first input as x.transpose(1, 0, 2), which costs no copy"
    ),
    "proj_size": Word(
        _is_zero,
        "0",
        "multiply weight_hr into the weights that read the state, weight_hh @ weight_hr, and the "
        "output by it, output @ weight_hr.T",
    ),
    "device": _DEVICE,
    "nonlinearity": Word(None, "for RNN alone", "the gates of GRU and LSTM have theirs"),
    "reset_after": Word(None, "for GRU alone", "RNN and LSTM have no reset gate"),
}

TABLE_WORDS: Words = {
    "sparse": Word(
        _is_true, "True", "a gradient is a RowGrad, and its to_dense(num_embeddings) the dense one"
    ),
    "freeze": _FREEZE,
    "device": _DEVICE,
}

# Of a table that is there already.
PRETRAINED_WORDS: Words = {
    "freeze": _FREEZE,
    "dtype": Word(None, "that of weight", "give weight.astype(dtype) for another"),
    "rng": Word(None, "for a new table", "leave it out for one that is there already"),
}


def only_words(owner: str, words: Words, given: Mapping[str, Any]) -> None:
    """Check that what a layer is given beside its options means what is so anyway."""
    for name, value in given.items():
        word = words.get(name)
        if word is None:
            raise TypeError(f"{name} is no option of {owner}")
        if word.fits is None:
            raise TypeError(f"{name} is {word.expected}: {word.instead}")
        if not word.fits(value):
            raise ValueError(f"{name} must be {word.expected}, got {shown(value)}: {word.instead}")
