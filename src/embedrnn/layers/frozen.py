"""The frozen encoder: the input products of all ids, made once."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from embedrnn import _npz
from embedrnn._check import encoder as _check_encoder
from embedrnn._check import state as _check_state
from embedrnn._check.files import require_path
from embedrnn._check.tokens import Ids
from embedrnn._sequences import Tokens
from embedrnn.layers.encoding import Encoding, Listed
from embedrnn.layers.gru import GRU
from embedrnn.layers.layer import Array
from embedrnn.layers.lstm import LSTM
from embedrnn.layers.recurrent import Recurrent
from embedrnn.layers.rnn import RNN

# What a file holds; to be raised when that changes.
_FORMAT = 1
_ABOUT = "about"
_PRODUCTS = ("products", "products_reverse")

_LAYERS: Mapping[str, type[Recurrent]] = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}


class FrozenEncoder(Encoding):
    """What `Encoder.freeze` returns: an encoder for inference, without a table of embeddings.

    In its place there is a table of the input products of all ids, in float32, float64, float16 or
    bfloat16: an id costs the reading of a row, and no product. It shares nothing with the layers
    that it was made of. Called as an `Encoder`.

    Attributes
    ----------
    nbytes : int
        Bytes of the products.

    Examples
    --------
    >>> import embedrnn as er
    >>> encoder = er.Encoder(er.Embedding(100, 16), er.LSTM(16, 32))
    >>> frozen = encoder.freeze(dtype="float16")
    >>> frozen
    FrozenEncoder(100 ids, LSTM(hidden_size=32), float16)
    >>> frozen.nbytes == 100 * 4 * 32 * 2
    True
    """

    _products: tuple[Array, ...]

    def __init__(self) -> None:
        raise TypeError("Encoder.freeze() and FrozenEncoder.load() make frozen encoders")

    @classmethod
    def _of(
        cls,
        recurrent: Recurrent,
        products: Sequence[Array],
        *,
        padding_idx: int | None,
        strict: bool,
    ) -> Self:
        """Return one of the products of each direction, and of a layer without inputs."""
        self = cls.__new__(cls)
        Encoding.__init__(self, recurrent, len(products[0]), padding_idx, strict=strict)
        self._products = tuple(products)
        for part in self._products:
            part.flags.writeable = False
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of the products."""
        return sum(part.nbytes for part in self._products)

    def __repr__(self) -> str:
        layer, stored = self._layer, self._products[0].dtype
        return (
            f"FrozenEncoder({self._n_tokens} ids, {type(layer).__name__}"
            f"(hidden_size={layer.hidden_size}), {stored})"
        )

    def _looked_up(self, ids: Ids, listed: Listed, run: Callable[[Sequence[Tokens]], Any]) -> Any:
        storage = _check_encoder.storage_of_table(self._products[0])
        return run([self._tokens(ids, listed, part, storage, "frozen") for part in self._products])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file in the format of `numpy.savez`, which `load` maps into memory.

        The file takes the place of one that is there when it is whole.

        Parameters
        ----------
        path : str or os.PathLike

        Raises
        ------
        OSError
            If the file cannot be written.
        TypeError
            If `path` is something else.
        """
        require_path(path)
        layer = self._layer
        about = {
            "format": _FORMAT,
            "layer": type(layer).__name__,
            "options": layer._given_options() | {"dtype": str(layer.dtype)},
            "padding_idx": self._padding_idx,
            "strict": self._strict,
        }
        arrays = dict(zip(_PRODUCTS, self._products, strict=False)) | layer.state_dict()
        arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        _npz.save(path, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return what was saved; products are mapped into memory, and read as they are needed.

        Parameters
        ----------
        path : str or os.PathLike
            A file that `save` wrote.

        Returns
        -------
        FrozenEncoder

        Raises
        ------
        OSError
            If the file cannot be read.
        TypeError, ValueError
            If it is no such file, or one of another version.
        """
        require_path(path)
        arrays = _npz.load(path, (_ABOUT,))
        about = _check_encoder.frozen_about(
            path, bytes(arrays.pop(_ABOUT)), _FORMAT, tuple(_LAYERS)
        )
        kind = _LAYERS[about["layer"]]
        options = kind._checked(**about["options"])
        stack, shapes = kind._stack_of(options), kind._shapes(options)
        names = _PRODUCTS[: stack.directions]
        products = _check_encoder.frozen_products(
            path, [arrays.pop(name, None) for name in names], len(stack.cell.gates) * stack.hidden,
            stack.dtype, about["padding_idx"],
        )  # fmt: skip
        named = _check_state.Named("parameters", arrays)
        fitting = _check_state.parameters(f"the encoder in {path}", shapes, options["dtype"], named)
        own = {name: np.array(array) for name, array in fitting.arrays.items()}
        return cls._of(
            kind._made(options, own), products,
            padding_idx=about["padding_idx"], strict=about["strict"],
        )  # fmt: skip


def without_inputs(layer: Recurrent) -> Recurrent:
    """Return a copy of a layer to walk over the input products of its first layer.

    That has no input weights, and of its biases those that are no part of the products.
    """
    own = {name: array.copy() for name, array in layer.state_dict().items()}
    inner = layer._stack.cell.inner * layer.hidden_size
    for weight_ih, _, bias_ih, bias_hh, *_ in layer._stack.names(0):
        own[weight_ih] = own[weight_ih][:, :0].copy()
        if layer.bias:
            own[bias_ih][...] = 0
            own[bias_hh][: len(own[bias_hh]) - inner] = 0
    return type(layer)._made(layer._given_options() | {"input_size": 0}, own)
