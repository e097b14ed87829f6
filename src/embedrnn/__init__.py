"""Embedding gather, scatter-add and recurrent passes over padded sequences, for NumPy arrays."""

from embedrnn import convert, optim
from embedrnn.bag import BagGrads, embedding_bag, embedding_bag_argmax, embedding_bag_vjp
from embedrnn.clipping import clip_grad_norm
from embedrnn.coalesce import RowGrad, coalesce
from embedrnn.gru import GRUGrads, gru_forward, gru_vjp
from embedrnn.layers import GRU, LSTM, RNN, Embedding, EmbeddingBag, RecurrentGrads
from embedrnn.lstm import LSTMGrads, lstm_forward, lstm_vjp
from embedrnn.packed import Packed
from embedrnn.padding import pad, unpad
from embedrnn.quantized import QuantizedRows, quantize_rows
from embedrnn.rnn import RNNGrads, rnn_forward, rnn_vjp
from embedrnn.rows import gather, scatter_add
from embedrnn.runtime import config, get_num_threads, set_num_threads, use_backend
from embedrnn.version import __version__

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BagGrads",
    "Embedding",
    "EmbeddingBag",
    "GRUGrads",
    "LSTMGrads",
    "Packed",
    "QuantizedRows",
    "RNNGrads",
    "RecurrentGrads",
    "RowGrad",
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
]


def __dir__() -> list[str]:
    return __all__
