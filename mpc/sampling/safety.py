"""The part of a safe sampling controller that learns and corrects: process, corrections of samples, exact program."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, final

import casadi as ca
import numpy as np

from ctrl.filters.nearest_input import on_polytope
from ctrl.loop import SingleStep
from mpc.sampling.intervention import Intervention
from systems import Fixed, Task
from systems.lowering import lower
from systems.lowering.buffered import Buffered

__all__ = ["Corrected", "Safety"]

_SWEEPS = 2  # of the method by which sampled inputs are corrected
_HARD = 1e6  # weight of a hard condition in it, relative to the distance
_LARGEST = 5.0  # residual, relative to its size, as which a larger one counts
_INSIDE = 1e-9  # by which the exact program stays inside of its conditions
_MOVED = 1e-6  # change of the input, relative to its range, that counts as an intervention


class Corrected(NamedTuple):
    """The result of the exact program.

    Args:
        input: (m,), within its bounds. is_feasible: whether it satisfies all hard conditions.
        moved: whether it differs from the proposed one.
    """

    input: np.ndarray
    is_feasible: bool
    moved: bool


@final
class Safety:
    """Learns the residual of a plant from sample to sample, and corrects inputs.

    Args:
        intervention: what is enforced.
        task: whose plant is nominal.
        P: (n, n) of V; None if there is no V.

    Attributes:
        process: the learned residual, of the present run.
        conditions: see :class:`mpc.sampling.intervention.Conditions`.
        model: the task with the disturbed plant, that is predicted.
        size: numbers of a sample: mean and deviation of each residual, in its unit.
    """

    def __init__(self, intervention: Intervention, task: Task, P: np.ndarray | None) -> None:
        self.intervention, self.conditions = intervention, intervention.conditions(task, P)
        plant, residual = task.plant, intervention.residual
        self.model = dataclasses.replace(
            task, plant=self.conditions.plant, truth=None, variation=None, disturbance=Fixed()
        )
        self.size, self._own = self.conditions.size, len(plant.disturbance)
        self._lower, self._upper = task.input_bounds
        reach = self._upper - self._lower
        self._width = np.where(np.isfinite(reach) & (reach > 0), 0.5 * reach, 1.0)
        self._rows, self._dt, self._bounds = residual.rows(plant), task.dt, plant.bounds
        self._sizes = np.array(list(residual.sizes.values()), dtype=float)
        self._features = lower(residual.features(plant), to="numpy")
        self._nominal, self._state = SingleStep(task.dynamics), task.reading.state
        n, m = len(plant.state), len(plant.input)
        rows = self.conditions.function.size1_out(0)
        weight = float(intervention.weight)
        self._weights = np.array([_HARD] * (rows - self.conditions.has_lyapunov))
        self._soft = np.zeros((rows, int(self.conditions.has_lyapunov)))
        if self.conditions.has_lyapunov:
            self._weights = np.append(self._weights, weight)
            self._soft[-1, 0] = 1.0 / np.sqrt(weight)
        self._x, self._xr, self._p = np.zeros(n), np.zeros(n), np.zeros(self.size)
        self._A, self._b = np.zeros((m, rows)), np.zeros(rows)
        A, b, _ = self.conditions.function(*(arguments := self.conditions.function.sx_in()))
        self._affine = Buffered(
            ca.Function("affine", arguments, [ca.densify(A), ca.densify(b)]), [self._x, self._xr, self._p],
            [self._A, self._b],
        )  # fmt: skip
        self.reset()

    def reset(self) -> None:
        """Starts a new run, without what the last one learned."""
        self.process = self.intervention.residual.start()
        self._last: tuple[np.ndarray, np.ndarray, int] | None = None

    def applied(self, x: np.ndarray, u: np.ndarray, k: int) -> None:
        """Notes the state (n,) and the input (m,) of sample k."""
        self._last = (x.copy(), np.clip(u, *self._bounds), k) if np.isfinite(x).all() else None

    def learn(self, x: np.ndarray, k: int) -> None:
        """Updates the process with the finite state (n,) of sample k, if the one before is known."""
        if self._last is None or self._last[2] != k - 1:
            return
        x_before, u_before, _ = self._last
        error = self._state.deviation(x, self._nominal(x_before, u_before))[self._rows]
        y = np.clip(error / (self._dt * self._sizes), -_LARGEST, _LARGEST)
        self.process.update(self._features(x_before, u_before), y)

    def numbers(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Mean and deviation of the residual at states (k, n) and inputs (k, m), as (k, size)."""
        mean, deviation = self.process.predict(np.broadcast_to(self._features(x, u), (len(x), self._z)))
        whole = np.sqrt(deviation**2 + self.process.kernel.noise**2)
        numbers = np.hstack([mean * self._sizes, whole[:, None] * self._sizes])
        return np.where(np.isfinite(numbers), numbers, 0.0)

    @property
    def _z(self) -> int:
        return len(self.intervention.residual.lengths)

    def disturbance(self, p: ca.SX) -> ca.SX:
        """The mean of the residual as the disturbance of the predicted plant."""
        return ca.vertcat(ca.SX.zeros(self._own, 1), p[: self.size // 2])

    def corrected(self, x: ca.SX, u: ca.SX, xr: ca.SX, p: ca.SX) -> ca.SX:
        """The correction of sampled inputs, as an expression: two sweeps of Hildreth's method (1957) from zero
        multipliers, which converges to the solution of the program; the bounds are satisfied exactly."""
        if not self.intervention.samples:
            return u
        A, b, _ = self.conditions.function(x, xr, p)
        low, high, width = self._lower / self._width, self._upper / self._width, ca.DM(self._width)
        rows, z = [], ca.vertsplit(u / width)
        for i, weight in enumerate(self._weights.tolist()):
            slope = A[i, :].T * width
            scale = 1.0 / ca.sqrt(ca.sumsqr(slope) + 1e-300)
            rows.append((ca.vertsplit(slope * scale), b[i] * scale, 1.0 / weight))
        multipliers, ends = [ca.SX(0)] * len(rows), [ca.SX(0)] * len(z)
        for _ in range(_SWEEPS):
            for i, (a, bound, softness) in enumerate(rows):
                short = bound - sum(s * v for s, v in zip(a, z, strict=True)) - softness * multipliers[i]
                new = ca.fmax(multipliers[i] + short / (1.0 + softness), 0.0)
                z = [v + (new - multipliers[i]) * s for s, v in zip(a, z, strict=True)]
                multipliers[i] = new
            free = [v - e for v, e in zip(z, ends, strict=True)]
            z = [ca.fmin(ca.fmax(v, float(lo)), float(hi)) for v, lo, hi in zip(free, low, high, strict=True)]
            ends = [v - f for v, f in zip(z, free, strict=True)]
        return ca.vertcat(*z) * width

    def exact(self, x: np.ndarray, u: np.ndarray, x_ref: np.ndarray, p: np.ndarray) -> Corrected:
        """The solution of the program for a proposed input (m,), by DAQP."""
        self._x[:], self._xr[:], self._p[:] = x, x_ref, p
        self._affine.run()
        A = self._A.T * self._width
        size = np.sqrt((A * A).sum(axis=1)) + 1e-300
        if not (np.isfinite(A).all() and np.isfinite(self._b).all()):
            return Corrected(u, False, False)
        A, b = np.hstack([A / size[:, None], self._soft]), self._b / size + _INSIDE
        v = np.concatenate([u / self._width, np.zeros(self._soft.shape[1])])
        free = np.full(self._soft.shape[1], 1e30)
        low = np.concatenate([self._lower / self._width, -free])
        high = np.concatenate([self._upper / self._width, free])
        z, is_feasible, _ = on_polytope(v, A, b, low, high)
        z = z[: len(u)]
        if not np.isfinite(z).all():
            return Corrected(u, False, False)
        moved = bool(np.abs(z - v[: len(u)]).max() > _MOVED)
        return Corrected(np.clip(z * self._width, self._lower, self._upper), is_feasible, moved)
