"""Van der Pol's oscillator with a force on it, and the same flow in reversed time: a bounded region of attraction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from systems.constraints import Box
from systems.costs import Quadratic
from systems.distributions import Uniform
from systems.parameters import nonnegative
from systems.plant import Plant
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["ReversedVanDerPol", "VanDerPol", "van_der_pol", "van_der_pol_reversed"]


def _flow(mu: Any, x: Vector) -> tuple[Any, Any]:
    return x.x2, mu * (1.0 - x.x1**2) * x.x2 - x.x1


@dataclass(frozen=True)
class VanDerPol(Plant):
    """Self-excited oscillator (van der Pol, 1926) in dimensionless time, with an additive force.

    x1' = x2
    x2' = mu (1 - x1^2) x2 - x1 + force

    Without force every other trajectory ends on a limit cycle around the unstable origin.
    """

    mu: float = 1.0  # -
    max_force: float = nonnegative(1.0)  # -

    state = signals("x1", "x2")
    input = signals("force")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        first, second = _flow(self.mu, x)
        return first, second + u.force

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"force": (-self.max_force, self.max_force)}


@dataclass(frozen=True)
class ReversedVanDerPol(Plant):
    """The same flow backwards, without input: the standard test of region-of-attraction estimates.

    x1' = -x2
    x2' = x1 - mu (1 - x1^2) x2

    The origin is asymptotically stable, and the limit cycle of the oscillator bounds its region of attraction.
    """

    mu: float = 1.0  # -

    state = signals("x1", "x2")
    input = signals()

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        first, second = _flow(self.mu, x)
        return -first, -second


def van_der_pol() -> Task:
    """Bring the oscillator to rest at its unstable origin with a force of at most 1."""
    return Task(
        name="van-der-pol",
        plant=VanDerPol(),
        dt=0.1,
        steps=150,
        cost=Quadratic(Q={"x1": 1.0, "x2": 1.0}, R={"force": 1.0}),
        initial=Uniform({"x1": -0.6, "x2": -0.6}, {"x1": 0.6, "x2": 0.6}),
        domain=Box("model", {"x1": (-4.0, 4.0), "x2": (-6.0, 6.0)}),
        tolerance={"x1": 0.05, "x2": 0.05},
    )


def van_der_pol_reversed() -> Task:
    """The reversed oscillator without an input: the region of attraction of the origin is the question."""
    return Task(
        name="van-der-pol-reversed",
        plant=ReversedVanDerPol(),
        dt=0.05,
        steps=400,
        cost=Quadratic(Q={"x1": 1.0, "x2": 1.0}, R={}),
        initial=Uniform({"x1": -1.0, "x2": -1.0}, {"x1": 1.0, "x2": 1.0}),
        domain=Box("model", {"x1": (-2.5, 2.5), "x2": (-3.5, 3.5)}),
        tolerance={"x1": 0.05, "x2": 0.05},
    )
