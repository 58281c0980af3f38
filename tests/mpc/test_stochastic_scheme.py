"""Stochastic MPC: an independent formulation of the scheme, and recursive feasibility, on random plants."""

from __future__ import annotations

import dataclasses
import math

import cvxpy as cp
import numpy as np
import pytest

from ctrl.controller import NotApplicable, Status
from mpc import StochasticMPC
from systems import Box, SetPoint, Task
from tests.mpc.stochastic_problems import random_task


class Oracle:
    """The scheme as it is written: nominal and measured predictions, absolute times, one CVXPY program per step."""

    def __init__(self, controller: StochasticMPC) -> None:
        self.it, self.z = controller, np.zeros(0)
        self.C, self.low, self.high, self.price = rows(controller.task)

    def step(self, x0: np.ndarray, k: int) -> np.ndarray:
        """The input at sample k."""
        it = self.it
        model, K, N, J = it.loop.model, it.K, it.horizon, it.terminal_steps
        plant, n = model.plant, len(it.loop.A)
        M = it.recondition_every
        start = 0 if math.isinf(M) else int(M) * (k // int(M))
        if k == start:
            self.z = x0
        z, x = cp.Variable((N + J + 1, n)), cp.Variable((N + 1, n))
        v, u = cp.Variable((N + J, len(K))), cp.Variable((N, len(K)))
        c = plant.c + it.loop.noise.mean
        holds = [z[0] == self.z, x[0] == x0]
        cost = cp.quad_form(x[N] - model.x_ref, cp.psd_wrap(it.loop.P))
        for i in range(N + J):
            holds.append(z[i + 1] == plant.A @ z[i] + plant.B @ v[i] + c)
            margin = it.margins.after(np.array([k + i - start]))[0]
            value = self.C @ cp.hstack([z[i], v[i]])
            for row in np.flatnonzero(np.isinf(self.price)):
                if i == 0 and not self.C[row, n:].any():
                    continue
                tight = margin[int(np.isinf(self.price[:row]).sum())]
                holds += [value[row] <= self.high[row] - tight] if np.isfinite(self.high[row]) else []
                holds += [value[row] >= self.low[row] + tight] if np.isfinite(self.low[row]) else []
            if i >= N:
                holds.append(v[i] == model.u_ref - K @ (z[i] - model.x_ref))
        for i in range(N + 1):
            for row in np.flatnonzero(np.isfinite(self.price)):
                over = self.C[row, :n] @ x[i]
                if i > 0:
                    cost += self.price[row] * cp.pos(cp.maximum(over - self.high[row], self.low[row] - over))
            if i < N:
                holds += [
                    u[i] == v[i] - K @ (x[i] - z[i]),
                    x[i + 1] == plant.A @ x[i] + plant.B @ u[i] + c,
                ]
                e, w = x[i] - model.x_ref, u[i] - model.u_ref
                cost += cp.quad_form(e, model.Q) + cp.quad_form(w, model.R) + model.gradient @ cp.hstack([e, w])
        problem = cp.Problem(cp.Minimize(cost), holds)
        problem.solve(cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        assert problem.status == "optimal"
        answer = v.value[0] - K @ (x0 - self.z)
        self.z = z.value[1]
        return np.asarray(answer)


def rows(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Input bounds and constraints from the task's own numbers: C (x, u) between low and high, at a price."""
    names = (*task.plant.state.names, *task.plant.input.names)
    lower, upper = task.plant.bounds
    n, found = len(task.plant.state), []
    for i in range(len(lower)):
        found.append((np.eye(len(names))[n + i], lower[i], upper[i], np.inf))
    for constraint in task.constraints:
        price = getattr(constraint.requirement, "weight", np.inf)
        if isinstance(constraint, Box):
            for name, (low, high) in constraint.bounds.items():
                found.append((np.eye(len(names))[names.index(name)], low, high, price))
            continue
        for line, high in zip(constraint.H, constraint.h, strict=True):
            row = np.zeros(len(names))
            row[[names.index(name) for name in constraint.signals]] = line
            found.append((row, -np.inf, high, price))
    C, low, high, price = (np.array(part) for part in zip(*found, strict=True))
    return C, low, high, price


@pytest.mark.parametrize(
    ("every", "n", "m"), [(2, 3, 2), (2, 1, 1), (1, 3, 2), (math.inf, 3, 2), (math.inf, 2, 1), (3, 2, 1)]
)
@pytest.mark.every(6)
def test_agrees_with_the_scheme_as_written(every: float, n: int, m: int) -> None:
    tried = 0
    for seed in range(10 * n, 10 * n + 4):
        posed = random_task(seed, n, m)
        if seed % 2:  # a reference off the origin, and a gain that is not the regulator's
            posed = dataclasses.replace(posed, reference=SetPoint([0.1] * n))
        try:
            plain = StochasticMPC(posed, recondition_every=every, terminal_steps=2)
            K = plain.K + 0.02 if seed % 2 else None
            controller = StochasticMPC(posed, horizon=3, recondition_every=every, K=K, terminal_steps=2)
        except NotApplicable:
            continue
        oracle, rng = Oracle(controller), np.random.default_rng(seed)
        step = posed.dynamics.function()
        box = Box("near", dict.fromkeys(posed.plant.state.names, (-3.0, 3.0)))
        along = dict(zip(posed.plant.state.names, rng.normal(size=n), strict=True))
        far = controller.feasible_set(box).support(along, {})
        if far is None:
            continue
        x = 0.9 * far
        low, high = posed.disturbance.support(posed.plant.disturbance)
        for k in range(3):
            decision = controller.step(x, k)
            if decision.status is not Status.SOLVED:
                break
            np.testing.assert_allclose(decision.input, oracle.step(x, k), atol=2e-5)
            x = np.array(step(x, decision.input, rng.uniform(low, high), []))[:, 0]
            tried += 1
    assert tried >= 6


@pytest.mark.parametrize("every", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3)), math.inf])
def test_recursively_feasible_from_the_edge_of_the_feasible_set(every: float) -> None:
    """500 runs of random tasks that start where they only just can, half of them under the worst of disturbances."""
    runs = 0
    for seed in range(12):
        n, m = 1 + seed % 3, 1 + seed % 2
        posed = random_task(seed, n, m)
        try:
            controller = StochasticMPC(posed, horizon=1 + seed % 5, recondition_every=every)
        except NotApplicable:  # the disturbance is too large
            continue
        rng, names = np.random.default_rng(seed), posed.plant.state.names
        feasible = controller.feasible_set(Box("near", dict.fromkeys(names, (-20.0, 20.0))))
        low, high = posed.disturbance.support(posed.plant.disturbance)
        (least, most), rest = posed.input_bounds, controller.loop.model.x_ref + controller.loop.rest
        plant = controller.loop.model.plant
        for _ in range(8):
            edge = feasible.support(dict(zip(names, rng.normal(size=n), strict=True)), {})
            assert edge is not None
            for kind in range(6):
                # The edge is found by an interior point, to its own tolerance.
                x = rest + (1.0 - 1e-6) * (edge - rest)
                controller.reset()
                for k in range(10):
                    decision = controller.step(x, k)
                    assert decision.status is Status.SOLVED
                    plan = controller.plan
                    assert plan is not None
                    # What is applied before it is clipped: the tube keeps to the bounds by itself.
                    raw = plan.u[0] - controller.K @ (x - plan.x[0])
                    assert ((raw >= least - 1e-6) & (raw <= most + 1e-6)).all()
                    w = rng.uniform(low, high) if kind % 2 else np.where(rng.random(len(low)) < 0.5, low, high)
                    x = plant.A @ x + plant.B @ decision.input + plant.E @ w + plant.c
                    assert k == 0 or x[-1] <= 1.4 + 1e-6
                runs += 1
    assert runs >= 500
