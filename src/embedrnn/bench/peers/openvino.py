"""OpenVINO on the model that ONNX Runtime runs, with inputs bound once.

Where the shapes of a model are open, its CPU plugin takes a recurrent layer in one piece and does
not look at `sequence_lens`: the outputs go on in the padding, and the final state is that behind
it. Where they are fixed, the layer becomes a loop over cells, whose answers are right everywhere.
"""

from functools import partial

import numpy as np
import openvino as ov

from embedrnn.bench.peers import Contestant, contestant_of
from embedrnn.bench.peers.onnx_model import encoder_model
from embedrnn.bench.sentences import Sentences
from embedrnn.bench.workloads import Array

contestant = contestant_of("openvino")


def encoder(fixed: bool, batch: Sentences, threads: int) -> Contestant:
    inputs = {
        "ids": np.ascontiguousarray(batch.ids.T),
        "sequence_lens": batch.lengths.astype(np.int32),
    }
    core, valid = ov.Core(), batch.valid
    model = core.read_model(encoder_model(batch))
    if fixed:
        model.reshape({name: list(array.shape) for name, array in inputs.items()})
    request = core.compile_model(model, "CPU", _settings(threads)).create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, ov.Tensor(array))

    def answer(_: object) -> Array:
        output = request.get_output_tensor(0).data[:, 0]
        got: Array = output.swapaxes(0, 1)[valid]
        return got

    return Contestant(request.infer, answer)


contestant("encoder_forward", "OpenVINO")(partial(encoder, True))
contestant("encoder_forward", "OpenVINO padded")(partial(encoder, False))


def _settings(threads: int) -> dict[str, str | int]:
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
