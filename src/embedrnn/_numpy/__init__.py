"""The readable specification of every operation, and the fallback where nothing is compiled.

Functions have the names and parameters of the compiled module; their arguments have been checked.
"""

from embedrnn._numpy.bag import bag_add, bag_dot, bag_max, bag_sum, first_bad_offset, without_row
from embedrnn._numpy.coalesce import coalesce, group_rows, number_rows
from embedrnn._numpy.optim import optim_step
from embedrnn._numpy.recurrence import PackedCell, pack
from embedrnn._numpy.rows import first_out_of_range, gather, scatter_add
from embedrnn._numpy.runtime import asserts, get_isa, get_num_threads, isas, set_num_threads

__all__ = [
    "PackedCell",
    "asserts",
    "bag_add",
    "bag_dot",
    "bag_max",
    "bag_sum",
    "coalesce",
    "first_bad_offset",
    "first_out_of_range",
    "gather",
    "get_isa",
    "get_num_threads",
    "group_rows",
    "isas",
    "number_rows",
    "optim_step",
    "pack",
    "scatter_add",
    "set_num_threads",
    "without_row",
]
