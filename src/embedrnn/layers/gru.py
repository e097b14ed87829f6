"""The GRU layer."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from embedrnn import _check
from embedrnn._cells import Cell, gru_cell
from embedrnn._docs import RECURRENT_LAYER, documented
from embedrnn.layers.merging import MergeMode
from embedrnn.layers.recurrent import Recurrent


@documented(RECURRENT_LAYER)
class GRU(Recurrent):
    """A stack of GRU layers, as `torch.nn.GRU` with ``batch_first=True``.

    Parameters
    ----------
    {input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional}
    {reverse, merge, reset_after, dtype, rng, **others}

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : ndarrays
        The parameters of the first layer, read-only, of shapes (3H, I), (3H, H), (3H,) and (3H,),
        the gates r, z, n one behind the other; those of the next end in ``_l1``, those of the
        second direction in ``_reverse``.

    Raises
    ------
    {TypeError, ValueError}

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
        reset_after: bool = True,
        dtype: npt.DTypeLike | None = None,
        rng: Any = None,
        **others: Any,
    ) -> None:
        super().__init__(
            rng, {"batch_first": batch_first, **others},
            input_size=input_size, hidden_size=hidden_size, num_layers=num_layers, bias=bias,
            dropout=dropout, bidirectional=bidirectional, reverse=reverse, merge=merge,
            reset_after=reset_after, dtype=dtype,
        )  # fmt: skip

    @staticmethod
    def _variant(reset_after: bool) -> dict[str, Any]:
        return {"reset_after": _check.flag("reset_after", reset_after)}

    @staticmethod
    def _cell_of(options: Mapping[str, Any]) -> Cell:
        return gru_cell(options["reset_after"])
