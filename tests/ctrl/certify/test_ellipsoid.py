"""Whole ellipsoids settled by one inequality: exact limits in one state, random loops in three, the bounds alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop, QuadraticLyapunov, SearchLimits, certify, sampled_limit
from ctrl.certify.bounds.ellipsoid import (
    _above_cubic,
    _fourth_order,
    _in_ball,
    _quadratic_forms,
    _reach,
    _squares,
    _unknown,
)
from ctrl.certify.bounds.examiner import Examiner
from ctrl.certify.bounds.frame import Frame
from ctrl.certify.claims.claim import Claim
from ctrl.certify.files.verification import holds_again
from ctrl.certify.loops.second_order import SecondOrder, composed
from ctrl.certify.search.levels import _settled_at_once
from ctrl.laws import SaturatedLinear
from ctrl.regulator import LQR
from systems import Box, Fixed, Plant, Quadratic, Signal, Signals, Task
from systems.arithmetic.affine import Patch
from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval, stack
from systems.library import pendulum, quadrotor_error_coordinates

FAR = 100.0


def task_of(f: Callable[..., Any], n: int, continuous: bool = False, gain: float | None = None) -> Task:
    """x' or x+ = f(x, u) or f(x, u, gain) with one input between -1 and 1."""
    fields = [("dt", float), *([] if gain is None else [("gain", float)])]
    values = [0.1, *([] if gain is None else [gain])]
    namespace = {
        "state": Signals([Signal(f"x{i}", "-") for i in range(n)]),
        "input": Signals([Signal("u", "-")]),
        ("ode" if continuous else "step"): lambda self, x, u, w: f(
            x.column, u.column, *([] if gain is None else [self.gain])
        ),
        "limits": lambda self: {"u": (-1.0, 1.0)},
    }
    plant = dataclasses.make_dataclass("Made", fields, bases=(Plant,), namespace=namespace, frozen=True)(*values)
    bound = dict.fromkeys(plant.state.names, (-FAR, FAR))
    return Task("made", plant, 0.1, 10, Quadratic(np.eye(n), np.eye(1)), Fixed(np.zeros(n)), domain=Box("far", bound))


def limit(
    task: Task,
    P: np.ndarray,
    K: np.ndarray,
    kappa: float = 0.0,
    continuous: bool = False,
    most: float = 1.0,
    gain: tuple[float, float] | None = None,
) -> float:
    """The largest |z| up to which everything is settled at once, z'z = V, under a law between -most and most."""
    n = len(P)
    law = SaturatedLinear(K, np.zeros(n), np.zeros(1), -most * np.ones(1), most * np.ones(1))
    uncertain = {} if gain is None else {"gain": gain}
    loop, V = ClosedLoop(task, law, continuous, uncertain), QuadraticLyapunov(P, np.zeros(n))
    claim = Claim.about(loop, V, 1e3, kappa=kappa)
    return float(np.sqrt(_settled_at_once(claim, Frame(np.zeros(n), np.eye(n)), 1e-12, 1e3)))


NO_GAIN, ONE = np.zeros((1, 1)), np.eye(1)


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize(("a", "kappa"), [(0.99, 0.0), (-0.99, 0.0), (0.9, 0.15)])
def test_a_cubic_form_is_bounded_as_it_is_in_one_state(a: float, kappa: float, scale: float) -> None:
    """(a x + b x^2)^2 < (1 - kappa) x^2 for |x| < (sqrt(1 - kappa) - |a|) / |b|."""
    b = 0.3
    found = limit(task_of(lambda x, u: a * x + b * x**2, 1), scale * ONE, NO_GAIN, kappa) / np.sqrt(scale)
    exact = (np.sqrt(1.0 - kappa) - abs(a)) / b
    assert 0.98 * exact < found < exact


def test_of_continuous_time_too() -> None:
    """2 x (-a x + b x^2) < -kappa x^2 for |x| < (a - kappa / 2) / b."""
    task = task_of(lambda x, u: -0.7 * x + 0.5 * x**2, 1, continuous=True)
    assert 0.99 * 1.4 < limit(task, ONE, NO_GAIN, 0.0, True) < 1.4
    assert 0.99 * 1.2 < limit(task, ONE, NO_GAIN, 0.2, True) < 1.2


