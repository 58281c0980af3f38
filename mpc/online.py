"""The control step of every online controller: check the measurement, solve, and accept the plan or fall back."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import isfinite
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ctrl.answers import described
from ctrl.controller import Decision, NotApplicable, Source, Status, measured_state, sample_index
from ctrl.export.code import ControllerCode, NotExportable
from ctrl.export.project import ExportsCode
from ctrl.knowledge import Knowledge
from ctrl.linearisation import expect_differentiable
from mpc.fallback import Fallback, Plan
from systems import Constraint, Cost, InvalidValue, Plant, Reference, Task
from systems.arguments import expect_number, expect_whole
from systems.constraints import PREVIOUS
from systems.errors import expect

__all__ = [
    "COLD_AFTER",
    "OnlineController",
    "SolveResult",
    "check_horizon",
    "check_input",
    "predictive_knowledge",
    "quiet",
]

Function = TypeVar("Function", bound=Callable[..., Any])

LONGEST = 1_000_000  # samples that anybody looks ahead
COLD_AFTER = 3  # failures in a row after which the last good point is not a start for the solver any more
SLOWEST = 100  # sample times after which a step that has no time limit of its own is stopped
LEAST = 60.0  # seconds that it has at least
_WHOLE = 1e-9  # by which a bound may miss a whole number


def quiet(function: Function) -> Function:
    """The same function without numpy's warnings of overflow and NaN: a state may be of any size, and the result is
    checked for such numbers."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")(function)


def check_horizon(horizon: int) -> None:
    """Raises InvalidValue unless the horizon is an integer of at least 1 that fits into memory."""
    expect_whole(horizon, "horizon", least=1, most=LONGEST, unit="samples")


def check_input(task: Task) -> None:
    """Raises NotApplicable if there is no input to optimise or no derivative, and InvalidValue if this is not a
    task."""
    expect(task, Task, "the task of a controller", "such as systems.library.cartpole()")
    if not len(task.plant.input):
        raise NotApplicable(f"task '{task.name}' has no input, so there is nothing to optimise")
    expect_differentiable(task)


def predictive_knowledge(horizon: int, terminal: str, is_constant: bool) -> Knowledge:
    """Objective, tuning and foresight of a controller that minimises the cost of one prediction.

    Args:
        horizon: number of predicted samples.
        terminal: the cost at their end, in words.
        is_constant: whether the reference is constant.
    """
    return Knowledge(
        f"the cost over {horizon} predicted samples and at their end ({terminal})",
        "the nominal model alone",
        "a constant reference" if is_constant else f"the reference {horizon} samples ahead",
    )


class SolveResult(NamedTuple):
    """Result of the solve of one sample.

    Args:
        status: of the solver.
        plan: the prediction that may be followed later, None if there is no new one; a function if it takes long to
            compute and may not be needed.
        iterations: of the solver.
        residual: largest scaled violation of the optimality conditions, infinite where unknown.
        input: (m,), within its bounds; default: the first of the plan. Without a plan and an input, the fallback
            applies.
        source: of the input; default: optimal if the problem was solved, else suboptimal.
    """

    status: Status
    plan: Plan | Callable[[], Plan] | None = None
    iterations: int = 0
    residual: float = np.inf
    input: np.ndarray | None = None
    source: Source | None = None


_UNMEASURED = SolveResult(Status.NUMERICAL)


