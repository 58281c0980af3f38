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
from mpc.solvers.hpipm import HPIPM, Mode, StageData, StageSizes
from mpc.solvers.staged import Hessian, Linearisation, StagedProgram

__all__ = ["SQP", "Ended"]

_ARMIJO = 1e-4  # share of the predicted decrease of the merit function that a step must reach
_SHORTEST = 2.0**-12  # step length below which the line search gives up
_CONTRACTION = 0.3  # of the residual in an iteration, above which it counts as slow
_SLOW = 3  # slow iterations in a row after which the other Hessian is tried
_SHORT = 0.2  # step length that counts as short
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
        program: what is solved. mode: of HPIPM. tolerance: residual at which a point counts as solved.

    Attributes:
        point: guess, then solution. low, high (N, m), lower, upper (N, rows): bounds of the stages, which may be
            changed between solves (then call :meth:`set_bounds`); low_last, ... those of the last.
    """

    def __init__(
        self,
        program: StagedProgram,
        mode: Mode = "balance",
        tolerance: float = 1e-6,
    ) -> None:
        N = program.horizon
        sizes = StageSizes(
            N, program.states, len(program.low), len(program.lower),
            len(program.terminal_low), len(program.terminal_lower),
        )  # fmt: skip
        self.qp = HPIPM(sizes, mode)
        self.linearisation = Linearisation(program, self.qp)
        self.point, self.program, self.tolerance = self.linearisation.point, program, tolerance
        self.low, self.high = np.tile(program.low, (N, 1)), np.tile(program.high, (N, 1))
        self.lower, self.upper = np.tile(program.lower, (N, 1)), np.tile(program.upper, (N, 1))
        self.low_last, self.high_last = program.terminal_low[None], program.terminal_high[None]
        self.lower_last, self.upper_last = program.terminal_lower[None], program.terminal_upper[None]
        self._weight = 1.0  # of violations in the merit function
        self.hessian: Hessian = "cost"
        self._moved, self._shifted = np.zeros((N, program.states, program.states)), False
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
        self.linearisation.linearise(self.hessian)
        np.subtract(point.next, point.x[1:], out=qp.b)
        if not self._convexify() and self.hessian == "lagrangian":
            self.linearisation.linearise("cost")
            self._convexify()
        self._shift_bounds()

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
        ended = qp.solve()
        if self._shifted:  # the multipliers of the dynamics before curvature was moved
            following = np.vstack([qp.stages.x[1:], qp.last.x])
            qp.pi += np.einsum("kij,kj->ki", self._moved, following)
        return ended

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
            self.hessian, slow = "cost", 0
        while done < iterations:
            self.prepare()
            if iterations > 1:
                before, residual = residual, self.residual()
                slow = slow + 1 if residual > _CONTRACTION * before else 0
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
            length = self._search()
            if length == 0.0 and self.hessian == "cost" and slow < 0:
                return Ended(Status.NUMERICAL, done, residual)
            # Where the curvature of dynamics and constraints matters, steps that leave it out contract slowly; far from
            # a solution it may be indefinite, and steps with it are short.
            if self.hessian == "cost" and (slow >= _SLOW or length == 0.0):
                self.hessian, slow = "lagrangian", 0
            elif self.hessian == "lagrangian" and length < _SHORT:
                self.hessian, slow = "cost", -_SLOW
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
        point.mu += length * (s.lam_high - s.lam_low - point.mu)
        point.mu_last += length * (last.lam_high - last.lam_low - point.mu_last)

    def _violation(self) -> float:
        """Sum of the violations of dynamics and rows at the point."""
        point = self.point
        rows = np.maximum(np.maximum(self.lower - point.g, point.g - self.upper), 0.0)
        rows_last = np.maximum(np.maximum(self.lower_last - point.G, point.G - self.upper_last), 0.0)
        return float(np.abs(point.next - point.x[1:]).sum() + rows.sum() + rows_last.sum())

    def _search(self) -> float:
        """Backtracking on the exact penalty function; the length of the step that was taken, 0 for none."""
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
        moved = (point.x, point.v, point.v_last, point.pi, point.lam, point.lam_last, point.mu, point.mu_last)
        kept = [array.copy() for array in moved]
        length = 1.0
        noise = 1e-11 * (1.0 + abs(merit))
        while length >= _SHORTEST:
            self._move(length)
            self.linearisation.evaluate()
            now = float(point.f.sum() + point.F.sum()) + self._weight * self._violation()
            if now <= merit + _ARMIJO * length * min(predicted, 0.0) + noise:
                return length
            for array, old in zip(moved, kept, strict=True):
                array[:] = old
            length *= 0.5
        return 0.0

    def residual(self) -> float:
        """Largest violation of the optimality conditions at the point, linearised there.

        Stationarity and complementarity are scaled by the multipliers above 100, as in Wächter & Biegler (2006), eq. 5.
        """
        qp, point = self.qp, self.point
        s, last = qp.stages, qp.last
        pi, lam, lam_last = point.pi, point.lam, point.lam_last
        of_x = s.q[1:] + np.einsum("kij,kj->ki", qp.A[1:], pi[1:]) - pi[:-1] + np.einsum("kij,kj->ki", s.C[1:], lam[1:])
        of_end = last.q - pi[-1:] + np.einsum("kij,kj->ki", last.C, lam_last)
        of_v = s.r + np.einsum("kij,kj->ki", qp.B, pi) + np.einsum("kij,kj->ki", s.D, lam) + point.mu
        of_last = last.r + np.einsum("kij,kj->ki", last.D, lam_last) + point.mu_last
        multipliers = (pi, lam, lam_last, point.mu, point.mu_last)
        size = sum(np.abs(a).sum() for a in multipliers) / sum(a.size for a in multipliers)
        scale = max(1.0, size / 100.0)
        worst = max(
            max(float(np.abs(a).max(initial=0.0)) for a in (of_x, of_end, of_v, of_last)) / scale,
            float((np.abs(qp.b) / (1.0 + np.abs(point.x[1:]))).max()),
            _outside(point.g, lam, self.lower, self.upper, scale),
            _outside(point.G, lam_last, self.lower_last, self.upper_last, scale),
            _outside(point.v, point.mu, self.low, self.high, scale),
            _outside(point.v_last, point.mu_last, self.low_last, self.high_last, scale),
        )
        return float(worst) if np.isfinite(worst) else np.inf

    def _convexify(self) -> bool:
        """Makes the Hessians of all stages positive definite, where they are not; whether that was exact.

        Curvature is moved from each stage to the one before, which changes the QP by nothing where its dynamics hold:
        where it is convex there, no more is needed (Verschueren, Zanon, Quirynen & Diehl 2017, "A sparsity preserving
        convexification procedure for indefinite quadratic programs arising in direct optimal control"). Where it is
        not, eigenvalues of the Hessians themselves are reflected.
        """
        qp = self.qp
        s, last = qp.stages, qp.last
        self._shifted = False
        if not (np.isfinite(s.Q).all() and np.isfinite(last.Q).all()) or (_definite(s) and _definite(last)):
            return True
        n, N = self.program.states, self.program.horizon
        least, moved = _LEAST_CURVATURE * np.eye(n), self._moved
        changed = [a.copy() for a in (s.Q, s.S, s.R, s.q, s.r, last.Q)]
        self._hold(*changed[:5])
        Q, S, R, q, r, Q_last = changed
        for k in range(N, -1, -1):
            if k == N:
                Qk, Sk, Rk = Q_last[0], last.S[0], last.R[0]
            else:
                Qk, Sk, Rk = Q[k], S[k], R[k]
                AP, BP = qp.A[k] @ moved[k], qp.B[k] @ moved[k]
                Qk += AP @ qp.A[k].T
                Sk += AP @ qp.B[k].T
                Rk += BP @ qp.B[k].T
                q[k] += AP @ qp.b[k]
                r[k] += BP @ qp.b[k]
            # Variables that enter linearly, such as violations, have no curvature to lend.
            curved = np.flatnonzero(np.abs(Rk).sum(axis=1) + np.abs(Sk).sum(axis=0))
            values, vectors = np.linalg.eigh(Rk[np.ix_(curved, curved)])
            if len(curved) and not values[0] > _LEAST_CURVATURE * values[-1]:
                # Not convex from here on: nothing more is moved from this stage.
                Qk[:], Sk[:], Rk[:] = _projected(Qk, Sk, Rk)
                if k:
                    moved[k - 1] = 0.0
            elif k:
                half = (Sk[:, curved] @ vectors) / np.sqrt(values)
                moved[k - 1] = Qk - half @ half.T - least
                Qk[:] = half @ half.T + least
        for array, new in zip((s.Q, s.S, s.R, s.q, s.r, last.Q), changed, strict=True):
            array[:] = new
        self._shifted = True
        return True

    def _hold(self, Q: np.ndarray, S: np.ndarray, R: np.ndarray, q: np.ndarray, r: np.ndarray) -> None:
        """Adds curvature across the constraints that are active, which changes nothing as long as they stay active."""
        point, s = self.point, self.qp.stages
        rho = HOLD * max(1.0, float(np.abs(R).max()))
        for multiplier, value, lower, upper, along_x, along_v in (
            (point.mu, point.v, self.low, self.high, None, None),
            (point.lam, point.g, self.lower, self.upper, s.C, s.D),
        ):
            bound = np.where(multiplier > 0, upper, lower)
            target = np.where(np.isfinite(bound), bound - value, 0.0)
            held = np.abs(multiplier) > 1e-3 * max(1.0, float(np.abs(multiplier).max(initial=0.0)))
            held &= np.abs(target) < 1e-3 * (1.0 + np.abs(value))
            weight = rho * held
            if along_x is None:
                np.einsum("kii->ki", R)[:] += weight
                r -= weight * target
            else:
                Q += np.einsum("kir,kr,kjr->kij", along_x, weight, along_x)
                S += np.einsum("kir,kr,kjr->kij", along_x, weight, along_v)
                R += np.einsum("kir,kr,kjr->kij", along_v, weight, along_v)
                q -= np.einsum("kir,kr->ki", along_x, weight * target)
                r -= np.einsum("kir,kr->ki", along_v, weight * target)


HOLD = 100.0


def _definite(part: StageData) -> bool:
    """Whether the Hessians of all stages are positive semidefinite, to rounding."""
    H = np.block([[part.Q, part.S], [part.S.transpose(0, 2, 1), part.R]])
    try:
        np.linalg.cholesky(H + 1e-10 * np.eye(H.shape[1]))
    except np.linalg.LinAlgError:
        return False
    return True


def _projected(Q: np.ndarray, S: np.ndarray, R: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The blocks of a Hessian with its eigenvalues replaced by their absolute values."""
    values, vectors = np.linalg.eigh(np.block([[Q, S], [S.T, R]]))
    H = (vectors * MIR(values)) @ vectors.T
    n = len(Q)
    return H[:n, :n], H[:n, n:], H[n:, n:]

MIR = lambda v: np.maximum(v,1e-8)


def _outside(g: np.ndarray, lam: np.ndarray, lower: np.ndarray, upper: np.ndarray, scale: float) -> float:
    """Largest violation of bounds, or product of a multiplier and the distance to its bound."""
    if not g.size:
        return 0.0
    outside = np.maximum(np.maximum(lower - g, g - upper), 0.0) / (1.0 + np.abs(g))
    bound = np.where(lam > 0, upper, lower)
    distance = np.where(np.isfinite(bound), np.abs(g - bound), 1.0)
    return max(float(outside.max()), float((np.abs(lam) * distance).max()) / scale)
