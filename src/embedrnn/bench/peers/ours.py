"""embedrnn itself."""

from functools import partial
from typing import Any, Literal

import numpy as np

import embedrnn as er
from embedrnn.bench.peers import OURS, Contestant, contestant_of
from embedrnn.bench.sentences import Sentences, Stream
from embedrnn.bench.workloads import (
    Array,
    Bags,
    Rows,
    Sequences,
    Weights,
    in_turn,
    joined_gradients,
)

contestant = contestant_of(OURS)

_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


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


@contestant("scatter_column", OURS)
def scatter_column(rows: Rows, _threads: int) -> Contestant:
    column = np.zeros_like(rows.table)[:, 0]
    return Contestant(in_turn(lambda ids: er.scatter_add(column, ids, rows.updates), rows.batches))


@contestant("coalesce", OURS)
def coalesce(rows: Rows, _threads: int) -> Contestant:
    size = len(rows.table)
    run = in_turn(lambda ids: er.coalesce(ids, rows.updates, num_embeddings=size), rows.batches)
    return Contestant(run, lambda grad: grad.values)


@contestant("bag_sum", OURS)
@contestant("bag_float16", OURS)
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


@contestant("bag_weighted", OURS)
def bag_weighted(bags: Bags, _threads: int) -> Contestant:
    weights = bags.weights
    run = partial(er.embedding_bag, bags.table, offsets=bags.offsets, per_sample_weights=weights)
    return Contestant(in_turn(run, bags.batches))


@contestant("bag_last_offset", OURS)
def bag_last_offset(bags: Bags, _threads: int) -> Contestant:
    run = partial(er.embedding_bag, bags.table, offsets=bags.bounds, include_last_offset=True)
    return Contestant(in_turn(run, bags.batches))


@contestant("gather_int8", OURS)
def gather_int8(rows: Rows, _threads: int) -> Contestant:
    out = np.empty_like(rows.updates)
    table = er.quantize_rows(rows.table)
    return Contestant(in_turn(partial(er.gather, table, out=out), rows.batches))


contestant("gather_int8", "float32")(gather_out)


def recurrent(cell: str, batch: Sequences, _threads: int) -> Contestant:
    return _recurrent(cell, batch, batch.lengths)


def all_valid(cell: str, batch: Sequences, _threads: int) -> Contestant:
    """Run the same batch as if nothing were padding: what skipping the padding is measured by."""
    return _recurrent(cell, batch, None)


def step(cell: str, batch: Sequences, _threads: int) -> Contestant:
    """Take the first step from a state of zeros."""
    layer, x = _layer(cell, batch), batch.x[:, 0]
    zeros = np.zeros((1, len(x), batch.hidden), x.dtype)
    state = (zeros, zeros) if cell == "lstm" else zeros
    return Contestant(lambda: layer.step(x, state)[0])


def training(cell: str, batch: Sequences, _threads: int) -> Contestant:
    """Run forward and backward, weights being packed in each call as training changes them."""
    vjp, grad_output = getattr(er, f"{cell}_vjp"), batch.grad_output
    weights = [getattr(batch, name) for name in _PARAMETERS]

    def run() -> Any:
        _, backward = vjp(batch.x, *weights, lengths=batch.lengths)
        return backward(grad_output)

    return Contestant(run, lambda grads: joined_gradients(grads[: 1 + len(weights)]))


@contestant("encoder_forward", OURS)
@contestant("encoder_padded", OURS)
@contestant("encoder_frozen", "unfrozen")
def encoder(batch: Sentences, _threads: int) -> Contestant:
    return _encoded(_encoder(batch), batch)


@contestant("encoder_frozen", OURS)
def frozen_encoder(batch: Sentences, _threads: int) -> Contestant:
    return _encoded(_encoder(batch).freeze(), batch)


def _encoded(encoder: Any, batch: Sentences) -> Contestant:
    valid = batch.valid
    return Contestant(lambda: encoder(batch.ids, batch.lengths)[0], lambda output: output[valid])


@contestant("encoder_training", OURS)
def encoder_training(batch: Sentences, _threads: int) -> Contestant:
    """Run forward and backward; the weights are new in each call, as training changes them."""
    layer, parameters = _layer(batch.cell, batch), _parameters(batch)
    grad_output = batch.grad_output
    encoder = er.Encoder(er.Embedding.from_pretrained(batch.table), layer)

    def run() -> Any:
        layer.update(parameters)
        _, backward = encoder.vjp(batch.ids, batch.lengths)
        return backward(grad_output)

    def answer(grads: Any) -> Array:
        of_table = grads.weight.to_dense(len(batch.table))
        return joined_gradients([of_table, *(grads.parameters[name] for name in parameters)])

    return Contestant(run, answer)


@contestant("encoder_stream", OURS)
def encoder_stream(stream: Stream, _threads: int) -> Contestant:
    encoder = _encoder(stream)
    return Contestant(lambda: list(encoder.encode(stream.sentences, pool="mean")))


def _encoder(work: Sentences | Stream) -> Any:
    return er.Encoder(er.Embedding.from_pretrained(work.table), _layer(work.cell, work))


@contestant("adam_step", OURS)
def adam_step(rows: Rows, _threads: int) -> Contestant:
    table = rows.table.copy()
    optimizer = er.optim.Adam({"table": table})

    def run(ids: Array) -> Array:
        grad = er.coalesce(ids, rows.updates, num_embeddings=len(table))
        optimizer.step({"table": grad})
        return table

    return Contestant(in_turn(run, rows.batches), lambda stepped: stepped[rows.batches[0]])


for _cell in ("rnn", "gru", "lstm"):
    contestant(f"{_cell}_training", OURS)(partial(training, _cell))
    contestant(f"{_cell}_forward", OURS)(partial(recurrent, _cell))
    contestant(f"{_cell}_step", OURS)(partial(step, _cell))
    contestant(f"{_cell}_padding", OURS)(partial(recurrent, _cell))
    contestant(f"{_cell}_padding", "all steps valid")(partial(all_valid, _cell))


def _recurrent(cell: str, batch: Sequences, lengths: Array | None) -> Contestant:
    layer, valid = _layer(cell, batch), batch.valid
    return Contestant(lambda: layer(batch.x, lengths)[0], lambda output: output[valid])


def _layer(cell: str, weights: Weights) -> Any:
    layer = getattr(er, cell.upper())(weights.width, weights.hidden, dtype=weights.dtype)
    layer.load_state_dict(_parameters(weights))
    return layer


def _parameters(weights: Weights) -> dict[str, Array]:
    return {f"{name}_l0": getattr(weights, name) for name in _PARAMETERS}
