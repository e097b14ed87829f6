"""The GRU layer."""

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn.layers.layer import Array
from embedrnn.layers.recurrent import Recurrent


class GRU(Recurrent):
    """A stack of GRU layers, as `torch.nn.GRU` with ``batch_first=True``.

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
    reset_after : bool
        Whether the reset gate meets the state after the product, as in PyTorch and by default in
        Keras, or before it, as by default in ONNX.
    dtype : float32 or float64
        Of the parameters and of all that goes in and out.
    rng : seed or numpy.random.Generator, optional
        Whatever `numpy.random.default_rng` takes, for the initial parameters: they are uniform in
        [-H^-1/2, H^-1/2), as PyTorch's.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : ndarrays
        The parameters of the first layer, read-only, of shapes (3H, I), (3H, H), (3H,) and (3H,),
        the gates r, z, n one behind the other; those of the next end in ``_l1``, those of the
        second direction in ``_reverse``.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer or too small, or the dtype is another.

    See Also
    --------
    embedrnn.gru_forward : The definition of one layer in one direction.
    embedrnn.convert : Weights of other libraries.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> layer = er.GRU(5, 7, bidirectional=True, rng=0)
    >>> output, state = layer(np.ones((3, 4, 5), np.float32), lengths=[4, 2, 0])
    >>> output.shape, state.shape
    ((3, 4, 14), (2, 3, 7))
    """

    reset_after: bool

    _gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        bidirectional: bool = False,
        reset_after: bool = True,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias=bias, bidirectional=bidirectional,
            dtype=dtype, rng=rng, reset_after=bool(reset_after),
        )  # fmt: skip

    def _pack(self, backend: ModuleType, *weights: Array | None) -> Any:
        return backend.pack_gru(*weights, self.reset_after)
