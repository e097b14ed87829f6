"""embedrnn itself."""

from functools import partial
from typing import Any, Literal

import numpy as np

import embedrnn as er
from embedrnn import _backend, _check
from peers import OURS, Contestant, contestant
from workloads import Array, Bags, Rows, Sequences, in_turn


@contestant("gather", OURS)
def gather(rows: Rows, _threads: int) -> Contestant:
    return Contestant(in_turn(partial(er.gather, rows.table), rows.batches))


@contestant("gather_out", OURS)
def gather_out(rows: Rows, _threads: int) -> Contestant:
    out = np.empty_like(rows.updates)
    return Contestant(in_turn(partial(er.gather, rows.table, out=out), rows.batches))


@contestant("scatter_add", OURS)
def scatter_add(rows: Rows, _threads: int) -> Contestant:
    target = np.zeros_like(rows.table)
    return Contestant(in_turn(lambda ids: er.scatter_add(target, ids, rows.updates), rows.batches))


@contestant("coalesce", OURS)
def coalesce(rows: Rows, _threads: int) -> Contestant:
    size = len(rows.table)
    run = in_turn(lambda ids: er.coalesce(ids, rows.updates, num_embeddings=size), rows.batches)
    return Contestant(run, lambda grad: grad.values)


@contestant("bag_sum", OURS)
@contestant("bag_int8", "float32")
def bag_sum(bags: Bags, _threads: int) -> Contestant:
    return _bag(bags.table, bags, "sum")


@contestant("bag_mean", OURS)
def bag_mean(bags: Bags, _threads: int) -> Contestant:
    return _bag(bags.table, bags, "mean")


@contestant("bag_int8", OURS)
def bag_int8(bags: Bags, _threads: int) -> Contestant:
    return _bag(er.quantize_rows(bags.table), bags, "sum")


def _bag(table: Any, bags: Bags, mode: Literal["sum", "mean"]) -> Contestant:
    run = partial(er.embedding_bag, table, offsets=bags.offsets, mode=mode)
    return Contestant(in_turn(run, bags.batches))


@contestant("gather_int8", OURS)
def gather_int8(rows: Rows, _threads: int) -> Contestant:
    out = np.empty_like(rows.updates)
    table = er.quantize_rows(rows.table)
    return Contestant(in_turn(partial(er.gather, table, out=out), rows.batches))


contestant("gather_int8", "float32")(gather_out)


# Which of the two backends' cells, and its option.
_CELLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "rnn": ("pack_rnn", ("tanh",)),
    "gru": ("pack_gru", (True,)),
    "lstm": ("pack_lstm", ()),
}


def recurrent(cell: str, batch: Sequences, _threads: int) -> Contestant:
    return _recurrent(cell, batch, batch.lengths)


def all_valid(cell: str, batch: Sequences, _threads: int) -> Contestant:
    """Run the same batch as if nothing were padding: what skipping the padding is measured by."""
    return _recurrent(cell, batch, None)


def step(cell: str, batch: Sequences, _threads: int) -> Contestant:
    """Take one step as a layer does, into fresh arrays."""
    packed, x = _packed(cell, batch), batch.x[:, 0]
    h, c = np.zeros((2, len(x), batch.hidden), x.dtype)
    sizes: Any = {"width": x.shape[1], "hidden": batch.hidden, "dtype": x.dtype}

    def run() -> Array:
        call = _check.step(x, h, c, None, None, **sizes, has_cell_state=cell == "lstm")
        packed.step(*call)
        return call.h_out

    return Contestant(run)


for _cell in _CELLS:
    contestant(f"{_cell}_forward", OURS)(partial(recurrent, _cell))
    contestant(f"{_cell}_step", OURS)(partial(step, _cell))
    contestant(f"{_cell}_padding", OURS)(partial(recurrent, _cell))
    contestant(f"{_cell}_padding", "all steps valid")(partial(all_valid, _cell))


def _recurrent(cell: str, batch: Sequences, lengths: Array | None) -> Contestant:
    """Walk as a layer does: weights packed once, like those of the others, and fresh outputs."""
    packed, shape = _packed(cell, batch), (*batch.x.shape[:2], batch.hidden)
    dtype = batch.x.dtype

    def run() -> Array:
        if lengths is not None and (lengths.min() < 0 or lengths.max() > shape[1]):
            raise ValueError("lengths must be between 0 and T")
        output, h_n = np.empty(shape, dtype), np.empty(shape[::2], dtype)
        c_n = np.empty_like(h_n) if cell == "lstm" else None
        packed.forward(batch.x, lengths, None, None, False, output, h_n, c_n)
        return output

    valid = batch.valid
    return Contestant(run, lambda output: output[valid])


def _packed(cell: str, batch: Sequences) -> Any:
    pack, option = _CELLS[cell]
    weights = batch.weight_ih, batch.weight_hh, batch.bias_ih, batch.bias_hh
    return getattr(_backend.current(), pack)(*weights, *option)
