"""Automatic differentiation by autograd (of HIPS), in code of NumPy's functions.

Each function has the name and the arguments of one of embedrnn's, but for `out`, and gives the same
bits. autograd differentiates it in every floating-point argument, given by position or by name,
which is then an array: sequences that come as a list are constants. The gradients of one call are
made together: the ``_vjp`` function of that name runs in place of it, and its `backward` once.

autograd adds gradients by ``+`` of arrays. Hence the gradient of a table is an array as large as
the table, where `embedrnn.coalesce` and `embedrnn.embedding_bag_vjp` return the rows alone.

Only `gather` has second derivatives; asked for others, and for derivatives in forward mode,
autograd raises NotImplementedError.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from autograd.extend import defvjp, defvjp_argnums, primitive
from autograd.tracer import getval, isbox

from embedrnn import bag, gru, lstm, rnn, rows
from embedrnn._check import adapters as _check
from embedrnn._check import integer_indices
from embedrnn._docs import AUTOGRAD, documented
from embedrnn._modes import in_range
from embedrnn._quiet import quiet

__all__ = ["embedding_bag", "gather", "gru_forward", "lstm_forward", "rnn_forward"]

# Where the floating-point arguments of a traced call begin.
_FLOATS = 2
_WEIGHTS = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _differentiable(
    forward: Callable[..., Any], vjp: Callable[..., Any], *names: str
) -> Callable[..., Any]:
    """Return `forward`, called with the arguments of these names by position, for autograd.

    `vjp` returns what `forward` does, and a function from the gradient of that to those of the
    named arguments, in their order.
    """

    def run(tape: list[Any], options: dict[str, Any], *floats: Any) -> Any:
        result, backward = vjp(**dict(zip(names, floats, strict=True)), **options)
        tape.append(backward)
        return result

    # It takes the arguments too: autograd then knows that its result depends on them, and refuses
    # to differentiate that, instead of taking it for a constant.
    def gradients(cotangent: Any, tape: list[Any], *_: Any) -> Any:
        return tape[0](cotangent)

    run.__name__ = forward.__name__
    gradients.__name__ = f"the gradients of {forward.__name__}"
    traced, of_traced = primitive(run), primitive(gradients)

    def make_vjp(argnums: tuple[int, ...], _result: Any, args: Any, _kwargs: Any) -> Any:
        def pull_back(cotangent: Any) -> list[Any]:
            grads = of_traced(cotangent, args[0], *args[_FLOATS:])
            return [grads[argnum - _FLOATS] for argnum in argnums]

        return pull_back

    defvjp_argnums(traced, make_vjp)

    def call(*floats: Any, **options: Any) -> Any:
        named = dict(zip(names, floats, strict=True))
        if not any(map(isbox, floats)):
            return forward(**named, **options)
        _check_traced(**named)
        return traced([], options, *floats)

    return call


def _check_traced(**arguments: Any) -> None:
    for name, value in arguments.items():
        if isbox(value):
            _check.differentiated(name, getval(value))


@quiet
def _as_output(cotangent: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a gradient in the dtype of what it belongs to: code behind that may be of another."""
    return np.asarray(cotangent, dtype)


def _take(weight: Any, indices: npt.ArrayLike, axis: int, mode: Any) -> Any:
    return rows.gather(weight, indices, axis=axis, mode=mode)


def _take_vjp(_result: Any, weight: Any, *where: Any) -> Callable[[Any], Any]:
    return lambda cotangent: _scatter(cotangent, weight.shape, weight.dtype, *where)


def _put(
    updates: Any, shape: tuple[int, ...], dtype: np.dtype[Any], indices: Any, axis: int, mode: str
) -> npt.NDArray[Any]:
    """Return the gradient of a table, from that of what was taken from it."""
    table = np.zeros(shape, dtype)
    ids = in_range(integer_indices(indices), shape[axis], mode)
    first = axis % len(shape)
    values = np.moveaxis(
        _as_output(updates, dtype), range(first, first + ids.ndim), range(ids.ndim)
    )
    rows.scatter_add(np.moveaxis(table, first, 0), ids, values)
    return table


def _put_vjp(
    _result: Any, _updates: Any, _shape: Any, _dtype: Any, *where: Any
) -> Callable[[Any], Any]:
    return lambda cotangent: _gather(cotangent, *where)


_take.__name__, _put.__name__ = "gather", "the gradient of gather"
_gather, _scatter = primitive(_take), primitive(_put)
defvjp(_gather, _take_vjp)
defvjp(_scatter, _put_vjp)


