"""What a task says, worked out once for everyone who reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import casadi as ca
import numpy as np

from systems.conditions import Conditions, conditions
from systems.constraints import Box, Budget, Chance, Constraint, Hard, Soft
from systems.lowering import lower
from systems.nonsmooth import Epigraph, branches, epigraph, kinks, penalties
from systems.signals import Signals
from systems.steady import SteadyState, optimal_steady_state

if TYPE_CHECKING:
    from systems.task import Task

__all__ = ["Part", "Reading", "changed_by_turning", "not_differentiable"]

STILL = 1e-6
"""Largest step of the plant, relative to 1 + |x|, at which it counts as standing still, or as following a reference."""
_SAMPLED = 64  # samples of a moving reference at which the linearisation is looked at


class Part(StrEnum):
    """What a task may say that not every reader takes exactly. Every reader answers for each of them."""

    NONLINEAR_PLANT = "nonlinear plant"
    KINKED_PLANT = "kinks in the plant"
    SINGULAR_PLANT = "plant without a derivative at the reference"
    MOVING_REFERENCE = "moving reference"
    VARYING_LINEARISATION = "linearisation that varies along the reference"
    COST_ELSEWHERE = "reference that is not an optimal steady state"
    REFERENCE_OUTSIDE = "reference outside the constraints"
    NON_QUADRATIC_COST = "cost that is not quadratic"
    KINKED_COST = "kinks in the cost"
    TERMINAL_COST = "terminal cost"
    HARD = "hard constraint"
    SOFT = "soft constraint"
    CHANCE = "chance constraint"
    BUDGET = "budget of violated samples"
    EXCESS_BUDGET = "budget of accumulated excess"
    NONLINEAR_CONSTRAINT = "constraint that is not affine"
    KINKED_CONSTRAINT = "kinks in a constraint"
    DISTURBANCE = "disturbance"
    BIASED_DISTURBANCE = "disturbance whose mean is not zero"
    PERIODIC = "periodic signal"
    DOMAIN = "domain"


@dataclass(frozen=True, eq=False)
class Reading:
    """The facts about a task that follow from the task alone; each is worked out when it is first asked for."""

    task: Task

    # ---- the reference ----

    @cached_property
    def state(self) -> Signals:
        """The state's signals with their periods: those declared, and a full turn of every angle in rad or deg that
        changes neither plant nor cost nor constraints."""
        task, declared = self.task, self.task.plant.state
        turns = {"rad": 2.0 * np.pi, "deg": 360.0}
        angles = [i for i, s in enumerate(declared) if s.unit in turns and np.isinf(s.period)]
        if not angles:
            return declared
        periods = {i: turns[declared[i].unit] for i in angles}
        free = {i for i in angles if not changed_by_turning(task, i, periods[i])}
        return Signals(replace(s, period=periods[i]) if i in free else s for i, s in enumerate(declared))

    @cached_property
    def confined(self) -> np.ndarray:
        """Mask (n,) of the signals whose values in the domain are closer to a constant reference than any other
        representative: none of them ever has to be moved."""
        declared = self.task.plant.state
        low, high = self.task.domain_bounds
        if not self.task.reference.is_constant:
            return np.isinf(declared.periods) & np.array([not s.quaternion for s in declared], dtype=bool)
        x, _ = self.task.reference.at(self.task.plant, 0)
        inside = (low >= x - 0.5 * declared.periods) & (high <= x + 0.5 * declared.periods)
        for group in declared.quaternions:
            with np.errstate(invalid="ignore"):
                products = np.minimum(x[group] * low[group], x[group] * high[group])
            inside[group] = np.where(x[group] == 0.0, 0.0, products).sum() >= 0.0
        return inside

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """States and inputs of the reference at the samples of the run and as many more, continuous in periodic
        signals."""
        task = self.task
        count = 1 if task.reference.is_constant else 2 * task.steps + 2
        x, u = task.reference.at(task.plant, np.arange(count))
        x = np.array(x, dtype=float)
        x[0] = Signals(replace(s, quaternion="") for s in self.state).nearest(x[0], np.zeros(x.shape[1]))
        return self.state.continuous(x), np.array(u, dtype=float)

    def window(self, k: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The reference at the samples k .. k + count - 1: states (count, n) and inputs (count, m), continuous in
        periodic signals."""
        x, u = self._table
        if self.task.reference.is_constant:
            return np.broadcast_to(x[0], (count, x.shape[1])), np.broadcast_to(u[0], (count, u.shape[1]))
        if k >= 0 and k + count <= len(x):
            return x[k : k + count], u[k : k + count]
        plant = self.task.plant
        states, inputs = self.task.reference.at(plant, np.arange(k, k + count))
        anchored = np.array(states, dtype=float)
        anchored[0] = self.state.nearest(anchored[0], x[min(max(k, 0), len(x) - 1)])
        return self.state.continuous(anchored), np.asarray(inputs, dtype=float)

    @cached_property
    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """The reference at sample 0: state (n,) and input (m,)."""
        x, u = self.window(0, 1)
        return x[0], u[0]

    @cached_property
    def follows(self) -> bool:
        """Whether the undisturbed plant, given the inputs of the reference, follows its states; for a constant
        reference, whether it is an equilibrium."""
        steps = 1 if self.task.reference.is_constant else self.task.steps
        x, u = self.window(0, steps + 1)
        still = np.zeros((steps, len(self.task.plant.disturbance)))
        after = lower(self.task.dynamics.function(), "numpy")(x[:-1], u[:-1], still, np.zeros(0))
        gap = np.abs(self.state.deviation(after, x[1:]))
        return bool((gap <= STILL * (1.0 + np.abs(x[:-1]).max(axis=1, initial=0.0)[:, None])).all())

    @cached_property
    def violated(self) -> tuple[str, ...]:
        """Names of the constraints that the reference violates, soft ones excepted, and of inputs beyond bounds."""
        task = self.task
        _, u = self.window(0, 1 if task.reference.is_constant else task.steps + 1)
        judged = [
            constraint.name
            for constraint in self._broken
            if not isinstance(constraint.requirement, Soft)
            and not (isinstance(constraint.requirement, Budget) and constraint.requirement.of == "excess")
        ]
        least, most = task.input_bounds
        outside = np.any((u < least - 1e-9) | (u > most + 1e-9), axis=0).tolist()
        return (*judged, *(name for name, out in zip(task.plant.input.names, outside, strict=True) if out))

    @cached_property
    def _broken(self) -> tuple[Constraint, ...]:
        """The constraints that the reference violates, whatever is required of them."""
        task = self.task
        x, u = self.window(0, 1 if task.reference.is_constant else task.steps + 1)
        kept = (lower(task.margin_function(), "numpy")(x, u) <= 1e-9).all(axis=0)
        return tuple(constraint for constraint, keeps in zip(task.constraints, kept, strict=True) if not keeps)

    @property
    def _is_admissible(self) -> bool:
        """Whether the reference violates no constraint, soft ones included, which cost something there."""
        return not self.violated and not any(isinstance(c.requirement, Soft) for c in self._broken)

    # ---- the plant ----

    @cached_property
    def not_differentiable(self) -> str:
        """What of the sampled plant CasADi cannot differentiate; see :func:`not_differentiable`."""
        return not_differentiable(self.task.dynamics.function())

    @cached_property
    def is_affine(self) -> bool:
        """Whether the sampled plant is affine in state and input."""
        f = self.task.dynamics.function()
        x, u, w, p = f.sx_in()
        return not ca.symvar(ca.jacobian(f(x, u, ca.DM.zeros(w.shape), p), ca.vertcat(x, u)))

    @cached_property
    def plant_kinks(self) -> tuple[str, ...]:
        """Operations that make the plant's equations, or their derivatives, jump."""
        return kinks(self.task.plant.casadi())

    @cached_property
    def singular(self) -> tuple[str, ...]:
        """Names of the states whose next value has no finite derivative, or no finite value, at the first reference."""
        f = self.task.dynamics.function()
        x, u, w, p = f.sx_in()
        after = f(x, u, ca.DM.zeros(w.shape), p)
        slopes = ca.Function("slopes", [x, u], [ca.densify(after), ca.densify(ca.jacobian(after, ca.vertcat(x, u)))])
        value, slope = (np.array(part) for part in slopes(*self.start))
        wrong = ~(np.isfinite(value[:, 0]) & np.isfinite(slope).all(axis=1))
        return tuple(name for name, bad in zip(self.task.plant.state.names, wrong, strict=True) if bad)

    @cached_property
    def is_singular_on_the_way(self) -> bool:
        """Whether derivatives of plant or cost are not finite at the reference or at starts, though the values are,
        as those of a square root at 0."""
        task = self.task
        f, stage = task.dynamics.function(), task.stage_cost
        x, u, w, p = f.sx_in()
        _, _, xr, ur = stage.sx_in()
        value = ca.vertcat(f(x, u, ca.DM.zeros(w.shape), p), stage(x, u, xr, ur))
        outputs = [ca.densify(value), ca.densify(ca.vec(ca.jacobian(value, ca.vertcat(x, u))))]
        x_ref, u_ref = self.start
        starts = task.initial.sample(task.plant.state, np.random.default_rng(0), (8,))
        points = np.vstack([x_ref, task.initial.mean(task.plant.state), starts])
        numbers = lower(ca.Function("slopes", [x, u, xr, ur], outputs), "numpy")
        values, slopes = numbers(points, *(np.broadcast_to(r, (len(points), len(r))) for r in (u_ref, x_ref, u_ref)))
        return bool((np.isfinite(values).all(axis=1) & ~np.isfinite(slopes).all(axis=1)).any())

    @cached_property
    def linearisation_change(self) -> float:
        """Largest change of the derivatives of the sampled plant along the reference, relative to those of one sample's
        step at its start, F(x, u) - x, in the Frobenius norm."""
        if self.task.reference.is_constant or self.is_affine:
            return 0.0
        f = self.task.dynamics.function()
        x, u, w, p = f.sx_in()
        slope = ca.densify(ca.vec(ca.jacobian(f(x, u, ca.DM.zeros(w.shape), p), ca.vertcat(x, u))))
        k = np.unique(np.linspace(0, self.task.steps, _SAMPLED).astype(int))
        states, inputs = (part[k] for part in self.window(0, self.task.steps + 1))
        slopes = lower(ca.Function("slope", [x, u], [slope]), "numpy")(states, inputs)
        still = np.eye(len(self.task.plant.state), len(self.task.plant.state) + len(self.task.plant.input))
        size = np.linalg.norm(slopes[0] - still.T.ravel())
        change = np.linalg.norm(slopes - slopes[0], axis=1).max()
        return float(change / size) if size > 0 else (np.inf if change > 0 else 0.0)

    @property
    def linearisation_varies(self) -> bool:
        """Whether the derivatives of the plant differ along the reference, beyond rounding."""
        return not self.linearisation_change <= 1e-9

    # ---- the cost ----

    @cached_property
    def stage(self) -> Epigraph:
        """The stage cost l(x, u, xr, ur) without its kinks, as far as they can be taken out; soft constraints are in
        ``conditions``."""
        return epigraph(self.task.stage_cost)

    @cached_property
    def terminal(self) -> Epigraph | None:
        """The terminal cost Vf(x, xr) likewise; None where the task has none."""
        f = self.task.terminal_cost
        value = f(*f.sx_in())
        return None if value.is_zero() else epigraph(f)

    @cached_property
    def cost_size(self) -> float:
        """The largest first or second derivative of the stage cost at the reference and at the mean start, at most 1.
        Solvers work to absolute tolerances, so what is smaller is enlarged for them."""
        task = self.task
        stage = task.stage_cost
        x, u, xr, ur = stage.sx_in()
        second, first = ca.hessian(stage(x, u, xr, ur), ca.vertcat(x, u))
        slopes = ca.Function("slopes", [x, u, xr, ur], [ca.densify(ca.vertcat(first, ca.vec(second)))])
        x_ref, u_ref = self.start
        points = x_ref, task.initial.mean(task.plant.state)
        found = np.abs([np.array(slopes(point, u_ref, x_ref, u_ref)) for point in points])
        size = float(found[np.isfinite(found)].max(initial=0.0))
        return min(size, 1.0) if size > 0.0 else 1.0

    @cached_property
    def gradient_vanishes(self) -> bool:
        """Whether the gradient of the stage cost is zero at the reference, at every sample of the run."""
        stage = self.task.stage_cost
        x, u, xr, ur = stage.sx_in()
        gradient = ca.gradient(stage(x, u, xr, ur), ca.vertcat(x, u))
        states, inputs = self.window(0, 1 if self.task.reference.is_constant else self.task.steps + 1)
        slopes = lower(ca.Function("gradient", [x, u, xr, ur], [gradient]), "numpy")(states, inputs, states, inputs)
        return bool((np.abs(slopes) <= STILL * self.cost_size).all())

    @cached_property
    def is_quadratic(self) -> bool:
        """Whether stage and terminal cost are quadratic in state and input."""
        stage = self.task.stage_cost
        x, u, xr, ur = stage.sx_in()
        z = ca.vertcat(x, u)
        second = ca.hessian(stage(x, u, xr, ur), z)[0]
        return not self.cost_kinks and self.ends_quadratically and not ca.depends_on(ca.vec(second), z)

    @cached_property
    def ends_quadratically(self) -> bool:
        """Whether the terminal cost is quadratic in the state."""
        x, xr = self.task.terminal_cost.sx_in()
        second = ca.hessian(self.task.terminal_cost(x, xr), x)[0]
        return not kinks(self.task.terminal_cost) and not ca.depends_on(ca.vec(second), x)

    @cached_property
    def cost_kinks(self) -> tuple[str, ...]:
        """Operations that make the stage or the terminal cost, or their derivatives, jump."""
        return tuple(sorted({*kinks(self.task.stage_cost), *kinks(self.task.terminal_cost)}))

    # ---- the constraints ----

    @cached_property
    def conditions(self) -> Conditions:
        """All constraints that are imposed sample by sample, as rows."""
        return conditions(self.task)

    @cached_property
    def excess_budgets(self) -> tuple[Constraint, ...]:
        """The constraints of which an accumulated excess is budgeted."""
        return tuple(
            c for c in self.task.constraints if isinstance(c.requirement, Budget) and c.requirement.of == "excess"
        )

    @cached_property
    def excess_functions(self) -> tuple[ca.Function, ...]:
        """``g(x, u)`` of each budget of excess, its maxima split into rows where that is exact."""
        given = [c.function(self.task.plant) for c in self.excess_budgets]
        return tuple(branches(g) or g for g in given)

    @cached_property
    def kinked_constraints(self) -> dict[str, tuple[str, ...]]:
        """The constraints with kinks that cannot be split into rows, and the operations that make them."""
        budgeted = zip(self.excess_budgets, self.excess_functions, strict=True)
        return {**self.conditions.kinks, **{c.name: found for c, g in budgeted if (found := kinks(g))}}

    @cached_property
    def not_affine(self) -> tuple[str, ...]:
        """Names of the constraints with a row that is not affine in state and input."""
        rule = self.conditions
        x, u = rule.value.sx_in()
        slopes = ca.jacobian(rule.value(x, u), ca.vertcat(x, u))
        return tuple(dict.fromkeys(name for i, name in enumerate(rule.names) if ca.symvar(slopes[i, :])))

    # ---- its local model ----

    @cached_property
    def expansion(self) -> ca.Function:
        """``(x, u, xr, ur, multipliers) -> x+, A, B, gradient, Hessian``, the last two of l + multipliers'(x+ - x).

        Of a cost with kinks l is the smooth part, see :func:`systems.nonsmooth.penalties`.
        """
        f, stage = self.task.dynamics.function(), self.task.stage_cost
        if self.cost_kinks and (without := penalties(stage)) is not None:
            stage = without.smooth
        x, u, w, p = f.sx_in()
        _, _, xr, ur = stage.sx_in()
        z, costate = ca.vertcat(x, u), ca.SX.sym("multipliers", x.shape[0])
        after = f(x, u, ca.DM.zeros(w.shape), p)
        second, gradient = ca.hessian(stage(x, u, xr, ur) + ca.dot(costate, after - x), z)
        parts = [after, ca.jacobian(after, x), ca.jacobian(after, u), gradient, second]
        return ca.Function("expansion", [x, u, xr, ur, costate], [ca.densify(part) for part in parts])

    # ---- where the task settles ----

    @cached_property
    def is_stationary(self) -> bool:
        """Whether a constant reference is an optimal steady state of the task, its constraints left out.

        It is where it is an equilibrium and the gradient of the stage cost is a combination of those of x - F(x, u),
        with a second derivative along the steady states that is nowhere negative.
        """
        return self.task.reference.is_constant and self._multipliers is not None

    @cached_property
    def _multipliers(self) -> np.ndarray | None:
        """Multipliers (n,) of F(x, u) - x = 0 at the reference, None where it is not stationary."""
        if not self.follows or self._kinked_at_reference:
            return None
        x_ref, u_ref = self.start
        n = len(x_ref)
        f, stage = self.task.dynamics.function(), self.task.stage_cost
        x, u, w, p = f.sx_in()
        z, costate = ca.vertcat(x, u), ca.SX.sym("costate", n)
        drift = f(x, u, ca.DM.zeros(w.shape), p) - x
        cost = stage(x, u, x_ref, u_ref)
        first = ca.Function("first", [x, u], [ca.densify(ca.gradient(cost, z)), ca.densify(ca.jacobian(drift, z))])
        gradient, slope = (np.array(part) for part in first(x_ref, u_ref))
        multipliers = np.zeros(n)
        small = STILL * self.cost_size
        if not np.abs(gradient).max(initial=0.0) <= small:  # also where it is NaN
            if not (np.isfinite(gradient).all() and np.isfinite(slope).all()):
                return None
            multipliers = np.linalg.lstsq(slope.T, -gradient[:, 0], rcond=None)[0]
            left = gradient[:, 0] + slope.T @ multipliers
            if np.abs(left).max(initial=0.0) > small + STILL * np.abs(gradient).max(initial=0.0):
                return None
        lagrangian = cost + ca.dot(costate, drift) if multipliers.any() else cost
        second = np.array(
            ca.Function("second", [x, u, costate], [ca.hessian(lagrangian, z)[0]])(x_ref, u_ref, multipliers)
        )
        if not np.isfinite(second).all():
            return None
        free = _null_space(slope) if np.isfinite(slope).all() else np.eye(len(second))
        falls = -1e-9 * (1.0 + np.abs(second).max(initial=0.0))
        return None if np.linalg.eigvalsh(free @ second @ free.T).min(initial=0.0) < falls else multipliers

    @cached_property
    def _kinked_at_reference(self) -> bool:
        """Whether pieces of a maximum in the stage cost meet at the reference."""
        if not self.stage.count and not self.stage.left:
            return False
        x, u = self.start
        if self.stage.left:
            return True
        t = np.array(self.stage.start(x, u, x, u))[:, 0]
        rows = np.array(self.stage.rows(x, u, x, u, t))[:, 0]
        return bool((np.abs(rows) <= 1e-9).sum() > len(t))

    def settles_elsewhere(self, constrained: bool = False) -> bool:
        """Whether a task with a constant reference settles at another state or input than that, or nowhere.

        Args:
            constrained: whether the constraints are kept, besides the input bounds.
        """
        steady = self.steady_state if constrained else self.free_steady_state
        if steady is None:
            return self.task.reference.is_constant
        x_ref, u_ref = self.start
        found, wished = np.concatenate([steady.x, steady.u]), np.concatenate([x_ref, u_ref])
        return not np.allclose(found, wished, rtol=1e-4, atol=1e-4)

    @cached_property
    def free_steady_state(self) -> SteadyState | None:
        """Where the task is cheapest for ever under the input bounds alone: the reference where that is stationary,
        else the optimal steady state; None where there is none, or the reference moves."""
        return self._steady(None)

    @cached_property
    def steady_state(self) -> SteadyState | None:
        """The same under all constraints."""
        if not self.conditions.names or (self.is_stationary and self._is_admissible):
            return self.free_steady_state
        return self._steady(self.conditions)

    @property
    def rests_at_edge(self) -> bool:
        """Whether constraints, other than bounds of inputs, hold that steady state off where it would be cheaper."""
        steady = self.steady_state
        return steady is not None and any(name not in self.task.plant.input.names for name in steady.active)

    def _steady(self, rule: Conditions | None) -> SteadyState | None:
        task = self.task
        if not task.reference.is_constant:
            return None
        x_ref, u_ref = self.start
        least, most = task.input_bounds
        within = bool(((u_ref >= least - 1e-9) & (u_ref <= most + 1e-9)).all())
        if self.is_stationary and within and (rule is None or self._is_admissible):
            cost = float(task.stage_cost(x_ref, u_ref, x_ref, u_ref))
            assert self._multipliers is not None
            return SteadyState(x_ref, u_ref, cost, self._multipliers, ())
        mean = task.initial.mean(task.plant.state)
        guesses = [np.concatenate([x_ref, u_ref]), np.concatenate([mean, np.clip(u_ref, least, most)])]
        middle = np.clip(u_ref, least, most)
        bounded = np.isfinite(least) & np.isfinite(most)
        middle[bounded] = 0.5 * (least[bounded] + most[bounded])
        guesses.append(np.concatenate([mean, middle]))
        return optimal_steady_state(task, self.stage, rule, guesses, x_ref, u_ref)

    # ---- all of it ----

    @cached_property
    def parts(self) -> frozenset[Part]:
        """What this task says."""
        task = self.task
        kinds = {Hard: Part.HARD, Soft: Part.SOFT, Chance: Part.CHANCE}
        found = {
            kinds[type(c.requirement)]
            for c in task.constraints
            if type(c.requirement) in kinds and not _on_inputs(task, c)
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
            Part.PERIODIC: not self.state.is_euclidean,
            Part.DOMAIN: task.domain is not None,
        }
        return frozenset(found | {part for part, is_said in facts.items() if is_said})


