"""Optimisers that step parameters in place, by dense gradients or by those of a few rows."""

from embedrnn.optim.rules import SGD, Adagrad, Adam, AdamW, RowWiseAdagrad

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "RowWiseAdagrad"]


def __dir__() -> list[str]:
    return __all__
