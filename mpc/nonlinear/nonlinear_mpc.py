"""Nonlinear model predictive control: solved to convergence at every sample, or by real-time iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Literal, get_args

import numpy as np

from ctrl.answers import ESTIMATED, EXACT, Announced, Answer, Answers
from ctrl.controller import NotApplicable, Status, sample_index
from ctrl.export.code import ControllerCode
from ctrl.knowledge import Knowledge
from ctrl.loop import SingleStep
from ctrl.terminal import Kind
from mpc.approximations import DOMAIN, HELD_AS_HARD, KINKED_CONSTRAINT, SMOOTHED_ROOTS, UNDISTURBED
from mpc.blocking import MoveBlocking
from mpc.fallback import Plan
from mpc.memory import expect_program
from mpc.nonlinear.budgets import Budgets
from mpc.nonlinear.integer_search import IntegerSearch
from mpc.nonlinear.sequential import Sequential, StagedSolver, relative_distance
from mpc.nonlinear.staged_task import StagedTask, ahead, staged
from mpc.nonlinear.transcription import transcribed
from mpc.online import COLD_AFTER, OnlineController, SolveResult, predictive_knowledge, quiet
from mpc.plant_parameters import changing_parameters, parameter_values
from mpc.solvers.hpipm import HPIPMMissing, Mode, Origin
from mpc.solvers.ipopt import Ipopt
from mpc.solvers.sqp import SQP
from mpc.solvers.staged import Hessian
from systems import InvalidValue, Task
from systems.arguments import expect_choice, expect_whole
from systems.errors import expect
from systems.reading import Part

__all__ = ["NonlinearMPC"]

TOLERANCE = 1e-6  # of the optimality conditions of SQP, and of a full step that converges without them
QUICK = 1e-7  # accuracy of the quadratic programs of real-time iterations
CLOSE = 1e-3  # length of a full step, relative to 1 + the point's numbers, from which on SQP converges
SEARCHED = 100  # programs solved in one step in the search for whole numbers
MOST_PROGRAMS = 20  # quadratic programs in one step, after which ipopt takes over
LONGEST_REST = 32  # most samples for which SQP is suspended after repeated failures

Solver = Literal["sqp", "acados", "do-mpc", "ipopt"]
Guess = tuple[np.ndarray, np.ndarray]  # states (horizon + 1, n) and inputs (horizon, m)


class NonlinearMPC(OnlineController):
    """Minimises the task's cost over a receding horizon, on its nonlinear plant and under its constraints.

    Every solve is warm-started from the last solution, shifted to the present sample, and uses sequential quadratic
    programming with HPIPM (:mod:`mpc.solvers.sqp`). If there is no previous solution, or if the measurement is far from
    it, the iterations start from the prediction under the regulator, and their result is accepted if full steps
    contract. Otherwise, and if the iterations do not converge, ipopt solves the same problem from a new initial guess.

    With ``iterations=1`` this is the real-time iteration (Diehl, Bock & Schlöder, 2005): one quadratic program per
    sample, formed at the shifted solution; with a larger number, as many full steps.

    A task with a terminal cost or a budget of accumulated excess has a finite run: the horizon shrinks to the remaining
    samples, and the budget to the part that has not been spent.

    Args:
        task: defines plant, cost, constraints, bounds, reference; see :func:`mpc.nonlinear.staged_task.staged`.
        horizon: number of predicted samples.
        solver: ``sqp``, or ``ipopt`` to use ipopt alone, also used if CasADi comes without HPIPM; ``acados`` or
            ``do-mpc`` for the same problem in that program, where it is installed (``docs/backends.md``).
        max_iterations: limit of each solver in one step; default: 20 quadratic programs, 200 iterations of ipopt.
        terminal: ``cost-to-go`` for the terminal cost of :func:`ctrl.terminal.terminal`, ``task`` for only what the
            task itself charges at the end.
        time_limit: seconds that one step may take; see :class:`mpc.online.OnlineController`.
        iterations: number of quadratic programs per step, as in the real-time iteration; default: until convergence.
        blocking: over which samples inputs are held, solved by ipopt alone; default: none.
        hpipm: whose HPIPM the solver ``sqp`` calls: the one inside CasADi, or that of an installed ``acados``, which is
            built for the processor and faster.
        parameters: names of the plant's parameters that may change from sample to sample by :meth:`set_parameters`,
            without building the program again; default: none.

    Raises:
        NotApplicable: a task without input.
        InvalidValue: a horizon below 1, or one for which the program would not fit into memory; an unknown terminal;
            iterations with ipopt or do-mpc; parameters with do-mpc, or of which limits of inputs are computed.
        UnknownName: a parameter that the plant does not have.
        HPIPMMissing: iterations, where CasADi brings no HPIPM; that of acados is of another version or processor.
        AcadosMissing, DoMPCMissing: the solver is not installed; the message says how to get it.
    """

    FAR = 0.5  # largest distance to the plan, relative to 1 + |x|, at which the plan is still used as a guess

    def __init__(
        self,
        task: Task,
        horizon: int = 25,
        solver: Solver = "sqp",
        max_iterations: int | None = None,
        terminal: Kind = "cost-to-go",
        time_limit: float | None = None,
        iterations: int | None = None,
        blocking: MoveBlocking | None = None,
        hpipm: Origin = "casadi",
        parameters: Sequence[str] = (),
    ) -> None:
        if isinstance(solver, str) and solver == "fatrop":
            raise InvalidValue(
                "solver = 'fatrop' cannot be interrupted, and from some states never returns; use 'sqp' or 'ipopt'"
            )
        expect_choice(solver, "solver", get_args(Solver))
        expect_choice(terminal, "terminal", get_args(Kind))
        if iterations is not None:
            expect_whole(iterations, "iterations", least=1)
            if solver not in ("sqp", "acados"):
                raise InvalidValue(
                    f"iterations = {iterations} with solver = '{solver}'; expected solver='sqp' or 'acados'"
                )
        expect_choice(hpipm, "hpipm", get_args(Origin))
        if hpipm != "casadi" and solver != "sqp":
            raise InvalidValue(f"hpipm = '{hpipm}' with solver = '{solver}'; only solver='sqp' calls HPIPM by itself")
        if blocking is not None:
            expect(blocking, MoveBlocking, "blocking", "such as MoveBlocking((1, 1, 2, 4))")
            if iterations is not None or solver not in ("sqp", "ipopt"):
                raise InvalidValue(
                    f"blocking with solver = '{solver}', iterations = {iterations}; blocks couple the stages, which "
                    "ipopt alone takes: leave iterations out, and take solver='ipopt'"
                )
            solver = "ipopt"
        if isinstance(task, Task) and task.reading.has_integers:
            if iterations is not None or solver not in ("sqp", "ipopt"):
                raise InvalidValue(
                    f"task '{task.name}' has integer inputs, which are searched with ipopt; leave iterations out, and "
                    "take solver='ipopt'"
                )
            if not np.isfinite(task.input_bounds)[:, [s.integer for s in task.plant.input]].all():
                raise NotApplicable(
                    f"task '{task.name}' has an integer input without two limits; give it limits() in "
                    f"{task.plant.name}, so that its values can be searched"
                )
            solver = "ipopt"
        super().__init__(task, horizon, max_iterations, time_limit)
        self.parameters = changing_parameters(task, parameters)
        if self.parameters and solver == "do-mpc":
            raise InvalidValue("parameters with solver = 'do-mpc', which does not take them; use solver='sqp'")
        self._arguments = (
            task, horizon, solver, max_iterations, terminal, time_limit, iterations, blocking, hpipm, self.parameters,
        )  # fmt: skip
        self._hpipm: Origin = hpipm
        expect_program(task, horizon)
        self.staged = staged(task, horizon, terminal, self.parameters)
        self.problem = transcribed(self.staged, blocking)
        self.approximations = ANSWERS.read(task)
        if self.staged.smoothed:
            self.approximations += (SMOOTHED_ROOTS,)
        if blocking is not None:
            self.approximations += (str(blocking),)
        self.iterations, self._most = iterations, max_iterations or MOST_PROGRAMS
        self._ipopt_most = max_iterations or 200
        # In the worst case both solvers attempt a step, so each has half of the time.
        self._share = self.time_limit if solver == "ipopt" else 0.5 * self.time_limit
        self._sequential = None if solver == "ipopt" else self._made_sequential(solver)
        self.solver: Ipopt | IntegerSearch = Ipopt(self.problem.program, self._ipopt_most, self._share)
        if self._integers is not None:
            whole = self.problem.input_at[:, self._integers].ravel()
            self.solver = IntegerSearch(
                self.problem.program,
                whole,
                lambda program: Ipopt(program, self._ipopt_most, self._share),
                SEARCHED,
                self._share,
                task.reading.cost_size,
            )
        self.began_anew = False  # whether the last sample could not be solved from the last plan
        self._prepared: int | None = None  # the sample that was prepared
        self._rest, self._rests_until = 0, 0  # length of the current suspension of SQP, and the sample at which it ends
        self._budgets = Budgets(task)
        self._limits = (self._lower, self._upper, task.reading.state.periods)
        self._after = SingleStep(task.dynamics)
        self._kinks = task.reading.stage.start.map(horizon)
        self._guess = np.zeros(len(self.problem.program.lower))
        self._p = np.zeros((horizon + 1, self.staged.program.parameters))
        self._nominal = np.array([float(task.plant.parameters[name]) for name in self.parameters])
        self.staged.tune(self._p, self._nominal)

    def __repr__(self) -> str:
        horizon = f"horizon={self.horizon}"
        by = f"{horizon}, hpipm='acados'" if self._hpipm == "acados" else horizon
        return super().__repr__().replace(horizon, by, 1)

    @property
    def knowledge(self) -> Knowledge:
        """What it minimises, was made from, and knows in advance."""
        task: Task = self._arguments[0]
        return predictive_knowledge(self.horizon, self.terminal, task.reference.is_constant)

    @property
    def terminal(self) -> str:
        """The terminal cost that was chosen, in words."""
        return self.staged.chosen

    def compile(self) -> None:
        """Compiles the model's functions to C, which gives the same numbers in less time.

        Otherwise this is done in the background after some hundred samples. Compiled functions are kept for later
        sessions.

        Raises:
            CompilerMissing: there is no C compiler, or it fails.
            NotLowerable: the task uses a function for which CasADi generates no C.
        """
        if self._sequential is not None and isinstance(self._sequential.sqp, SQP):
            self._sequential.sqp.linearisation.compile()

    @quiet
    def prepare(self, k: int) -> None:
        """Does the part of sample ``k`` that needs no measurement, so that its :meth:`step` takes less time.

        For real-time iterations, between two samples: shifts the plan and linearises about its prediction (Diehl, Bock
        & Schlöder, 2005). Optional, with the same result to first order in the prediction's error; otherwise, and for
        tasks with a budget of excess, without effect.

        Raises:
            InvalidValue: ``k`` is not a sample number.
        """
        k, plan, sequential = sample_index(k), self.plan, self._sequential
        self._prepared = None
        if self.iterations != 1 or sequential is None or plan is None or self._failures or len(self.staged.rates):
            return
        done = min(max(k - plan.k, 0), self.horizon)
        _, _, going = self._pose(plan.x[done], k)
        sequential.pose(self._p, going)
        if k >= self._rests_until and self._advance(sequential, plan, plan.x[done], k):
            sequential.prepare()
            self._prepared = k

    @property
    def unchanged(self) -> str:
        """What :meth:`set_parameters` leaves as it is, in words."""
        return "terminal cost and backup law"

    def set_parameters(self, values: np.ndarray) -> None:
        """Predicts with other values of the plant's parameters from the next sample on, until :meth:`reset`; `follow`
        and other changes of the task keep them.

        Terminal cost and backup control law remain those of the values in the task.

        Args:
            values: (parameters,), in the order of the names given to the constructor.

        Raises:
            DimensionMismatch: another number of values.
            InvalidValue: values that are not finite numbers.
        """
        self.staged.tune(self._p, parameter_values(values, self.parameters, self))
        self._prepared = None  # with the values before

    def _take(self, task: Task) -> None:
        """What was spent of budgets, and the present parameters, are facts of the run and stay."""
        budgets, values = self._budgets, self._p[0, self._p.shape[1] - len(self.parameters) :].copy()
        super()._take(task)
        self._budgets.take_over(budgets)
        self.staged.tune(self._p, values)

    def reset(self) -> None:
        """Starts a new run: discards the last plan, the record of spent budgets and changed parameters."""
        super().reset()
        self.staged.tune(self._p, self._nominal)
        self._budgets.reset()
        if self._sequential is not None:
            self._sequential.reset()
        self._rest, self._rests_until, self._prepared = 0, 0, None

    def c_code(self, samples: int) -> ControllerCode:
        """The real-time iteration in C; see :mod:`mpc.export.real_time_iteration`."""
        from mpc.export.real_time_iteration import real_time_iteration

        return real_time_iteration(self, samples)

    def _applied(self, x: np.ndarray, u: np.ndarray, k: int) -> None:
        if len(self.staged.rates) and np.isfinite(x).all():
            quiet(self._budgets.spend)(x, u, k)

    @quiet
    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        problem, sequential, began, self.began_anew = self.problem, self._sequential, perf_counter(), False
        x_ref, u_ref, going = self._pose(x, k)
        plan = self.plan if self._failures < COLD_AFTER else None
        if sequential is not None:
            sequential.pose(self._p, going)
            result = None if plan is None else self._by_sequential(sequential, plan, x, k, began)
            if result is not None:
                return result
            sequential.reset()
        self.began_anew = True
        guess = None if plan is None else self._shifted(plan, x, k)
        if sequential is not None and guess is None:
            result = self._from_backup(sequential, x, x_ref, u_ref, k, began + self._share)
            if result is not None:
                return result
            sequential.reset()
        self._fill(self._cold(x, x_ref, u_ref) if guess is None else guess, x_ref, u_ref)
        solution = self.solver.solve(self._guess, problem.parameter(x, self._p), problem.bounds(going))
        if not solution.is_usable:
            return SolveResult(solution.status, None, solution.iterations, solution.residual)
        new = Plan(solution.point[problem.state_at], solution.point[problem.input_at], k)
        if sequential is not None and k + 1 >= self._rests_until:
            # Computes the multipliers at the solution, to warm-start the next samples.
            sequential.start(new.x, new.u, self._values_of_kinks(new.x, new.u, x_ref, u_ref), k)
            sequential.solve(x, self._most, began + self._share)
        return SolveResult(solution.status, new, solution.iterations, solution.residual)

    def _pose(self, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Sets the parameters of sample ``k``; returns the reference over the horizon, and the stages before the end of
        the run."""
        staged = self.staged
        x_ref, u_ref, going = ahead(self.task, self.horizon, k, staged.ends, x)
        left = self._budgets.left(x, k) if len(staged.rates) else np.zeros(0)
        staged.fill(self._p, x_ref, u_ref, going, left)
        return x_ref, u_ref, going

    def _made_sequential(self, solver: Solver) -> Sequential | None:
        try:
            return Sequential(self.staged, self._staged_solver(solver, self.staged))
        except HPIPMMissing:
            if self.iterations is not None or self._hpipm != "casadi":
                raise
            return None

    def _staged_solver(self, solver: Solver, staged: StagedTask) -> StagedSolver:
        # A budget couples all stages through a nonlinear constraint whose curvature matters.
        hessian: Hessian = "lagrangian" if len(staged.rates) else "cost"
        if solver == "acados":
            from mpc.solvers.acados import AcadosSolver

            return AcadosSolver(staged.program, self.iterations or self._most, hessian)
        if solver == "do-mpc":
            from mpc.solvers.dompc import DoMPCSolver

            return DoMPCSolver(staged.program, self.task, self._ipopt_most, self._share)
        # A fixed number of iterations is about speed, and inexact quadratic programs cost it little. The fastest mode
        # leaves the multipliers of the dynamics out, which only the Lagrangian and the line search need.
        is_fixed = self.iterations is not None and hessian == "cost"
        mode: Mode = "speed_abs" if is_fixed else "speed"
        quick = QUICK if is_fixed else None
        return SQP(staged.program, mode, TOLERANCE, hessian, origin=self._hpipm, quick=quick)

    def _by_sequential(
        self, sequential: Sequential, plan: Plan, x: np.ndarray, k: int, began: float
    ) -> SolveResult | None:
        """SQP from the last solution or iterate; None where there is none, or it fails."""
        is_prepared, self._prepared = self._prepared == k and sequential.distance(x) <= self.FAR, None
        if not is_prepared and (k < self._rests_until or not self._advance(sequential, plan, x, k)):
            return None
        if is_prepared:
            ended = sequential.feedback(x)
        elif self.iterations == 1 or (self.iterations is not None and isinstance(sequential.sqp, SQP)):
            ended = sequential.real_time(x, self.iterations, began + self._share)
        else:
            ended = sequential.solve(x, self.iterations or self._most, began + self._share)
        # With a fixed number of iterations, the last iterate is used, converged or not, and reported as such.
        is_iterate = self.iterations is not None and ended.status in (Status.SOLVED, Status.MAX_ITERATIONS)
        if ended.status is not Status.SOLVED and not is_iterate:
            self._rest = min(2 * self._rest + 1, LONGEST_REST)
            self._rests_until = k + self._rest
            return None
        self._rest = 0
        status = Status.MAX_ITERATIONS if np.isinf(ended.residual) else ended.status
        return SolveResult(status, sequential.plan(k), ended.iterations, ended.residual)

    def _from_backup(
        self, sequential: Sequential, x: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray, k: int, until: float
    ) -> SolveResult | None:
        """The plan that SQP reaches from the prediction under the backup law by full steps that contract; None where
        they do not: another optimum may cost less than the one closest to such a prediction."""
        sqp = sequential.sqp
        if not isinstance(sqp, SQP) or k < self._rests_until or len(self.staged.rates):
            return None
        xs, us = np.empty((self.horizon + 1, len(x))), np.empty((self.horizon, len(self._lower)))
        xs[0] = x
        self._follow_backup(xs, us, 0, k)
        xs[:, self.staged.known] = x_ref[:, self.staged.known]
        if not np.isfinite(xs).all():
            return None
        sequential.start(xs, us, self._values_of_kinks(xs, us, x_ref, u_ref), k)
        first = ended = sqp.contract(x, CLOSE if self.iterations is None else TOLERANCE, self._most, until)
        if not first.residual <= CLOSE:
            return None
        if self.iterations is None:
            ended = sequential.solve(x, self._most, until)
            if ended.status is not Status.SOLVED:
                return None
            ended = replace(ended, iterations=first.iterations + ended.iterations)
        return SolveResult(ended.status, sequential.plan(k), ended.iterations, ended.residual)

    def _follow_backup(self, xs: np.ndarray, us: np.ndarray, start: int, k: int) -> None:
        """Fills in the inputs, and the states that follow, from stage ``start`` on by the backup law."""
        for i in range(start, self.horizon):
            us[i] = self._fallback.backup(xs[i], k + i)
            xs[i + 1] = self._after(xs[i], us[i])

    def _cold(self, x: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray) -> Guess:
        """A straight line from the measured state to the reference, with the reference input; if the plant is undefined
        on that line, the prediction under that input, as far as it is defined."""
        us = np.clip(u_ref[:-1], self._lower, self._upper)
        share = np.linspace(0.0, 1.0, self.horizon + 1)[:, None]
        line = (1.0 - share) * x + share * x_ref
        if all(np.isfinite(self._after(xi, ui)).all() for xi, ui in zip(line[:-1], us, strict=True)):
            return line, us
        xs = np.repeat(x[None], self.horizon + 1, axis=0)
        for i in range(self.horizon):
            after = self._after(xs[i], us[i])
            xs[i + 1] = after if np.isfinite(after).all() else xs[i]
        return xs, us

    def _advance(self, sequential: Sequential, plan: Plan, x: np.ndarray, k: int) -> bool:
        """Shifts the plan, which becomes the point of SQP, to sample ``k``; returns whether it can start from there."""
        feedback = None if self.staged.known.size else self._fallback.feedback(k + self.horizon - 1)
        if feedback is not None:
            advanced = sequential.advance(x, k, feedback, self._limits, self.FAR)
            if advanced is not None:
                return advanced
        guess = self._shifted(plan, x, k)
        return guess is not None and sequential.shift(*guess, k)

    def _shifted(self, plan: Plan, x: np.ndarray, k: int) -> Guess | None:
        """The plan from sample ``k`` on, extended by the backup law; None if the measured state is far from it."""
        done, state = min(max(k - plan.k, 0), self.horizon), self.task.reading.state
        left = self.horizon - done
        xs, us = np.empty_like(plan.x), np.empty_like(plan.u)
        xs[: left + 1], us[:left] = plan.x[done:], plan.u[done:]
        if not state.is_euclidean:
            xs[: left + 1] += state.nearest(xs[0], x) - xs[0]
        self._follow_backup(xs, us, left, k)
        if self.staged.known.size:
            x_ref, _ = self.task.reading.window(k, self.horizon + 1, x)
            xs[:, self.staged.known] = x_ref[:, self.staged.known]
        # An old plan may also have diverged, if the plant is unstable.
        if not (np.isfinite(xs).all() and relative_distance(x, xs[0]) <= self.FAR):
            return None
        xs[0] = x
        return xs, us

    def _fill(self, attempt: Guess, x_ref: np.ndarray, u_ref: np.ndarray) -> None:
        """Fills in all variables from states and inputs: kink variables take their values, violations are zero."""
        problem, guess = self.problem, self._guess
        guess[:] = 0.0
        guess[problem.state_at], guess[problem.input_at] = attempt
        if problem.kink_at.size:
            guess[problem.kink_at] = self._values_of_kinks(*attempt, x_ref, u_ref)

    def _values_of_kinks(self, xs: np.ndarray, us: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray) -> np.ndarray:
        values = np.array(self._kinks(xs[:-1].T, us.T, x_ref[:-1].T, u_ref[:-1].T)).T
        return np.where(np.isfinite(values), values, 0.0)


