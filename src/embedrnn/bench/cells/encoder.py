"""Token ids to states: an embedding and the recurrent layer above it, on real sentences.

Not every product of sizes, but each size in some cell of each kind, in words and in characters:
words are many and each is rare, characters are few and come again and again.
"""

from dataclasses import replace
from functools import partial

from embedrnn.bench.cells.cell import Cell, Goal, Operation
from embedrnn.bench.cells.recurrent import GATES
from embedrnn.bench.cells.training import flops as flops_of_training
from embedrnn.bench.sentences import batch, stream

FORWARD = Operation(
    "encoder_forward",
    "fma_flops",
    lambda work: work.flops,
    tolerance=1e-5,
    goals={1: Goal(4, 2)},
)
# Against PyTorch as most people run it.
PADDED = replace(FORWARD, name="encoder_padded", goals={1: Goal(8, 3)})
# Against ours as it is before; work that the frozen table saves is counted as if it were done.
FROZEN = replace(FORWARD, name="encoder_frozen", goals={1: Goal(1.2, 1)})
TRAINING = replace(
    FORWARD,
    name="encoder_training",
    work=flops_of_training,
    tolerance=2e-5,
    goals={1: Goal(4.5, 2.5)},
)
STREAM = replace(FORWARD, name="encoder_stream", goals={1: Goal(6, 6)})

# Sentences, what a token is, D = H
Shape = tuple[int, str, int]
SHAPES: list[Shape] = [
    (32, "words", 64),
    (32, "words", 128),
    (32, "words", 256),
    (32, "words", 512),
    (256, "words", 64),
    (256, "words", 128),
    (1_024, "words", 64),
    (32, "characters", 64),
    (32, "characters", 128),
    (256, "characters", 64),
]
# Three times the work would take too long.
FORWARD_ONLY: list[Shape] = [
    (256, "words", 256),
    (1_024, "words", 128),
    (32, "characters", 256),
    (256, "characters", 128),
]


def _cell(operation: Operation, kind: str, n: int, tokens: str, hidden: int) -> Cell:
    streams = operation is STREAM
    return Cell(
        "encoder",
        operation,
        f"{kind.upper()}, {n:,} sentences in {tokens}, D = H = {hidden}",
        partial(stream if streams else batch, kind, GATES[kind], n, tokens, hidden),
        large=streams,
        long=streams,
    )


def _cells(kind: str) -> list[Cell]:
    every = [*SHAPES, *FORWARD_ONLY]
    return [
        *(_cell(operation, kind, *s) for operation in (FORWARD, PADDED, FROZEN) for s in every),
        *(_cell(TRAINING, kind, *shape) for shape in SHAPES),
    ]


ENCODER_CELLS = [
    *(cell for kind in GATES for cell in _cells(kind)),
    *(_cell(STREAM, "lstm", 20_000, tokens, 128) for tokens in ("words", "characters")),
]
