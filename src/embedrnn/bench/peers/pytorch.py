"""PyTorch; its tensors share the memory of the workload's arrays. Only training has gradients."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import embedding, embedding_bag
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from embedrnn.bench.peers import Contestant, contestant_of
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

contestant = contestant_of("torch")

torch.set_grad_enabled(False)

_STREAM_BATCH = 64


@contestant("gather", "F.embedding")
def embedding_lookup(rows: Rows, _threads: int) -> Contestant:
    table = torch.from_numpy(rows.table)
    batches = map(torch.from_numpy, rows.batches)
    return Contestant(in_turn(lambda ids: embedding(ids, table), batches))


@contestant("gather_out", "index_select")
def index_select(rows: Rows, _threads: int) -> Contestant:
    table = torch.from_numpy(rows.table)
    out = torch.empty(rows.batches[0].size, table.shape[1], dtype=table.dtype)
    run = in_turn(partial(torch.index_select, table, 0, out=out), _flat(rows))
    return Contestant(run, lambda got: got.numpy().reshape(rows.updates.shape))


@contestant("scatter_add", "index_add_")
def index_add(rows: Rows, _threads: int) -> Contestant:
    target = torch.zeros_like(torch.from_numpy(rows.table))
    updates = torch.from_numpy(rows.updates.reshape(-1, target.shape[1]))
    return Contestant(in_turn(lambda ids: target.index_add_(0, ids, updates), _flat(rows)))


@contestant("coalesce", "embedding_dense_backward")
def dense_backward(rows: Rows, _threads: int) -> Contestant:
    updates, size = torch.from_numpy(rows.flat_updates), len(rows.table)
    backward = torch.ops.aten.embedding_dense_backward
    run = in_turn(lambda ids: backward(updates, ids, size, -1, False), _flat(rows))
    named = np.unique(rows.batches[0])
    return Contestant(run, lambda got: got.numpy()[named])


@contestant("coalesce", "sparse coalesce")
def sparse_coalesce(rows: Rows, _threads: int) -> Contestant:
    updates = torch.from_numpy(rows.flat_updates)
    shape = (len(rows.table), updates.shape[1])

    def run(ids: torch.Tensor) -> torch.Tensor:
        grad = torch.sparse_coo_tensor(ids[None], updates, shape, check_invariants=False)
        return grad.coalesce()

    return Contestant(in_turn(run, _flat(rows)), lambda got: got.values().numpy())


@contestant("bag_sum", "F.embedding_bag")
@contestant("bag_float16", "F.embedding_bag")
def bag_sum(bags: Bags, _threads: int) -> Contestant:
    return _bag(bags, "sum")


@contestant("bag_mean", "F.embedding_bag")
def bag_mean(bags: Bags, _threads: int) -> Contestant:
    return _bag(bags, "mean")


@contestant("bag_weighted", "F.embedding_bag")
def bag_weighted(bags: Bags, _threads: int) -> Contestant:
    return _bag(bags, "sum", per_sample_weights=torch.from_numpy(bags.weights))


@contestant("bag_last_offset", "F.embedding_bag")
def bag_last_offset(bags: Bags, _threads: int) -> Contestant:
    return _bag(replace(bags, offsets=bags.bounds), "sum", include_last_offset=True)


def _bag(bags: Bags, mode: str, **options: Any) -> Contestant:
    table, offsets = torch.from_numpy(bags.table), torch.from_numpy(bags.offsets)
    batches = map(torch.from_numpy, bags.batches)
    run = in_turn(lambda ids: embedding_bag(ids, table, offsets, mode=mode, **options), batches)
    return Contestant(run, lambda got: got.numpy())


@contestant("bag_int8", "embedding_bag_byte")
def bag_byte(bags: Bags, _threads: int) -> Contestant:
    """Run FBGEMM's kernel, which PyTorch carries."""
    packed = torch.ops.quantized.embedding_bag_byte_prepack(torch.from_numpy(bags.table))
    offsets = torch.from_numpy(bags.offsets)
    lookup = torch.ops.quantized.embedding_bag_byte_rowwise_offsets
    batches = map(torch.from_numpy, bags.batches)
    run = in_turn(lambda ids: lookup(packed, ids, offsets), batches)
    return Contestant(run, lambda got: got.numpy())


def _flat(rows: Rows) -> list[torch.Tensor]:
    return [torch.from_numpy(ids.ravel()) for ids in rows.batches]


def packed(cell: type[torch.nn.RNNBase], batch: Sequences, _threads: int) -> Contestant:
    """Pack, run and unpack: the only way that the final state is right."""
    layer, x = _layer(cell, batch), _time_major(batch)
    lengths, valid = torch.from_numpy(batch.lengths), batch.valid

    def run() -> torch.Tensor:
        sequence = pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, _ = layer(sequence)
        return pad_packed_sequence(output, total_length=len(x))[0]

    return Contestant(run, lambda output: output.numpy().swapaxes(0, 1)[valid])


def padded(cell: type[torch.nn.RNNBase], batch: Sequences, _threads: int) -> Contestant:
    """Compute the padding too; right at valid steps, wrong in the final state."""
    layer, x, valid = _layer(cell, batch), _time_major(batch), batch.valid
    return Contestant(partial(layer, x), lambda got: got[0].numpy().swapaxes(0, 1)[valid])


