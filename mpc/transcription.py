"""From a task to an optimal control problem: conditions of each stage, price of the end, the nonlinear program."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from ctrl.regulator import LQR
from mpc.solvers.nlp import NonlinearProgram
from systems import Box, Hard, LinearPlant, Polytope, Soft, Task
from systems.arguments import expect_whole
from systems.errors import expect

__all__ = [
    "Conditions",
    "OptimalControl",
    "Terminal",
    "check_horizon",
    "check_input",
    "conditions",
    "terminal",
    "transcribe",
]


LONGEST = 1_000_000  # samples that anybody looks ahead


@dataclass(frozen=True, eq=False)
class Conditions:
    """lower <= v(x, u) <= upper, row by row, besides the input bounds of the task.

    Hard constraints have an infinite price. So have chance and budget constraints, which are held on the nominal
    prediction: a plain MPC knows neither the law of the disturbance nor how often it violated them before.

    Args:
        value: ``v(x, u) -> (rows, 1)``. lower, upper: (rows,).
        price: (rows,), per unit of violation and step. names: of the constraint each row belongs to.
        on_state, on_input: masks (rows,), what the row depends on.
    """

    value: ca.Function
    lower: np.ndarray
    upper: np.ndarray
    price: np.ndarray
    names: tuple[str, ...]
    on_state: np.ndarray
    on_input: np.ndarray

    def at(self, k: int, horizon: int) -> np.ndarray:
        """Indices of the rows imposed at stage ``k`` of 0..horizon.

        Nothing can be done about the measured state, so rows of the state alone start at stage 1; the last stage has no
        input.
        """
        if k == 0:
            return np.flatnonzero(self.on_input)
        return np.flatnonzero(~self.on_input if k == horizon else np.ones(len(self.names), dtype=bool))


def conditions(task: Task) -> Conditions:
    """The conditions of a task as two-sided rows; a hard box on inputs is left to ``task.input_bounds``.

    A box gives one row per signal, so that both its sides share one violation; the task's domain is no condition.
    """
    plant = task.plant
    x, u = plant.state.symbol(), plant.input.symbol()
    values, lower, upper, price, names = [], [], [], [], []
    for constraint in task.constraints:
        requirement = constraint.requirement
        if isinstance(constraint, Box):
            of_inputs = not isinstance(requirement, Hard)
            kept = [name for name in constraint.bounds if of_inputs or name not in plant.input.names]
            bounds = [constraint.bounds[name] for name in kept]
            signals = dict(zip((*plant.state.names, *plant.input.names), ca.vertsplit(ca.vertcat(x, u)), strict=True))
            kept = [name for name, (low, high) in zip(kept, bounds, strict=True) if np.isfinite([low, high]).any()]
            rows = [signals[name] for name in kept]
            lower += [constraint.bounds[name][0] for name in kept]
            upper += [constraint.bounds[name][1] for name in kept]
        else:
            column = constraint.function(plant)(x, u)
            rows = [column[i] for i in range(column.shape[0])]
            if isinstance(constraint, Polytope):
                rows = [row for row, h in zip(rows, constraint.h, strict=True) if np.isfinite(h)]
            lower += [-np.inf] * len(rows)
            upper += [0.0] * len(rows)
        values += rows
        price += [requirement.weight if isinstance(requirement, Soft) else np.inf] * len(rows)
        names += [constraint.name] * len(rows)
    depends = [[bool(ca.depends_on(row, z)) for row in values] for z in (x, u)]
    value = ca.Function("conditions", [x, u], [ca.vertcat(*values) if values else ca.SX(0, 1)], ["x", "u"], ["v"])
    return Conditions(
        value,
        np.array(lower, dtype=float),
        np.array(upper, dtype=float),
        np.array(price, dtype=float),
        tuple(names),
        np.array(depends[0], dtype=bool),
        np.array(depends[1], dtype=bool),
    )


def check_horizon(horizon: int) -> None:
    """Raises InvalidValue unless the horizon is a whole number of at least 1, and of a size that memory holds."""
    expect_whole(horizon, "horizon", least=1, most=LONGEST, unit="samples")


def check_input(task: Task) -> None:
    """Raises NotApplicable where there is nothing to optimise, InvalidValue where there is no task."""
    expect(task, Task, "the task of a controller", "such as systems.library.cartpole()")
    if not len(task.plant.input):
        raise NotApplicable(f"task '{task.name}' has no input, so there is nothing to optimise")


@dataclass(frozen=True, eq=False)
class Terminal:
    """What the last predicted state costs: (x - x_r)'P (x - x_r), or the task's own terminal cost where P is None."""

    P: np.ndarray | None
    chosen: str


def terminal(task: Task) -> Terminal:
    """The cost-to-go of the local regulator, where the loop is meant to end in its neighbourhood.

    That is so if the reference stands still at an equilibrium (or the plant is linear: the cost-to-go is then the same
    around every reference) and a regulator exists. Otherwise the task's own terminal cost.
    """
    try:
        regulator = LQR(task)
    except NotApplicable as reason:
        return Terminal(None, f"terminal cost of the task; no regulator: {reason}")
    if isinstance(task.plant, LinearPlant):
        return Terminal(regulator.P, "Riccati cost-to-go")
    if not task.reference.is_constant:
        return Terminal(None, "terminal cost of the task, whose reference moves")
    if not is_equilibrium(task):
        return Terminal(None, "terminal cost of the task, whose reference is no equilibrium")
    return Terminal(regulator.P, "Riccati cost-to-go of the linearisation at the reference")


def is_equilibrium(task: Task) -> bool:
    """Whether the undisturbed plant stands still at the task's first reference."""
    x, u = task.reference.at(task.plant, 0)
    moved = np.array(task.dynamics.function()(x, u, 0, []))[:, 0] - x
    return bool(np.abs(moved).max(initial=0.0) <= 1e-6 * (1.0 + np.abs(x).max(initial=0.0)))


