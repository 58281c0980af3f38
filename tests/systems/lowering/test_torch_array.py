"""Intervals on tensors enclose as those on arrays do, and nothing is computed in single precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

flint = pytest.importorskip("flint")
torch = pytest.importorskip("torch")

from systems import InvalidValue  # noqa: E402
from systems.arithmetic import interval_functions as fn  # noqa: E402
from systems.arithmetic.interval import Interval  # noqa: E402
from systems.lowering.device import fetched, placed  # noqa: E402
from systems.lowering.torch_array import TorchArray  # noqa: E402

COUNT = 600


def boxes(seed: int, least: float = -np.inf, most: float = np.inf) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low and high ends of boxes of all sizes, and a point in each."""
    rng = np.random.default_rng(seed)
    middle = rng.choice([-1.0, 1.0], COUNT) * 10.0 ** rng.uniform(-12, 2, COUNT)
    width = np.abs(middle) * rng.choice([0.0, 2.0**-52, 1e-9, 0.1, 2.0], COUNT)
    low, high = np.clip(middle - width, least, most), np.clip(middle + width, least, most)
    return low, high, np.clip(rng.uniform(low, high), low, high)


UNARY: dict[str, tuple[Callable[..., Any], Callable[..., Any], float, float]] = {
    "sin": (fn.sin, lambda x: x.sin(), -np.inf, np.inf),
    "cos": (fn.cos, lambda x: x.cos(), -np.inf, np.inf),
    "tan": (fn.tan, lambda x: x.tan(), -1.5, 1.5),
    "asin": (fn.asin, lambda x: x.asin(), -1.0, 1.0),
    "acos": (fn.acos, lambda x: x.acos(), -1.0, 1.0),
    "atan": (fn.atan, lambda x: x.atan(), -np.inf, np.inf),
    "sinh": (fn.sinh, lambda x: x.sinh(), -300.0, 300.0),
    "cosh": (fn.cosh, lambda x: x.cosh(), -300.0, 300.0),
    "tanh": (fn.tanh, lambda x: x.tanh(), -np.inf, np.inf),
    "asinh": (fn.asinh, lambda x: x.asinh(), -np.inf, np.inf),
    "exp": (fn.exp, lambda x: x.exp(), -300.0, 300.0),
    "expm1": (fn.expm1, lambda x: x.expm1(), -300.0, 300.0),
    "log": (fn.log, lambda x: x.log(), 1e-12, np.inf),
    "log1p": (fn.log1p, lambda x: x.log1p(), -0.9, np.inf),
    "sqrt": (fn.sqrt, lambda x: x.sqrt(), 0.0, np.inf),
    "abs": (abs, abs, -np.inf, np.inf),
    "square": (lambda x: x.sq(), lambda x: x * x, -np.inf, np.inf),
    "cube": (lambda x: x**3.0, lambda x: x**3, -np.inf, np.inf),
    "fourth power": (lambda x: x**4.0, lambda x: x**4, -np.inf, np.inf),
    "times a tenth": (lambda x: 0.1 * x, lambda x: flint.arb(0.1) * x, -np.inf, np.inf),
    "less a third": (lambda x: x - 1.0 / 3.0, lambda x: x - flint.arb(1.0 / 3.0), -np.inf, np.inf),
    "a third over": (lambda x: (1.0 / 3.0) / x, lambda x: flint.arb(1.0 / 3.0) / x, 1e-12, np.inf),
}


