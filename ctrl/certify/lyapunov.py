"""Lyapunov functions with the enclosures that a proof needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import gamma, pi
from typing import final

import numpy as np

from ctrl.intervals import least_eigenvalue, matvec, product, quadratic_form, total, transpose
from systems import DimensionMismatch, InvalidValue
from systems.lowering.interval import Interval
from systems.lowering.interval_functions import sqrt

__all__ = ["Change", "Lyapunov", "Quadratic"]


@dataclass(frozen=True)
class Change:
    """What is known of g(x) = V(f(x)) - (1 - kappa) V(x) over boxes.

    Args:
        at_middle: enclosure (b,) of g at one point of each box.
        upper: (b,), an upper bound of g over each box.
        spread: (b, n), how much each direction contributes to the distance between the two.
    """

    at_middle: Interval
    upper: np.ndarray
    spread: np.ndarray


class Lyapunov(ABC):
    """A function V with V(centre) = 0, positive elsewhere, whose sublevel sets are the regions of attraction."""

    centre: np.ndarray

    @abstractmethod
    def __call__(self, x: np.ndarray) -> np.ndarray:
        """V (...,) at states (..., n), in floating point."""

    @abstractmethod
    def enclose(self, x: Interval) -> Interval:
        """Every value over the boxes (..., n), as (...,)."""

    @abstractmethod
    def enclose_gradient(self, x: Interval) -> Interval:
        """Every gradient over the boxes (..., n), as (..., n)."""

    @abstractmethod
    def bounding_box(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """A box, lower and upper (n,), outside of which V > level."""

    @abstractmethod
    def volume(self, level: float) -> float:
        """Volume of {V <= level}, to rounding error."""

    @abstractmethod
    def decreases_around(self, jacobian: Interval, kappa: float) -> np.ndarray:
        """Whether V(centre + J d) < (1 - kappa) V(centre + d) is proved for all d != 0 and all J enclosed.

        Args:
            jacobian: (..., n, n).
        """

    def change(self, box: Interval, middle: np.ndarray, after: Interval, jacobian: Interval, kappa: float) -> Change:
        """Bounds of g over boxes, by the mean value theorem for g.

        Args:
            box: (b, n). middle: (b, n), a point inside each. after: enclosure (b, n) of f(middle).
            jacobian: enclosure (b, n, n) of the slopes of f over the box.
        """
        d = box - middle
        at_middle = self.enclose(after) - (1.0 - Interval.of(kappa)) * self.enclose(Interval.of(middle))
        anywhere = after + matvec(jacobian, d)
        slope = matvec(transpose(jacobian), self.enclose_gradient(anywhere))
        slope = slope - (1.0 - Interval.of(kappa)) * self.enclose_gradient(box)
        spread = (abs(slope) * abs(d)).hi
        return Change(at_middle, (at_middle + total(Interval.of(spread))).hi, spread)


@final
@dataclass(frozen=True, eq=False)
class Quadratic(Lyapunov):
    """V(x) = (x - centre)' P (x - centre).

    Args:
        P: (n, n), symmetric and positive definite, which is verified with outward rounding.
        centre: (n,).

    Raises:
        DimensionMismatch: shapes that do not fit. InvalidValue: P is not symmetric, or not provably positive definite.
    """

    P: np.ndarray
    centre: np.ndarray
    _reach: Interval = field(init=False, repr=False)  # half-widths of {V <= 1}

    def __post_init__(self) -> None:
        P, centre = np.array(self.P, dtype=float), np.array(self.centre, dtype=float)
        if P.ndim != 2 or P.shape != (len(P), len(P)) or centre.shape != (len(P),):
            raise DimensionMismatch(f"P {P.shape} and centre {centre.shape} do not fit; expected (n, n) and (n,)")
        if not (np.isfinite(P).all() and np.isfinite(centre).all() and np.array_equal(P, P.T)):
            raise InvalidValue("P must be finite and exactly symmetric; symmetrise it as (P + P.T) / 2")
        T, bound = least_eigenvalue(Interval.of(P))
        if not bound > 0:
            smallest = np.linalg.eigvalsh(P).min(initial=np.inf)
            raise InvalidValue(
                f"P is not provably positive definite (smallest eigenvalue about {smallest:.3g}), so x'Px bounds no "
                "region; take it from a Riccati or Lyapunov equation"
            )
        P.setflags(write=False)
        centre.setflags(write=False)
        for name, value in {"P": P, "centre": centre, "_reach": _reach(T, float(bound))}.items():
            object.__setattr__(self, name, value)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        d = x - self.centre
        return np.einsum("...i,ij,...j->...", d, self.P, d)

    def enclose(self, x: Interval) -> Interval:
        """By the first-order expansion at the middle, from below (V is convex), with the second order from above."""
        middle = x.mid
        d = x - middle
        at_middle = quadratic_form(self.P, Interval.of(middle) - self.centre)
        linear = total(self.enclose_gradient(Interval.of(middle)) * d)
        first = at_middle + linear
        second = quadratic_form(self.P, d)
        return Interval(np.maximum(first.lo, 0.0), np.maximum((first + second).hi, 0.0))

    def enclose_gradient(self, x: Interval) -> Interval:
        return matvec(2.0 * self.P, x - self.centre)

    def bounding_box(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        half = self._reach * sqrt(Interval.of(level))
        return (self.centre - half).lo, (self.centre + half).hi

    def volume(self, level: float) -> float:
        n = len(self.P)
        ball = pi ** (n / 2) / gamma(n / 2 + 1)
        return float(ball * level ** (n / 2) / np.sqrt(np.linalg.det(self.P)))

    def decreases_around(self, jacobian: Interval, kappa: float) -> np.ndarray:
        return least_eigenvalue(-self._growth(jacobian, kappa))[1] > 0

    def change(self, box: Interval, middle: np.ndarray, after: Interval, jacobian: Interval, kappa: float) -> Change:
        """Bounds of g over boxes, by the exact second-order expansion of V.

        With d = x - middle and f(x) - centre = y + J d, where y = f(middle) - centre,

            g(x) = g(middle) + 2 (J'P y - (1 - kappa) P (middle - centre))'d + d'(J'PJ - (1 - kappa) P) d

        for one J in the enclosure, which keeps the cancellation between V(f(x)) and V(x).
        """
        keep = 1.0 - Interval.of(kappa)
        y, z = after - self.centre, Interval.of(middle) - self.centre
        at_middle = quadratic_form(self.P, y) - keep * quadratic_form(self.P, z)
        slope = 2.0 * (matvec(transpose(jacobian), matvec(self.P, y)) - keep * matvec(self.P, z))
        d = abs(box - middle)
        growth = self._growth(jacobian, kappa)
        n = len(self.P)
        diagonal = np.eye(n, dtype=bool)
        # d_i^2 lies between 0 and its bound: a negative diagonal entry does not help, a positive one counts in full.
        size = Interval.of(np.where(diagonal, np.maximum(growth.hi, 0.0), abs(growth).hi))
        reach = Interval.of(d.hi)
        spread = (reach * (abs(slope) + matvec(size, reach))).hi
        return Change(at_middle, (at_middle + total(Interval.of(spread))).hi, spread)

    def _growth(self, jacobian: Interval, kappa: float) -> Interval:
        """J'PJ - (1 - kappa) P with J = C + E: C'PC + C'PE + E'PC + E'PE, so that C'P is formed before E widens it."""
        C = jacobian.mid
        E = jacobian - C
        CP = product(np.swapaxes(C, -1, -2), self.P)
        cross = product(CP, E)
        bent = product(transpose(E), product(self.P, E))
        return product(CP, C) - (1.0 - Interval.of(kappa)) * self.P + (cross + transpose(cross)) + bent


def _reach(T: np.ndarray, bound: float) -> Interval:
    """Upper bounds (n,) of |x_i| over x'Px <= 1, when the eigenvalues of T P T' are at least ``bound``.

    x = T'z gives bound |z|^2 <= z'TPT'z = x'Px <= 1, and |x_i| <= |T e_i| |z|.
    """
    columns = total(Interval.of(T.T).sq())
    return Interval.of(sqrt(columns / bound).hi)
