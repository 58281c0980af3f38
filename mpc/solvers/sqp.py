"""Sequential quadratic programming for staged programs, on HPIPM: Newton steps on the whole horizon at once.

Nocedal & Wright (2006), "Numerical Optimization", chapter 18. One iteration without line search is the real-time
iteration of Diehl, Bock & Schlöder (2005), "A real-time iteration scheme for nonlinear optimization in optimal feedback
control"; converged solves are the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import final

import numpy as np

from ctrl.controller import Status
from mpc.solvers.convexify import Active, Convexification
from mpc.solvers.hpipm import FREE, HPIPM, Mode, Origin, status_of, views
from mpc.solvers.iteration import NOT_CONVEX, NOT_FINITE, CompiledIteration
from mpc.solvers.staged import Hessian, Linearisation, StagedProgram

__all__ = ["SQP", "Ended"]

_ARMIJO = 1e-4  # share of the predicted decrease of the merit function that a step must reach
_SHORTEST = 2.0**-12  # step length below which the line search gives up
_INEXACT = 1e-8  # increase of the merit function, relative to 1 + its value, that the accuracy of the QP explains
_CONTRACTION = 0.3  # of the residual in an iteration, above which it counts as slow
_SLOW = 3  # slow iterations in a row after which the other Hessian is tried
_HALF = 0.5  # of the length of a full step, that the next one must not exceed
_SHORT = 0.2  # step length that counts as short


@final
@dataclass(frozen=True)
class Ended:
    """The result of a solve.

    Args:
        status: SOLVED where the residual is within the tolerance; after a real-time iteration, where its QP was.
        iterations: QPs solved.
        residual: largest scaled violation of the optimality conditions at the last point where it was evaluated;
            infinite if it is not finite or was not evaluated.
    """

    status: Status
    iterations: int
    residual: float


@final
class SQP:
    """Solves a staged program from the point in ``point``, which it updates.

    The Hessian is that of the cost at first, which is positive semidefinite for most tasks; where its steps contract
    slowly, that of the Lagrangian, made convex. Where the program's functions are compiled, so are the steps of the
    iteration (:class:`mpc.solvers.iteration.CompiledIteration`).

    Args:
        program: what is solved.
        mode: of HPIPM.
        tolerance: residual at which a point counts as solved.
        hessian: of the first iteration, and of real-time iterations.
        accuracy: of the quadratic programs.
        origin: of HPIPM.
        quick: accuracy of the quadratic programs of real-time iterations; default: the same.

    Attributes:
        point: guess, then solution. low, high (N, m), lower, upper (N, rows): bounds of the stages before the last,
            which may be changed between solves; call :meth:`set_bounds` then.
    """

    def __init__(
        self,
        program: StagedProgram,
        mode: Mode = "balance",
        tolerance: float = 1e-7,
        hessian: Hessian = "cost",
        accuracy: float = 1e-8,
        origin: Origin = "casadi",
        quick: float | None = None,
    ) -> None:
        sizes = program.sizes
        self.program, self.tolerance = program, tolerance
        self._accuracy, self._quick = accuracy, accuracy if quick is None else quick
        self.qp = HPIPM(sizes, mode, tolerance=accuracy, origin=origin)
        self.linearisation = Linearisation(program, self.qp, self._adopt)
        self._convexification = Convexification(self.qp)
        self.point = self.linearisation.point
        self._first = self._hessian = hessian
        self._lowest, self._highest = np.zeros(sizes.bounded), np.zeros(sizes.bounded)  # with infinite bounds
        self._least, self._most = np.zeros(sizes.bounded), np.zeros(sizes.bounded)  # with finite ones
        self._rows = slice(sizes.horizon * sizes.inputs + sizes.last_inputs, None)  # within ``point.bounded``
        self.low, low_last, self.lower, lower_last = views(sizes, self._lowest, "bounded")
        self.high, high_last, self.upper, upper_last = views(sizes, self._highest, "bounded")
        self.low[:], self.high[:], self.lower[:], self.upper[:] = (
            program.low,
            program.high,
            program.lower,
            program.upper,
        )
        low_last[:], high_last[:] = program.terminal_low, program.terminal_high
        lower_last[:], upper_last[:] = program.terminal_lower, program.terminal_upper
        self._weight = np.ones(1)  # of violations in the merit function
        self._gradient = np.zeros_like(self.qp.gradient)  # of the cost, before convexification
        self.compiled: CompiledIteration | None = None
        self.set_bounds()
        self.linearisation.load()

    def _adopt(self, library: Path) -> None:
        """Calls the compiled iteration from now on. It works on the same arrays, so this may happen at any time."""
        arrays = {
            "lowest": self._lowest, "highest": self._highest, "least": self._least, "most": self._most,
            "cost_gradient": self._gradient, "weight": self._weight,
        }  # fmt: skip
        self.compiled = CompiledIteration(library, self.linearisation, arrays, _ARMIJO, _SHORTEST, _INEXACT)

    def set_bounds(self) -> None:
        """Updates the QP's bounds; call this when a bound has changed."""
        np.clip(self._lowest, -FREE, FREE, out=self._least)
        np.clip(self._highest, -FREE, FREE, out=self._most)
        self._shift_bounds()
        self.qp.set_bounds()

    def prepare(self) -> None:
        """Linearises about the point: all that can be done before the measurement arrives."""
        self._hessian = self._first
        self._linearise()

    def _linearise(self) -> None:
        qp, point = self.qp, self.point
        if self.compiled is not None:
            self._make_convex(self.compiled.linearise(self._hessian))
            return
        self.linearisation.linearise(self._hessian)
        np.subtract(point.next, point.x[1:], out=qp.b)
        self._gradient[:] = qp.gradient
        self._make_convex(self.linearisation.is_convex)
        self._shift_bounds()

    def _make_convex(self, is_convex: bool) -> None:
        point = self.point
        if is_convex:
            self._convexification.leave()
        elif self._hessian == "cost":
            self._convexification.reflect()
        else:
            self._convexification.apply(
                Active(point.mu, point.v, self.low, self.high), Active(point.lam, point.g, self.lower, self.upper)
            )

    def feedback(self, x: np.ndarray) -> Status:
        """Solves the QP for the measured state x (n,), whose distance to ``point.x[0]`` enters to first order."""
        qp, point = self.qp, self.point
        if self.compiled is not None:
            ended = status_of(self.compiled.feedback(x))
            self._convexification.correct()
            return ended
        d, s = x - point.x[0], qp.stages
        if d.any():
            qp.b[0] += d @ qp.A[0]
            s.r[0] += d @ s.S[0]
            moved = d @ s.C[0]
            s.lower[0] -= moved
            s.upper[0] -= moved
            point.x[0] = x
        ended = qp.solve()
        self._convexification.correct()
        return ended

    def iterate(self, x: np.ndarray) -> Ended:
        """One full step for the measured state x (n,), about the point that was prepared; never raises because of
        numbers. The point stays as it was where the QP has no solution."""
        self.qp.set_tolerance(self._quick)
        ended = self.feedback(x)
        if not self._is_usable(ended):
            return Ended(ended if ended is Status.INFEASIBLE else Status.NUMERICAL, 1, np.inf)
        self._move(1.0)
        return Ended(ended, 1, np.inf)

    def real_time(self, x: np.ndarray) -> Ended:
        """Both together: :meth:`prepare` and :meth:`iterate`, in one foreign call where it is compiled and convex."""
        self._hessian = self._first
        if self.compiled is None:
            self._linearise()
            return self.iterate(x)
        self.qp.set_tolerance(self._quick)
        ended = self.compiled.real_time(self._hessian, x)
        if ended == NOT_CONVEX:
            self._make_convex(False)
            return self.iterate(x)
        self._convexification.leave()
        status = status_of(ended)
        if ended == NOT_FINITE or status not in (Status.SOLVED, Status.MAX_ITERATIONS):
            return Ended(status if status is Status.INFEASIBLE else Status.NUMERICAL, 1, np.inf)
        return Ended(status, 1, np.inf)

    def contract(self, x: np.ndarray, tolerance: float, iterations: int = 20, until: float = np.inf) -> Ended:
        """Takes full steps for the measured state x (n,) as long as each is at most half as long as the previous one.

        This is the natural monotonicity test (Deuflhard, 2011, "Newton Methods for Nonlinear Problems", chapter 3):
        where it holds, Newton's method converges from this point to a solution nearby. Never raises because of numbers.

        Args:
            tolerance: length, relative to 1 + the point's numbers, of a step that is the last one.
            iterations: largest number of QPs.
            until: time of `perf_counter` at which to stop.

        Returns:
            SOLVED where that length was reached, with that of the last step that was taken as the residual.
        """
        length = np.inf
        self.qp.set_tolerance(self._accuracy)
        for done in range(iterations):
            if perf_counter() >= until:
                return Ended(Status.TIMEOUT, done, length)
            self.prepare()
            if not self._is_usable(self.feedback(x)):
                return Ended(Status.NUMERICAL, done + 1, np.inf)
            before, length = length, float((np.abs(self.qp.step) / (1.0 + np.abs(self.point.variables))).max())
            if not length <= _HALF * before:
                return Ended(Status.MAX_ITERATIONS, done + 1, before)
            self._move(1.0)
            if length <= tolerance:
                return Ended(Status.SOLVED, done + 1, length)
        return Ended(Status.MAX_ITERATIONS, iterations, length)

    def solve(self, x: np.ndarray, iterations: int = 50, until: float = np.inf) -> Ended:
        """Iterates from the point for the measured state x (n,) until solved; never raises because of numbers.

        Args:
            iterations: largest number of QPs.
            until: time of `perf_counter` at which to stop.
        """
        self.point.x[0] = x
        self.qp.set_tolerance(self._accuracy)
        residual, slow, self._hessian = np.inf, 0, self._first
        for done in range(iterations + 1):
            self._linearise()
            before, residual = residual, self.residual()
            if not np.isfinite(residual):
                return Ended(Status.NUMERICAL, done, np.inf)
            if residual <= self.tolerance:
                return Ended(Status.SOLVED, done, residual)
            if done == iterations:
                break
            if perf_counter() >= until:
                return Ended(Status.TIMEOUT, done, residual)
            ended = self.feedback(x)
            if not self._is_usable(ended):
                return Ended(ended if ended is Status.INFEASIBLE else Status.NUMERICAL, done + 1, residual)
            length = self._search()
            slow = slow + 1 if residual > _CONTRACTION * before else 0
            if length == 0.0 and self._hessian == "lagrangian":
                return Ended(Status.NUMERICAL, done + 1, residual)
            # Where the curvature of dynamics and constraints matters, steps that leave it out contract slowly. Far from
            # a solution it may be indefinite, and steps with it are short.
            if self._hessian == "cost" and (slow >= _SLOW or length == 0.0):
                self._hessian, slow = "lagrangian", 0
            elif self._hessian == "lagrangian" and length < _SHORT:
                self._hessian, slow = "cost", -_SLOW
        return Ended(Status.MAX_ITERATIONS, iterations, residual)

    @np.errstate(over="ignore", invalid="ignore")  # such numbers end as an infinite residual
    def residual(self) -> float:
        """Largest violation of the optimality conditions at the point that was prepared; infinite where not finite.

        Stationarity and complementarity are scaled by the multipliers above 100, as in Wächter & Biegler (2006), eq. 5.
        """
        if self.compiled is not None:
            return self.compiled.residual()
        point, multipliers, inputs = self.point, self.point.multipliers, slice(self._rows.start)
        states, stationarity = point.x.size, self.linearisation.slope.copy()
        stationarity[point.pi.shape[1] : states] -= point.pi.ravel()
        stationarity[states:] += multipliers[inputs]
        scale = float(np.abs(point.pi).sum() + np.abs(multipliers).sum())
        scale = max(1.0, scale / (point.pi.size + multipliers.size) / 100.0)
        worst = max(
            float(np.abs(stationarity[point.pi.shape[1] :]).max()) / scale,  # the first state is given
            float((np.abs(self.qp.b) / (1.0 + np.abs(point.x[1:]))).max()),
            _outside(point.bounded, multipliers, self._lowest, self._highest, scale),
        )
        return worst if np.isfinite(worst) else np.inf

    def _shift_bounds(self) -> None:
        """Bounds of a step from the bounds of the point."""
        np.subtract(self._least, self.point.bounded, out=self.qp.lower)
        np.subtract(self._most, self.point.bounded, out=self.qp.upper)

    def _is_usable(self, ended: Status) -> bool:
        if self.compiled is not None:
            finite = self.compiled.is_finite()
        else:
            finite = bool(np.isfinite(self.qp.step).all() and np.isfinite(self.qp.pi).all())
        return finite and ended in (Status.SOLVED, Status.MAX_ITERATIONS)

    def _move(self, length: float) -> None:
        """Takes a fraction of the step; multipliers move towards those of the QP by the same fraction."""
        if self.compiled is not None:
            self.compiled.move(length)
            return
        point, qp, inputs = self.point, self.qp, slice(self._rows.start)
        point.variables += length * qp.step
        np.clip(point.bounded[inputs], self._least[inputs], self._most[inputs], out=point.bounded[inputs])
        point.pi += length * (qp.pi - point.pi)
        point.multipliers += length * (qp.lam_upper - qp.lam_lower - point.multipliers)

    def _merit(self) -> tuple[float, float]:
        """Cost at the point, and the sum of its violations of dynamics and rows."""
        point, rows = self.point, self._rows
        g = point.bounded[rows]
        outside = np.maximum(np.maximum(self._lowest[rows] - g, g - self._highest[rows]), 0.0).sum()
        return float(point.f.sum() + point.F.sum()), float(np.abs(point.next - point.x[1:]).sum() + outside)

    def _search(self) -> float:
        """Backtracking on the exact penalty function (Han, 1977); the length of the step that was taken, 0 for none."""
        if self.compiled is not None:
            return self.compiled.search()
        qp, point, rows, weight = self.qp, self.point, self._rows, self._weight
        largest = max(float(np.abs(a).max(initial=0.0)) for a in (qp.pi, qp.lam_lower[rows], qp.lam_upper[rows]))
        if not 1.1 * largest <= weight[0] <= 100.0 * largest:
            weight[0] = max(1.5 * largest, 1e-3)
        slope = float(self._gradient @ qp.step)
        cost, violation = self._merit()
        merit = cost + weight[0] * violation
        decrease = min(slope - weight[0] * violation, 0.0)
        moved = point.variables, point.pi, point.multipliers
        kept = [array.copy() for array in moved]
        length = 1.0
        while length >= _SHORTEST:
            self._move(length)
            self.linearisation.evaluate()
            cost, violation = self._merit()
            now = cost + weight[0] * violation
            if now <= merit + _ARMIJO * length * decrease + _INEXACT * (1.0 + abs(merit)):
                return length
            for array, old in zip(moved, kept, strict=True):
                array[:] = old
            length *= 0.5
        return 0.0


def _outside(value: np.ndarray, multiplier: np.ndarray, lower: np.ndarray, upper: np.ndarray, scale: float) -> float:
    """Largest violation of bounds, or product of a multiplier and the distance to its bound."""
    if not value.size:
        return 0.0
    outside = np.maximum(np.maximum(lower - value, value - upper), 0.0) / (1.0 + np.abs(value))
    bound = np.where(multiplier > 0, upper, lower)
    distance = np.where(np.isfinite(bound), np.abs(value - bound), 1.0)
    return max(float(outside.max()), float((np.abs(multiplier) * distance).max()) / scale)