@dataclass(frozen=True, eq=False)
class OptimalControl:
    """A nonlinear program over [x0 u0 s0 x1 u1 s1 ... xN sN], s being the violations of the soft rows of a stage.

    Args:
        program: its parameter is the measured state, followed by the window of references [xr0 ur0 ... xrN] if moving.
        state_at, input_at: indices (horizon + 1, n) and (horizon, m) into its variables.
        moving: whether the reference window is a parameter.
        chosen: the terminal cost, in words.
    """

    program: NonlinearProgram
    state_at: np.ndarray
    input_at: np.ndarray
    moving: bool
    chosen: str


def transcribe(task: Task, horizon: int) -> OptimalControl:
    """Direct multiple shooting (Bock & Plitt, 1984) of a task, in the stage order structure-exploiting solvers expect.

    Soft constraints become an exact penalty: ``weight`` times the violation of each row and step, as the task charges
    it. The state constraints of stage 0 are left out, since the measured state is what it is.
    """
    check_horizon(horizon)
    check_input(task)
    plant, moving = task.plant, not task.reference.is_constant
    n, m = len(plant.state), len(plant.input)
    step, stage = task.dynamics.function(), task.cost.stage_function(plant)
    rule, end = conditions(task), terminal(task)
    least, most = task.input_bounds
    measured = ca.SX.sym("measured", n)
    x_ref, u_ref = task.reference.at(plant, 0)
    xr = [ca.SX.sym(f"xr{k}", n) if moving else ca.SX(x_ref) for k in range(horizon + 1)]
    ur = [ca.SX.sym(f"ur{k}", m) if moving else ca.SX(u_ref) for k in range(horizon)]
    xs = [ca.SX.sym(f"x{k}", n) for k in range(horizon + 1)]
    us = [ca.SX.sym(f"u{k}", m) for k in range(horizon)]
    variables, rows, cost = _Column(), _Column(), ca.SX(0)
    state_at, input_at = [], []
    for k in range(horizon + 1):
        last = k == horizon
        state_at.append(variables.add(xs[k], -np.inf, np.inf))
        if not last:
            input_at.append(variables.add(us[k], least, most))
            rows.add(xs[k + 1] - step(xs[k], us[k], 0, []), 0.0, 0.0)
            cost += stage(xs[k], us[k], xr[k], ur[k])
        if k == 0:
            rows.add(xs[0] - measured, 0.0, 0.0)
        values = rule.value(xs[k], ca.SX(m, 1) if last else us[k])
        for i in rule.at(k, horizon):
            if np.isinf(rule.price[i]):
                rows.add(values[i], rule.lower[i], rule.upper[i])
                continue
            slack = ca.SX.sym(f"s{k}_{i}")
            variables.add(slack, 0.0, np.inf)
            cost += rule.price[i] * slack
            if np.isfinite(rule.upper[i]):
                rows.add(values[i] - slack, -np.inf, rule.upper[i])
            if np.isfinite(rule.lower[i]):
                rows.add(values[i] + slack, rule.lower[i], np.inf)
    if end.P is not None:
        cost += ca.bilin(ca.SX(end.P), xs[-1] - xr[-1], xs[-1] - xr[-1])
    else:
        cost += task.cost.terminal_function(plant)(xs[-1], xr[-1])
    window = [symbol for pair in zip(xr, ur, strict=False) for symbol in pair] + xr[-1:] if moving else []
    program = NonlinearProgram(
        ca.vertcat(*variables.entries),
        cost,
        ca.vertcat(*rows.entries),
        ca.vertcat(measured, *window),
        *(np.array(bound) for bound in (variables.lower, variables.upper, rows.lower, rows.upper)),
    )
    return OptimalControl(program, np.array(state_at), np.array(input_at), moving, end.chosen)


class _Column:
    """A growing column of expressions with their bounds."""

    def __init__(self) -> None:
        self.entries: list[ca.SX] = []
        self.lower: list[float] = []
        self.upper: list[float] = []

    def add(self, entry: ca.SX, lower: float | np.ndarray, upper: float | np.ndarray) -> np.ndarray:
        """Appends; returns the indices taken."""
        start, size = len(self.lower), entry.shape[0]
        self.entries.append(entry)
        self.lower += np.broadcast_to(lower, size).tolist()
        self.upper += np.broadcast_to(upper, size).tolist()
        return np.arange(start, start + size)
