"""Models that packages ship in their wheels: the package's own code, and the examples.

Cells of packages that are not installed are left out. The package's own code is as it stands but
for what it imports and these models do not take.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from embedrnn.bench.cells.cell import Cell, Goal, Operation
from shipped import Shipped, chinese, echoes, english, japanese, readings, sound


def _operation(name: str, tolerance: float = 0.0, goal: Goal | None = None) -> Operation:
    goals = {} if goal is None else {1: goal}
    return Operation(name, "fma_flops", lambda work: work.flops, tolerance, goals)


# What each package's code needs here.
_NEEDS = {
    "g2p_en": ["g2p_en"],
    "g2pM": ["g2pM"],
    "nagisa": ["nagisa", "six"],
    "medaka": ["medaka", "_cffi_backend", "torch"],
    "silero_vad": ["silero_vad", "onnxruntime", "torch"],
    "reservoirpy": ["reservoirpy", "joblib", "scipy"],
}
_BATCHES, _ONE = _operation("g2p_en", goal=Goal(7, 7)), _operation("g2p_en_word")
_POLYPHONES, _JAPANESE = _operation("g2pM", goal=Goal(15, 5)), _operation("nagisa", 0, Goal(2.5, 1))
_REMAINDERS = _operation("medaka", 1e-5, Goal(5, 4))
_SOUND, _ECHOES = _operation("silero_vad", 1e-5), _operation("reservoirpy", 1e-12)

_UNITS = (100, 300, 500, 1_000)
_LARGE = ("500 units", "1000 units")  # whose eigenvalues take seconds
_ROWS: list[tuple[Operation, str, Callable[[], Shipped]]] = [
    (_BATCHES, "16 words", partial(english, 16)),
    (_BATCHES, "371 words", partial(english, 371)),
    (_ONE, "1 word", partial(english, 1)),
    (_POLYPHONES, "1 sentence", partial(chinese, 1)),
    (_POLYPHONES, "64 sentences", partial(chinese, 64)),
    (_JAPANESE, "1 sentence of 75 characters", partial(japanese, 1)),
    (_JAPANESE, "64 sentences", partial(japanese, 64)),
    (_REMAINDERS, "16 remainders, GRU 10 -> 128 x2 both ways", partial(readings, 128)),
    (_REMAINDERS, "16 remainders, GRU 10 -> 256 x2 both ways", partial(readings, 256)),
    (_SOUND, "10 s of sound", partial(sound, 10)),
    *(
        (_ECHOES, f"{units} units, a tenth connected, T 2,000", partial(echoes, units, 2_000))
        for units in _UNITS
    ),
]
GALLERY_CELLS = [
    Cell("gallery", operation, shape, make, large=shape.startswith(_LARGE))
    for operation, shape, make in _ROWS
    if all(map(find_spec, _NEEDS[operation.name.removesuffix("_word")]))
]
