"""Recurrent layers as modules of PyTorch: padded sequences and their lengths in, and gradients."""

from typing import Any, Literal

import torch

from embedrnn import _check
from embedrnn._check import adapters as _rules
from embedrnn._docs import TORCH_MODULE, documented
from embedrnn.adapters.torch import ops
from embedrnn.adapters.torch.parameters import weights_of
from embedrnn.adapters.torch.recorded import run
from embedrnn.adapters.torch.recurrent import PADDED, Kind, Live, RecurrentForm, options_of
from embedrnn.adapters.torch.tensors import is_observed, is_transformed


class _Recurrent(torch.nn.Module):
    """A stack of recurrent layers whose parameters are PyTorch's."""

    def __init__(self, mode: str, device: Any, dtype: Any, **sizes: Any) -> None:
        super().__init__()
        checked: dict[str, Any] = {
            "input_size": _check.size("input_size", sizes["input_size"]),
            "hidden_size": _check.size("hidden_size", sizes["hidden_size"]),
            "num_layers": _check.size("num_layers", sizes["num_layers"]),
            "bias": _check.flag("bias", sizes["bias"]),
            "bidirectional": _check.flag("bidirectional", sizes["bidirectional"]),
        }
        self._kind = Kind(mode, **checked)
        for name, value in checked.items():
            setattr(self, name, value)
        shapes = options_of(self._kind, torch.float32).shapes
        self._names, self._live = tuple(shapes), Live()
        for name, shape in shapes.items():
            weight = torch.empty(shape, device=device, dtype=dtype)
            self.register_parameter(name, torch.nn.Parameter(weight))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, uniform in [-H^-1/2, H^-1/2], as PyTorch's layers do."""
        bound = self._kind.hidden_size**-0.5
        for weight in self.parameters():
            torch.nn.init.uniform_(weight, -bound, bound)

    def forward(
        self, x: torch.Tensor, lengths: Any = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Run over padded sequences.

        Parameters
        ----------
        x : torch.Tensor, shape (B, T, input_size)
            What stands at padded steps is never read, and takes no time.
        lengths : torch.Tensor of integers, shape (B,), optional
            The valid steps of each row, in [0, T] and any order; T if absent.
        state : torch.Tensor, shape (num_layers * directions, B, H), optional
            The state before the first step; of an LSTM the tuple (h_0, c_0). Zeros if absent.

        Returns
        -------
        output : torch.Tensor, shape (B, T, directions * H)
            0 at padded steps.
        state : torch.Tensor, or a tuple of two, shaped as `state`
            After each row's last step.

        Raises
        ------
        TypeError, ValueError
            As a call of the layer of `embedrnn` of the same name, or if a tensor is not on a CPU.
        NotImplementedError
            Where PyTorch differentiates forward, as in `torch.func.jvp`.
        """
        _rules.three_axes("x", x, torch.Tensor)
        states = _rules.parts_of("state", state, self._kind.states, torch.Tensor)
        if lengths is not None and not isinstance(lengths, torch.Tensor):
            lengths = torch.as_tensor(lengths)
        if torch.compiler.is_compiling() or is_observed() or is_transformed():
            weights = [getattr(self, name) for name in self._names]
            found = ops.recurrence(self._kind, x, states, weights, lengths, None, None)
        else:
            found = self._run(x, states, lengths)
        output, *last = found
        return output, tuple(last) if len(last) > 1 else last[0]

    def _run(self, x: torch.Tensor, states: tuple[torch.Tensor, ...], lengths: Any) -> Any:
        options = options_of(self._kind, x.dtype)
        where = () if lengths is None else (lengths,)
        form = RecurrentForm(options, len(states), PADDED, self._live)
        tensors = (x, *states, *weights_of(self, options), *where)
        return run(form.over(tensors), tensors)

    def extra_repr(self) -> str:
        """Return the sizes, for the representation."""
        kind = self._kind
        said = [f"{kind.input_size}, {kind.hidden_size}"]
        if kind.num_layers != 1:
            said.append(f"num_layers={kind.num_layers}")
        if not kind.bias:
            said.append("bias=False")
        if kind.bidirectional:
            said.append("bidirectional=True")
        return ", ".join(said)


@documented(TORCH_MODULE)
class RNN(_Recurrent):
    """A stack of Elman layers as a module of PyTorch, called with lengths.

    Its parameters have the names, shapes and order of those of `torch.nn.RNN`: a ``state_dict``
    goes from one to the other.

    Parameters
    ----------
    {sizes}
    nonlinearity : {"tanh", "relu"}
    {options}

    Raises
    ------
    {errors}

    See Also
    --------
    embedrnn.RNN : The layer that runs.
    accelerate : Lets a `torch.nn.RNN` run here.

    Examples
    --------
    >>> import torch
    >>> from embedrnn.adapters.torch import RNN
    >>> layer = RNN(5, 7, bidirectional=True)
    >>> output, h_n = layer(torch.ones(3, 4, 5), lengths=torch.tensor([4, 2, 0]))
    >>> output.shape, h_n.shape
    (torch.Size([3, 4, 14]), torch.Size([2, 3, 7]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        _check.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        _rules.only_value("batch_first", batch_first, True)
        _rules.only_value("dropout", dropout, 0)
        super().__init__(
            f"RNN_{nonlinearity.upper()}", device, dtype, input_size=input_size,
            hidden_size=hidden_size, num_layers=num_layers, bias=bias, bidirectional=bidirectional,
        )  # fmt: skip


@documented(TORCH_MODULE)
class GRU(_Recurrent):
    """A stack of GRU layers as a module of PyTorch, called with lengths.

    Its parameters have the names, shapes and order of those of `torch.nn.GRU`: a ``state_dict``
    goes from one to the other.

    Parameters
    ----------
    {sizes, options}

    Raises
    ------
    {errors}

    See Also
    --------
    embedrnn.GRU : The layer that runs.
    accelerate : Lets a `torch.nn.GRU` run here.

    Examples
    --------
    >>> import torch
    >>> from embedrnn.adapters.torch import GRU
    >>> layer = GRU(5, 7, bidirectional=True)
    >>> output, h_n = layer(torch.ones(3, 4, 5), lengths=torch.tensor([4, 2, 0]))
    >>> output.shape, h_n.shape
    (torch.Size([3, 4, 14]), torch.Size([2, 3, 7]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        _rules.only_value("batch_first", batch_first, True)
        _rules.only_value("dropout", dropout, 0)
        super().__init__(
            "GRU", device, dtype, input_size=input_size, hidden_size=hidden_size,
            num_layers=num_layers, bias=bias, bidirectional=bidirectional,
        )  # fmt: skip


@documented(TORCH_MODULE)
class LSTM(_Recurrent):
    """A stack of LSTM layers as a module of PyTorch, called with lengths.

    Its parameters have the names, shapes and order of those of `torch.nn.LSTM`: a ``state_dict``
    goes from one to the other.

    Parameters
    ----------
    {sizes, options}

    Raises
    ------
    {errors}

    See Also
    --------
    embedrnn.LSTM : The layer that runs.
    accelerate : Lets a `torch.nn.LSTM` run here.

    Examples
    --------
    >>> import torch
    >>> from embedrnn.adapters.torch import LSTM
    >>> layer = LSTM(5, 7, bidirectional=True)
    >>> output, (h_n, c_n) = layer(torch.ones(3, 4, 5), lengths=torch.tensor([4, 2, 0]))
    >>> output.shape, h_n.shape
    (torch.Size([3, 4, 14]), torch.Size([2, 3, 7]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        _rules.only_value("batch_first", batch_first, True)
        _rules.only_value("dropout", dropout, 0)
        super().__init__(
            "LSTM", device, dtype, input_size=input_size, hidden_size=hidden_size,
            num_layers=num_layers, bias=bias, bidirectional=bidirectional,
        )  # fmt: skip
