"""SciPy: sums of rows as the product of a sparse matrix with the table or the updates."""

import numpy as np
from scipy.sparse import csr_array

from embedrnn.bench.peers import Contestant, contestant_of
from embedrnn.bench.workloads import Array, Bags, Rows, in_turn

contestant = contestant_of("scipy")


@contestant("coalesce", "CSR product")
def csr_gradient(rows: Rows, _threads: int) -> Contestant:
    updates, size = rows.flat_updates, len(rows.table)
    ones, one_each = np.ones(len(updates), updates.dtype), np.arange(len(updates) + 1)

    def run(ids: Array) -> Array:
        by_row = csr_array((ones, ids.ravel(), one_each), (len(updates), size)).T.tocsr()
        named = np.flatnonzero(np.diff(by_row.indptr))
        sums: Array = by_row[named] @ updates
        return sums

    return Contestant(in_turn(run, rows.batches))


@contestant("bag_sum", "CSR product")
def csr_bags(bags: Bags, _threads: int) -> Contestant:
    n = bags.batches[0].size
    ones, offsets = np.ones(n, bags.table.dtype), np.append(bags.offsets, n)
    shape = (bags.offsets.size, len(bags.table))
    return Contestant(
        in_turn(lambda ids: csr_array((ones, ids, offsets), shape) @ bags.table, bags.batches)
    )