def training(
    cell: type[torch.nn.RNNBase], packs: bool, batch: Sequences, _threads: int
) -> Contestant:
    """Run forward and backward, to x, the weights and the biases."""
    layer, x = _layer(cell, batch), _time_major(batch).requires_grad_()
    lengths = torch.from_numpy(batch.lengths)
    grad_output = torch.from_numpy(np.ascontiguousarray(batch.grad_output.swapaxes(0, 1)))
    wanted = [x, *layer.parameters()]
    for parameter in wanted[1:]:
        parameter.requires_grad_()

    def run() -> Any:
        with torch.enable_grad():
            if packs:
                output, _ = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
                output, _ = pad_packed_sequence(output, total_length=len(x))
            else:
                output, _ = layer(x)
            return torch.autograd.grad(output, wanted, grad_output)

    def answer(grads: tuple[torch.Tensor, ...]) -> Array:
        of_x, *others = (grad.numpy() for grad in grads)
        return joined_gradients([of_x.swapaxes(0, 1), *others])

    return Contestant(run, answer)


class Encoder:
    """Embedding and recurrent layer; the steps come first, in what it reads and returns."""

    def __init__(self, work: Sentences | Stream, packs: bool) -> None:
        self.table = torch.from_numpy(work.table)
        self.layer = _layer(getattr(torch.nn, work.cell.upper()), work)
        self._packs = packs

    def __call__(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the output at valid steps; packed it is 0 behind them.

        Ids are packed, not their rows: so no row of the table is read for the padding, or moved.
        """
        if not self._packs:
            padded: torch.Tensor = self.layer(embedding(ids, self.table))[0]
            return padded
        packed = pack_padded_sequence(ids, lengths, enforce_sorted=False)
        output, _ = self.layer(packed._replace(data=embedding(packed.data, self.table)))
        return pad_packed_sequence(output, total_length=len(ids))[0]

    def mean(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the mean of each row's output."""
        output = self(ids, lengths)
        if not self._packs:
            output *= (torch.arange(len(ids))[:, None] < lengths)[..., None]
        return output.sum(0) / lengths[:, None]


def encoder(packs: bool, batch: Sentences, _threads: int) -> Contestant:
    run = partial(Encoder(batch, packs), *_ids_and_lengths(batch))
    valid = batch.valid
    return Contestant(run, lambda output: output.numpy().swapaxes(0, 1)[valid])


def encoder_training(packs: bool, batch: Sentences, _threads: int) -> Contestant:
    """Run forward and backward, to the whole table, the weights and the biases."""
    encoder, given = Encoder(batch, packs), _ids_and_lengths(batch)
    grad_output = torch.from_numpy(np.ascontiguousarray(batch.grad_output.swapaxes(0, 1)))
    wanted = [encoder.table, *encoder.layer.parameters()]
    for parameter in wanted:
        parameter.requires_grad_()

    def run() -> Any:
        with torch.enable_grad():
            return torch.autograd.grad(encoder(*given), wanted, grad_output)

    return Contestant(run, lambda grads: joined_gradients(grad.numpy() for grad in grads))


def encoder_stream(packs: bool, stream: Stream, _threads: int) -> Contestant:
    """Take the sentences in batches as they come."""
    encoder = Encoder(stream, packs)
    sentences = [torch.from_numpy(ids) for ids in stream.sentences]
    starts = range(0, len(sentences), _STREAM_BATCH)
    batches = [sentences[first : first + _STREAM_BATCH] for first in starts]

    def run() -> torch.Tensor:
        padded = ((pad_sequence(b), torch.tensor([len(ids) for ids in b])) for b in batches)
        return torch.cat([encoder.mean(*batch) for batch in padded])

    return Contestant(run, lambda means: means.numpy())


for _name, _packs in (("PyTorch packed", True), ("PyTorch padded", False)):
    contestant("encoder_forward", _name)(partial(encoder, _packs))
    contestant("encoder_training", _name)(partial(encoder_training, _packs))
    contestant("encoder_stream", _name)(partial(encoder_stream, _packs))
contestant("encoder_padded", "PyTorch padded")(partial(encoder, False))


def _ids_and_lengths(batch: Sentences) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.ascontiguousarray(batch.ids.T)), torch.from_numpy(batch.lengths)


@contestant("adam_step", "SparseAdam")
def sparse_adam(rows: Rows, _threads: int) -> Contestant:
    table = torch.from_numpy(rows.table.copy())
    updates = torch.from_numpy(rows.flat_updates)
    optimizer = torch.optim.SparseAdam([table])

    def run(ids: torch.Tensor) -> torch.Tensor:
        table.grad = torch.sparse_coo_tensor(
            ids[None], updates, table.shape, check_invariants=False
        )
        optimizer.step()
        return table

    named = torch.from_numpy(rows.batches[0])
    return Contestant(in_turn(run, _flat(rows)), lambda stepped: stepped[named].numpy())


for _operation, _cell in (
    ("rnn_forward", torch.nn.RNN),
    ("gru_forward", torch.nn.GRU),
    ("lstm_forward", torch.nn.LSTM),
):
    for _name, _packs in (("packed", True), ("padded", False)):
        contestant(_operation.replace("forward", "training"), f"nn.{_cell.__name__} {_name}")(
            partial(training, _cell, _packs)
        )
    contestant(_operation, f"nn.{_cell.__name__} packed")(partial(packed, _cell))
    for _contest in (_operation, _operation.replace("forward", "step")):
        contestant(_contest, f"nn.{_cell.__name__} padded")(partial(padded, _cell))


def _time_major(batch: Sequences) -> torch.Tensor:
    """Return x as (T, B, I), which is the layout PyTorch runs in without copying."""
    return torch.from_numpy(np.ascontiguousarray(batch.x.swapaxes(0, 1)))


def _layer(cell: type[torch.nn.RNNBase], weights: Weights) -> torch.nn.RNNBase:
    layer = cell(weights.width, weights.hidden, dtype=torch.from_numpy(weights.weight_ih).dtype)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(layer, f"{name}_l0").copy_(torch.from_numpy(getattr(weights, name)))
    return layer
