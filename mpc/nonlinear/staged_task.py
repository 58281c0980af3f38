"""Converts a task into a program with the stage structure of optimal control.

Each stage involves only its own variables and the next state, which a structured solver exploits.
:mod:`mpc.nonlinear.transcription` turns it into one program.

A budget of accumulated excess would couple all stages, so the amount spent is carried as an additional state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from ctrl.terminal import Kind, Terminal, terminal, weight_of_rest
from mpc.online import check_horizon, check_input
from mpc.solvers.staged import StagedProgram
from systems import Budget, Task
from systems.nonsmooth import Epigraph, smoothed

__all__ = ["StagedTask", "ahead", "staged"]


@final
@dataclass(frozen=True, eq=False)
class StagedTask:
    """A staged program, and how a task sets its parameters.

    Args:
        program: its states are those of the plant, followed by the amount spent of each budget of excess; the variables
            of a stage are the inputs, the kink variables and the violations, in this order.
        first_lower, first_upper: (rows,), bounds at stage 0, where rows that depend on the measured state alone are not
            imposed.
        inputs: m, the number of inputs of the plant.
        kinks: indices of the kink variables among the variables of a stage.
        end: the terminal cost.
        moving: whether the reference is a parameter.
        ends: whether the end of the run is a parameter.
        rates: (budgets,), the factor by which spending is discounted from one sample to the next.
        decided: (budgets,), whether the excess depends on an input; an excess of the measured state alone has been
            spent already.
        smoothed: whether roots were made differentiable.
        known: indices of the states that a forecast determines. The functions use their values in the parameters, where
            they replace their references; as states of the program they are only propagated, so that they add no
            curvature.
        tuned: number of plant parameters that are parameters of the program; they come last among its parameters.
    """

    program: StagedProgram
    first_lower: np.ndarray
    first_upper: np.ndarray
    inputs: int
    kinks: np.ndarray
    end: Terminal
    moving: bool
    ends: bool
    rates: np.ndarray
    decided: np.ndarray
    smoothed: bool
    known: np.ndarray
    tuned: int = 0

    @property
    def plant_sizes(self) -> tuple[int, int]:
        """Numbers of states and inputs of the plant."""
        return self.program.states - len(self.rates), self.inputs

    @property
    def chosen(self) -> str:
        """The terminal cost, in words."""
        return (
            "a steady state within the constraints that is chosen with the plan"
            if self.end.at_edge
            else self.end.chosen
        )

    def fill(self, p: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray, going: int, left: np.ndarray) -> None:
        """Writes the parameters p (N + 1, parameters), but for those of the plant; see :meth:`tune`.

        Args:
            x_ref: (N + 1, n), the reference of the states over the horizon, and the values of known states.
            u_ref: (N + 1, m), that of the inputs.
            going: number of stages before the end of the run.
            left: (budgets,), what remains of each budget.
        """
        start = 0
        if self.moving:
            n, m = x_ref.shape[1], u_ref.shape[1]
            p[:, :n], p[:, n : n + m] = x_ref, u_ref
            start = n + m
        if self.known.size:
            p[:-1, start : start + self.known.size] = x_ref[1:, self.known]
            start += self.known.size
        if self.ends:
            stages = np.arange(len(p))
            p[:, start] = stages < going
            count = len(self.rates)
            p[:, start + 1 : start + 1 + count] = self.rates ** stages[:, None]
            p[0, start + 1 : start + 1 + count] = self.decided
            p[:, start + 1 + count : start + 1 + 2 * count] = left

    def tune(self, p: np.ndarray, values: np.ndarray) -> None:
        """Writes the values (tuned,) of the plant's parameters into p (N + 1, parameters)."""
        if self.tuned:
            p[:, -self.tuned :] = values


