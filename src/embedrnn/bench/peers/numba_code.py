"""The loops that people write for Numba, on one thread: two would race for a row."""

import numba
import numpy as np

from embedrnn.bench.peers import Contestant, contestant_of
from embedrnn.bench.workloads import Array, Bags, Rows, in_turn

contestant = contestant_of("numba")


@numba.njit  # type: ignore[untyped-decorator]
def gather_loop(table: Array, ids: Array, out: Array) -> Array:
    for i in range(ids.size):
        out[i] = table[ids[i]]
    return out


@numba.njit  # type: ignore[untyped-decorator]
def add_loop(target: Array, ids: Array, updates: Array) -> None:
    for i in range(ids.size):
        for c in range(target.shape[1]):
            target[ids[i], c] += updates[i, c]


@numba.njit  # type: ignore[untyped-decorator]
def bag_loop(table: Array, ids: Array, offsets: Array, out: Array) -> Array:
    for b in range(out.shape[0]):
        out[b] = 0
        for i in range(offsets[b], offsets[b + 1]):
            for c in range(out.shape[1]):
                out[b, c] += table[ids[i], c]
    return out


@contestant("gather_out", "Numba loop")
def gather(rows: Rows, _threads: int) -> Contestant:
    out = np.empty_like(rows.flat_updates)
    run = in_turn(lambda ids: gather_loop(rows.table, ids.ravel(), out), rows.batches)
    return Contestant(run, lambda got: got.reshape(rows.updates.shape))


@contestant("scatter_add", "Numba loop")
def add(rows: Rows, _threads: int) -> Contestant:
    target, updates = np.zeros_like(rows.table), rows.flat_updates
    run = in_turn(lambda ids: add_loop(target, ids.ravel(), updates), rows.batches)
    return Contestant(run, lambda _: target)


@contestant("bag_sum", "Numba loop")
def bag(bags: Bags, _threads: int) -> Contestant:
    offsets = np.append(bags.offsets, bags.batches[0].size)
    out = np.empty((bags.offsets.size, bags.table.shape[1]), bags.table.dtype)
    return Contestant(in_turn(lambda ids: bag_loop(bags.table, ids, offsets, out), bags.batches))
