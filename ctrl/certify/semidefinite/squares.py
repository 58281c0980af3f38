"""Polynomial Lyapunov functions by sums of squares, for polynomial closed loops in continuous time.

From the Lyapunov equation of the linearisation the set {V <= 1} is enlarged by alternating between two convex programs
(V-s iteration; Jarvis-Wloszek 2003, Tan & Packard 2008, here without bisection):

    V fixed:  max e                      with  -V'f - e |z|^2 + s (V - 1)    and  s                  sums of squares,
    s fixed:  max volume to first order  with  -W'f - e/3 |z|^2 + s (W - 1)  and  1 - W - q (1 - V), q  sums of squares.

The second lets {W <= 1} contain {V <= 1}. Solvers work in floating point and stop at a tolerance, so the result is only
a candidate; :func:`sos_region` proves a level of it by branch and bound on the loop that runs.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_continuous_lyapunov

from ctrl.certify.candidates.polynomials import Monomials
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.search.levels import largest_level
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.semidefinite.gram import Polynomial
from ctrl.certify.semidefinite.polynomial_loop import PolynomialLoop, evaluate, polynomial_loop
from ctrl.certify.semidefinite.programs import grown, level_by_squares
from ctrl.certify.semidefinite.radial import Rays
from ctrl.controller import NotApplicable
from ctrl.laws.law import Law
from systems import InvalidValue, Task
from systems.arithmetic.interval import Interval

__all__ = ["lyapunov_equation", "sos_candidate", "sos_level", "sos_region"]

_ACCURACY = 1e-8  # the solver's own
_STALLED = 1e-3  # growth of the volume per round below which a degree is exhausted


def lyapunov_equation(loop: ClosedLoop) -> QuadraticLyapunov:
    """V = z'Pz with A'P + PA = -I, A the Jacobian of a polynomial closed loop at its reference.

    Raises:
        NotApplicable: the loop is not polynomial (see :func:`polynomial_loop`), or A is not stable.
    """
    polynomials = polynomial_loop(loop)
    return QuadraticLyapunov(_start(polynomials, loop.task.name), Interval.of(polynomials.centre))


def sos_level(loop: ClosedLoop, V: Lyapunov) -> float:
    """The largest rho for which one semidefinite program shows that V decreases on {V <= rho}.

    It maximises rho such that (z'z)^2 (V - rho) + p V'f is a sum of squares for some polynomial p: where V'f = 0,
    either z = 0 or V >= rho, so V'f keeps its sign on the connected part of {V < rho} around the centre (the equality
    form of Tedrake's Underactuated Robotics, chapter on Lyapunov analysis). The bounds of domain and inputs are
    ignored, and nothing is proved: pass the result to :func:`ctrl.certify.certify`.

    Args:
        loop: in continuous time, polynomial.
        V: quadratic, or a polynomial.

    Returns:
        rho; infinite if there is no largest level; 0 if the program has no solution.

    Raises:
        NotApplicable: the loop or V is not polynomial.
    """
    polynomials = polynomial_loop(loop)
    return level_by_squares(polynomials, _polynomial(V, polynomials.centre), _ACCURACY)


def sos_candidate(loop: ClosedLoop, degree: int = 4, rounds: int = 12, accuracy: float = _ACCURACY) -> SymbolicLyapunov:
    """A polynomial V of which {V <= 1} is about the largest region that sums of squares of this degree find.

    The set is kept within the domain of the task and within the states where no linear feedback saturates, because only
    there the polynomials describe the loop. Degrees 4, 6, ... are solved in turn, each from the previous result.

    Args:
        loop: in continuous time, polynomial, with a stable linearisation.
        degree: of V, even and at least 2.
        rounds: of the two programs, at most, for each degree.
        accuracy: the solver's tolerance.

    Raises:
        NotApplicable: the loop is not polynomial, or not stable at its reference.
        InvalidValue: an odd degree, no rounds.
    """
    if degree < 2 or degree % 2 or rounds < 1:
        raise InvalidValue(
            f"degree = {degree}, rounds = {rounds}; expected an even degree of at least 2 and rounds >= 1"
        )
    polynomials = polynomial_loop(loop)
    V = _polynomial(
        QuadraticLyapunov(_start(polynomials, loop.task.name), Interval.of(polynomials.centre)), polynomials.centre
    )
    rays, scale = Rays.around(len(polynomials.centre)), np.ones(len(polynomials.centre))
    V = V.scaled(1.0 / (0.99 * _first_level(polynomials, V, accuracy)))
    for current_degree in (2,) if degree == 2 else range(4, degree + 1, 2):
        volume = 0.0
        for _ in range(rounds):
            scale = rays.extent(V, scale)
            before, volume = volume, rays.volume(V.stretched(scale)) * float(np.prod(scale))
            if volume < (1.0 + _STALLED) * before:
                break
            larger = grown(polynomials.stretched(scale), V.stretched(scale), current_degree, rays, accuracy)
            if larger is None:
                break
            V = larger.stretched(1.0 / scale)
    ones = np.ones(len(polynomials.centre))
    return SymbolicLyapunov(
        Monomials(np.array(V.exponents), polynomials.centre, ones).function(V.values), Interval.of(polynomials.centre)
    )


def sos_region(
    task: Task,
    law: Law,
    degree: int = 4,
    rounds: int = 12,
    kappa: float = 0.0,
    budget: SearchLimits | None = None,
    accuracy: float = _ACCURACY,
) -> Certificate:
    """A region of attraction in continuous time: V by :func:`sos_candidate`, its level proved by branch and bound.

    The proof concerns the true loop with all saturations and does not rely on the semidefinite solver: a candidate
    worse than the solver reported yields a lower level or none.

    Args:
        task: what is controlled.
        law: the controller in closed form.
        degree: of V, even and at least 2; default: 4.
        rounds: of the two programs, at most, for each degree; default: 12.
        kappa: as :func:`ctrl.certify.certify`; default: 0, any decrease.
        budget: limits of the proof; default: 2,000,000 boxes and 60 seconds.
        accuracy: the solver's tolerance; default: 1e-8.

    Raises:
        NotApplicable, InvalidValue: as :func:`sos_candidate`.
    """
    loop = ClosedLoop(task, law, continuous=True)
    V = sos_candidate(loop, degree, rounds, accuracy)
    lower, upper = loop.domain
    if not np.isfinite([lower, upper]).all():
        polynomial = _polynomial(V, V.middle)
        reach = 1.1 * Rays.around(len(lower)).extent(polynomial, np.ones(len(lower)))
        lower, upper = np.maximum(lower, V.middle - reach), np.minimum(upper, V.middle + reach)
    return largest_level(task, law, V, kappa, budget=budget, continuous=True, box=(lower, upper))


def _start(loop: PolynomialLoop, name: str) -> np.ndarray:
    A = loop.jacobian
    slowest = np.linalg.eigvals(A).real.max()
    if not slowest < 0:
        raise NotApplicable(
            f"task '{name}': the linearised closed loop is not stable (an eigenvalue has real part {slowest:.3g}), so "
            "the search has no quadratic form to start from; give a law that stabilises the reference, such as "
            "LQR(task).law"
        )
    P = solve_continuous_lyapunov(A.T, -np.eye(len(A)))
    return 0.5 * (P + P.T)


def _polynomial(V: Lyapunov, centre: np.ndarray) -> Polynomial:
    """V as a polynomial in z = x - centre."""
    n = len(centre)
    unit = [tuple(row) for row in np.eye(n, dtype=int).tolist()]
    if isinstance(V, SymbolicLyapunov):
        shifted = [Polynomial.of({(0,) * n: float(c), e: 1.0}) for c, e in zip(centre, unit, strict=True)]
        (W,) = evaluate(V.function, "V", [shifted])
        return Polynomial.of({e: c for e, c in W.terms.items() if sum(e) >= 2})
    if not isinstance(V, QuadraticLyapunov):
        raise NotApplicable(f"V is a {type(V).__name__}; sums of squares need a quadratic V or a polynomial one")
    total = Polynomial((), np.zeros(0))
    for i in range(n):
        for j in range(n):
            total = total + Polynomial.of({unit[i]: V.P[i, j]}) * Polynomial.of({unit[j]: 1.0})
    return total


def _first_level(loop: PolynomialLoop, V: Polynomial, accuracy: float) -> float:
    """Of a quadratic V, within the slabs."""
    n = len(loop.centre)
    P = np.zeros((n, n))
    for e, c in V.terms.items():
        i, j = np.repeat(np.arange(n), e)
        P[i, j] += 0.5 * c
        P[j, i] += 0.5 * c
    inside = [1.0 / float(a @ np.linalg.solve(P, a)) for a in loop.slabs]  # where the ellipsoid touches |a z| = 1
    level = min([level_by_squares(loop, V, accuracy), *inside])
    if not 0 < level < np.inf:
        raise NotApplicable(
            "the semidefinite program finds no largest level of the quadratic start: the loop is (nearly) linear, so "
            "its level is not bounded; give the task a domain, or take V from riccati(task)"
        )
    return level
