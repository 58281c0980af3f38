"""Staged programs whose last stage has variables, rewritten for solvers whose last stage has a state alone."""

from __future__ import annotations

import dataclasses
from typing import final

import casadi as ca
import numpy as np

from mpc.solvers.staged import Point, StagedProgram

__all__ = ["FreeEnd"]


@final
class FreeEnd:
    """The same program, with the variables of the last stage carried into it as states.

    The stage before the last chooses them: a state y with y_{k+1} = z_k, where z is an additional input, is free in the
    last stage. At all stages but that one z costs z'z and is zero. Without variables in the last stage the program
    stays as it is.

    Args:
        program: any staged program.

    Attributes:
        program: its states are those of the original one and y, the variables of a stage the original ones and z; its
            parameters end with a flag that is 1 at the stage before the last.
        x (N + 1, n), v (N, m), p (N + 1, parameters): a point of it.
    """

    def __init__(self, program: StagedProgram) -> None:
        self._original, self._count = program, len(program.terminal_low)
        self.program = _carried(program) if self._count else program
        N = program.horizon
        self.x = np.zeros((N + 1, self.program.states))
        self.v = np.zeros((N, len(self.program.low)))
        self.p = np.zeros((N + 1, self.program.parameters))
        if self._count:
            self.p[-2, -1] = 1.0

    def read(self, point: Point) -> None:
        """Copies states, variables and parameters from a point of the original program."""
        n, m, given = self._original.states, len(self._original.low), self._original.parameters
        self.x[:, :n], self.v[:, :m], self.p[:, :given] = point.x, point.v, point.p
        if self._count:
            self.x[-1, n:] = self.v[-1, m:] = point.v_last[0]

    def write(self, point: Point) -> None:
        """Copies states and variables to a point of the original program."""
        n, m = self._original.states, len(self._original.low)
        point.x[:], point.v[:] = self.x[:, :n], self.v[:, :m]
        if self._count:
            point.v_last[0] = self.x[-1, n:]


def _carried(program: StagedProgram) -> StagedProgram:
    n, m, count = program.states, len(program.low), len(program.terminal_low)
    x, y = ca.SX.sym("x", n), ca.SX.sym("y", count)
    v, z = ca.SX.sym("v", m), ca.SX.sym("z", count)
    p, flag = ca.SX.sym("p", program.parameters), ca.SX.sym("is_before_last")
    f, after, g = program.stage(x, v, p)
    F, G = program.terminal(x, y, p)
    stage = ca.Function(
        "stage", [ca.vertcat(x, y), ca.vertcat(v, z), ca.vertcat(p, flag)],
        [f + (1 - flag) * ca.sumsqr(z), ca.vertcat(after, z), g],
    )  # fmt: skip
    bounded = np.flatnonzero(np.isfinite(program.terminal_low) | np.isfinite(program.terminal_high)).tolist()
    terminal = ca.Function(
        "terminal", [ca.vertcat(x, y), ca.SX(0, 1), ca.vertcat(p, flag)], [F, ca.vertcat(G, y[bounded])]
    )
    free, none = np.full(count, np.inf), np.zeros(0)
    return dataclasses.replace(
        program,
        stage=stage,
        terminal=terminal,
        low=np.concatenate([program.low, -free]),
        high=np.concatenate([program.high, free]),
        terminal_low=none,
        terminal_high=none,
        terminal_lower=np.concatenate([program.terminal_lower, program.terminal_low[bounded]]),
        terminal_upper=np.concatenate([program.terminal_upper, program.terminal_high[bounded]]),
    )
