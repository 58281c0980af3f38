"""Implicit Runge-Kutta methods for stiff equations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from systems.arguments import expect_whole
from systems.errors import InvalidValue, shown
from systems.newton import as_function, eliminate, newton

__all__ = ["Gauss", "ImplicitRungeKutta", "Radau"]


@dataclass(frozen=True)
class ImplicitRungeKutta(ABC):
    """A collocation method whose stages are solved by Newton's method in a fixed number of iterations.

    The stages Y_i solve Y_i = x + h sum_j a_ij f(Y_j). If Newton's method has not converged after its last iteration,
    the next state is NaN, that is, the plant is undefined there. More substeps or iterations help.

    Args:
        order: of the method.
        iterations: of Newton's method in every step; affine equations need at most three.
    """

    order: int
    iterations: int

    def __post_init__(self) -> None:
        name, orders = type(self).__name__, self.orders
        if not (type(self.order) is int and self.order in orders):
            listed = f"{', '.join(map(str, orders[:-1]))} or {orders[-1]}"
            raise InvalidValue(f"{name}: order = {shown(self.order)}; expected {listed}")
        object.__setattr__(self, "iterations", expect_whole(self.iterations, f"{name}: iterations", least=3, most=100))

    @property
    @abstractmethod
    def orders(self) -> tuple[int, ...]:
        """The available orders."""

    @property
    @abstractmethod
    def nodes(self) -> list[float]:
        """c, the positions of the stages within a step."""

    @cached_property
    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """A (s, s), and d = b A^-1 (s,), with which x+ = x + sum_i d_i (Y_i - x).

        Unlike x + h sum_i b_i f(Y_i), this form does not amplify errors of the stages by a stiff f (Hairer & Wanner,
        1996, Solving Ordinary Differential Equations II, section IV.8).
        """
        c, powers = np.array(self.nodes)[:, None], np.arange(len(self.nodes))
        inverse = np.linalg.inv(c**powers)  # from values at the nodes to coefficients of their polynomial
        a, b = (c ** (powers + 1) / (powers + 1)) @ inverse, (1.0 / (powers + 1)) @ inverse
        d = np.linalg.solve(a.T, b)
        return a, d if c[-1] < 1.0 else np.eye(len(c))[-1]

    def __str__(self) -> str:
        return f"{type(self).__name__} of order {self.order}"

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone."""
        return {"order": self.order, "iterations": self.iterations}

    def step(self, ode: Callable[[ca.SX], ca.SX], n: int, h: float) -> Callable[[ca.SX], tuple[ca.SX, ca.SX]]:
        """One step: the next state (n, 1) of a state (n, 1), and the residual of Newton's method, see :func:`newton`.

        Args:
            ode: f, of states, as an expression.
            n: number of states.
            h: seconds.
        """
        a, d = self.coefficients
        s, x = len(d), ca.SX.sym("x", n)

        def equations(z: ca.SX) -> ca.SX:
            """The equations of the differences z = Y - x, which lose less accuracy to rounding than Y."""
            slopes = [ode(x + z[n * i : n * (i + 1)]) for i in range(s)]
            return z - h * ca.vertcat(*(sum(a[i, j] * slopes[j] for j in range(s)) for i in range(s)))

        z, residual = newton(equations, ca.SX.zeros(n * s), ca.repmat(ca.fabs(x), s), self.iterations, eliminate)
        after = x + sum(d[i] * z[n * i : n * (i + 1)] for i in range(s) if d[i])
        return as_function([x], [after, residual])


@final
@dataclass(frozen=True)
class Gauss(ImplicitRungeKutta):
    """Gauss-Legendre: A-stable, symplectic, of the highest order; for oscillators with little damping.

    Kuntzmann (1961); Butcher (1964). Fast modes oscillate instead of decaying; use :class:`Radau` for those.

    Args:
        order: 2 (the implicit midpoint rule), 4 or 6, of 1, 2 or 3 stages; default: 4.
        iterations: of Newton's method; default: 6.

    Raises:
        InvalidValue: another order, or fewer than 3 iterations.
    """

    order: int = 4
    iterations: int = 6

    @property
    def orders(self) -> tuple[int, ...]:
        return 2, 4, 6

    @property
    def nodes(self) -> list[float]:
        return list(ca.collocation_points(self.order // 2, "legendre"))


@final
@dataclass(frozen=True)
class Radau(ImplicitRungeKutta):
    """Radau IIA: L-stable, for stiff equations: fast modes decay at once for any dt.

    Ehle (1969); Hairer & Wanner (1996), Solving Ordinary Differential Equations II, section IV.5.

    Args:
        order: 1 (the implicit Euler method), 3 or 5, of 1, 2 or 3 stages; default: 5.
        iterations: of Newton's method; default: 6.

    Raises:
        InvalidValue: another order, or fewer than 3 iterations.
    """

    order: int = 5
    iterations: int = 6

    @property
    def orders(self) -> tuple[int, ...]:
        return 1, 3, 5

    @property
    def nodes(self) -> list[float]:
        return list(ca.collocation_points((self.order + 1) // 2, "radau"))
