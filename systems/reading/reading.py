"""The facts about a task that follow from the task alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np

from systems.abstract_task import AbstractTask
from systems.constraints import Budget, Chance, ChangeLimit, Constraint, Hard, Soft
from systems.forecast import known_states
from systems.nonsmooth import Epigraph, branches, epigraph, kinks, penalties
from systems.reading.conditions import (
    Conditions,
    budgets_excess,
    conditions,
    inputs_beyond,
    is_input_box,
    not_affine,
    violated_constraints,
    violated_names,
)
from systems.reading.derivatives import (
    cost_kinks,
    cost_size,
    derivatives_are_missing,
    ends_quadratically,
    expansion,
    gradient_vanishes,
    is_affine,
    linearisation_change,
    not_differentiable,
    singular,
    stage_is_quadratic,
)
from systems.reading.parts import Part
from systems.reading.reference import ReferencePath
from systems.reading.steady import SteadyState, SteadyStates
from systems.signals import Signals

__all__ = ["Reading"]


@dataclass(frozen=True, eq=False)
class Reading:
    """The facts about a task that follow from the task alone; each is computed on first use."""

    task: AbstractTask

    # ---- the reference ----

    @cached_property
    def path(self) -> ReferencePath:
        """The reference in continuous coordinates."""
        return ReferencePath(self.task)

    @property
    def state(self) -> Signals:
        """The state's signals with their periods: those declared, and a full turn for every angle in rad or deg if it
        changes neither plant nor cost nor constraints."""
        return self.path.state

    def window(self, k: int, count: int, x: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The reference at the samples k .. k + count - 1: states (count, n) and inputs (count, m), continuous in
        periodic signals.

        Args:
            x: (n,), the state at sample k, from which states that are known ahead are predicted; default: they follow
                their reference, the forecast.
        """
        x_ref, u_ref = self.path.window(k, count)
        if x is not None and self.known.size:
            forecast, x_ref = self.task.plant.forecast, np.array(x_ref)
            assert forecast is not None
            x_ref[:, self.known] = forecast.path(x[self.known], k, count)
        return x_ref, u_ref

    @cached_property
    def known(self) -> np.ndarray:
        """Indices of the states that are known ahead."""
        return known_states(self.task.plant)

    @property
    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """The reference at sample 0: state (n,) and input (m,)."""
        return self.path.start

    @property
    def follows(self) -> bool:
        """Whether the undisturbed plant, given the inputs of the reference, follows its states; for a constant
        reference, whether it is an equilibrium."""
        return self.path.follows

    @cached_property
    def violated(self) -> tuple[str, ...]:
        """Names of the constraints that the reference violates, soft ones excepted, and of inputs beyond bounds."""
        return violated_names(self.path, self._violated_constraints)

    @cached_property
    def _violated_constraints(self) -> tuple[Constraint, ...]:
        """The constraints that the reference violates, whatever their requirement."""
        return violated_constraints(self.path)

    @property
    def _is_admissible(self) -> bool:
        """Whether the reference violates no constraint, including soft ones, whose violation is charged."""
        return not self.violated and not any(isinstance(c.requirement, Soft) for c in self._violated_constraints)

    # ---- the plant ----

    @cached_property
    def not_differentiable(self) -> str:
        """The part of the sampled plant that CasADi cannot differentiate; see :func:`not_differentiable`."""
        return not_differentiable(self.task.dynamics.function())

    @cached_property
    def is_affine(self) -> bool:
        """Whether the sampled plant is affine in state and input; a plant that jumps has constant slopes, too."""
        return is_affine(self.task) and not self.plant_kinks

    @cached_property
    def plant_kinks(self) -> tuple[str, ...]:
        """Operations that make the plant's equations, or their derivatives, jump."""
        from systems.inputs.augmented_plant import SampledPlant  # its package imports tasks

        dynamics = self.task.dynamics
        while isinstance(dynamics.plant, SampledPlant):  # stored inputs have none; reading is slow
            dynamics = dynamics.plant.sampling
        return kinks(dynamics.equations())

    @cached_property
    def singular(self) -> tuple[str, ...]:
        """Names of the states whose next value is not finite, or not differentiable, at the start of the reference."""
        return singular(self.path)

    @cached_property
    def is_singular_on_the_way(self) -> bool:
        """Whether derivatives of plant or cost are not finite at the reference or at starts although the values are,
        like those of a square root at 0."""
        return derivatives_are_missing(self.path)

    @cached_property
    def linearisation_change(self) -> float:
        """Largest change of the derivatives of the sampled plant along the reference, relative to those of one sample's
        step at its start, F(x, u) - x, in the Frobenius norm."""
        return linearisation_change(self.path)

    @property
    def linearisation_varies(self) -> bool:
        """Whether the derivatives of the plant differ along the reference, beyond rounding."""
        return not self.linearisation_change <= 1e-9

    # ---- the cost ----

    @cached_property
    def stage(self) -> Epigraph:
        """The stage cost l(x, u, xr, ur) without its kinks, as far as they can be removed; soft constraints are in
        ``conditions``."""
        return epigraph(self.task.stage_cost)

    @cached_property
    def terminal(self) -> Epigraph | None:
        """The terminal cost Vf(x, xr), likewise; None if the task has none."""
        return epigraph(self.task.terminal_cost) if self.task.has_terminal_cost else None

    @cached_property
    def cost_size(self) -> float:
        """The largest first or second derivative of the stage cost at the reference and at the mean start, at most 1.
        Solvers use absolute tolerances, so smaller costs are scaled up for them."""
        return cost_size(self.path)

    @cached_property
    def gradient_vanishes(self) -> bool:
        """Whether the gradient of the stage cost is zero at the reference, at every sample of the run."""
        return gradient_vanishes(self.path, self.cost_size)

    @cached_property
    def is_quadratic(self) -> bool:
        """Whether stage and terminal cost are quadratic in state and input."""
        return not self.cost_kinks and self.ends_quadratically and stage_is_quadratic(self.task)

    @cached_property
    def ends_quadratically(self) -> bool:
        """Whether the terminal cost is quadratic in the state."""
        return ends_quadratically(self.task)

    @cached_property
    def cost_kinks(self) -> tuple[str, ...]:
        """Operations that make the stage or the terminal cost, or their derivatives, jump."""
        return cost_kinks(self.task)

    # ---- the constraints ----

    @cached_property
    def conditions(self) -> Conditions:
        """All constraints that are imposed sample by sample, as rows."""
        return conditions(self.task)

    @cached_property
    def change_limits(self) -> tuple[ChangeLimit, ...]:
        """The hard limits on the change of inputs."""
        limits = (c for c in self.task.constraints if isinstance(c, ChangeLimit))
        return tuple(c for c in limits if isinstance(c.requirement, Hard))

    def limited(self, u: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The inputs (..., m) nearest to ``u`` within the hard limits on their change in the states (..., n)."""
        for limit in self.change_limits:
            u = limit.clip(u, x, self.task.plant.input, self.task.plant.state)
        return u

    @cached_property
    def excess_budgets(self) -> tuple[Constraint, ...]:
        """The constraints with a budget of accumulated excess."""
        return tuple(c for c in self.task.constraints if budgets_excess(c))

    @cached_property
    def excess_functions(self) -> tuple[ca.Function, ...]:
        """``g(x, u)`` of each budget of excess, its maxima split into rows where that is exact."""
        given = zip(self.task.constraints, self.task.constraint_functions, strict=True)
        return tuple(branches(g) or g for c, g in given if budgets_excess(c))

    @cached_property
    def kinked_constraints(self) -> dict[str, tuple[str, ...]]:
        """The constraints with kinks that cannot be split into rows, and the operations that make them."""
        budgeted = zip(self.excess_budgets, self.excess_functions, strict=True)
        return {**self.conditions.kinks, **{c.name: names for c, g in budgeted if (names := kinks(g))}}

    @cached_property
    def not_affine(self) -> tuple[str, ...]:
        """Names of the constraints with a row that is not affine in state and input."""
        return not_affine(self.conditions)

    # ---- its local model ----

    @cached_property
    def expansion(self) -> ca.Function:
        """``(x, u, xr, ur, multipliers) -> x+, A, B, gradient, Hessian``, the last two of l + multipliers'(x+ - x).

        If the cost has kinks, l is its smooth part; see :func:`systems.nonsmooth.penalties`.
        """
        return self.expansion_of(())

    def expansion_of(self, parameters: Sequence[str]) -> ca.Function:
        """The same with the values of some of the plant's parameters as last argument, made anew."""
        without = penalties(self.task.stage_cost) if self.cost_kinks else None
        return expansion(self.task, self.task.stage_cost if without is None else without.smooth, parameters)

    # ---- the optimal steady state ----

    @property
    def is_stationary(self) -> bool:
        """Whether a constant reference is an optimal steady state of the task without its constraints; see
        :meth:`systems.reading.steady.SteadyStates.multipliers`."""
        return self.task.reference.is_constant and self._steady_states.multipliers() is not None

    @cached_property
    def _steady_states(self) -> SteadyStates:
        return self.steady_states(())

    def steady_states(self, parameters: Sequence[str]) -> SteadyStates:
        """The optimal steady states for values of these parameters of the plant, made anew; see :meth:`steadied`."""
        return SteadyStates(self.path, self.stage, self.cost_size, parameters)

    def steadied(self, states: SteadyStates, constrained: bool, values: np.ndarray) -> SteadyState | None:
        """The optimal steady state for these values (parameters,).

        Args:
            states: of :meth:`steady_states`.
            constrained: whether the constraints hold, in addition to the input bounds.
            values: of the parameters.
        """
        rule = self.conditions if constrained and self.conditions.names else None
        is_within = not inputs_beyond(self.path).any()
        return states.optimum(rule, is_within and (rule is None or self._is_admissible), values)

    def settles_elsewhere(self, constrained: bool = False) -> bool:
        """Whether a task with a constant reference settles at a different state or input, or nowhere.

        Args:
            constrained: whether the constraints hold, in addition to the input bounds.
        """
        return self.is_elsewhere(self.steady_state if constrained else self.free_steady_state)

    def is_elsewhere(self, steady: SteadyState | None) -> bool:
        """Whether a steady state of a task with a constant reference is not the reference."""
        if steady is None:
            return self.task.reference.is_constant
        x_ref, u_ref = self.start
        steady_point, reference = np.concatenate([steady.x, steady.u]), np.concatenate([x_ref, u_ref])
        size = np.minimum(np.concatenate(self.path.sizes), 1.0)
        return bool((np.abs(steady_point - reference) > 1e-4 * (size + np.abs(reference))).any())

    @cached_property
    def free_steady_state(self) -> SteadyState | None:
        """The optimal steady state subject only to the input bounds, which is the reference if that is stationary; None
        if there is none, or if the reference moves."""
        return self.steadied(self._steady_states, False, np.zeros(0))

    @cached_property
    def steady_state(self) -> SteadyState | None:
        """The optimal steady state subject to all constraints."""
        if not self.conditions.names or (self.is_stationary and self._is_admissible):
            return self.free_steady_state
        return self.steadied(self._steady_states, True, np.zeros(0))

    @property
    def rests_at_edge(self) -> bool:
        """Whether constraints, other than input bounds, prevent a cheaper steady state."""
        return self.is_at_edge(self.steady_state)

    def is_at_edge(self, steady: SteadyState | None) -> bool:
        """Whether constraints, other than input bounds, prevent a steady state that is cheaper than this one."""
        return steady is not None and any(name not in self.task.plant.input.names for name in steady.active)

    @property
    def has_integers(self) -> bool:
        """Whether an input is integer."""
        return any(signal.integer for signal in self.task.plant.input)

    # ---- all parts ----

    @cached_property
    def parts(self) -> frozenset[Part]:
        """The parts that this task has."""
        task = self.task
        kinds = {Hard: Part.HARD, Soft: Part.SOFT, Chance: Part.CHANCE}
        present = {
            kinds[type(c.requirement)]
            for c in task.constraints
            if type(c.requirement) in kinds and not is_input_box(task, c) and c not in self.change_limits
        }
        spread = np.diag(task.disturbance.covariance(task.plant.disturbance))
        mean = task.disturbance.mean(task.plant.disturbance)
        budgets = [c for c in task.constraints if isinstance(c.requirement, Budget)]
        facts = {
            Part.NONLINEAR_PLANT: not self.is_affine,
            Part.KINKED_PLANT: bool(self.plant_kinks),
            Part.SINGULAR_PLANT: bool(self.singular),
            Part.MOVING_REFERENCE: not task.reference.is_constant,
            Part.VARYING_LINEARISATION: self.linearisation_varies,
            Part.COST_ELSEWHERE: self.settles_elsewhere(),
            Part.REFERENCE_OUTSIDE: bool(self.violated),
            Part.NON_QUADRATIC_COST: not self.is_quadratic,
            Part.KINKED_COST: bool(self.cost_kinks),
            Part.TERMINAL_COST: self.terminal is not None,
            Part.BUDGET: len(budgets) > len(self.excess_budgets),
            Part.EXCESS_BUDGET: bool(self.excess_budgets),
            Part.NONLINEAR_CONSTRAINT: bool(self.not_affine),
            Part.KINKED_CONSTRAINT: bool(self.kinked_constraints),
            Part.DISTURBANCE: bool((spread > 0).any()),
            Part.BIASED_DISTURBANCE: bool((np.abs(mean) > 1e-12).any()),
            Part.CHANGE_LIMIT: bool(self.change_limits),
            Part.INTEGER: self.has_integers,
            Part.PERIODIC: not self.state.is_euclidean,
            Part.DOMAIN: task.domain is not None,
            Part.MEASUREMENT: task.measurement is not None,
            Part.FORECAST: task.plant.forecast is not None,
        }
        return frozenset(present | {part for part, is_stated in facts.items() if is_stated})
