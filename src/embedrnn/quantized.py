"""Tables of int8 rows."""

import operator
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current
from embedrnn._quiet import quiet
from embedrnn._storage import INT8_HEADER

_PICKLE_FORMAT = 1  # what a pickle holds; to be raised when that changes
_BLOCK = 1 << 20  # elements quantised at a time
_MOST = float(np.finfo(np.float32).max)
_SIGN = 0x80  # with which an exclusive or turns int8 codes into uint8 ones, and back
_LEAST_SCALE = np.finfo(np.float32).tiny  # smaller ones have too few bits for 255 steps

_Singles = npt.NDArray[np.float32]


class QuantizedRows:
    """A table of int8 rows with a scale and an offset each, as `quantize_rows` makes it.

    `gather`, `embedding_bag` and the layers `Embedding` and `EmbeddingBag` read it in place of an
    array of float32. `from_arrays` and `from_fused` make one of what others have quantised.

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
        _check.require_unmasked("rows", given)
        fits = isinstance(given, np.ndarray) and given.dtype == np.uint8 and given.ndim == 2
        if not (fits and given.shape[1] >= INT8_HEADER and given.flags.c_contiguous):
            raise ValueError("rows must be a C-contiguous array of uint8, shape (V, 8 + D)")
        self._rows = rows

    @classmethod
    def from_arrays(cls, codes: npt.ArrayLike, scale: npt.ArrayLike, offset: npt.ArrayLike) -> Self:
        """Return the table of these codes, whose elements are ``scale * code + offset``.

        Parameters
        ----------
        codes : array_like of int8, shape (V, D)
        scale, offset : array_like of float32, shape (V,)
            Of each row. No value is refused.

        Returns
        -------
        QuantizedRows
            With copies of the arrays, which its properties of the same names give back.

        Raises
        ------
        TypeError
            If an array has another dtype or a mask.
        ValueError
            If a shape does not fit.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> codes, scale = np.array([[-2, 0, 3]], np.int8), np.array([0.5], np.float32)
        >>> er.QuantizedRows.from_arrays(codes, scale, np.zeros(1, np.float32)).dequantize()
        array([[-1. ,  0. ,  1.5]], dtype=float32)
        """
        numbers, scales, offsets = _check.int8_arrays(codes, scale, offset)
        rows = np.empty((len(numbers), INT8_HEADER + numbers.shape[1]), np.uint8)
        _write_header(rows, scales, offsets)
        rows[:, INT8_HEADER:].view(np.int8)[...] = numbers
        return cls(rows)

    @classmethod
    def from_fused(cls, rows: npt.ArrayLike) -> Self:
        """Return the table that FBGEMM and PyTorch hold as "fused 8-bit rowwise".

        Parameters
        ----------
        rows : array_like of uint8, shape (V, D + 8)
            Of each row D codes u, then the scale and the bias (float32, native byte order). An
            element is ``scale * u + bias``. `torch.ops.quantized.embedding_bag_byte_prepack` [1]_
            returns such rows.

        Returns
        -------
        QuantizedRows
            With a copy of the scales, and ``code = u - 128``.

        Raises
        ------
        TypeError
            If the rows have another dtype or a mask.
        ValueError
            If they have another shape, or an offset does not fit float32.

        See Also
        --------
        to_fused : The way back.

        Notes
        -----
        The offset is ``bias + 128 * scale``, rounded to float32. That sum is exact where
        ``128 * scale`` is from half of ``-bias`` to twice as much, as in a row that goes from -m up
        to anything from 0 to 2.9 m. Then elements have the bits of ``scale * u + bias`` rounded
        once (twice on a CPU without fused multiply-add), and `to_fused` returns the same rows.
        Otherwise an element may differ from PyTorch's by 2**-21 of the greatest magnitude that the
        256 codes of its row can have.

        References
        ----------
        .. [1] https://docs.pytorch.org/FBGEMM/, "fused 8-bit rowwise" quantisation.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> scale_and_bias = np.array([0.5, -1.0], np.float32).view(np.uint8)
        >>> fused = np.concatenate((np.array([0, 2, 255], np.uint8), scale_and_bias))[None]
        >>> er.QuantizedRows.from_fused(fused).dequantize()
        array([[ -1. ,   0. , 126.5]], dtype=float32)
        """
        fused = _check.fused_rows(rows)
        width = fused.shape[1] - INT8_HEADER
        scale, bias = np.ascontiguousarray(fused[:, width:]).view(np.float32).T
        offset = _shifted(scale, bias, 128, "rows[{}] has an offset, bias + 128 * scale,")
        table = np.empty(fused.shape, np.uint8)
        _write_header(table, scale, offset)
        np.bitwise_xor(fused[:, :width], _SIGN, out=table[:, INT8_HEADER:])
        return cls(table)

    def to_fused(self) -> npt.NDArray[np.uint8]:
        """Return the rows in the layout of FBGEMM and PyTorch, "fused 8-bit rowwise".

        Returns
        -------
        ndarray of uint8, shape (V, D + 8)
            Of each row D codes ``u = code + 128``, then the scale and the bias (float32, native
            byte order). `torch.ops.quantized.embedding_bag_byte_rowwise_offsets` reads such rows.

        Raises
        ------
        ValueError
            If a bias does not fit float32.

        Notes
        -----
        The bias is ``offset - 128 * scale``, rounded to float32. It is exact for the rows that are
        so in `from_fused`, if they come from there or `quantize_rows` made them of float32; an
        element of another may differ by as much as there. Codes and scales are always exact.

        Examples
        --------
        >>> import embedrnn as er
        >>> table = er.quantize_rows([[0.0, 51.0, 255.0]])
        >>> table.to_fused()[:, :3]
        array([[  0,  51, 255]], dtype=uint8)
        """
        scale, width = self.scale, self.shape[1]
        bias = _shifted(scale, self.offset, -128, "row {} has a bias, offset - 128 * scale,")
        fused = np.empty_like(self.rows)
        np.bitwise_xor(self.rows[:, INT8_HEADER:], _SIGN, out=fused[:, :width])
        _write_header(fused[:, width:], scale, bias)
        return fused

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (_PICKLE_FORMAT, self._rows)

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
        return self.rows.shape[0], self.rows.shape[1] - INT8_HEADER

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
        return self.rows[:, INT8_HEADER:].view(np.int8)

    def dequantize(self) -> npt.NDArray[np.float32]:
        """Return the whole table as float32, shape (V, D)."""
        dense = np.empty(self.shape, np.float32)
        current().gather(self.rows, "int8", np.arange(len(self)), "raise", dense, False)
        return dense

    def _header(self, number: int) -> npt.NDArray[np.float32]:
        part = np.ascontiguousarray(self.rows[:, 4 * number : 4 * number + 4])
        return part.view(np.float32).reshape(-1)


def _unpickled(version: int, rows: npt.NDArray[np.uint8]) -> QuantizedRows:
    """Return a table from a pickle, which may hold anything."""
    if version != _PICKLE_FORMAT:
        raise ValueError(
            f"QuantizedRows of pickle format {version!r} cannot be loaded, only those of "
            f"{_PICKLE_FORMAT}"
        )
    return QuantizedRows(rows)


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
    The scale of a row is (greatest - least) / 255, and its codes run from -128 at the least to 127;
    at the ends of float32 it is (greatest - least) / 254, lest an element come back infinite.
    An element comes back within ``scale / 2 + 2**-22 * m``, where m is the greatest magnitude of
    its row; a row of equal elements comes back exactly if they fit float32. `gather` rounds what
    comes back to halves if its `out` has those. This is the row-wise scheme of FBGEMM [1]_, with
    signed codes and the header in front.

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
    table = _check.float_table(weight)
    rows = np.empty((table.shape[0], INT8_HEADER + table.shape[1]), np.uint8)
    step = max(1, _BLOCK // max(1, table.shape[1]))
    for first in range(0, table.shape[0], step):
        _quantize(table[first : first + step], first, rows[first : first + step])
    return QuantizedRows(rows)


@quiet
def _quantize(block: npt.NDArray[Any], first: int, rows: npt.NDArray[np.uint8]) -> None:
    """Fill in the rows of a block of the table that begins at row `first`."""
    finite = np.isfinite(block.astype(np.float32)).all(axis=1)
    if not finite.all():
        row = first + operator.index(finite.argmin())
        raise ValueError(f"weight must be finite in float32, but row {row} is not")
    values = block.astype(np.float64)
    scale, offset = _header(values)
    steps = np.where(scale > 0, scale, 1).astype(np.float64)[:, None]
    codes = np.rint((values - offset[:, None].astype(np.float64)) / steps)
    _write_header(rows, scale, offset)
    rows[:, INT8_HEADER:] = codes.clip(-128, 127).astype(np.int8).view(np.uint8)


def _header(values: npt.NDArray[np.float64]) -> tuple[_Singles, _Singles]:
    """Return the scale and the offset of each row, with which both of its ends stay finite."""
    if values.shape[1] == 0:
        return np.zeros(len(values), np.float32), np.zeros(len(values), np.float32)
    least = values.min(axis=1).clip(min=-_MOST)
    most = values.max(axis=1).clip(max=_MOST)
    scale = ((most - least) / 255).astype(np.float32)
    scale[(scale < _LEAST_SCALE) & (most > least)] = _LEAST_SCALE
    offset = (least + 128 * scale.astype(np.float64)).astype(np.float32)
    past = _leads_past_float32(scale, offset)
    inner = ((most - least)[past] / 254).astype(np.float32)  # for codes from -127 to 127
    scale[past] = np.nextafter(inner, np.float32(0))
    offset[past] = np.nextafter(((least + most)[past] / 2).astype(np.float32), np.float32(0))
    return scale, offset


def _write_header(rows: npt.NDArray[np.uint8], first: _Singles, second: _Singles) -> None:
    """Put two numbers in front of each row."""
    rows[:, :INT8_HEADER] = np.stack((first, second), axis=1).view(np.uint8)


@quiet
def _shifted(scale: _Singles, start: _Singles, code: int, what: str) -> _Singles:
    """Return ``start + code * scale`` of each row, the product not rounded by itself."""
    found = (start + code * scale.astype(np.float64)).astype(np.float32)
    past = np.isinf(found) & np.isfinite(scale) & np.isfinite(start)
    if past.any():
        raise ValueError(f"{what.format(past.argmax())} that is too great for float32")
    return found


def _leads_past_float32(scale: _Singles, offset: _Singles) -> npt.NDArray[np.bool_]:
    """Whether an end of a row would be infinite, with the product rounded by itself or not."""
    fused = (offset + np.multiply.outer([-128.0, 127.0], scale)).astype(np.float32)
    alone = offset + np.multiply.outer(np.array([-128, 127], np.float32), scale)
    return np.asarray((np.isinf(fused) | np.isinf(alone)).any(axis=0))