def _bag_vjp(weight: Any, **arguments: Any) -> tuple[Any, Callable[[Any], Any]]:
    output, backward = bag.embedding_bag_vjp(weight, **arguments)

    def dense(cotangent: Any) -> Any:
        table = np.zeros(np.shape(weight), output.dtype)
        return backward(_as_output(cotangent, output.dtype), into=table)

    return output, dense


def _recurrent(
    forward: Callable[..., Any], vjp: Callable[..., Any], *others: str
) -> Callable[..., Any]:
    def vjp_of_pair(**arguments: Any) -> tuple[Any, Callable[[Any], Any]]:
        result, backward = vjp(**arguments)
        return result, lambda cotangent: backward(*cotangent)

    return _differentiable(forward, vjp_of_pair, *_WEIGHTS, *others)


_embedding_bag = _differentiable(bag.embedding_bag, _bag_vjp, "weight", "per_sample_weights")
_rnn = _recurrent(rnn.rnn_forward, rnn.rnn_vjp, "h_0", "leak")
_gru = _recurrent(gru.gru_forward, gru.gru_vjp, "h_0")
_lstm = _recurrent(lstm.lstm_forward, lstm.lstm_vjp, "h_0", "c_0", "weight_ch")


def gather(
    weight: Any,
    indices: npt.ArrayLike,
    *,
    axis: int | None = 0,
    mode: Literal["raise", "wrap", "clip", "strict"] = "raise",
) -> Any:
    """Run `embedrnn.gather`, differentiable in `weight`.

    Parameters
    ----------
    weight, indices, axis, mode
        As in `embedrnn.gather`.

    Returns
    -------
    ndarray
        What `embedrnn.gather` returns.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `embedrnn.gather` does; TypeError also if `weight` is differentiated and
        no array of floating-point numbers.

    Notes
    -----
    The gradient of the table is an array as large as it is, with the bits of `numpy.add.at`.

    Examples
    --------
    >>> import autograd
    >>> import autograd.numpy as np
    >>> from embedrnn.adapters.autograd import gather
    >>> def loss(table):
    ...     return np.sum(gather(table, [2, 0, 2]) ** 2)
    >>> autograd.grad(loss)(np.array([[1.0], [2.0], [3.0]])).ravel()
    array([ 2.,  0., 12.])
    """
    if not isbox(weight):
        return rows.gather(weight, indices, axis=axis, mode=mode)
    _check_traced(weight=weight)
    if axis is None:
        return _gather(weight.ravel(), indices, 0, mode)
    return _gather(weight, indices, axis, mode)


def embedding_bag(
    weight: Any,
    indices: npt.ArrayLike,
    offsets: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    mode: Literal["sum", "mean", "sqrtn", "max"] = "sum",
    per_sample_weights: Any = None,
    padding_idx: int | None = None,
    include_last_offset: bool = False,
    strict: bool = False,
) -> Any:
    """Run `embedrnn.embedding_bag`, differentiable in `weight` and `per_sample_weights`.

    Parameters
    ----------
    weight : array_like, shape (V, D) or (V,), or QuantizedRows
        The table, as of `embedrnn.embedding_bag`.
    indices, offsets, lengths, mode, per_sample_weights, padding_idx, include_last_offset, strict
        As in `embedrnn.embedding_bag`.

    Returns
    -------
    ndarray, shape (B, D) or (B,)
        What `embedrnn.embedding_bag` returns.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `embedrnn.embedding_bag` does; TypeError also if what is differentiated is no array.

    Notes
    -----
    The gradient of the table is an array as large as it is.

    Examples
    --------
    >>> import autograd
    >>> import autograd.numpy as np
    >>> from embedrnn.adapters.autograd import embedding_bag
    >>> def loss(table):
    ...     return np.sum(embedding_bag(table, [[0, 2], [2, 2]], mode="mean"))
    >>> autograd.grad(loss)(np.ones((3, 2)))
    array([[0.5, 0.5],
           [0. , 0. ],
           [1.5, 1.5]])
    """
    return _embedding_bag(
        weight, per_sample_weights, indices=indices, offsets=offsets, lengths=lengths, mode=mode,
        padding_idx=padding_idx, include_last_offset=include_last_offset, strict=strict,
    )  # fmt: skip


