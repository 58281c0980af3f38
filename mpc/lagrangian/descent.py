"""Constrained minimisation by descent steps whose multipliers come from a feedback controller."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ctrl.multipliers import GivenModel, MultiplierController, Predictive
from ctrl.multipliers.box_qp import minimise_in_box
from mpc.lagrangian.shooting import Point, Shooting

__all__ = ["Descent", "DescentResult", "Maker", "dead_beat"]

Maker = Callable[[tuple[int, int], np.ndarray], MultiplierController]
"""Makes the controller for (problems, rows) with these maxima (rows,)."""


def dead_beat(shape: tuple[int, int], maximum: np.ndarray) -> MultiplierController:
    """Predictive multipliers with horizon 1 on the exact linear model: to first order, all rows hold after one step.

    A longer horizon gives the same result, since changes of the multipliers are not penalised.
    """
    return Predictive(GivenModel(0.0, 0.0, shape), horizon=1, maximum=maximum)


@dataclass(frozen=True, eq=False)
class DescentResult:
    """The last points of a descent, for a batch of b problems in numpy.

    Args:
        inputs: (b, d).
        states: (b, horizon + 1, n).
        multipliers: (b, c), of the one-sided rows.
        cost: (b,).
        residual: (b,), largest scaled violation of the optimality conditions.
        iterations: (b,), evaluations of each.
        accumulated: (b,), the violations of all rows and iterations before the last, summed.
        stopped: whether the time limit ended it.
    """

    inputs: np.ndarray
    states: np.ndarray
    multipliers: np.ndarray
    cost: np.ndarray
    residual: np.ndarray
    iterations: np.ndarray
    accumulated: np.ndarray
    stopped: bool = False


class Descent:
    """Projected, preconditioned gradient steps on the Lagrangian; after each, the multipliers are updated from the
    violation.

    The inputs go to U+(lam), the projection of U - step M^-1 (grad f + J' lam) onto their box in the constant metric M
    of the shooting: a proximal gradient step. Let F be the inputs that the step with the last multipliers leaves
    inside. To first order, and for a whole step, the violation then follows e+ = e + A + B lam with

        B = -J_F M_FF^-1 J_F',   A = J (U+(lam_last) - U) - B lam_last,

    which is the model of a predictive controller. As long as F changes, B is combined with its value for all inputs
    inside, which never underestimates it: the multipliers then ascend the dual of the step problem and cannot
    overshoot. A step is rejected, and the next one halved, if the Lagrangian lies above the parabola of curvature
    M / step (Beck & Teboulle, 2009).

    Args:
        shooting: the problems.
        make: the multiplier controller.
        maximum: of the multipliers of hard rows; those of soft rows are bounded by their weight, which makes the
            penalty exact.
        tolerance: residual below which a problem is solved.
        max_iterations: evaluations per problem.
        time_limit: seconds of one solve, checked in every iteration.
    """

    GROWTH = 1.2  # of the step after one that was good
    HOPELESS = 8  # iterations in a row with a hard row's multiplier at its maximum: no input satisfies that row

    def __init__(
        self,
        shooting: Shooting,
        make: Maker = dead_beat,
        maximum: float = 1e6,
        tolerance: float = 1e-6,
        max_iterations: int = 200,
        time_limit: float = math.inf,
    ) -> None:
        self.shooting, self.tolerance, self.max_iterations = shooting, tolerance, max_iterations
        self.time_limit = time_limit
        self.maximum = np.minimum(shooting.weight, maximum)
        self._make = make
        self._inverse = np.linalg.inv(shooting.metric)
        self.controller = make((1, len(self.maximum)), self.maximum)

    def solve(self, U: np.ndarray, multipliers: np.ndarray) -> DescentResult:
        """Solves from these inputs (b, d) and multipliers (b, c), both finite; never raises because of numbers."""
        b, c = multipliers.shape
        if self.controller.shape != (b, c):
            self.controller = self._make((b, c), self.maximum)
        self.controller.start(multipliers)
        lower, upper = self.shooting.lower, self.shooting.upper
        best = DescentResult(
            np.clip(U, lower, upper),
            np.full((b, self.shooting.horizon + 1, self.shooting.n), np.nan),
            self.controller.multipliers.copy(),
            np.full(b, np.nan),
            np.full(b, np.inf),
            np.zeros(b, dtype=int),
            np.zeros(b),
        )
        lam, step, trial, caution = best.multipliers.copy(), np.ones(b), best.inputs.copy(), np.ones(b)
        hard, beyond = np.isinf(self.shooting.weight), np.zeros(b, dtype=int)
        base: dict[str, np.ndarray] = {}  # the last good points of the problems that are still open
        active, began = np.arange(b), perf_counter()
        for _ in range(self.max_iterations):
            if perf_counter() - began > self.time_limit:
                return dataclasses.replace(best, stopped=True)
            point = self._numbers(trial[active], active)
            best.iterations[active] += 1
            good = (
                np.isfinite(point["cost"])
                & np.isfinite(point["gradient"]).all(1)
                & np.isfinite(point["violation"]).all(1)
            )
            good &= np.isfinite(point["jacobian"]).all((1, 2))
            if base:
                good &= self._descends(base, point, lam[active], step[active])
                for name, value in point.items():
                    value[~good] = base[name][~good]
            elif not good.all():  # from where nothing is known nothing can be done
                point, active = {name: value[good] for name, value in point.items()}, active[good]
                good = good[good]
            step[active] = np.where(good, np.minimum(1.0, self.GROWTH * step[active]), 0.5 * step[active])
            residual = self._residual(point, lam[active])
            better = residual <= best.residual[active]
            kept = active[better]
            best.inputs[kept], best.states[kept] = point["inputs"][better], point["states"][better]
            best.multipliers[kept], best.cost[kept] = lam[kept], point["cost"][better]
            best.residual[kept] = residual[better]
            at_end = ((lam[active] >= self.maximum) & hard).any(1)
            beyond[active] = np.where(at_end, beyond[active] + 1, 0)
            going = (residual > self.tolerance) & (step[active] > 1e-10) & (beyond[active] < self.HOPELESS)
            base, active = {name: value[going] for name, value in point.items()}, active[going]
            if not len(active):
                break
            best.accumulated[active] += np.maximum(base["violation"], 0.0).sum(1)
            whole = np.ones(len(active))
            reached = self._step(base, lam[active], whole, base["inputs"])
            drift, effect = self._reach(base, lam[active], reached, caution[active])
            lam[active] = self._answer(base["violation"], drift, effect, active, (b, c))
            goal = self._step(base, lam[active], whole, reached)
            trial[active] = goal if (step[active] == 1.0).all() else self._step(base, lam[active], step[active], goal)
            same = (self._inside(goal) == self._inside(reached)).all(1)
            caution[active] = np.where(same, 0.25 * caution[active], np.minimum(1.0, 2.0 * caution[active] + 0.1))
        return best

    def _numbers(self, U: np.ndarray, which: np.ndarray) -> dict[str, np.ndarray]:
        point: Point = self.shooting.evaluate(U, which)
        names = ("states", "cost", "gradient", "violation", "jacobian")
        values = {name: np.asarray(getattr(point, name), dtype=float) for name in names}
        return {"inputs": U.copy(), **values}

    def _descends(
        self, base: dict[str, np.ndarray], point: dict[str, np.ndarray], lam: np.ndarray, step: np.ndarray
    ) -> np.ndarray:
        """Whether the Lagrangian lies below its parabola, up to rounding."""
        move = point["inputs"] - base["inputs"]
        slope = base["gradient"] + np.einsum("bcd,bc->bd", base["jacobian"], lam)
        with np.errstate(invalid="ignore", over="ignore"):
            change = point["cost"] - base["cost"] + ((point["violation"] - base["violation"]) * lam).sum(1)
            quadratic = np.einsum("bd,de,be->b", move, self.shooting.metric, move) / (2.0 * step)
            size = np.abs(base["cost"]) + np.abs(base["violation"] * lam).sum(1)
            return change <= (slope * move).sum(1) + quadratic + 1e-12 * (1.0 + size)

    def _residual(self, point: dict[str, np.ndarray], lam: np.ndarray) -> np.ndarray:
        """Largest violation of stationarity, relative to the gradient, and of the natural map of the rows."""
        scale = np.diag(self.shooting.metric)
        slope = point["gradient"] + np.einsum("bcd,bc->bd", point["jacobian"], lam)
        stays = np.clip(point["inputs"] - slope / scale, self.shooting.lower, self.shooting.upper)
        size = 1.0 + np.abs(point["gradient"]).max(1)
        stationary = (scale * np.abs(point["inputs"] - stays)).max(1) / size
        rows = np.abs(lam - np.minimum(np.maximum(lam + point["violation"], 0.0), self.shooting.weight))
        return np.maximum(stationary, rows.max(1, initial=0.0))

    def _step(self, point: dict[str, np.ndarray], lam: np.ndarray, step: np.ndarray, guess: np.ndarray) -> np.ndarray:
        """U+(lam) of the class, (b, d)."""
        U, M = point["inputs"], self.shooting.metric
        b, d = U.shape
        slope = point["gradient"] + np.einsum("bcd,bc->bd", point["jacobian"], lam)
        low, high = self.shooting.lower - U, self.shooting.upper - U
        move = minimise_in_box(np.broadcast_to(M, (b, d, d)), -step[:, None] * slope, high, guess - U, lower=low)
        # Exactly on the bound where it is meant to be.
        reached = np.where(move <= low, self.shooting.lower, np.where(move >= high, self.shooting.upper, U + move))
        return np.asarray(reached)

    def _inside(self, U: np.ndarray) -> np.ndarray:
        """Which inputs (b, d) lie between their bounds."""
        return (self.shooting.lower < U) & (self.shooting.upper > U)

    def _reach(
        self, point: dict[str, np.ndarray], lam: np.ndarray, reached: np.ndarray, caution: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Drift (b, c) and effect (b, c, c) for multipliers near the present ones, under which U+ is ``reached``."""
        J, M, free = point["jacobian"], self.shooting.metric, self._inside(reached)
        d = reached.shape[1]
        metric = M * free[:, :, None] * free[:, None, :]
        metric[:, np.arange(d), np.arange(d)] += ~free
        sides = np.swapaxes(J * free[:, None, :], 1, 2)
        near = np.swapaxes(sides, 1, 2) @ np.linalg.solve(metric, sides)
        far = J @ self._inverse @ np.swapaxes(J, 1, 2)
        effect = -near - caution[:, None, None] * (far - near)
        effect = 0.5 * (effect + np.swapaxes(effect, 1, 2))
        gain = np.einsum("bcd,bd->bc", J, reached - point["inputs"])
        return gain - np.einsum("bij,bj->bi", effect, lam), effect

    def _answer(
        self, violation: np.ndarray, drift: np.ndarray, effect: np.ndarray, active: np.ndarray, shape: tuple[int, int]
    ) -> np.ndarray:
        """The controller's multipliers of the open problems; to the others it hears no violation, and holds theirs."""
        b, c = shape
        if not c:
            return np.zeros((len(active), 0))
        violations = np.full(shape, np.nan)
        violations[active] = violation
        if isinstance(self.controller, Predictive) and isinstance(self.controller.model, GivenModel):
            A, B = np.zeros((b, c)), np.zeros((b, c, c))
            A[active], B[active] = drift, effect
            self.controller.model.set(A, B)
        return self.controller.update(violations)[active]
