"""The semidefinite programs of :mod:`ctrl.certify.semidefinite.squares`, in units of about the width of the set."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctrl.certify.semidefinite.gram import Polynomial, Squares, monomials, unknown
from ctrl.certify.semidefinite.polynomial_loop import PolynomialLoop
from ctrl.certify.semidefinite.radial import Rays
from ctrl.certify.semidefinite.solver import solve

__all__ = ["grown", "level_by_squares"]


def _length(n: int) -> Polynomial:
    """|z|^2."""
    return Polynomial.of({tuple(row): 1.0 for row in (2 * np.eye(n, dtype=int)).tolist()})


def _half(degree: int) -> int:
    return -(-degree // 2)


def level_by_squares(loop: PolynomialLoop, V: Polynomial, accuracy: float) -> float:
    """The largest rho of :func:`.squares.sos_level`; infinite where there is none, 0 without a solution."""
    import cvxpy as cp  # slow to import and only needed here

    n, rho = len(loop.centre), 1.0
    squares_of_V = np.array([V.terms.get(tuple(row), 1.0) for row in (2 * np.eye(n, dtype=int)).tolist()])
    even = loop.is_odd and all(sum(e) % 2 == 0 for e in V.exponents)
    for _ in range(2):  # once more in units of the set itself
        scale = np.sqrt(rho / squares_of_V)
        W, near = V.stretched(scale).scaled(1.0 / rho), loop.stretched(scale)
        share = cp.Variable()
        weight = _length(n) * _length(n)
        degree = 2 * _half(max(p.degree for p in loop.field) + 1)
        p = weight * W - weight.scaled(share)
        p = p + unknown(monomials(n, 2, degree), even) * W.derivative_along(near.field)
        squares = Squares(monomials(n, 2, _half(p.degree)), even)
        status = solve(cp.Maximize(share), [squares.equals(p)], accuracy)
        if share.value is None or not float(share.value) > 0:
            return np.inf if status.startswith("unbounded") else (rho if rho != 1.0 else 0.0)
        rho *= float(share.value)
    return rho


def grown(loop: PolynomialLoop, V: Polynomial, degree: int, rays: Rays, accuracy: float) -> Polynomial | None:
    """One iteration of both programs; None if the solver fails."""
    import cvxpy as cp

    n, even = len(loop.centre), loop.is_odd
    one, length = Polynomial.constant(1.0, n), _length(n)
    slabs = [
        Polynomial.of({tuple(e): float(a) for e, a in zip(np.eye(n, dtype=int).tolist(), row, strict=True)})
        for row in loop.slabs
    ]

    def decrease(W: Polynomial, rate: Any, s: Polynomial) -> Polynomial:
        """-W'f - rate |z|^2 + s (W - 1), a product of which one factor is known."""
        product = (W - one) * s if isinstance(s.values, np.ndarray) else s * (W - one)
        return product - W.derivative_along(loop.field) - length.scaled(rate)

    # S-procedure (Parrilo 2000): -V'f - e |z|^2 >= s (1 - V) >= 0 on {V <= 1} for a sum of squares s, each sum of
    # squares being z'Qz of monomials with a Gram matrix Q >= 0. s vanishes at 0, where -s must not be negative.
    order = 2 * _half(max(p.degree for p in loop.field) - 1) + 2
    s, rate = Squares(monomials(n, 1, _half(order)), even), cp.Variable()
    p = decrease(V, rate, s.polynomial)
    constraints, objective = [Squares(monomials(n, 1, _half(p.degree)), even).equals(p), rate <= 1.0], rate
    within = []
    for slab in slabs:
        t, room = Squares(monomials(n, 0, 1), even), cp.Variable()
        p = Polynomial(one.exponents, cp.reshape(1.0 - room, (1,), order="C")) - slab * slab - t.polynomial * (one - V)
        constraints.append(Squares(monomials(n, 0, _half(p.degree)), even).equals(p))
        objective = objective + 1e-2 * room
        within.append(t)
    solve(cp.Maximize(objective), constraints, accuracy)
    if rate.value is None or not float(rate.value) > 0:
        return None
    known = Polynomial.of(s.polynomial.terms)

    W = unknown(monomials(n, 2, degree), even)
    p = decrease(W, float(rate.value) / 3.0, known)
    constraints = [Squares(monomials(n, 1, _half(p.degree)), even).equals(p)]
    q = Squares(monomials(n, 0, 2), even)
    p = one - W - q.polynomial * (one - V)
    constraints.append(Squares(monomials(n, 0, _half(p.degree)), even).equals(p))
    for slab, t in zip(slabs, within, strict=True):
        p = one - slab * slab - (one - W) * Polynomial.of(t.polynomial.terms)
        constraints.append(Squares(monomials(n, 0, _half(p.degree)), even).equals(p))
    solve(cp.Minimize(rays.loss(V, W.exponents) @ W.values), constraints, accuracy)
    if W.values.value is None or not np.isfinite(W.values.value).all():
        return None
    return Polynomial.of(W.terms)
