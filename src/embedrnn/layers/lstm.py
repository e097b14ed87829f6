"""The LSTM layer."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy.typing as npt

from embedrnn import _check
from embedrnn._cells import Cell, lstm_cell
from embedrnn._docs import RECURRENT_LAYER, documented
from embedrnn.layers.merging import MergeMode
from embedrnn.layers.recurrent import Recurrent, Told


@documented(RECURRENT_LAYER)
class LSTM(Recurrent):
    """A stack of LSTM layers, as `torch.nn.LSTM` with ``batch_first=True``.

    Parameters
    ----------
    {input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional}
    {reverse, merge}
    peepholes : bool
        Whether the gates i, f and o see the cell state.
    {dtype, rng, **others}

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : ndarrays
        The parameters of the first layer, read-only, of shapes (4H, I), (4H, H), (4H,) and (4H,),
        the gates i, f, g, o one behind the other; those of the next end in ``_l1``, those of the
        second direction in ``_reverse``.
    weight_ch_l0 : ndarray, shape (3H,)
        The peepholes of i, f and o, if there are any.

    Raises
    ------
    {TypeError, ValueError}

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

    peepholes: bool

    _optional: ClassVar[Mapping[str, Told]] = {
        **Recurrent._optional,
        "weight_ch": Told("peepholes", present=True, absent=False),
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reverse: bool = False,
        merge: MergeMode = "concat",
        peepholes: bool = False,
        dtype: npt.DTypeLike | None = None,
        rng: Any = None,
        **others: Any,
    ) -> None:
        super().__init__(
            rng, {"batch_first": batch_first, **others},
            input_size=input_size, hidden_size=hidden_size, num_layers=num_layers, bias=bias,
            dropout=dropout, bidirectional=bidirectional, reverse=reverse, merge=merge,
            peepholes=peepholes, dtype=dtype,
        )  # fmt: skip

    @staticmethod
    def _variant(peepholes: bool = False) -> dict[str, Any]:
        return {"peepholes": _check.flag("peepholes", peepholes)}

    @staticmethod
    def _cell_of(options: Mapping[str, Any]) -> Cell:
        return lstm_cell(options["peepholes"])
