"""What a strand of DNA was, by many readings of it: the GRU of medaka, without PyTorch.

    pip install --no-deps medaka
    python examples/consensus.py
    pip install --no-deps cffi && pip install torch==2.13.0
    python examples/consensus.py --compare

The package medaka (Oxford Nanopore Technologies, 2018) reads columns of counts, of what a nanopore
read at each place of a draft, and says which base stands there. Two layers of GRU in both
directions run in PyTorch, on 100 pieces of 10,000 columns at once. What remains of each contig, and
every contig that is shorter, has a length of its own, and is run alone. Here such remainders are
one ragged batch. The readings are made up: of a strand drawn at random, some of them wrong.
"""

import argparse
import io
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import embedrnn as er
from packages import Pair, file_of, side_by_side, without

Array = npt.NDArray[np.float32]

MODELS = {128: "r1041_e82_400bps_sup_v5.2.0", 256: "r1041_e82_400bps_hac_v6.0.0"}  # by their units
BASES = "*ACGT"  # what it says: * that there is none
READINGS, ERRORS = 30, 0.06  # of each place, and how many of them are wrong
LENGTHS = [1480, 210, 950, 330, 1210, 120, 760, 540, 1040, 280, 640, 1360, 180, 870, 430, 1130]


class Caller:
    """The probabilities of each base, and of none, at each column."""

    def __init__(self, weights: dict[str, Array]) -> None:
        of_gru = {name: array for name, array in weights.items() if name.startswith("gru.")}
        self.gru = er.GRU.from_state_dict(of_gru, "gru.")
        self.weight, self.bias = weights["linear.weight"], weights["linear.bias"]

    def __call__(self, pieces: Sequence[Array]) -> list[Array]:
        """Return those of each piece, (T, 5) of (T, 10), whatever its length."""
        offsets = np.cumsum([0, *map(len, pieces)])
        output, _ = self.gru(np.concatenate(pieces), offsets=offsets)
        scores = output @ self.weight.T + self.bias
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.split(odds / odds.sum(axis=1, keepdims=True), offsets[1:-1])


class Checkpoint(pickle.Unpickler):
    """Reads arrays out of a file that torch.save wrote: a pickle, and their bytes beside it."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self.file, (pickled, *_) = file, [n for n in file.namelist() if n.endswith("/data.pkl")]
        self.folder = pickled.removesuffix("data.pkl")
        super().__init__(file.open(pickled))

    def persistent_load(self, pid: Any) -> Array:
        """Return the bytes of one array, which are float32."""
        return np.frombuffer(self.file.read(f"{self.folder}data/{pid[2]}"), "<f4")

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name; nothing else is called."""
        if name == "_rebuild_tensor_v2":
            return lambda array, begin, shape, *_: array[begin:][: np.prod(shape)].reshape(shape)
        return OrderedDict if name == "OrderedDict" else name


def read_weights(units: int) -> dict[str, Array]:
    """Return the weights of one of the package's models."""
    path = file_of("medaka", f"medaka/data/{MODELS[units]}_model_pt.tar.gz")
    with tarfile.open(path) as tar:
        member: Any = tar.extractfile("model/weights.pt")
        with zipfile.ZipFile(io.BytesIO(member.read())) as file:
            weights: dict[str, Array] = Checkpoint(file).load()
    return weights


def drawn(n: int, rng: np.random.Generator) -> tuple[str, Array]:
    """Return a strand, and what was read at each place: parts of the readings, (n, 10)."""
    strand, shape = rng.integers(0, 4, n), (READINGS, n)
    read = np.where(rng.random(shape) < ERRORS, rng.integers(0, 5, shape), strand)
    forward = np.arange(READINGS)[:, None] % 2
    # The bases ACGT read backward, those read forward, and where there was none, either way.
    column = np.where(read == 4, 8 + forward, read + 4 * forward)
    counts = (column[:, :, None] == np.arange(10)).sum(axis=0)
    return "".join("ACGT"[base] for base in strand), (counts / READINGS).astype(np.float32)


def called(probabilities: Array) -> str:
    """Return the likeliest base at each column."""
    return "".join(BASES[number] for number in probabilities.argmax(axis=1))


def package_code(units: int) -> Callable[[Array], Array]:
    """Return the package's own model, which runs one piece."""
    import torch

    with without("intervaltree", "pysam", "requests", "pyabpoa", "wurlitzer", "medaka.features"):
        from medaka.architectures.gru import GRUModel

    torch.set_num_threads(1)
    model = GRUModel(gru_size=units).eval()
    model.load_state_dict({k: torch.tensor(v) for k, v in read_weights(units).items()})

    def run(piece: Array) -> Array:
        with torch.inference_mode():
            probabilities: Array = model(torch.from_numpy(piece[None]))[0].numpy()
        return probabilities

    return run


def pair(
    pieces: Sequence[Array], theirs: Callable[[Array], Array], ours: Callable[..., list[Array]]
) -> Pair:
    """Return the probabilities of all pieces by both."""
    return Pair(
        f"{len(pieces)} pieces, {sum(map(len, pieces)):,} columns",
        lambda: np.concatenate([theirs(piece) for piece in pieces]),
        lambda: np.concatenate(ours(pieces)),
        tolerance=1e-5,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw pieces of DNA and readings of them, and write how many bases were found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("lengths", nargs="*", type=int, default=LENGTHS, metavar="LENGTH", help="of each piece")
    add("--units", type=int, choices=MODELS, default=128, help="of the model (default: 128)")
    add("--compare", action="store_true", help="time the package's own model in PyTorch beside")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    strands, pieces = zip(*(drawn(n, rng) for n in options.lengths), strict=True)
    caller = Caller(read_weights(options.units))
    if options.compare:
        theirs = package_code(options.units)
        side_by_side("medaka", (pair(some, theirs, caller) for some in (pieces, pieces[:1])))
        return
    for strand, probabilities in zip(strands, caller(pieces), strict=True):
        wrong = sum(a != b for a, b in zip(strand, called(probabilities), strict=True))
        print(f"{len(strand):6,} columns, {wrong} wrong: {called(probabilities)[:60]}")


if __name__ == "__main__":
    main()