class OnlineController(ExportsCode, ABC):
    """Solves one optimal control problem per sample and applies the first input of its plan.

    If a solve fails, :class:`mpc.fallback.Fallback` follows the last accepted plan and then the local regulator.
    Subclasses define the solve and, if needed, their own fallback.

    A copy, also one sent to another process, is constructed again: it has the same problem but no past.

    Args:
        task: the controlled task.
        horizon: number of predicted samples.
        max_iterations: of the solver in one step; default: the solver's own.
        time_limit: seconds of one step, after which the solver is stopped; default: 100 sample times and at least 60 s,
            so that results do not depend on the speed of the machine.

    Attributes:
        approximations: of the task, in words.

    Raises:
        NotApplicable: a task without input.
        InvalidValue: a horizon or max_iterations below 1, a time limit that is not positive.
    """

    _arguments: tuple[Any, ...]  # of the final class
    approximations: tuple[str, ...]

    def __init__(
        self, task: Task, horizon: int, max_iterations: int | None = None, time_limit: float | None = None
    ) -> None:
        check_horizon(horizon)
        check_input(task)
        if max_iterations is not None:
            expect_whole(max_iterations, "max_iterations", least=1)
        if time_limit is None:
            time_limit = max(SLOWEST * task.dt, LEAST)
        self.time_limit = float(expect_number(time_limit, "time_limit", above=0.0, hint="in seconds, or None"))
        self.horizon = horizon
        self._control(task)
        self._plan: Plan | Callable[[], Plan] | None = None
        self._failures = 0  # samples since the last plan, those without a measurement among them
        self._last_x: np.ndarray | None = None  # the representative of the last measured state
        self._last_u: np.ndarray | None = None  # the last input, where its change is limited

    def _control(self, task: Task) -> None:
        """Controls this task from now on."""
        self.task = task
        self._state, self._is_periodic = task.plant.state, not task.reading.state.is_euclidean
        self._lower, self._upper = task.input_bounds
        integers = np.array([signal.integer for signal in task.plant.input], dtype=bool)
        self._integers = integers if integers.any() else None
        self._has_limits = bool(task.reading.change_limits)
        self._fallback = Fallback(task)

    def c_code(self, samples: int) -> ControllerCode:
        """The controller in C, with tables of a moving reference for this number of samples.

        Raises:
            NotExportable: the controller has no C code for this task.
        """
        raise NotExportable(
            f"{type(self).__name__} cannot be exported to C; export LinearMPC(task), ExplicitMPC(task), "
            "HarmonicMPC(task), NonlinearMPC(task, iterations=1) or LQR(task) of the same task, or a trained policy"
        )

    def __repr__(self) -> str:
        name = f"{type(self).__name__}(task '{self.task.name}', horizon={self.horizon})"
        end = f", terminal cost: {self.terminal}" if self.terminal else ""
        return described(name + end, self.approximations)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    @property
    def terminal(self) -> str:
        """The chosen terminal cost and set, in words; empty if there is no choice."""
        return ""

    @property
    def plan(self) -> Plan | None:
        """The last accepted prediction, None before the first."""
        if callable(self._plan):
            self._plan = self._plan()
        return self._plan

    def reset(self) -> None:
        """Starts a new run: discards the last plan."""
        self._plan, self._failures, self._last_x, self._last_u = None, 0, None, None

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` in state ``x`` (n,); the input is always finite and within bounds.

        Raises:
            DimensionMismatch: ``x`` has another shape.
            InvalidValue: ``x`` does not consist of numbers, or ``k`` is not a sample number.
        """
        began = perf_counter()
        x, k = measured_state(x, self._state), sample_index(k)
        result = _UNMEASURED
        if all(map(isfinite, x.tolist())):  # faster than numpy for a few numbers
            if self._is_periodic:
                x = self._representative(x, k)
            result = self._solve(x, k)
        status, plan, iterations, residual, u, source = result
        if plan is None:
            self._failures += 1
        else:
            self._plan, self._failures = plan, 0
            if u is None:
                assert isinstance(plan, Plan)
                u = self._clip(plan.u[0])
        if u is None:
            u, source = self._clipped_fallback(x, k)
        elif source is None:
            source = Source.OPTIMAL if status is Status.SOLVED else Source.SUBOPTIMAL
        self._applied(x, u, k)
        if self._has_limits:
            self._last_u = u.copy()
        return Decision(u, status, source, iterations, residual, perf_counter() - began)

    def follow(self, reference: Reference) -> None:
        """Follows another reference from now on.

        This and the other changes take effect at the next step, whose input is that of a controller constructed for the
        changed task, of which the run so far is known: the last plan is kept in case a solve fails, and what is spent
        of budgets remains spent. If a change is refused, nothing changes.

        Args:
            reference: of the same plant.

        Raises:
            NotApplicable: this controller cannot control a task with this reference.
            InvalidValue: the reference does not fit the plant.
        """
        self._change(dataclasses.replace(self.task, reference=reference), type(self)._redirect)

    def set_cost(self, cost: Cost) -> None:
        """Minimises another cost from now on, such as one with other weights. See :meth:`follow`.

        Args:
            cost: charged once per sample.
        """
        self._change(dataclasses.replace(self.task, cost=cost), type(self)._take)

    def set_constraints(self, constraints: Sequence[Constraint]) -> None:
        """Enforces other constraints from now on, such as the same ones with other bounds. See :meth:`follow`.

        Args:
            constraints: all constraints of the task.
        """
        self._change(dataclasses.replace(self.task, constraints=tuple(constraints)), type(self)._take)

    def set_plant(self, plant: Plant) -> None:
        """Predicts with another plant from now on, such as one with other parameters or input limits. See
        :meth:`follow`.

        Args:
            plant: with the same signals, such as ``dataclasses.replace(controller.task.plant, pole_mass=0.2)``.
        """
        now = self.task.plant
        expect(plant, Plant, "the plant of a controller", "such as CartPole(pole_mass=0.2)")
        if (plant.state, plant.input, plant.disturbance) != (now.state, now.input, now.disturbance):
            raise InvalidValue(
                f"{type(plant).__name__} has other signals than the plant of task '{self.task.name}'; construct a new "
                "controller for it"
            )
        self._change(dataclasses.replace(self.task, plant=plant), type(self)._take)

    def _change(self, task: Task, take: Callable[[Any, Task], None]) -> None:
        """Controls this task from now on: a copy takes it, and replaces the controller only where that succeeds."""
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__)
        take(changed, task)
        changed._plan, changed._failures, changed._last_u = self.plan, self._failures, self._last_u
        self.__dict__ = changed.__dict__

    def _take(self, task: Task) -> None:
        """Makes everything for this task. Subclasses that can keep some of what they made do so."""
        self.__dict__.update(type(self)(task, *self._arguments[1:]).__dict__)

    def _redirect(self, task: Task) -> None:
        """The same for a task with another reference alone."""
        self._take(task)

    @abstractmethod
    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        """How the problem of sample ``k`` in the finite state ``x`` (n,) ended."""

    def _fallback_input(self, x: np.ndarray, k: int) -> tuple[np.ndarray, Source]:
        """The input (m,) after a failed solve, to be applied within its bounds, and where it comes from."""
        return self._fallback.input(x, k, self.plan)

    @quiet
    def _clipped_fallback(self, x: np.ndarray, k: int) -> tuple[np.ndarray, Source]:
        u, source = self._fallback_input(x, k)
        if self._has_limits:
            within_bounds = self._clip(u)
            u = self.task.reading.limited(within_bounds, self._with_last_input(x))
            if self._integers is not None:  # rounded towards the input before, where a limit cut the change
                inward = np.where(u < within_bounds, np.floor(u + _WHOLE), np.ceil(u - _WHOLE))
                u = np.where(self._integers, inward, u)
        return self._clip(u), source

    def _with_last_input(self, x: np.ndarray) -> np.ndarray:
        """The state (n,), whose previous inputs are the last decision where they were not measured."""
        if self._last_u is None or np.isfinite(x).all():
            return x
        known = x.copy()
        for name, u in zip(self.task.plant.input.names, self._last_u, strict=True):
            if PREVIOUS + name in self._state.names and not np.isfinite(x[self._state.where(PREVIOUS + name)]):
                known[self._state.where(PREVIOUS + name)] = u
        return known

    def _clip(self, u: np.ndarray) -> np.ndarray:
        """The inputs (..., m) within their bounds."""
        clipped = np.minimum(np.maximum(u, self._lower), self._upper)
        if self._integers is None:
            return clipped
        low, high = np.ceil(self._lower - _WHOLE), np.floor(self._upper + _WHOLE)
        return np.where(self._integers, np.clip(np.round(clipped), low, high), clipped)

    def _applied(self, x: np.ndarray, u: np.ndarray, k: int) -> None:  # most have nothing to note
        """Called with the state, the input and the number of a sample that is decided."""

    def _representative(self, x: np.ndarray, k: int) -> np.ndarray:
        """The representative of a finite state (n,) that predictions start from, where signals are periodic.

        It is the one closest to the state before, so that a plan is not torn where both ways round are equally far; the
        one closest to the reference at first, and where the other would have to unwind more than a turn.
        """
        state, x_ref, last = self.task.reading.state, self.task.reading.window(k, 1)[0][0], self._last_x
        if last is not None:
            near = state.nearest(x, last)
            is_wound = any(abs(near[i] - x_ref[i]) > period for i, period in state.turning)
            if not is_wound and all(float(near[group] @ x_ref[group]) >= -0.25 for group in state.quaternions):
                self._last_x = near
                return near
        self._last_x = state.nearest(x, x_ref)
        return self._last_x