def _kinked(task: Task) -> Answer:
    """Kinks that cannot be reformulated remain in the cost."""
    reading = task.reading
    left = (*reading.stage.left, *(reading.terminal.left if reading.terminal else ()))
    rough = ", ".join(sorted({name for name in left if name != "sqrt"}))
    return Announced(f"solves with {rough} in the cost, at whose kinks the solver may stop early") if rough else EXACT


ANSWERS = Answers(
    {
        Part.NONLINEAR_PLANT: EXACT,
        Part.KINKED_PLANT: Announced("solves with {names} in the plant, at whose kinks the solver may stop early"),
        Part.SINGULAR_PLANT: EXACT,
        Part.MOVING_REFERENCE: EXACT,
        Part.VARYING_LINEARISATION: EXACT,
        Part.COST_ELSEWHERE: EXACT,  # the terminal cost is centred at the optimal steady state
        Part.REFERENCE_OUTSIDE: EXACT,
        Part.NON_QUADRATIC_COST: EXACT,
        Part.KINKED_COST: _kinked,
        Part.TERMINAL_COST: EXACT,
        Part.HARD: EXACT,
        Part.CHANGE_LIMIT: EXACT,
        Part.SOFT: EXACT,
        Part.CHANCE: HELD_AS_HARD,
        Part.BUDGET: HELD_AS_HARD,
        Part.EXCESS_BUDGET: Announced("meets the budget of {names} in every run, not on average"),
        Part.NONLINEAR_CONSTRAINT: EXACT,
        Part.KINKED_CONSTRAINT: KINKED_CONSTRAINT,
        Part.DISTURBANCE: EXACT,
        Part.BIASED_DISTURBANCE: UNDISTURBED,
        Part.INTEGER: Announced(
            "rounds the integer {names} of a relaxation and improves them by local search; solver.gap is its cost "
            "above the relaxation"
        ),
        Part.PERIODIC: EXACT,
        Part.DOMAIN: DOMAIN,
        Part.MEASUREMENT: ESTIMATED,
        Part.FORECAST: EXACT,
    }
)
