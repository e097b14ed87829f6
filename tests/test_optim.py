"""Optimisers: the rules by loops in float64 and by PyTorch, and what a step may not do."""

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import (
    HALVES,
    ISAS,
    LAYOUTS,
    WIDTHS,
    WRITEABLE_LAYOUTS,
    assert_same_bits,
    guarded,
)
from test_bits import rounding

Grads = list[Any]

# --- the rules, by hand --------------------------------------------------------------------------
# Each takes one step of an array in float64, in place, with what it has kept.


def sgd(p: Any, g: Any, kept: Any, t: int, lr: float, momentum: float, nesterov: bool) -> None:
    kept["b"] = momentum * kept.get("b", 0) + g
    p -= lr * (g + momentum * kept["b"] if nesterov else kept["b"])


def adagrad(p: Any, g: Any, kept: Any, t: int, lr: float, eps: float) -> None:
    kept["s"] = kept.get("s", 0) + g**2
    p -= lr * g / (kept["s"] ** 0.5 + eps)


def row_wise_adagrad(p: Any, g: Any, kept: Any, t: int, lr: float, eps: float) -> None:
    kept["s"] = kept.get("s", 0) + np.mean(g**2, axis=-1, keepdims=True)
    p -= lr * g / (kept["s"] ** 0.5 + eps)


def adam(p: Any, g: Any, kept: Any, t: int, lr: float, betas: Any, eps: float) -> None:
    kept["m"] = betas[0] * kept.get("m", 0) + (1 - betas[0]) * g
    kept["v"] = betas[1] * kept.get("v", 0) + (1 - betas[1]) * g**2
    mean, square = kept["m"] / (1 - betas[0] ** t), kept["v"] / (1 - betas[1] ** t)
    p -= lr * mean / (square**0.5 + eps)


@dataclass(frozen=True)
class Case:
    """An optimiser with options, and its rule."""

    name: str
    make: Any
    rule: Callable[..., None]
    options: dict[str, Any]
    decay: float = 0.0
    decoupled: bool = False

    def __str__(self) -> str:
        return self.name

    def __call__(self, parameters: Any, **more: Any) -> Any:
        return self.make(parameters, **{**self.options, "weight_decay": self.decay, **more})

    def by_hand(self, p: np.ndarray, grads: Grads) -> np.ndarray:
        """Return an array of two axes behind steps in float64; rows without a gradient rest."""
        p, kept = p.astype("f8"), [dict[str, Any]() for _ in p]
        for t, grad in enumerate(grads, 1):
            rows, values = grad if isinstance(grad, er.RowGrad) else (range(len(p)), grad)
            for row, g in zip(rows, values.astype("f8"), strict=True):
                if self.decoupled:
                    p[row] *= 1 - self.options["lr"] * self.decay
                decayed = g + (0 if self.decoupled else self.decay) * p[row]
                self.rule(p[row], decayed, kept[row], t, **self.options)
        return p


ADAM = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-8}
PLAIN = {"lr": 0.01, "momentum": 0.0, "nesterov": False}
MOMENTUM, NESTEROV = PLAIN | {"momentum": 0.9}, PLAIN | {"momentum": 0.9, "nesterov": True}
SUMS = {"lr": 0.05, "eps": 1e-10}
CASES = [
    Case("sgd", er.optim.SGD, sgd, PLAIN),
    Case("sgd_decay", er.optim.SGD, sgd, PLAIN, 0.1),
    Case("momentum_decay", er.optim.SGD, sgd, MOMENTUM, 0.1),
    Case("nesterov", er.optim.SGD, sgd, NESTEROV),
    Case("adagrad", er.optim.Adagrad, adagrad, SUMS),
    Case("adagrad_decay", er.optim.Adagrad, adagrad, SUMS, 0.1),
    Case("row_wise", er.optim.RowWiseAdagrad, row_wise_adagrad, SUMS),
    Case("row_wise_decay", er.optim.RowWiseAdagrad, row_wise_adagrad, SUMS, 0.1),
    Case("adam", er.optim.Adam, adam, ADAM),
    Case("adam_decay", er.optim.Adam, adam, ADAM, 0.1),
    Case("adamw", er.optim.AdamW, adam, ADAM, 0.1, decoupled=True),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)

V, D = 23, 19


def table(dtype: Any = "f4", shape: tuple[int, ...] = (V, D)) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(dtype)


