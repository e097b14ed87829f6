"""The short way of the compiled core for plain arguments, which NumPy does not have."""

from typing import Any


def try_gather(weight: Any, indices: Any, out: Any, mode: Any) -> None:
    """Decline."""


def try_scatter_add(target: Any, indices: Any, updates: Any) -> bool:
    """Decline."""
    return False


def try_coalesce(indices: Any, updates: Any, num_embeddings: Any) -> None:
    """Decline."""


def try_embedding_bag(weight: Any, quantized: bool, indices: Any, offsets: Any, mode: Any) -> None:
    """Decline."""
