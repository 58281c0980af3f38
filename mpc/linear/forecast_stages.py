"""The second-order expansion of a task along a forecast: signals that are known ahead enter each stage as numbers."""

from __future__ import annotations

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from ctrl.linearisation import expect_differentiable
from mpc.affine_task import AffineTask
from mpc.linear.stages import Stages, StageSource
from mpc.polyhedra import NoInvariantSet, Polyhedron
from systems import Task
from systems.semidefinite import is_positive_definite, is_positive_semidefinite

__all__ = ["ForecastStages"]

_NOISE = 1e-9  # of Hessians, relative to their largest entry


class ForecastStages(StageSource):
    """The stages of a task whose plant has a forecast.

    Plant and cost are expanded at the reference and at the known states that are predicted from the measured ones. A
    plant that is affine and a cost that is quadratic in the other states and the inputs are therefore represented
    exactly, even if known states multiply them. Beyond the horizon, only the task's own terminal cost is charged.

    Args:
        task: see :class:`mpc.linear.linear_mpc.LinearMPC`.

    Attributes:
        is_strict: whether the cost is strictly convex in every input, so that a condensed program has a unique
            solution.

    Raises:
        NotApplicable: plant or cost have no derivative, or the cost is not convex, somewhere along the run.
    """

    def __init__(self, task: Task) -> None:
        expect_differentiable(task)
        self.task = task
        self._n, self._m = len(task.plant.state), len(task.plant.input)
        self._known = task.reading.known
        free = np.ones(self._n + self._m, dtype=bool)
        free[self._known] = False
        self._free = free
        x, u, xr, ur, _ = task.reading.expansion.sx_in()
        after, A, B, gradient, second = task.reading.expansion(x, u, xr, ur, 0)
        mask = ca.DM(np.outer(free, free).astype(float))
        second, A = second * mask, A @ ca.DM(np.diag(free[: self._n].astype(float)))
        self.varies = bool(ca.symvar(ca.vertcat(ca.vec(A), ca.vec(B), ca.vec(second))))
        parts = [ca.densify(part) for part in (after, A, B, gradient, second)]
        self._expand = ca.Function("expand", [x, u, xr, ur], parts)
        self._maps: dict[int, ca.Function] = {}
        xl, xrl = task.terminal_cost.sx_in()
        curved, slope = ca.hessian(task.terminal_cost(xl, xrl), xl)
        curved = curved * mask[: self._n, : self._n]
        self._last = ca.Function("last", [xl, xrl], [ca.densify(curved), ca.densify(slope)])
        self.is_strict = True
        self._expect_convex()

    @property
    def operating_point(self) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`StageSource`."""
        return self.task.reading.start

    def end_at_rest(self) -> np.ndarray:
        """See :class:`StageSource`."""
        raise NoInvariantSet("the signals known ahead move")

    def terminal_set(self, affine: AffineTask) -> Polyhedron:
        """See :class:`StageSource`."""
        raise NoInvariantSet("the signals known ahead move")

    def stages(self, k: int, horizon: int, x: np.ndarray | None = None) -> Stages:
        """See :class:`StageSource`."""
        n, m, known = self._n, self._m, self._known
        x_ref, u_ref = self.task.reading.window(k, horizon + 1, x)
        after, A, B, gradient, second = self._expanded(x_ref[:-1], u_ref[:-1])
        after[:, known] = x_ref[1:, known]
        H = 0.5 * second
        z = np.hstack([x_ref[:-1], u_ref[:-1]])
        linear = gradient - 2.0 * np.einsum("kij,kj->ki", H, z)
        linear[:, known] = 0.0  # which is constant, as is that of the end
        c = after - np.einsum("kij,kj->ki", A, x_ref[:-1]) - np.einsum("kij,kj->ki", B, u_ref[:-1])
        curved, slope = map(np.array, self._last(x_ref[-1], x_ref[-1]))
        P = 0.5 * curved
        p = slope[:, 0] - 2.0 * P @ x_ref[-1]
        p[known] = 0.0
        return Stages(A, B, c, np.zeros((horizon, m, n)), H, linear, P, p)

    def _expanded(self, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, ...]:
        """Next states, A, B, gradients and Hessians at points (count, n) and (count, m), which are their references."""
        count = len(x)
        if count not in self._maps:
            self._maps[count] = self._expand.map(count)
        after, A, B, gradient, second = (
            np.array(part).reshape(part.shape[0], count, -1).transpose(1, 0, 2)
            for part in self._maps[count](x.T, u.T, x.T, u.T)
        )
        return after[:, :, 0].copy(), A.copy(), B.copy(), gradient[:, :, 0], second

    def _expect_convex(self) -> None:
        task = self.task
        x_ref, u_ref = task.reading.window(0, task.steps + 1)
        parts = self._expanded(x_ref, u_ref)
        ends = [np.array(self._last(x_ref[i], x_ref[i])[0]) for i in range(len(x_ref))]
        if not all(np.isfinite(part).all() for part in (*parts, *ends)):
            raise NotApplicable(
                f"task '{task.name}': plant or cost have no derivative along the reference; use the nonlinear MPC"
            )
        if not all(is_positive_semidefinite(H, _NOISE) for H in (*parts[4], *ends)):
            raise NotApplicable(
                f"task '{task.name}': the cost is not convex in the controller's decisions along the forecast; use "
                "the nonlinear MPC"
            )
        self.is_strict = all(is_positive_definite(H[self._n :, self._n :]) for H in parts[4])
