"""The fields of a task and the CasADi functions derived from them, which controllers, learners and proofs use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from systems.constraints import Box, Constraint, Hard, Soft
from systems.costs import Cost
from systems.discretise import Discretisation, Integrator
from systems.distributions import Distribution, Fixed
from systems.errors import InvalidValue, located, shown
from systems.expressions import column, evaluated, largest, without_nan
from systems.measurement import Measurement
from systems.observations import MeasuredWindow, Observation
from systems.plant import Plant
from systems.references import Reference, SetPoint
from systems.signals import Signal, Signals, Values, Vector

__all__ = ["AbstractTask"]


@dataclass(frozen=True, eq=False)
class AbstractTask(ABC):
    """Plant, cost, constraints, reference and distributions; construct a :class:`systems.task.Task` instead.

    It has a file of its own, so that environments, readings and descriptions can use it without importing the task that
    provides them.
    """

    name: str
    plant: Plant
    dt: float
    steps: int
    cost: Cost
    initial: Distribution
    constraints: tuple[Constraint, ...] = ()
    reference: Reference = field(default_factory=SetPoint)
    disturbance: Distribution = field(default_factory=Fixed)
    domain: Box | None = None
    tolerance: Values | None = None
    discount: float = 0.99
    integrator: Integrator = "rk4"
    substeps: int = 1
    observation: Observation | MeasuredWindow | None = None
    truth: Plant | None = None
    measurement: Measurement | None = None
    variation: Distribution | None = None

    @abstractmethod
    def __post_init__(self) -> None:
        """Refuses inconsistent fields."""

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: a copy recomputes everything derived from them."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @cached_property
    def dynamics(self) -> Discretisation:
        """The nominal plant, discretised."""
        return Discretisation(self.plant, self.dt, self.integrator, self.substeps)

    @cached_property
    def stage_cost(self) -> ca.Function:
        """The stage cost ``l(x, u, x_ref, u_ref)``, see :meth:`~systems.costs.Cost.stage_function`."""
        return self.cost.stage_function(self.plant)

    @cached_property
    def terminal_cost(self) -> ca.Function:
        """The terminal cost ``Vf(x, x_ref)``."""
        return self.cost.terminal_function(self.plant)

    @cached_property
    def true_dynamics(self) -> Discretisation:
        """The true plant, discretised."""
        return self.dynamics if self.truth is None else self.dynamics.replace(self.truth)

    @cached_property
    def varied(self) -> Signals:
        """The plant's parameters that are drawn for every run, as signals; none without a variation.

        Raises:
            InvalidValue: a distribution that does not name them.
        """
        if self.variation is None:
            return Signals()
        values = [getattr(self.variation, f.name) for f in fields(self.variation)]  # type: ignore[arg-type]
        names = dict.fromkeys(name for value in values if isinstance(value, Mapping) for name in value)
        if not names:
            raise InvalidValue(
                f"task '{self.name}': variation = {shown(self.variation)} names no parameter of {self.plant.name}; "
                'give its values by name, such as Uniform({"mass": 0.9}, {"mass": 1.1})'
            )
        return Signals(Signal(name) for name in names)

    def draw_parameters(self, rng: np.random.Generator, runs: int) -> np.ndarray:
        """Parameters (runs, v) of the true plant, for each run; see ``varied``."""
        if self.variation is None:
            return np.zeros((runs, 0))
        return self.variation.sample(self.varied, rng, (runs,))

    def parameters_of(self, plant: Plant) -> np.ndarray:
        """The values (v,) that the parameters in ``varied`` have in a plant."""
        return np.array([float(plant.parameters[name]) for name in self.varied.names])

    @cached_property
    def constraint_functions(self) -> tuple[ca.Function, ...]:
        """``g(x, u)`` of each constraint, in order."""
        functions = []
        for constraint in self.constraints:
            with located(f"task '{self.name}': constraint '{constraint.name}'"):
                functions.append(constraint.function(self.plant))
        return tuple(functions)

    @cached_property
    def has_terminal_cost(self) -> bool:
        """Whether the terminal cost is not zero."""
        return not self.terminal_cost(*self.terminal_cost.sx_in()).is_zero()

    @property
    def input_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Actuator limits tightened by the task's own hard boxes: lower and upper (m,), infinite where there is none.

        Raises:
            InvalidValue: no input satisfies all limits.
        """
        lower, upper = (bound.copy() for bound in self.plant.bounds)
        for constraint in self.constraints:
            if isinstance(constraint, Box) and isinstance(constraint.requirement, Hard):
                low, high = constraint.interval(self.plant.input)
                lower, upper = np.maximum(lower, low), np.minimum(upper, high)
        if (lower > upper).any():
            raise InvalidValue(f"task '{self.name}': no input satisfies the limits; lower {lower}, upper {upper}")
        return lower, upper

    @property
    def applied_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """``input_bounds`` within the limits of the true plant's actuators: lower and upper, each (m,)."""
        lower, upper = self.input_bounds
        least, most = self.true_dynamics.plant.bounds
        return np.clip(lower, least, most), np.clip(upper, least, most)

    @property
    def domain_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The box of states in which the model is meant to hold: lower and upper, each (n,), infinite where none."""
        n = len(self.plant.state)
        if self.domain is None:
            return np.full(n, -np.inf), np.full(n, np.inf)
        return self.domain.interval(self.plant.state)

    @property
    def arrival(self) -> np.ndarray:
        """Half-widths (n,) around the reference within which a run counts as arrived."""
        state = self.plant.state
        if self.tolerance is not None:
            return state.array(self.tolerance, default=np.inf, what="tolerance")
        spread = 3.0 * np.sqrt(np.diag(self.initial.covariance(state)))
        offset = np.abs(state.deviation(self.initial.mean(state), self.reference.at(self.plant, 0)[0]))
        width = 0.05 * (spread + offset)
        return np.where(width > 0, width, np.inf)

    @cached_property
    def confined(self) -> np.ndarray:
        """Mask (n,) of the signals whose values in the domain are the representatives closest to a constant reference,
        so that none of them ever has to be shifted by a period."""
        declared = self.plant.state
        low, high = self.domain_bounds
        if not self.reference.is_constant:
            return np.isinf(declared.periods) & np.array([not s.quaternion for s in declared], dtype=bool)
        x, _ = self.reference.at(self.plant, 0)
        inside = (low >= x - 0.5 * declared.periods) & (high <= x + 0.5 * declared.periods)
        for group in declared.quaternions:
            with np.errstate(invalid="ignore"):
                products = np.minimum(x[group] * low[group], x[group] * high[group])
            inside[group] = np.where(x[group] == 0.0, 0.0, products).sum() >= 0.0
        return inside

    @property
    def observes_measurement(self) -> bool:
        """Whether learners observe the measured signals: always if there are any, unless an :class:`Observation` of the
        state is given."""
        return self.measurement is not None and not isinstance(self.observation, Observation)

    @property
    def past(self) -> int:
        """Number of earlier samples whose measurements and inputs learners observe."""
        return self.observation.past if isinstance(self.observation, MeasuredWindow) else 0

    @property
    def observation_signals(self) -> Signals:
        """Names and units of a learner's observation."""
        if isinstance(self.observation, Observation):
            return self.observation.signals
        state = self.plant.state
        if self.measurement is not None:
            measured, past = self.measurement.signals, range(1, self.past + 1)
            aged = (signal for signal, late in zip(measured, self.measurement.is_sporadic, strict=True) if late)
            moving = () if self.reference.is_constant else state
            return Signals(
                (
                    *measured,
                    *(Signal(f"{s.name}_age", "samples") for s in aged),
                    *(Signal(f"{s.name}_{j}_ago", s.unit) for j in past for s in measured),
                    *(Signal(f"applied_{s.name}_{j}_ago", s.unit) for j in past for s in self.plant.input),
                    *(Signal(f"{s.name}_reference", s.unit) for s in moving),
                )
            )
        if self.reference.is_constant:
            return state
        return Signals((*state, *(Signal(f"{s.name}_reference", s.unit) for s in state)))

    def observe_function(self) -> ca.Function:
        """``o(x, xr) -> (len(observation_signals), 1)``, a learner's observation.

        Raises:
            InvalidValue: learners observe measured signals, which depend on more than the state.
        """
        if self.observes_measurement:
            raise InvalidValue(
                f"task '{self.name}': learners observe its measured signals, which are not a function of the state; "
                "give it an Observation of the state, or leave out its measurement: dataclasses.replace(task, "
                "measurement=None, observation=None)"
            )
        state = self.plant.state
        x, xr = state.symbol(), state.symbol()
        if not isinstance(self.observation, Observation):
            near = self._near(x, xr)
            observation = near if self.reference.is_constant else ca.vertcat(near, xr)
        else:
            where = f"task '{self.name}': the observation"
            vectors = Vector(state, x, "state"), Vector(state, xr, "reference")
            entries = evaluated(self.observation.expression, where, *vectors)
            scalar = isinstance(entries, (int, float))
            expected = f"one expression per signal: {', '.join(self.observation.signals.names)}"
            observation = column([entries] if scalar else entries, where, expected)
        if observation.shape != (len(self.observation_signals), 1):
            raise InvalidValue(
                f"task '{self.name}': the observation gives {observation.shape[0]} numbers for "
                f"{len(self.observation_signals)} declared signals"
            )
        try:
            f = ca.Function("observe", [x, xr], [observation], ["x", "xr"], ["observation"])
        except RuntimeError as error:
            raise InvalidValue(
                f"task '{self.name}': the observation contains symbols that are neither state nor reference; "
                f"CasADi says: {str(error).splitlines()[-1]}"
            ) from error
        return without_nan(f, f"the observation of task '{self.name}'")

    def stage_cost_function(self) -> ca.Function:
        """``l(x, u, xr, ur) -> (1, 1)``: the cost of a sample, including violated soft constraints.

        NaN where a soft constraint is undefined.
        """
        return self._charged_stage

    @cached_property
    def _charged_stage(self) -> ca.Function:
        stage = self.stage_cost
        arguments = stage.sx_in()
        x, u, xr, ur = arguments
        total = stage(x, u, self._near(xr, x), ur)
        for constraint, function in zip(self.constraints, self.constraint_functions, strict=True):
            if isinstance(constraint.requirement, Soft):
                g = function(*arguments[:2])
                total += constraint.requirement.weight * sum(largest(row, 0.0) for row in ca.vertsplit(g))
        return ca.Function("stage_cost", arguments, [total], ["x", "u", "xr", "ur"], ["cost"])

    def terminal_cost_function(self) -> ca.Function:
        """``Vf(x, xr) -> (1, 1)``: the cost of the last state."""
        return self._charged_terminal

    @cached_property
    def _charged_terminal(self) -> ca.Function:
        terminal = self.terminal_cost
        x, xr = terminal.sx_in()
        return ca.Function("terminal_cost", [x, xr], [terminal(x, self._near(xr, x))], ["x", "xr"], ["cost"])

    def _near(self, values: ca.SX, to: ca.SX) -> ca.SX:
        """The representative of states (n, 1) nearest to others, in declared periodic signals and quaternions that the
        domain does not confine to one representative anyway."""
        if self.plant.state.is_euclidean or self.confined.all():
            return values
        return self.plant.state.nearest_expression(values, to)

    def margin_function(self) -> ca.Function:
        """``(x, u) -> (len(constraints), 1)``: the largest g of each constraint, in order; positive means violated.

        NaN where one of its rows is undefined.
        """
        return self._margins

    @cached_property
    def _margins(self) -> ca.Function:
        x, u = self.plant.state.symbol(), self.plant.input.symbol()
        rows = [largest(*ca.vertsplit(g(x, u))) for g in self.constraint_functions]
        return ca.Function("margins", [x, u], [ca.vertcat(*rows) if rows else ca.SX(0, 1)], ["x", "u"], ["margins"])
