"""embedrnn itself."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np

import embedrnn as er
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


@contestant("rnn_forward", OURS)
@contestant("rnn_padding", OURS)
def rnn_forward(batch: Sequences, _threads: int) -> Contestant:
    return _recurrent(er.rnn_forward, batch, batch.lengths)


@contestant("rnn_padding", "all steps valid")
def rnn_forward_all_valid(batch: Sequences, _threads: int) -> Contestant:
    """Run the same batch as if nothing were padding: what skipping the padding is measured by."""
    return _recurrent(er.rnn_forward, batch, None)


@contestant("gru_forward", OURS)
def gru_forward(batch: Sequences, _threads: int) -> Contestant:
    return _recurrent(er.gru_forward, batch, batch.lengths)


@contestant("lstm_forward", OURS)
def lstm_forward(batch: Sequences, _threads: int) -> Contestant:
    return _recurrent(er.lstm_forward, batch, batch.lengths)


def _recurrent(cell: Callable[..., Any], batch: Sequences, lengths: Array | None) -> Contestant:
    weights = (batch.weight_ih, batch.weight_hh, batch.bias_ih, batch.bias_hh)
    run = partial(cell, batch.x, *weights, lengths=lengths)
    valid = batch.valid
    return Contestant(run, lambda result: result[0][valid])
