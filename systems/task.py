"""The task: one frozen object that feeds every controller of a comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np

from systems.arguments import expect_name, expect_number, expect_whole
from systems.constraints import Box, Constraint, Hard, Soft
from systems.costs import Cost, Quadratic
from systems.discretise import Discretisation, Integrator
from systems.distributions import Distribution, Fixed
from systems.errors import InvalidValue, TriviumError, expect, located
from systems.expressions import column, evaluated, expect_arguments, largest, without_nan
from systems.plant import Plant
from systems.references import Reference, SetPoint
from systems.signals import Signal, Signals, Values, Vector, expect_values

if TYPE_CHECKING:
    import torch

    from systems.envs.gym import GymEnv
    from systems.envs.vector import VectorEnv
    from systems.reading import Reading

__all__ = ["Observation", "Task"]


@dataclass(frozen=True)
class Observation:
    """What a learner sees, as an expression of the state and its present reference, such as the sine of an angle.

    ``Observation(signals("cosine [-]", "sine [-]", "rate [rad/s]"),
    lambda x, xr: (cos(x.angle), sin(x.angle), x.rate))``
    """

    signals: Signals
    expression: Callable[[Vector, Vector], Any]

    def __post_init__(self) -> None:
        expect(self.signals, Signals, "the signals of an observation", 'such as signals("sine [-]", "rate [rad/s]")')
        expect_arguments(self.expression, "x, xr", "the observation")


@dataclass(frozen=True, eq=False)
class Task:
    """A plant and what is to be done with it.

    Two tasks are equal where all of their fields say the same, functions by the expressions they give.

    Args:
        name: what tables and folders call it.
        plant: the nominal plant, which controllers know.
        dt: seconds between samples. steps: samples per run.
        cost: charged once per sample. reference: where to be.
        constraints: conditions on state and input; the actuators' own limits come from the plant.
        initial: law of the initial state. disturbance: law of ``w``, drawn anew at every sample.
        domain: box of states in which the model is meant to hold; a run that leaves it stops, and every remaining step
            is charged the stage cost of the point where it left.
        tolerance: half-widths around the reference within which a run counts as arrived, by state name (infinite where
            left out) or in order; 5 % of the spread of the initial law where not given.
        discount: of the learner's return, per sample.
        integrator, substeps: see :class:`Discretisation`.
        observation: what a learner sees; the state (and its reference, if that moves) where not given.
        truth: the plant that really runs in a comparison, where it differs from the nominal one.
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
    observation: Observation | None = None
    truth: Plant | None = None

    def __post_init__(self) -> None:
        expect_name(self.name, "the name of a task")
        plant, subject = self.plant, f"task '{self.name}'"
        for what, value, kind, hint in (
            ("plant", plant, Plant, "such as CartPole()"),
            ("cost", self.cost, Cost, "such as Quadratic(Q, R), or Nonlinear(lambda x, u, xr, ur: ...)"),
            ("initial", self.initial, Distribution, "such as Fixed(state) or Uniform(lower, upper)"),
            ("reference", self.reference, Reference, "such as SetPoint(state), or Trajectory(states) for a table"),
            ("disturbance", self.disturbance, Distribution, "such as Fixed(value) or Uniform(lower, upper)"),
            ("domain", self.domain, Box, 'such as Box("domain", {state: (lower, upper)})'),
            ("observation", self.observation, Observation, 'such as Observation(signals("a"), lambda x, xr: x.a)'),
            ("truth", self.truth, Plant, "such as CartPole(pole_mass=0.2)"),
        ):
            if value is not None or what not in ("domain", "observation", "truth"):
                expect(value, kind, f"{subject}: {what}", hint)
        steps = expect_whole(self.steps, f"{subject}: steps", least=1)
        discount = expect_number(self.discount, f"{subject}: discount", above=0.0, most=1.0, hint="such as 0.99")
        if self.tolerance is not None:
            expect_values(self.tolerance, f"{subject}: tolerance", infinite=True)
        expect(self.constraints, (list, tuple), f"{subject}: constraints", "such as a tuple: (constraint,)")
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "discount", discount)
        object.__setattr__(self, "constraints", tuple(self.constraints))
        for constraint in self.constraints:
            expect(constraint, Constraint, f"{subject}: a constraint", 'such as Box("track", {state: (lower, upper)})')
        names = [constraint.name for constraint in self.constraints]
        if len(set(names)) < len(names):
            raise InvalidValue(f"task '{self.name}': constraint names given twice among {', '.join(names)}")
        # Everything below raises its own error where it does not fit the plant; a task that exists is a task that runs.
        with located(subject, TriviumError):
            object.__setattr__(self, "dt", self.dynamics.dt)
            object.__setattr__(self, "substeps", self.dynamics.substeps)
            self.dynamics.equations()
            _ = plant.bounds
        _ = self.input_bounds
        with located(f"{subject}: cost"):
            if isinstance(self.cost, Quadratic):
                self.cost.matrices(plant)
            _ = self.stage_cost
            _ = self.terminal_cost
        for constraint in self.constraints:
            with located(f"{subject}: constraint '{constraint.name}'"):
                constraint.function(plant)
        with located(f"{subject}: reference", TriviumError):
            self.reference.at(plant, 0)
        with located(f"{subject}: initial", TriviumError):
            self.initial.support(plant.state)
        with located(f"{subject}: disturbance", TriviumError):
            self.disturbance.support(plant.disturbance)
        with located(f"{subject}: domain"):
            for name in self.domain.bounds if self.domain is not None else ():
                plant.state.where(name)
        with located(f"{subject}: tolerance"):
            negative = (self.arrival < 0).any()
        if negative:
            raise InvalidValue(f"task '{self.name}': tolerance = {self.tolerance}; a half-width must not be negative")
        with located(f"{subject}: observation"):
            self.observe_function()
        self._expect_turns_to_change_nothing()
        if self.truth is not None and (self.truth.state, self.truth.input, self.truth.disturbance) != (
            plant.state,
            plant.input,
            plant.disturbance,
        ):
            raise InvalidValue(f"task '{self.name}': the true plant has other signals than the nominal one")
        with located(f"{subject}: truth", TriviumError):
            if self.truth is not None:
                self.true_dynamics.equations()
                _ = self.truth.bounds

    def _expect_turns_to_change_nothing(self) -> None:
        """Raises InvalidValue where a whole turn of a periodic signal, or q in place of -q, changes what the plant does
        or what the task charges."""
        state = self.plant.state
        if state.is_euclidean or self.reading.confined.all():  # nothing is ever turned in such a domain
            return
        from systems.reading import changed_by_turning

        for i, signal in enumerate(state):
            if np.isfinite(signal.period) and (what := changed_by_turning(self, i, signal.period)):
                raise InvalidValue(
                    f"task '{self.name}': {signal.name} is declared periodic, but {what} changes over a period of "
                    f"{signal.period:.4g}; write it with sines and cosines of {signal.name}, with its distance from "
                    "the reference, or declare an ordinary signal"
                )
        for group in state.quaternions:
            if what := changed_by_turning(self, group, 0.0):
                names = ", ".join(state[i].name for i in group)
                raise InvalidValue(
                    f"task '{self.name}': {names} are declared a quaternion, but {what} differs between q and -q, "
                    "which are the same attitude; write it with products of their components, or with the distance "
                    "from the reference"
                )

    @cached_property
    def _content(self) -> str:
        from systems.describe import content

        return content(self)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Task) and self._content == other._content)

    def __hash__(self) -> int:
        return hash(self._content)

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what follows from them is worked out anew where a copy needs it."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @cached_property
    def reading(self) -> Reading:
        """What this task says, worked out once for every controller, learner and proof."""
        from systems.reading import Reading

        return Reading(self)

    # ---- what every reader asks ----

    @cached_property
    def dynamics(self) -> Discretisation:
        """The nominal plant at samples."""
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
        """The plant that really runs, at samples."""
        return self.dynamics.replace(self.truth or self.plant)

    @property
    def input_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Actuator limits tightened by the task's own hard boxes: lower and upper (m,), infinite where none.

        Raises:
            InvalidValue: the boxes leave no input.
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
        """What the true plant's actuators leave of ``input_bounds``: lower and upper, each (m,)."""
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

    def arrived(self, x: np.ndarray, k: np.ndarray | int) -> np.ndarray:
        """Which states (..., n) at the samples k, (...) of whole numbers, are within ``arrival`` of their reference."""
        reference, _ = self.reference.at(self.plant, k)
        return np.asarray((np.abs(self.reading.state.deviation(x, reference)) <= self.arrival).all(axis=-1))

    @property
    def observation_signals(self) -> Signals:
        """Names and units of what a learner sees."""
        if self.observation is not None:
            return self.observation.signals
        state = self.plant.state
        if self.reference.is_constant:
            return state
        return Signals((*state, *(Signal(f"{s.name}_reference", s.unit) for s in state)))

    def observe_function(self) -> ca.Function:
        """``o(x, xr) -> (len(observation_signals), 1)``, what a learner sees."""
        state = self.plant.state
        x, xr = state.symbol(), state.symbol()
        if self.observation is None:
            near = self._near(x, xr)
            seen = near if self.reference.is_constant else ca.vertcat(near, xr)
        else:
            where = f"task '{self.name}': the observation"
            vectors = Vector(state, x, "state"), Vector(state, xr, "reference")
            entries = evaluated(self.observation.expression, where, *vectors)
            scalar = isinstance(entries, (int, float))
            expected = f"one expression per signal: {', '.join(self.observation.signals.names)}"
            seen = column([entries] if scalar else entries, where, expected)
        if seen.shape != (len(self.observation_signals), 1):
            raise InvalidValue(
                f"task '{self.name}': the observation gives {seen.shape[0]} numbers for "
                f"{len(self.observation_signals)} declared signals"
            )
        try:
            f = ca.Function("observe", [x, xr], [seen], ["x", "xr"], ["observation"])
        except RuntimeError as error:
            raise InvalidValue(
                f"task '{self.name}': the observation holds symbols that are neither state nor reference; CasADi says: "
                f"{str(error).splitlines()[-1]}"
            ) from error
        return without_nan(f, f"the observation of task '{self.name}'")

    def stage_cost_function(self) -> ca.Function:
        """``l(x, u, xr, ur) -> (1, 1)``: what a sample is charged, with the price of violated soft constraints.

        NaN where a soft constraint is undefined.
        """
        stage = self.stage_cost
        arguments = stage.sx_in()
        x, u, xr, ur = arguments
        total = stage(x, u, self._near(xr, x), ur)
        for constraint in self.constraints:
            if isinstance(constraint.requirement, Soft):
                g = constraint.function(self.plant)(*arguments[:2])
                total += constraint.requirement.weight * sum(largest(row, 0.0) for row in ca.vertsplit(g))
        return ca.Function("stage_cost", arguments, [total], ["x", "u", "xr", "ur"], ["cost"])

    def terminal_cost_function(self) -> ca.Function:
        """``Vf(x, xr) -> (1, 1)``: what the last state is charged."""
        terminal = self.terminal_cost
        x, xr = terminal.sx_in()
        return ca.Function("terminal_cost", [x, xr], [terminal(x, self._near(xr, x))], ["x", "xr"], ["cost"])

    def _near(self, values: ca.SX, to: ca.SX) -> ca.SX:
        """The representative of states (n, 1) nearest to others, in declared periodic signals and quaternions that the
        domain does not confine to one representative anyway."""
        if self.plant.state.is_euclidean or self.reading.confined.all():
            return values
        return self.plant.state.nearest_expression(values, to)

    def margin_function(self) -> ca.Function:
        """``(x, u) -> (len(constraints), 1)``: the largest g of each constraint, in order; positive means violated.

        NaN where one of its rows is undefined.
        """
        x, u = self.plant.state.symbol(), self.plant.input.symbol()
        columns = [constraint.function(self.plant)(x, u) for constraint in self.constraints]
        rows = [largest(*ca.vertsplit(column)) for column in columns]
        return ca.Function("margins", [x, u], [ca.vertcat(*rows) if rows else ca.SX(0, 1)], ["x", "u"], ["margins"])

    # ---- environments ----

    def env(self, seed: int | None = None) -> GymEnv:
        """This task as a Gymnasium environment; needs the package ``gymnasium``."""
        from systems.envs.gym import GymEnv

        return GymEnv(self, seed=seed)

    def vector_env(
        self, n: int, device: str | torch.device = "cpu", seed: int = 0, dtype: torch.dtype | None = None
    ) -> VectorEnv:
        """``n`` copies of this task as one batched torch simulator with automatic reset; needs the package torch."""
        from systems.envs.vector import VectorEnv

        return VectorEnv(self, n, device=device, seed=seed, dtype=dtype)

    def with_truth(self, truth: Plant) -> Task:
        """The same task with another plant really running."""
        return dataclasses.replace(self, truth=truth)