def some_grads(
    n: int, rows: str, dtype: Any = "f4", shape: tuple[int, ...] = (V, D), seed: int = 0
) -> Grads:
    """Return gradients that are dense, of some rows, or of either kind."""
    rng = np.random.default_rng(seed)
    found: Grads = []
    for t in range(n):
        if rows == "dense" or (rows == "mixed" and t % 3 == 1):
            found.append(rng.standard_normal(shape).astype(dtype))
        else:
            ids = rng.integers(0, shape[0], max(1, shape[0] // 3))
            updates = rng.standard_normal((ids.size, *shape[1:])).astype(dtype)
            found.append(er.coalesce(ids, updates))
    return found


def run(case: Case, p: np.ndarray, grads: Grads, **more: Any) -> Any:
    """Step an array in place, and return the optimiser."""
    optimizer = case({"w": p}, **more)
    for grad in grads:
        optimizer.step({"w": grad})
    return optimizer


def stepped(case: Case, p: np.ndarray, grads: Grads, **more: Any) -> np.ndarray:
    p = p.copy()
    run(case, p, grads, **more).catch_up()
    return p


@every_case
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("rows", ["dense", "some", "mixed"])
def test_a_hundred_steps_by_hand(backend: str, case: Case, dtype: str, rows: str) -> None:
    grads = some_grads(100, rows, dtype, (7, 5))
    actual = stepped(case, table(dtype, (7, 5)), grads)
    expected = case.by_hand(table(dtype, (7, 5)), grads)
    one = 1e-6 if dtype == "f4" else 1e-14
    if case.decoupled:  # 1 - lr * decay is rounded to float32 before the product, as in PyTorch
        one *= 4
    np.testing.assert_allclose(actual, expected, rtol=0, atol=one * np.abs(expected).max())


TORCH = {
    "sgd_decay": ("SGD", {"lr": 0.01}),
    "momentum_decay": ("SGD", {"lr": 0.01, "momentum": 0.9}),
    "nesterov": ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", SUMS),
    "adagrad_decay": ("Adagrad", SUMS),
    "adam": ("Adam", ADAM),
    "adam_decay": ("Adam", ADAM),
    "adamw": ("AdamW", ADAM),
}
# What PyTorch steps by sparse gradients, and by which class.
SPARSE = {"sgd": ("SGD", {"lr": 0.01}), "adagrad": ("Adagrad", SUMS), "adam": ("SparseAdam", ADAM)}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("defaults", [False, True])
def test_the_numbers_of_pytorch(core: Any, name: str, defaults: bool) -> None:
    torch = pytest.importorskip("torch")
    case = next(case for case in CASES if case.name == name)
    kind, options = TORCH[name]
    options = {} if defaults else options | {"weight_decay": case.decay}
    p = table()
    theirs = torch.nn.Parameter(torch.tensor(table()))
    one, other = case.make({"w": p}, **options), getattr(torch.optim, kind)([theirs], **options)
    for grad in some_grads(100, "dense"):
        one.step({"w": grad})
        theirs.grad = torch.tensor(grad)
        other.step()
    np.testing.assert_allclose(p, theirs.detach().numpy(), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("name", SPARSE)
def test_the_numbers_of_pytorch_by_rows(core: Any, name: str) -> None:
    torch = pytest.importorskip("torch")
    case = next(case for case in CASES if case.name == name)
    kind, options = SPARSE[name]
    p = table()
    theirs = torch.nn.Parameter(torch.tensor(table()))
    one, other = case({"w": p}), getattr(torch.optim, kind)([theirs], **options)
    for grad in some_grads(100, "some"):
        one.step({"w": grad})
        theirs.grad = torch.sparse_coo_tensor(grad.indices[None], grad.values, (V, D))
        other.step()
    np.testing.assert_allclose(p, theirs.detach().numpy(), rtol=0, atol=1e-6)


# --- bits ----------------------------------------------------------------------------------------


@every_case
@every_dtype
@pytest.mark.parametrize("rows", ["dense", "some"])
def test_as_the_specification(native: str, case: Case, dtype: Any, rows: str) -> None:
    grads, more = some_grads(4, rows, dtype), {"rng": 3, "catch_up": True}
    actual = stepped(case, table(dtype), grads, **more)
    with er.use_backend("numpy"):
        expected = stepped(case, table(dtype), grads, **more)
    if rounding(native) == "apart":
        assert_same_bits(actual, expected)
        return
    if actual.dtype in HALVES:  # a last bit in float32 may decide which neighbour it is
        assert (actual != expected).mean() < 0.01
        actual, expected = actual.astype("f4"), expected.astype("f4")
    eps = 8 * np.finfo(table(dtype).dtype).eps if dtype in {"f4", "f8"} else 0.02
    np.testing.assert_allclose(actual, expected, rtol=eps, atol=eps)


@every_case
@every_dtype
def test_fused_instruction_sets_have_one_answer(case: Case, dtype: Any, core: Any) -> None:
    fused = [isa for isa in ISAS if rounding(isa) == "fused"]
    if len(fused) < 2:
        pytest.skip("needs two instruction sets with fused multiply-add")
    for width in (1, 3, 17, 300):
        grads = some_grads(3, "mixed", dtype, (9, width))
        found = []
        for isa in fused:
            core.set_isa(isa)
            found.append(
                stepped(case, table(dtype, (9, width)), grads, rng=3, catch_up=True).tobytes()
            )
        assert len(set(found)) == 1


@every_case
@every_dtype
@pytest.mark.parametrize("rows", ["dense", "some"])
def test_any_number_of_threads(core: Any, case: Case, dtype: Any, rows: str) -> None:
    shape = (3000, 33)
    grads = some_grads(2, rows, dtype, shape) + some_grads(1, "some", dtype, shape, seed=5)
    found = []
    for threads in (1, 2, 3, 8):
        er.set_num_threads(threads)
        found.append(stepped(case, table(dtype, shape), grads, rng=3, catch_up=True).tobytes())
    assert len(set(found)) == 1


@every_case
def test_a_gradient_of_all_rows_is_a_dense_one(backend: str, case: Case) -> None:
    grads = some_grads(5, "dense")
    of_rows = [er.RowGrad(np.arange(V), grad) for grad in grads]
    for more in ({}, {"catch_up": True}):
        expected = stepped(case, table(), grads, **more)
        assert_same_bits(stepped(case, table(), of_rows, **more), expected)


@every_case
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_outside_the_arrays_is_touched(core: Any, case: Case, width: int) -> None:
    shape = (5, width)
    for before in (False, True):
        p = guarded(table("f4", shape), before=before)
        dense, some = some_grads(1, "dense", "f4", shape)[0], some_grads(1, "some", "f4", shape)[0]
        values = guarded(some.values, before=before)
        run(case, p, [guarded(dense, before=before), er.RowGrad(some.indices, values)])
        expected = stepped(case, table("f4", shape), [dense, some])
        assert_same_bits(p, expected)


# --- halves --------------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_halves_are_stepped_in_float32(backend: str, case: Case, half: Any) -> None:
    grad = some_grads(1, "some", half)[0]
    start = table(half)
    wide = stepped(case, start.astype("f4"), [grad.astype("f4")])
    for given_grad in (grad, grad.astype("f4")):
        assert_same_bits(stepped(case, start, [given_grad]), wide.astype(half))


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_halves_are_rounded_by_chance_without_bias(backend: str, half: Any) -> None:
    # A quarter of the way to the next number: subnormal as float16, normal, and of either sign.
    below = np.array([3 * 2.0**-24, 1.0, -5.0, 200.0, 2.0**-14]).astype(half)
    above = np.nextafter(below, np.array(np.inf, half)).astype("f8")
    below = below.astype("f8")
    step = 0.25 * (above - below)
    p = np.broadcast_to(below.astype(half), (4000, 5)).copy()
    er.optim.SGD({"w": p}, lr=1.0, rng=0).step({"w": np.tile(-step, (4000, 1)).astype("f4")})
    found = p.astype("f8")
    assert ((found == below) | (found == above)).all()
    np.testing.assert_allclose((found == above).mean(axis=0), 0.25, atol=0.04)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_what_is_not_finite_stays_so_by_chance(backend: str, half: Any) -> None:
    p = np.zeros((1, 5), half)
    grad = np.array([[np.nan, np.inf, -np.inf, 3e38, -3e38]], "f4")
    with np.errstate(all="ignore"):
        nearest = (0 - 2 * grad).astype(half)
    er.optim.SGD({"w": p}, lr=2.0, rng=0).step({"w": grad})
    np.testing.assert_array_equal(p.astype("f4"), nearest.astype("f4"))


def test_small_steps_are_lost_to_the_nearest_alone() -> None:
    grads = [np.full((1, 1000), 1e-4, "f4")] * 50
    case = CASES[0]
    start = np.ones((1, 1000), np.float16)
    assert (stepped(case, start, grads, lr=1.0) == 1).all()
    moved = stepped(case, start, grads, lr=1.0, rng=0).astype("f8")
    assert moved.mean() == pytest.approx(1 - 50e-4, abs=2e-4)
    assert_same_bits(stepped(case, start, grads, lr=1.0, rng=0), moved.astype("f2"))


# --- rows that make up for what they missed ------------------------------------------------------


def without_gaps(grads: Grads, shape: tuple[int, ...]) -> Grads:
    return [g.to_dense(shape[0]) if isinstance(g, er.RowGrad) else g for g in grads]


def falling(step: int) -> float:
    return 0.1 / (1 + step)


@every_case
@every_dtype
@pytest.mark.parametrize("seed", [None, 5])
def test_rows_that_catch_up_have_the_bits_of_dense_steps(
    backend: str, case: Case, dtype: Any, seed: Any
) -> None:
    grads = some_grads(12, "mixed", dtype, (9, 5))
    dense, p = table(dtype, (9, 5)), table(dtype, (9, 5))
    run(case, dense, without_gaps(grads, (9, 5)), lr=falling, rng=seed)
    optimizer = case({"w": p}, lr=falling, catch_up=True, rng=seed)
    for t, grad in enumerate(grads):
        optimizer.step({"w": grad})
        if t == 5:
            optimizer.catch_up()
    optimizer.catch_up()
    assert_same_bits(p, dense)
    optimizer.catch_up()
    assert_same_bits(p, dense)


@every_case
def test_rows_catch_up_before_they_are_looked_up(backend: str, case: Case) -> None:
    dense, p = table(), table()
    one, other = case({"w": dense}), case({"w": p}, catch_up=True)
    for seed, ids in enumerate([[3, 5], [5, 7, 7], [20], [3, 22, -1]]):
        other.catch_up({"w": ids})
        assert_same_bits(p[ids], dense[ids])
        grad = er.coalesce(ids, table("f4", (len(ids), D)) + seed, num_embeddings=V)
        one.step({"w": grad.to_dense(V)})
        other.step({"w": grad})
    other.catch_up({"w": np.zeros((2, 0), int)})
    other.catch_up()
    other.catch_up({"w": [0]})
    assert_same_bits(p, dense)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ({"w": [0, V]}, IndexError, "^index 23 at position 1 is out of range for w with 23 rows"),
        ({"v": [0]}, ValueError, "^rows must name parameters, got 'v': there are 's, w'$"),
        ({"w": [0.5]}, TypeError, r"^rows\['w'\]: indices must be integers, got float64$"),
        ({"s": [0]}, ValueError, "^rows must name parameters with rows, got the scalar s$"),
        ([0], TypeError, "^rows must be a mapping of names, got list$"),
    ],
)
def test_rows_that_cannot_catch_up(
    backend: str, rows: Any, error: type[Exception], message: str
) -> None:
    optimizer = er.optim.Adam({"s": np.zeros(()), "w": table()}, catch_up=True)
    optimizer.step({"s": np.ones(()), "w": np.ones((V, D), "f4")})
    with pytest.raises(error, match=message):
        optimizer.catch_up({"w": [1]} | rows if isinstance(rows, dict) else rows)


@every_case
def test_rows_without_a_gradient_rest(backend: str, case: Case) -> None:
    p = table()
    run(case, p, [er.coalesce([3, 5], table("f4", (2, D)))] * 3)
    rest = np.delete(np.arange(V), [3, 5])
    assert_same_bits(p[rest], table()[rest])
    assert (p[[3, 5]] != table()[[3, 5]]).any(axis=1).all()


# --- state ---------------------------------------------------------------------------------------


@every_case
@every_dtype
@pytest.mark.parametrize("more", [{}, {"catch_up": True, "rng": 8}], ids=["rest", "catch_up"])
def test_a_run_that_goes_on_has_the_bits_of_one(
    backend: str, case: Case, dtype: Any, more: dict[str, Any], tmp_path: Path
) -> None:
    more = more | {"lr": falling}
    grads = some_grads(9, "mixed", dtype)
    expected = stepped(case, table(dtype), grads, **more)
    p = table(dtype)
    first = run(case, p, grads[:5], **more)
    np.savez(tmp_path / "state.npz", **first.state_dict())
    q = p.copy()
    second = case({"w": q}, **(more | {"rng": 1} if "rng" in more else more))
    with np.load(tmp_path / "state.npz") as stored:
        second.load_state_dict(stored)
    for grad in grads[5:]:
        second.step({"w": grad})
    second.catch_up()
    assert_same_bits(q, expected)


def test_what_the_state_holds(backend: str) -> None:
    optimizer = run(CASES[-1], table(), some_grads(3, "some"))
    state = optimizer.state_dict()
    assert list(state) == ["step", "w.step", "w.exp_avg", "w.exp_avg_sq"]
    assert (state["step"], state["w.step"]) == (3, 3)
    with pytest.raises(ValueError, match="read-only"):
        state["w.exp_avg"][0] = 1
    lagging = run(CASES[-1], table("f2"), some_grads(3, "some"), catch_up=True, rng=0)
    more = lagging.state_dict()
    assert [*more][4:] == ["w.last_step", "w.coefficients", "w.seed"]
    assert more["w.coefficients"].shape == (3, 7)
    lagging.catch_up()
    assert lagging.state_dict()["w.coefficients"].shape == (0, 7)


BAD_STATES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "missing": ({"w.step": None}, ValueError, "^state_dict does not fit .*missing w.step$"),
    "unexpected": ({"v.step": 1}, ValueError, "unexpected v.step$"),
    "shape": ({"w.exp_avg": np.zeros((V, 2), "f4")}, ValueError,
              r"^w.exp_avg must have shape \(23, 19\), got \(23, 2\)$"),
    "dtype": ({"w.exp_avg": np.zeros((V, D))}, TypeError, "^w.exp_avg must be float32, got fl"),
    "number": ({"w.step": 1.5}, TypeError, "^w.step must be an integer, got float$"),
    "negative": ({"step": -1}, ValueError, r"^step must be in \[0, 2\*\*63\), got -1$"),
    "too_many": ({"w.coefficients": np.zeros((5, 7), "f4")}, ValueError,
                 "^w.coefficients must have 3 rows or fewer, got 5$"),
    "columns": ({"w.coefficients": np.zeros((1, 6), "f4")}, ValueError,
                r"^w.coefficients must have shape \(any, 7\), got \(1, 6\)$"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_STATES)
def test_a_state_that_does_not_fit_changes_nothing(backend: str, name: str) -> None:
    changes, error, message = BAD_STATES[name]
    optimizer = run(CASES[-1], table(), some_grads(3, "some"), catch_up=True)
    before = {key: np.array(value) for key, value in optimizer.state_dict().items()}
    state = {key: value for key, value in (before | changes).items() if value is not None}
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(state)
    for key, value in optimizer.state_dict().items():
        assert_same_bits(value, before[key])


def test_names_that_have_no_gradient_are_not_stepped(backend: str) -> None:
    p, q = table(), table()
    optimizer = er.optim.Adam({"p": p, "more": {"q": q}})
    grads = some_grads(3, "dense")
    optimizer.step({"p": grads[0]})
    optimizer.step({"p": grads[1], "more": {"q": grads[2]}})
    assert_same_bits(p, stepped(Case("", er.optim.Adam, adam, {}), table(), grads[:2]))
    assert_same_bits(q, stepped(Case("", er.optim.Adam, adam, {}), table(), grads[2:]))
    optimizer.step({"more.q": grads[0]})
    assert optimizer.state_dict()["step"] == 3
    assert optimizer.state_dict()["more.q.step"] == 2


def test_a_schedule_counts_steps_from_0(backend: str) -> None:
    asked, p = [], np.zeros(2)

    def rate(step: int) -> float:
        asked.append(step)
        return [1.0, 0.5, 0.0][step]

    optimizer = er.optim.SGD({"p": p}, rate)
    for _ in range(3):
        optimizer.step({"p": np.array([1.0, 2.0])})
    assert asked == [0, 1, 2]
    assert p.tolist() == [-1.5, -3]
    optimizer.lr = 2.0
    optimizer.step({"p": np.array([1.0, 0.0])})
    assert p.tolist() == [-3.5, -3]
    for bad in (np.nan, -1, "1", None):
        optimizer.lr = bad
        with pytest.raises((TypeError, ValueError), match=r"^lr must be "):
            optimizer.step({"p": np.ones(2)})
        assert p.tolist() == [-3.5, -3]


# --- errors --------------------------------------------------------------------------------------

OF_ROWS = er.RowGrad(np.array([0, 2]), np.ones((2, D), "f4"))
BAD_GRADS: dict[str, tuple[Any, type[Exception], str]] = {
    "no_mapping": (OF_ROWS, TypeError, "^grads must be a mapping of names, got RowGrad$"),
    "name": ({"v": OF_ROWS}, ValueError, "^grads must name parameters, got 'v': there are 'a, w'$"),
    "no_name": ({3: OF_ROWS}, TypeError, "^grads must have names that are strings, got 3$"),
    "shape": ({"w": np.ones((V, 2), "f4")}, ValueError,
              r"^grads\['w'\] must have shape \(23, 19\), got \(23, 2\)$"),
    "dtype": ({"w": np.ones((V, D))}, TypeError,
              r"^grads\['w'\] must be float32 as the parameter is, got float64$"),
    "none": ({"w": None}, TypeError, r"^grads\['w'\] must be array_like, got NoneType"),
    "values": ({"w": er.RowGrad(OF_ROWS.indices, np.ones((3, D), "f4"))}, ValueError,
               r"^grads\['w'\].values must have shape \(2, 19\), got \(3, 19\)$"),
    "row": ({"w": er.RowGrad(np.array([0, V]), OF_ROWS.values)}, IndexError,
            "^index 23 at position 1 is out of range for w with 23 rows: expected 0 <= index < 23"),
    "negative": ({"w": er.RowGrad(np.array([-1, 0]), OF_ROWS.values)}, IndexError,
                 "^index -1 at position 0 is out of range for w "),
    "twice": ({"w": er.RowGrad(np.array([4, 4]), OF_ROWS.values)}, ValueError,
              r"^grads\['w'\].indices must be distinct and rising, .* 4 at position 1 behind 4$"),
    "falling": ({"w": er.RowGrad(np.array([4, 3]), OF_ROWS.values)}, ValueError,
                r"^grads\['w'\].indices must be distinct and rising"),
    "float": ({"w": er.RowGrad(np.array([4.0, 5.0]), OF_ROWS.values)}, TypeError,
              r"^grads\['w'\].indices must be integers, got float64$"),
    "axes": ({"w": er.RowGrad(np.array([[4, 5]]), OF_ROWS.values)}, ValueError,
             r"^grads\['w'\].indices must have one axis, got shape \(1, 2\)$"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_GRADS)
def test_a_gradient_that_does_not_fit_changes_nothing(backend: str, name: str) -> None:
    grads, error, message = BAD_GRADS[name]
    a, w = table(), table()
    optimizer = er.optim.Adam({"a": a, "w": w}, catch_up=True)
    for good in ({"a": OF_ROWS}, {}):
        before = a.tobytes(), w.tobytes(), str(optimizer.state_dict())
        with pytest.raises(error, match=message):
            optimizer.step(good | grads if isinstance(grads, dict) else grads)
        assert (a.tobytes(), w.tobytes(), str(optimizer.state_dict())) == before


def test_nan_is_a_gradient(backend: str) -> None:
    p = table()
    grad = er.coalesce([3], np.full((1, D), np.nan, "f4"))
    er.optim.Adam({"w": p}).step({"w": grad})
    assert np.isnan(p[3]).all()
    assert np.isfinite(np.delete(p, 3, axis=0)).all()


@every_case
def test_infinite_parameters_are_not_nan_without_decay(backend: str, case: Case) -> None:
    p = np.full((1, 3), np.inf, "f4")
    case({"w": p}, weight_decay=0.0).step({"w": np.ones((1, 3), "f4")})
    assert np.isinf(p).all()


# --- arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
@pytest.mark.parametrize("shape", [(6,), (6, 4), (6, 2, 3)])
@pytest.mark.parametrize("kind", ["dense", "some"])
def test_layouts_of_parameters_are_stepped_or_refused(
    backend: str, layout: str, shape: tuple[int, ...], kind: str
) -> None:
    case, p = CASES[-1], WRITEABLE_LAYOUTS[layout](table("f4", shape))
    before, grads = p.tobytes(), some_grads(3, kind, "f4", shape)
    try:
        run(case, p, grads)
    except ValueError as error:
        assert str(error).startswith("w must be aligned, in native byte order, and C-cont")  # noqa: PT017
        assert layout not in {"contiguous", "rows_flipped", "every_other_row"} or len(shape) == 3
        assert p.tobytes() == before
    else:
        start = WRITEABLE_LAYOUTS[layout](table("f4", shape)).copy()
        assert_same_bits(p.copy(), stepped(case, start, grads))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(6,), (6, 4), (6, 2, 3)])
