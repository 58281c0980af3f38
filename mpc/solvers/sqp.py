"""Sequential quadratic programming for staged programs, on HPIPM: Newton steps on the whole horizon at once.

Nocedal & Wright (2006), "Numerical Optimization", chapter 18; the structure as in Diehl et al. (2005), "Nominal
stability of real-time iteration scheme for nonlinear model predictive control". With ``iterations=1`` this is the
real-time iteration; converged solves are the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import final

import numpy as np

from ctrl.controller import Status
from mpc.solvers.hpipm import HPIPM, Mode, StageSizes
from mpc.solvers.staged import Hessian, Linearisation, StagedProgram

__all__ = ["SQP", "Ended"]

_ARMIJO = 1e-4  # share of the predicted decrease of the merit function that a step must reach
_SHORTEST = 2.0**-12  # step length below which the line search gives up
_LEAST_CURVATURE = 1e-8  # eigenvalue of a convexified Hessian, relative to its largest


@final
@dataclass(frozen=True)
class Ended:
    """How a solve ended.

    Args:
        status: SOLVED where the residual is within the tolerance. iterations: QPs solved.
        residual: largest violation of the optimality conditions, scaled; infinite where not finite.
    """

    status: Status
    iterations: int
    residual: float


@final
class SQP:
    """Solves a staged program from the point in ``point``, which it moves.

    Args:
        program: what is solved. hessian: see :data:`mpc.solvers.staged.Hessian`; an indefinite one is convexified stage
            by stage. mode: of HPIPM. tolerance: residual at which a point counts as solved.

    Attributes:
        point: guess, then solution. low, high (N, m), lower, upper (N, rows): bounds of the stages, which may be
            changed between solves (then call :meth:`set_bounds`); low_last, ... those of the last.
    """

    def __init__(
        self,
        program: StagedProgram,
        hessian: Hessian = "lagrangian",
        mode: Mode = "balance",
        tolerance: float = 1e-6,
    ) -> None:
        N = program.horizon
        sizes = StageSizes(
            N, program.states, len(program.low), len(program.lower),
            len(program.terminal_low), len(program.terminal_lower),
        )  # fmt: skip
        self.qp = HPIPM(sizes, mode)
        self.linearisation = Linearisation(program, self.qp, hessian)
        self.point, self.program, self.tolerance = self.linearisation.point, program, tolerance
        self.low, self.high = np.tile(program.low, (N, 1)), np.tile(program.high, (N, 1))
        self.lower, self.upper = np.tile(program.lower, (N, 1)), np.tile(program.upper, (N, 1))
        self.low_last, self.high_last = program.terminal_low[None], program.terminal_high[None]
        self.lower_last, self.upper_last = program.terminal_lower[None], program.terminal_upper[None]
        self._weight = 1.0  # of violations in the merit function
        self.set_bounds()

    def set_bounds(self) -> None:
        """To be called when it has changed which bounds are infinite."""
        self._shift_bounds()
        self.qp.set_bounds()

    def _shift_bounds(self) -> None:
        """Bounds of a step from the bounds of the point."""
        qp, point = self.qp, self.point
        np.subtract(self.low, point.v, out=qp.stages.low)
        np.subtract(self.high, point.v, out=qp.stages.high)
        np.subtract(self.lower, point.g, out=qp.stages.lower)
        np.subtract(self.upper, point.g, out=qp.stages.upper)
        np.subtract(self.low_last, point.v_last, out=qp.last.low)
        np.subtract(self.high_last, point.v_last, out=qp.last.high)
        np.subtract(self.lower_last, point.G, out=qp.last.lower)
        np.subtract(self.upper_last, point.G, out=qp.last.upper)

    def prepare(self) -> None:
        """Linearises about the point: all that can be done before the measurement arrives."""
        qp, point = self.qp, self.point
        self.linearisation.linearise()
        np.subtract(point.next, point.x[1:], out=qp.b)
        self._shift_bounds()
        self._convexify()

    def feedback(self, x: np.ndarray) -> Status:
        """Solves the QP for the measured state x (n,), whose distance to ``point.x[0]`` enters to first order."""
        qp, point = self.qp, self.point
        d = x - point.x[0]
        if d.any():
            s = qp.stages
            qp.b[0] += d @ qp.A[0]
            s.r[0] += d @ s.S[0]
            moved = d @ s.C[0]
            s.lower[0] -= moved
            s.upper[0] -= moved
            point.x[0] = x
        return qp.solve()

    def solve(self, x: np.ndarray, iterations: int = 50, until: float = np.inf) -> Ended:
        """Iterates from the point for the measured state x (n,); never raises because of numbers.

        Args:
            iterations: at most so many QPs. With 1, a full step without line search: the real-time iteration.
            until: time of `perf_counter` at which to stop.
        """
        point, qp = self.point, self.qp
        status, residual, done = Status.MAX_ITERATIONS, np.inf, 0
        if iterations > 1:
            point.x[0] = x
        while done < iterations:
            self.prepare()
            if iterations > 1:
                residual = self.residual()
                if not np.isfinite(residual):
                    return Ended(Status.NUMERICAL, done, np.inf)
                if residual <= self.tolerance:
                    return Ended(Status.SOLVED, done, residual)
            if perf_counter() >= until:
                return Ended(Status.TIMEOUT, done, residual)
            ended = self.feedback(x)
            done += 1
            if ended not in (Status.SOLVED, Status.MAX_ITERATIONS) or not np.isfinite(qp.stages.u).all():
                return Ended(Status.INFEASIBLE if ended is Status.INFEASIBLE else Status.NUMERICAL, done, residual)
            if iterations == 1:
                self._move(1.0)
                return Ended(ended, 1, np.nan)
            if not self._search():
                return Ended(Status.NUMERICAL, done, residual)
        self.prepare()
        residual = self.residual()
        return Ended(Status.SOLVED if residual <= self.tolerance else status, done, residual)

    def _move(self, length: float) -> None:
        """Goes so far along the step; multipliers go as far towards those of the QP."""
        point, qp = self.point, self.qp
        s, last = qp.stages, qp.last
        point.x[1:-1] += length * s.x[1:]
        point.x[-1] += length * last.x[0]
        point.v += length * s.u
        point.v_last += length * last.u
        np.clip(point.v, self.low, self.high, out=point.v)
        np.clip(point.v_last, self.low_last, self.high_last, out=point.v_last)
        point.pi += length * (qp.pi - point.pi)
        point.lam += length * (s.lam_upper - s.lam_lower - point.lam)
        point.lam_last += length * (last.lam_upper - last.lam_lower - point.lam_last)

    def _violation(self) -> float:
        """Sum of the violations of dynamics and rows at the point."""
        point = self.point
        rows = np.maximum(np.maximum(self.lower - point.g, point.g - self.upper), 0.0)
        rows_last = np.maximum(np.maximum(self.lower_last - point.G, point.G - self.upper_last), 0.0)
        return float(np.abs(point.next - point.x[1:]).sum() + rows.sum() + rows_last.sum())

    def _search(self) -> bool:
        """Backtracking on the exact penalty function; whether a step was taken."""
        point, qp = self.point, self.qp
        s, last = qp.stages, qp.last
        multipliers = max(
            np.abs(qp.pi).max(initial=0.0), s.lam_upper.max(initial=0.0), s.lam_lower.max(initial=0.0),
            last.lam_upper.max(initial=0.0), last.lam_lower.max(initial=0.0),
        )  # fmt: skip
        if self._weight < 1.1 * multipliers or self._weight > 100.0 * multipliers:
            self._weight = max(1.5 * multipliers, 1e-3)
        slope = float((s.q[1:] * s.x[1:]).sum() + (s.r * s.u).sum() + (last.q * last.x).sum() + (last.r * last.u).sum())
        violation = self._violation()
        merit = float(point.f.sum() + point.F.sum()) + self._weight * violation
        predicted = slope - self._weight * violation
        kept = [a.copy() for a in (point.x, point.v, point.v_last, point.pi, point.lam, point.lam_last)]
        length = 1.0
        noise = 1e-11 * (1.0 + abs(merit))
        while length >= _SHORTEST:
            self._move(length)
            self.linearisation.evaluate()
            now = float(point.f.sum() + point.F.sum()) + self._weight * self._violation()
            if now <= merit + _ARMIJO * length * min(predicted, 0.0) + noise:
                return True
            for array, old in zip(
                (point.x, point.v, point.v_last, point.pi, point.lam, point.lam_last), kept, strict=True
            ):
                array[:] = old
            length *= 0.5
        return False

    def residual(self) -> float:
        """Largest violation of the optimality conditions at the point, linearised there.

        Stationarity and complementarity are scaled by the multipliers above 100, as in Wächter & Biegler (2006), eq. 5.
        """
        qp, point = self.qp, self.point
        s, last = qp.stages, qp.last
        pi, lam, lam_last = point.pi, point.lam, point.lam_last
        of_x = s.q[1:] + np.einsum("kij,kj->ki", qp.A[1:], pi[1:]) - pi[:-1] + np.einsum("kij,kj->ki", s.C[1:], lam[1:])
        of_end = last.q - pi[-1:] + np.einsum("kij,kj->ki", last.C, lam_last)
        of_v = s.r + np.einsum("kij,kj->ki", qp.B, pi) + np.einsum("kij,kj->ki", s.D, lam)
        of_last = last.r + np.einsum("kij,kj->ki", last.D, lam_last)
        # At a bound that it is pushed against, the gradient of an input is the multiplier of the bound.
        of_v = point.v - np.clip(point.v - of_v, self.low, self.high)
        of_last = point.v_last - np.clip(point.v_last - of_last, self.low_last, self.high_last)
        rows = point.g - np.clip(point.g + lam, self.lower, self.upper)
        rows_last = point.G - np.clip(point.G + lam_last, self.lower_last, self.upper_last)
        count = pi.size + lam.size + lam_last.size
        scale = max(1.0, (np.abs(pi).sum() + np.abs(lam).sum() + np.abs(lam_last).sum()) / max(count, 1) / 100.0)
        dual = max(float(np.abs(a).max(initial=0.0)) for a in (of_x, of_end, of_v, of_last))
        primal = max(float(np.abs(a).max(initial=0.0)) for a in (qp.b, rows, rows_last))
        worst = max(dual / scale, primal)
        return worst if np.isfinite(worst) else np.inf

    def _convexify(self) -> None:
        """Hessians of the stages with their eigenvalues raised to positive ones, where they are not positive."""
        for part in (self.qp.stages, self.qp.last):
            H = np.block([[part.Q, part.S], [part.S.transpose(0, 2, 1), part.R]])
            try:
                np.linalg.cholesky(H + 1e-10 * np.eye(H.shape[1]))
                continue
            except np.linalg.LinAlgError:
                pass
            if not np.isfinite(H).all():
                continue
            values, vectors = np.linalg.eigh(H)
            least = _LEAST_CURVATURE * np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-8)
            values = np.maximum(np.abs(values), least)
            H = (vectors * values[:, None, :]) @ vectors.transpose(0, 2, 1)
            n = part.Q.shape[1]
            part.Q[:], part.S[:], part.R[:] = H[:, :n, :n], H[:, :n, n:], H[:, n:, n:]
