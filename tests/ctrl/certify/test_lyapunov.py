"""Lyapunov functions: bounds hold, and are not needlessly wide."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop, Lyapunov, QuadraticLyapunov, SymbolicLyapunov, riccati
from ctrl.certify.bounds.decrease import change, decreases_around
from ctrl.certify.bounds.frame import Frame
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.regulator import LQR
from systems import DimensionMismatch, InvalidValue
from systems.arithmetic.affine import Patch
from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum

P = np.array([[30.0, 2.3], [2.3, 1.4]])
V = QuadraticLyapunov(P, np.array([0.3, -1.0]))


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
        slope = 2 * (x - V.middle) @ P
        assert ((slope >= gradient.lo - 1e-12) & (slope <= gradient.hi + 1e-12)).all()


def test_the_bounding_box_touches_the_ellipse() -> None:
    low, high = V.bounding_box(4.0)
    half = np.sqrt(4.0 * np.diag(np.linalg.inv(P)))
    assert (low <= V.middle - half).all()
    assert (high >= V.middle + half).all()
    assert np.allclose(high - V.middle, half, rtol=1e-12)


def test_the_volume_of_an_ellipse() -> None:
    assert np.isclose(V.volume(4.0), np.pi * 4.0 / np.sqrt(np.linalg.det(P)))
    ball = QuadraticLyapunov(np.eye(3), np.zeros(3))
    assert np.isclose(ball.volume(4.0), 4 / 3 * np.pi * 8.0)


def test_volumes_are_right_where_the_axes_differ_by_orders_of_magnitude() -> None:
    """The determinant in rational numbers, by Sarrus's rule."""
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    shape = (Q * [1.0, 1e-4, 1e-13]) @ Q.T
    shape = 0.5 * (shape + shape.T)
    (a, d, e), (_, b, f), (_, _, c) = [[Fraction(x) for x in row] for row in shape.tolist()]
    exact = a * b * c + 2 * d * e * f - a * f * f - b * e * e - c * d * d
    expected = 4.0 / 3.0 * np.pi * 2.0**1.5 / np.sqrt(float(exact))
    assert QuadraticLyapunov(shape, np.zeros(3)).volume(2.0) == pytest.approx(expected, rel=1e-14)
    assert abs(np.linalg.det(shape) / float(exact) - 1.0) > 1e-6  # elimination in floating point is not so exact
    assert QuadraticLyapunov(1e-300 * np.eye(3), np.zeros(3)).volume(1.0) == np.inf


def test_a_cut_volume_is_below_the_truth_wherever_the_centre_lies_in_its_box() -> None:
    loose = QuadraticLyapunov(np.eye(1), Interval([-1e-6], [1e-6]))
    assert SublevelSet(loose, 1.0, np.array([-0.5]), np.array([9.0])).volume(1) < 1.5 - 0.9e-6


def symbolic() -> SymbolicLyapunov:
    """Smooth and lopsided, and not zero at its centre: what is missing is taken off."""
    x = ca.SX.sym("x", 2)
    W = 0.1 + 2 * x[0] ** 2 + x[0] * x[1] + x[1] ** 2 + 0.3 * x[0] ** 4 + ca.log1p(ca.exp(x[0] - x[1])) + ca.tanh(x[1])
    return SymbolicLyapunov(ca.Function("W", [x], [W]), np.array([0.1, -0.2]))


def test_a_symbolic_function_is_enclosed_with_both_derivatives() -> None:
    W, rng = symbolic(), np.random.default_rng(5)
    assert abs(W(W.middle)) < 1e-15
    assert np.abs(W.gradient(W.middle)).max() < 1e-15
    box = boxes(2)
    value, gradient, hessian = W.enclose(box), W.enclose_gradient(box), W.enclose_hessian(box)
    (x,) = W.function.sx_in()
    second = ca.Function("second", [x], [ca.hessian(W.function(x), x)[0]])
    for _ in range(50):
        x = rng.uniform(box.lo, box.hi)
        assert ((W(x) >= value.lo - 1e-12) & (W(x) <= value.hi + 1e-12)).all()
        slope = W.gradient(x)
        assert ((slope >= gradient.lo - 1e-12) & (slope <= gradient.hi + 1e-12)).all()
        assert np.abs(slope[0, 0] - (W(x[0] + [1e-6, 0]) - W(x[0] - [1e-6, 0])) / 2e-6) < 1e-6
        H = np.array(second(x[7]))
        assert ((hessian.lo[7] - 1e-12 <= H) & (hessian.hi[7] + 1e-12 >= H)).all()


@pytest.mark.parametrize(
    "kink", [ca.fabs, lambda v: ca.fmax(v, 0), ca.sign, lambda v: v**1.5, lambda v: ca.if_else(v > 0, v, 0)]
)
def test_a_function_with_kinks_is_refused(kink: Callable[[ca.SX], ca.SX]) -> None:
    x = ca.SX.sym("x", 2)
    with pytest.raises(InvalidValue, match="twice differentiable"):
        SymbolicLyapunov(ca.Function("W", [x], [kink(x[0]) + x[1] ** 2]), np.zeros(2))
    with pytest.raises(DimensionMismatch):
        SymbolicLyapunov(ca.Function("W", [x], [x]), np.zeros(2))


