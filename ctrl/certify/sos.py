"""Sums of squares: polynomial Lyapunov functions of polynomial flows, enlarged by two convex steps in turn.

With V of degree d and S = {V <= 1}, an s that is a sum of squares and -V' f - e |x|^2 + s (V - 1) a sum of squares show
that V falls on S (the S-procedure; Tan & Packard 2008, "Stability Region Analysis Using Polynomial and Composite
Polynomial Lyapunov Functions"). Products of unknowns are avoided: (i) V fixed, the multiplier s with the largest
margin e; (ii) s fixed, the V that is smallest in the mean on a shell just outside S, which S must lie inside. No
bisection.

What a semidefinite solver returns holds in floating point, to its tolerance, or not at all: what comes out is a
candidate for :func:`ctrl.certify.certify`, and :func:`enlarged` never calls it more.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy.sparse import csr_matrix

from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.lyapunov import QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.polynomials import Monomials
from ctrl.controller import NotApplicable
from systems import InvalidValue
from systems.lowering.interval import Interval

__all__ = ["PolynomialFlow", "enlarged"]

Exponent = tuple[int, ...]
Polynomial = dict[Exponent, float]

_SHELL = (1.0, 1.12)  # of V: where the new set is asked to grow
_SHRUNK = 1.01  # factor of V after a step that failed
_EPSILON = 1e-4  # of |z|^2: the least decrease asked for in step (ii)


@final
@dataclass(frozen=True, eq=False)
class PolynomialFlow:
    """z' = f(z) in scaled coordinates z = (x - centre) / scale.

    Args:
        f: one polynomial per state. centre, scale: (n,).
    """

    f: tuple[Polynomial, ...]
    centre: np.ndarray
    scale: np.ndarray

    @staticmethod
    def of(loop: ClosedLoop, scale: np.ndarray, degree: int = 5) -> PolynomialFlow:
        """The flow of a closed loop by interpolation, which is exact to rounding where it is polynomial.

        Raises:
            NotApplicable: discrete time, or no polynomial of this degree.
        """
        if not loop.continuous:
            raise NotApplicable("sums of squares are formed of flows; give a loop in continuous time")
        centre, n = loop.reference, len(scale)
        basis = Monomials.up_to(degree, centre, scale, least=0)
        x = centre + scale * np.random.default_rng(0).uniform(-1, 1, (6 * len(basis), n))
        velocity = loop(x) / scale
        c = np.linalg.lstsq(basis.values(x), velocity, rcond=None)[0]
        fault = float(np.abs(basis.values(x) @ c - velocity).max())
        if not fault <= 1e-9 * (1.0 + float(np.abs(velocity).max())):
            raise NotApplicable(f"the flow is no polynomial of degree {degree}: one misses it by {fault:.2g}")
        keep = np.abs(c) > 1e-10 * np.abs(c).max()
        exponents = [tuple(e) for e in basis.exponents.tolist()]
        f = tuple({e: float(c[k, i]) for k, e in enumerate(exponents) if keep[k, i]} for i in range(n))
        return PolynomialFlow(f, centre, np.asarray(scale, dtype=float))

    def values(self, V: Polynomial, x: np.ndarray) -> np.ndarray:
        """A polynomial in z at states (b, n)."""
        basis = Monomials(np.array(list(V)), self.centre, self.scale)
        return basis.values(x) @ np.array(list(V.values()))

    def lyapunov(self, V: Polynomial) -> SymbolicLyapunov:
        """A polynomial in z as a function of the state."""
        basis = Monomials(np.array(list(V)), self.centre, self.scale)
        return SymbolicLyapunov(basis.function(np.array(list(V.values()))), Interval.of(self.centre))


def enlarged(
    flow: PolynomialFlow, start: QuadraticLyapunov, degree: int, iterations: int = 8, multiplier: int = 4, seed: int = 0
) -> SymbolicLyapunov:
    """V of the given degree whose set {V <= 1} holds that of the start, {start <= 1}, and more, as far as the steps go.

    Args:
        start: with a decrease on {start <= 1}. degree: of V, even. multiplier: of s, even.

    Raises:
        InvalidValue: the first step fails: start does not decrease on its set, or not provably so with these degrees.
    """
    n = len(flow.scale)
    scaled = start.P * np.outer(flow.scale, flow.scale)
    V: Polynomial = {}
    for i in range(n):
        for j in range(n):
            e = tuple(int(k == i) + int(k == j) for k in range(n))
            V[e] = V.get(e, 0.0) + float(scaled[i, j])
    rng = np.random.default_rng(seed)
    least, V = V, {e: c * _SHRUNK for e, c in V.items()}
    for k in range(iterations):
        s = _multiplier(flow, V, multiplier)
        grown = None if s is None else _grown(flow, V, s, degree, _shell(flow, V, rng))
        if s is None and k == 0:
            raise InvalidValue("no multiplier shows that the start decreases on its set; take a lower level")
        if grown is not None:
            least = V = grown
        else:  # the set is as tight as the solver can see: from one a little smaller it may find another way
            V = {e: c * _SHRUNK for e, c in V.items()}
    V = least
    return flow.lyapunov(V)


def _multiplier(flow: PolynomialFlow, V: Polynomial, degree: int) -> Polynomial | None:
    """Step (i)."""
    import cvxpy as cp  # slow to import and only needed here

    n = len(flow.scale)
    top = max(_degree(_rate(flow, V)), _degree(V) + degree)
    rows = _index(n, top)
    s_basis = _monomials(n, 0 if degree == 0 else 1, degree // 2)
    z_basis = _monomials(n, 1, (top + 1) // 2)
    S, Q, e = cp.Variable((len(s_basis),) * 2, PSD=True), cp.Variable((len(z_basis),) * 2, PSD=True), cp.Variable()
    shifted = _minus(V, {(0,) * n: 1.0})
    left = -_column(_rate(flow, V), rows) - e * _column(_square(n), rows)
    left = left + _products(_gram(s_basis), shifted, rows) @ cp.vec(S, order="C")
    equal = left == _products(_gram(z_basis), {(0,) * n: 1.0}, rows) @ cp.vec(Q, order="C")
    problem = cp.Problem(cp.Maximize(e), [equal, e <= 10.0])
    if not _solved(problem) or e.value is None or e.value <= 0 or S.value is None:
        return None
    return _combined(_gram(s_basis), np.asarray(S.value).ravel())


def _grown(flow: PolynomialFlow, V: Polynomial, s: Polynomial, degree: int, shell: np.ndarray) -> Polynomial | None:
    """Step (ii)."""
    import cvxpy as cp

    n = len(flow.scale)
    basis = _monomials(n, 2, degree)
    top = max(degree + _degree(s), degree - 1 + max(_degree(p) for p in flow.f))
    rows, one = _index(n, top), {(0,) * n: 1.0}
    z_basis = _monomials(n, 1, (top + 1) // 2)
    reach = max(degree, _degree(V))
    inner, outer = _monomials(n, 0, (reach - _degree(V)) // 2), _monomials(n, 0, reach // 2)
    c = cp.Variable(len(basis))
    Q, S1 = cp.Variable((len(z_basis),) * 2, PSD=True), cp.Variable((len(inner),) * 2, PSD=True)
    R = cp.Variable((len(outer),) * 2, PSD=True)
    rate = np.column_stack([_column(_rate(flow, {e: 1.0}), rows) for e in basis])
    pushed = np.column_stack([_column(_product({e: 1.0}, s), rows) for e in basis])
    left = -rate @ c + pushed @ c - _column(s, rows) - _EPSILON * _column(_square(n), rows)
    falls = left == _products(_gram(z_basis), one, rows) @ cp.vec(Q, order="C")
    near = _index(n, reach)
    plain = np.column_stack([_column({e: 1.0}, near) for e in basis])
    holds = _column(one, near) - plain @ c - _products(_gram(inner), _minus(one, V), near) @ cp.vec(S1, order="C")
    contains = holds == _products(_gram(outer), one, near) @ cp.vec(R, order="C")
    values = Monomials(np.array(basis), flow.centre, flow.scale).values(shell)
    problem = cp.Problem(cp.Minimize(cp.sum(values @ c) / len(shell)), [falls, contains])
    if not _solved(problem) or c.value is None:
        return None
    return {e: float(a) for e, a in zip(basis, c.value, strict=True)}


def _shell(flow: PolynomialFlow, V: Polynomial, rng: np.random.Generator) -> np.ndarray:
    """States (k, n) a little outside {V <= 1}: where V first reaches these levels along random rays."""
    direction = rng.standard_normal((400, len(flow.scale)))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    r = np.geomspace(1e-3, 10.0, 800)
    points = flow.centre + flow.scale * (r[:, None, None] * direction)
    values = flow.values(V, points.reshape(-1, len(flow.scale))).reshape(points.shape[:2])
    picked = [points[np.argmax(values > level, axis=0), np.arange(400)] for level in np.linspace(*_SHELL, 3)]
    return np.concatenate(picked)


def _solved(problem: Any) -> bool:
    import cvxpy as cp

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of an inaccurate solution; what is proved of it shows
            problem.solve(solver=cp.CLARABEL)
    except cp.error.SolverError:
        return False
    except BaseException as error:  # an eigenvalue that the solver cannot find ends it with a panic of its own
        if type(error).__name__ != "PanicException":
            raise
        return False
    import os

    if os.environ.get("DBG"):
        print(problem.status, problem.value)
    return problem.status in ("optimal", "optimal_inaccurate")


# ---- polynomials as dictionaries ----


def _monomials(n: int, least: int, most: int) -> list[Exponent]:
    found = Monomials.up_to(most, np.zeros(n), np.ones(n), least=least) if most else None
    return [tuple(e) for e in found.exponents.tolist()] if found is not None else [(0,) * n]


def _index(n: int, degree: int) -> dict[Exponent, int]:
    return {e: k for k, e in enumerate(_monomials(n, 0, degree + degree % 2))}


def _gram(basis: list[Exponent]) -> list[Exponent]:
    """The monomials of z z', row by row."""
    return [tuple(a + b for a, b in zip(p, q, strict=True)) for p in basis for q in basis]