def test_layouts_of_gradients(backend: str, layout: str, shape: tuple[int, ...]) -> None:
    grad = LAYOUTS[layout](table("f4", shape))
    ids = np.arange(shape[0])
    expected = stepped(CASES[-1], table("f4", shape), [grad.astype("f4").copy()])
    for given_grad in (grad, er.RowGrad(ids, grad)):
        assert_same_bits(stepped(CASES[-1], table("f4", shape), [given_grad]), expected)


def test_a_gradient_may_be_the_parameter(backend: str) -> None:
    p = table()
    er.optim.SGD({"w": p}, lr=0.25, momentum=0.5).step({"w": p})
    assert_same_bits(p, np.float32(0.75) * table())


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,), (1, 1), (2, 3, 4)])
@every_case
def test_shapes_of_parameters(backend: str, case: Case, shape: tuple[int, ...]) -> None:
    grad = table("f8", shape) + 1
    p = stepped(case, table("f8", shape), [grad, grad], catch_up=True)
    if p.size == 0:
        return
    rows = p.reshape(shape[0], -1) if shape else p.reshape(1, 1)
    start = table("f8", shape).reshape(rows.shape)
    np.testing.assert_allclose(rows, case.by_hand(start, [grad.reshape(rows.shape)] * 2), 1e-12)


