"""The measurements of a window as a program with the stage structure of optimal control."""

from __future__ import annotations

from typing import NamedTuple, final

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from ctrl.estimation.model import EstimationModel
from mpc.solvers.sqp import SQP, Ended
from mpc.solvers.staged import StagedProgram
from systems import Box

__all__ = ["Record", "Window"]

TOLERANCE, ACCURACY = 1e-9, 1e-10  # of the optimality conditions, and of the quadratic programs


class Record(NamedTuple):
    """One sample of a window.

    Args:
        mean (size,), covariance (size, size): of z before the measurement, given all earlier ones.
        u: (m,), the input of the sample before. y: (p,), NaN where a signal was not reported.
        guess: (size,), z as it was estimated last.
    """

    mean: np.ndarray
    covariance: np.ndarray
    u: np.ndarray
    y: np.ndarray
    guess: np.ndarray


@final
class Window:
    """min |e|^2 + sum |omega_j|^2 + |epsilon_j|^2 + |R^(-1/2) (y_j - H(z_j))|^2 (halved) over z_first = mean + root e
    and z_(j+1) = F(z_j, u_j, mean of w + root omega_j) + root epsilon_j, so that all of e, omega and epsilon have the
    identity as covariance.

    A stage before the window contains e, since the first state of a staged program is given; while there are fewer
    samples than a full window has, empty stages precede it.

    Args:
        model: of the task. horizon: number of samples between the first and the last of a full window.
        bounds: of states, kept at every sample of the window; default: none.
    """

    def __init__(self, model: EstimationModel, horizon: int, bounds: Box | None) -> None:
        self.model, self.stages = model, horizon + 1
        if np.linalg.matrix_rank(model.R) < model.outputs:
            raise NotApplicable(
                f"task '{model.task.name}': signals without noise, whose errors cannot be weighted; "
                "give every signal noise"
            )
        plant = model.task.plant
        affine = model.task.disturbance.affine(plant.disturbance)
        is_uniform = affine.base == "uniform"
        disturbed = np.abs(affine.factor).sum(axis=0) > 0
        self._W = affine.factor[:, disturbed] * (np.sqrt(1.0 / 12.0) if is_uniform else 1.0)
        free = np.diag(model.E) > 0
        self._E = np.diag(np.sqrt(np.diag(model.E)))[:, free]
        lower, upper = (np.full(model.n, -np.inf), np.full(model.n, np.inf))
        if bounds is not None:
            lower, upper = bounds.interval(plant.state)
        self._bounded = np.flatnonzero(np.isfinite(lower) | np.isfinite(upper))
        lower, upper = lower[self._bounded], upper[self._bounded]
        # Of a uniform distribution three standard deviations are beyond its support: the bounds are its own.
        reach = np.full(model.size + self._W.shape[1] + self._E.shape[1], np.inf)
        if is_uniform:
            reach[model.size : model.size + self._W.shape[1]] = np.sqrt(3.0)
        stage, terminal = self._functions()
        self._program = StagedProgram(
            self.stages, stage, terminal, -reach, reach, lower, upper, np.zeros(0), np.zeros(0), lower, upper
        )
        self._solver = SQP(self._program, tolerance=TOLERANCE, accuracy=ACCURACY)
        self._begins = -1  # the stage of the first sample, for which bounds are set

    def _functions(self) -> tuple[ca.Function, ca.Function]:
        model, m = self.model, len(self.model.task.plant.input)
        size, p = model.size, model.outputs
        z, first, going = ca.SX.sym("z", size), ca.SX.sym("first"), ca.SX.sym("going")
        u, v, y = ca.SX.sym("u", m), ca.SX.sym("v", m), ca.SX.sym("y", p)
        root, weight = ca.SX.sym("root", size, size), ca.SX.sym("weight", p, p)
        e, omega, epsilon = (ca.SX.sym(name, count) for name, count in (
            ("e", size), ("omega", self._W.shape[1]), ("epsilon", self._E.shape[1])
        ))  # fmt: skip
        expected = model.H(z, v)
        missed = weight @ (model.signals.nearest_expression(y, expected) - expected)
        after = model.F(z, u, v, ca.DM(model.w) + ca.DM(self._W) @ omega) + ca.DM(self._E) @ epsilon
        following = z + first * (root @ e) + going * (after - z)
        variables = ca.vertcat(e, omega, epsilon)
        parameters = ca.vertcat(first, going, u, v, y, ca.vec(root), ca.vec(weight))
        rows = z[self._bounded.tolist()] if len(self._bounded) else ca.SX(0, 1)
        cost = 0.5 * ca.sumsqr(missed)
        return (
            ca.Function("stage", [z, variables, parameters], [cost + 0.5 * ca.sumsqr(variables), following, rows]),
            ca.Function("terminal", [z, ca.SX.sym("v", 0), parameters], [cost, rows]),
        )

    def solve(self, records: list[Record], iterations: int, until: float) -> tuple[Ended, np.ndarray]:
        """Solves for the estimates of z at the samples of the window; returns the result and (records, size).

        Args:
            records: 1 to horizon + 1 samples, the present one last.
            iterations: largest number of quadratic programs. until: time of `perf_counter` at which to stop.
        """
        solver, begins, mean = self._solver, self.stages - len(records) + 1, records[0].mean
        self._set_bounds(begins)
        point, size, m = solver.point, self.model.size, len(records[0].u)
        for array in (point.v, point.v_last, point.pi, point.multipliers, point.p):
            array[:] = 0.0
        point.x[:begins] = mean
        point.p[begins - 1, 0] = 1.0
        at = 2 + 2 * m + self.model.outputs
        values, vectors = np.linalg.eigh(records[0].covariance)
        point.p[begins - 1, at : at + size**2] = (vectors * np.sqrt(np.maximum(values, 0.0))).ravel(order="F")
        for i, record in enumerate(records, start=begins):
            reported = np.isfinite(record.y)
            point.x[i] = record.guess
            weight = np.zeros((self.model.outputs,) * 2)
            if reported.any():
                weight[np.ix_(reported, reported)] = _inverse_root(self.model.R[np.ix_(reported, reported)])
            p = point.p[i]
            if i < self.stages:
                p[1], p[2 : 2 + m] = 1.0, records[i - begins + 1].u
            p[2 + m : 2 + 2 * m] = record.u
            p[2 + 2 * m : at] = np.where(reported, record.y, 0.0)
            p[at + size**2 :] = weight.ravel(order="F")
        ended = solver.solve(mean, iterations, until)
        return ended, point.x[begins:].copy()

    def _set_bounds(self, begins: int) -> None:
        """Keeps the bounds of states from the first sample of the window on."""
        if begins != self._begins:
            solver, program = self._solver, self._program
            solver.lower[:], solver.upper[:] = program.lower, program.upper
            solver.lower[:begins], solver.upper[:begins] = -np.inf, np.inf
            solver.set_bounds()
            self._begins = begins


def _inverse_root(R: np.ndarray) -> np.ndarray:
    """R^(-1/2) of a positive definite matrix, symmetric."""
    values, vectors = np.linalg.eigh(R)
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