def ahead(
    task: Task, horizon: int, k: int, ends: bool, x: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """The reference from sample ``k`` on, states (horizon + 1, n) and inputs (horizon + 1, m), and the number of stages
    before the end of the run.

    Args:
        ends: whether the program knows of the end; the reference beyond it is ignored then.
        x: (n,), the measured state, from which states that are known ahead are predicted, in place of their reference;
            default: not known.
    """
    going = task.steps - k if ends and 0 <= k < task.steps else horizon + 1
    x_ref, u_ref = task.reading.window(k, horizon + 1, x)
    if going < horizon:
        x_ref = np.vstack([x_ref[: going + 1], np.repeat(x_ref[going : going + 1], horizon - going, axis=0)])
    return x_ref, u_ref, going


def staged(task: Task, horizon: int, kind: Kind = "cost-to-go", parameters: Sequence[str] = ()) -> StagedTask:
    """The staged program of a task.

    Soft constraints become an exact penalty: ``weight`` times the violation of each row and step, as the task charges
    it. Maxima in the cost become variables (:mod:`systems.nonsmooth`), and roots get a derivative at 0. The state
    constraints of stage 0 are left out, since the measured state cannot be changed. The whole prediction meets a budget
    of accumulated excess.

    A program with a terminal cost of the task, or with such a budget, ends where the run ends.

    Args:
        kind: see :func:`ctrl.terminal.terminal`.
        parameters: names of the plant's parameters that the program takes as numbers. The terminal cost remains that of
            their values in the task.
    """
    check_horizon(horizon)
    check_input(task)
    return _Writer(task, horizon, terminal(task, kind), parameters).write()


class _Variables:
    """Collects the variables and rows of one stage."""

    def __init__(self) -> None:
        self.entries: list[ca.SX] = []
        self.low: list[float] = []
        self.high: list[float] = []
        self.rows: list[ca.SX] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.first: list[bool] = []
        self.cost = ca.SX(0)

    def variable(
        self, name: str, count: int, low: float | np.ndarray = 0.0, high: float | np.ndarray = np.inf
    ) -> ca.SX:
        symbol = ca.SX.sym(name, count)
        self.entries.append(symbol)
        self.low += np.broadcast_to(low, count).tolist()
        self.high += np.broadcast_to(high, count).tolist()
        return symbol

    def row(self, value: ca.SX, lower: float, upper: float, first: bool = True) -> None:
        """Appends rows; ``first`` says whether they are imposed at the first stage, too."""
        count = value.shape[0]
        self.rows.append(value)
        self.lower += [lower] * count
        self.upper += [upper] * count
        self.first += [first] * count


class _Writer:
    def __init__(self, task: Task, horizon: int, end: Terminal, parameters: Sequence[str]) -> None:
        reading, plant, step = task.reading, task.plant, task.dynamics.function(parameters)
        self.tuned = ca.SX.sym("tuned", len(parameters))
        self.task, self.horizon, self.end = task, horizon, end
        self.step = smoothed(step) if reading.is_singular_on_the_way else step
        self.stage_cost = _without_roots(reading.stage) if "sqrt" in reading.stage.left else reading.stage
        self.n, self.m = len(plant.state), len(plant.input)
        self.moving = not task.reference.is_constant
        self.budgets = [c.requirement for c in reading.excess_budgets if isinstance(c.requirement, Budget)]
        self.ends = reading.terminal is not None or bool(self.budgets)
        self.x = ca.SX.sym("x", self.n)
        self.spent = ca.SX.sym("spent", len(self.budgets))
        x_ref, u_ref = reading.start
        self.xr = ca.SX.sym("xr", self.n) if self.moving else ca.SX(x_ref)
        self.ur = ca.SX.sym("ur", self.m) if self.moving else ca.SX(u_ref)
        self.going = ca.SX.sym("going") if self.ends else ca.SX(1)
        self.rate, self.left = ca.SX.sym("rate", len(self.budgets)), ca.SX.sym("left", len(self.budgets))
        window = [self.xr, self.ur] if self.moving else []
        self.known = reading.known
        # The functions read known states from the parameters.
        self.read, self.known_next = self.x, ca.SX.sym("known_next", self.known.size)
        if self.known.size:
            self.read = ca.SX(self.x)
            self.read[self.known.tolist()] = self.xr[self.known.tolist()]
            window.append(self.known_next)
        self.p = ca.vertcat(*window, *([self.going, self.rate, self.left] if self.ends else []), self.tuned)

    def write(self) -> StagedTask:
        stage, kinks, functions = self._stage()
        last = self._last()
        x, scale = ca.vertcat(self.x, self.spent), self.task.reading.cost_size
        terminal = ca.Function(
            "terminal", [x, ca.vertcat(ca.SX(0, 1), *last.entries), self.p],
            [last.cost / scale, ca.vertcat(ca.SX(0, 1), *last.rows)],
        )  # fmt: skip
        program = StagedProgram(
            self.horizon, functions, terminal,
            *(np.array(a, dtype=float) for a in (stage.low, stage.high, stage.lower, stage.upper)),
            *(np.array(a, dtype=float) for a in (last.low, last.high, last.lower, last.upper)),
        )  # fmt: skip
        imposed = np.array(stage.first, dtype=bool)
        rates = [self.task.discount if budget.per == "discounted" else 1.0 for budget in self.budgets]
        decided = [bool(ca.depends_on(g(*z), z[1])) for g in self.task.reading.excess_functions for z in [g.sx_in()]]
        return StagedTask(
            program,
            np.where(imposed, program.lower, -np.inf),
            np.where(imposed, program.upper, np.inf),
            self.m,
            kinks,
            self.end,
            self.moving,
            self.ends,
            np.array(rates),
            np.array(decided, dtype=bool),
            self.task.reading.is_singular_on_the_way or self.stage_cost is not self.task.reading.stage,
            self.known,
            self.tuned.numel(),
        )

    def _stage(self) -> tuple[_Variables, np.ndarray, ca.Function]:
        """A stage before the last: its variables and rows, the indices of its kink variables, and its functions."""
        s, reading = _Variables(), self.task.reading
        u = s.variable("u", self.m, *self.task.input_bounds)
        t = s.variable("t", self.stage_cost.count, self.stage_cost.lower)
        arguments = (self.read, u, self.xr, self.ur)
        s.cost += self.going * self.stage_cost.value(*arguments, t)
        # After the end of the run nothing is charged; a quadratic term draws the inputs to their reference instead.
        s.cost += (1 - self.going) * (ca.sumsqr(u - self.ur) + ca.sumsqr(t)) if self.ends else 0
        s.row(self.stage_cost.rows(*arguments, t), -np.inf, 0.0)
        self._hold(s, range(len(reading.conditions.names)), reading.conditions.value(self.read, u), self.going)
        after, spends = self.step(self.read, u, 0, self.tuned), []
        if self.known.size:
            after[self.known.tolist()] = self.known_next
        for excess in reading.excess_functions:
            spends.append(s.variable("excess", 1))
            for row in ca.vertsplit(excess(self.read, u)):
                s.row(row - spends[-1], -np.inf, 0.0)
        if self.ends:
            after = ca.if_else(self.going, after, self.x)
        spent = self.spent + self.going * self.rate * ca.vertcat(ca.SX(0, 1), *spends)
        functions = ca.Function(
            "stage", [ca.vertcat(self.x, self.spent), ca.vertcat(*s.entries), self.p],
            [s.cost / reading.cost_size, ca.vertcat(after, spent), ca.vertcat(ca.SX(0, 1), *s.rows)],
        )  # fmt: skip
        return s, np.arange(self.m, self.m + self.stage_cost.count), functions

    def _hold(self, s: _Variables, rows: Iterable[int], values: ca.SX, times: ca.SX) -> None:
        """Adds the rows of the conditions; soft rows of a group share one violation, charged ``times`` times."""
        rule = self.task.reading.conditions
        slacks: dict[int, ca.SX] = {}
        for i in rows:
            first = bool(rule.on_input[i])
            if np.isinf(rule.weight[i]):
                s.row(values[i], rule.lower[i], rule.upper[i], first)
                continue
            group = int(rule.group[i])
            if group not in slacks:
                slacks[group] = s.variable(f"s{group}", 1)
                s.cost += times * float(rule.weight[i]) * slacks[group]
                if self.ends:
                    s.cost += (1 - times) * ca.sumsqr(slacks[group])
            if np.isfinite(rule.upper[i]):
                s.row(values[i] - slacks[group], -np.inf, rule.upper[i], first)
            if np.isfinite(rule.lower[i]):
                s.row(values[i] + slacks[group], rule.lower[i], np.inf, first)

    def _last(self) -> _Variables:
        """The last stage."""
        s, reading, end = _Variables(), self.task.reading, self.end
        rule = reading.conditions
        rows = rule.imposed(self.horizon, self.horizon)
        if end.at_edge or reading.terminal is not None:
            rows = rows[np.isinf(rule.weight[rows])]
        self._hold(s, rows, rule.value(self.read, ca.SX.zeros(self.m, 1)), self.going)
        if len(self.budgets):
            s.row(self.spent - self.left, -np.inf, 0.0)
        own = reading.terminal
        if end.at_edge:
            self._end_at_rest(s)
        elif end.P is not None:
            error = self.x - (self.xr if end.centre is None else ca.SX(end.centre))
            s.cost += ca.bilin(ca.SX(end.P), error, error) + ca.dot(ca.SX(end.p), error)
        elif own is not None:
            t = s.variable("end", own.count, own.lower)
            s.cost += own.value(self.read, self.xr, t)
            s.row(own.rows(self.read, self.xr, t), -np.inf, 0.0)
        return s

    def _end_at_rest(self, s: _Variables) -> None:
        """Ends the prediction at a steady state within the constraints that is optimised along with it, and charged for
        as many samples as the horizon has.

        The distance that is left to it costs more than approaching it can save, so it is zero where possible.
        """
        task, end, stage = self.task, self.end, self.stage_cost
        rest = s.variable("rest", self.n, -np.inf)
        hold = s.variable("hold", self.m, *task.input_bounds)
        t, short = s.variable("t_rest", stage.count, stage.lower), s.variable("short", self.n)
        s.row(rest - self.step(rest, hold, 0, self.tuned), 0.0, 0.0)
        rule = task.reading.conditions
        self._hold(s, range(len(rule.names)), rule.value(rest, hold), ca.SX(self.horizon))
        arguments = (rest, hold, self.xr, ca.SX(task.reading.start[1]))
        s.cost += self.horizon * stage.value(*arguments, t)
        s.row(stage.rows(*arguments, t), -np.inf, 0.0)
        assert end.P is not None
        assert end.centre is not None
        s.cost += ca.dot(weight_of_rest(task, end.P, end.centre), short)
        s.row(self.x - rest - short, -np.inf, 0.0)
        s.row(rest - self.x - short, -np.inf, 0.0)


def _without_roots(stage: Epigraph) -> Epigraph:
    return Epigraph(smoothed(stage.value), smoothed(stage.rows), stage.lower, stage.start, stage.left)
