"""NumPy runs these operations on one thread and chooses instructions by itself."""

asserts = False


def isas() -> list[str]:
    """Return the instruction sets to choose from: none."""
    return []


def get_isa() -> None:
    """Return the instruction set in use: not ours to say."""


def get_num_threads() -> int:
    """Return the number of threads."""
    return 1


def set_num_threads(n: int) -> None:
    """Accept any number, and go on with one thread."""