@pytest.mark.parametrize("n", [1023, 1024, 1025, 3000])
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_elements_have_their_numbers_in_any_rows(backend: str, n: int, half: Any) -> None:
    grad = table("f4", (n,))
    as_vector = stepped(CASES[0], np.ones(n, half), [grad], rng=3)
    as_row = stepped(CASES[0], np.ones((1, n), half), [grad[None]], rng=3)
    in_rows = er.RowGrad(np.arange(n), grad)
    assert_same_bits(as_row[0], as_vector)
    assert_same_bits(stepped(CASES[0], np.ones(n, half), [in_rows], rng=3), as_vector)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(0, 40)),
    ids=st.lists(st.lists(st.integers(0, 8), max_size=9), max_size=5),
    case=st.sampled_from(CASES),
    lag=st.booleans(),
)
def test_anything_by_hand(
    backend: str, shape: tuple[int, int], ids: list[list[int]], case: Case, lag: bool
) -> None:
    rng = np.random.default_rng(0)
    grads = [
        er.coalesce(np.array(batch, int) % shape[0], rng.standard_normal((len(batch), shape[1])))
        for batch in ids
    ]
    seen = without_gaps(grads, shape) if lag else grads
    if shape[1] == 0:
        seen = []
    actual = stepped(case, table("f8", shape), grads, catch_up=lag)
    np.testing.assert_allclose(actual, case.by_hand(table("f8", shape), seen), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"w": [1.0]}, TypeError, "^w must be an ndarray, got list$"),
        ({"w": np.ones(2, int)}, TypeError, "^w must be float32, .*, got int64$"),
        ({"w": np.broadcast_to(np.ones(2), (2, 2))}, ValueError, "^w is read-only$"),
        ({"a": {"b": np.ones(2)}, "a.b": np.ones(2)}, ValueError, "differ, got 'a.b' twice$"),
        ({"a": er.RNN(2, 3), "a.bias_ih_l0": np.ones(2)}, ValueError, "got 'a.bias_ih_l0' twice$"),
        ({1: np.ones(2)}, TypeError, "^parameters must have names that are strings, got 1$"),
        (np.ones(2), TypeError, "^parameters must be a mapping of names, got ndarray$"),
        (er.Embedding(3, 2).quantize(), TypeError, "^weight must be float32, .*, got uint8$"),
    ],
)
def test_parameters_that_are_refused(
    backend: str, parameters: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        er.optim.SGD(parameters)


def test_rows_that_overlap_are_refused(backend: str) -> None:
    windows = np.lib.stride_tricks.sliding_window_view(np.ones(9), 3, writeable=True)
    with pytest.raises(ValueError, match=r"^w must be aligned, .*in one piece: it is stepped in "):
        er.optim.SGD({"w": windows})


def test_a_subclass_is_stepped_as_the_array_it_is(backend: str) -> None:
    p = np.ones((2, 3)).view(np.matrix)
    er.optim.SGD({"w": p}, lr=0.5).step({"w": np.ones((2, 3))})
    assert (p == 0.5).all()


def test_states_take_no_memory_before_they_are_touched(core: Any) -> None:
    p = np.zeros((1 << 22, 64), np.float16)  # half a gigabyte, and two of states
    optimizer = er.optim.Adam({"w": p}, catch_up=True)
    resident = Path("/proc/self/statm")
    if not resident.exists():
        pytest.skip("needs /proc")
    before = int(resident.read_text(encoding="ascii").split()[1])
    optimizer.step({"w": er.coalesce([5, 1 << 21], np.ones((2, 64), "f2"))})
    assert (
        int(resident.read_text(encoding="ascii").split()[1]) - before < 10_000
    )  # pages, some of them huge


# --- layers --------------------------------------------------------------------------------------


@pytest.fixture
def embedding() -> er.Embedding:
    return er.Embedding(V, D, padding_idx=2, rng=0)


def test_a_table_is_stepped_where_it_is(backend: str, embedding: er.Embedding) -> None:
    weight, before = embedding.weight, embedding.weight.copy()
    optimizer = er.optim.Adam({"e": embedding})
    assert np.shares_memory(embedding.weight, weight)
    output, backward = embedding.vjp([2, 4, 4])
    grad = backward(np.ones_like(output))
    optimizer.step({"e": {"weight": grad}})
    assert np.shares_memory(embedding.weight, weight)
    assert_same_bits(embedding.weight, weight)
    assert np.flatnonzero((weight != before).any(axis=1)).tolist() == [4]
    expected = stepped(Case("", er.optim.Adam, adam, {}), before, [grad])
    assert_same_bits(weight, expected)
    assert not embedding.weight.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        embedding.weight.flags.writeable = True


@pytest.mark.parametrize("make", [er.RNN, er.GRU, er.LSTM])
def test_recurrent_layers_are_packed_again(backend: str, make: Any) -> None:
    layer, x = make(3, 5, rng=0), table("f4", (2, 4, 3))
    before, arrays = layer(x)[0], layer.state_dict()
    optimizer = er.optim.SGD(layer, lr=0.5)
    optimizer.step({"bias_ih_l0": np.ones_like(layer.bias_ih_l0)})
    other = make(3, 5)
    other.load_state_dict(layer.state_dict())
    assert_same_bits(layer(x)[0], other(x)[0])
    assert not np.array_equal(layer(x)[0], before)
    for name, array in layer.state_dict().items():
        assert np.shares_memory(array, arrays[name])


def test_what_belongs_to_somebody_else_is_copied_once(backend: str, tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", table())
    mapped, own = np.load(tmp_path / "table.npy", mmap_mode="r"), table()
    for given_table in (mapped, own):
        layer = er.Embedding.from_pretrained(given_table)
        optimizer = er.optim.SGD(layer, lr=1.0)
        held = layer.weight
        assert not np.shares_memory(held, given_table)
        optimizer.step({"weight": OF_ROWS})
        assert np.shares_memory(held, layer.weight)
        assert_same_bits(np.asarray(given_table), table())
        assert_same_bits(layer.weight[2], table()[2] - 1)


def test_a_layer_that_is_updated_meanwhile(backend: str, embedding: er.Embedding) -> None:
    optimizer = er.optim.SGD(embedding, lr=1.0)
    optimizer.step({"weight": OF_ROWS})
    given_table = table()
    embedding.update({"weight": given_table})
    optimizer.step({"weight": OF_ROWS})
    assert_same_bits(given_table, table())
    assert_same_bits(embedding.weight[[0, 1]], table()[[0, 1]] - np.array([[1], [0]], "f4"))


def test_norms_are_bounded_behind_a_step(backend: str) -> None:
    layer = er.Embedding.from_pretrained(table(), max_norm=1.0)
    er.optim.SGD(layer, lr=100.0).step({"weight": OF_ROWS})
    assert np.linalg.norm(layer.weight[0]) > 100
    assert np.linalg.norm(layer([0])) <= 1.0001
    assert np.linalg.norm(layer.weight[0]) <= 1.0001


def test_one_layer_has_its_own_names() -> None:
    layer = er.LSTM(2, 3)
    state = er.optim.SGD({"model": {"rnn": layer}}, momentum=0.9).state_dict()
    assert {f"model.rnn.{name}.momentum_buffer" for name in layer.state_dict()} < set(state)


def test_threads_take_turns(core: Any) -> None:
    layer = er.Embedding.from_pretrained(np.zeros((V, D), "f4"))
    optimizer = er.optim.SGD(layer, lr=1.0)

    def work() -> None:
        for _ in range(50):
            optimizer.step({"weight": OF_ROWS})
            layer([0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (layer.weight[[0, 2]] == -200).all()
    assert optimizer.state_dict()["step"] == 200


def test_copies_belong_together(backend: str, embedding: er.Embedding) -> None:
    bias = np.ones(3)
    optimizer = er.optim.SGD({"e": embedding, "bias": bias}, lr=1.0, momentum=0.5)
    for again in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        optimizer.step({"e": {"weight": OF_ROWS}, "bias": np.ones(3)})
        layer, array, other = again((embedding, bias, optimizer))
        assert_same_bits(layer.weight, embedding.weight)
        other.step({"e": {"weight": OF_ROWS}, "bias": np.ones(3)})
        assert (layer.weight[0] < embedding.weight[0]).all()
        assert (array < bias).all()


# --- clipping ------------------------------------------------------------------------------------


def nested() -> Iterator[tuple[Any, list[np.ndarray]]]:
    a, b = table("f4", (4, 3)), table("f8", (5,))
    c = er.coalesce([7, 1], table(HALVES[1], (2, 3)))
    yield a, [a]
    yield c, [c.values]
    yield {"a": a, "more": {"c": c, "b": b}}, [a, c.values, b]
    yield (a, (b, None), [c]), [a, b, c.values]
    yield er.BagGrads(c, None), [c.values]
    yield [1.0, 2.0], [np.array([1.0, 2.0])]
    yield {}, []


@pytest.mark.parametrize("at", range(7))
def test_clipping_scales_all_alike(at: int) -> None:
    grads, leaves = list(nested())[at]
    total = float(np.sqrt(sum((leaf.astype("f8") ** 2).sum() for leaf in leaves)))
    same, norm = er.clip_grad_norm(grads, total + 1)
    assert norm == pytest.approx(total, rel=1e-12)
    assert same is grads
    if not leaves:
        return
    before = [leaf.tobytes() for leaf in leaves]
    clipped, again = er.clip_grad_norm(grads, total / 2)
    assert again == norm
    assert [leaf.tobytes() for leaf in leaves] == before
    assert type(clipped) is type(grads) or isinstance(grads, list)
    _, half = er.clip_grad_norm(clipped, np.inf)
    assert half == pytest.approx(total / 2, rel=1e-2)


def test_clipping_by_hand() -> None:
    grads = {"a": np.array([3.0]), "b": er.RowGrad(np.array([5]), np.array([[4.0]]))}
    clipped, norm = er.clip_grad_norm(grads, 2.5)
    assert norm == 5
    assert clipped["a"].tolist() == [3 * 2.5 / (5 + 1e-6)]
    assert clipped["b"].values.tolist() == [[4 * 2.5 / (5 + 1e-6)]]
    assert clipped["b"].indices is grads["b"].indices  # type: ignore[attr-defined]


def test_norms_that_squares_would_lose() -> None:
    for big in (1e200, 1e-200):
        norm = er.clip_grad_norm([np.array([3 * big]), np.array([4 * big])], np.inf)[1]
        assert norm == pytest.approx(5 * big, rel=1e-12)


def test_norms_that_are_not_finite() -> None:
    with np.errstate(all="raise"):
        clipped, norm = er.clip_grad_norm([np.array([np.inf, 1.0]), np.array([2.0])], 1)
        assert norm == np.inf
        np.testing.assert_array_equal(clipped[0], [np.nan, 0])
        assert clipped[1].tolist() == [0]
        clipped, norm = er.clip_grad_norm([np.array([np.nan, 1.0]), np.array([2.0])], 1)
        assert np.isnan(norm)
        assert np.isnan(np.concatenate(clipped)).all()


def test_clipping_as_pytorch() -> None:
    torch = pytest.importorskip("torch")
    arrays = [table("f4", (4, 3)), table("f4", (5,))]
    for most in (0.5, 100.0):
        tensors = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
        for tensor, a in zip(tensors, arrays, strict=True):
            tensor.grad = torch.tensor(a)
        norm = torch.nn.utils.clip_grad_norm_(tensors, most)
        clipped, ours = er.clip_grad_norm(arrays, most)
        assert ours == pytest.approx(float(norm), rel=1e-6)
        for tensor, a in zip(tensors, clipped, strict=True):
            np.testing.assert_allclose(a, tensor.grad.numpy(), rtol=1e-6)
