"""Weights in the layout of cuDNN."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from embedrnn._check import flag, layouts
from embedrnn.convert.gates import Array, named, reordered


def from_cudnn_weights(
    params: npt.ArrayLike,
    cell: Literal["rnn", "gru", "lstm"],
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    *,
    bidirectional: bool = False,
    bias: bool = True,
) -> dict[str, Array]:
    """Convert the one flat array of parameters that cuDNN has of a stack of layers.

    Parameters
    ----------
    params : array_like, shape (N,)
        First the matrices: of each layer, and in it of each direction, those of the input (H, I),
        then those of the state (H, H), gate after gate in the order r, z, n (GRU) or i, f, g, o
        (LSTM). Then the biases in the same order, two for each gate. PyTorch's ``_flat_weights``
        are views of such an array on a GPU, ``CudnnLSTM`` of TensorFlow 1 has it as
        ``opaque_kernel``, and MXNet as ``parameters`` of its RNN.
    cell : {"rnn", "gru", "lstm"}
    input_size, hidden_size : int
        The features of the input, I, and the units of each layer and direction, H.
    num_layers : int
        Layers.
    bidirectional : bool
        Whether there are two directions.
    bias : bool
        Whether there are biases.

    Returns
    -------
    dict of ndarrays
        The `state_dict` of the whole stack: ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``,
        ``bias_hh_l0``, those of the second direction, which end in ``_reverse``, and of the next
        layers. A GRU has ``reset_after=True``.

    Raises
    ------
    TypeError, ValueError
        If there are more or fewer numbers than such a stack has.

    Notes
    -----
    The order is that of ``cudnnGetRNNWeightParams``, as ``FusedRNNCell`` of MXNet unpacks it. With
    one bias or projections cuDNN has other arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> parameters = convert.from_cudnn_weights(np.arange(8), "rnn", 1, 2, bias=False)
    Traceback (most recent call last):
    ValueError: params must be 6 numbers for input_size=1, hidden_size=2 and num_layers=1, got 8
    >>> convert.from_cudnn_weights(np.arange(6), "rnn", 1, 2, bias=False)["weight_hh_l0"]
    array([[2, 3],
           [4, 5]])
    """
    bidirectional, bias = flag("bidirectional", bidirectional), flag("bias", bias)
    found, shapes, directions = layouts.cudnn_params(
        params, layouts.gates_of(cell), input_size, hidden_size, num_layers,
        directions=1 + bidirectional, bias=bias,
    )  # fmt: skip
    in_order = [shape for axes in (2, 1) for each in shapes for shape in each if len(shape) == axes]
    ends = np.cumsum([int(np.prod(shape)) for shape in in_order])[:-1]
    parts = [
        part.reshape(shape) for part, shape in zip(np.split(found, ends), in_order, strict=True)
    ]
    matrices, biases = parts[: 2 * len(shapes)], parts[2 * len(shapes) :]
    stack = [
        reordered([*matrices[k : k + 2], *biases[k : k + 2]], "cudnn", "torch")
        for k in range(0, 2 * len(shapes), 2)
    ]
    return {
        name: array
        for k in range(0, len(stack), directions)
        for name, array in named(stack[k : k + directions], k // directions).items()
    }
