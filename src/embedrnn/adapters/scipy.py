"""Row-sparse gradients from and to SciPy's sparse arrays."""

import numpy as np
import scipy.sparse

from embedrnn._check import adapters as _check
from embedrnn._check import instance
from embedrnn.coalesce import RowGrad, coalesce

__all__ = ["from_scipy", "to_scipy"]


def to_scipy(grad: RowGrad, num_embeddings: int) -> scipy.sparse.bsr_array:
    """Return a gradient as a sparse array of SciPy, shape (num_embeddings, D).

    Parameters
    ----------
    grad : RowGrad
        The gradient of a matrix: values of shape (U, D), and distinct rows that rise, as `coalesce`
        returns them.
    num_embeddings : int
        The rows of the table.

    Returns
    -------
    scipy.sparse.bsr_array
        Whose blocks are rows, (1, D): a number for each, where a `csr_array` would hold the column
        of every element. It shares the memory of the values.

    Raises
    ------
    IndexError
        If a row is not one of the table.
    TypeError
        If `grad` is no RowGrad, or of float16 or bfloat16, which SciPy does not have.
    ValueError
        If the values have other axes or no columns, or rows are named twice or do not rise.

    Examples
    --------
    >>> import embedrnn as er
    >>> from embedrnn.adapters.scipy import to_scipy
    >>> to_scipy(er.coalesce([2, 0, 2], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), 4).toarray()
    array([[3., 4.],
           [0., 0.],
           [6., 8.],
           [0., 0.]])
    """
    instance("grad", grad, "a RowGrad", RowGrad)
    rows, values, n_rows = _check.matrix_rows(grad, num_embeddings)
    # Row r has those of the blocks that stand from starts[r] to starts[r + 1]: one or none.
    starts = np.searchsorted(rows, np.arange(n_rows + 1))
    blocks = (values[:, None, :], np.zeros(rows.size, np.int64), starts)
    return scipy.sparse.bsr_array(blocks, shape=(n_rows, values.shape[1]))


def from_scipy(matrix: scipy.sparse.sparray | scipy.sparse.spmatrix) -> RowGrad:
    """Return the rows of a sparse array of SciPy that hold anything.

    Parameters
    ----------
    matrix : sparse array or matrix of SciPy, shape (V, D), in any format
        What stands twice in one place is added up.

    Returns
    -------
    RowGrad
        Of these rows, in the dtype of `matrix`. It shares the memory of what `to_scipy` returns.

    Raises
    ------
    TypeError
        If `matrix` is no sparse array of SciPy.
    ValueError
        If it does not have two axes, or no columns.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.sparse
    >>> from embedrnn.adapters.scipy import from_scipy
    >>> from_scipy(scipy.sparse.csr_array(np.array([[0.0, 0.0], [0.0, 2.0]])))
    RowGrad(indices=array([1]), values=array([[0., 2.]]))
    """
    kinds = (scipy.sparse.sparray, scipy.sparse.spmatrix)
    instance("matrix", matrix, "a sparse array of SciPy", *kinds)
    n_rows, width = _check.sparse_shape("matrix", matrix.shape)
    blocks = matrix.tobsr(blocksize=(1, width))
    rows = np.repeat(np.arange(n_rows), np.diff(blocks.indptr))
    values = blocks.data[:, 0]
    if blocks.has_canonical_format:
        return RowGrad(rows, values)
    return coalesce(rows, values, num_embeddings=n_rows)
