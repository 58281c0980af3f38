"""The smallest constrained problem: one dose, a benefit, a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from systems.constraints import Inequality
from systems.costs import Quadratic
from systems.distributions import Fixed
from systems.parameters import nonnegative
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Vector, signals
from systems.task import Task

__all__ = ["Bandit", "bandit"]


@dataclass(frozen=True)
class Bandit(Plant):
    """A constant state, so that decisions are independent of each other."""

    max_dose: float = nonnegative(2.0)  # -

    state = signals("state [-]")
    input = signals("dose [-]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (0.0,)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"dose": (0.0, self.max_dose)}


def bandit() -> Task:
    """Minimise (dose - 1)^2 with a mean dose of at most 0.5: the optimal mean is 0.5, with multiplier 1.

    With L(a, lam) = (a - 1)^2 + lam (a - 0.5): dL/da = 0 at a = 0.5 gives lam = 1.
    """
    return Task(
        name="bandit",
        plant=Bandit(),
        dt=1.0,
        steps=1,
        cost=Quadratic(Q={}, R={"dose": 1.0}),
        reference=SetPoint(u={"dose": 1.0}),
        constraints=(Inequality("dose", lambda x, u: u.dose).budget(0.5, of="excess"),),
        initial=Fixed({"state": 0.0}),
        tolerance={"state": 1.0},
        discount=0.5,
    )
