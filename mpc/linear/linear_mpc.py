"""Linear model predictive control: one quadratic program per sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from ctrl.answers import EXACT, Announced, Answers, Refused, quadratic_end, steady_state_in_words
from ctrl.controller import NotApplicable, Status
from ctrl.linearisation import LocalModel, local_model, local_models, terminal_expansion
from ctrl.regulator import LQR, lqr
from ctrl.terminal import weight_of_rest
from mpc.fallback import Outcome, Plan
from mpc.linear.condensing import (
    LinearOptimalControl,
    ParametricQP,
    affine_conditions,
    affine_penalties,
    condensed,
    linear_optimal_control,
    sparse,
    terminal_set,
)
from mpc.online import DOMAIN, HELD_AS_HARD, UNDISTURBED, PredictiveController
from mpc.polyhedra import Polyhedron, SetNotFound
from mpc.solvers.daqp import DAQP
from mpc.solvers.piqp import PIQP
from mpc.solvers.qp import QPSolver, QuadraticProgram
from mpc.terminal_set import WithoutTerminalSet
from systems import Task
from systems.arguments import expect_choice
from systems.reading import Part

__all__ = ["LinearMPC"]

Solver = Literal["daqp", "piqp"]
Terminal = Literal["set", "cost"]


@dataclass(frozen=True, eq=False)
class _Stages:
    """A task to second order over a horizon, in absolute variables: x+ = A_k x + B_k u + c_k, and each stage costs
    z'H_k z + q_k'z of z = (x, u), the last state x'Px + p'x.

    Args:
        A (N, n, n), B (N, n, m), c (N, n), K (N, m, n), H (N, n + m, n + m), q (N, n + m), P (n, n), p (n,).
    """

    A: np.ndarray
    B: np.ndarray
    c: np.ndarray
    K: np.ndarray
    H: np.ndarray
    q: np.ndarray
    P: np.ndarray
    p: np.ndarray

    def course(self, with_rest: bool) -> np.ndarray:
        """[q, c] of :class:`ParametricQP`; the steady state costs as many samples as the horizon has."""
        rest = len(self.q) * self.q[-1] if with_rest else np.zeros(0)
        return np.concatenate([self.q.ravel(), self.p, rest, self.c.ravel()])


@dataclass(frozen=True, eq=False)
class _Program:
    """A quadratic program ready to be solved."""

    control: LinearOptimalControl
    form: ParametricQP
    solver: QPSolver
    of_state: np.ndarray
    first: tuple[np.ndarray, np.ndarray]


class LinearMPC(PredictiveController):
    """Minimises the task's cost, to second order, on its linearisation, under its constraints.

    Plant and cost are expanded where the task settles: at the reference where that is an optimal steady state that
    keeps the constraints, else at the optimal steady state under the constraints. Along a reference that moves they are
    expanded sample by sample; where the derivatives differ, so do the matrices of the program.

    The last state costs what the unconstrained regulator would still pay, and has to lie where that regulator never
    violates a hard constraint (Mayne, Rawlings, Rao & Scokaert, 2000), so the undisturbed linear loop stays feasible
    and stable. A terminal cost of the task takes its place as it is, and the horizon shrinks at the end of the run.
    Soft constraints are charged weight times violation; they do not shrink the terminal set. Where
    disturbances may carry the state out of its constraints, make them soft: a state from which hard ones cannot be met
    has no solution, and the last good plan is followed instead, see :class:`mpc.fallback.Recourse`. Where they can be
    met, but the terminal set cannot be reached within the horizon, the problem is solved without the set, which the
    status ``terminal_set_unreachable`` says.

    Args:
        task: gives plant, cost, constraints, bounds, reference.
        horizon: samples looked ahead. The infinite rest is in the terminal cost, so it only has to be long enough for
            the inputs to bring the start into the terminal set.
        terminal: ``set`` (and cost), ``cost`` alone, or None for the set where there is one.
        solver: ``daqp`` (condensed; its step grows with the square of the horizon and with the number of active
            constraints) or ``piqp`` (sparse; linearly with the horizon); by default chosen by size, see ``CONDENSED``.
        max_iterations: of the solver in one step; its own default where left out.
        time_limit: seconds of one step; see :class:`mpc.online.PredictiveController`. DAQP looks at the clock in
            every iteration; PIQP cannot be interrupted, its work is bounded by its iterations alone.

    Attributes:
        problem, form, solver: the optimal control problem of the last sample, its quadratic program, the back-end.
        terminal_set: of the last state, None where there is none.

    Raises:
        NotApplicable: the task has no regulator, a constraint that is not affine, or no terminal set when asked for.
        InvalidValue: a horizon below 1, an unknown solver or terminal.
    """

    # Up to so many variables, violations of soft rows included, the condensed form was the faster one in closed loops
    # of oscillating masses (12 states, 3 inputs, horizons 10 to 300): in the median 10 times up to 300, twice at 600,
    # slower at 900; but in the slowest samples, when many rows become active at once, no faster from 450 on.
    CONDENSED = 450

    def __init__(
        self,
        task: Task,
        horizon: int = 30,
        terminal: Terminal | None = None,
        solver: Solver | None = None,
        max_iterations: int | None = None,
        time_limit: float | None = None,
    ) -> None:
        expect_choice(terminal, "terminal", ("set", "cost", None))
        expect_choice(solver, "solver", ("daqp", "piqp", None))
        super().__init__(task, horizon, max_iterations, time_limit)
        self._arguments = (task, horizon, terminal, solver, max_iterations, time_limit)
        self._solver_name, self._iterations = solver, max_iterations
        self.approximations = ANSWERS.read(task)
        self._rules, self._kinks = affine_conditions(task), affine_penalties(task)
        self._ends = task.reading.terminal is not None
        self._moves = not task.reference.is_constant
        self._source: _Constant | _Along = _Along(task, horizon) if self._moves else _Constant(task)
        self._rest: np.ndarray | None = None
        self.terminal_set, self._terminal = self._end(terminal)
        self._programs: dict[int, _Program] = {}
        for going in range(1, horizon + 1) if self._ends else (horizon,):
            self._programs[going] = self._program(self._source.at(0, going), going)
        self._without_set: WithoutTerminalSet | None = None
        if self.terminal_set is not None:
            problem = self._programs[horizon].form.problem
            others = np.arange(len(problem.price)) < len(problem.price) - len(self.terminal_set.h)
            name: Solver = "daqp" if isinstance(self._programs[horizon].solver, DAQP) else "piqp"
            self._without_set = WithoutTerminalSet(partial(self._back_end, name), problem, others)
        self._place(0)

    def _end(self, terminal: Terminal | None) -> tuple[Polyhedron | None, str]:
        """The terminal set, and what was chosen for the end."""
        if self._ends:
            if terminal == "set":
                raise NotApplicable(
                    f"task '{self.task.name}' has a terminal cost of its own, for which there is no terminal set; "
                    "leave terminal out"
                )
            return None, "the task's own terminal cost"
        where = "" if self._moves or not self._source.is_elsewhere else f" at {steady_state_in_words(self.task, True)}"
        said = f"Riccati cost-to-go{where}"
        if terminal == "cost":
            return None, said
        if self._source.at_edge and terminal is None:
            self._rest = self._source.weight_of_rest()
            self._source.chooses_rest = True
            # At the edge of a constraint that may be violated sometimes, a model that is only nearly right must not
            # lose more than that constraint for want of a plan.
            self._rules = self._rules.with_allowed(self.task, 10.0 * float(self._rest.max()))
            return None, "a steady state within the constraints that is chosen with the plan"
        try:
            found = self._source.terminal_set(self._rules)
        except SetNotFound as reason:
            if terminal == "set":
                raise NotApplicable(f"task '{self.task.name}' has no terminal set: {reason}") from reason
            return None, f"{said} without a set: {reason}"
        return found, f"{said} and the maximal invariant set, {len(found.h)} rows"

    def _program(self, stages: _Stages, going: int) -> _Program:
        control = linear_optimal_control(
            stages.A, stages.B, stages.K, stages.H, stages.P, self.task.input_bounds, self._rules, self._kinks,
            None if going < self.horizon else self.terminal_set, self._rest, self._ends,
        )  # fmt: skip
        size = control.input_at.size + int(np.isfinite(control.weight).sum())
        name: Solver = self._solver_name or ("daqp" if size <= self.CONDENSED else "piqp")
        form = condensed(control) if name == "daqp" else sparse(control)
        solver = self._back_end(name, form.problem)
        rows = form.expand[control.input_at[0]]
        first = rows if isinstance(rows, np.ndarray) else rows.toarray(), form.expand_state[control.input_at[0]]
        return _Program(control, form, solver, np.vstack([form.f_state, form.shift_state]), first)

    def _back_end(self, name: Solver, problem: QuadraticProgram) -> QPSolver:
        if name == "daqp":
            return DAQP(problem, self._iterations, self.time_limit)
        return PIQP(problem, self._iterations)

    def _place(self, k: int) -> None:
        """Makes the program of sample ``k`` the current one."""
        steps = self.task.steps
        going = min(self.horizon, steps - k) if self._ends and 0 <= k < steps else self.horizon
        stages = self._source.at(k, going)
        if self._source.varies and k != self._placed:
            self._programs = {going: self._program(stages, going)}
        self._current, self._placed = self._programs[going], k
        self.problem, self.form, self.solver = self._current.control, self._current.form, self._current.solver
        self._data = self._current.form.along(stages.course(self._rest is not None))

    _placed = 0

    @property
    def terminal(self) -> str:
        """The terminal cost and set that were chosen, in words."""
        return self._terminal

    @property
    def operating_point(self) -> tuple[np.ndarray, np.ndarray]:
        """State (n,) and input (m,) where plant and cost were expanded; for a moving reference at its first sample."""
        return self._source.operating_point

    def reset(self) -> None:
        """Forgets the last plan and the solver's working set."""
        super().reset()
        for program in self._programs.values():
            program.solver.reset()
        if self._without_set is not None:
            self._without_set.reset()

    @property
    def offset(self) -> np.ndarray:
        """What of s = [x0 u0 ... xN] neither variables nor x0 bring about, for the last references."""
        return self._data[3]

    def data(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """f, lower and upper of the program at the state (n,), for the last references."""
        f, lower, upper, _ = self._data
        moved, d = self._current.of_state @ x, len(f)
        shift = moved[d:]
        return f + moved[:d], lower + shift, upper + shift

    def _solve(self, x: np.ndarray, k: int) -> Outcome:
        if self._moves or self._ends:
            self._place(k)
        data, offset = self.data(x), self.offset
        found = self.solver.solve(*data)
        if found.status is Status.INFEASIBLE and self._without_set is not None:
            found = self._without_set.solve(*data)
        if not found.is_usable:
            return Outcome(found.status, None, found.iterations, found.residual)
        of_point, of_state = self._current.first
        u = of_point @ found.point + of_state @ x + offset[self.problem.input_at[0]]
        plan = partial(_unrolled, self._current, found.point, x.copy(), offset, k)
        return Outcome(found.status, plan, found.iterations, found.residual, u)


def _unrolled(program: _Program, point: np.ndarray, x: np.ndarray, offset: np.ndarray, k: int) -> Plan:
    s = program.form.expand @ point + program.form.expand_state @ x + offset
    return Plan(s[program.control.state_at], s[program.control.input_at], k)


class _Constant:
    """The stages of a task with a constant reference, expanded where it settles."""

    varies = False
    chooses_rest = False  # whether the program chooses a steady state to end at

    def __init__(self, task: Task) -> None:
        self.task = task
        self.model: LocalModel = local_model(task, constrained=True)
        gain = lqr(self.model.plant, self.model.Q, self.model.R, self.model.N)
        self.K, self.P = gain.K, gain.P
        self._own = None
        if task.reading.terminal is not None:
            self._own = terminal_expansion(task, self.model.x_ref, task.reading.start[0])

    @property
    def operating_point(self) -> tuple[np.ndarray, np.ndarray]:
        return self.model.x_ref, self.model.u_ref

    @property
    def is_elsewhere(self) -> bool:
        """Whether that is not the reference."""
        return self.task.reading.settles_elsewhere(constrained=True)

    @property
    def at_edge(self) -> bool:
        """Whether the operating point is held off the reference by constraints, so that there is no set around it."""
        return self.task.reading.rests_at_edge

    def weight_of_rest(self) -> np.ndarray:
        """What a unit of distance from rest costs at the end, (n,): more than getting there ever saves."""
        return weight_of_rest(self.task, self.P, self.model.x_ref)

    def terminal_set(self, rules: object) -> Polyhedron:
        return terminal_set(self.task, self.model, self.K, rules)  # type: ignore[arg-type]

    def at(self, k: int, horizon: int) -> _Stages:
        model = self.model
        z = np.concatenate([model.x_ref, model.u_ref])
        H = np.block([[model.Q, model.N], [model.N.T, model.R]])
        q = model.gradient - 2.0 * H @ z
        P, p = self.P, -2.0 * self.P @ model.x_ref
        if self.chooses_rest:  # the steady state of the plan is charged instead
            P, p = np.zeros_like(P), np.zeros_like(p)
        if self._own is not None:
            # The multipliers telescope: between the first and the last state they leave their own product.
            P, half = self._own
            p = 2.0 * half - model.multipliers - 2.0 * P @ model.x_ref
        count = np.ones((horizon, 1, 1))
        return _Stages(
            count * model.plant.A, count * model.plant.B, np.tile(model.plant.c, (horizon, 1)), count * self.K,
            count * H, np.tile(q, (horizon, 1)), P, p,
        )  # fmt: skip


class _Along:
    """The stages of a task along a reference that moves."""

    is_elsewhere = at_edge = chooses_rest = False

    def __init__(self, task: Task, horizon: int) -> None:
        self.task = task
        self.regulator = LQR(task)
        self._table = local_models(task, 0, task.steps + horizon)
        self.varies = not self._table.are_constant

    @property
    def operating_point(self) -> tuple[np.ndarray, np.ndarray]:
        return self._table.x_ref[0], self._table.u_ref[0]

    def weight_of_rest(self) -> np.ndarray:
        raise SetNotFound("the reference moves")

    def terminal_set(self, rules: object) -> Polyhedron:
        raise SetNotFound("the reference moves")

    def at(self, k: int, horizon: int) -> _Stages:
        table, first = self._table, k
        if not 0 <= k <= len(table.A) - horizon:
            table, first = local_models(self.task, k, horizon), 0
        A, B, drift, Q, R, N, q, r = (
            part[first : first + horizon]
            for part in (table.A, table.B, table.drift, table.Q, table.R, table.N, table.q, table.r)
        )
        x, u = table.x_ref[first : first + horizon + 1], table.u_ref[first : first + horizon]
        z = np.hstack([x[:-1], u])
        H = np.concatenate([np.concatenate([Q, N], axis=2), np.concatenate([N.transpose(0, 2, 1), R], axis=2)], axis=1)
        linear = 2.0 * (np.hstack([q, r]) - np.einsum("kij,kj->ki", H, z))
        c = x[1:] + drift - np.einsum("kij,kj->ki", A, x[:-1]) - np.einsum("kij,kj->ki", B, u)
        if self.task.reading.terminal is not None:
            P, half = terminal_expansion(self.task, x[-1], x[-1])
        else:
            P, half, centre = self.regulator.cost_to_go(k + horizon)
            half = half + P @ (x[-1] - centre)
        K = np.array([self.regulator.gain(k + i)[0] for i in range(horizon)])
        return _Stages(A, B, c, K, H, linear, P, 2.0 * (half - P @ x[-1]))


ANSWERS = Answers(
    {
        Part.NONLINEAR_PLANT: Announced("takes {names} as its linearisation"),
        Part.KINKED_PLANT: Announced("takes {names} in the plant by the slopes at the linearisation"),
        Part.SINGULAR_PLANT: EXACT,  # refused by local_model where the linearisation needs it
        Part.MOVING_REFERENCE: EXACT,
        Part.VARYING_LINEARISATION: EXACT,
        Part.COST_ELSEWHERE: EXACT,  # expanded at the optimal steady state
        Part.REFERENCE_OUTSIDE: EXACT,
        Part.NON_QUADRATIC_COST: Announced("takes the cost to second order"),
        Part.KINKED_COST: EXACT,  # as soft rows, or refused by affine_penalties
        Part.TERMINAL_COST: quadratic_end,
        Part.HARD: EXACT,
        Part.SOFT: EXACT,
        Part.CHANCE: HELD_AS_HARD,
        Part.BUDGET: HELD_AS_HARD,
        Part.EXCESS_BUDGET: Refused(
            "the budget of {names} counts by how much it is exceeded, which a linear MPC does not; use the nonlinear "
            "MPC"
        ),
        Part.NONLINEAR_CONSTRAINT: EXACT,  # refused by affine_conditions
        Part.KINKED_CONSTRAINT: EXACT,
        Part.DISTURBANCE: EXACT,
        Part.BIASED_DISTURBANCE: UNDISTURBED,
        Part.PERIODIC: EXACT,
        Part.DOMAIN: DOMAIN,
    }
)
