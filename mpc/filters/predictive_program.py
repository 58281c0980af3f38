"""The program of a predictive safety filter: the plan whose first input is nearest to a proposed one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from mpc.filters.terminal_set import TerminalSet
from mpc.solvers.staged import StagedProgram
from systems import Hard, Task
from systems.reading.conditions import is_input_box

__all__ = ["PredictiveProgram", "predictive_program"]

_LATER = 1e-4  # weight of later inputs relative to the first, which makes the plan unique
_INSIDE = 1e-6  # margin of a plan to its constraints, so that its simulation satisfies them


@final
@dataclass(frozen=True, eq=False)
class PredictiveProgram:
    """A staged program with the parameters (target (m,), weight, error (n,)) of each stage, and its tightening.

    Args:
        program: of states and inputs of the plant; its rows are the hard constraints and the domain, tightened.
        rows: ``(x, u, p) -> g``, those rows, satisfied if g <= 0.
        end: ``x -> g``, the tightened terminal set, likewise.
        reads_input: (rows,), whether a row depends on the input and is therefore imposed at stage 0 as well.
        low: (N, m), tightened bounds of the inputs.
        high: (N, m), likewise.
        p: (N + 1, parameters), to be filled in with the target of stage 0.
    """

    program: StagedProgram
    rows: ca.Function
    end: ca.Function
    reads_input: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def predictive_program(
    task: Task, terminal: TerminalSet, horizon: int, middle: np.ndarray, radius: np.ndarray
) -> PredictiveProgram:
    """min |u_0 - target|^2 over nominal predictions within the constraints and the terminal set (Wabersich & Zeilinger,
    2021), both tightened by the possible deviation under the terminal law's gain (Chisci, Rossiter & Zappa, 2001).

    For linear plants and constraints the tightening is exact; for others it is that of the linearisation at the centre
    of the terminal set.

    Args:
        task: whose nominal plant, hard constraints, domain and input bounds are used.
        terminal: in which predictions must end.
        horizon: predicted samples.
        middle: (q,), of the disturbances.
        radius: (q,), of the disturbances.
    """
    plant, K = task.plant, terminal.K
    x, u, w = plant.state.symbol(), plant.input.symbol(), plant.disturbance.symbol()
    n, m = x.shape[0], u.shape[0]
    lower, upper = task.applied_bounds
    reach = upper - lower
    width = np.where(np.isfinite(reach) & (reach > 0), 0.5 * reach, 1.0)
    step = task.dynamics.function()(x, u, w, ca.SX(0, 1))
    p = ca.SX.sym("p", m + 1 + n)
    target, weight, error = p[:m], p[m], p[m + 1 :]

    rows, reads_input = [], []
    for constraint, g in zip(task.constraints, task.constraint_functions, strict=True):
        if not isinstance(constraint.requirement, Hard) or is_input_box(task, constraint):
            continue
        for row in ca.vertsplit(g(x, u)):
            slope = ca.fabs(ca.jacobian(row, x) - ca.jacobian(row, u) @ ca.SX(K))
            rows.append(row + slope @ error)
            reads_input.append(bool(ca.jacobian(row, u).nnz()))
    for i, (least, most) in enumerate(zip(*task.domain_bounds, strict=True)):
        rows += [x[i] - most + error[i]] if np.isfinite(most) else []
        rows += [least - x[i] + error[i]] if np.isfinite(least) else []
    reads_input += [False] * (len(rows) - len(reads_input))
    kept = ca.densify(ca.vertcat(*rows)) if rows else ca.SX(0, 1)

    errors = _errors(task, terminal, horizon, middle, radius)
    end = terminal.tightened(errors[-1])
    cost = weight * ca.sumsqr((u - target) / width)
    following = ca.substitute(step, w, ca.DM(middle))
    v_last, count = ca.SX.sym("v", 0), len(rows)
    program = StagedProgram(
        horizon,
        ca.Function("stage", [x, u, p], [cost, following, kept]),
        ca.Function("terminal", [x, v_last, p], [ca.SX(0.0), end(x)]),
        lower, upper,
        np.full(count, -np.inf), np.full(count, -_INSIDE),
        np.zeros(0), np.zeros(0),
        np.full(1, -np.inf), np.full(1, -_INSIDE),
    )  # fmt: skip
    inputs = errors[:-1] @ np.abs(K).T
    inputs = np.minimum(inputs, 0.5 * np.where(np.isfinite(reach), reach, np.inf))
    parameters = np.zeros((horizon + 1, m + 1 + n))
    parameters[0, m], parameters[1:, m], parameters[:, m + 1 :] = 1.0, _LATER, errors
    return PredictiveProgram(
        program,
        ca.Function("rows", [x, u, p], [kept]),
        end,
        np.array(reads_input, dtype=bool),
        lower + inputs,
        upper - inputs,
        parameters,
    )


def _errors(task: Task, terminal: TerminalSet, horizon: int, middle: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """How far the state may deviate from a prediction after 0 .. N samples (N + 1, n), by signal."""
    x, u, w = task.plant.state.symbol(), task.plant.input.symbol(), task.plant.disturbance.symbol()
    step = task.dynamics.function()(x, u, w, ca.SX(0, 1))
    slopes = ca.Function("slopes", [x, u, w], [ca.jacobian(step, z) for z in (x, u, w)])
    at = terminal.middle, terminal.law(terminal.middle), middle
    A, B, E = (np.asarray(part.full()) for part in slopes(*at))
    errors, effect = np.zeros((horizon + 1, len(A))), E
    for j in range(horizon):
        errors[j + 1] = errors[j] + np.abs(effect) @ radius
        effect = (A - B @ terminal.K) @ effect
    return errors
