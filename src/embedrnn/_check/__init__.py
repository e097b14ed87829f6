"""Every rule about arguments, and its message, once for both backends.

A check returns the arrays that a backend takes: aligned, in native byte order, and laid out as the
compiled kernels need them; fresh outputs are allocated here. Good arguments pass without a copy.
What `optim`, `adapters` and encoders ask is not among these, lest whoever asks for none of them
should import it.
"""

from embedrnn._check.array_like import as_array, own_copy, require_unmasked
from embedrnn._check.arrays import (
    INT8,
    any_float,
    apart,
    as_behaved,
    as_matrix,
    as_rows,
    deliver,
    few_rows,
    has_plain_rows,
    has_rows,
    is_float,
    require_output,
    storage_of,
    sum_dtype,
)
from embedrnn._check.axes import along, take
from embedrnn._check.bag import (
    bag,
    bag_gradient,
    bag_into,
    float_table,
    require_gradient,
    row_gradient,
    without_padding,
)
from embedrnn._check.coalesce import coalesce, dense_rows, row_grad
from embedrnn._check.cotangents import cotangent, state_cotangents
from embedrnn._check.layers import (
    directions,
    dtype_like,
    float_dtype,
    layer_input,
    layer_state,
    parameter_names,
    repeats_padding,
    require_stream,
)
from embedrnn._check.options import (
    below_one,
    choice,
    flag,
    generator,
    inner_share,
    instance,
    not_negative,
    positive,
    require_addressable,
    share,
    size,
    whole,
)
from embedrnn._check.padding import pad, unpad
from embedrnn._check.quantized import fused_rows, int8_arrays
from embedrnn._check.ragged import absent_where, packed, resets_of, rows_of
from embedrnn._check.recurrence import recurrence
from embedrnn._check.rows import (
    ScatterAdd,
    gather,
    index_error,
    integer_indices,
    scatter_add,
)
from embedrnn._check.sequences import bags, sequences
from embedrnn._check.table import given_table, table_options
from embedrnn._check.words import PRETRAINED_WORDS, RECURRENT_WORDS, TABLE_WORDS, only_words

__all__ = [
    "INT8",
    "PRETRAINED_WORDS",
    "RECURRENT_WORDS",
    "TABLE_WORDS",
    "ScatterAdd",
    "absent_where",
    "along",
    "any_float",
    "apart",
    "as_array",
    "as_behaved",
    "as_matrix",
    "as_rows",
    "bag",
    "bag_gradient",
    "bag_into",
    "bags",
    "below_one",
    "choice",
    "coalesce",
    "cotangent",
    "deliver",
    "dense_rows",
    "directions",
    "dtype_like",
    "few_rows",
    "flag",
    "float_dtype",
    "float_table",
    "fused_rows",
    "gather",
    "generator",
    "given_table",
    "has_plain_rows",
    "has_rows",
    "index_error",
    "inner_share",
    "instance",
    "int8_arrays",
    "integer_indices",
    "is_float",
    "layer_input",
    "layer_state",
    "not_negative",
    "only_words",
    "own_copy",
    "packed",
    "pad",
    "parameter_names",
    "positive",
    "recurrence",
    "repeats_padding",
    "require_addressable",
    "require_gradient",
    "require_output",
    "require_stream",
    "require_unmasked",
    "resets_of",
    "row_grad",
    "row_gradient",
    "rows_of",
    "scatter_add",
    "sequences",
    "share",
    "size",
    "state_cotangents",
    "storage_of",
    "sum_dtype",
    "table_options",
    "take",
    "unpad",
    "whole",
    "without_padding",
]