def test_terms_of_fourth_order_count_where_they_are_all_there_is() -> None:
    found = limit(task_of(lambda x, u: 0.5 * x**2, 1), ONE, NO_GAIN)
    assert 0.85 * 2.0 < found < 2.0


def test_what_is_left_of_the_second_derivatives_counts() -> None:
    """Those of c x^3 are symmetric around zero, so all of it is their radius: a x + c x^3 up to (1 - a) / c = x^2."""
    for c in (0.01, -0.01):
        assert 0.7 < limit(task_of(lambda x, u, c=c: 0.99 * x + c * x**3, 1), ONE, NO_GAIN) < 1.0
    task = task_of(lambda x, u: -0.1 * x + 0.1 * x**3, 1, continuous=True)
    assert 0.7 < limit(task, ONE, NO_GAIN, 0.0, True) < 1.0


def test_fourth_order_by_unknown_second_derivatives_alone() -> None:
    assert 0.5 < limit(task_of(lambda x, u: x**3, 1), ONE, NO_GAIN) < 1.0


def test_slopes_and_curvature_that_are_uncertain() -> None:
    """a x + b x^2 is shorter than x up to |x| = (1 - a) / b, with the largest a and b."""
    task = task_of(lambda x, u, gain: gain * x + 0.3 * x**2, 1, gain=0.6)
    assert 0.9 / 3.0 < limit(task, ONE, NO_GAIN, gain=(0.3, 0.9)) < 1.0 / 3.0
    task = task_of(lambda x, u, gain: 0.9 * x + gain * x**2, 1, gain=0.1)
    assert 0.9 / 3.0 < limit(task, ONE, NO_GAIN, gain=(-0.1, 0.3)) < 1.0 / 3.0
    task = task_of(lambda x, u, gain: gain * x + 0.3 * x**2, 1, True, gain=-0.2)
    assert 0.9 / 3.0 < limit(task, ONE, NO_GAIN, continuous=True, gain=(-0.3, -0.1)) < 1.0 / 3.0


def test_the_input_bends_as_well() -> None:
    """x+ = x + u + b u x with u = -x / 2: x / 2 - b x^2 / 2, up to |x| = 1 / b, where |u| = 1 / (2 b)."""
    gain = np.array([[0.5]])
    assert 0.9 < limit(task_of(lambda x, u: x + u + u * x, 1), ONE, gain) < 1.0
    assert 0.9 * 2 < limit(task_of(lambda x, u: x + u + 0.4 * u * x, 1), ONE, gain) < 2.0  # then the input saturates


def test_nothing_is_settled_at_once_across_a_kink_or_a_bound() -> None:
    saturating = task_of(lambda x, u: 0.5 * x + u, 1)
    assert limit(saturating, ONE, np.array([[0.1]])) == pytest.approx(10.0, rel=0.01)
    assert limit(saturating, ONE, np.array([[0.1]]), most=5.0) == pytest.approx(10.0, rel=0.01)  # the plant's own limit
    assert limit(saturating, ONE, np.array([[0.1]]), most=0.5) == pytest.approx(5.0, rel=0.01)
    assert limit(task_of(lambda x, u: 0.5 * x + 0.1 * ca.fabs(x), 1), ONE, NO_GAIN) == 0.0
    undefined = task_of(lambda x, u: 0.5 * x + 0 * ca.log1p(x) + 1e-3 * (ca.sqrt(1 + x) - 1), 1)
    assert limit(undefined, ONE, NO_GAIN) < 1.0


