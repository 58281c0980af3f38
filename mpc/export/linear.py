"""The C code of linear MPC: the condensed quadratic program and its dual active-set solver."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctrl.export.code import CodePart, Member, fragment
from mpc.linear.condensing import LinearOptimalControl, ParametricQP
from mpc.solvers.qp import LOOSE, QPSolver
from systems.lowering.c_source import c_number

__all__ = ["linear_part", "linear_step_part"]


def linear_part(
    form: ParametricQP,
    control: LinearOptimalControl,
    instances: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    terminal_rows: int,
    max_iterations: int,
) -> CodePart:
    """``linear_solve(memory, x, k, decision)`` and ``planned(y, x, k, i)``, see ``mpc/export/c/linear.c``.

    Args:
        form: the quadratic program, in the least-distance form.
        control: the optimal control problem that it states.
        instances: for every sample what ``form.instance`` gives; the last one is held.
        terminal_rows: number of rows of the terminal set, the last ones.
        max_iterations: of one solve.
    """
    problem, (horizon, n, m) = form.problem, control.B.shape
    rows = problem.A.toarray()
    count, variables = rows.shape
    length = np.linalg.norm(rows, axis=1)
    length = np.where(length > 0, length, 1.0)
    bounded = np.isfinite(problem.lower)
    at_rest = np.where(bounded, problem.lower, problem.upper)
    shift = [(np.where(bounded, low, high) - at_rest) / length for _, low, high, _ in instances]
    stages = np.concatenate([np.concatenate([control.state_at[k], control.input_at[k]]) for k in range(horizon)])
    working = variables + 2
    return CodePart(
        (_constants(), fragment("mpc.export", "dual_active_set.c"), fragment("mpc.export", "linear.c")),
        {
            "ROW": rows / length[:, None],
            "ROW_LOWER": problem.lower / length,
            "ROW_UPPER": problem.upper / length,
            "ROW_STATE": form.shift_state / length[:, None],
            "ROW_SHIFT": np.array(shift),
            "WEIGHT": problem.weight * length,
            "PLAN": np.asarray(form.expand)[stages],
            "PLAN_STATE": form.expand_state[stages],
            "PLAN_OFFSET": np.array([offset[stages] for *_, offset in instances]),
        },
        {
            "ROWS": count,
            "OTHER_ROWS": count - terminal_rows,
            "VARIABLES": variables,
            "DATA_ROWS": len(instances),
            "PLANNED": horizon * (n + m),
            "HORIZON": horizon,
            "MAX_QP_ITERATIONS": max_iterations,
        },
        (
            Member("double", "low", count, "bounds of the rows in this sample"),
            Member("double", "high", count),
            Member("double", "y", variables, "the point"),
            Member("double", "violated", variables, "the point of violated soft rows alone"),
            Member("double", "factor", working * (working + 1) // 2, "of the working set, by rows"),
            Member("double", "pivot", working),
            Member("double", "multiplier", working),
            Member("double", "direction", working),
            Member("double", "step", working),
            Member("int", "state", count, "of every row: idle, active or violated"),
            Member("int", "rows", working, "the working set"),
            Member("int", "working", None, "its size"),
            Member("int", "singular", None, "whether its last row depends on the others"),
            Member("int", "warm", None, "whether the working set is a start for the next sample"),
            Member("int", "continues", None, "whether the last solve ended well"),
            Member("int", "continues_without_set", None),
            Member("double", "plan", variables, "the last accepted point"),
            Member("double", "plan_state", n, "the state that it starts from"),
            Member("long", "plan_sample", None, "its sample"),
            Member("int", "planned", None, "whether there is one"),
        ),
    )  # fmt: skip


def linear_step_part() -> CodePart:
    """The step of linear MPC, of the functions of :func:`linear_part` and of the fallback."""
    return CodePart((fragment("mpc.export", "linear_step.c"),))


def _constants() -> str:
    """The tolerances of :class:`mpc.solvers.qp.QPSolver`."""
    return (
        f"static const double FEASIBLE = {c_number(QPSolver.FEASIBLE)}; /* residual that counts as solved */\n"
        f"static const double LOOSE = {c_number(LOOSE)}; /* of one that is used although the solver did not finish */\n"
    )
