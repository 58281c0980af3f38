"""Optimal control under tightened constraints: the terminal condition, and the condensed quadratic program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ctrl.controller import NotApplicable
from mpc.solvers.qp import QuadraticProgram
from mpc.stochastic.disturbed_loop import DisturbedLoop, LoopRows
from mpc.stochastic.tightening import Margins
from systems import Task
from systems.linear_programs import maximise

__all__ = ["TightenedProgram", "program_margins", "terminal_steps", "tightened_program"]


def terminal_steps(
    task: Task, loop: DisturbedLoop, rows: LoopRows, limits: Margins, horizon: int, max_rows: int = 2000
) -> int:
    """Number of samples from the horizon on for which rows must be imposed so that they hold for all future time.

    Under nu = 0 the rows of sample N + s bound D A^s (x_N - rest). Their margins grow with s, but never beyond the
    largest. So if the first J of them, with the smallest margins that any phase of re-conditioning knows, imply the
    next J with the largest margins, then they imply all others, by induction. With them the last state lies in the
    maximal set that is invariant under the time-varying tightened constraints (Gilbert & Tan, 1991, for the constant
    ones).

    Raises:
        NotApplicable: the margins leave nothing of a constraint at rest, or the set needs more than ``max_rows`` rows.
    """
    if not len(rows.D):
        return 0
    at_rest = rows.D @ loop.rest
    low, high = rows.lower - at_rest, rows.upper - at_rest
    largest = limits.largest
    room = np.minimum(high, -low) - largest
    if not (room > 0).all():
        i = int(np.argmin(room))
        if room[i] + largest[i] <= 0:
            raise NotApplicable(
                f"task '{task.name}': the loop comes to rest {-room[i] - largest[i]:.4g} outside '{rows.names[i]}'; "
                "choose a reference inside, with an input inside its bounds"
            )
        raise NotApplicable(
            f"task '{task.name}': the disturbance is too large for '{rows.names[i]}': its margin grows to "
            f"{largest[i]:.4g} of the {largest[i] + room[i]:.4g} there are between where the loop comes to rest and "
            "the limit; reduce the disturbance, widen the limit, or choose another gain"
        )
    phases = int(min(limits.every, limits.settled + 1))
    scale = np.where(np.isfinite(np.minimum(high, -low)), np.minimum(high, -low), 1.0)

    def smallest(s: int) -> np.ndarray:
        return np.asarray(limits.after(horizon + s + np.arange(phases)).min(axis=0))

    for count in _counts(max_rows // len(rows.D)):
        H, h, reached = [], [], rows.D
        for s in range(count):
            margin = smallest(s)
            H += [reached / scale[:, None], -reached / scale[:, None]]
            h += [(high - margin) / scale, (margin - low) / scale]
            reached = reached @ loop.A
        A, b = np.vstack(H), np.concatenate(h)
        A, b = A[np.isfinite(b)], b[np.isfinite(b)]
        if _follows(A, b, loop.A, reached / scale[:, None], (high - largest) / scale, (largest - low) / scale, count):
            return count
    raise NotApplicable(f"task '{task.name}': the terminal set needs more than {max_rows} rows; give terminal_steps")


def _counts(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, ... up to ``most``: few trials, and never many more rows than needed."""
    counts = [1]
    while counts[-1] < most:
        counts.append(max(counts[-1] + 1, int(counts[-1] * 1.34)))
    return [count for count in counts if count <= most]


def _follows(
    A: np.ndarray, b: np.ndarray, step: np.ndarray, first: np.ndarray, high: np.ndarray, low: np.ndarray, count: int
) -> bool:
    """Whether A x <= b implies -low <= first step^s x <= high for s = 0 .. count - 1, by linear programs.

    The origin is inside, so the set is never empty.
    """
    reached = first
    for _ in range(count):
        for row, over, under in zip(reached, high, low, strict=True):
            for direction, bound in ((row, over), (-row, under)):
                if np.isinf(bound) or np.abs(direction).max(initial=0.0) < 1e-14:
                    continue
                if maximise(direction, A, b).value > bound + 1e-9:
                    return False
        reached = reached @ step
    return True


@dataclass(frozen=True, eq=False)
class TightenedProgram:
    """The quadratic program over nu(0) .. nu(N - 1), stacked.

    With zeta = z_0 - x_r of the nominal prediction, xi = x - x_r of the measured state, and margins of the tightened
    rows, f = f_state xi + f_constant and the bounds are

        lower + margins - on_nominal zeta - on_measured xi,   upper - margins - on_nominal zeta - on_measured xi.

    Args:
        problem: H, rows, weights, and the bounds without margins and states.
        stage: (rows of the program,), the sample of the prediction that each one belongs to.
        row: (rows of the program,), which of the :class:`LoopRows` each one is; soft rows carry no margin and -1.
    """

    problem: QuadraticProgram
    f_state: np.ndarray
    f_constant: np.ndarray
    on_nominal: np.ndarray
    on_measured: np.ndarray
    stage: np.ndarray
    row: np.ndarray


