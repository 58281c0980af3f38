"""Transcription of a task to a nonlinear program over a horizon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import casadi as ca
import numpy as np

from ctrl.terminal import Kind, Terminal, terminal, weight_of_rest
from mpc.online import check_horizon, check_input
from mpc.solvers.nlp import NonlinearProgram
from systems import Budget, Task
from systems.nonsmooth import Epigraph, smoothed

__all__ = ["OptimalControl", "stage_functions", "transcribe"]


@dataclass(frozen=True, eq=False)
class OptimalControl:
    """A nonlinear program over [x0 u0 s0 x1 u1 s1 ... xN], s being the auxiliary variables of a stage: violations of
    soft rows, values of kinks, excess over budgets.

    Args:
        program: its parameter is :meth:`parameter`.
        state_at, input_at: indices (horizon + 1, n) and (horizon, m) into its variables.
        end: the terminal cost.
        moving: whether the reference window is a parameter.
        ends: whether the program knows of the end of the run: the stages from there on are switched off.
        budgets: how many budgets of excess it holds.
        variable_stage, row_stage: of each variable that is not a state, and of each row that is not a gap, the stage it
            belongs to; -1 for the others.
        kink_at: (horizon, count), of the variables that stand for kinks of the stage cost.
        smoothed: whether roots were made differentiable.
    """

    program: NonlinearProgram
    state_at: np.ndarray
    input_at: np.ndarray
    end: Terminal
    moving: bool
    ends: bool
    budgets: int
    variable_stage: np.ndarray
    row_stage: np.ndarray
    kink_at: np.ndarray
    smoothed: bool

    @property
    def horizon(self) -> int:
        return len(self.input_at)

    @property
    def chosen(self) -> str:
        """The terminal cost, in words."""
        return (
            "a steady state within the constraints that is chosen with the plan"
            if self.end.at_edge
            else self.end.chosen
        )

    def parameter(
        self, x: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray, going: int, left: np.ndarray
    ) -> np.ndarray:
        """The parameter of the program.

        Args:
            x: (n,), measured.
            x_ref, u_ref: (horizon + 1, n) and (horizon + 1, m), the reference ahead.
            going: stages before the end of the run.
            left: (budgets,), remainder of the budgets.
        """
        parts = [x]
        if self.moving:
            pairs = np.hstack([x_ref, u_ref]).ravel()
            parts.append(pairs[: len(pairs) - u_ref.shape[1]])
        if self.ends:
            parts.append((np.arange(self.horizon + 1) < going).astype(float))
        return np.concatenate([*parts, left])

    def bounds(self, going: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Bounds of variables and rows with the stages from ``going`` on switched off: their inputs and auxiliary
        variables held, their rows free."""
        p = self.program
        if not self.ends or going > self.horizon:
            return p.lower, p.upper, p.g_lower, p.g_upper
        held, free = self.variable_stage >= going, self.row_stage >= going
        rest = np.clip(0.0, np.where(np.isfinite(p.lower), p.lower, -np.inf), p.upper)
        return (
            np.where(held, rest, p.lower), np.where(held, rest, p.upper),
            np.where(free, -np.inf, p.g_lower), np.where(free, np.inf, p.g_upper),
        )  # fmt: skip


def transcribe(task: Task, horizon: int, kind: Kind = "cost-to-go") -> OptimalControl:
    """Direct multiple shooting (Bock & Plitt, 1984) of a task, in the stage order structure-exploiting solvers expect.

    Soft constraints become an exact penalty: ``weight`` times the violation of each row and step, as the task charges
    it. Maxima in the cost become variables (:mod:`systems.nonsmooth`). The state constraints of stage 0 are left out,
    since the measured state is what it is. A budget of accumulated excess is held by the whole prediction.

    A program with a terminal cost of the task, or with such a budget, ends where the run ends.
    """
    check_horizon(horizon)
    check_input(task)
    return _Writer(task, horizon, kind).write()


def stage_functions(task: Task) -> tuple[ca.Function, Epigraph]:
    """The discrete dynamics, and the stage cost with its kinks as variables, both with roots that have a derivative."""
    reading = task.reading
    step = task.dynamics.function()
    return (
        smoothed(step) if reading.is_singular_on_the_way else step,
        _without_roots(reading.stage) if "sqrt" in reading.stage.left else reading.stage,
    )