def not_differentiable(f: ca.Function) -> str:
    """What of a plant's equations f(x, u, w, p) CasADi cannot differentiate, such as a callback without derivatives;
    empty where it can."""
    x, u, w, p = f.sx_in()
    try:
        ca.jacobian(f(x, u, w, p), ca.vertcat(x, u, w))
    except RuntimeError as error:
        called = [m for m in re.findall(r"for '(\w+)' \[(\w+)\]", str(error)) if m[1] != "SXFunction"]
        return f"'{called[0][0]}' ({called[0][1]})" if called else "a function"
    return ""


def changed_by_turning(task: Task, which: int | list[int], period: float) -> str:
    """What changes where state ``which`` is moved by periods, or a quaternion has its sign changed; empty where
    nothing does. Plant, costs and constraints are compared at random points."""
    plant, reference = task.plant, task.reference
    chance = np.random.default_rng(0)
    x, u, w = (chance.standard_normal((16, len(s))) for s in (plant.state, plant.input, plant.disturbance))
    turns = np.outer([1.0, -1.0], 2.0 ** np.arange(8)).ravel()  # many, too, where a cost or a constraint may begin
    x_ref, u_ref = reference.at(plant, np.zeros(16, dtype=int))

    def turned(states: np.ndarray) -> np.ndarray:
        moved = np.array(states)
        moved[:, which] = -moved[:, which] if isinstance(which, list) else moved[:, which] + period * turns
        return moved

    step = task.dynamics.lower("numpy")
    stage, terminal, margins = (
        lower(f, "numpy") for f in (task.stage_cost_function(), task.terminal_cost_function(), task.margin_function())
    )
    # Costs are charged for the representative of the reference nearest to the state; see Task.stage_cost_function.
    here, there = (plant.state.nearest(x_ref, states) for states in (x, turned(x)))
    with np.errstate(all="ignore"):
        pairs = {
            "the plant": (turned(step(x, u, w, np.zeros(0))), step(turned(x), u, w, np.zeros(0))),
            "the stage cost": (stage(x, u, here, u_ref), stage(turned(x), u, there, u_ref)),
            "the terminal cost": (terminal(x, here), terminal(turned(x), there)),
        }
        for name, (before, after) in pairs.items():
            if not np.allclose(before, after, rtol=1e-6, atol=1e-9, equal_nan=True):
                return name
        differ = ~np.isclose(margins(x, u), margins(turned(x), u), rtol=1e-6, atol=1e-9, equal_nan=True).all(axis=0)
    names = [constraint.name for constraint, wrong in zip(task.constraints, differ, strict=True) if wrong]
    return f"the constraint '{names[0]}'" if names else ""


def _null_space(matrix: np.ndarray) -> np.ndarray:
    """Rows (k, columns) that span the directions the matrix maps to zero."""
    _, sizes, rows = np.linalg.svd(matrix)
    return np.asarray(
        rows[np.append(sizes, np.zeros(len(rows) - len(sizes))) <= 1e-9 * max(1.0, sizes.max(initial=0.0))]
    )


def _on_inputs(task: Task, constraint: Constraint) -> bool:
    """Whether it is a hard box on inputs alone, which is part of the input bounds."""
    names = set(task.plant.input.names)
    return (
        isinstance(constraint, Box) and isinstance(constraint.requirement, Hard) and names.issuperset(constraint.bounds)
    )
