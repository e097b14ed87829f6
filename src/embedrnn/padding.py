"""Sequences of unequal length as one array, and back."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedrnn import _check

Array = npt.NDArray[Any]
_Side = Literal["right", "left"]


def pad(
    sequences: Iterable[npt.ArrayLike], *, value: Any = 0, side: _Side = "right"
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Pad sequences to the length of the longest, as `torch.nn.utils.rnn.pad_sequence` [1]_.

    Recurrent layers and bags read sequences as they are, at no cost for padding: this is for what
    does not.

    Parameters
    ----------
    sequences : B array_likes, each of shape (L, ...)
        Ids, features or whatever else, of one width and of any dtype; some may be empty. An Arrow
        list array will do. Values that are ragged by offsets are given as
        ``numpy.split(values, offsets[1:-1])``.
    value : scalar
        What to put at the other steps. It must fit the dtype of the sequences.
    side : {"right", "left"}
        Where to put it: behind each sequence or before it.

    Returns
    -------
    padded : ndarray, shape (B, T, ...)
        In the dtype that holds all of them, int64 if there is no item; T is the greatest length.
    lengths : ndarray of int64, shape (B,)
        As `rnn_forward` and the layers take them, with padding on the right.

    Raises
    ------
    TypeError
        If `sequences` is no list of them.
    ValueError
        If they differ in more than their length, the value does not fit, or the side is neither.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_sequence.html

    Examples
    --------
    >>> import embedrnn as er
    >>> er.pad([[3, 1, 4], [1], []], value=-1)
    (array([[ 3,  1,  4],
           [ 1, -1, -1],
           [-1, -1, -1]]), array([3, 1, 0]))
    """
    rows, filling = _check.pad(sequences, value, side)
    lengths = np.diff(rows.offsets)
    time = int(lengths.max(initial=0))
    padded = np.full((lengths.size, time, *rows.values.shape[1:]), filling)
    # A loop over rows takes 0.7 of the time where they have 64 features, and 1.5 for ids.
    steps, counts = np.arange(time), lengths[:, None]
    padded[steps < counts if side == "right" else steps >= time - counts] = rows.values
    return padded, lengths


def unpad(padded: npt.ArrayLike, lengths: npt.ArrayLike, *, side: _Side = "right") -> list[Array]:
    """Return the sequences in a padded array, as `torch.nn.utils.rnn.unpad_sequence` [1]_.

    Parameters
    ----------
    padded : array_like, shape (B, T, ...), any dtype
    lengths : array_like of any integer dtype, shape (B,)
        Valid steps of each row, in [0, T].
    side : {"right", "left"}
        Where the padding is: behind each sequence or before it.

    Returns
    -------
    list of B ndarrays, each of shape (L, ...)
        Views of `padded`: nothing is copied.

    Raises
    ------
    TypeError
        If the lengths are not integers.
    ValueError
        If a shape does not fit, a length is outside [0, T], or the side is neither.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.unpad_sequence.html

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> er.unpad(np.array([[3, 1, 4], [1, 0, 0]]), [3, 1])
    [array([3, 1, 4]), array([1])]
    """
    array, counts = _check.unpad(padded, lengths, side)
    time = array.shape[1]
    begins = 0 * counts if side == "right" else time - counts
    places = zip(array, begins.tolist(), counts.tolist(), strict=True)
    return [row[begin : begin + n] for row, begin, n in places]