def polynomial(rng: np.random.Generator, n: int) -> Callable[[Any, Any], Any]:
    """A contraction with all terms of second and third order, also in the input."""
    A = rng.normal(size=(n, n))
    A *= rng.uniform(0.5, 0.95) / np.linalg.norm(A, 2)
    B, C = rng.normal(size=(n, n + 1, n + 1)), 0.3 * rng.normal(size=(n, n + 1))

    def f(x: Any, u: Any) -> Any:
        v = ca.vertcat(x, u)
        bent = [ca.bilin(ca.DM(B[i]), v, v) + ca.DM(C[i]).T @ v**3 for i in range(n)]
        return ca.DM(A) @ x + ca.vertcat(*bent)

    return f


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.every(2)
def test_no_sample_contradicts_what_is_settled(continuous: bool) -> None:
    """Random polynomial loops of three states; and what is settled is a good part of what samples allow."""
    rng, shares = np.random.default_rng(5), []
    for _ in range(4):
        f, K = polynomial(rng, 3), 0.05 * rng.normal(size=(1, 3))
        L = np.eye(3) + 0.1 * np.tril(rng.normal(size=(3, 3)))
        task = task_of((lambda x, u, f=f: f(x, u) - x) if continuous else f, 3, continuous)
        found = limit(task, L @ L.T, K, continuous=continuous)
        law = SaturatedLinear(K, np.zeros(3), np.zeros(1), -np.ones(1), np.ones(1))
        V = QuadraticLyapunov(L @ L.T, np.zeros(3))
        if found == 0.0:  # V is not one of the linear part
            continue
        sampled = sampled_limit(ClosedLoop(task, law, continuous), V, ceiling=9 * found**2, rays=512).level
        shares.append(found / np.sqrt(sampled))
    assert len(shares) >= 2
    assert max(shares) < 1.0
    assert min(shares) > 0.35


def test_a_form_lies_above_what_is_not_known() -> None:
    rng = np.random.default_rng(2)
    for n, k in ((1, 1), (3, 4)):
        rad, Y, left = rng.uniform(0, 1, (n, k, k)), rng.normal(size=(k, n)), rng.normal(size=(n, n))
        rad = rad + rad.swapaxes(1, 2)
        root = rng.normal(size=(n, n))
        P, S, radius = root @ root.T, rng.normal(size=(n, n)), 0.7
        H = rng.normal(size=(n, n, n))
        H = H + H.swapaxes(1, 2)
        if n == 1:
            P, Y, H, rad = np.eye(1), np.eye(1), np.ones((1, 1, 1)), np.ones((1, 1, 1))
        unknown = _unknown(rad, Ball.of(left), Ball.of(Y), radius, S).mid
        fourth = _fourth_order(Ball.of(H), rad, Ball.of(P), Ball.of(Y), radius).mid
        z = rng.normal(size=(4000, n))
        z *= radius / np.linalg.norm(z, axis=1, keepdims=True)
        v = np.abs(z @ Y.T)
        assert np.allclose(_reach(Ball.of(Y), radius), radius * np.linalg.norm(Y, axis=1))  # attained along each row
        most = 0.5 * np.einsum("ajk,bj,bk->ba", rad, v, v)
        signs = rng.choice([-1.0, 1.0], most.shape)
        linear = 2.0 * (np.abs(z @ left) * most).sum(-1)
        above = np.einsum("bi,ij,bj->b", z, unknown, z)
        assert (linear <= above * (1 + 1e-9)).all()
        q = 0.5 * np.einsum("aij,bi,bj->ba", H, z, z) + signs * most
        size, bound = np.einsum("bi,ij,bj->b", q, P, q), np.einsum("bi,ij,bj->b", z, fourth, z)
        assert (size <= bound * (1 + 1e-9)).all()
        if n == 1:  # where no bound is lost but a known factor
            assert linear.max() > 0.999 * above.max()
            assert size.max() > 0.6 * bound.max()


def test_second_derivatives_hold_those_along_every_path() -> None:
    """F(x, u) - F(0, 0) - J v lies within R[v, v] / 2, for the quadrotor under its regulator, one sample by rk4."""
    task = quadrotor_error_coordinates()
    law, rng = LQR(task).law, np.random.default_rng(4)
    loop, half = ClosedLoop(task, law), np.full(12, 0.02)
    half[9:] = 0.1
    box = Interval(-half[None], half[None])
    second = loop.expanded(Patch(box, Interval.of(np.zeros((1, 12))), half[None], np.eye(12)))
    assert second is not None
    x = rng.uniform(-half, half, (200, 12))
    v = np.concatenate([x, -x @ law.K.T], axis=1)
    rest = loop(x) - v @ second.jacobian.mid.T
    at = 0.5 * np.einsum("ajk,bj,bk->ba", second.hessian.mid, v, v)
    around = 0.5 * np.einsum("ajk,bj,bk->ba", second.hessian.rad, np.abs(v), np.abs(v))
    assert (np.abs(rest - at) <= around + 1e-13).all()
    assert np.abs(rest - at).max() < 0.1 * np.abs(rest).max()  # most of it is known


