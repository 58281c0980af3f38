"""Single shooting of a task: cost, constraints and their derivatives as functions of the inputs alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from ctrl.linearisation import local_model
from ctrl.terminal import terminal
from mpc.memory import expect_dense
from mpc.online import check_horizon, check_input
from systems import Task
from systems.arguments import expect_names
from systems.nonsmooth import penalties, smoothed

__all__ = ["CasadiShooting", "Point", "Shooting"]


@dataclass(frozen=True, eq=False)
class Point:
    """Trajectories, costs and violations of a batch of input sequences; numpy arrays or torch tensors.

    Args:
        states: (b, horizon + 1, n).
        cost: (b,).
        gradient: (b, d), of the cost; d = horizon m.
        violation: (b, c), every row <= 0 where it holds.
        jacobian: (b, c, d), of the violation.
    """

    states: Any
    cost: Any
    gradient: Any
    violation: Any
    jacobian: Any


class Shooting(ABC):
    """A task over a horizon, as a program in the inputs U = [u0 u1 ...]; every two-sided condition becomes two rows.

    Costs are scaled by :attr:`systems.reading.Reading.cost_size`, which is 1 unless they are small, and rows by their
    change over states and inputs of typical size.

    Args:
        task: see :func:`mpc.nonlinear.staged_task.staged`, of which this is the condensed counterpart.
        horizon: number of predicted samples.
        parameters: names of plant parameters that come with every problem.

    Attributes:
        lower, upper: (d,), the box of the inputs.
        weight: (c,), cost of a unit of violation, infinite where hard.
        metric: (d, d), the Hessian of the cost for the plant linearised at the first reference; the identity where that
            is not convex.
    """

    def __init__(self, task: Task, horizon: int, parameters: tuple[str, ...] = ()) -> None:
        check_horizon(horizon)
        check_input(task)
        self.task, self.horizon, self.parameters = task, horizon, expect_names(parameters, "parameters")
        self.n, self.m = len(task.plant.state), len(task.plant.input)
        self.d = horizon * self.m
        expect_dense(horizon, float((horizon + 1) * self.n * self.d + 2 * self.d**2))
        rule, self.end = task.reading.conditions, terminal(task)
        kinked = penalties(task.stage_cost)
        own = task.reading.terminal
        if kinked is None or (own is not None and (own.count or own.left)):
            raise NotApplicable(
                f"task '{task.name}': its cost has kinks ({', '.join(task.reading.cost_kinks)}) that are not weighted "
                "maxima of smooth functions, which first-order steps require; use the nonlinear MPC"
            )
        count = len(rule.names)
        self._row_size = _row_sizes(task, rule.value, kinked.excess)
        listed = [(k, i) for k in range(horizon + 1) for i in rule.imposed(k, horizon)]
        if own is not None:  # the last state is charged the terminal cost, and no soft rows
            listed = [(k, i) for k, i in listed if k < horizon or np.isinf(rule.weight[i])]
        above, below = (bound / self._row_size[:count] for bound in (rule.upper, rule.lower))
        rows = [(k, i, 1.0, above[i]) for k, i in listed if np.isfinite(above[i])]
        rows += [(k, i, -1.0, below[i]) for k, i in listed if np.isfinite(below[i])]
        rows += [(k, count + i, 1.0, 0.0) for k in range(horizon) for i in range(len(kinked.weight))]
        self.stage, self.row = (np.array([r[j] for r in rows], dtype=int) for j in (0, 1))
        self.sign, self.bound = (np.array([r[j] for r in rows], dtype=float) for j in (2, 3))
        self._size = task.reading.cost_size
        weights = self._row_size * np.concatenate([rule.weight, kinked.weight]) / self._size
        self.weight = weights[self.row] if rows else np.zeros(0)
        self.lower, self.upper = (np.tile(bound, horizon) for bound in task.input_bounds)
        self.local, self.last = self._functions(rule.value, kinked.smooth, kinked.excess)
        self.metric = self._metric()
        self._placed: tuple[Any, Any] = self.sign, self.bound  # in the arithmetic of this shooting

    def _functions(
        self, value: ca.Function, smooth: ca.Function, excess: ca.Function
    ) -> tuple[ca.Function, ca.Function]:
        """``(x, u, xr, ur, p) -> A, B, l, lx, lu, v, vx, vu`` of a stage and ``(x, xr) -> V, Vx`` of the end."""
        step = self.task.dynamics.function(self.parameters)
        if self.task.reading.is_singular_on_the_way:
            step, smooth = smoothed(step), smoothed(smooth)
        x, u, xr, ur, p = map(
            ca.SX.sym, ("x", "u", "xr", "ur", "p"), (self.n, self.m, self.n, self.m, step.size1_in(3))
        )
        after, cost = step(x, u, 0, p), smooth(x, u, xr, ur) / self._size
        v = ca.vertcat(value(x, u), excess(x, u, xr, ur)) / ca.DM(self._row_size)
        v = v if v.shape[0] else ca.SX(1, 1)  # a row that nobody asks for
        stage = [ca.jacobian(after, x), ca.jacobian(after, u), cost, ca.gradient(cost, x), ca.gradient(cost, u)]
        stage += [v, ca.jacobian(v, x), ca.jacobian(v, u)]
        P, error = self.end.P, x - (xr if self.end.centre is None else ca.SX(self.end.centre))
        if P is None:
            end = self.task.terminal_cost(x, xr)
        else:
            end = ca.bilin(ca.SX(P), error, error) + ca.dot(ca.SX(self.end.p), error)
        end /= self._size
        return (
            ca.Function("local", [x, u, xr, ur, p], [ca.densify(o) for o in stage]),
            ca.Function("last", [x, xr], [ca.densify(end), ca.densify(ca.gradient(end, x))]),
        )

    def _metric(self) -> np.ndarray:
        try:
            model = local_model(self.task)
        except NotApplicable:
            return np.eye(self.d)
        x, xr = ca.SX.sym("x", self.n), ca.SX.sym("xr", self.n)
        hessian = ca.Function("hessian", [x, xr], [ca.hessian(self.last(x, xr)[0], x)[0]])
        Q, N, R = (weight / self._size for weight in (model.Q, model.N, model.R))
        m, S, H = self.m, np.zeros((self.n, self.d)), np.zeros((self.d, self.d))
        for k in range(self.horizon):
            at = slice(k * m, (k + 1) * m)
            H += 2.0 * S.T @ Q @ S
            H[:, at] += 2.0 * S.T @ N
            H[at] += 2.0 * N.T @ S
            H[at, at] += 2.0 * R
            S = model.plant.A @ S
            S[:, at] += model.plant.B
        H += S.T @ np.array(hessian(model.x_ref, model.x_ref)) @ S
        smallest = np.linalg.eigvalsh(H).min() if np.isfinite(H).all() else -np.inf
        return 0.5 * (H + H.T) if smallest > 0 else np.eye(self.d)

    @abstractmethod
    def evaluate(self, U: Any, which: np.ndarray) -> Point:
        """Everything at the input sequences (len(which), d) of these problems of the batch; never raises."""

    @abstractmethod
    def _zeros(self, shape: tuple[int, ...]) -> Any:
        """A new array of the kind this shooting computes in."""

    def _condense(self, xp: Any, states: Any, stages: tuple[Any, ...], end: tuple[Any, Any]) -> Point:
        """From stages (horizon + 1, b, ...) to the inputs; what the last one says of its input is not used."""
        N, n, m = self.horizon, self.n, self.m
        b = states.shape[1]
        A, B, cost, lx, lu, v, vx, vu = stages
        A, B = A.reshape(N + 1, b, n, n), B.reshape(N + 1, b, n, m)
        v, vx, vu = v.reshape(N + 1, b, -1), vx.reshape(N + 1, b, -1, n), vu.reshape(N + 1, b, -1, m)
        S = self._zeros((N + 1, b, n, self.d))
        for k in range(N):
            S[k + 1] = A[k] @ S[k]
            S[k + 1, :, :, k * m : (k + 1) * m] += B[k]
        gradient = xp.einsum("kbn,kbnd->bd", lx.reshape(N + 1, b, n)[:N], S[:N])
        gradient += xp.einsum("bn,bnd->bd", end[1].reshape(b, n), S[N])
        gradient += xp.moveaxis(lu.reshape(N + 1, b, m)[:N], 0, 1).reshape(b, self.d)
        total = cost.reshape(N + 1, b)[:N].sum(0) + end[0].reshape(b)
        slopes = vx @ S
        for k in range(N):
            slopes[k, :, :, k * m : (k + 1) * m] += vu[k]
        sign, bound = self._placed
        violation = xp.moveaxis(sign[:, None] * (v[self.stage, :, self.row] - bound[:, None]), 0, 1)
        jacobian = xp.moveaxis(sign[:, None, None] * slopes[self.stage, :, self.row], 0, 1)
        return Point(xp.moveaxis(states, 0, 1), total, gradient, violation, jacobian)


def _row_sizes(task: Task, value: ca.Function, excess: ca.Function) -> np.ndarray:
    """How much the rows of two functions change over the usual sizes of states and inputs, at most 1: violations are
    measured in that, so that a row in a small unit is kept as well as others."""
    x, u, xr, ur = (
        ca.SX.sym(name, size) for name, size in zip("xuab", 2 * (value.size1_in(0), value.size1_in(1)), strict=True)
    )
    rows = ca.vertcat(value(x, u), excess(x, u, xr, ur))
    slopes = ca.Function("slopes", [x, u, xr, ur], [ca.densify(ca.jacobian(rows, ca.vertcat(x, u)))])
    x_ref, u_ref = task.reading.start
    change = np.abs(np.array(slopes(x_ref, u_ref, x_ref, u_ref))) @ np.concatenate(task.reading.path.sizes)
    return np.where(np.isfinite(change) & (change > 0.0), np.minimum(change, 1.0), 1.0)


@final
class CasadiShooting(Shooting):
    """One problem at a time, evaluated by CasADi. Set it with :meth:`place`."""

    def __init__(self, task: Task, horizon: int) -> None:
        super().__init__(task, horizon)
        self._roll = task.dynamics.function().mapaccum(horizon)
        self._stages = self.local.map(horizon + 1)
        self._no_disturbance = np.zeros((0, horizon + 1))

    def place(self, x0: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray) -> None:
        """The problem from x0 (n,) with the window of references (horizon + 1, n) and (horizon + 1, m)."""
        self._x0, self._xr, self._ur = x0, np.ascontiguousarray(x_ref.T), np.ascontiguousarray(u_ref.T)

    def _zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape)

    def evaluate(self, U: np.ndarray, which: np.ndarray) -> Point:
        N = self.horizon
        u = np.zeros((self.m, N + 1))
        u[:, :N] = U.reshape(N, self.m).T
        x = np.empty((self.n, N + 1))
        x[:, 0] = self._x0
        x[:, 1:] = self._roll(self._x0, u[:, :N], 0, self._no_disturbance[:, :N])
        outputs = self._stages(x, u, self._xr, self._ur, self._no_disturbance)
        # CasADi lays the stages side by side.
        stages = tuple(np.array(o).reshape(o.shape[0], N + 1, -1).transpose(1, 0, 2)[:, None] for o in outputs)
        end = tuple(np.array(o)[None, :, 0] for o in self.last(x[:, N], self._xr[:, N]))
        return self._condense(np, x.T[:, None], stages, (end[0], end[1]))
