"""Predictions of many input sequences at once, with their costs and violations of hard constraints."""

from __future__ import annotations

from typing import NamedTuple, Protocol, final

import casadi as ca
import numpy as np

from ctrl.terminal import Kind, terminal
from mpc.online import quiet
from mpc.sampling.compiled import CompiledRollouts
from systems import Task
from systems.expressions import largest
from systems.lowering import lower
from systems.lowering.buffered import Buffered
from systems.signals import Vector

__all__ = ["Correction", "Prediction", "Predictions", "Rollouts"]

_WHOLE = 1e-9  # tolerance within which a limit counts as a whole number


class Predictions(NamedTuple):
    """Many predictions from one state.

    Args:
        u: (horizon, m, count), as the actuators apply them.
        cost: (count,), infinite if it is not a number.
        violation: (count,), of hard constraints, summed over rows and samples.
    """

    u: np.ndarray
    cost: np.ndarray
    violation: np.ndarray


class Prediction(NamedTuple):
    """One prediction.

    Args:
        x: (horizon + 1, n). u: (horizon, m), as the actuators apply them.
        cost, violation: see :class:`Predictions`.
    """

    x: np.ndarray
    u: np.ndarray
    cost: float
    violation: float


class Correction(Protocol):
    """A correction of the inputs of a prediction, and the disturbances in it, from numbers given for each sample."""

    size: int

    def corrected(self, x: ca.SX, u: ca.SX, xr: ca.SX, p: ca.SX) -> ca.SX:
        """The input to apply in the state x instead of u, with the reference xr and the numbers p (size, 1)."""

    def disturbance(self, p: ca.SX) -> ca.SX:
        """Of the predicted plant."""