@pytest.mark.parametrize("name", UNARY)
def test_functions_are_enclosed(name: str) -> None:
    ours, exact, least, most = UNARY[name]
    low, high, point = boxes(0, least, most)
    flint.ctx.prec = 200
    on_device = ours(Interval(placed(low, "cpu"), placed(high, "cpu")))
    by_numpy = ours(Interval(low, high))
    lo, hi = fetched(on_device.lo), fetched(on_device.hi)
    assert lo.dtype == hi.dtype == np.float64
    for a, b, x in zip(lo.tolist(), hi.tolist(), point.tolist(), strict=True):
        y = exact(flint.arb(x))
        assert flint.arb(a) <= y.upper(), (name, x)
        assert y.lower() <= flint.arb(b), (name, x)
    assert np.allclose(lo, by_numpy.lo, rtol=1e-12, atol=1e-300)
    assert np.allclose(hi, by_numpy.hi, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("op", ["+", "-", "*", "/"])
def test_operations_are_enclosed(op: str) -> None:
    (a, b, x), (c, d, y) = boxes(1), boxes(2, 1e-12 if op == "/" else -np.inf)
    rule = {"+": lambda p, q: p + q, "-": lambda p, q: p - q, "*": lambda p, q: p * q, "/": lambda p, q: p / q}[op]
    flint.ctx.prec = 400
    for other in (Interval(placed(c, "cpu"), placed(d, "cpu")), Interval(c, d)):  # what numpy holds is moved there
        found = rule(Interval(placed(a, "cpu"), placed(b, "cpu")), other)
        lo, hi = fetched(found.lo), fetched(found.hi)
        for low, high, p, q in zip(lo.tolist(), hi.tolist(), x.tolist(), y.tolist(), strict=True):
            assert flint.arb(low) <= rule(flint.arb(p), flint.arb(q)) <= flint.arb(high)


def test_nothing_is_single() -> None:
    x = placed(np.array([1.0, 2.0]), "cpu")
    tenth = 0.1 * x
    assert fetched(tenth).tolist() == [0.1, 0.2]
    assert fetched(np.where(x > 1.5, 0.1, 0.2)).tolist() == [0.2, 0.1]
    assert fetched(np.clip(x, 1.1, 1.9)).tolist() == [1.1, 1.9]
    assert fetched(np.full_like(x, 0.1)).tolist() == [0.1, 0.1]
    with pytest.raises(InvalidValue, match="doubles"):
        TorchArray(torch.zeros(2, dtype=torch.float32))
    with pytest.raises(InvalidValue, match="doubles"):
        placed(np.zeros(2, dtype=np.float32), "cpu")


def test_what_is_not_offered_is_refused() -> None:
    x = placed(np.array([1.0, 2.0]), "cpu")
    with pytest.raises(TypeError):
        np.cumsum(x)
    with pytest.raises(TypeError):
        np.spacing(x)
    with pytest.raises(TypeError):
        np.add(x, x, where=np.array([True, False]))


def test_a_copy_is_a_copy() -> None:
    ours = np.array([1.0, 2.0])
    there = placed(ours, "cpu")
    there *= 3.0
    assert ours.tolist() == [1.0, 2.0]
    assert placed(ours, None) is ours


def test_eigenvalues_are_found_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    for shape in ((7, 3, 3), (2, 4, 2, 2), (0, 3, 3), (3, 3)):
        M = rng.normal(size=shape)
        M = M + M.swapaxes(-1, -2)
        expected = np.linalg.eigvalsh(M)
        for most in (1, 3, 100):
            monkeypatch.setattr("systems.lowering.torch_array.MATRICES", most)
            values, vectors = np.linalg.eigh(placed(M, "cpu"))
            assert fetched(values).shape == expected.shape
            assert np.allclose(fetched(values), expected)
            Q = fetched(vectors)
            assert np.allclose(Q @ (fetched(values)[..., None] * Q.swapaxes(-1, -2)), M)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("n", [2, 4, 6])
def test_a_gpu_takes_more_matrices_than_its_solver(n: int) -> None:
    M = np.random.default_rng(n).normal(size=(300_000, n, n))
    M = M + M.swapaxes(-1, -2)
    values, _ = np.linalg.eigh(placed(M, "cuda"))
    assert np.allclose(fetched(values)[::1000], np.linalg.eigvalsh(M[::1000]))


def test_what_overflows_is_marked_on_tensors_too() -> None:
    """No exception is raised there, so the results are looked at; what was unbounded before is no overflow."""
    low, high = np.array([1e300, -np.inf, 1.0]), np.array([1e300, np.inf, 2.0])
    x = Interval(placed(low, "cpu"), placed(high, "cpu"))
    for value in (x * x, x.sq(), fn.exp(x)):
        assert value.undefined is not None
        assert fetched(value.undefined).tolist() == [True, False, False]
