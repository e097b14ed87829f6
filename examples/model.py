"""An encoder of words and a softmax after each step: what is trained, and its gradients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

import embedrnn as er
from text import Batch, Ids

Array = npt.NDArray[np.float32]


class Model:
    """Tells a class at each word of a sequence.

    Two of its parts are layers of embedrnn; the weights of the third, the softmax, are plain
    arrays. An optimiser takes `parts` as they are, and gradients nested in the same way.
    """

    def __init__(
        self,
        words: int,
        classes: int,
        *,
        width: int,
        hidden: int,
        layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        features = hidden * (1 + bidirectional)
        self.embedding = er.Embedding(words, width, rng=rng)
        self.lstm = er.LSTM(
            width, hidden, layers, dropout=dropout, bidirectional=bidirectional, rng=rng
        )
        self.encoder = er.Encoder(self.embedding, self.lstm)
        bound = features**-0.5
        self.output = {
            "weight": rng.uniform(-bound, bound, (classes, features)).astype(np.float32),
            "bias": np.zeros(classes, np.float32),
        }
        self.parts = {"embedding": self.embedding, "lstm": self.lstm, "output": self.output}

    def logits(self, batch: Batch) -> Array:
        """Return the score of each class at each word, (N, classes)."""
        hidden, _ = self.encoder(batch.words, offsets=batch.offsets)
        return self.scores(hidden)

    def scores(self, hidden: Array) -> Array:
        """Return the score of each class, of outputs of the LSTM."""
        scores: Array = hidden @ self.output["weight"].T
        scores += self.output["bias"]
        return scores

    def loss(self, batch: Batch) -> float:
        """Return the mean cross entropy of a batch; nothing is dropped."""
        return cross_entropy(self.logits(batch), batch.targets)[0]

    def gradients(self, batch: Batch, rng: np.random.Generator) -> tuple[float, dict[str, Any]]:
        """Return the mean cross entropy of a batch, and the gradient of every parameter.

        That of the embedding is a RowGrad of the words of the batch: neither it nor the step of the
        optimiser takes longer when the vocabulary grows.
        """
        (hidden, _), backward = self.encoder.vjp(batch.words, offsets=batch.offsets, rng=rng)
        loss, grad_scores = cross_entropy(self.scores(hidden), batch.targets)
        grads = backward(grad_scores @ self.output["weight"])
        return loss, {
            "embedding": {"weight": grads.weight},
            "lstm": grads.parameters,
            "output": {"weight": grad_scores.T @ hidden, "bias": grad_scores.sum(axis=0)},
        }

    def state_dict(self) -> dict[str, Any]:
        """Return every parameter by its name; steps show in them."""
        every = {
            "embedding": self.embedding.state_dict(),
            "lstm": self.lstm.state_dict(),
            "output": self.output,
        }
        return {f"{part}.{name}": a for part, arrays in every.items() for name, a in arrays.items()}

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Replace every parameter."""
        self.embedding.load_state_dict(starting_with("embedding.", arrays))
        self.lstm.load_state_dict(starting_with("lstm.", arrays))
        for name, array in starting_with("output.", arrays).items():
            self.output[name][...] = array


def starting_with(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays whose name begins so, by the rest of it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def cross_entropy(scores: Array, targets: Ids) -> tuple[float, Array]:
    """Return the mean of -log softmax(scores)[target] over the rows, and its gradient.

    The gradient, (softmax - one-hot) / N, takes the memory of the scores, which are lost: they are
    by far the largest array of a step.
    """
    every = np.arange(len(targets))
    scores -= scores.max(axis=1, keepdims=True)  # the greatest is exp(0): none can overflow
    of_targets = scores[every, targets]
    np.exp(scores, out=scores)
    sums = scores.sum(axis=1)  # 1 or more: its logarithm is finite
    scores /= len(targets) * sums[:, None]
    scores[every, targets] -= np.float32(1 / len(targets))
    return float(np.mean(np.log(sums) - of_targets)), scores
