"""PyTorch, without gradients; its tensors share the memory of the workload's arrays."""

from functools import partial

import numpy as np
import torch
from torch.nn.functional import embedding
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from peers import Contestant, contestant
from workloads import Rows, Sequences, in_turn

torch.set_grad_enabled(False)


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


for _operation, _cell in (
    ("rnn_forward", torch.nn.RNN),
    ("gru_forward", torch.nn.GRU),
    ("lstm_forward", torch.nn.LSTM),
):
    contestant(_operation, f"nn.{_cell.__name__} packed")(partial(packed, _cell))
    contestant(_operation, f"nn.{_cell.__name__} padded")(partial(padded, _cell))


def _time_major(batch: Sequences) -> torch.Tensor:
    """Return x as (T, B, I), which is the layout PyTorch runs in without copying."""
    return torch.from_numpy(np.ascontiguousarray(batch.x.swapaxes(0, 1)))


def _layer(cell: type[torch.nn.RNNBase], batch: Sequences) -> torch.nn.RNNBase:
    width = batch.weight_ih.shape[1]
    layer = cell(width, batch.hidden, dtype=torch.from_numpy(batch.x).dtype)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(layer, f"{name}_l0").copy_(torch.from_numpy(getattr(batch, name)))
    return layer
