"""Embedding gather, scatter-add and recurrent passes over padded sequences, for NumPy arrays."""

from embedrnn.embedding import gather, scatter_add
from embedrnn.gru import gru_forward
from embedrnn.lstm import lstm_forward
from embedrnn.rnn import rnn_forward
from embedrnn.runtime import config, get_num_threads, set_num_threads, use_backend
from embedrnn.version import __version__

__all__ = [
    "__version__",
    "config",
    "gather",
    "get_num_threads",
    "gru_forward",
    "lstm_forward",
    "rnn_forward",
    "scatter_add",
    "set_num_threads",
    "use_backend",
]


def __dir__() -> list[str]:
    return __all__
