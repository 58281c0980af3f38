"""Decrease of a quadratic Lyapunov function on a whole ellipsoid, by one matrix inequality.

On the ellipsoid x = c + T z, |z| <= r, with v = Y z the deviations of state and input, f = A z + R[v, v] / 2 (in
discrete time: from c), where R is a mean of second derivatives (Taylor's theorem). The change of V is z'M z, plus a
cubic form, the sum of z_i z'C_i z over i, plus what is of fourth order or not known. The cubic form is bounded as a
whole: in coordinates z = S y in which -M is the identity, Cauchy's inequality gives

    sum of z_i y'C_i y <= |z| |y| |(C_1 y, ..., C_n y)| <= r / 2 y'(w I + sum of C_i'C_i / w) y    for every w > 0.

Interval arithmetic would bound every entry of every C_i separately, as if all z_i were largest at the same time.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from ctrl.certify.bounds.decrease import negative_definite
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from systems.arithmetic.affine import Patch
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_functions import intersection

__all__ = ["decreases_on_ellipsoid"]


def decreases_on_ellipsoid(loop: ClosedLoop, V: QuadraticLyapunov, level: float, patch: Patch, kappa: float) -> bool:
    """Whether provably g < 0 for all states of {V <= level} except the centre; see
    :mod:`ctrl.certify.bounds.decrease` for g.

    Also false if the loop has no second derivatives there, for instance because an input may reach a bound.

    Args:
        patch: one parallelepiped around the centre of V that contains the ellipsoid.
    """
    ball = _in_ball(V, level)
    if ball is None:
        return False
    turn, gram, radius = ball
    n, P = len(V.P), Ball.of(V.P)
    box = Interval(*(np.broadcast_to(end, patch.hull.shape) for end in V.bounding_box(level)))
    inner = Patch(intersection(patch.hull, box), patch.point, patch.half, patch.T)
    slope, second = loop.law.affine_slope(inner), loop.expanded(inner)
    if slope is None or second is None or not np.isfinite([second.hessian.mid, second.hessian.rad]).all():
        return False
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        Y = Ball.of(np.vstack([np.eye(n), slope])) @ turn
        A, keep = second.jacobian @ Y, Ball.of(1.0 - Interval.of(kappa))
        left = (turn if loop.continuous else A).T @ P
        across = left @ A
        if loop.continuous:
            M = across + across.T + gram.times(Ball.of(Interval.of(kappa)))
        else:
            M = across - gram.times(keep)
        S = _to_minus_identity(M.mid)
        if S is None:
            return False
        H = _quadratic_forms(Ball.of(second.hessian.mid), Y)
        cubic = left @ Ball(*(a.reshape(n, n * n) for a in (H.mid, H.rad)))
        forms = Ball(*(a.reshape(n, n, n) for a in (cubic.mid, cubic.rad)))
        six = _total(*(_reordered(forms, order) for order in permutations(range(3))))
        M = M + _unknown(second.hessian.rad, left, Y, radius, S)
        if not loop.continuous:
            M = M + _fourth_order(H, second.hessian.rad, P, Y, radius)
        M = M.widened(_up(radius / 6.0) * _above_cubic(six.rad))
        C = _quadratic_forms(Ball.of(six.mid), Ball.of(S))
        squares = _total(*(C[i].T @ C[i] for i in range(n)))
        w = float(np.sqrt(np.linalg.norm(squares.mid, 2))) + 1e-100
        third = squares * (1.0 / w) + Ball.of(upward(np.eye(n) * w))
        turned = (Ball.of(S).T @ (M @ Ball.of(S))) + third * _up(radius / 12.0)
        return bool(negative_definite(turned[None])[0])


def _in_ball(V: QuadraticLyapunov, level: float) -> tuple[Ball, Ball, float] | None:
    """T, T'PT, which is about the identity, and a radius with |z| <= radius wherever V = z'(T'PT) z <= level; None
    where rounding leaves too little of the identity."""
    turn = Ball.of(np.linalg.inv(np.linalg.cholesky(V.P)).T)
    gram = turn.T @ (Ball.of(V.P) @ turn)
    defect = float((gram - Ball.of(np.eye(len(V.P)))).size.sum(axis=1).max())
    if not defect < 0.5:
        return None
    return turn, gram, _up(_up(level / (1.0 - defect)) ** 0.5)  # V >= (1 - defect) |z|^2


def _unknown(rad: np.ndarray, left: Ball, Y: Ball, radius: float, S: np.ndarray) -> Ball:
    """A form z'(...)z above 2 z'left d, where d_a is at most the sum of rad_ajk |v_j| |v_k| / 2.

    With |v_k| <= reach_k: |l_a'z| |v_j| <= (s (l_a'z)^2 + v_j^2 / s) / 2 for every s > 0, here one that makes both
    terms about equal where -M is the identity.
    """
    per = upward(rad @ _reach(Y, radius))
    lengths = np.linalg.norm(S.T @ left.mid, axis=0), np.linalg.norm(Y.mid @ S, axis=1)
    scale = (lengths[1][None, :] + 1e-100) / (lengths[0][:, None] + 1e-100)
    of_left, of_v = upward(upward(0.5 * per * scale).sum(axis=1)), upward(upward(0.5 * per / scale).sum(axis=0))
    return _squares(left.T, of_left) + _squares(Y, of_v)


def _above_cubic(rad: np.ndarray) -> np.ndarray:
    """A symmetric W, for which the sum of rad_ijk |z_i z_j z_k| is at most |z| times that of W_jk |z_j z_k|."""
    W = upward(np.sqrt(upward((rad**2).sum(axis=0))))
    return np.maximum(W, W.T)


def _fourth_order(H: Ball, rad: np.ndarray, P: Ball, Y: Ball, radius: float) -> Ball:
    """A form z'(...)z above (q + d)'P(q + d) for q = H[z, z] / 2 and d as in :func:`_unknown`.

    That is at most 5/4 q'Pq + 5 d'Pd. With H[z, z] the sum of z_i H_i z, q'Pq <= |z|^2 / 4 times the sum of
    z'H_i'P H_i z; and d_a^2 <= (sum of per_aj reach_j) (sum of per_aj v_j^2 / reach_j) / 4.
    """
    reach = np.maximum(_reach(Y, radius), 1e-280)
    per = upward(rad @ reach)
    most = upward(per @ reach) + 1e-280
    # |d|'|P||d| <= sum of c_a d_a^2, c_a = sum of |P_ab| s_b / s_a over b, for every s > 0 (Schur's test).
    c = upward(upward(P.size @ most) / most)
    of_v = upward((5.0 / 4.0) * upward((c * most) @ per) / reach)
    known = _total(*(H[:, i].T @ (P @ H[:, i]) for i in range(H.shape[1])))
    return known * _up(5.0 / 16.0 * radius * radius) + _squares(Y, of_v)


def _reach(Y: Ball, radius: float) -> np.ndarray:
    """Upper bounds on the entries of |Y z| for |z| <= radius."""
    return upward(np.sqrt(upward((Y.size**2).sum(axis=1))) * radius)


def _squares(rows: Ball, weights: np.ndarray) -> Ball:
    """The matrix of the sum of weight_i (row_i z)^2."""
    return rows.T @ (rows * weights[:, None])


def _quadratic_forms(R: Ball, Y: Ball) -> Ball:
    """Y'R_a Y for each of the matrices R_a (b, k, k)."""
    around = Ball(*(np.broadcast_to(a, (len(R.mid), *a.shape)) for a in (Y.mid, Y.rad)))
    return around.T @ (R @ around)


def _to_minus_identity(M: np.ndarray) -> np.ndarray | None:
    """S for which S'MS is approximately minus the identity; None if M is not negative definite."""
    if not np.isfinite(M).all():
        return None
    values, vectors = np.linalg.eigh(0.5 * (M + M.T))
    return vectors / np.sqrt(-values) if (values < 0).all() else None


def _up(x: float) -> float:
    return float(upward(np.array(x)))


def _reordered(ball: Ball, axes: tuple[int, ...]) -> Ball:
    """The same entries, the axes in another order."""
    return Ball(ball.mid.transpose(axes), ball.rad.transpose(axes))


def _total(*balls: Ball) -> Ball:
    total = balls[0]
    for ball in balls[1:]:
        total = total + ball
    return total
