"""The LSTM layer."""

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn.layers.layer import Array
from embedrnn.layers.recurrent import Recurrent


class LSTM(Recurrent):
    """A stack of LSTM layers, as `torch.nn.LSTM` with ``batch_first=True``.

    Parameters
    ----------
    input_size : int
        Features of the input, I.
    hidden_size : int
        Units of each layer and direction, H.
    num_layers : int
        Layers; each but the first has the output of the one below as its input.
    bias : bool
        Whether there are biases.
    bidirectional : bool
        Whether each layer also walks from each row's last valid step to its first.
    dtype : float32 or float64
        Of the parameters and of all that goes in and out.
    rng : seed or numpy.random.Generator, optional
        Whatever `numpy.random.default_rng` takes, for the initial parameters: they are uniform in
        [-H^-1/2, H^-1/2), as PyTorch's.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : ndarrays
        The parameters of the first layer, read-only, of shapes (4H, I), (4H, H), (4H,) and (4H,),
        the gates i, f, g, o one behind the other; those of the next end in ``_l1``, those of the
        second direction in ``_reverse``.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer or too small, or the dtype is another.

    See Also
    --------
    embedrnn.lstm_forward : The definition of one layer in one direction.
    embedrnn.convert : Weights of other libraries.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> layer = er.LSTM(5, 7, rng=0)
    >>> output, (h_n, c_n) = layer(np.ones((3, 4, 5), np.float32), lengths=[4, 2, 0])
    >>> output.shape, h_n.shape, c_n.shape
    ((3, 4, 7), (1, 3, 7), (1, 3, 7))
    """

    _gates = 4
    _has_cell_state = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        bidirectional: bool = False,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias=bias, bidirectional=bidirectional,
            dtype=dtype, rng=rng,
        )  # fmt: skip

    def _pack(self, backend: ModuleType, *weights: Array | None) -> Any:
        return backend.pack_lstm(*weights)
