"""Quadratic Lyapunov functions: bounds hold, and are not needlessly wide."""

from __future__ import annotations

import numpy as np
import pytest

from ctrl.certify import ClosedLoop, Lyapunov, Quadratic, riccati
from ctrl.lqr import LQR
from systems import DimensionMismatch, InvalidValue
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum
from systems.lowering.interval import Interval

P = np.array([[30.0, 2.3], [2.3, 1.4]])
V = Quadratic(P, np.array([0.3, -1.0]))


def boxes(n: int, count: int = 200, seed: int = 0) -> Interval:
    rng = np.random.default_rng(seed)
    middle = rng.uniform(-1, 1, (count, n))
    half = 10.0 ** rng.uniform(-5, -0.5, (count, n))
    return Interval(middle - half, middle + half)


def test_values_and_gradients_are_enclosed() -> None:
    rng = np.random.default_rng(1)
    box = boxes(2)
    value, gradient = V.enclose(box), V.enclose_gradient(box)
    for _ in range(100):
        x = rng.uniform(box.lo, box.hi)
        assert ((V(x) >= value.lo - 1e-12) & (V(x) <= value.hi + 1e-12)).all()
        slope = 2 * (x - V.centre) @ P
        assert ((slope >= gradient.lo - 1e-12) & (slope <= gradient.hi + 1e-12)).all()


def test_the_bounding_box_touches_the_ellipse() -> None:
    low, high = V.bounding_box(4.0)
    half = np.sqrt(4.0 * np.diag(np.linalg.inv(P)))
    assert (low <= V.centre - half).all()
    assert (high >= V.centre + half).all()
    assert np.allclose(high - V.centre, half, rtol=1e-12)


def test_the_volume_of_an_ellipse() -> None:
    assert np.isclose(V.volume(4.0), np.pi * 4.0 / np.sqrt(np.linalg.det(P)))
    ball = Quadratic(np.eye(3), np.zeros(3))
    assert np.isclose(ball.volume(4.0), 4 / 3 * np.pi * 8.0)


@pytest.mark.parametrize("task", [pendulum(), cartpole()], ids=["pendulum", "cartpole"])
@pytest.mark.parametrize("kappa", [0.0, 0.01])
def test_the_change_is_bounded(task: object, kappa: float) -> None:
    loop, V = ClosedLoop(task, LQR(task).law), riccati(task)  # type: ignore[arg-type]
    rng = np.random.default_rng(2)
    box = boxes(len(V.P))
    middle = box.mid
    after, slopes = loop.enclose(Interval.of(middle)), loop.enclose_jacobian(box).jacobian
    sharp = V.change(box, middle, after, slopes, kappa)
    general = Lyapunov.change(V, box, middle, after, slopes, kappa)
    for _ in range(100):
        x = rng.uniform(box.lo, box.hi)
        g = V(loop(x)) - (1 - kappa) * V(x)
        assert (g <= sharp.upper + 1e-9).all()
        assert (g <= general.upper + 1e-9).all()
    assert (sharp.at_middle.lo <= V(loop(middle)) - (1 - kappa) * V(middle) + 1e-9).all()
    assert np.median((sharp.upper - sharp.at_middle.hi) / (general.upper - general.at_middle.hi)) < 0.9


def test_decrease_around_the_centre() -> None:
    half = 0.5 * np.eye(2)
    assert V.decreases_around(Interval.of(half), 0.0)
    assert V.decreases_around(Interval.of(half), 0.74)
    assert not V.decreases_around(Interval.of(half), 0.75)  # then equality holds
    assert not V.decreases_around(Interval.of(np.eye(2)), 0.0)
    scalar = Quadratic(np.eye(1), np.zeros(1))
    assert scalar.decreases_around(Interval([[-0.9]], [[0.9]]), 0.0)
    assert not scalar.decreases_around(Interval([[-0.9]], [[1.1]]), 0.0)
    assert not scalar.decreases_around(Interval([[-1.1]], [[1.1]]), 0.0)
    assert not V.decreases_around(Interval(half - 10, half + 10), 0.0)
    assert not V.decreases_around(Interval(np.full((2, 2), -np.inf), np.full((2, 2), np.inf)), 0.0)


@pytest.mark.parametrize(
    ("P", "message"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], "positive definite"),
        ([[1.0, 1.0], [1.0, 1.0]], "positive definite"),
        ([[1.0, 0.1], [0.2, 1.0]], "symmetric"),
        ([[1.0, np.nan], [np.nan, 1.0]], "finite"),
    ],
)
def test_a_matrix_that_bounds_no_region_is_refused(P: list[list[float]], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        Quadratic(np.array(P), np.zeros(2))
    with pytest.raises(DimensionMismatch):
        Quadratic(np.eye(2), np.zeros(3))
