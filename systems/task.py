"""The task: one frozen object that is given to every controller of a comparison."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np

from systems.abstract_task import AbstractTask
from systems.arguments import expect_name, expect_number, expect_whole
from systems.carrying_plant import carried
from systems.constraints import Box, Constraint
from systems.costs import Cost, Quadratic
from systems.describe import content
from systems.differential_algebraic import DifferentialAlgebraicPlant
from systems.distributions import Distribution
from systems.errors import InvalidValue, TriviumError, expect, located
from systems.measurement import Measurement
from systems.observations import MeasuredWindow, Observation
from systems.overview import page, text
from systems.plant import Plant
from systems.reading.reading import Reading
from systems.reading.reference import changed_by_turning
from systems.references import Reference
from systems.signals import expect_values
from systems.uncertain_parameters import expect_varied

if TYPE_CHECKING:
    import torch

    from systems.envs.gym import GymEnv
    from systems.envs.vector import VectorEnv

__all__ = ["MeasuredWindow", "Observation", "Task"]

_STARTS = 16  # at which algebraic equations are looked at


@final
@dataclass(frozen=True, eq=False, repr=False)
class Task(AbstractTask):
    """A control problem: plant, cost, constraints, reference, distributions and length of a run.

    Two tasks are equal if all of their fields are equal; functions are compared by the expressions they return.

    Args:
        name: used in tables and for folders.
        plant: the nominal plant, which controllers know.
        dt: seconds between samples.
        steps: samples per run.
        cost: charged once per sample.
        initial: distribution of the initial state.
        constraints: conditions on state and input; the actuators' own limits come from the plant.
        reference: desired state and input; default: the origin.
        disturbance: distribution of ``w``, drawn at every sample; default: none.
        domain: box of states in which the model is meant to hold; a run that leaves it stops, and every remaining step
            is charged the stage cost of the point where it left; default: unbounded.
        tolerance: half-widths around the reference within which a run counts as arrived, by state name (infinite for
            states not named) or in order; default: 5 % of (3 standard deviations of the initial state + the distance
            of its mean from the reference), infinite for states for which that is zero.
        discount: of the learner's return, per sample.
        integrator: see :class:`Discretisation`.
        substeps: see :class:`Discretisation`.
        observation: input of a learner's policy: an :class:`Observation` of the state, or a :class:`MeasuredWindow`;
            default: the measured signals, each with its last reported value, if the task has a measurement, else the
            state; and the reference of the state if it moves.
        truth: the plant that is simulated in a comparison; default: the nominal one.
        measurement: the measured outputs, in place of the state; default: the state itself.
        variation: distribution of parameters of the plant by name, drawn anew for every run: of the true plant in
            comparisons, of the nominal one in environments (domain randomisation). Controllers know the nominal plant.
            Its support must be bounded; default: none.
    """

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
            (
                "observation",
                self.observation,
                (Observation, MeasuredWindow),
                'such as Observation(signals("a"), lambda x, xr: x.a), or MeasuredWindow(past=4) of a measurement',
            ),
            ("truth", self.truth, Plant, "such as CartPole(pole_mass=0.2)"),
            ("measurement", self.measurement, Measurement, 'such as Measurement(signals("angle [rad]"))'),
            ("variation", self.variation, Distribution, 'such as Uniform({"mass": 0.9}, {"mass": 1.1})'),
        ):
            if value is not None or what not in ("domain", "observation", "truth", "measurement", "variation"):
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
        _ = self.constraint_functions
        with located(f"{subject}: reference", TriviumError):
            self.reference.at(plant, 0)
        with located(f"{subject}: initial", TriviumError):
            self.initial.support(plant.state)
        with located(f"{subject}: disturbance", TriviumError):
            self.disturbance.support(plant.disturbance)
        self._expect_index_one()
        with located(f"{subject}: domain"):
            for name in self.domain.bounds if self.domain is not None else ():
                plant.state.where(name)
        with located(f"{subject}: tolerance"):
            negative = (self.arrival < 0).any()
        if negative:
            raise InvalidValue(f"task '{self.name}': tolerance = {self.tolerance}; a half-width must not be negative")
        with located(f"{subject}: observation"):
            if isinstance(self.observation, MeasuredWindow) and self.measurement is None:
                raise InvalidValue(
                    "a MeasuredWindow of a task without a measurement; give it measurement=Measurement(...), or leave "
                    "out the window: observation=None"
                )
            if self.observes_measurement:
                _ = self.observation_signals
            else:
                self.observe_function()
        self._expect_turns_to_change_nothing()
        _ = self.stage_cost_function(), self.terminal_cost_function(), self.margin_function()
        if self.truth is not None and (self.truth.state, self.truth.input, self.truth.disturbance) != (
            plant.state,
            plant.input,
            plant.disturbance,
        ):
            raise InvalidValue(
                f"task '{self.name}': the true plant has other signals than the nominal one; give it by "
                "task.with_truth(plant), which also accepts the plant before transformations of the task, such as "
                "limit_changes and know_ahead"
            )
        with located(f"{subject}: measurement", TriviumError):
            if self.measurement is not None:
                self.measurement.function(plant)
        with located(f"{subject}: truth", TriviumError):
            if self.truth is not None:
                self.true_dynamics.equations()
                _ = self.truth.bounds

        with located(f"{subject}: variation", TriviumError):
            self._expect_to_vary()

    def _expect_to_vary(self) -> None:
        """Raises a TriviumError where the parameters in ``varied`` cannot take all values of their support."""
        if self.variation is None:
            return
        low, high = self.variation.support(self.varied)
        if not (np.isfinite(low) & np.isfinite(high)).all():
            raise InvalidValue(
                f"parameters from {low} to {high}; a distribution without bounds also draws parameters that no plant "
                'has, so give one with bounds, such as Uniform({"mass": 0.9}, {"mass": 1.1})'
            )
        for dynamics in (self.dynamics, self.true_dynamics):
            known = dynamics.plant.parameters
            ends = zip(self.varied.names, low.tolist(), high.tolist(), strict=True)
            expect_varied(
                dynamics.plant,
                {name: (min(a, known.get(name, a)), max(b, known.get(name, b))) for name, a, b in ends},
            )
            dynamics.function(self.varied.names)

    def _expect_index_one(self) -> None:
        """Raises InvalidValue where algebraic signals are not determined at the reference or at drawn starts."""
        x_ref, u_ref = self.reference.at(self.plant, 0)
        for role, plant in (("plant", self.plant), ("truth", self.truth)):
            if isinstance(plant, DifferentialAlgebraicPlant):
                starts = self.initial.sample(plant.state, np.random.default_rng(0), (_STARTS,))
                states = np.vstack([x_ref, starts])
                with located(f"task '{self.name}': {role}", TriviumError):
                    plant.expect_regular(states, np.broadcast_to(u_ref, (len(states), len(u_ref))))

    def _expect_turns_to_change_nothing(self) -> None:
        """Raises InvalidValue where a whole turn of a periodic signal, or q in place of -q, changes what the plant does
        or what the task charges."""
        state = self.plant.state
        if state.is_euclidean or self.confined.all():  # nothing is ever turned in such a domain
            return
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
        return content(self)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Task) and self._content == other._content)

    def __hash__(self) -> int:
        return hash(self._content)

    def __repr__(self) -> str:
        """All parts in lines of at most 80 columns; ``describe(task)`` in ``systems.describe`` has them as data."""
        return text(self)

    def _repr_html_(self) -> str:
        return page(self)

    @cached_property
    def reading(self) -> Reading:
        """The facts that follow from this task, computed once and shared by all controllers, learners and proofs."""
        return Reading(self)

    def arrived(self, x: np.ndarray, k: np.ndarray | int) -> np.ndarray:
        """Which states (..., n) at the samples k, (...) of whole numbers, are within ``arrival`` of their reference."""
        reference, _ = self.reference.at(self.plant, k)
        return np.asarray((np.abs(self.reading.state.deviation(x, reference)) <= self.arrival).all(axis=-1))

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
        """The same task with another plant as the true plant.

        Args:
            truth: the true plant. If the task was transformed, as by :func:`systems.inputs.limit_changes`, it may be
                the plant before that: it is transformed likewise.
        """
        around = self.plant if self.truth is None else self.truth
        return dataclasses.replace(self, truth=carried(around, truth) if isinstance(truth, Plant) else truth)

    def with_variation(self, variation: Distribution) -> Task:
        """The same task with parameters of the plant drawn for every run."""
        return dataclasses.replace(self, variation=variation)
