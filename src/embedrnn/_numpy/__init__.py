"""The readable specification of every operation, and the fallback where nothing is compiled.

Functions have the names and parameters of the compiled module; their arguments have been checked.
"""

from embedrnn._numpy.bag import bag_add, bag_dot, bag_max, bag_sum
from embedrnn._numpy.coalesce import group_rows
from embedrnn._numpy.embedding import gather, scatter_add
from embedrnn._numpy.gru import pack_gru
from embedrnn._numpy.lstm import pack_lstm
from embedrnn._numpy.plain import (
    try_coalesce,
    try_embedding_bag,
    try_gather,
    try_scatter_add,
)
from embedrnn._numpy.recurrence import PackedCell
from embedrnn._numpy.rnn import pack_rnn
from embedrnn._numpy.runtime import asserts, get_isa, get_num_threads, isas, set_num_threads

__all__ = [
    "PackedCell",
    "asserts",
    "bag_add",
    "bag_dot",
    "bag_max",
    "bag_sum",
    "gather",
    "get_isa",
    "get_num_threads",
    "group_rows",
    "isas",
    "pack_gru",
    "pack_lstm",
    "pack_rnn",
    "scatter_add",
    "set_num_threads",
    "try_coalesce",
    "try_embedding_bag",
    "try_gather",
    "try_scatter_add",
]
