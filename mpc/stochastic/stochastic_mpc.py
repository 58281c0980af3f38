"""Stochastic model predictive control of linear plants under chance constraints: one scheme, two classical limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.sparse as sp

from ctrl.answers import ESTIMATED, EXACT, NO_FORECAST, Announced, Answers, Refused, quadratic_end
from ctrl.controller import Source, Status
from ctrl.linearisation import terminal_expansion
from mpc.affine_task import affine_task
from mpc.approximations import DOMAIN, INTEGER
from mpc.fallback import Plan
from mpc.feasible import FeasibleSet
from mpc.memory import expect_dense
from mpc.online import COLD_AFTER, OnlineController, SolveResult, quiet
from mpc.solvers.daqp import DAQP
from mpc.solvers.qp import QPSolver, QuadraticProgram, Solution, WithoutTerminalSet
from mpc.stochastic.disturbed_loop import disturbed_loop, loop_rows
from mpc.stochastic.reachable import ErrorDynamics
from mpc.stochastic.tightened_program import TightenedProgram, program_margins, terminal_steps, tightened_program
from mpc.stochastic.tightening import Tightening, check_interval, margins
from systems import Box, Task
from systems.arguments import expect_flag, expect_number, expect_whole
from systems.errors import expect
from systems.reading import Part

__all__ = ["StochasticMPC", "indirect_feedback_mpc", "nominal_mpc", "robust_mpc", "robust_stochastic_mpc"]


_Program = tuple[TightenedProgram, QPSolver, WithoutTerminalSet | None]


class StochasticMPC(OnlineController):
    """Satisfies each half-space of a chance constraint with its probability, and hard constraints for every
    disturbance.

    The constraints apply to a nominal prediction z, tightened by bounds on the error x - z under the feedback
    v - K (x - z); the cost is that of the prediction from the measured state. Every M = ``recondition_every`` samples
    z is set to the measured state; in between it follows its own prediction (Köhler, Geuss & Zeilinger, 2023):

        M = 1:  every prediction starts at the measured state (robust-stochastic MPC; Kouvaritakis & Cannon, 2016),
        M = math.inf:  z is never reset (indirect feedback MPC; Hewing, Wabersich & Zeilinger, 2020).

    The scheme is recursively feasible if the disturbance follows its distribution. The probabilities are conditional on
    the state at the last re-conditioning. Inputs stay within their bounds for every disturbance of a bounded
    distribution. If the tightened constraints can be satisfied up to the horizon but not beyond it, the plan ends at
    the horizon with the status ``terminal_set_unreachable``; recursive feasibility is then no longer guaranteed.

    Args:
        task: an affine plant, a set-point, affine constraints. Each half-space of a chance constraint has its full
            probability; budgets become chance constraints; violations of soft constraints are penalised on the
            prediction from the measured state.
        horizon: samples with free inputs.
        recondition_every: M, a whole number or ``math.inf``; an unbounded disturbance needs the latter.
        tightening: how margins follow from the distribution; see :data:`mpc.stochastic.tightening.Tightening`.
        K: (m, n), feedback u = -K x of the tube and behind the horizon; default: the gain of the task's regulator. See
            also :func:`mpc.stochastic.tube.tube_gain`.
        terminal_steps: samples beyond the horizon on which constraints are imposed; default: as many as imply all
            others, which recursive feasibility requires.
        joint: whether the probability is that of a whole constraint, its risk split evenly among its half-spaces.
        input_probability: with which input bounds are satisfied; default: 1, or, if no feedback can guarantee that
            because the distribution is unbounded, the largest probability among the chance constraints.
        recovery: whether z is set to the measured state at every sample at which that is feasible (Hewing & Zeilinger,
            2018); the probabilities are then no longer proved.
        max_iterations: of the solver in one step; default: the solver's own.
        time_limit: seconds of one step; see :class:`mpc.online.OnlineController`.

    For a task with a terminal cost, the horizon shrinks to the remaining samples of its run.

    Attributes:
        K, error: the feedback, and the dynamics of the error under it.
        margins: by samples since re-conditioning.
        rows: the constraints they belong to.
        terminal_steps: in use.

    Raises:
        NotApplicable: a plant, reference or constraint that is not as above; a disturbance too large for a constraint,
            or unbounded where its worst case is needed.
        InvalidValue: horizon, interval, tightening, gain or another number out of its range.
    """

    LONGEST_GAP = 10_000  # samples without a call after which a new run is assumed
    TOLERANCE = 1e-6  # residual of an unfinished point that is used: z goes on from it, so what it violates would stay

    def __init__(
        self,
        task: Task,
        horizon: int = 6,
        recondition_every: float = 1,
        tightening: Tightening = "exact",
        K: np.ndarray | None = None,
        terminal_steps: int | None = None,
        joint: bool = False,
        input_probability: float | None = None,
        recovery: bool = False,
        max_iterations: int | None = None,
        time_limit: float | None = None,
    ) -> None:
        check_interval(recondition_every)
        if input_probability is not None:
            expect_number(input_probability, "input_probability", above=0.0, most=1.0)
        expect_flag(joint, "joint")
        expect_flag(recovery, "recovery")
        super().__init__(task, horizon, max_iterations, time_limit)
        self._arguments = (
            task, horizon, recondition_every, tightening, K, terminal_steps, joint, input_probability, recovery,
            max_iterations, time_limit,
        )  # fmt: skip
        self.recondition_every, self.recovery = recondition_every, recovery
        self.approximations = ANSWERS.read(task)
        self.loop = disturbed_loop(task, K)
        expect_dense(horizon, float((horizon * len(self.loop.K)) ** 2 * (2 + len(task.reading.conditions.names))))
        self.K, self.error = self.loop.K, ErrorDynamics(self.loop.A, self.loop.noise)
        every_row = loop_rows(task, affine_task(task), self.loop, joint, input_probability)
        hard = np.isinf(every_row.weight)
        self.rows, soft = every_row.where(hard), every_row.where(~hard)
        rows = self.rows
        self.margins = margins(self.error, rows.D, rows.probability, rows.is_state_row, recondition_every, tightening)
        self.terminal_steps = self._extra(terminal_steps)
        self._ends, last = task.reading.terminal is not None, None
        if self._ends:
            model = self.loop.model
            weight, half = terminal_expansion(task, model.x_ref, task.reading.start[0])
            last = weight, half - 0.5 * model.multipliers
        make = partial(DAQP, max_iterations=max_iterations, time_limit=self.time_limit)
        self._programs: dict[tuple[int, bool], _Program] = {}  # by samples ahead, and whether the run ends there
        ending = [(going, True) for going in range(1, horizon + 1)] if self._ends else []
        for going, is_end in (*ending, (horizon, False)):
            program = tightened_program(self.loop, rows, soft, going, self.terminal_steps, last, is_end)
            behind = None if is_end else self._to_the_horizon(program, going, make)
            self._programs[going, is_end] = program, make(program.problem), behind
        self.program, self.solver, self._without_set = self._programs[horizon, False]
        for _, solver, without_set in self._programs.values():
            solver.prepare()
            if without_set is not None:
                without_set.prepare()
        self._phases: dict[tuple[int, int], np.ndarray] = {}
        self.reset()

    def _extra(self, given: int | None) -> int:
        if given is None:
            return terminal_steps(self.task, self.loop, self.rows, self.margins, self.horizon)
        return expect_whole(given, "terminal_steps", least=0, unit="samples")

    def _to_the_horizon(
        self, program: TightenedProgram, horizon: int, make: Callable[[QuadraticProgram], QPSolver]
    ) -> WithoutTerminalSet | None:
        """The problem without the rows that are imposed behind the horizon only, None where there are none."""
        last = program.stage == horizon
        is_state_row = np.append(self.rows.is_state_row, True)[program.row]  # row -1 is soft, and charged there
        others = (program.stage < horizon) | (last & is_state_row)
        return None if others.all() else WithoutTerminalSet(make, program.problem, others)

    def reset(self) -> None:
        """Starts a new run: discards the nominal state, the plan and the solver's working set."""
        super().reset()
        for _, solver, without_set in self._programs.values():
            solver.reset()
            if without_set is not None:
                without_set.reset()
        self._zeta: np.ndarray | None = None  # nominal state minus reference at sample _k
        self._nu = np.zeros((self.horizon, len(self._lower)))  # the rest of the last good plan, zero behind its end
        self._left = 0  # of its samples
        self._unsolved = 0  # in a row, samples with a measurement
        self._k = self._start = 0  # _start: the sample of the last re-conditioning

    @property
    def nominal(self) -> np.ndarray | None:
        """The nominal state z (n,) of the last sample, None before the first good one."""
        return None if self._zeta is None else self.loop.model.x_ref + self._zeta

    @property
    def plan(self) -> Plan | None:
        """The nominal prediction of the last sample, None before the first good one."""
        return None if self._zeta is None else self._nominal_plan()

    def _nominal_plan(self) -> Plan:
        assert self._zeta is not None
        model, zeta = self.loop.model, [self._zeta]
        for nu in self._nu:
            zeta.append(self.loop.A @ zeta[-1] + self.loop.B @ nu + self.loop.drift)
        z = np.array(zeta)
        return Plan(model.x_ref + z, model.u_ref - z[:-1] @ self.K.T + self._nu, self._k)

    @quiet
    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        self._advance(k)
        steps = self.task.steps
        going = min(self.horizon, steps - k) if self._ends and 0 <= k < steps else self.horizon
        self.program, self.solver, self._without_set = self._programs[going, self._ends and k + going == steps]
        xi = x - self.loop.model.x_ref
        status, iterations, residual, is_solved = Status.NUMERICAL, 0, np.inf, False
        for zeta, start, solver in self._attempts(xi, k):
            if solver is self._without_set and status is not Status.INFEASIBLE:
                break
            solution = self._solution(xi, zeta, k - start, solver)
            status, residual = solution.status, solution.residual
            iterations += solution.iterations
            is_solved = status is Status.SOLVED or (solution.is_usable and residual <= self.TOLERANCE)
            if is_solved:
                self._zeta, self._start, self._k = zeta, start, k
                plan = solution.point.reshape(going, -1)
                self._nu = np.vstack([plan, np.zeros((self.horizon - going, plan.shape[1]))])
                self._left = going
                break
            if status is Status.TERMINAL_SET_UNREACHABLE:
                status = Status.INFEASIBLE
        self._unsolved = 0 if is_solved and status is not Status.TERMINAL_SET_UNREACHABLE else self._unsolved + 1
        if not is_solved:
            return SolveResult(status, None, iterations, residual)
        return SolveResult(status, self._nominal_plan, iterations, residual, self._clip(self._input(x)))

    def _fallback_input(self, x: np.ndarray, k: int) -> tuple[np.ndarray, Source]:
        """Continues the last plan under the feedback K, and K alone behind its end."""
        self._advance(k)
        return self._input(x), Source.SHIFTED_PLAN if self._left > 0 else Source.BACKUP

    def feasible_set(self, within: Box | None = None) -> FeasibleSet:
        """The states at which a run can begin; they need not satisfy constraints on the state alone.

        Args:
            within: bounds on the states.
        """
        program, n = self.program, len(self.loop.A)
        d = program.problem.H.shape[0]
        margin = program_margins(program, self.margins, 0)
        hard = ~program.problem.soft
        rows = sp.hstack([sp.csc_matrix(program.on_nominal), program.problem.A], format="csr")
        at_reference = program.on_nominal @ self.loop.model.x_ref
        upper, lower = program.problem.upper - margin + at_reference, program.problem.lower + margin + at_reference
        state = self.task.plant.state
        if within is not None:
            expect(within, Box, "within", 'such as Box("within", {state: (lower, upper)})')
            least, most = within.interval(state)
            rows = sp.vstack([rows, sp.eye(n, n + d)], format="csr")
            lower, upper = np.append(lower, least), np.append(upper, most)
            hard = np.append(hard, np.ones(n, dtype=bool))
        up, down = hard & np.isfinite(upper), hard & np.isfinite(lower)
        return FeasibleSet(
            state,
            sp.csc_matrix((0, n + d)),
            np.zeros(0),
            sp.vstack([rows[up], -rows[down]], format="csc"),
            np.concatenate([upper[up], -lower[down]]),
            sp.csc_matrix((0, n + d)),
            np.zeros(0),
        )

    def _attempts(self, xi: np.ndarray, k: int) -> list[tuple[np.ndarray, int, QPSolver | WithoutTerminalSet]]:
        """Nominal states to try, each with the sample of its re-conditioning: all with the terminal rows, then without
        them."""
        if self._zeta is None or k - self._start >= self.recondition_every:
            tries = [(xi, k)]
        else:
            tries = [(self._zeta, self._start)]
            if self.recovery:
                tries.insert(0, (xi, self._start))
            if self._unsolved >= COLD_AFTER:
                tries.append((xi, k))
        solvers: list[QPSolver | WithoutTerminalSet] = [self.solver]
        if self._without_set is not None:
            solvers.append(self._without_set)
        return [(zeta, start, solver) for solver in solvers for zeta, start in tries]

    def _solution(
        self, xi: np.ndarray, zeta: np.ndarray, phase: int, solver: QPSolver | WithoutTerminalSet
    ) -> Solution:
        program, margin = self.program, self._margin(phase)
        shift = program.on_nominal @ zeta + program.on_measured @ xi
        lower, upper = program.problem.lower + margin - shift, program.problem.upper - margin - shift
        return solver.solve(program.f_state @ xi + program.f_constant, lower, upper)

    def _margin(self, phase: int) -> np.ndarray:
        """The margins of a phase; they settle, so only so many are ever computed."""
        # A re-conditioning may be overdue, after faults; whole periods beyond the settling change nothing.
        period = 1 if math.isinf(self.recondition_every) else int(self.recondition_every)
        phase -= max(phase - self.margins.settled, 0) // period * period
        key = id(self.program), phase
        if key not in self._phases:
            self._phases[key] = program_margins(self.program, self.margins, phase)
        return self._phases[key]

    def _advance(self, k: int) -> None:
        """Moves the nominal state and the plan on to sample ``k``; time that runs backwards begins a new run."""
        if self._zeta is None:
            self._k = k
            return
        elapsed = k - self._k
        if not 0 <= elapsed <= self.LONGEST_GAP:
            self.reset()
            self._k = k
            return
        for _ in range(elapsed):
            self._zeta = self.loop.A @ self._zeta + self.loop.B @ self._nu[0] + self.loop.drift
            self._nu = np.vstack([self._nu[1:], np.zeros((1, self._nu.shape[1]))])
            self._left = max(self._left - 1, 0)
        self._k = k

    def _input(self, x: np.ndarray) -> np.ndarray:
        """v - K (x - z) = u_r - K (x - x_r) + nu: the nominal state cancels. Without a measurement, v."""
        u_ref = self.loop.model.u_ref
        u = u_ref - self.K @ (x - self.loop.model.x_ref) + self._nu[0]
        if not np.isfinite(u).all():
            u = u_ref + self._nu[0] - (0.0 if self._zeta is None else self.K @ self._zeta)
        return u


