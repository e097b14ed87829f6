"""What argparse does not know."""

from collections.abc import Callable


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """Return the type of an option whose value is a number above 0."""

    def convert(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    convert.__name__ = f"positive {kind.__name__}"  # argparse puts it into its message
    return convert