def tightened_program(
    loop: DisturbedLoop,
    rows: LoopRows,
    soft: LoopRows,
    horizon: int,
    extra: int,
    last: tuple[np.ndarray, np.ndarray] | None = None,
    is_run_end: bool = False,
) -> TightenedProgram:
    """Condenses ``horizon`` stages, and ``extra`` more under nu = 0 whose tightened rows are the terminal condition.

    The nominal prediction carries the tightened rows; cost and soft rows are charged on the prediction from the
    measured state. Both obey the same loop, so they share its maps.

    Args:
        last: half the Hessian (n, n) and half the gradient (n,) of a terminal cost of x - x_r, by default the
            cost-to-go of the loop. It is charged in place of soft rows.
        is_run_end: whether the run ends with the last stage, so that nothing is imposed behind it.
    """
    extra = 0 if is_run_end else extra
    (n, m), d = loop.B.shape, horizon * loop.B.shape[1]
    model, K = loop.model, loop.K
    power, effect, offset = np.eye(n), np.zeros((n, d)), np.zeros(n)
    H, f_state, f_constant = np.zeros((d, d)), np.zeros((d, n)), np.zeros(d)
    stage_cost = np.block([[model.Q, model.N], [model.N.T, model.R]])
    parts: list[tuple[np.ndarray, ...]] = []
    stages: list[np.ndarray] = []
    which: list[np.ndarray] = []

    def impose(given: LoopRows, k: int, tightened: bool) -> None:
        # Nothing can be done about the measured state, so rows of the state alone start at stage 1.
        at_end = is_run_end and k == horizon
        chosen = np.flatnonzero(
            ~given.is_state_row if k == 0 else given.is_state_row if at_end else np.full(len(given.D), 1)
        )
        D = given.D[chosen]
        matrix = D @ effect
        if k < horizon:
            matrix[:, k * m : (k + 1) * m] += given.F[chosen]
        from_state, none = D @ power, np.zeros((len(chosen), n))
        states = (from_state, none) if tightened else (none, from_state)
        shift = D @ offset
        parts.append((matrix, *states, given.lower[chosen] - shift, given.upper[chosen] - shift, given.weight[chosen]))
        stages.append(np.full(len(chosen), k))
        which.append(chosen if tightened else np.full(len(chosen), -1))

    for k in range(horizon + max(extra, 1)):
        if k < horizon + extra or is_run_end:
            impose(rows, k, tightened=True)
        if k < horizon:
            impose(soft, k, tightened=False)
            moved = -K @ effect
            moved[:, k * m : (k + 1) * m] += np.eye(m)
            T, Tx, t = np.vstack([effect, moved]), np.vstack([power, -K @ power]), np.append(offset, -K @ offset)
            weight, slope = stage_cost, model.gradient
        elif k == horizon:
            if last is None:
                impose(soft.where(soft.is_state_row), k, tightened=False)
            weight, half = (loop.P, np.zeros(n)) if last is None else last
            T, Tx, t, slope = effect, power, offset, 2.0 * half
        if k <= horizon:
            pull = 2.0 * T.T @ weight
            H, f_state, f_constant = H + pull @ T, f_state + pull @ Tx, f_constant + pull @ t + T.T @ slope
        effect = loop.A @ effect
        if k < horizon:
            effect[:, k * m : (k + 1) * m] += loop.B
        power, offset = loop.A @ power, loop.A @ offset + loop.drift
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    matrix, on_nominal, on_measured, lower, upper, row_weight = columns
    matrix[np.abs(matrix) < 1e-14 * np.abs(matrix).max(initial=0.0)] = 0.0
    problem = QuadraticProgram(sp.csc_matrix(0.5 * (H + H.T)), sp.csc_matrix(matrix), row_weight, lower, upper)
    return TightenedProgram(
        problem, f_state, f_constant, on_nominal, on_measured, np.concatenate(stages), np.concatenate(which)
    )


def program_margins(program: TightenedProgram, limits: Margins, phase: int) -> np.ndarray:
    """The margin of every row of the program, ``phase`` samples after re-conditioning; zero for soft rows."""
    table = limits.after(phase + np.arange(int(program.stage.max(initial=0)) + 1))
    if not table.shape[1]:
        return np.zeros(len(program.row))
    return np.where(program.row >= 0, table[program.stage, program.row], 0.0)
