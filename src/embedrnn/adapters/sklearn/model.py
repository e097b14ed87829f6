"""The model of a classifier, and its gradients: a recurrent layer, pooled, and a softmax."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._check.estimators import Rows
from embedrnn._quiet import quiet
from embedrnn.bag import embedding_bag, embedding_bag_vjp
from embedrnn.layers.embedding import Embedding
from embedrnn.layers.encoder import Encoder
from embedrnn.layers.pooling import PoolingMode
from embedrnn.layers.recurrent import Recurrent

Array = npt.NDArray[Any]
Grads = dict[str, Any]


class Model:
    """Sequences in, a score of each class out.

    An optimiser takes `parts` as they are, and gradients nested in the same way.
    """

    def __init__(
        self,
        embedding: Embedding | None,
        recurrent: Recurrent,
        classes: int,
        *,
        pool: PoolingMode,
        dropout: float,
        freeze: bool,
        rng: np.random.Generator,
    ) -> None:
        self.embedding, self.recurrent = embedding, recurrent
        self._pool, self._dropout, self._freeze = pool, dropout, freeze
        width = recurrent._stack.width
        bound = width**-0.5
        self.output = {
            "weight": rng.uniform(-bound, bound, (classes, width)).astype(recurrent.dtype),
            "bias": np.zeros(classes, recurrent.dtype),
        }

    @property
    def parts(self) -> dict[str, Any]:
        """What learns."""
        learns = {"recurrent": self.recurrent, "output": self.output}
        if self.embedding is None or self._freeze:
            return learns
        return {"embedding": self.embedding, **learns}

    def scores(self, rows: Rows) -> Array:
        """Return the score of each class, (B, classes), in float64."""
        weight, bias = (self.output[name].astype(np.float64) for name in ("weight", "bias"))
        scores: Array = self._pooled(rows).astype(np.float64) @ weight.T + bias
        return scores

    def gradients(
        self, rows: Rows, targets: Array, weights: Array, rng: np.random.Generator
    ) -> tuple[float, Grads]:
        """Return the loss of a batch, and the gradient of everything that learns."""
        pooled, backward = self._pooled_vjp(rows, rng)
        kept = self._kept(pooled, rng)
        if kept is not None:
            pooled = pooled * kept
        scores = pooled @ self.output["weight"].T + self.output["bias"]
        loss, of_scores = cross_entropy(scores, targets, weights)
        of_pooled = of_scores @ self.output["weight"]
        grads = backward(of_pooled if kept is None else of_pooled * kept)
        output = {"weight": of_scores.T @ pooled, "bias": of_scores.sum(axis=0)}
        return loss, grads | {"output": output}

    def _kept(self, pooled: Array, rng: np.random.Generator) -> Array | None:
        """Return what to multiply each number with, where some are dropped."""
        if not self._dropout:
            return None
        kept = rng.random(pooled.shape) >= self._dropout
        return (kept / (1 - self._dropout)).astype(pooled.dtype)

    def _pooled(self, rows: Rows) -> Array:
        """Return a vector of each sequence."""
        if self.embedding is not None:
            encoder = Encoder(self.embedding, self.recurrent)
            pooled: Array = encoder(rows.values, offsets=rows.offsets, pool=self._pool)[0]
            return pooled
        output, state = self.recurrent(rows.values, offsets=rows.offsets)
        if self._pool == "last":
            return self._last(state)
        every = np.arange(len(output))
        return embedding_bag(output, every, rows.offsets, mode=self._pool, include_last_offset=True)

    def _pooled_vjp(
        self, rows: Rows, rng: np.random.Generator
    ) -> tuple[Array, Callable[[Array], Grads]]:
        """Return a vector of each sequence, and what its gradient comes to."""
        if self.embedding is None:
            return self._of_features(rows, rng)
        encoder = Encoder(self.embedding, self.recurrent)
        (pooled, _), back = encoder.vjp(rows.values, offsets=rows.offsets, pool=self._pool, rng=rng)

        def backward(grad: Array) -> Grads:
            found = back(grad)
            grads: Grads = {"recurrent": found.parameters}
            return grads if self._freeze else grads | {"embedding": {"weight": found.weight}}

        return pooled, backward

    def _of_features(
        self, rows: Rows, rng: np.random.Generator
    ) -> tuple[Array, Callable[[Array], Grads]]:
        (output, state), back = self.recurrent.vjp(rows.values, offsets=rows.offsets, rng=rng)
        if self._pool == "last":
            return self._last(state), lambda grad: {
                "recurrent": back(None, self._of_last(state, grad)).parameters
            }
        every = np.arange(len(output))
        pooled, unpool = embedding_bag_vjp(
            output, every, rows.offsets, mode=self._pool, include_last_offset=True
        )

        def backward(grad: Array) -> Grads:
            of_output = unpool(grad, into=np.zeros_like(output)).weight
            return {"recurrent": back(of_output).parameters}

        return pooled, backward

    def _last(self, state: Any) -> Array:
        """Return the last hidden state of the last layer, both directions side by side."""
        h_n: Array = state[0] if isinstance(state, tuple) else state
        stack = self.recurrent._stack
        last = h_n[-stack.directions :].swapaxes(0, 1)
        return np.ascontiguousarray(last).reshape(len(last), stack.width)

    def _of_last(self, state: Any, grad: Array) -> Any:
        """Return the gradient of the state, from that of what `_last` takes of it."""
        h_n = state[0] if isinstance(state, tuple) else state
        stack = self.recurrent._stack
        of_h = np.zeros_like(h_n)
        of_h[-stack.directions :] = grad.reshape(len(grad), -1, stack.hidden).swapaxes(0, 1)
        return (of_h, None) if isinstance(state, tuple) else of_h

    def copy_of_parameters(self) -> list[dict[str, Array]]:
        """Return what has been learned, as it is now."""
        return [
            {name: array.copy() for name, array in _arrays(part).items()}
            for part in self.parts.values()
        ]

    def restore(self, parameters: list[dict[str, Array]]) -> None:
        """Have again what had been learned."""
        for part, arrays in zip(self.parts.values(), parameters, strict=True):
            if isinstance(part, dict):
                for name, array in arrays.items():
                    part[name][...] = array
            else:
                part.load_state_dict(arrays)


def _arrays(part: Any) -> dict[str, Array]:
    arrays: dict[str, Array] = part if isinstance(part, dict) else part.state_dict()
    return arrays


@quiet
def cross_entropy(scores: Array, targets: Array, weights: Array) -> tuple[float, Array]:
    """Return the mean of weight * -log softmax(score)[target] over the rows, and its gradient.

    The gradient is weight * (softmax - one-hot) / B.
    """
    every, shares = np.arange(len(targets)), (weights / len(targets)).astype(scores.dtype)
    scores = scores - scores.max(axis=1, keepdims=True)  # the greatest is exp(0): none overflows
    odds = np.exp(scores)
    sums = odds.sum(axis=1)  # 1 or more: its logarithm is finite
    losses = np.log(sums) - scores[every, targets]
    grad = odds / sums[:, None]
    grad[every, targets] -= 1
    return float(np.dot(losses, shares)), grad * shares[:, None]


@quiet
def softmax(scores: Array) -> Array:
    """Return the probability of each class."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: Array = odds / odds.sum(axis=1, keepdims=True)
    return probabilities
