"""Modules of PyTorch, in PyTorch and in embedrnn: the same code runs both."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import embedrnn as er
from embedrnn.bench.peers import OURS, Contestant, contestant_of
from embedrnn.bench.workloads import SEED, Array, joined_gradients
from stacks import Stack

contestant = contestant_of("torch")

torch.set_grad_enabled(False)  # which training enables


def _module(work: Stack, ours: bool) -> Any:
    torch.manual_seed(SEED)
    cls = getattr(torch.nn, work.cell.upper())
    module = cls(
        work.x.shape[2], work.hidden, work.num_layers, bidirectional=work.directions == 2
    ).requires_grad_()
    if ours:
        from embedrnn.adapters.torch import accelerate  # which another build may not have

        accelerate(module)
    return module


def _time_major(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.swapaxes(0, 1)))


def _route(work: Stack, module: Any, packs: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the output of x, (T, B, I)."""
    lengths, steps = torch.from_numpy(work.lengths), work.x.shape[1]

    def run(x: torch.Tensor) -> torch.Tensor:
        if not packs:
            padded: torch.Tensor = module(x)[0]
            return padded
        output, _ = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(output, total_length=steps)[0]

    return run


def forward(ours: bool, packs: bool, work: Stack, _threads: int) -> Contestant:
    """Run without gradients."""
    route, x, valid = _route(work, _module(work, ours), packs), _time_major(work.x), work.valid

    return Contestant(partial(route, x), lambda output: output.numpy().swapaxes(0, 1)[valid])


def training(ours: bool, packs: bool, work: Stack, _threads: int) -> Contestant:
    """Run forward and backward, to x, the weights and the biases."""
    module = _module(work, ours)
    route, x = _route(work, module, packs), _time_major(work.x).requires_grad_()
    wanted, grad_output = [x, *module.parameters()], _time_major(work.grad_output)

    def run() -> Any:
        with torch.enable_grad():
            return torch.autograd.grad(route(x), wanted, grad_output)

    def answer(grads: tuple[torch.Tensor, ...]) -> Array:
        of_x, *others = (grad.numpy() for grad in grads)
        return joined_gradients([of_x.swapaxes(0, 1)[work.valid], *others])

    return Contestant(run, answer)


def on_arrays(work: Stack, _threads: int) -> Contestant:
    """Run our own layer on arrays: what a call costs without PyTorch."""
    layer = getattr(er, work.cell.upper())(work.x.shape[2], work.hidden)
    module = _module(work, ours=False)
    layer.load_state_dict({k: v.detach().numpy() for k, v in module.named_parameters()})
    return Contestant(lambda: layer(work.x)[0], lambda output: output.reshape(-1, work.hidden))


_PACKED, _PADDED = ("PyTorch packed", True), ("PyTorch padded", False)
_ROUTES = {"full": [_PADDED], "packed": [_PACKED], "varying": [_PACKED, _PADDED]}

for _contest, _routes in _ROUTES.items():
    for _name, _factory in (("forward", forward), ("training", training)):
        _entered = f"accelerated_{_name}_{_contest}"
        contestant(_entered, OURS)(partial(_factory, True, _contest != "full"))
        for _peer, _packs in _routes:
            contestant(_entered, _peer)(partial(_factory, False, _packs))

contestant("accelerated_call_full", OURS)(partial(forward, True, False))
contestant_of(OURS)("accelerated_call_full", "our layer on arrays")(on_arrays)
contestant("accelerated_call_full", "PyTorch padded")(partial(forward, False, False))
