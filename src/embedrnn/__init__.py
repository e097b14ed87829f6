"""Embedding gather, scatter-add and recurrent passes over padded sequences, for NumPy arrays."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from embedrnn.bag import BagGrads, embedding_bag, embedding_bag_argmax, embedding_bag_vjp
from embedrnn.clipping import clip_grad_norm
from embedrnn.coalesce import RowGrad, coalesce
from embedrnn.gru import GRUGrads, gru_forward, gru_vjp
from embedrnn.lstm import LSTMGrads, lstm_forward, lstm_vjp
from embedrnn.packed import Packed
from embedrnn.padding import pad, unpad
from embedrnn.quantized import QuantizedRows, quantize_rows
from embedrnn.rnn import RNNGrads, rnn_forward, rnn_vjp
from embedrnn.rows import gather, scatter_add
from embedrnn.runtime import config, get_num_threads, set_num_threads, use_backend
from embedrnn.version import __version__

if TYPE_CHECKING:
    from embedrnn import convert, optim, vectors
    from embedrnn.layers import GRU, LSTM, RNN, Embedding, EmbeddingBag, RecurrentGrads
    from embedrnn.layers.encoder import Encoder, EncoderGrads
    from embedrnn.layers.frozen import FrozenEncoder
    from embedrnn.vocabulary import PaddedIds, RaggedIds, Vocabulary

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BagGrads",
    "Embedding",
    "EmbeddingBag",
    "Encoder",
    "EncoderGrads",
    "FrozenEncoder",
    "GRUGrads",
    "LSTMGrads",
    "Packed",
    "PaddedIds",
    "QuantizedRows",
    "RNNGrads",
    "RaggedIds",
    "RecurrentGrads",
    "RowGrad",
    "Vocabulary",
    "__version__",
    "clip_grad_norm",
    "coalesce",
    "config",
    "convert",
    "embedding_bag",
    "embedding_bag_argmax",
    "embedding_bag_vjp",
    "gather",
    "get_num_threads",
    "gru_forward",
    "gru_vjp",
    "lstm_forward",
    "lstm_vjp",
    "optim",
    "pad",
    "quantize_rows",
    "rnn_forward",
    "rnn_vjp",
    "scatter_add",
    "set_num_threads",
    "unpad",
    "use_backend",
    "vectors",
]


# What not everybody needs is imported when it is asked for: modules, and where the others stand.
_LATER = {
    "GRU": "layers",
    "LSTM": "layers",
    "RNN": "layers",
    "Embedding": "layers",
    "EmbeddingBag": "layers",
    "RecurrentGrads": "layers",
    "Encoder": "layers.encoder",
    "EncoderGrads": "layers.encoder",
    "FrozenEncoder": "layers.frozen",
    "PaddedIds": "vocabulary",
    "RaggedIds": "vocabulary",
    "Vocabulary": "vocabulary",
    "convert": "convert",
    "optim": "optim",
    "vectors": "vectors",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LATER[name]}")
    found = module if name == _LATER[name] else getattr(module, name)
    globals()[name] = found  # for the next time
    return found


def __dir__() -> list[str]:
    return __all__
