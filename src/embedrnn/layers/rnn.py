"""The Elman layer."""

from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn.layers.layer import Array
from embedrnn.layers.recurrent import Recurrent


class RNN(Recurrent):
    """A stack of Elman layers, as `torch.nn.RNN` with ``batch_first=True``.

    Parameters
    ----------
    input_size : int
        Features of the input, I.
    hidden_size : int
        Units of each layer and direction, H.
    num_layers : int
        Layers; each but the first has the output of the one below as its input.
    nonlinearity : {"tanh", "relu"}
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
        The parameters of the first layer, read-only, of shapes (H, I), (H, H), (H,) and (H,); those
        of the next end in ``_l1``, those of the second direction in ``_reverse``.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer or too small, or an option is none there is.

    See Also
    --------
    embedrnn.rnn_forward : The definition of one layer in one direction.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> layer = er.RNN(5, 7, num_layers=2, rng=0)
    >>> output, state = layer(np.ones((3, 4, 5), np.float32), lengths=[4, 2, 0])
    >>> output.shape, state.shape
    ((3, 4, 7), (2, 3, 7))
    """

    nonlinearity: str

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        bidirectional: bool = False,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        _check.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(
            input_size, hidden_size, num_layers, bias=bias, bidirectional=bidirectional,
            dtype=dtype, rng=rng, nonlinearity=nonlinearity,
        )  # fmt: skip

    def _pack(self, backend: ModuleType, *weights: Array | None) -> Any:
        return backend.pack_rnn(*weights, self.nonlinearity)
