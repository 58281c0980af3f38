"""Feasible sets of predictive controllers (their domains of attraction) by support directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp

from systems import InvalidValue, Signals
from systems.arguments import expect_names, expect_whole
from systems.errors import expect, shown
from systems.signals import expect_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FeasibleSet", "HasFeasibleSet", "Section", "plot_sections"]


@dataclass(frozen=True, eq=False)
class FeasibleSet:
    """The states x for which some z solves the constraints of a controller:

        G (x, z) = g,   A (x, z) <= b,   each triple of d - C (x, z) lies in {(t, a, b): |(a, b)| <= t}

    Args:
        state: names and units of x, the first entries of (x, z).
        G, g: equality constraints.
        A, b: inequality constraints.
        C, d: cones, three rows each.
    """

    state: Signals
    G: sp.csc_matrix
    g: np.ndarray
    A: sp.csc_matrix
    b: np.ndarray
    C: sp.csc_matrix
    d: np.ndarray

    def support(self, direction: Mapping[str, float], held: Mapping[str, float]) -> np.ndarray | None:
        """The feasible state that lies furthest along ``direction``.

        Args:
            direction: weights by state name.
            held: the states held at given values.

        Returns:
            (n,), or None if no state with these values is feasible.

        Raises:
            InvalidValue: the set is unbounded in this direction.
            ArithmeticError: the solver failed.
        """
        import clarabel

        n, width = len(self.state), self.G.shape[1]
        fixed = [self.state.where(name) for name in held]
        pick = sp.csc_matrix((np.ones(len(fixed)), (range(len(fixed)), fixed)), shape=(len(fixed), width))
        matrix = sp.vstack([self.G, pick, self.A, self.C], format="csc")
        right = np.concatenate([self.g, np.array([held[name] for name in held], dtype=float), self.b, self.d])
        cones = [clarabel.ZeroConeT(len(self.g) + len(fixed)), clarabel.NonnegativeConeT(len(self.b))]
        cones += [clarabel.SecondOrderConeT(3)] * (len(self.d) // 3)
        q = np.zeros(width)
        q[:n] = -self.state.array(direction, what="direction")
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        solution = clarabel.DefaultSolver(sp.csc_matrix((width, width)), q, matrix, right, cones, settings).solve()
        status = str(solution.status)
        if "PrimalInfeasible" in status:
            return None
        if "DualInfeasible" in status:
            along = ", ".join(f"{name} {weight:+.3g}" for name, weight in direction.items())
            raise InvalidValue(f"the feasible set is unbounded along ({along}); hold more states by 'held'")
        if status not in ("Solved", "AlmostSolved"):
            raise ArithmeticError(f"the solver found no support of the feasible set and ended with '{status}'")
        return np.array(solution.x[:n])

    def section(self, plane: tuple[str, str], held: Mapping[str, float] | None = None, directions: int = 24) -> Section:
        """The part of the set in a plane, by evenly spread support directions.

        Args:
            plane: the two states that vary.
            held: values of the other states; default: zero. A state with an infinite value is free.
            directions: number of support directions; the polygon through the support points lies inside the set.
        """
        if len(expect_names(plane, "plane")) != 2:
            raise InvalidValue(f"plane = {shown(plane)}; expected two names of states, such as ('position', 'speed')")
        expect_whole(directions, "directions", least=3)
        if held is not None:
            expect(held, Mapping, "held", "numbers by name of the state")
            expect_values(held, "held", infinite=True)
        values = {name: 0.0 for name in self.state.names if name not in plane} | dict(held or {})
        fixed = {name: value for name, value in values.items() if np.isfinite(value)}
        i, j = (self.state.where(name) for name in plane)
        points = []
        for angle in 2.0 * np.pi * np.arange(directions) / directions:
            x = self.support({plane[0]: np.cos(angle), plane[1]: np.sin(angle)}, fixed)
            if x is None:
                return Section(plane, np.zeros((0, 2)))
            points.append(x[[i, j]])
        return Section(plane, np.array(points))


@dataclass(frozen=True, eq=False)
class Section:
    """A polygon inside a planar section of a feasible set; ``corners`` (k, 2) in order, none if it is empty."""

    plane: tuple[str, str]
    corners: np.ndarray

    @property
    def area(self) -> float:
        """Area of the polygon, in the product of the two units."""
        if not len(self.corners):
            return 0.0
        x, y = self.corners.T
        return float(0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


@runtime_checkable
class HasFeasibleSet(Protocol):
    """A controller that can compute the states from which its problem is feasible."""

    def feasible_set(self) -> FeasibleSet:
        """The states at which its problem has a solution, for its reference at sample 0."""


def plot_sections(sections: Mapping[str, Section]) -> Figure:
    """Plots the sections of several controllers, by name, in one figure with their areas.

    Raises:
        InvalidValue: no sections, or sections in different planes.
    """
    from matplotlib.figure import Figure

    if len({section.plane for section in sections.values()}) != 1:
        raise InvalidValue("no sections, or sections in different planes; expected sections in the same plane")
    figure = Figure(figsize=(5.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, section in sections.items():
        closed = np.vstack([section.corners, section.corners[:1]])
        axes.plot(*closed.T, label=f"{name}: {section.area:.4g}")
        axes.fill(*closed.T, alpha=0.15)
    plane = next(iter(sections.values())).plane
    axes.set_xlabel(plane[0])
    axes.set_ylabel(plane[1])
    axes.legend(title="area of the feasible set")
    return figure
