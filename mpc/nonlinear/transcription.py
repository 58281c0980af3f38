"""Direct multiple shooting (Bock & Plitt, 1984): a staged task as one nonlinear program over the whole horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from ctrl.terminal import Kind
from mpc.blocking import MoveBlocking
from mpc.nonlinear.staged_task import StagedTask, staged
from mpc.solvers.nlp import Bounds, NonlinearProgram
from systems import Task

__all__ = ["OptimalControl", "transcribe"]


@final
@dataclass(frozen=True, eq=False)
class OptimalControl:
    """A nonlinear program over [x0 v0 x1 v1 ... xN vN], where ``v`` are the variables of a stage.

    Args:
        staged: the same problem by its stages.
        program: its parameter is :meth:`parameter`.
        state_at, input_at: indices (horizon + 1, n) and (horizon, m) into its variables.
        kink_at: (horizon, count), of the variables that stand for kinks of the stage cost.
        row_at: (horizon, rows), indices of the rows of the stages; -1 where a row is not imposed.
    """

    staged: StagedTask
    program: NonlinearProgram
    state_at: np.ndarray
    input_at: np.ndarray
    kink_at: np.ndarray
    row_at: np.ndarray

    def parameter(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """The parameter of the program for the measured state x (n,) and the parameters p (horizon + 1, parameters) of
        all stages; see :meth:`StagedTask.fill`."""
        return np.concatenate([x, p.ravel()])

    def bounds(self, going: int) -> Bounds:
        """Bounds of variables and rows; the rows of stages from ``going`` on, after the end of the run, are free."""
        program = self.program
        if not self.staged.ends or going >= self.staged.program.horizon:
            return program.lower, program.upper, program.g_lower, program.g_upper
        lower, upper, free = program.g_lower.copy(), program.g_upper.copy(), self.row_at[going:]
        free = free[free >= 0]
        lower[free], upper[free] = -np.inf, np.inf
        return program.lower, program.upper, lower, upper


def transcribe(task: Task, horizon: int, kind: Kind = "cost-to-go") -> OptimalControl:
    """The program of a task; see :func:`mpc.nonlinear.staged_task.staged`."""
    return transcribed(staged(task, horizon, kind))


def transcribed(staged: StagedTask, blocking: MoveBlocking | None = None) -> OptimalControl:
    """The program of a staged task, its stages in the order that structure-exploiting solvers expect.

    Args:
        blocking: over which samples inputs are held; default: none.
    """
    stages, (n, m) = staged.program, staged.plant_sizes
    N, states = stages.horizon, stages.states
    measured = ca.SX.sym("measured", n)
    xs = [ca.SX.sym(f"x{k}", states) for k in range(N + 1)]
    ps = [ca.SX.sym(f"p{k}", stages.parameters) for k in range(N + 1)]
    vs = [ca.SX.sym(f"v{k}", len(stages.low)) for k in range(N)]
    last = ca.SX.sym("vN", len(stages.terminal_low))
    cost, rows, row_at = ca.SX(0), _Rows(), np.full((N, len(stages.lower)), -1)
    for k in range(N):
        f, following, g = stages.stage(xs[k], vs[k], ps[k])
        cost += f
        rows.add(xs[k + 1] - following, np.zeros(states), np.zeros(states))
        if k == 0:
            start = ca.vertcat(measured, ca.SX.zeros(states - n, 1))
            rows.add(xs[0] - start, np.zeros(states), np.zeros(states))
        lower, upper = (staged.first_lower, staged.first_upper) if k == 0 else (stages.lower, stages.upper)
        imposed = np.flatnonzero(np.isfinite(lower) | np.isfinite(upper))
        row_at[k, imposed] = rows.add(ca.vertcat(*(g[int(i)] for i in imposed)), lower[imposed], upper[imposed])
    if blocking is not None:
        for i in np.flatnonzero(np.diff(blocking.blocks(N)) == 0):
            rows.add(vs[i + 1][:m] - vs[i][:m], np.zeros(m), np.zeros(m))
    F, G = stages.terminal(xs[N], last, ps[N])
    rows.add(G, stages.terminal_lower, stages.terminal_upper)
    size, free = states + len(stages.low), np.full(states, np.inf)
    program = NonlinearProgram(
        ca.vertcat(*(z for k in range(N) for z in (xs[k], vs[k])), xs[N], last),
        cost + F, ca.densify(ca.vertcat(*rows.values)), ca.vertcat(measured, *ps),
        np.concatenate([np.tile(np.concatenate([-free, stages.low]), N), -free, stages.terminal_low]),
        np.concatenate([np.tile(np.concatenate([free, stages.high]), N), free, stages.terminal_high]),
        np.concatenate(rows.lower), np.concatenate(rows.upper),
    )  # fmt: skip
    begins = size * np.arange(N + 1)[:, None]
    variables = begins[:-1] + states
    return OptimalControl(
        staged, program, begins + np.arange(n), variables + np.arange(m), variables + staged.kinks, row_at
    )


class _Rows:
    """A growing column of rows with their bounds."""

    def __init__(self) -> None:
        self.values: list[ca.SX] = []
        self.lower: list[np.ndarray] = []
        self.upper: list[np.ndarray] = []
        self._count = 0

    def add(self, value: ca.SX, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """Appends; returns the indices taken."""
        self.values.append(value)
        self.lower.append(lower)
        self.upper.append(upper)
        self._count += len(lower)
        return np.arange(self._count - len(lower), self._count)
