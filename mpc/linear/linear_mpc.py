"""Linear model predictive control: one quadratic program per sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from ctrl.answers import ESTIMATED, EXACT, Announced, Answers, Refused, in_words, quadratic_end
from ctrl.controller import NotApplicable, Status
from ctrl.export.code import CodePart, ControllerCode, NotExportable
from ctrl.knowledge import Knowledge
from ctrl.linearisation import Expansions
from ctrl.regulator import LQR
from mpc.affine_task import affine_penalties, affine_task
from mpc.approximations import DOMAIN, HELD_AS_HARD, LINEARISED, SLOPES_OF_KINKS, UNDISTURBED
from mpc.blocking import MoveBlocking
from mpc.export.fallback import fallback_part, representative_part
from mpc.export.linear import linear_part, linear_step_part
from mpc.fallback import Fallback, Plan
from mpc.linear.condensing import LinearOptimalControl, ParametricQP, condensed, linear_optimal_control, sparse
from mpc.linear.forecast_stages import ForecastStages
from mpc.linear.stages import ConstantStages, MovingStages, Stages, StageSource
from mpc.online import OnlineController, SolveResult, predictive_knowledge, quiet
from mpc.plant_parameters import changing_parameters, parameter_values
from mpc.polyhedra import NoInvariantSet, Polyhedron
from mpc.solvers.branch_and_bound import BranchAndBound
from mpc.solvers.daqp import DAQP
from mpc.solvers.hpipm import HPIPMMissing
from mpc.solvers.piqp import PIQP
from mpc.solvers.qp import QPSolver, QuadraticProgram, WithoutTerminalSet
from mpc.solvers.staged_qp import StagedQP, has_stages
from systems import Task, TriviumError
from systems.arguments import expect_choice
from systems.errors import expect
from systems.reading import Part

__all__ = ["LinearMPC", "QPBackEnd", "TerminalCondition"]

QPBackEnd = Literal["daqp", "hpipm", "piqp"]
TerminalCondition = Literal["set", "cost"]


@dataclass(frozen=True, eq=False)
class _Program:
    """A quadratic program ready to be solved.

    Args:
        control: the optimal control problem.
        form: the same as a quadratic program.
        solver: its back-end.
        from_state: what the measured state adds to the bounds of the rows, and then to the first input.
        from_point: what the variables add to the first input.
    """

    control: LinearOptimalControl
    form: ParametricQP
    solver: QPSolver | BranchAndBound
    from_state: np.ndarray
    from_point: np.ndarray


class LinearMPC(OnlineController):
    """Minimises the second-order expansion of the task's cost, subject to its linearised dynamics and its constraints.

    Plant and cost are expanded at the reference if it is an optimal steady state that satisfies the constraints, and at
    the constrained optimal steady state otherwise. Along a moving reference they are expanded sample by sample; where
    the derivatives differ, so do the matrices of the program.

    The terminal cost is the cost-to-go of the unconstrained regulator, and the terminal state must lie in the set where
    that regulator never violates a hard constraint (Mayne, Rawlings, Rao & Scokaert, 2000), so the undisturbed linear
    loop stays feasible and stable. A terminal cost of the task replaces it unchanged, and the horizon shrinks at the
    end of the run. Soft constraints are charged weight times violation; they do not shrink the terminal set. If
    disturbances may carry the state out of its constraints, make them soft: from a state in which hard ones cannot be
    satisfied, the problem has no solution, and the last plan is followed instead, see :class:`mpc.fallback.Fallback`.
    If they can be satisfied but the terminal set cannot be reached within the horizon, the problem is solved without
    the set and has the status ``terminal_set_unreachable``.

    Inputs declared as :func:`systems.integer` are optimised by branch and bound, without a terminal set; if its time
    limit stops the search, it returns the best plan so far, and ``solver.gap`` bounds its distance from the optimum.

    Args:
        task: defines plant, cost, constraints, bounds, reference.
        horizon: number of predicted samples. The terminal cost accounts for the infinite rest, so it only has to be
            long enough for the inputs to bring the initial state into the terminal set.
        terminal: ``set`` (and cost), ``cost`` alone, or None for the set if there is one.
        solver: ``daqp`` (condensed; its step grows with the square of the horizon and with the number of active
            constraints), ``hpipm`` or ``piqp`` (sparse; linearly with the horizon); default: by size, see
            ``CONDENSED``, then HPIPM if CasADi contains it and every row belongs to one stage.
        max_iterations: of the solver in one step; default: the solver's own.
        time_limit: seconds of one step; see :class:`mpc.online.OnlineController`. DAQP checks the clock in every
            iteration; the others cannot be interrupted, their work is bounded by their iterations alone.
        blocking: over which samples inputs are held; default: none.
        parameters: names of the plant's parameters that may change from sample to sample by :meth:`set_parameters`,
            without constructing the controller anew; default: none.

    Attributes:
        problem, form, solver: the optimal control problem of the last sample, its quadratic program, the back-end.
        terminal_set: of the last state, None if there is none.
        parameters: names of the parameters that may change.
        refused: why the values last given to :meth:`set_parameters` are not used, in words; empty where they are.

    Raises:
        NotApplicable: the task has no regulator, a constraint that is not affine, or no terminal set when one is
            requested; parameters with a terminal cost of the task or with signals that are known ahead.
        InvalidValue: a horizon below 1, an unknown solver or terminal; parameters of which limits of inputs are
            computed.
        UnknownName: a parameter that the plant does not have.
    """

    # Up to so many variables, violations of soft rows included, the condensed form was the faster one in closed loops
    # of oscillating masses (12 states, 3 inputs, horizons 10 to 200): in the median 7 to 20 times; in the slowest
    # samples, when many rows become active at once, 4 times at 300 variables and no faster at 600. Beyond that, its
    # matrices take seconds to build.
    CONDENSED = 600

    def __init__(
        self,
        task: Task,
        horizon: int = 30,
        terminal: TerminalCondition | None = None,
        solver: QPBackEnd | None = None,
        max_iterations: int | None = None,
        time_limit: float | None = None,
        blocking: MoveBlocking | None = None,
        parameters: Sequence[str] = (),
    ) -> None:
        if blocking is not None:
            expect(blocking, MoveBlocking, "blocking", "such as MoveBlocking((1, 1, 2, 4))")
        self.blocking = blocking
        expect_choice(terminal, "terminal", ("set", "cost", None))
        expect_choice(solver, "solver", ("daqp", "hpipm", "piqp", None))
        super().__init__(task, horizon, max_iterations, time_limit)
        self.parameters = changing_parameters(task, parameters)
        self._arguments = (task, horizon, terminal, solver, max_iterations, time_limit, blocking, self.parameters)
        self._solver_name, self._iterations = solver, max_iterations
        self._terminal_choice = terminal
        self._programs: dict[int, _Program] = {}
        self._build(task)

    def _take(self, task: Task) -> None:
        """Programs whose matrices stay as they are keep their solvers."""
        values = self._values
        self._control(task)
        self._arguments = (task, *self._arguments[1:])
        self._last_x = None
        self._build(task)
        self.reset()
        if self.parameters:  # which are a fact of the run
            self.set_parameters(values)

    def _build(self, task: Task) -> None:
        """Everything that follows from the task."""
        self._is_whole = np.array([signal.integer for signal in task.plant.input])
        self._expect_searchable(task)
        self.approximations = (*ANSWERS.read(task), *(() if self.blocking is None else (str(self.blocking),)))
        self._conditions, self._kinks = affine_task(task), affine_penalties(task)
        self._ends = task.reading.terminal is not None
        self._moves = not task.reference.is_constant
        self._forecast = ForecastStages(task) if task.plant.forecast is not None else None
        self._expect_tunable(task)
        self._nominal = np.array([float(task.plant.parameters[name]) for name in self.parameters])
        self._expansions = None if self._forecast is not None else Expansions(task, self.parameters)
        self._pose(self._expansions, 0)
        self._prepare()

    def _pose(self, expansions: Expansions | None, k: int) -> None:
        """Everything that follows from the plant as it is expanded, with the program of sample ``k``.

        Args:
            expansions: None where there is a forecast.
            k: number of the sample.
        """
        task, horizon = self.task, self.horizon
        self._affine, self.refused = self._conditions, ""
        self._source: StageSource
        if self._forecast is not None:
            self._values, self._source = self._nominal, self._forecast
        else:
            assert expansions is not None
            self._values = expansions.values
            if self.parameters:
                self._fallback = Fallback(task, expansions)
            regulator = self._fallback.regulator
            if self._moves:
                self._source = MovingStages(task, horizon, expansions, regulator or LQR(task, expansions))
            else:
                self._source = ConstantStages(task, expansions, regulator)
        self._rest: np.ndarray | None = None
        self.terminal_set, self._terminal = self._end(self._terminal_choice)
        lengths = range(1, horizon + 1) if self._ends else (horizon,)
        self._programs = {going: self._program(self._source.stages(k, going), going) for going in lengths}
        self._without_set: WithoutTerminalSet | None = None
        if self.terminal_set is not None:
            problem = self._programs[horizon].form.problem
            others = np.arange(len(problem.weight)) < len(problem.weight) - len(self.terminal_set.h)
            is_condensed = self._programs[horizon].form.is_least_distance
            self._without_set = WithoutTerminalSet(partial(self._back_end, is_condensed), problem, others)
        self._sample = k
        self._select(k)

    def _prepare(self) -> None:
        """Prepares the solvers that only some samples need."""
        for program in self._programs.values():
            program.solver.prepare()
        if self._without_set is not None:
            self._without_set.prepare()

    def _expect_tunable(self, task: Task) -> None:
        """Raises NotApplicable where parameters cannot change while the controller runs."""
        if not self.parameters:
            return
        why = "signals that are known ahead" if self._forecast is not None else "a terminal cost" if self._ends else ""
        if why:
            raise NotApplicable(
                f"task '{task.name}' has {why}, with which LinearMPC cannot change {', '.join(self.parameters)} while "
                "it runs; leave parameters out, or use NonlinearMPC(task, parameters=...)"
            )

    @property
    def unchanged(self) -> str:
        """What :meth:`set_parameters` leaves as it is, in words: nothing."""
        return ""

    @quiet
    def set_parameters(self, values: np.ndarray) -> None:
        """Predicts with other values of the plant's parameters from the next sample on, until :meth:`reset`; `follow`
        and other changes of the task keep them.

        The controller is then that of a task with the changed plant: operating point, linearisation, terminal cost and
        set, quadratic program and backup control law are those of the new values. The functions that linearise are made
        once, by the constructor. What is only needed after a failed solve is made then.

        Values for which there is no such controller, such as those of a plant that no regulator stabilises or that the
        plant does not take, change nothing: the model before is kept, and the attribute ``refused`` says why.

        Args:
            values: (parameters,), in the order of the names given to the constructor.

        Raises:
            DimensionMismatch: another number of values.
            InvalidValue: values that are not finite numbers.
        """
        array = parameter_values(values, self.parameters, self).copy()
        if np.array_equal(array, self._values):
            self.refused = ""
            return
        assert self._expansions is not None
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__)
        try:
            self.task.plant.with_parameters(dict(zip(self.parameters, array.tolist(), strict=True)))  # may refuse them
            changed._pose(self._expansions.at(array), self._sample + 1 if self._moves else self._sample)
        except (TriviumError, np.linalg.LinAlgError) as reason:
            self.refused = str(reason)
            return
        self.__dict__ = changed.__dict__

    def _expect_searchable(self, task: Task) -> None:
        """Raises NotApplicable where integer inputs cannot be searched for."""
        if not self._is_whole.any():
            return
        for signal, low, high in zip(task.plant.input, *task.input_bounds, strict=True):
            if signal.integer and not np.isfinite([low, high]).all():
                raise NotApplicable(
                    f"task '{task.name}': the integer input {signal.name} is bounded by ({low}, {high}); give it two "
                    "limits, so that its values can be searched"
                )
        asked = {"solver": self._solver_name not in (None, "daqp"), "terminal": self._terminal_choice == "set"}
        for argument, is_other in asked.items():
            if is_other:
                raise NotApplicable(
                    f"task '{task.name}' has integer inputs, which are searched by DAQP and without a terminal set; "
                    f"leave {argument} out"
                )
        if not task.reference.is_constant:
            raise NotApplicable(
                f"task '{task.name}' has integer inputs and a reference that moves, along which there is no regulator; "
                "use a constant reference"
            )

    def _end(self, terminal: TerminalCondition | None) -> tuple[Polyhedron | None, str]:
        """The terminal set, and what was chosen for the end."""
        if self._ends:
            if terminal == "set":
                raise NotApplicable(
                    f"task '{self.task.name}' has a terminal cost of its own, for which there is no terminal set; "
                    "leave terminal out"
                )
            return None, "the task's own terminal cost"
        if self._forecast is not None:
            if terminal is not None:
                raise NotApplicable(
                    f"task '{self.task.name}' has signals that are known ahead, so no cost-to-go is the same at "
                    "every sample; leave terminal out, and take a horizon as long as the signals matter"
                )
            return None, "none: the signals known ahead move"
        where = (
            "" if self._moves or not self._source.is_elsewhere else f" at {in_words(self.task, self._source.steady)}"
        )
        description = f"Riccati cost-to-go{where}"
        if terminal == "cost" or self._is_whole.any():
            return None, description
        if self._source.at_edge and terminal is None:
            self._rest = self._source.end_at_rest()
            # At the edge of a constraint that may be violated sometimes, a model that is only nearly right must not
            # lose more than that constraint for want of a plan.
            relaxed = self._affine.constraints.with_allowed(self.task, 10.0 * float(self._rest.max()))
            self._affine = dataclasses.replace(self._affine, constraints=relaxed)
            return None, "a steady state within the constraints that is chosen with the plan"
        try:
            invariant = self._source.terminal_set(self._affine)
        except NoInvariantSet as reason:
            if terminal == "set":
                raise NotApplicable(f"task '{self.task.name}' has no terminal set: {reason}") from reason
            return None, f"{description} without a set: {reason}"
        return invariant, f"{description} and the maximal invariant set, {len(invariant.h)} rows"

    def _program(self, stages: Stages, going: int) -> _Program:
        control = linear_optimal_control(
            stages, self._affine, self._kinks, None if going < self.horizon else self.terminal_set, self._rest,
            self._ends, None if self.blocking is None else self.blocking.blocks(going),
        )  # fmt: skip
        size = control.blocks * control.B.shape[2] + int(np.isfinite(control.weight).sum())
        searched = bool(self._is_whole.any())
        is_strict = self._forecast is None or self._forecast.is_strict
        is_small = searched or (size <= self.CONDENSED and is_strict)
        is_condensed = is_small if self._solver_name is None else self._solver_name == "daqp"
        before = self._programs.get(going)
        is_alike = before is not None and before.form.is_least_distance == is_condensed and not searched
        if before is not None and is_alike and before.control.has_matrices_of(control):
            form, solver = before.form.with_bounds(control), before.solver
        else:
            form = condensed(control) if is_condensed else sparse(control)
            solver = self._whole(self._back_end(is_condensed, form.problem), form.scale, going)
        rows = form.expand[control.input_at[0]]
        from_point = rows if isinstance(rows, np.ndarray) else rows.toarray()
        from_state = np.vstack([form.shift_state, form.expand_state[control.input_at[0]]])
        return _Program(control, form, solver, from_state, from_point)

    def _whole(self, solver: QPSolver, scale: np.ndarray, horizon: int) -> QPSolver | BranchAndBound:
        """The solver itself, or a search for whole numbers of the integer inputs."""
        if not self._is_whole.any():
            return solver
        lower, upper = self.task.input_bounds
        limited = np.flatnonzero(np.isfinite(lower) | np.isfinite(upper))  # of which each stage has a row, first of all
        own = np.flatnonzero(self._is_whole[limited])
        rows = (np.arange(horizon)[:, None] * len(limited) + own).ravel()
        least, most = (np.tile(bound[limited][own], horizon) for bound in (lower, upper))
        return BranchAndBound(solver, rows, scale[rows], least, most, time_limit=self.time_limit)

    def _back_end(self, is_condensed: bool, problem: QuadraticProgram) -> QPSolver:
        if is_condensed:
            return DAQP(problem, self._iterations, self.time_limit)
        n, m = len(self._state), len(self._lower)
        if self._solver_name != "piqp" and has_stages(problem, n, m):
            try:
                return StagedQP(problem, n, m, self._iterations)
            except HPIPMMissing:
                if self._solver_name == "hpipm":
                    raise
        elif self._solver_name == "hpipm":
            if self.blocking is not None:
                raise NotApplicable("HPIPM does not support move blocking; leave solver out, or use 'daqp' or 'piqp'")
            raise NotApplicable(
                f"task '{self.task.name}': its plan ends at a steady state that is chosen with it, for which HPIPM has "
                "no stage; leave solver out, or take solver='piqp'"
            )
        return PIQP(problem, self._iterations)

    def _select(self, k: int, x: np.ndarray | None = None) -> None:
        """Makes the program of sample ``k`` the current one.

        Args:
            x: (n,), the measured state, from which signals that are known ahead are predicted; default: not known.
        """
        steps = self.task.steps
        going = min(self.horizon, steps - k) if self._ends and 0 <= k < steps else self.horizon
        stages = self._source.stages(k, going, x)
        if self._source.varies and (k != self._sample or x is not None):
            self._programs = {going: self._program(stages, going)}
        self._current, self._sample = self._programs[going], k
        self.problem, self.form, self.solver = self._current.control, self._current.form, self._current.solver
        self._data = self._current.form.instance(stages.data(self._rest is not None))
        self._first_offset = self.offset[self.problem.input_at[0]]

    def c_code(self, samples: int) -> ControllerCode:
        """The controller in C, on the condensed problem; see :meth:`mpc.online.OnlineController.c_code`."""
        if self.parameters:
            raise NotExportable(
                "parameters that change from sample to sample are not in the C code; export LinearMPC(task) without "
                "parameters"
            )
        part = self.c_part(samples)
        moves = (f"the tables of the reference reach over {samples} samples; afterwards the last rows are held",)
        return ControllerCode(
            self.task,
            f"Linear MPC over {self.horizon} samples; terminal cost: {self.terminal}.",
            fallback_part(self._fallback, samples)
            + representative_part(self.task, samples)
            + part
            + linear_step_part(),
            self.approximations,
            converged=1e-12,
            notes=(
                "a dual active-set method of fixed memory (Arnström, Bemporad & Axehill, 2022) solves the condensed "
                f"quadratic program of {part.sizes['VARIABLES']} variables and {part.sizes['ROWS']} rows, in at most "
                f"{part.sizes['MAX_QP_ITERATIONS']} iterations; there is no second solver behind it, as there is in "
                "Python: what it cannot solve has the status `numerical` and is left to the fallback",
                *(moves if self._moves else ()),
            ),
        )

    def c_part(self, samples: int) -> CodePart:
        """The program and its solver in C, see ``mpc/export/c/linear.c``, for so many samples.

        Raises:
            NotExportable: its matrices change with time.
        """
        if self._ends:
            raise NotExportable(
                f"task '{self.task.name}' has a terminal cost, so the horizon of LinearMPC shrinks at the end of the "
                "run; export LQR(task), or leave the terminal cost out of the task"
            )
        if self._source.varies:
            raise NotExportable(
                f"task '{self.task.name}': its linearisation changes along the reference, and so would every matrix in "
                "C; export LQR(task), whose gains are tabulated"
            )
        form = self.form if self.form.is_least_distance else condensed(self.problem)
        if self._is_whole.any():
            raise NotExportable(f"task '{self.task.name}' has integer inputs, whose search cannot be exported to C")
        rows = range(samples + 1 if self._moves else 1)
        data = [self._source.stages(k, self.horizon).data(self._rest is not None) for k in rows]
        terminal_rows = 0 if self.terminal_set is None else len(self.terminal_set.h)
        iterations = 1000 if self._iterations is None else self._iterations
        return linear_part(form, self.problem, [form.instance(stage) for stage in data], terminal_rows, iterations)

    @property
    def knowledge(self) -> Knowledge:
        """Objective, tuning and foresight of the controller."""
        return predictive_knowledge(self.horizon, self.terminal, not self._moves)

    @property
    def terminal(self) -> str:
        """The terminal cost and set that were chosen, in words."""
        return self._terminal

    @property
    def operating_point(self) -> tuple[np.ndarray, np.ndarray]:
        """State (n,) and input (m,) at which plant and cost were expanded; for a moving reference, those of its first
        sample."""
        return self._source.operating_point

    def reset(self) -> None:
        """Starts a new run: discards the last plan, the solver's working set and changed parameters."""
        super().reset()
        if not np.array_equal(self._values, self._nominal):
            self._pose(self._expansions, 0)
            self._prepare()
        self.refused = ""
        for program in self._programs.values():
            program.solver.reset()
        if self._without_set is not None:
            self._without_set.reset()

    @property
    def offset(self) -> np.ndarray:
        """The part of s = [x0 u0 ... xN] that depends neither on the variables nor on x0, for the last references."""
        return self._data[3]

    def data(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """f, lower and upper of the program at the state (n,), for the last references."""
        return self._instance(x)[:3]

    def _instance(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The data at the state (n,), and the first input (m,) at z = 0."""
        f, lower, upper, _ = self._data
        moved, rows = self._current.from_state @ x, len(lower)
        shift = moved[:rows]
        return f, lower + shift, upper + shift, moved[rows:] + self._first_offset

    @quiet
    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        if self._moves or self._ends:
            self._select(k, x if self._forecast is not None else None)
        f, lower, upper, u = self._instance(x)
        solution = self.solver.solve(f, lower, upper)
        if solution.status is Status.INFEASIBLE and self._without_set is not None:
            solution = self._without_set.solve(f, lower, upper)
        if not solution.is_usable:
            return SolveResult(solution.status, None, solution.iterations, solution.residual)
        u = self._current.from_point @ solution.point + u
        plan = partial(_unrolled, self._current, solution.point, x.copy(), self.offset, k)
        return SolveResult(solution.status, plan, solution.iterations, solution.residual, self._clip(u))


def _unrolled(program: _Program, point: np.ndarray, x: np.ndarray, offset: np.ndarray, k: int) -> Plan:
    s = program.form.expand @ point + program.form.expand_state @ x + offset
    return Plan(s[program.control.state_at], s[program.control.input_at], k)


ANSWERS = Answers(
    {
        Part.NONLINEAR_PLANT: LINEARISED,
        Part.KINKED_PLANT: SLOPES_OF_KINKS,
        Part.SINGULAR_PLANT: EXACT,  # refused by local_model where the linearisation needs it
        Part.MOVING_REFERENCE: EXACT,
        Part.VARYING_LINEARISATION: EXACT,
        Part.COST_ELSEWHERE: EXACT,  # expanded at the optimal steady state
        Part.REFERENCE_OUTSIDE: EXACT,
        Part.NON_QUADRATIC_COST: Announced("expands the cost to second order"),
        Part.KINKED_COST: EXACT,  # as soft rows, or refused by affine_penalties
        Part.TERMINAL_COST: quadratic_end,
        Part.HARD: EXACT,
        Part.CHANGE_LIMIT: EXACT,
        Part.SOFT: EXACT,
        Part.CHANCE: HELD_AS_HARD,
        Part.BUDGET: HELD_AS_HARD,
        Part.EXCESS_BUDGET: Refused(
            "the budget of {names} limits the accumulated excess, which a linear MPC cannot handle; use the nonlinear "
            "MPC"
        ),
        Part.NONLINEAR_CONSTRAINT: EXACT,  # refused by affine_task
        Part.KINKED_CONSTRAINT: EXACT,
        Part.DISTURBANCE: EXACT,
        Part.BIASED_DISTURBANCE: UNDISTURBED,
        Part.INTEGER: EXACT,
        Part.PERIODIC: EXACT,
        Part.DOMAIN: DOMAIN,
        Part.MEASUREMENT: ESTIMATED,
        Part.FORECAST: EXACT,
    }
)