@documented(AUTOGRAD)
def rnn_forward(
    x: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = None,
    bias_hh: Any = None,
    *,
    lengths: npt.ArrayLike | None = None,
    offsets: npt.ArrayLike | None = None,
    resets: npt.ArrayLike | None = None,
    h_0: Any = None,
    nonlinearity: Literal["tanh", "relu"] = "tanh",
    leak: Any = None,
    reverse: bool = False,
) -> Any:
    """Run `embedrnn.rnn_forward`, differentiable in all arrays of floats.

    Parameters
    ----------
    x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, offsets, resets, h_0
        As in `embedrnn.rnn_forward`.
    nonlinearity, leak, reverse
        As in `embedrnn.rnn_forward`.

    Returns
    -------
    (output, h_n) : tuple
        {boxed}

    Raises
    ------
    {TypeError and ValueError}

    Examples
    --------
    >>> import autograd
    >>> import autograd.numpy as np
    >>> from embedrnn.adapters.autograd import rnn_forward
    >>> x = np.ones((1, 2, 1))
    >>> def loss(weight_ih, weight_hh):
    ...     output, h_n = rnn_forward(x, weight_ih, weight_hh, nonlinearity="relu")
    ...     return np.sum(output) + np.sum(h_n)
    >>> of_ih, of_hh = autograd.grad(loss, (0, 1))(np.ones((1, 1)), np.ones((1, 1)))
    >>> np.round(of_ih.ravel(), 4), np.round(of_hh.ravel(), 4)
    (array([5.]), array([2.]))
    """
    return _rnn(
        x, weight_ih, weight_hh, bias_ih, bias_hh, h_0, leak, lengths=lengths, offsets=offsets,
        resets=resets, nonlinearity=nonlinearity, reverse=reverse,
    )  # fmt: skip


@documented(AUTOGRAD)
def gru_forward(
    x: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = None,
    bias_hh: Any = None,
    *,
    lengths: npt.ArrayLike | None = None,
    offsets: npt.ArrayLike | None = None,
    resets: npt.ArrayLike | None = None,
    h_0: Any = None,
    reset_after: bool = True,
    reverse: bool = False,
) -> Any:
    """Run `embedrnn.gru_forward`, differentiable in `x`, weights, biases and initial state.

    Parameters
    ----------
    x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, offsets, resets, h_0, reset_after, reverse
        As in `embedrnn.gru_forward`.

    Returns
    -------
    (output, h_n) : tuple
        {boxed}

    Raises
    ------
    {TypeError and ValueError}

    Examples
    --------
    >>> import autograd
    >>> import autograd.numpy as np
    >>> from embedrnn.adapters.autograd import gru_forward
    >>> x = np.ones((1, 2, 1))
    >>> def loss(weight_ih, weight_hh):
    ...     output, h_n = gru_forward(x, weight_ih, weight_hh)
    ...     return np.sum(output) + np.sum(h_n)
    >>> of_ih, of_hh = autograd.grad(loss, (0, 1))(np.ones((3, 1)), np.ones((3, 1)))
    >>> np.round(of_ih.ravel(), 4), np.round(of_hh.ravel(), 4)
    (array([ 0.0055, -0.5841,  0.4267]), array([ 0.0011, -0.0447,  0.0238]))
    """
    return _gru(
        x, weight_ih, weight_hh, bias_ih, bias_hh, h_0, lengths=lengths, offsets=offsets,
        resets=resets, reset_after=reset_after, reverse=reverse,
    )  # fmt: skip


@documented(AUTOGRAD)
def lstm_forward(
    x: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = None,
    bias_hh: Any = None,
    *,
    lengths: npt.ArrayLike | None = None,
    offsets: npt.ArrayLike | None = None,
    resets: npt.ArrayLike | None = None,
    h_0: Any = None,
    c_0: Any = None,
    weight_ch: Any = None,
    reverse: bool = False,
) -> Any:
    """Run `embedrnn.lstm_forward`, differentiable in all arrays of floats.

    Parameters
    ----------
    x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, offsets, resets, h_0, c_0
        As in `embedrnn.lstm_forward`.
    weight_ch, reverse
        As in `embedrnn.lstm_forward`.

    Returns
    -------
    (output, (h_n, c_n)) : tuple
        {boxed}

    Raises
    ------
    {TypeError and ValueError}

    Examples
    --------
    >>> import autograd
    >>> import autograd.numpy as np
    >>> from embedrnn.adapters.autograd import lstm_forward
    >>> x = np.ones((1, 2, 1))
    >>> def loss(weight_ih, weight_hh):
    ...     output, (h_n, c_n) = lstm_forward(x, weight_ih, weight_hh)
    ...     return np.sum(output) + np.sum(c_n)
    >>> of_ih, of_hh = autograd.grad(loss, (0, 1))(np.ones((4, 1)), np.ones((4, 1)))
    >>> np.round(of_ih.ravel(), 4), np.round(of_hh.ravel(), 4)
    (array([0.466 , 0.114 , 0.817 , 0.2965]), array([0.0665, 0.0421, 0.0851, 0.0487]))
    """
    return _lstm(
        x, weight_ih, weight_hh, bias_ih, bias_hh, h_0, c_0, weight_ch, lengths=lengths,
        offsets=offsets, resets=resets, reverse=reverse,
    )  # fmt: skip
