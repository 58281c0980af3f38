"""Sequential quadratic programming for nonlinear MPC, warm-started at each sample from the shifted last solution."""

from __future__ import annotations

from time import perf_counter
from typing import Protocol, final

import numpy as np

from ctrl.controller import Status
from ctrl.regulator import Feedback
from mpc.fallback import Plan
from mpc.nonlinear.staged_task import StagedTask
from mpc.solvers.sqp import SQP, Ended
from mpc.solvers.staged import Point

__all__ = ["Limits", "Sequential", "StagedSolver", "relative_distance"]

Limits = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Lower and upper bounds (m,) of the plant's inputs, and the periods (n,) of its state's signals."""


class StagedSolver(Protocol):
    """A solver of one staged program that starts from the point in it; see :class:`mpc.solvers.sqp.SQP`."""

    point: Point
    lower: np.ndarray
    upper: np.ndarray

    def set_bounds(self) -> None:
        """Takes the changed bounds."""

    def prepare(self) -> None:
        """Linearises about the point."""

    def iterate(self, x: np.ndarray) -> Ended:
        """One full step for the measured state."""

    def real_time(self, x: np.ndarray) -> Ended:
        """Linearises, and takes one full step for the measured state."""

    def solve(self, x: np.ndarray, iterations: int, until: float) -> Ended:
        """Iterates for the measured state until solved."""


@final
class Sequential:
    """Solves the staged program of a task at every sample, starting from the last solution.

    Args:
        staged: the program.
        solver: of ``staged.program``.
    """

    def __init__(self, staged: StagedTask, solver: StagedSolver) -> None:
        self.staged, self.sqp = staged, solver
        self._states, self._inputs = staged.plant_sizes
        self._going = -1  # stages before the end of the run; values beyond the horizon are equivalent
        self._begins: int | None = None  # the first sample of the point
        self._planned: int | None = None  # the same, where the point is the plan that was given
        self._adopted: object = None  # the compiled iteration that knows these limits

    def reset(self) -> None:
        """Discards the point."""
        self._begins = self._planned = None

    def pose(self, p: np.ndarray, going: int) -> None:
        """Sets the parameters for the present sample.

        Args:
            p: (N + 1, parameters), of all stages.
            going: number of stages before the end of the run.
        """
        staged, sqp = self.staged, self.sqp
        sqp.point.p[:] = p
        going = min(going, staged.program.horizon + 1) if staged.ends else staged.program.horizon + 1
        if going != self._going:
            sqp.lower[:], sqp.upper[:] = staged.program.lower, staged.program.upper
            sqp.lower[0], sqp.upper[0] = staged.first_lower, staged.first_upper
            sqp.lower[going:], sqp.upper[going:] = -np.inf, np.inf
            sqp.set_bounds()
            self._going = going

    def start(self, xs: np.ndarray, us: np.ndarray, kinks: np.ndarray, k: int) -> None:
        """Starts from states (N + 1, n), inputs (N, m) and kink variables (N, count), with all multipliers zero."""
        p, n, m = self.sqp.point, self._states, self._inputs
        for array in (p.x, p.v, p.v_last, p.pi, p.lam, p.lam_last, p.mu, p.mu_last):
            array[:] = 0.0
        p.x[:, :n], p.v[:, :m], p.v[:, self.staged.kinks] = xs, us, kinks
        if self.staged.end.at_edge:
            p.v_last[0, :n], p.v_last[0, n : n + m] = xs[-1], us[-1]
        self._begins, self._planned = k, None

    def shift(self, xs: np.ndarray, us: np.ndarray, k: int) -> bool:
        """Shifts the last solution to sample ``k`` and sets its states and inputs; returns whether there was one."""
        if self._begins is None:
            return False
        p, n, m = self.sqp.point, self._states, self._inputs
        done = min(max(k - self._begins, 0), len(us))
        if done:
            for array in (p.v, p.pi, p.lam, p.mu):
                array[:-done] = array[done:].copy()
                array[-done:] = array[-done - 1 : -done] if done < len(array) else 0.0
            p.x[:-done, n:] = p.x[done:, n:] - p.x[done, n:]
        p.x[:, :n], p.v[:, :m] = xs, us
        self._begins, self._planned = k, None
        return True

    def advance(self, x: np.ndarray, k: int, feedback: Feedback, limits: Limits, far: float) -> bool | None:
        """Shifts from sample ``k - 1`` to ``k`` in one foreign call, extending the plan by a linear feedback.

        Args:
            x: (n,), the state that the shifted plan begins with.
            feedback: at the last stage, within the limits.
            far: distance from x, see :func:`relative_distance`, beyond which the plan is not used.

        Returns:
            Whether the plan is finite and near enough; None, and nothing has changed, where it is not the point's, or
            is not compiled.
        """
        compiled = self.sqp.compiled if isinstance(self.sqp, SQP) else None
        if compiled is None or self._planned != k - 1 or len(self.staged.rates):
            return None
        if self._adopted is not compiled:
            compiled.set_limits(*limits)
            self._adopted = compiled
        self._begins, self._planned = k, None
        return compiled.advance(x, feedback, far)

    def solve(self, x: np.ndarray, iterations: int, until: float) -> Ended:
        """Solves for the measured state x (n,); see :meth:`SQP.solve`."""
        return self.sqp.solve(self._measured(x), iterations, until)

    def prepare(self) -> None:
        """Linearises about the point: what a real-time iteration can do before the measurement arrives."""
        self.sqp.prepare()

    def feedback(self, x: np.ndarray) -> Ended:
        """The rest of the real-time iteration for the measured state x (n,): one full step."""
        return self.sqp.iterate(self._measured(x))

    def real_time(self, x: np.ndarray, iterations: int = 1, until: float = np.inf) -> Ended:
        """Whole real-time iterations for the measured state x (n,): full steps, at least one.

        Args:
            iterations: their number. until: time of `perf_counter` at which no other is begun.
        """
        x, done = self._measured(x), 1
        ended = self.sqp.real_time(x)
        while done < iterations and ended.status in (Status.SOLVED, Status.MAX_ITERATIONS) and perf_counter() < until:
            ended, done = self.sqp.real_time(x), done + 1
        return Ended(ended.status, done, ended.residual)

    def distance(self, x: np.ndarray) -> float:
        """Distance of the first state of the point from x (n,); see :func:`relative_distance`."""
        return relative_distance(x, self.sqp.point.x[0, : self._states])

    def _measured(self, x: np.ndarray) -> np.ndarray:
        if not len(self.staged.rates):
            return x
        return np.concatenate([x, np.zeros(len(self.staged.rates))])  # the plan starts with no budget spent

    def plan(self, k: int) -> Plan:
        """The states and inputs of the point, as a plan that begins at sample ``k``."""
        p, self._planned = self.sqp.point, k
        return Plan(p.x[:, : self._states].copy(), p.v[:, : self._inputs].copy(), k)


def relative_distance(x: np.ndarray, other: np.ndarray) -> float:
    """Largest distance of the entries of two vectors (n,), relative to 1 + |x|; NaN where they are not numbers."""
    return float((np.abs(x - other) / (1.0 + np.abs(x))).max(initial=0.0))