def skewed(n: int, half: np.ndarray, middle: np.ndarray, seed: int) -> Patch:
    T = np.random.default_rng(seed).standard_normal((n, n))
    return Frame(np.zeros(n), T).patch(middle - half, middle + half)


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("kappa", [0.0, 0.01])
@pytest.mark.parametrize("which", ["pendulum", "cartpole", "symbolic", "skewed"])
def test_the_change_is_bounded(which: str, kappa: float, continuous: bool) -> None:
    task = cartpole() if which == "cartpole" else pendulum()
    loop = ClosedLoop(task, LQR(task).law, continuous)
    W: Lyapunov = symbolic() if which == "symbolic" else riccati(task)
    rng = np.random.default_rng(2)
    n = len(task.plant.state)
    box = boxes(n)
    patch = skewed(n, box.rad, box.mid, 3) if which == "skewed" else Patch.boxes(box)
    f = loop.relax(patch)
    found = change(W, patch, f, kappa, continuous)
    reach = f.range(patch.half)
    nearest = np.full(len(box.lo), -np.inf)
    for k in range(200):
        d = (rng.uniform(-1, 1, box.shape) if k % 2 else rng.choice([-1.0, 1.0], box.shape)) * patch.half
        x = patch.point.mid + d @ patch.T.T
        after = loop(x)
        assert ((after >= reach.lo - 1e-9) & (after <= reach.hi + 1e-9)).all()
        g = (W.gradient(x) * after).sum(-1) + kappa * W(x) if continuous else W(after) - (1 - kappa) * W(x)
        assert (g <= found.upper + 1e-9 * (1 + np.abs(g))).all()
        assert (W(x) >= found.V - 1e-9).all()
        nearest = np.maximum(nearest, g)
    small = patch.half.max(axis=1) < 1e-4
    assert small.any()
    assert np.median((found.upper - nearest)[small]) < 1e-5  # bounds that are far off would prove nothing


def test_decrease_around_the_centre() -> None:
    def shown(W: QuadraticLyapunov, J: Interval, kappa: float) -> bool:
        n = len(W.P)
        core = Patch(
            Interval(W.middle[None] - 0.1, W.middle[None] + 0.1), W.centre[None], np.full((1, n), 0.1), np.eye(n)
        )
        return bool(decreases_around(W, Ball.of(J[None]), core, kappa, continuous=False)[0])

    half = 0.5 * np.eye(2)
    assert shown(V, Interval.of(half), 0.0)
    assert shown(V, Interval.of(half), 0.74)
    assert not shown(V, Interval.of(half), 0.75)  # then equality holds
    assert not shown(V, Interval.of(np.eye(2)), 0.0)
    scalar = QuadraticLyapunov(np.eye(1), np.zeros(1))
    assert shown(scalar, Interval([[-0.9]], [[0.9]]), 0.0)
    assert not shown(scalar, Interval([[-0.9]], [[1.1]]), 0.0)
    assert not shown(scalar, Interval([[-1.1]], [[1.1]]), 0.0)
    assert not shown(V, Interval(half - 10, half + 10), 0.0)
    assert not shown(V, Interval(np.full((2, 2), -np.inf), np.full((2, 2), np.inf)), 0.0)


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
        QuadraticLyapunov(np.array(P), np.zeros(2))
    with pytest.raises(DimensionMismatch):
        QuadraticLyapunov(np.eye(2), np.zeros(3))


def test_an_ellipsoid_that_a_face_cuts_loses_its_cap() -> None:
    """In three states a cap of height h of the unit ball has the volume pi h^2 (3 - h) / 3."""
    T = np.array([[2.0, 0.0, 0.0], [0.3, 1.0, 0.0], [-0.2, 0.4, 0.5]])
    V = QuadraticLyapunov(np.linalg.inv(T @ T.T), np.array([0.1, -0.2, 0.3]))
    size, reach, far = 4.0 / 3.0 * np.pi * np.linalg.det(T) * 1.5**3, 1.5 * np.linalg.norm(T, axis=1), np.full(3, 9.0)
    for height, axis in ((0.3, 0), (1.2, 2)):
        upper = far.copy()
        upper[axis] = V.middle[axis] + (1.0 - height) * reach[axis]
        exact = size * (1.0 - height**2 * (3.0 - height) / 4.0)
        assert SublevelSet(V, 1.5**2, -far, upper).volume(200) == pytest.approx(exact, rel=1e-6)
        mirrored = SublevelSet(V.centred_at(Interval.of(-V.middle)), 1.5**2, -upper, far)
        assert mirrored.volume(200) == pytest.approx(exact, rel=1e-6)
    # Caps that overlap are taken off twice, which leaves a lower bound; where little is left, that by boxes is larger.
    half = np.full(3, 0.8)
    x = np.random.default_rng(0).uniform(-half, half, (100_000, 3)) + V.middle
    share = float((V(x) <= 1.5**2).mean())
    cut = SublevelSet(V, 1.5**2, V.middle - half, V.middle + half)
    assert 0.5 * share * 1.6**3 < cut.volume() < 1.01 * share * 1.6**3
