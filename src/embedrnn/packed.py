"""Sequences as PyTorch packs them."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Packed(NamedTuple):
    """Sequences of unequal length, one step behind the other: PyTorch's PackedSequence [1]_.

    A recurrent layer takes it in place of padded input, without padding or packing it anew, and
    returns one of the same rows. ``Packed(*packed_sequence)`` takes the fields of PyTorch's, which
    may be tensors on a CPU.

    Attributes
    ----------
    data : ndarray, shape (N, I)
        What all rows hold at the first step, then at the second, and so on; longer rows first.
    batch_sizes : ndarray of any integer dtype, shape (T,)
        How many rows are that long, for each step: they never rise, and sum to N.
    sorted_indices : ndarray of any integer dtype, shape (B,), optional
        The caller's row behind each packed one: states are in the caller's order. None: the same.
    unsorted_indices : ndarray of any integer dtype, shape (B,), optional
        The inverse of that. It is handed on, and not read.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.PackedSequence.html

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> two_rows = er.Packed(np.ones((3, 5), np.float32), np.array([2, 1]))  # of lengths 2 and 1
    >>> output, state = er.GRU(5, 7)(two_rows)
    >>> output.data.shape, state.shape
    ((3, 7), (1, 2, 7))
    """

    data: npt.NDArray[Any]
    batch_sizes: npt.NDArray[np.integer[Any]]
    sorted_indices: npt.NDArray[np.integer[Any]] | None = None
    unsorted_indices: npt.NDArray[np.integer[Any]] | None = None