@final
class Rollouts:
    """Predicts with the sampled nominal plant of a task and evaluates the task's cost and constraints.

    Inputs are first moved within their bounds and the limits on their change, and integers are rounded. Constraint rows
    that depend on the state alone count from the first predicted state on, since the measured state cannot be changed.

    Args:
        task: that is predicted.
        kind: of the terminal cost; see :func:`ctrl.terminal.terminal`.
        correction: of every input, with the disturbances of the plant; default: none, and an undisturbed plant.

    Attributes:
        end: the terminal cost.
    """

    def __init__(self, task: Task, kind: Kind = "cost-to-go", correction: Correction | None = None) -> None:
        self.task, self.end, self._correction = task, terminal(task, kind), correction
        n, m = len(task.plant.state), len(task.plant.input)
        self._functions = sample, last = self._sample(), self._last()
        self._many, self._many_last = lower(sample, "numpy"), lower(last, "numpy")
        self._compiled: CompiledRollouts | None = None
        self._x, self._xr, self._u, self._ur = np.zeros(n), np.zeros(n), np.zeros(m), np.zeros(m)
        self._after, self._applied, self._charged = np.zeros(n), np.zeros(m), np.zeros(3)
        self._p = np.zeros(correction.size if correction else 0)
        arguments = [self._x, self._u, self._xr, self._ur, *([self._p] if correction else [])]
        self._one = Buffered(sample, arguments, [self._after, self._applied, self._charged])
        self._charged_last = np.zeros(2)
        self._one_last = Buffered(last, [self._x, self._xr], [self._charged_last])

    def compile(self) -> None:
        """Predicts many sequences in compiled C from now on; see :class:`mpc.sampling.compiled.CompiledRollouts`."""
        self._compiled = CompiledRollouts(*self._functions)

    @quiet
    def many(
        self, x: np.ndarray, u: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray, p: np.ndarray | None = None
    ) -> Predictions:
        """The predictions of inputs (horizon, m, count) from the state x (n,), with the references (horizon + 1, n) and
        (horizon + 1, m) of these samples, and the numbers (horizon, size) of the correction; default: zero."""
        p = np.zeros((len(u), len(self._p))) if p is None else p
        if self._compiled is not None:
            applied, cost, violation = self._compiled(x, u, x_ref, u_ref, p)
            return Predictions(applied, _finite(cost, violation), violation)
        applied, count = np.empty_like(u), u.shape[2]
        state, cost, violation = np.broadcast_to(x[:, None], (len(x), count)).T, np.zeros(count), np.zeros(count)
        for i in range(len(u)):
            more = (p[i],) if self._correction else ()
            state, used, charged = self._many(state, u[i].T, x_ref[i], u_ref[i], *more)
            applied[i] = used.T
            cost += charged[:, 0]
            violation += charged[:, 1]
            if i:
                violation += charged[:, 2]
        charged = self._many_last(state, x_ref[len(u)])
        cost, violation = cost + charged[:, 0], violation + charged[:, 1]
        return Predictions(applied, _finite(cost, violation), violation)

    @quiet
    def one(
        self, x: np.ndarray, u: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray, p: np.ndarray | None = None
    ) -> Prediction:
        """The prediction of one input sequence (horizon, m), with its states; further arguments as of :meth:`many`."""
        states, applied = np.empty((len(u) + 1, len(x))), np.empty_like(u)
        states[0], cost, violation = x, 0.0, 0.0
        for i in range(len(u)):
            self._p[:] = 0.0 if p is None else p[i]
            self._x[:], self._u[:], self._xr[:], self._ur[:] = states[i], u[i], x_ref[i], u_ref[i]
            self._one.run()
            states[i + 1], applied[i] = self._after, self._applied
            cost += self._charged[0]
            violation += self._charged[1] + (self._charged[2] if i else 0.0)
        self._x[:], self._xr[:] = states[-1], x_ref[len(u)]
        self._one_last.run()
        cost, violation = cost + self._charged_last[0], violation + self._charged_last[1]
        known = self.task.reading.known
        states[1:, known] = x_ref[1 : len(u) + 1, known]
        return Prediction(states, applied, float(_finite(np.asarray(cost), np.asarray(violation))), float(violation))

    def after(self, x: np.ndarray, u: np.ndarray, x_ref: np.ndarray, p: np.ndarray | float = 0.0) -> np.ndarray:
        """The state (n,) that follows x (n,) under the input u (m,), with the reference (n,) of its sample and the
        numbers (size,) of the correction; valid until the next call."""
        self._p[:] = p
        self._x[:], self._u[:], self._xr[:] = x, u, x_ref
        self._one.run()
        return self._after

    def _read(self, x: ca.SX, xr: ca.SX) -> ca.SX:
        """The state with the signals known ahead taken from their forecast, which is part of the reference."""
        read, known = ca.SX(x), self.task.reading.known.tolist()
        if known:
            read[known] = xr[known]
        return read

    def _sample(self) -> ca.Function:
        """``(x, u, xr, ur) -> (x+, u as applied, charges)``, where the charges are the cost, the violation of rows on
        the input, and the violation of rows on the state alone."""
        task = self.task
        rule = task.reading.conditions
        x, u, xr, ur = (s.symbol() for s in (task.plant.state, task.plant.input, task.plant.state, task.plant.input))
        read = self._read(x, xr)
        correction, p, w = self._correction, ca.SX(0, 1), ca.SX(0)
        applied = self._limited(read, u)
        if correction is not None:
            p = ca.SX.sym("p", correction.size)
            applied = self._limited(read, correction.corrected(read, applied, xr, p))
            w = correction.disturbance(p)
        values = rule.value(read, applied)
        hard = np.isinf(rule.weight)
        charged = ca.vertcat(
            task.stage_cost_function()(read, applied, xr, ur),
            self._violation(values, np.flatnonzero(hard & rule.on_input)),
            self._violation(values, np.flatnonzero(hard & ~rule.on_input)),
        )
        after = task.dynamics.function()(read, applied, w, [])
        arguments = [x, u, xr, ur, *([p] if correction else [])]
        return ca.Function("sample", arguments, list(map(ca.densify, (after, applied, charged))))

    def _last(self) -> ca.Function:
        """``(x, xr) -> (cost, violation)`` of the last state."""
        task, end = self.task, self.end
        rule, inputs = task.reading.conditions, len(task.plant.input)
        x, xr = task.plant.state.symbol(), task.plant.state.symbol()
        read = self._read(x, xr)
        values = rule.value(read, ca.SX.zeros(inputs, 1))
        hard = np.isinf(rule.weight)
        cost = task.terminal_cost_function()(read, xr)
        if end.P is not None:
            error = read - (xr if end.centre is None else ca.SX(end.centre))
            cost += ca.bilin(ca.SX(end.P), error, error) + ca.dot(ca.SX(end.p), error)
        if task.reading.terminal is None:  # the run continues, so its last predicted state is charged like all others
            soft = np.flatnonzero(~hard & ~rule.on_input)
            for group in np.unique(rule.group[soft]):
                rows = soft[rule.group[soft] == group]
                beyond = [self._violation(values, rows[i : i + 1]) for i in range(len(rows))]
                cost += float(rule.weight[rows[0]]) * largest(*beyond)
        violation = self._violation(values, np.flatnonzero(hard & ~rule.on_input))
        return ca.Function("last", [x, xr], [ca.densify(ca.vertcat(cost, violation))])

    def _violation(self, values: ca.SX, rows: np.ndarray) -> ca.SX:
        rule, total = self.task.reading.conditions, ca.SX(0)
        for i in rows.tolist():
            if np.isfinite(rule.upper[i]):
                total += _positive(values[i] - float(rule.upper[i]))
            if np.isfinite(rule.lower[i]):
                total += _positive(float(rule.lower[i]) - values[i])
        return total

    def _limited(self, x: ca.SX, u: ca.SX) -> ca.SX:
        """The inputs nearest to ``u`` within the limits on their change, then within their bounds, integers rounded."""
        task, plant = self.task, self.task.plant
        lower, upper = (list(bound) for bound in task.input_bounds)
        inputs = ca.vertsplit(u)
        none = Vector(plant.input, ca.SX.zeros(len(plant.input), 1), "input")
        ranges: dict[int, list[tuple[ca.SX, ca.SX]]] = {}
        for limit in task.reading.change_limits:
            changes = limit.changes(Vector(plant.state, x, "state"), none)
            for (name, (low, high)), change in zip(limit.bounds.items(), changes, strict=True):
                ranges.setdefault(plant.input.where(name), []).append((float(low) - change, float(high) - change))
        for i, signal in enumerate(plant.input):
            if signal.integer:
                inputs[i] = ca.floor(inputs[i] + 0.5)
            for low, high in (*ranges.get(i, []), (lower[i], upper[i])):
                if signal.integer:
                    low, high = ca.ceil(low - _WHOLE), ca.floor(high + _WHOLE)
                inputs[i] = ca.fmin(ca.fmax(inputs[i], low), high)
        return ca.vertcat(*inputs)


def _positive(value: ca.SX) -> ca.SX:
    """The positive part, and NaN for NaN, which ``fmax`` would ignore."""
    return ca.if_else(value <= 0.0, 0.0, value)


def _finite(cost: np.ndarray, violation: np.ndarray) -> np.ndarray:
    """The costs, infinite where they or the violation are not finite numbers."""
    return np.where(np.isfinite(cost) & np.isfinite(violation), cost, np.inf)
