"""How tables store numbers, under the names that both backends know them by."""

from typing import Literal, TypeAlias

# The dtypes that are summed, and the rows of `QuantizedRows`: a scale and an offset, then codes.
Storage: TypeAlias = Literal["float32", "float64", "float16", "bfloat16", "int8"]

INT8_HEADER = 8  # bytes before the codes of an int8 row: scale and offset, both float32