ANSWERS = Answers(
    {
        Part.NONLINEAR_PLANT: EXACT,  # refused by additive_noise
        Part.KINKED_PLANT: EXACT,
        Part.SINGULAR_PLANT: EXACT,
        Part.MOVING_REFERENCE: EXACT,  # refused by disturbed_loop
        Part.VARYING_LINEARISATION: EXACT,
        Part.COST_ELSEWHERE: EXACT,  # regulates to the optimal steady state, with the gradient of the cost there
        Part.REFERENCE_OUTSIDE: EXACT,
        Part.NON_QUADRATIC_COST: Announced("expands the cost to second order"),
        Part.KINKED_COST: Refused(
            "its cost has kinks ({names}), which stochastic MPC does not take; use the linear or the nonlinear MPC"
        ),
        Part.TERMINAL_COST: quadratic_end,
        Part.HARD: EXACT,
        Part.CHANGE_LIMIT: EXACT,
        Part.SOFT: EXACT,
        Part.CHANCE: EXACT,
        Part.BUDGET: Announced("turns the budget of {names} into a probability for every sample"),
        Part.EXCESS_BUDGET: Refused(
            "the budget of {names} limits the accumulated excess, which a probability does not bound; use the "
            "nonlinear MPC"
        ),
        Part.NONLINEAR_CONSTRAINT: EXACT,  # refused by affine_task
        Part.KINKED_CONSTRAINT: EXACT,
        Part.DISTURBANCE: EXACT,
        Part.BIASED_DISTURBANCE: EXACT,
        Part.INTEGER: INTEGER,
        Part.PERIODIC: EXACT,
        Part.DOMAIN: DOMAIN,
        Part.MEASUREMENT: Announced(f"{ESTIMATED.text}, without tightening for its error"),
        Part.FORECAST: NO_FORECAST,
    }
)


def robust_stochastic_mpc(task: Task) -> StochasticMPC:
    """:class:`StochasticMPC` that starts every prediction at the measured state.

    Args:
        task: as for :class:`StochasticMPC`.
    """
    return StochasticMPC(task, recondition_every=1)


def indirect_feedback_mpc(task: Task) -> StochasticMPC:
    """:class:`StochasticMPC` whose nominal state is never reset.

    Args:
        task: as for :class:`StochasticMPC`.
    """
    return StochasticMPC(task, recondition_every=math.inf)


def robust_mpc(task: Task) -> StochasticMPC:
    """Robust :class:`StochasticMPC`: chance constraints hold for every disturbance (Chisci, Rossiter & Zappa, 2001).

    Args:
        task: as for :class:`StochasticMPC`.
    """
    return StochasticMPC(task, tightening="worst-case")


def nominal_mpc(task: Task) -> StochasticMPC:
    """:class:`StochasticMPC` that ignores the disturbance.

    Args:
        task: as for :class:`StochasticMPC`.
    """
    return StochasticMPC(task, tightening="none")
