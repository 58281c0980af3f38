"""Lyapunov functions with the enclosures that a proof needs: value, gradient, second derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import gamma, inf, pi
from typing import Any, Self, final

import casadi as ca
import numpy as np

from systems import DimensionMismatch, InvalidValue
from systems.arithmetic.balls import Ball
from systems.arithmetic.exact import is_kept, kinked, with_symbolic_numbers
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_functions import sqrt
from systems.arithmetic.interval_matrices import least_eigenvalue, matvec, quadratic_form, reshape, total
from systems.lowering import lower
from systems.lowering.program import read

__all__ = ["Lyapunov", "QuadraticLyapunov", "SymbolicLyapunov"]


class Lyapunov(ABC):
    """A twice differentiable V with V = 0 and gradient 0 at its centre, whose sublevel sets are the candidates.

    The centre is a box: an equilibrium that is not a double is known only to rounding, and V is the function centred at
    that exact equilibrium, which can only be enclosed.
    """

    centre: Interval
    is_convex: bool = False  # whether that is proved, which makes the tangent a lower bound

    @abstractmethod
    def __call__(self, x: np.ndarray) -> np.ndarray:
        """V (...,) at states (..., n), in floating point."""

    @abstractmethod
    def gradient(self, x: np.ndarray) -> np.ndarray:
        """The gradient (..., n) at states (..., n), in floating point."""

    @abstractmethod
    def enclose(self, x: Interval) -> Interval:
        """An enclosure (...,) of V over the boxes (..., n)."""

    @abstractmethod
    def enclose_gradient(self, x: Interval) -> Interval:
        """An enclosure (..., n) of the gradient over the boxes (..., n)."""

    @abstractmethod
    def enclose_hessian(self, x: Interval) -> Interval:
        """An enclosure of the Hessian over the boxes (..., n): (..., n, n) or, if it is constant, (n, n)."""

    @abstractmethod
    def bounding_box(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """A box, lower and upper (n,), outside which V > level; infinite if none is known."""

    def reach(self, level: float, T: np.ndarray) -> np.ndarray:
        """Half-widths (n,) of a box of coordinates z, x = centre + T z, outside of which V > level; infinite if
        unknown."""
        return np.full(len(T), np.inf)

    @abstractmethod
    def centred_at(self, centre: Interval) -> Self:
        """The same function centred at another point, known to lie in the box ``centre`` (n,)."""

    @property
    def correction(self) -> tuple[float, np.ndarray]:
        """The correction added to the given function so that its value and gradient vanish at the centre: a constant,
        and the slope (n,) of a linear function of x - centre."""
        return 0.0, np.zeros(len(self.middle))

    @property
    def middle(self) -> np.ndarray:
        """The midpoint (n,) of the centre, in floating point."""
        return self.centre.mid


@final
@dataclass(frozen=True, eq=False)
class QuadraticLyapunov(Lyapunov):
    """V(x) = (x - centre)' P (x - centre).

    Args:
        P: (n, n), symmetric and positive definite, which is verified with outward rounding.
        centre: (n,), numbers or a box that contains it.

    Raises:
        DimensionMismatch: shapes that do not fit. InvalidValue: P is not symmetric, or not provably positive definite.
    """

    P: np.ndarray
    centre: Interval
    is_convex: bool = field(default=True, init=False)
    _unit_reach: Interval = field(init=False, repr=False)  # half-widths of {V <= 1}

    def __post_init__(self) -> None:
        P, centre = np.array(self.P, dtype=float), self.centre
        if not isinstance(centre, Interval):
            centre = np.array(centre, dtype=float)
            if not np.isfinite(centre).all():
                raise InvalidValue(f"centre = {centre}; expected finite numbers")
            centre = Interval.of(centre)
        if P.ndim != 2 or P.shape != (len(P), len(P)) or centre.shape != (len(P),):
            raise DimensionMismatch(f"P {P.shape} and centre {centre.shape} do not fit; expected (n, n) and (n,)")
        if not (np.isfinite(P).all() and np.array_equal(P, P.T)):
            raise InvalidValue("P must be finite and exactly symmetric; symmetrise it as (P + P.T) / 2")
        T, bound = least_eigenvalue(Interval.of(P))
        if not bound > 0:
            smallest = np.linalg.eigvalsh(P).min(initial=np.inf)
            raise InvalidValue(
                f"P is not provably positive definite (smallest eigenvalue about {smallest:.3g}), so sublevel sets of "
                "x'Px may be unbounded; take P from a Riccati or Lyapunov equation"
            )
        P.setflags(write=False)
        for name, value in {"P": P, "centre": centre, "_unit_reach": _unit_reach(T, float(bound))}.items():
            object.__setattr__(self, name, value)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        d = x - self.middle
        return np.einsum("...i,ij,...j->...", d, self.P, d)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return 2.0 * (x - self.middle) @ self.P

    def enclose(self, x: Interval) -> Interval:
        """Bounds V from below by its first-order expansion at the midpoint (V is convex), and from above by adding the
        second-order term."""
        middle = x.mid
        d = x - middle
        at_middle = quadratic_form(self.P, Interval.of(middle) - self.centre)
        linear = total(self.enclose_gradient(Interval.of(middle)) * d)
        first = at_middle + linear
        second = quadratic_form(self.P, d)
        return Interval(np.maximum(first.lo, 0.0), np.maximum((first + second).hi, 0.0))

    def enclose_gradient(self, x: Interval) -> Interval:
        return matvec(2.0 * self.P, x - self.centre)

    def enclose_hessian(self, x: Interval) -> Interval:
        return Interval.of(2.0 * self.P)

    def bounding_box(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        half = self._unit_reach * sqrt(Interval.of(level))
        return (self.centre - half).lo, (self.centre + half).hi

    def reach(self, level: float, T: np.ndarray) -> np.ndarray:
        turned = (Ball.of(T.T) @ (Ball.of(self.P) @ Ball.of(T))).interval
        root, bound = least_eigenvalue(turned)
        if not bound > 0:
            return np.full(len(T), np.inf)
        return (_unit_reach(root, float(bound)) * sqrt(Interval.of(level))).hi

    def centred_at(self, centre: Interval) -> QuadraticLyapunov:
        return QuadraticLyapunov(self.P, centre)

    def points(self, level: float, count: int, rng: np.random.Generator) -> np.ndarray:
        """Random states (count, n), evenly distributed in {V <= level} to rounding error."""
        z = rng.normal(size=(count, len(self.P)))
        z *= rng.uniform(size=(count, 1)) ** (1.0 / len(self.P)) / np.linalg.norm(z, axis=1, keepdims=True)
        return self.middle + np.sqrt(level) * z @ np.linalg.inv(np.linalg.cholesky(self.P))

    def volume(self, level: float) -> float:
        """Volume of {V <= level}, to rounding error."""
        n = len(self.P)
        # In floating point a determinant can be wrong by many digits where the axes differ by orders of magnitude.
        squared = Fraction(level) ** n / _determinant(self.P)
        try:
            return float(pi ** (n / 2) / gamma(n / 2 + 1) * float(squared) ** 0.5)
        except OverflowError:
            return inf

    def share_beyond(self, level: float, distance: np.ndarray) -> np.ndarray:
        """Shares (n,) of {V <= level} in which x_i lies by more than a distance (n,) above the centre: to rounding
        error, and where the distance is not negative an upper bound but for that of the beta function.

        In coordinates in which the set is the unit ball it is the cap beyond h = distance / reach, whose share is half
        the regularised incomplete beta function of 1 - h^2 (Li 2011, "Concise formulas for the area and volume of a
        hyperspherical cap").
        """
        from scipy.special import betainc  # slow to import and only needed here

        h = np.clip(distance / (self._unit_reach * sqrt(Interval.of(level))).hi, -1.0, 1.0)
        half = 0.5 * betainc(0.5 * (len(h) + 1), 0.5, 1.0 - h * h)
        return np.where(h >= 0, half, 1.0 - half)


@final
@dataclass(frozen=True, eq=False)
class SymbolicLyapunov(Lyapunov):
    """V(x) = W(x) - W(c) - W'(c)(x - c) for any smooth CasADi function W, such as a polynomial or a network.

    The last two terms correct a candidate W that vanishes at its centre c only up to rounding; for an exact W they
    are zero. If they are more than rounding, a claim says so: its level refers to V, not to W. V is not assumed to be
    positive: this follows from its decrease on a compact invariant set.

    Args:
        function: of one column (n, 1) with one output (1, 1), twice continuously differentiable.
        centre: (n,), numbers or a box that holds it.

    Raises:
        DimensionMismatch: a function of another form. InvalidValue: it has kinks or jumps.
    """

    function: ca.Function
    centre: Interval

    def __post_init__(self) -> None:
        f = self.function
        if not isinstance(f, ca.Function):
            raise InvalidValue(f"V is of type {type(f).__name__}; expected a casadi.Function('V', [x], [V])")
        if f.n_in() != 1 or f.n_out() != 1 or f.size2_in(0) != 1 or f.size_out(0) != (1, 1):
            raise DimensionMismatch(
                f"{f} is not a Lyapunov function; expected one input, a column (n, 1), and one output, a scalar"
            )
        if kinks := kinked(f):
            raise InvalidValue(
                f"{f.name()} uses {', '.join(kinks)}, which is not twice differentiable everywhere; use smooth "
                "functions (polynomials, tanh, exp, log1p, sqrt of positive values)"
            )
        centre = self.centre
        if not isinstance(centre, Interval):
            centre = Interval.of(np.array(centre, dtype=float))
        if centre.shape != (f.size1_in(0),) or not np.isfinite([centre.lo, centre.hi]).all():
            raise DimensionMismatch(f"centre of shape {centre.shape}; expected ({f.size1_in(0)},), finite")
        object.__setattr__(self, "centre", centre)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        W, slope = self._at_middle
        return self._value(x)[..., 0] - W - (x - self.middle) @ slope

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return self._slope(x).reshape(x.shape) - self._at_middle[1]

    def enclose(self, x: Interval) -> Interval:
        W, slope = self._at_centre
        linear = total(slope * (x - self.centre))
        return self._program(x)[..., 0] - W - linear

    def enclose_gradient(self, x: Interval) -> Interval:
        return self._gradient(x) - self._at_centre[1]

    def enclose_hessian(self, x: Interval) -> Interval:
        n = x.shape[-1]
        hessian = reshape(self._second(x, self._free[1]), (*x.shape, n))
        if self._may_be_undefined and (nowhere := self.enclose(x).undefined) is not None:
            hessian.without_value(nowhere[..., None, None])  # a derivative may be defined where its function is not
        return hessian

    @property
    def correction(self) -> tuple[float, np.ndarray]:
        W, slope = self._at_middle
        return -W, -slope

    def bounding_box(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        n = self.function.size1_in(0)
        return np.full(n, -np.inf), np.full(n, np.inf)

    def centred_at(self, centre: Interval) -> SymbolicLyapunov:
        return SymbolicLyapunov(self.function, centre)

    # ---- lowered functions ----

    def _gradient(self, x: Interval) -> Interval:
        return reshape(self._first(x, self._free[1]), x.shape)

    @cached_property
    def _at_centre(self) -> tuple[Interval, Interval]:
        """W and its gradient at the centre."""
        return self._program(self.centre)[..., 0], self._gradient(self.centre)

    @cached_property
    def _at_middle(self) -> tuple[float, np.ndarray]:
        return float(self._value(self.middle)[0]), self._slope(self.middle).reshape(-1)

    @cached_property
    def _free(self) -> tuple[ca.Function, np.ndarray]:
        return with_symbolic_numbers(self.function)

    @cached_property
    def _derivatives(self) -> tuple[ca.Function, ca.Function]:
        free = self._free[0]
        x, numbers = free.sx_in()
        hessian, gradient = ca.hessian(free(x, numbers), x)
        return (
            ca.Function("gradient", [x, numbers], [gradient]),
            ca.Function("hessian", [x, numbers], [ca.densify(hessian)]),
        )

    @cached_property
    def _may_be_undefined(self) -> bool:
        return not (read(self.function).is_total and is_kept(self.function))

    @cached_property
    def _value(self) -> Any:
        return lower(self.function, to="numpy")

    @cached_property
    def _slope(self) -> Any:
        (x,) = self.function.sx_in()
        return lower(ca.Function("slope", [x], [ca.jacobian(self.function(x), x)]), to="numpy")

    @cached_property
    def _program(self) -> Any:
        return lower(self.function, to="interval")

    @cached_property
    def _first(self) -> Any:
        return lower(self._derivatives[0], to="interval")

    @cached_property
    def _second(self) -> Any:
        return lower(self._derivatives[1], to="interval")


def _determinant(P: np.ndarray) -> Fraction:
    """The exact determinant of a positive definite matrix, by whole numbers (Bareiss, 1968)."""
    rows = [[Fraction(a) for a in row] for row in P.tolist()]
    scale = max(a.denominator for row in rows for a in row)  # all are powers of two
    A, before = [[int(a * scale) for a in row] for row in rows], 1
    for k in range(len(A) - 1):
        for i in range(k + 1, len(A)):
            for j in range(k + 1, len(A)):
                A[i][j] = (A[i][j] * A[k][k] - A[i][k] * A[k][j]) // before
        before = A[k][k]
    return Fraction(A[-1][-1], scale ** len(A))


def _unit_reach(T: np.ndarray, bound: float) -> Interval:
    """Upper bounds (n,) of |x_i| over x'Px <= 1, when the eigenvalues of T P T' are at least ``bound``.

    x = T'z gives bound |z|^2 <= z'TPT'z = x'Px <= 1, and |x_i| <= |T e_i| |z|.
    """
    columns = total(Interval.of(T.T).sq())
    return Interval.of(sqrt(columns / bound).hi)