class _Writer:
    """Writes one program, stage by stage."""

    def __init__(self, task: Task, horizon: int, kind: Kind) -> None:
        reading, plant = task.reading, task.plant
        self.task, self.horizon = task, horizon
        self.n, self.m = len(plant.state), len(plant.input)
        self.moving = not task.reference.is_constant
        self.ends = reading.terminal is not None or bool(reading.excess_budgets)
        self.smoothed = reading.is_singular_on_the_way
        self.step, self.stage = stage_functions(task)
        self.rule, self.end = reading.conditions, terminal(task, kind)
        self.measured = ca.SX.sym("measured", self.n)
        x_ref, u_ref = reading.start
        count = horizon + 1
        self.xr = [ca.SX.sym(f"xr{k}", self.n) if self.moving else ca.SX(x_ref) for k in range(count)]
        self.ur = [ca.SX.sym(f"ur{k}", self.m) if self.moving else ca.SX(u_ref) for k in range(horizon)]
        self.xs = [ca.SX.sym(f"x{k}", self.n) for k in range(count)]
        self.us = [ca.SX.sym(f"u{k}", self.m) for k in range(horizon)]
        self.going = [ca.SX.sym(f"going{k}") if self.ends else ca.SX(1) for k in range(count)]
        self.left = ca.SX.sym("left", len(reading.excess_budgets))
        self.variables, self.rows, self.cost = _Column(), _Column(), ca.SX(0)
        self.kink_at: list[np.ndarray] = []
        self.excess = [ca.SX(0) for _ in reading.excess_budgets]

    def write(self) -> OptimalControl:
        least, most = self.task.input_bounds
        state_at, input_at = [], []
        for k in range(self.horizon + 1):
            last = k == self.horizon
            state_at.append(self.variables.add(self.xs[k], -np.inf, np.inf))
            if not last:
                input_at.append(self.variables.add(self.us[k], least, most, k))
                after = self.step(self.xs[k], self.us[k], 0, [])
                if self.ends:
                    after = ca.if_else(self.going[k], after, self.xs[k])
                self.rows.add(self.xs[k + 1] - after, 0.0, 0.0)
            if k == 0:
                self.rows.add(self.xs[0] - self.measured, 0.0, 0.0)
            if not last:
                self._charge(k)
            self._impose(k)
            if not last:
                self._budget(k)
        self._finish()
        for i, total in enumerate(self.excess):
            self.rows.add(total - self.left[i], -np.inf, 0.0)
        window = [symbol for pair in zip(self.xr, self.ur, strict=False) for symbol in pair] + self.xr[-1:]
        parameters = [self.measured, *(window if self.moving else []), *(self.going if self.ends else []), self.left]
        v, r = self.variables, self.rows
        program = NonlinearProgram(
            ca.vertcat(*v.entries), self.cost / self.task.reading.cost_size, ca.vertcat(*r.entries),
            ca.vertcat(*parameters),
            *(np.array(bound, dtype=float) for bound in (v.lower, v.upper, r.lower, r.upper)),
        )  # fmt: skip
        smooth = self.smoothed or self.stage is not self.task.reading.stage
        return OptimalControl(
            program, np.array(state_at), np.array(input_at), self.end, self.moving, self.ends, len(self.excess),
            np.array(v.stage), np.array(r.stage), np.array(self.kink_at), smooth,
        )  # fmt: skip

    def _charge(self, k: int) -> None:
        """The stage cost, its kinks as variables."""
        arguments = (self.xs[k], self.us[k], self.xr[k], self.ur[k])
        t = self._auxiliary(self.stage, "t", k)
        self.kink_at.append(np.arange(len(self.variables.lower) - self.stage.count, len(self.variables.lower)))
        self.cost += self.going[k] * self.stage.value(*arguments, t)
        self.rows.add(self.stage.rows(*arguments, t), -np.inf, 0.0, k)

    def _auxiliary(self, epigraph: Epigraph, name: str, k: int) -> ca.SX:
        t = ca.SX.sym(f"{name}{k}", epigraph.count)
        self.variables.add(t, epigraph.lower, np.inf, k)
        return t

    def _impose(self, k: int) -> None:
        """The conditions of a stage; soft rows of a group share one violation."""
        rule = self.rule
        last = k == self.horizon
        values = rule.value(self.xs[k], ca.SX.zeros(self.m, 1) if last else self.us[k])
        rows = rule.imposed(k, self.horizon)
        if last and (self.end.at_edge or self.task.reading.terminal is not None):
            rows = rows[np.isinf(rule.weight[rows])]  # what the last state is charged is charged by _finish
        # Hard rows hold where the run ends, too.
        self._hold(rows, values, self.going[k], k, -1 if last else k)

    def _hold(self, rows: Iterable[int], values: ca.SX, times: ca.SX, k: int, hard: int) -> None:
        """Rows of the conditions with these values, soft ones charged so many times; ``k`` is the stage that soft rows
        belong to, ``hard`` that of hard ones."""
        rule = self.rule
        slacks: dict[int, ca.SX] = {}
        for i in rows:
            if np.isinf(rule.weight[i]):
                self.rows.add(values[i], rule.lower[i], rule.upper[i], hard)
                continue
            group = int(rule.group[i])
            if group not in slacks:
                slacks[group] = ca.SX.sym(f"s{k}_{group}")
                self.variables.add(slacks[group], 0.0, np.inf, k)
                self.cost += times * float(rule.weight[i]) * slacks[group]
            if np.isfinite(rule.upper[i]):
                self.rows.add(values[i] - slacks[group], -np.inf, rule.upper[i], k)
            if np.isfinite(rule.lower[i]):
                self.rows.add(values[i] + slacks[group], rule.lower[i], np.inf, k)

    def _budget(self, k: int) -> None:
        """What a stage takes from each budget: the largest g, or nothing."""
        for i, constraint in enumerate(self.task.reading.excess_budgets):
            requirement = constraint.requirement
            assert isinstance(requirement, Budget)
            g = self.task.reading.excess_functions[i](self.xs[k], self.us[k])
            if k == 0 and not ca.depends_on(g, self.us[0]):
                continue  # spent already, whatever is decided
            spent = ca.SX.sym(f"spent{k}_{i}")
            self.variables.add(spent, 0.0, np.inf, k)
            for row in ca.vertsplit(g):
                self.rows.add(row - spent, -np.inf, 0.0, k)
            rate = self.task.discount if requirement.per == "discounted" else 1.0
            self.excess[i] += self.going[k] * rate**k * spent

    def _finish(self) -> None:
        """The terminal cost."""
        x, end = self.xs[-1], self.end
        own = self.task.reading.terminal
        if end.at_edge:
            self._end_at_rest(x)
        elif end.P is not None:
            error = x - (self.xr[-1] if end.centre is None else ca.SX(end.centre))
            self.cost += ca.bilin(ca.SX(end.P), error, error) + ca.dot(ca.SX(end.p), error)
        elif own is not None:
            t = self._auxiliary(own, "end", -1)
            self.cost += own.value(x, self.xr[-1], t)
            self.rows.add(own.rows(x, self.xr[-1], t), -np.inf, 0.0)

    def _end_at_rest(self, x: ca.SX) -> None:
        """The prediction ends at a steady state that is chosen with it, within the constraints, and is charged for it
        as for a horizon more of samples there.

        What keeps it from getting there is charged more than getting there ever saves, so it is zero where it can be.
        """
        task, end = self.task, self.end
        least, most = task.input_bounds
        rest, hold = ca.SX.sym("rest", self.n), ca.SX.sym("hold", self.m)
        t, short = ca.SX.sym("t_rest", self.stage.count), ca.SX.sym("short", self.n)
        for entry, low, high in (
            (rest, -np.inf, np.inf),
            (hold, least, most),
            (t, self.stage.lower, np.inf),
            (short, 0.0, np.inf),
        ):
            self.variables.add(entry, low, high)
        self.rows.add(rest - self.step(rest, hold, 0, []), 0.0, 0.0)
        self._hold(range(len(self.rule.names)), self.rule.value(rest, hold), ca.SX(self.horizon), -1, -1)
        arguments = (rest, hold, self.xr[-1], ca.SX(task.reading.start[1]))
        self.cost += self.horizon * self.stage.value(*arguments, t)
        self.rows.add(self.stage.rows(*arguments, t), -np.inf, 0.0)
        assert end.P is not None
        assert end.centre is not None
        self.cost += ca.dot(weight_of_rest(task, end.P, end.centre), short)
        self.rows.add(x - rest - short, -np.inf, 0.0)
        self.rows.add(rest - x - short, -np.inf, 0.0)


def _without_roots(stage: Epigraph) -> Epigraph:
    return Epigraph(smoothed(stage.value), smoothed(stage.rows), stage.lower, stage.start, stage.left)


class _Column:
    """A growing column of expressions with their bounds, and the stage that each is switched off with."""

    def __init__(self) -> None:
        self.entries: list[ca.SX] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.stage: list[int] = []

    def add(self, entry: ca.SX, lower: float | np.ndarray, upper: float | np.ndarray, stage: int = -1) -> np.ndarray:
        """Appends; returns the indices taken."""
        start, size = len(self.lower), entry.shape[0]
        self.entries.append(entry)
        self.lower += np.broadcast_to(lower, size).tolist()
        self.upper += np.broadcast_to(upper, size).tolist()
        self.stage += [stage] * size
        return np.arange(start, start + size)
