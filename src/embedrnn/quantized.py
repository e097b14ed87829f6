"""Tables of int8 rows."""

import operator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current

_HEADER = 8  # bytes: scale and offset
_BLOCK = 1 << 20  # elements quantised at a time
_LEAST_SCALE = np.finfo(np.float32).tiny  # smaller ones have too few bits for 255 steps


class QuantizedRows:
    """A table of int8 rows with a scale and an offset each, as `quantize_rows` makes it.

    `gather` and `embedding_bag` read it in place of an array of float32.

    Attributes
    ----------
    rows : ndarray of uint8, shape (V, 8 + D)
        All there is: of each row the scale and the offset (float32, native byte order), then D
        codes (int8). An element is ``scale * code + offset``.

    Examples
    --------
    >>> import embedrnn as er
    >>> table = er.quantize_rows([[0.0, 51.0, 255.0], [2.0, 2.0, 2.0]])
    >>> table.codes
    array([[-128,  -77,  127],
           [   0,    0,    0]], dtype=int8)
    >>> table.scale, table.offset
    (array([1., 0.], dtype=float32), array([128.,   2.], dtype=float32))
    """

    def __init__(self, rows: npt.NDArray[np.uint8]) -> None:
        given: Any = rows
        fits = isinstance(given, np.ndarray) and given.dtype == np.uint8 and given.ndim == 2
        if not (fits and given.shape[1] >= _HEADER and given.flags.c_contiguous):
            raise ValueError("rows must be a C-contiguous array of uint8, shape (V, 8 + D)")
        self._rows = rows

    def __repr__(self) -> str:
        return f"QuantizedRows(shape={self.shape}, nbytes={self.nbytes})"

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    @property
    def rows(self) -> npt.NDArray[np.uint8]:
        """Bytes of the table, shape (V, 8 + D)."""
        return self._rows

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (V, D) of the table."""
        return self.rows.shape[0], self.rows.shape[1] - _HEADER

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of what is read from the table: float32."""
        return np.dtype(np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes that the table takes."""
        return self.rows.nbytes

    @property
    def scale(self) -> npt.NDArray[np.float32]:
        """Scale of each row, shape (V,), a copy."""
        return self._header(0)

    @property
    def offset(self) -> npt.NDArray[np.float32]:
        """Offset of each row, shape (V,), a copy."""
        return self._header(1)

    @property
    def codes(self) -> npt.NDArray[np.int8]:
        """Codes, shape (V, D), a view."""
        return self.rows[:, _HEADER:].view(np.int8)

    def dequantize(self) -> npt.NDArray[np.float32]:
        """Return the whole table as float32, shape (V, D)."""
        dense = np.empty(self.shape, np.float32)
        current().bag_sum(self.rows, np.arange(len(self)), None, None, False, dense)
        return dense

    def _header(self, number: int) -> npt.NDArray[np.float32]:
        part = np.ascontiguousarray(self.rows[:, 4 * number : 4 * number + 4])
        return part.view(np.float32).reshape(-1)


def quantize_rows(weight: npt.ArrayLike, dtype: Literal["int8"] = "int8") -> QuantizedRows:
    """Round each row of a table to 256 evenly spaced values, a quarter of the memory of float32.

    Parameters
    ----------
    weight : array_like, shape (V, D)
        float32, float64, float16 or bfloat16 (of ml_dtypes), all of it finite in float32.
    dtype : {"int8"}
        What the codes are.

    Returns
    -------
    QuantizedRows
        Its rows have D + 8 bytes.

    Raises
    ------
    TypeError
        If the weight has another dtype.
    ValueError
        If it has another shape or is not finite, or `dtype` is not "int8".

    Notes
    -----
    The scale of a row is (greatest - least) / 255, and its codes run from -128 at the least to 127.
    An element comes back within ``scale / 2 + 2**-22 * m``, where m is the greatest magnitude of
    its row; a row of equal elements comes back exactly if they fit float32. This is the row-wise
    scheme of FBGEMM [1]_, with signed codes and the header in front.

    References
    ----------
    .. [1] https://docs.pytorch.org/FBGEMM/, "fused 8-bit rowwise" quantisation.

    Examples
    --------
    >>> import embedrnn as er
    >>> er.gather(er.quantize_rows([[0.0, 1.0, 255.0]]), [0])
    array([[  0.,   1., 255.]], dtype=float32)
    """
    _check.choice("dtype", dtype, ("int8",))
    table = _check.bag_table(weight)
    rows = np.empty((table.shape[0], _HEADER + table.shape[1]), np.uint8)
    step = max(1, _BLOCK // max(1, table.shape[1]))
    for first in range(0, table.shape[0], step):
        _quantize(table[first : first + step], first, rows[first : first + step])
    return QuantizedRows(rows)


def _quantize(block: npt.NDArray[Any], first: int, rows: npt.NDArray[np.uint8]) -> None:
    """Fill in the rows of a block of the table that begins at row `first`."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(block.astype(np.float32)).all(axis=1)
    if not finite.all():
        row = first + operator.index(finite.argmin())
        raise ValueError(f"weight must be finite in float32, but row {row} is not")
    values = block.astype(np.float64)
    least = values.min(axis=1, initial=np.inf) if values.shape[1] else np.zeros(len(values))
    most = values.max(axis=1, initial=-np.inf) if values.shape[1] else least
    scale = ((most - least) / 255).astype(np.float32)
    scale[(scale < _LEAST_SCALE) & (most > least)] = _LEAST_SCALE
    offset = (least + 128.0 * scale).astype(np.float32)
    steps = np.where(scale > 0, scale, 1).astype(np.float64)[:, None]
    codes = np.rint((values - offset[:, None].astype(np.float64)) / steps)
    rows[:, :4] = scale[:, None].view(np.uint8)
    rows[:, 4:_HEADER] = offset[:, None].view(np.uint8)
    rows[:, _HEADER:] = codes.clip(-128, 127).astype(np.int8).view(np.uint8)
