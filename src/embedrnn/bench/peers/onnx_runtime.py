"""ONNX Runtime, with inputs and outputs bound once."""

from functools import partial

import numpy as np
import onnxruntime as ort

from embedrnn.bench.peers import Contestant, contestant_of
from embedrnn.bench.peers.onnx_model import OPERATORS, encoder_model, recurrent_model
from embedrnn.bench.sentences import Sentences
from embedrnn.bench.workloads import Array, Padded, Sequences

contestant = contestant_of("onnxruntime")


def recurrent(operator: str, batch: Sequences, threads: int) -> Contestant:
    """Run one operator with `sequence_lens`."""
    x = np.ascontiguousarray(batch.x.swapaxes(0, 1))
    return _run(recurrent_model(operator, batch), "X", x, batch, threads)


@contestant("encoder_forward", "ONNX Runtime")
def encoder(batch: Sentences, threads: int) -> Contestant:
    """Run Gather, and one operator with `sequence_lens`."""
    return _run(encoder_model(batch), "ids", np.ascontiguousarray(batch.ids.T), batch, threads)


for _operator in OPERATORS:
    for _kind in ("forward", "step"):
        contestant(f"{_operator.lower()}_{_kind}", "ONNX Runtime")(partial(recurrent, _operator))


def _run(model: bytes, name: str, given: Array, batch: Padded, threads: int) -> Contestant:
    session = ort.InferenceSession(model, _options(threads), ["CPUExecutionProvider"])
    binding = session.io_binding()
    n_rows, steps = batch.shape
    lengths = ort.OrtValue.ortvalue_from_numpy(batch.lengths.astype(np.int32))
    empty = np.empty((steps, 1, n_rows, batch.hidden), np.float32)
    output = ort.OrtValue.ortvalue_from_numpy(empty)
    binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(given))
    binding.bind_ortvalue_input("sequence_lens", lengths)
    binding.bind_ortvalue_output("Y", output)
    valid = batch.valid

    def answer(_: object) -> Array:
        got: Array = output.numpy()[:, 0].swapaxes(0, 1)[valid]
        return got

    return Contestant(lambda: session.run_with_iobinding(binding), answer)


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Its workers spin when they have nothing to do, which would slow down the next contestant.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