@pytest.mark.slow
def test_it_is_verified_again_and_a_forged_level_is_not() -> None:
    task = quadrotor_error_coordinates()
    law, P = LQR(task).law, LQR(task).P
    V = QuadraticLyapunov(P, np.zeros(12))
    found = certify(task, law, V, level=0.02, budget=SearchLimits(10, 20))
    assert found.is_proved, found
    assert found.boxes == 1
    assert holds_again(found.claimed, found.proof)[0]
    higher = replace(found.claimed, region=replace(found.claimed.region, level=0.2))
    wider = replace(found.proof, core=4 * found.proof.core, low=4 * found.proof.low, high=4 * found.proof.high)
    assert not holds_again(higher, wider)[0]


def test_a_cut_or_disturbed_region_is_not_settled_at_once() -> None:
    task = pendulum()
    law, V = LQR(task).law, QuadraticLyapunov(LQR(task).P, np.zeros(2))
    loop, frame = ClosedLoop(task, law), Frame(np.zeros(2), np.eye(2))
    claim = Claim.about(loop, V, 0.1)
    assert Examiner(claim, frame).is_settled_at_once()
    cut = replace(claim, region=replace(claim.region, upper=np.array([0.05, 12.0])))
    assert not Examiner(cut, frame).is_settled_at_once()
    kept = replace(claim, region=replace(claim.region, inner=0.01))
    assert not Examiner(kept, frame).is_settled_at_once()


def test_the_ball_holds_the_ellipsoid_where_rounding_leaves_little_of_the_identity() -> None:
    """Checked in rational numbers, at the z that reach farthest: with cond(P) = 1e14, T'PT is off by per cents."""
    rng, excess = np.random.default_rng(0), []
    for _ in range(20):
        Q = np.linalg.qr(rng.normal(size=(2, 2)))[0]
        P = (Q * [1.0, 1e-14]) @ Q.T
        V = QuadraticLyapunov(0.5 * (P + P.T), np.zeros(2))
        turn, gram, radius = _in_ball(V, 3.0) or pytest.fail("no ball")
        for z in (*np.linalg.eigh(gram.mid)[1].T, *rng.normal(size=(20, 2))):
            exact = [Fraction(a) for a in z.tolist()]
            x = [sum(Fraction(t) * a for t, a in zip(row, exact, strict=True)) for row in turn.mid.tolist()]
            value = sum(Fraction(V.P[i, j]) * x[i] * x[j] for i in range(2) for j in range(2))
            share = 3 * sum(a * a for a in exact) / value / Fraction(radius) ** 2  # |z|^2 where V = 3
            assert share <= 1
            excess.append(float(share) * radius**2 / 3.0)
    assert max(excess) > 1.001  # the identity would not do
    assert _in_ball(QuadraticLyapunov(np.diag([1.0, 1e-200]), np.zeros(2)), 3.0) is not None
    P = np.array([[1.0, 1.0 - 2.0**-50], [1.0 - 2.0**-50, 1.0]])
    assert _in_ball(QuadraticLyapunov(P, np.zeros(2)), 3.0) is None


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_levels_beyond_the_square_root_of_what_a_double_holds(scale: float) -> None:
    task, law = task_of(lambda x, u: 0.7 * x + x**3, 1), SaturatedLinear(NO_GAIN, *np.zeros((2, 1)), -ONE[0], ONE[0])
    claim = Claim.about(ClosedLoop(task, law), QuadraticLyapunov(scale * ONE, np.zeros(1)), scale)
    found = _settled_at_once(claim, Frame(np.zeros(1), ONE), 1e-12 * scale, scale)
    assert 0.1 < found / scale < 0.3


