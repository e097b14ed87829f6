"""The NumPy code that people have."""

from functools import partial

import numpy as np

from peers import Contestant, contestant
from workloads import Array, Bags, Rows, Sequences, in_turn


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


@contestant("rnn_forward", "NumPy loop")
def masked_loop(batch: Sequences, _threads: int) -> Contestant:
    valid = batch.valid
    return Contestant(partial(rnn_loop, batch), lambda output: output[valid])


def rnn_loop(batch: Sequences) -> Array:
    """Run the masked loop over time, with one input product for all steps and no temporaries."""
    n_rows, steps, width = batch.x.shape
    bias = batch.bias_ih + batch.bias_hh
    projected = batch.x.reshape(-1, width) @ batch.weight_ih.T
    projected += bias
    projected = projected.reshape(n_rows, steps, -1)
    output = np.zeros_like(projected)
    alive = np.arange(steps)[:, None, None] < batch.lengths[:, None]  # (T, B, 1)
    h = np.zeros_like(projected[:, 0])
    new = np.empty_like(h)
    for t in range(steps):
        np.matmul(h, batch.weight_hh.T, out=new)
        new += projected[:, t]
        np.tanh(new, out=new)
        np.copyto(h, new, where=alive[t])
        np.multiply(new, alive[t], out=output[:, t])
    return output
