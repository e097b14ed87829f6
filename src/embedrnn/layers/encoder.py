"""The encoder: token ids in, states out."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import PackedCell
from embedrnn._check import encoder as _check_encoder
from embedrnn._check.tokens import Ids
from embedrnn._docs import ENCODER, documented
from embedrnn._quiet import quiet
from embedrnn._sequences import Path, TokenGrads, Tokens
from embedrnn.coalesce import RowGrad
from embedrnn.layers.embedding import Embedding
from embedrnn.layers.encoding import Encoding, Listed
from embedrnn.layers.frozen import FrozenEncoder, without_inputs
from embedrnn.layers.layer import Array
from embedrnn.layers.layout import PaddingFill
from embedrnn.layers.pooling import PoolingMode, Wanted
from embedrnn.layers.recurrent import Recurrent
from embedrnn.layers.stack import Outputs
from embedrnn.layers.table import stored
from embedrnn.rows import gather

# Rows of the table whose input products are made in one go.
_ROWS = 4096


class EncoderGrads(NamedTuple):
    """The gradients that the `vjp` of an encoder comes to.

    Attributes
    ----------
    weight : RowGrad
        Of the table: of the distinct rows that were looked up, without that of padding.
    state : ndarray, or a tuple of two
        Of the state before the first step, also if that was not given.
    parameters : dict of str to ndarray
        Of every parameter of the recurrent layer by its name, as its `state_dict` has them.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> encoder = er.Encoder(er.Embedding(10, 4, rng=0), er.GRU(4, 3, rng=0))
    >>> (output, state), backward = encoder.vjp([[3, 1, 4], [1]])
    >>> grads = backward(np.ones_like(output))
    >>> grads.weight.indices, grads.state.shape, grads.parameters["bias_hh_l0"].shape
    (array([1, 3, 4]), (1, 2, 3), (9,))
    """

    weight: RowGrad
    state: Any
    parameters: dict[str, Array]


class Encoder(Encoding):
    """An embedding and a recurrent layer run as one: token ids in, states out.

    The rows of the table are multiplied where they stand, padding is never read, and where ids
    repeat, as words in sentences do, the input product of each distinct one is made once.

    Parameters
    ----------
    embedding : Embedding
        Of any dtype: rows of float16, bfloat16 and int8 are widened to the float32 of `recurrent`.
    recurrent : RNN, GRU or LSTM
        It reads `embedding_dim` features; stacked, reverse or in two directions as may be. Both
        layers are shared: what is updated in them shows here.

    Attributes
    ----------
    embedding, recurrent

    Raises
    ------
    TypeError, ValueError
        If one of them is something else, or they do not fit each other.

    See Also
    --------
    freeze : The input products of all rows, made once.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> embedding = er.Embedding(100, 16, padding_idx=0, rng=0)
    >>> encoder = er.Encoder(embedding, er.LSTM(16, 32, rng=0))
    >>> ids = np.array([[3, 1, 4, 1], [5, 9, 0, 0]])
    >>> output, (h_n, c_n) = encoder(ids)  # padded by 0, which says what the lengths are
    >>> expected, _ = encoder.recurrent(embedding(ids), [4, 2])
    >>> bool((output == expected).all())
    True
    >>> encoder([[3, 1, 4, 1], [5, 9]], pool="mean")[0].shape  # a vector for each sequence
    (2, 32)
    """

    embedding: Embedding
    recurrent: Recurrent

    def __init__(self, embedding: Embedding, recurrent: Recurrent) -> None:
        _check.instance("embedding", embedding, "an Embedding", Embedding)
        _check.instance("recurrent", recurrent, "an RNN, a GRU or an LSTM", Recurrent)
        _check_encoder.require_encodable(
            (embedding.embedding_dim, embedding.dtype), (recurrent.input_size, recurrent.dtype)
        )
        super().__init__(
            recurrent, embedding.num_embeddings, embedding.padding_idx, strict=embedding.strict
        )
        self.embedding, self.recurrent = embedding, recurrent

    def __repr__(self) -> str:
        return f"Encoder({self.embedding!r}, {self.recurrent!r})"

    def _looked_up(self, ids: Ids, listed: Listed, run: Callable[[Sequence[Tokens]], Any]) -> Any:
        cell = self.recurrent._cells()[0]
        pays = cell.pays_distinct(ids.tokens.size, listed.rows.size)
        path: Path = "distinct" if pays else "steps"

        def look(weight: Any) -> Any:
            storage = _check_encoder.storage_of_table(weight)
            tokens = self._tokens(ids, listed, stored(weight), storage, path)
            return run((tokens,) * self.recurrent._stack.directions)

        return self.embedding._looked_up(listed.rows, look)

    @documented(ENCODER)
    def vjp(
        self,
        ids: Any,
        lengths: npt.ArrayLike | None = None,
        state: Any = None,
        *,
        offsets: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        output: bool = True,
        pool: PoolingMode | None = None,
        padding_fill: PaddingFill = "zero",
        rng: Any = None,
    ) -> tuple[tuple[Any, Any], Callable[..., EncoderGrads]]:
        """Return what a call gives, and its vector-Jacobian product: for training.

        Parameters
        ----------
        ids, lengths, state, offsets, mask, output, pool, padding_fill
            As of a call.
        rng : seed or numpy.random.Generator, optional
            For what is dropped between layers, as of the `vjp` of the recurrent layer.

        Returns
        -------
        (output, state) : tuple
            What a call returns, with the same bits where nothing is dropped.
        backward : callable
            ``backward(grad_output=None, grad_state=None)`` takes the gradients of both, None for
            zeros, and returns `EncoderGrads`. It may be called any number of times, and inputs and
            parameters may change meanwhile.

        Raises
        ------
        IndexError, TypeError, ValueError
            As a call does, or if the rows are int8; of `backward`, if a gradient has another shape
            or dtype.

        Notes
        -----
        The gradients of the input products are summed for each distinct id, from the last step to
        the first, before they are multiplied: the bits are the same at any number of threads.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> model = {"embedding": er.Embedding(10, 4, rng=0), "gru": er.GRU(4, 3, rng=0)}
        >>> optimizer = er.optim.Adam(model)
        >>> encoder = er.Encoder(model["embedding"], model["gru"])
        >>> (output, state), backward = encoder.vjp([[3, 1, 4], [1]], pool="mean")
        >>> grads = backward(output)
        >>> optimizer.step({"embedding": {"weight": grads.weight}, "gru": grads.parameters})
        """
        self.embedding._require_gradient()
        call = self._read(ids, lengths, offsets, mask)
        return self._vjp(call, state, Wanted.checked(output, pool), padding_fill, rng)

    def _vjp(
        self, call: Ids, state: Any, wanted: Wanted, padding_fill: PaddingFill, rng: Any
    ) -> tuple[tuple[Any, Any], Callable[..., EncoderGrads]]:
        layer, stack = self.recurrent, self.recurrent._stack
        layout, listed = wanted.layout(call, padding_fill), self._listed(call)
        tape = layer._tape(call.tokens.size, rng, has_input=False)

        def run(sources: Sequence[Tokens]) -> tuple[Outputs, Array]:
            inputs = gather(sources[0].table, listed.rows).astype(layer.dtype, copy=False)
            return wanted.run(stack, tape.cells, sources, call, layout, state, tape), inputs

        found, inputs = self._looked_up(call, listed, run)
        kept = wanted.kept(stack, call, found)

        def backward(grad_output: Any = None, grad_state: Any = None) -> EncoderGrads:
            given = wanted.cotangent(layout, grad_output, stack)
            grad, of_last = wanted.back(
                stack, call, kept, given, stack.state_cotangents(layout, grad_state)
            )
            of_rows, parameters = np.zeros(inputs.shape, layer.dtype), layer._zeros()
            source = TokenGrads(listed.numbers, call.offsets[:-1], inputs, of_rows)
            sources = (source,) * stack.directions
            of_first = stack.back(tape, layout, grad, of_last, sources, parameters)
            _, of_state = layout.results(None, of_first)
            return EncoderGrads(self._of_table(listed, of_rows), of_state, parameters)

        return layout.outputs(wanted.outputs(stack, found), found.states), backward

    def _of_table(self, listed: Listed, values: Array) -> RowGrad:
        """Return the gradient of the table, without the row of padding."""
        rows, named = listed.rows.copy(), listed.rows[listed.numbers]
        if self._padding_idx is not None:
            kept = rows != self._padding_idx
            rows, values, named = rows[kept], values[kept], named[named != self._padding_idx]
        return self.embedding._finished(RowGrad(rows, values), named)

    def freeze(self, dtype: npt.DTypeLike | None = None) -> FrozenEncoder:
        """Return an encoder with the input products of all rows of the table made once.

        Parameters
        ----------
        dtype : float32, float64, float16 or bfloat16 (of ml_dtypes), optional
            Of the products: that of the recurrent layer if absent. Halves take half of the memory,
            and are rounded.

        Returns
        -------
        FrozenEncoder
            A copy of all it needs, which later changes of the layers do not reach. With `max_norm`,
            all rows are scaled down to it before, as if each were looked up. Its products take
            ``num_embeddings * directions * gates * hidden_size`` numbers; see its `nbytes`.

        Raises
        ------
        TypeError
            If the dtype is another, or wider than the layer's.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> encoder = er.Encoder(er.Embedding(10, 4, rng=0), er.GRU(4, 3, rng=0))
        >>> frozen = encoder.freeze()
        >>> np.allclose(frozen([[3, 1, 4]])[0], encoder([[3, 1, 4]])[0], atol=1e-6)
        True
        """
        layer = self.recurrent
        dtype = _check_encoder.frozen_dtype(dtype, layer.dtype)
        cells = layer._cells()[: layer._stack.directions]
        products = self.embedding._looked_up(
            np.arange(self._n_tokens),
            lambda table: [self._products(table, cell, dtype) for cell in cells],
        )
        return FrozenEncoder._of(
            without_inputs(layer), products, padding_idx=self._padding_idx, strict=self._strict
        )

    @quiet
    def _products(self, table: Any, cell: PackedCell, dtype: np.dtype[Any]) -> Array:
        """Return the input products of all rows with one cell, some rows at a time."""
        n_rows, layer = self._n_tokens, self.recurrent
        width = len(layer._stack.cell.gates) * layer.hidden_size
        products = np.empty((n_rows, width), dtype)
        for first in range(0, n_rows, _ROWS):
            rows = np.arange(first, min(first + _ROWS, n_rows))
            x = gather(table, rows).astype(layer.dtype, copy=False)
            part = np.empty((rows.size, width), layer.dtype)
            cell.project(x, part)
            products[rows[0] : rows[-1] + 1] = part
        return products
