"""The receding-horizon step shared by harmonic, tracking and equality MPC: solve, or follow the last good
prediction."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp

from ctrl.answers import Answers, described
from ctrl.controller import Decision, NotApplicable, Source, Status, sample_index
from mpc.fallback import Outcome, Plan, Recourse
from mpc.feasible import FeasibleSet
from mpc.harmonic.conic_program import ConicProgram
from mpc.harmonic.target import Wanted
from mpc.linear.linear_mpc import LinearMPC
from mpc.online import clock
from mpc.solvers.conic_solver import ConicSolver
from systems import Reference, Task
from systems.arguments import expect_choice, expect_whole

__all__ = ["Prediction", "RecedingHorizon", "Solver"]

Solver = Literal["interior-point", "admm", "clarabel"]
"""``interior-point``: the dedicated solver, equally fast at every sample. ``admm``: the same, after a short attempt
from the last answer that makes easy samples many times faster. ``clarabel``: the reference, on the sparse problem."""

CONDENSED = 200  # free variables up to which the dedicated solver was the faster one, of plants with up to 3 inputs
QUICK = 30  # iterations of the short attempt


@dataclass(frozen=True, eq=False)
class Prediction:
    """A solved problem: the plan of ``horizon`` samples, and the artificial reference on which it ends and goes on for
    ever.

    Args:
        x: (horizon, n). u: (horizon, m).
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

    def at(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """State and input ``j`` >= 0 samples ahead, on the artificial reference from the horizon on."""
        N, n = len(self.u), self.x.shape[1]
        if j < N:
            return self.x[j], self.u[j]
        phase = self.frequency * (j - N)
        point = self.mean + self.sine * np.sin(phase) + self.cosine * np.cos(phase)
        return point[:n], point[n:]


class RecedingHorizon(ABC):
    """Steps a parametric cone program through time.

    A solve that fails leaves the last good point alone: its prediction, which never ends, is followed instead,
    corrected by the local regulator. Before there is one, the backup law of :class:`Recourse` acts.

    Args:
        task: see the final classes. program: the problem. frequency: of the artificial reference, 0 where it is steady.
        solver: see :data:`Solver`; where left out, by size. max_iterations: of it, in one step.
        time_limit: seconds of one step, at which Clarabel is stopped; the dedicated solver cannot be interrupted, its
            work is bounded by its iterations, each of the same length.

    Attributes:
        approximations: what of the task is not taken exactly, in words.
        horizon: samples predicted. solver: the back-end in use.
    """

    COLD_AFTER = 3  # failures in a row after which the last good point is no warm start any more
    LOOSE = 1e-4  # largest residual, and relative gap, of a point that is used although the solver did not finish

    def __init__(
        self,
        task: Task,
        program: ConicProgram,
        frequency: float,
        solver: Solver | None,
        max_iterations: int,
        time_limit: float | None = None,
    ) -> None:
        if solver is None:
            free = program.S.shape[1] - len(program.G)
            solver = "interior-point" if free <= CONDENSED else "clarabel"
        expect_choice(solver, "solver", get_args(Solver))
        expect_whole(max_iterations, "max_iterations", least=1)
        self.task, self.program, self.frequency = task, program, frequency
        self.time_limit = clock(task, time_limit)
        self.horizon = len(program.input_at)
        self.solver = _back_end(program, task.input_bounds, frequency, solver, max_iterations, self.time_limit)
        self._n = len(task.plant.state)
        self._parameter = np.zeros(program.T.shape[1])
        self._good: int | None = None
        self._wanted = self._wanted_by(task)
        self._recourse = Recourse(task)
        self._open_ended: LinearMPC | Literal[False] | None = None  # None until needed, False where there is none
        self.approximations = self._answers.read(task)

    @property
    @abstractmethod
    def _answers(self) -> Answers:
        """How the family takes each part of a task."""

    def __repr__(self) -> str:
        return described(f"{type(self).__name__}(task '{self.task.name}', horizon={self.horizon})", self.approximations)

    @abstractmethod
    def _wanted_by(self, task: Task) -> Wanted:
        """How the reference of a task enters the program.

        Raises:
            NotApplicable: a reference this controller cannot pursue.
        """

    def follow(self, reference: Reference) -> None:
        """Pursues another reference from now on; what was feasible stays so where theory promises it.

        Raises:
            NotApplicable: a reference this controller cannot pursue.
        """
        task = dataclasses.replace(self.task, reference=reference)
        self._wanted = self._wanted_by(task)
        failures = self._recourse.failures
        self.task, self._recourse = task, Recourse(task)
        self._recourse.failures = failures
        self._open_ended = None

    def reset(self) -> None:
        """Forgets the past."""
        self._good = None
        self._recourse.reset()
        if self._open_ended:
            self._open_ended.reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` in state ``x`` (n,); the input is finite and within bounds whatever happens.

        Raises:
            DimensionMismatch: ``x`` has another shape.
            InvalidValue: ``x`` holds no numbers, or ``k`` is no sample number.
        """
        began = perf_counter()
        x, k = self._recourse.measured(x), sample_index(k)
        x = self._recourse.nearest(x, k)
        parameter, solver = self._parameter, self.solver
        parameter[: self._n] = x
        parameter[self._n :] = self._wanted.at(k).ravel()
        status = solver.solve(parameter, self._elapsed(k))
        residual = solver.residual
        if status is Status.SOLVED:
            source = Source.OPTIMAL
        elif status in (Status.MAX_ITERATIONS, Status.NUMERICAL) and residual <= self.LOOSE:
            source = Source.SUBOPTIMAL
            solver.keep()
        else:
            if status is Status.INFEASIBLE and (other := self._without_end(x, k)) is not None:
                self._recourse.failures += 1
                iterations = solver.iterations + other.iterations
                status, source = Status.TERMINAL_SET_UNREACHABLE, Source.SUBOPTIMAL
                return Decision(other.input, status, source, iterations, other.residual, perf_counter() - began)
            self._recourse.plan = self._continued(k)
            outcome = Outcome(status, None, solver.iterations, residual)
            return self._recourse.decide(x, k, outcome, began)
        self._good, self._recourse.failures = k, 0
        return Decision(solver.input.copy(), status, source, solver.iterations, residual, perf_counter() - began)

    def _without_end(self, x: np.ndarray, k: int) -> Decision | None:
        """The decision of a linear MPC over the same horizon that may end anywhere; None where that has no plan."""
        if self._open_ended is None:
            try:
                at_edge = self.task.reading.rests_at_edge  # then a plan ends at a steady state that it chooses
                self._open_ended = LinearMPC(self.task, self.horizon, None if at_edge else "cost")
            except NotApplicable:
                self._open_ended = False
        if not self._open_ended:
            return None
        decision = self._open_ended.step(x, k)
        return decision if decision.source in (Source.OPTIMAL, Source.SUBOPTIMAL) else None

    def _elapsed(self, k: int) -> int:
        """Samples since the point kept, 0 where it is no use as a warm start."""
        if self._good is None or self._recourse.failures >= self.COLD_AFTER:
            return 0
        elapsed = k - self._good
        return elapsed if 0 < elapsed < self.horizon else 0

    def _continued(self, k: int) -> Plan | None:
        """The last good prediction at sample ``k``."""
        if self._good is None:
            return None
        x, u = self.prediction.at(max(k - self._good, 0))
        return Plan(np.array([x, x]), np.array([u]), k)

    @property
    def prediction(self) -> Prediction:
        """What the last good solve predicts, from its sample on."""
        program, z = self.program, self.solver.point()
        wanted = self.solver.parameter()[self._n :]
        parts = np.zeros((3, program.state_at.shape[1] + program.input_at.shape[1]))
        parts[0] = z[program.mean_at] if len(program.mean_at) else wanted
        if len(program.sine_at):
            parts[1], parts[2] = z[program.sine_at], z[program.cosine_at]
        return Prediction(z[program.state_at], z[program.input_at], parts[0], parts[1], parts[2], self.frequency)

    @property
    def cost(self) -> float:
        """Objective of the last good solve, in the unit of the task's cost."""
        return self.program.cost(self.solver.point(), self.solver.parameter())

    def feasible_set(self) -> FeasibleSet:
        """The states at which the problem has a solution, for the reference at sample 0; the bounds on the state hold
        from sample 0 on."""
        program, n = self.program, self._n
        d = program.G.shape[1]
        wanted = self._wanted.at(0).ravel()
        H, lower, upper = program.measured
        on_state = np.hstack([np.zeros((len(H), n)), _spread(H, program.state_at[0], d)])
        C = np.vstack([on_state, np.hstack([np.zeros((len(program.C), n)), program.C])])
        low, high = np.concatenate([lower, program.lower]), np.concatenate([upper, program.upper])
        up, down = np.isfinite(high), np.isfinite(low)
        cones, right = [np.zeros((0, d))], [np.zeros(0)]
        for bound, sign in ((program.high, 1.0), (program.low, -1.0)):
            for i in np.flatnonzero(np.isfinite(bound)):
                e, s, c = program.D[3 * i : 3 * i + 3]
                cones.append(np.array([sign * e, -s, -c]))
                right.append(np.array([sign * bound[i], 0.0, 0.0]))
        triples = np.vstack(cones)
        return FeasibleSet(
            self.task.plant.state,
            sp.csc_matrix(np.hstack([-program.B[:, :n], program.G])),
            program.b + program.B[:, n:] @ wanted,
            sp.csc_matrix(np.vstack([C[up], -C[down]])),
            np.concatenate([high[up], -low[down]]),
            sp.csc_matrix(np.hstack([np.zeros((len(triples), n)), triples])),
            np.concatenate(right),
        )


def _spread(matrix: np.ndarray, columns: np.ndarray, width: int) -> np.ndarray:
    spread = np.zeros((len(matrix), width))
    spread[:, columns] = matrix
    return spread


def _back_end(
    program: ConicProgram,
    bounds: tuple[np.ndarray, np.ndarray],
    frequency: float,
    solver: Solver,
    max_iterations: int,
    time_limit: float,
) -> ConicSolver:
    if solver == "clarabel":
        from mpc.solvers.clarabel_socp import ClarabelSolver

        return ClarabelSolver(program, bounds, max_iterations, time_limit)
    from mpc.solvers.harmonic.solver import CompiledSolver

    quick = QUICK if solver == "admm" else 0
    return CompiledSolver(program, bounds, frequency, max_iterations, quick)
