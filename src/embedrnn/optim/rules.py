"""The optimisers: what each is told, and what of it goes into a step."""

import math
from typing import Any, ClassVar

from embedrnn import _check
from embedrnn._check import optim as _check_optim
from embedrnn._docs import OPTIMIZER, documented
from embedrnn.optim.kept import Rule
from embedrnn.optim.optimizer import Optimizer


@documented(OPTIMIZER)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for, as `torch.optim.SGD` [1]_.

    Parameters
    ----------
    {parameters, lr}
    momentum : float
        How much of the last step goes into this one, from 0 to less than 1.
    nesterov : bool
        Whether the gradient is looked ahead of, as Nesterov does; needs momentum.
    {weight_decay, catch_up, rng}

    Raises
    ------
    {TypeError, ValueError}

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> weight = np.ones(3)
    >>> er.optim.SGD({"weight": weight}, lr=0.5).step({"weight": [1.0, 2.0, 0.0]})
    >>> weight
    array([0.5, 0. , 1. ])
    """

    def __init__(
        self,
        parameters: Any,
        lr: _check_optim.Rate = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        catch_up: bool = False,
        rng: Any = None,
    ) -> None:
        self._momentum = _check.below_one("momentum", momentum)
        self._nesterov = _check.flag("nesterov", nesterov)
        if self._nesterov and not self._momentum:
            raise ValueError("nesterov needs a momentum above 0, got 0")
        self._decay = _check.not_negative("weight_decay", weight_decay)
        rests = not self._decay
        rule = (
            Rule("momentum", ("momentum_buffer",), 4, idle=False, rests=rests)
            if self._momentum
            else Rule("sgd", (), 2, idle=rests, rests=rests)
        )
        super().__init__(rule, parameters, lr, catch_up, rng)

    def _coefficients(self, lr: float, step: int) -> tuple[float, ...]:
        every = lr, self._decay, self._momentum, float(self._nesterov)
        return every if self._momentum else every[:2]


class _SumOfSquares(Optimizer):
    """Adagrad, whether each number of a parameter has a sum or each row."""

    # What the backends call it, and which of the two it is.
    _name: ClassVar[str]
    _row_wise: ClassVar[bool]

    def __init__(
        self,
        parameters: Any,
        lr: _check_optim.Rate,
        eps: float,
        weight_decay: float,
        catch_up: bool,
        rng: Any,
    ) -> None:
        self._eps = _check.positive("eps", eps)
        self._decay = _check.not_negative("weight_decay", weight_decay)
        rests = not self._decay
        rule = Rule(self._name, ("sum",), 3, idle=rests, rests=rests, row_wise=self._row_wise)
        super().__init__(rule, parameters, lr, catch_up, rng)

    def _coefficients(self, lr: float, step: int) -> tuple[float, ...]:
        return lr, self._decay, self._eps


@documented(OPTIMIZER)
class Adagrad(_SumOfSquares):
    """Adagrad: steps over the root of the sum of squares so far, as `torch.optim.Adagrad` [1]_.

    Parameters
    ----------
    {parameters, lr, eps, weight_decay, catch_up, rng}

    Raises
    ------
    {TypeError, ValueError}

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> table = np.ones((4, 2))
    >>> optimizer = er.optim.Adagrad({"table": table}, lr=0.5)
    >>> optimizer.step({"table": er.coalesce([2], [[3.0, -4.0]])})
    >>> table[2]
    array([0.5, 1.5])
    """

    _name, _row_wise = "adagrad", False

    def __init__(
        self,
        parameters: Any,
        lr: _check_optim.Rate = 1e-2,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        *,
        catch_up: bool = False,
        rng: Any = None,
    ) -> None:
        super().__init__(parameters, lr, eps, weight_decay, catch_up, rng)


@documented(OPTIMIZER)
class RowWiseAdagrad(_SumOfSquares):
    """Adagrad with one sum for each row, of mean squares, as FBGEMM's exact row-wise Adagrad [1]_.

    A table has one number a row beside it, where `Adagrad` has another table.

    Parameters
    ----------
    {parameters, lr, eps, weight_decay, catch_up, rng}

    Raises
    ------
    {TypeError, ValueError}

    Notes
    -----
    With g the gradient of a row of D columns, its L2 penalty included: ``sum += (g * g).mean()``
    and ``row -= lr / (sqrt(sum) + eps) * g``. An array of one axis has rows of one column.

    References
    ----------
    .. [1] https://github.com/pytorch/FBGEMM, ``rowwise_adagrad`` in
       ``fbgemm_gpu/codegen/genscript/optimizers.py``.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> table = np.ones((4, 2))
    >>> optimizer = er.optim.RowWiseAdagrad({"table": table}, lr=0.5)
    >>> optimizer.step({"table": er.coalesce([2], [[1.0, -7.0]])})
    >>> table[2]
    array([0.9, 1.7])
    """

    _name, _row_wise = "row_wise_adagrad", True

    def __init__(
        self,
        parameters: Any,
        lr: _check_optim.Rate = 1e-2,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        catch_up: bool = False,
        rng: Any = None,
    ) -> None:
        super().__init__(parameters, lr, eps, weight_decay, catch_up, rng)


@documented(OPTIMIZER)
class Adam(Optimizer):
    """Adam, as `torch.optim.Adam` and, for gradients of rows, `torch.optim.SparseAdam` [1]_.

    Parameters
    ----------
    {parameters, lr, betas, eps, weight_decay, catch_up, rng}

    Raises
    ------
    {TypeError, ValueError}

    Notes
    -----
    The bias is corrected by the number of steps of the parameter, whichever rows they had, as in
    `torch.optim.SparseAdam`. That one adds `eps` before the correction, this one behind it, as
    `torch.optim.Adam` does: whether a gradient is dense or one of rows shows in no number.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> layer = er.Embedding(10, 2, rng=0)
    >>> optimizer = er.optim.Adam(layer, lr=lambda step: 0.1 / (1 + step))
    >>> before = layer([3, 7, 3])
    >>> output, backward = layer.vjp([3, 7, 3])
    >>> optimizer.step({"weight": backward(np.ones((3, 2), np.float32))})
    >>> np.round(layer([3, 7]) - before[:2], 4)
    array([[-0.1, -0.1],
           [-0.1, -0.1]], dtype=float32)
    """

    # Whether the decay is AdamW's.
    _decoupled = False

    def __init__(
        self,
        parameters: Any,
        lr: _check_optim.Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        catch_up: bool = False,
        rng: Any = None,
    ) -> None:
        self._betas = _check_optim.betas(betas)
        self._eps = _check.positive("eps", eps)
        self._decay = _check.not_negative("weight_decay", weight_decay)
        rule = Rule("adam", ("exp_avg", "exp_avg_sq"), 7, idle=False, rests=not self._decay)
        super().__init__(rule, parameters, lr, catch_up, rng)

    def _coefficients(self, lr: float, step: int) -> tuple[float, ...]:
        first, second = self._betas
        root = math.sqrt(1 - second**step)
        decay, keep = (0.0, 1 - lr * self._decay) if self._decoupled else (self._decay, 1.0)
        rate = lr * root / (1 - first**step)
        return rate, decay, self._eps * root, keep, 1 - first, 1 - second, second


@documented(OPTIMIZER)
class AdamW(Adam):
    """Adam whose decay takes a share of the parameter, as `torch.optim.AdamW` [1]_.

    Parameters
    ----------
    {parameters, lr, betas, eps}
    weight_decay : float
        The parameter loses so much of itself in a step, times `lr`.
    {catch_up, rng}

    Raises
    ------
    {TypeError, ValueError}

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> weight = np.ones(2)
    >>> er.optim.AdamW({"weight": weight}, lr=0.5, weight_decay=0.1).step({"weight": [0.0, 1e3]})
    >>> weight
    array([0.95, 0.45])
    """

    _decoupled = True

    def __init__(
        self,
        parameters: Any,
        lr: _check_optim.Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        catch_up: bool = False,
        rng: Any = None,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, catch_up=catch_up, rng=rng)
