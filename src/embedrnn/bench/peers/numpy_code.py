"""The NumPy code that people have."""

from collections.abc import Callable
from functools import partial

import numpy as np

from embedrnn.bench.peers import Contestant, contestant_of
from embedrnn.bench.workloads import Array, Bags, Rows, Sequences, in_turn

contestant = contestant_of("numpy")


@contestant("gather", "np.take")
def take(rows: Rows, _threads: int) -> Contestant:
    return Contestant(in_turn(partial(np.take, rows.table, axis=0), rows.batches))


@contestant("gather", "table[ids]")
def fancy_index(rows: Rows, _threads: int) -> Contestant:
    return Contestant(in_turn(rows.table.__getitem__, rows.batches))


@contestant("gather_out", "np.take")
def take_out(rows: Rows, _threads: int) -> Contestant:
    out = np.empty_like(rows.updates)
    return Contestant(in_turn(partial(np.take, rows.table, axis=0, out=out), rows.batches))


@contestant("gather_out", "np.take clip")
def take_out_clip(rows: Rows, _threads: int) -> Contestant:
    """Give up the index check: with mode="raise", NumPy fills a buffer first and then copies it."""
    out = np.empty_like(rows.updates)
    take = partial(np.take, rows.table, axis=0, out=out, mode="clip")
    return Contestant(in_turn(take, rows.batches))


@contestant("scatter_add", "np.add.at")
def add_at(rows: Rows, _threads: int) -> Contestant:
    target = np.zeros_like(rows.table)
    run = in_turn(lambda ids: np.add.at(target, ids, rows.updates), rows.batches)
    return Contestant(run, lambda _: target)


@contestant("scatter_column", "np.add.at")
def add_at_column(rows: Rows, _threads: int) -> Contestant:
    column = np.zeros_like(rows.table)[:, 0]
    run = in_turn(lambda ids: np.add.at(column, ids, rows.updates), rows.batches)
    return Contestant(run, lambda _: column)


@contestant("coalesce", "sort, np.add.reduceat")
def reduceat_sorted(rows: Rows, _threads: int) -> Contestant:
    def run(ids: Array) -> Array:
        order = np.argsort(ids.ravel(), kind="stable")
        named = ids.ravel()[order]
        starts = np.flatnonzero(np.concatenate(([True], named[1:] != named[:-1])))
        sums: Array = np.add.reduceat(rows.flat_updates[order], starts, axis=0)
        return sums

    return Contestant(in_turn(run, rows.batches))


@contestant("bag_sum", "np.add.reduceat")
@contestant("bag_float16", "np.add.reduceat")
def reduceat_bags(bags: Bags, _threads: int) -> Contestant:
    """Sum what was gathered; empty bags, which reduceat does not know, are put to zero."""
    ends = np.append(bags.offsets[1:], bags.batches[0].size)
    empty = bags.offsets == ends

    def run(ids: Array) -> Array:
        starts = np.minimum(bags.offsets, max(ids.size - 1, 0))
        sums: Array = np.add.reduceat(np.take(bags.table, ids, axis=0), starts, axis=0)
        sums[empty] = 0
        return sums

    return Contestant(in_turn(run, bags.batches))


def sigmoid(x: Array) -> Array:
    """Return the logistic function, in place."""
    np.negative(x, out=x)
    np.exp(x, out=x)
    x += 1
    return np.reciprocal(x, out=x)


def rnn_step(from_x: Array, from_h: Array, _h: Array, _c: Array) -> Array:
    from_h += from_x
    return np.tanh(from_h, out=from_h)


def gru_step(from_x: Array, from_h: Array, h: Array, _c: Array) -> Array:
    units = h.shape[1]
    gates = sigmoid(from_h[:, : 2 * units] + from_x[:, : 2 * units])
    new = from_h[:, 2 * units :]
    new *= gates[:, :units]
    new += from_x[:, 2 * units :]
    np.tanh(new, out=new)
    return (h - new) * gates[:, units:] + new


def lstm_step(from_x: Array, from_h: Array, _h: Array, c: Array) -> Array:
    from_h += from_x
    i, f, g, o = np.split(from_h, 4, axis=1)
    c *= sigmoid(f)
    c += sigmoid(i) * np.tanh(g, out=g)
    return sigmoid(o) * np.tanh(c)


def masked_loop(step: Callable[..., Array], batch: Sequences, _threads: int) -> Contestant:
    valid = batch.valid
    return Contestant(partial(loop, step, batch), lambda output: output[valid])


for _name, _step in (("rnn", rnn_step), ("gru", gru_step), ("lstm", lstm_step)):
    for _operation in (f"{_name}_forward", f"{_name}_step"):
        contestant(_operation, "NumPy loop")(partial(masked_loop, _step))


def loop(step: Callable[..., Array], batch: Sequences) -> Array:
    """Run the masked loop over time, with one input product for all steps.

    The cell state is not masked: behind its length, no output of a row is looked at.
    """
    n_rows, steps, width = batch.x.shape
    projected = batch.x.reshape(-1, width) @ batch.weight_ih.T
    projected += batch.bias_ih
    projected = projected.reshape(n_rows, steps, -1)
    output = np.zeros((n_rows, steps, batch.hidden), batch.x.dtype)
    alive = np.arange(steps)[:, None, None] < batch.lengths[:, None]  # (T, B, 1)
    h, c = np.zeros((2, n_rows, batch.hidden), batch.x.dtype)
    from_h = np.empty_like(projected[:, 0])
    for t in range(steps):
        np.matmul(h, batch.weight_hh.T, out=from_h)
        from_h += batch.bias_hh
        new = step(projected[:, t], from_h, h, c)
        np.copyto(h, new, where=alive[t])
        np.multiply(new, alive[t], out=output[:, t])
    return output