def test_forms_hold_for_every_matrix_within_the_balls() -> None:
    rng = np.random.default_rng(1)
    Y = Ball(rng.normal(size=(4, 3)), rng.uniform(0.0, 1.0, (4, 3)))
    R = Ball(rng.normal(size=(2, 4, 4)), rng.uniform(0.0, 1.0, (2, 4, 4)))
    weights, forms = rng.uniform(size=4), _quadratic_forms(R, Y).interval
    squares, reach = _squares(Y, weights).interval, _reach(Y, 0.7)
    farthest = np.zeros(4)
    for _ in range(300):
        y, r = (ball.mid + rng.choice([-1.0, 1.0], ball.shape) * ball.rad for ball in (Y, R))
        assert forms.contains(y.T @ r @ y).all()
        assert squares.contains(y.T @ (y * weights[:, None])).all()
        farthest = np.maximum(farthest, 0.7 * np.linalg.norm(y, axis=1))
    assert (farthest <= reach).all()
    assert np.allclose(farthest, reach)


def test_a_bound_of_a_cubic_form_that_is_known_to_a_radius() -> None:
    rng = np.random.default_rng(3)
    rad = sum(rng.uniform(size=(3, 3, 3)) for _ in range(6)) * np.array([1.0, 5.0, 0.1])
    W, z = _above_cubic(rad), np.abs(rng.normal(size=(4000, 3)))
    most, bound = np.einsum("ijk,bi,bj,bk->b", rad, z, z, z), np.einsum("bj,jk,bk->b", z, W, z)
    assert np.array_equal(W, W.T)
    assert (most <= np.linalg.norm(z, axis=1) * bound).all()
    alike = np.ones((3, 3, 3))  # nothing is lost where all entries are equal
    assert np.allclose(_above_cubic(alike), np.sqrt(3.0))


def test_second_derivatives_of_a_composition_hold_all_over_a_box() -> None:
    """f(f(x, u), u) for f = (x^2 u + u^2, x y - u), the variables being x, y and u; and a sum and multiples of such."""
    x, u, z = ca.SX.sym("x", 2), ca.SX.sym("u"), ca.SX.sym("z", 3)
    y = ca.vertcat(x[0] ** 2 * u + u**2, x[0] * x[1] - u)
    f = ca.Function("f", [x, u], [y])
    once = f(z[:2], z[2])
    stepped = z[:2] + 0.5 * (once * 2.0 + f(once, z[2]))
    slopes = ca.jacobian(stepped, z)
    exact = ca.Function("F", [z], [stepped, slopes, ca.jacobian(ca.vec(slopes.T), z)])
    rng, by_u = np.random.default_rng(0), Ball.of(np.array([[0.0, 0.0, 1.0]]))
    low, high = np.array([0.5, -1.0, 0.2]), np.array([0.8, -0.6, 0.4])

    def step(s: SecondOrder, u: Interval) -> SecondOrder:
        (a, b), zero = (s.value[0], s.value[1]), Interval.of(0.0)
        two = Interval.of(2.0)
        first = [[a * u * 2.0, zero, a.sq() + u * 2.0], [b, a, Interval.of(-1.0)]]
        second = [
            [[u * 2.0, zero, a * 2.0], [zero, zero, zero], [a * 2.0, zero, two]],
            [[zero, Interval.of(1.0), zero], [Interval.of(1.0), zero, zero], [zero, zero, zero]],
        ]
        value = stack([a.sq() * u + u.sq(), a * b - u])
        J = stack([stack(row) for row in first])
        H = stack([stack([stack(row) for row in one]) for one in second])
        return composed(value, Ball.of(J), Ball.of(H), s, by_u)

    start = SecondOrder(Interval(low[:2], high[:2]), Ball.of(np.eye(2, 3)), Ball.of(np.zeros((2, 3, 3))))
    u_box = Interval(low[2], high[2])
    inner = step(start, u_box)
    found = start + 0.5 * (inner * 2.0 + step(inner, u_box))
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    for point in (*corners, *rng.uniform(low, high, (50, 3))):
        value, J, H = (part.full() for part in exact(point))
        assert found.value.contains(value[:, 0]).all()
        assert found.jacobian.interval.contains(J).all()
        assert found.hessian.interval.contains(H.reshape(2, 3, 3)).all()
    lost = found.without_value(np.array([True, False]))
    assert np.isnan(lost.jacobian.rad[0]).all()
    assert np.isnan(lost.hessian.rad[0]).all()
    assert np.isfinite(lost.jacobian.rad[1]).all()
    assert np.isfinite(lost.hessian.rad[1]).all()
    again = step(lost, u_box)  # what is lost stays lost, even times a slope of zero
    assert np.isnan(again.hessian.rad).all()
