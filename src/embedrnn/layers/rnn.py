"""The Elman layer."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._cells import Cell, rnn_cell
from embedrnn._docs import RECURRENT_LAYER, documented
from embedrnn.layers.merging import MergeMode
from embedrnn.layers.recurrent import Recurrent, Told


@documented(RECURRENT_LAYER)
class RNN(Recurrent):
    """A stack of Elman layers, as `torch.nn.RNN` with ``batch_first=True``.

    Parameters
    ----------
    {input_size, hidden_size, num_layers}
    nonlinearity : {"tanh", "relu"}
    {bias, batch_first, dropout, bidirectional, reverse, merge}
    leak : float, optional
        What the leaks begin as, in (0, 1]: h' = (1 - leak) h + leak act(...). A layer without them
        has no such parameters.
    {dtype, rng, **others}

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : ndarrays
        The parameters of the first layer, read-only, of shapes (H, I), (H, H), (H,) and (H,); those
        of the next end in ``_l1``, those of the second direction in ``_reverse``.
    leak_l0 : ndarray, shape (H,)
        The leak of each unit, if there are any. An optimiser steps it as any other parameter, out
        of (0, 1] too, and so it is loaded: to keep it, leave it out of the gradients.

    Raises
    ------
    {TypeError}
    ValueError
        If a size is too small, dropout is outside [0, 1), the nonlinearity none of the two, the
        leak outside (0, 1], or `reverse` or `merge` does not go with `bidirectional`.

    See Also
    --------
    embedrnn.rnn_forward : The definition of one layer in one direction.
    embedrnn.convert : Weights of other libraries.

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
    leak: float | None

    # Of leaks that are there the option does not say what they are.
    _optional: ClassVar[Mapping[str, Told]] = {
        **Recurrent._optional,
        "leak": Told("leak", present=1.0, absent=None),
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reverse: bool = False,
        merge: MergeMode = "concat",
        leak: float | None = None,
        dtype: npt.DTypeLike | None = None,
        rng: Any = None,
        **others: Any,
    ) -> None:
        super().__init__(
            rng, {"batch_first": batch_first, **others},
            input_size=input_size, hidden_size=hidden_size, num_layers=num_layers, bias=bias,
            dropout=dropout, bidirectional=bidirectional, reverse=reverse, merge=merge,
            nonlinearity=nonlinearity, leak=leak, dtype=dtype,
        )  # fmt: skip
        if self.leak is not None:
            leaks = [name for name in self.state_dict() if name.startswith("leak_")]
            self.update({name: np.full(hidden_size, self.leak, self.dtype) for name in leaks})

    @staticmethod
    def _variant(nonlinearity: str, leak: float | None = None) -> dict[str, Any]:
        _check.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        return {
            "nonlinearity": nonlinearity,
            "leak": None if leak is None else _check.share("leak", leak),
        }

    @staticmethod
    def _cell_of(options: Mapping[str, Any]) -> Cell:
        return rnn_cell(options["nonlinearity"], options["leak"] is not None)