def _products(monomials: list[Exponent], factor: Polynomial, rows: dict[Exponent, int]) -> csr_matrix:
    """Columns: the coefficients of each monomial times a polynomial."""
    entries = [
        (rows[tuple(a + b for a, b in zip(m, e, strict=True))], k, value)
        for k, m in enumerate(monomials)
        for e, value in factor.items()
    ]
    i, j, value = (list(column) for column in zip(*entries, strict=True))
    return csr_matrix((value, (i, j)), shape=(len(rows), len(monomials)))


def _column(p: Polynomial, rows: dict[Exponent, int]) -> np.ndarray:
    column = np.zeros(len(rows))
    for e, value in p.items():
        column[rows[e]] += value
    return column


def _combined(monomials: list[Exponent], weights: np.ndarray) -> Polynomial:
    result: Polynomial = {}
    for e, weight in zip(monomials, weights, strict=True):
        result[e] = result.get(e, 0.0) + float(weight)
    return result


def _product(p: Polynomial, q: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for a, x in p.items():
        for b, y in q.items():
            e = tuple(i + j for i, j in zip(a, b, strict=True))
            result[e] = result.get(e, 0.0) + x * y
    return result


def _minus(p: Polynomial, q: Polynomial) -> Polynomial:
    return _combined([*p, *q], np.array([*p.values(), *(-v for v in q.values())]))


def _square(n: int) -> Polynomial:
    return {tuple(2 * int(k == i) for k in range(n)): 1.0 for i in range(n)}


def _rate(flow: PolynomialFlow, V: Polynomial) -> Polynomial:
    """V' f."""
    result: Polynomial = {}
    for i, f in enumerate(flow.f):
        slope = {tuple(a - int(k == i) for k, a in enumerate(e)): e[i] * c for e, c in V.items() if e[i]}
        for e, value in _product(slope, f).items():
            result[e] = result.get(e, 0.0) + value
    return result


def _degree(p: Polynomial) -> int:
    return max((sum(e) for e in p), default=0)
