"""The readable specification of every operation, and the fallback where nothing is compiled.

Functions have the names and parameters of the compiled module; their arguments have been checked.
"""

from embedrnn._numpy.embedding import gather, scatter_add
from embedrnn._numpy.gru import gru_forward
from embedrnn._numpy.lstm import lstm_forward
from embedrnn._numpy.rnn import rnn_forward
from embedrnn._numpy.runtime import asserts, get_isa, get_num_threads, isas, set_num_threads

__all__ = [
    "asserts",
    "gather",
    "get_isa",
    "get_num_threads",
    "gru_forward",
    "isas",
    "lstm_forward",
    "rnn_forward",
    "scatter_add",
    "set_num_threads",
]
