"""The reference evaluator of the onnx package, with our operators and with its own."""

from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from embedrnn.adapters.onnx import OPS
from embedrnn.bench.peers import OURS, Contestant, contestant_of
from embedrnn.bench.peers.onnx_model import recurrent_model
from embedrnn.bench.workloads import Sequences

contestant = contestant_of("onnx")


def evaluator(
    operator: str, directions: int, ops: list[Any] | None, batch: Sequences, _threads: int
) -> Contestant:
    """Run a graph of one node, without padding, which the reference does not know."""
    model = onnx.load_from_string(recurrent_model(operator, batch, directions))
    run = ReferenceEvaluator(model, new_ops=ops).run
    lengths = batch.lengths.astype(np.int32)
    feed = {"X": np.ascontiguousarray(batch.x.swapaxes(0, 1)), "sequence_lens": lengths}
    return Contestant(lambda: run(None, feed)[0])


for _name, _operator, _directions in (("onnx_gru", "GRU", 1), ("onnx_bilstm", "LSTM", 2)):
    contestant(_name, OURS)(partial(evaluator, _operator, _directions, OPS))
    contestant(_name, "its own operators")(partial(evaluator, _operator, _directions, None))
