"""The undisturbed closed loop x+ = f(x) of a task and a law, in numbers and in intervals with their Jacobians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.certify.jet import Jet
from ctrl.controller import NotApplicable
from ctrl.intervals import product, reshape
from ctrl.laws.exact import ExactColumn, NotExact, evaluate_exactly, jumps, with_symbolic_numbers
from ctrl.laws.law import Law, clip, clip_exactly
from systems import InvalidValue, Task
from systems.lowering import lower
from systems.lowering.interval import Interval
from systems.lowering.program import read

__all__ = ["ClosedLoop"]


@final
@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """x+ = f(x) = F(x, clip(u(x)), 0): nominal plant, law clipped to the task's input bounds, no disturbance.

    The enclosures hold for real arithmetic on the doubles given: plant parameters, dt, gains, bounds. These
    numbers are kept as symbols and enter as points, so that CasADi cannot fold them into rounded constants.

    Raises:
        NotApplicable: the reference moves, or the plant may jump between neighbouring states.
    """

    task: Task
    law: Law

    def __post_init__(self) -> None:
        if not self.task.reference.is_constant:
            raise NotApplicable(f"task '{self.task.name}': the reference moves; a region of attraction needs a point")
        _ = self._plant
        n, m = len(self.task.plant.state), len(self.task.plant.input)
        given = np.shape(self.law(np.zeros(n)))
        if given != (m,):
            raise InvalidValue(f"the law answers with shape {given}; plant {self.task.plant.name} has {m} inputs")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Next states (..., n) in floating point, for sampling."""
        u = np.clip(self.law(x), *self._bounds)
        return self._numbers(x, u, self._still, self._plant[1])

    def enclose(self, x: Interval) -> Interval:
        """Every next state over the boxes (..., n)."""
        u = self.law.enclose(x)
        lower, upper = self._bounds
        u = Interval(np.clip(u.lo, lower, upper), np.clip(u.hi, lower, upper))
        return self._boxes(x, u, self._still, self._plant[1])

    def enclose_jacobian(self, x: Interval) -> Jet:
        """The same with every slope df/dx over the boxes, (..., n, n)."""
        n, m = len(self.task.plant.state), len(self.task.plant.input)
        batch = x.shape[:-1]
        u, slope = clip(self.law.enclose(x), self.law.enclose_jacobian(x), *self._bounds)

        def equations(z: Jet, u: Interval, w: np.ndarray, p: np.ndarray) -> Jet:
            value, by_state, by_input = self._physics(z.value, u, w, p)
            by_state, by_input = reshape(by_state, (*batch, n, n)), reshape(by_input, (*batch, n, m))
            return Jet(value, product(by_state, z.jacobian) + product(by_input, slope))

        identity = Interval.of(np.broadcast_to(np.eye(n), (*batch, n, n)))
        return self.task.dynamics.stepper(equations)(Jet(x, identity), u, self._still, self._plant[1])

    @property
    def reference(self) -> np.ndarray:
        """The state (n,) to be held."""
        return self.task.reference.at(self.task.plant, 0)[0]

    @property
    def domain(self) -> tuple[np.ndarray, np.ndarray]:
        """The box of states in which the model is meant to hold, lower and upper (n,), infinite where there is none."""
        n = len(self.task.plant.state)
        if self.task.domain is None:
            return np.full(n, -np.inf), np.full(n, np.inf)
        return self.task.domain.interval(self.task.plant.state)

    def drift(self, x: np.ndarray) -> tuple[bool, float]:
        """Whether f(x) = x holds exactly, and a bound on the largest entry of f(x) - x.

        Intervals cannot prove an equality; rational arithmetic can, and does wherever the value is rational for an
        obvious reason (polynomial plants, zero angles).
        """
        moved = self.enclose(Interval.of(x)) - x
        bound = float(abs(moved).hi.max(initial=0.0))
        point = [Fraction(a) for a in x.tolist()]
        u = self.law.exact(point)
        if u is None or not np.isfinite(self._plant[1]).all():
            return False, bound
        inputs, p = clip_exactly(u, *self._bounds), [Fraction(a) for a in self._plant[1].tolist()]
        program = read(self._plant[0])

        def equations(
            z: ExactColumn, u: Sequence[Fraction], w: Sequence[Fraction], p: Sequence[Fraction]
        ) -> ExactColumn:
            (value,) = evaluate_exactly(program, z.entries, u, w, p)
            if value is None:
                raise NotExact
            return ExactColumn(tuple(value))

        try:
            step = self.task.dynamics.stepper(equations)
            after = step(ExactColumn(tuple(point)), inputs, [Fraction(0)] * len(self._still), p)
        except NotExact:
            return False, bound
        return list(after.entries) == point, bound

    # ---- lowered functions ----

    @cached_property
    def _plant(self) -> tuple[ca.Function, np.ndarray]:
        """The equations with parameters and literal numbers as the input p, and the values of those."""
        dynamics = self.task.dynamics
        values = {} if dynamics.integrator == "exact" else dynamics.plant.parameters
        f = dynamics.equations(tuple(values))
        if found := jumps(f):
            raise NotApplicable(
                f"plant {self.task.plant.name} uses {', '.join(found)}, where it may jump: its Jacobian does not "
                "describe it, so nothing can be proved. Write kinks with fmin, fmax or fabs"
            )
        free, numbers = with_symbolic_numbers(f)
        x, u, w, p, c = free.sx_in()
        joined = ca.Function(f.name(), [x, u, w, ca.vertcat(p, c)], [free(x, u, w, p, c)], ["x", "u", "w", "p"], ["f"])
        return joined, np.concatenate([np.array([float(v) for v in values.values()]), numbers])

    @cached_property
    def _still(self) -> np.ndarray:
        return np.zeros(len(self.task.plant.disturbance))

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.task.input_bounds

    @cached_property
    def _numbers(self) -> Callable[..., np.ndarray]:
        return self.task.dynamics.stepper(lower(self._plant[0], to="numpy"))

    @cached_property
    def _boxes(self) -> Callable[..., Interval]:
        return self.task.dynamics.stepper(lower(self._plant[0], to="interval"))

    @cached_property
    def _physics(self) -> Any:
        f = self._plant[0]
        x, u, w, p = f.sx_in()
        value = f(x, u, w, p)
        function = ca.Function(
            f"{f.name()}_with_jacobians", [x, u, w, p], [value, ca.jacobian(value, x), ca.jacobian(value, u)]
        )
        return lower(function, to="interval")
