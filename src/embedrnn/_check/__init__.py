"""Every rule about arguments, and its message, once for both backends.

A check returns the arrays that a backend takes: aligned, in native byte order, and laid out as the
compiled kernels need them; fresh outputs are allocated here. Good arguments pass without a copy.
"""

from embedrnn._check.arrays import (
    as_matrix,
    as_rows,
    choice,
    deliver,
    is_half,
    is_plain_matrix,
    require_output,
    require_shape,
    stored,
    sum_dtype,
)
from embedrnn._check.bag import bag, bag_gradient, bag_table
from embedrnn._check.coalesce import coalesce, summed_by_kernels
from embedrnn._check.embedding import (
    ScatterAdd,
    gather,
    gather_quantized,
    index_error,
    integer_indices,
    scatter_add,
)
from embedrnn._check.layers import (
    float_dtype,
    layer_input,
    lstm_state,
    new_parameters,
    operand,
    parameter_names,
    size,
)
from embedrnn._check.recurrence import lengths_of, recurrence
from embedrnn._check.table import table_options
from embedrnn._numpy.embedding import first_out_of_range

__all__ = [
    "ScatterAdd",
    "as_matrix",
    "as_rows",
    "bag",
    "bag_gradient",
    "bag_table",
    "choice",
    "coalesce",
    "deliver",
    "first_out_of_range",
    "float_dtype",
    "gather",
    "gather_quantized",
    "index_error",
    "integer_indices",
    "is_half",
    "is_plain_matrix",
    "layer_input",
    "lengths_of",
    "lstm_state",
    "new_parameters",
    "operand",
    "parameter_names",
    "recurrence",
    "require_output",
    "require_shape",
    "scatter_add",
    "size",
    "stored",
    "sum_dtype",
    "summed_by_kernels",
    "table_options",
]
