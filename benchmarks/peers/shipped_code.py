"""The models that packages ship, run by the package's own code and by us."""

from embedrnn.bench.peers import OURS, Contestant, contestant_of
from shipped import Shipped, as_numbers

_PACKAGES = {
    "g2p_en": "g2p-en",
    "g2p_en_word": "g2p-en",
    "g2pM": "g2pM",
    "nagisa": "nagisa",
    "medaka": "medaka",
    "silero_vad": "silero-vad",
    "reservoirpy": "reservoirpy",
}


def ours(work: Shipped, _threads: int) -> Contestant:
    """Run the example."""
    return Contestant(work.ours, as_numbers)


def theirs(work: Shipped, _threads: int) -> Contestant:
    """Run the package's own code."""
    return Contestant(work.theirs, as_numbers)


for _operation, _package in _PACKAGES.items():
    contestant_of(OURS)(_operation, OURS)(ours)
    contestant_of(_package)(_operation, _package)(theirs)
