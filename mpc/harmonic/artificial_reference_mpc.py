"""MPC with an artificial reference: its solve, its warm start, and its fallback to the infinite prediction."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import scipy.sparse as sp

from ctrl.answers import Answers
from ctrl.controller import Decision, NotApplicable, Source, Status
from ctrl.export.code import ControllerCode, reference_notes
from mpc.export.fallback import fallback_part, representative_part
from mpc.export.harmonic import artificial_reference_part
from mpc.fallback import Plan
from mpc.feasible import FeasibleSet
from mpc.harmonic.conic_program import ConicProgram
from mpc.harmonic.target import Target
from mpc.linear.linear_mpc import LinearMPC
from mpc.online import COLD_AFTER, OnlineController, SolveResult
from mpc.solvers.conic_solver import ConicSolver
from mpc.solvers.harmonic.solver import CompiledSolver
from systems import Reference, Task
from systems.arguments import expect_choice, expect_whole

__all__ = ["ArtificialReferenceMPC", "ConeBackEnd", "Prediction"]

ConeBackEnd = Literal["interior-point", "admm", "clarabel"]
"""``interior-point``: the dedicated solver, equally fast at every sample. ``admm``: the same, after a short attempt
from the last answer that makes easy samples many times faster. ``clarabel``: the reference, on the sparse problem."""

LOOSE = 1e-4  # largest residual, and relative gap, of a point that is used although the solver did not finish
CONDENSED = 300  # free variables up to which the dedicated solver was the faster one, of plants with up to 3 inputs
ADMM_ITERATIONS = 30  # iterations of the short attempt


@dataclass(frozen=True, eq=False)
class Prediction:
    """A solved problem: the plan of ``horizon`` samples, and the artificial reference that continues it for all future
    time.

    Args:
        x: (horizon, n).
        u: (horizon, m).
        mean, sine, cosine: (n + m,), (x, u) of the artificial reference j samples ahead is
            mean + sine sin(w (j - N)) + cosine cos(w (j - N)).
        frequency: w, rad per sample.
    """

    x: np.ndarray
    u: np.ndarray
    mean: np.ndarray
    sine: np.ndarray
    cosine: np.ndarray
    frequency: float

    def point_at(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """State and input ``j`` >= 0 samples ahead, on the artificial reference from the horizon on."""
        N, n = len(self.u), self.x.shape[1]
        if j < N:
            return self.x[j], self.u[j]
        phase = self.frequency * (j - N)
        point = self.mean + self.sine * np.sin(phase) + self.cosine * np.cos(phase)
        return point[:n], point[n:]


class ArtificialReferenceMPC(OnlineController):
    """Solves a parametric cone program in every sample, whose prediction ends on an artificial reference.

    After a failed solve, the last accepted prediction, which extends over all future time, is followed with a
    correction by the local regulator. Before the first one, the backup control law of :class:`mpc.fallback.Fallback` is
    applied.

    Args:
        task: see the final classes.
        program: the problem.
        frequency: of the artificial reference, rad per sample, 0 where it is steady.
        solver: see :data:`ConeBackEnd`; default: by size.
        max_iterations: of the solver in one step.
        time_limit: seconds of one step, after which Clarabel is stopped; the dedicated solver cannot be interrupted,
            but its iterations are bounded in number and of equal length.

    Attributes:
        horizon: samples predicted.
        solver: the back-end in use.
    """

    def __init__(
        self,
        task: Task,
        program: ConicProgram,
        frequency: float,
        solver: ConeBackEnd | None,
        max_iterations: int,
        time_limit: float | None = None,
    ) -> None:
        if solver is None:
            free = program.S.shape[1] - len(program.G)
            solver = "interior-point" if free <= CONDENSED else "clarabel"
        expect_choice(solver, "solver", get_args(ConeBackEnd))
        expect_whole(max_iterations, "max_iterations", least=1)
        super().__init__(task, len(program.input_at), max_iterations, time_limit)
        self.max_iterations = max_iterations
        self.program, self.frequency = program, frequency
        self.solver = _back_end(program, task.input_bounds, frequency, solver, max_iterations, self.time_limit)
        self._n = len(task.plant.state)
        self._parameter = np.zeros(program.T.shape[1])
        self._solved_at: int | None = None  # sample of the last good solve
        self.target = self._target_of(task)
        self._without_end = self._made_without_end()
        self.approximations = self._answers.read(task)

    @property
    @abstractmethod
    def _answers(self) -> Answers:
        """How the family takes each part of a task."""

    @abstractmethod
    def _target_of(self, task: Task) -> Target:
        """The reference of a task as parameters of the program.

        Raises:
            NotApplicable: a reference that this controller cannot follow.
        """

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self._arguments, self.task.reference)

    def follow(self, reference: Reference) -> None:
        """Follows another reference from now on; feasibility is preserved where theory guarantees it.

        The program is unchanged, with the plant linearised at the start of the first reference; unless the plant is
        linear, a controller constructed for the new reference behaves differently.

        Args:
            reference: of the same plant.

        Raises:
            NotApplicable: a reference that this controller cannot follow.
        """
        super().follow(reference)

    def _redirect(self, task: Task) -> None:
        """Keeps the program."""
        self.target = self._target_of(task)
        self._control(task)
        self._last_x, self._without_end = None, self._made_without_end()
        self.approximations = self._answers.read(task)

    def reset(self) -> None:
        """Starts a new run: discards the last prediction and the warm start."""
        super().reset()
        self._solved_at = None
        if self._without_end is not None:
            self._without_end.reset()

    def c_code(self, samples: int) -> ControllerCode:
        """The controller in C, with the interior point; see :meth:`mpc.online.OnlineController.c_code`."""
        end = None if self._without_end is None else self._without_end.c_part(samples)
        solver = self.solver
        if not isinstance(solver, CompiledSolver):
            solver = CompiledSolver(self.program, self.task.input_bounds, self.frequency, self.max_iterations)
        is_constant = self.task.reference.is_constant
        targets = np.array([self.target.parameters(k).ravel() for k in range(1 if is_constant else samples + 1)])
        part = artificial_reference_part(self.program, solver, self.frequency, targets, self.max_iterations, LOOSE, end)
        return ControllerCode(
            self.task,
            f"{type(self).__name__} over {self.horizon} samples.",
            fallback_part(self._fallback, samples) + representative_part(self.task, samples) + part,
            self.approximations,
            tolerance=1e-6,
            converged=1e-9,  # of most solves it is below 1e-11
            notes=(
                f"a primal-dual interior-point method of fixed memory, of {part.sizes['FREE']} variables, "
                f"{part.sizes['BOXED']} rows and {part.sizes['CONES']} cones, solves the condensed problem in at most "
                f"{self.max_iterations} iterations",
                *reference_notes(self.task, samples),
            ),
        )

    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        parameter, solver = self._parameter, self.solver
        parameter[: self._n] = x
        parameter[self._n :] = self.target.parameters(k).ravel()
        status = solver.solve(parameter, self._elapsed(k))
        iterations, residual = solver.iterations, solver.residual
        if status is Status.SOLVED:
            self._solved_at = k
            return SolveResult(status, self._last_plan, iterations, residual, solver.input.copy())
        if status in (Status.MAX_ITERATIONS, Status.NUMERICAL) and residual <= LOOSE:
            solver.keep()
            self._solved_at = k
            return SolveResult(status, self._last_plan, iterations, residual, solver.input.copy())
        if status is Status.INFEASIBLE and (other := self._decision_without_end(x, k)) is not None:
            iterations += other.iterations
            return SolveResult(Status.TERMINAL_SET_UNREACHABLE, None, iterations, other.residual, other.input)
        return SolveResult(status, None, iterations, residual)

    def _fallback_input(self, x: np.ndarray, k: int) -> tuple[np.ndarray, Source]:
        if self._solved_at is None:
            return self._fallback.backup(x, k), Source.BACKUP
        planned = self.prediction.point_at(max(k - self._solved_at, 0))
        return self._fallback.follow(x, k, *planned), Source.SHIFTED_PLAN

    def _made_without_end(self) -> LinearMPC | None:
        """A linear MPC over the same horizon with a free end, None if the task has none."""
        try:
            at_edge = self.task.reading.rests_at_edge  # then a plan ends at a steady state that it chooses
            return LinearMPC(self.task, self.horizon, None if at_edge else "cost")
        except NotApplicable:
            return None

    def _decision_without_end(self, x: np.ndarray, k: int) -> Decision | None:
        """The decision of the linear MPC with a free end; None if it has no plan."""
        if self._without_end is None:
            return None
        decision = self._without_end.step(x, k)
        return decision if decision.source in (Source.OPTIMAL, Source.SUBOPTIMAL) else None

    def _elapsed(self, k: int) -> int:
        """Samples since the point kept, 0 where it is of no use as a warm start."""
        if self._solved_at is None or self._failures >= COLD_AFTER:
            return 0
        elapsed = k - self._solved_at
        return elapsed if 0 < elapsed < self.horizon else 0

    def _last_plan(self) -> Plan:
        """The prediction of the last accepted solve up to the horizon."""
        prediction = self.prediction
        assert self._solved_at is not None
        end = prediction.point_at(self.horizon)[0]
        return Plan(np.vstack([prediction.x, end]), prediction.u, self._solved_at)

    @property
    def prediction(self) -> Prediction:
        """The prediction of the last accepted solve, from its sample on."""
        program, z = self.program, self.solver.point()
        target = self.solver.parameter()[self._n :]
        parts = np.zeros((3, program.state_at.shape[1] + program.input_at.shape[1]))
        parts[0] = z[program.mean_at] if len(program.mean_at) else target
        if len(program.sine_at):
            parts[1], parts[2] = z[program.sine_at], z[program.cosine_at]
        return Prediction(z[program.state_at], z[program.input_at], parts[0], parts[1], parts[2], self.frequency)

    @property
    def cost(self) -> float:
        """Objective of the last accepted solve, in the unit of the task's cost."""
        return self.program.cost(self.solver.point(), self.solver.parameter())

    def feasible_set(self) -> FeasibleSet:
        """The states at which the problem has a solution, for the reference at sample 0; the bounds on the state hold
        from sample 0 on."""
        program, n = self.program, self._n
        d = program.G.shape[1]
        target = self.target.parameters(0).ravel()
        H, lower, upper = program.measured
        on_state = np.hstack([np.zeros((len(H), n)), _spread(H, program.state_at[0], d)])
        C = np.vstack([on_state, np.hstack([np.zeros((len(program.C), n)), program.C])])
        low, high = np.concatenate([lower, program.lower]), np.concatenate([upper, program.upper])
        up, down = np.isfinite(high), np.isfinite(low)
        triples, right = program.cones()
        return FeasibleSet(
            self.task.plant.state,
            sp.csc_matrix(np.hstack([-program.B[:, :n], program.G])),
            program.b + program.B[:, n:] @ target,
            sp.csc_matrix(np.vstack([C[up], -C[down]])),
            np.concatenate([high[up], -low[down]]),
            sp.csc_matrix(np.hstack([np.zeros((len(triples), n)), triples])),
            right,
        )


def _spread(matrix: np.ndarray, columns: np.ndarray, width: int) -> np.ndarray:
    spread = np.zeros((len(matrix), width))
    spread[:, columns] = matrix
    return spread


def _back_end(
    program: ConicProgram,
    bounds: tuple[np.ndarray, np.ndarray],
    frequency: float,
    solver: ConeBackEnd,
    max_iterations: int,
    time_limit: float,
) -> ConicSolver:
    if solver == "clarabel":
        from mpc.solvers.clarabel_socp import ClarabelSolver

        return ClarabelSolver(program, bounds, max_iterations, time_limit)
    quick = ADMM_ITERATIONS if solver == "admm" else 0
    return CompiledSolver(program, bounds, frequency, max_iterations, quick)


def _made(
    kind: type[ArtificialReferenceMPC], arguments: tuple[Any, ...], reference: Reference
) -> ArtificialReferenceMPC:
    """A copy: the controller of these arguments, pursuing the reference that the original pursued last."""
    controller = kind(*arguments)
    if reference is not arguments[0].reference:
        controller.follow(reference)
    return controller
