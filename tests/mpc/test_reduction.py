"""MPC among agents with modes: the program against CVXPY, the reduced optimum, chances by Monte Carlo, closed loops."""

from __future__ import annotations

import dataclasses
from itertools import product

import cvxpy as cp
import numpy as np
import pytest
from scipy.stats import norm

from ctrl import Status
from mpc.reduction.generation import solve_by_generation, solve_with
from mpc.reduction.model import multimodal_model
from mpc.reduction.program import SampleProgram
from mpc.reduction.responses import responses
from systems.library import intersection
from systems.library.intersection import USERS

TASK = intersection()
MODEL = multimodal_model(TASK, 0.2)
REFERENCE = np.array(MODEL.cost.gradient(*TASK.reference.at(TASK.plant, 0)))[:, 0]
CLOSE = np.array([-20.0, 8.0, -11.0, 9.0, -16.0, 9.0, -5.0, 3.0])
"""A state in which constraints of several road users are active."""


def scene(seed: int) -> np.ndarray:
    """A random state near the intersection."""
    rng = np.random.default_rng(seed)
    return np.array(
        [
            rng.uniform(-30.0, 0.0), rng.uniform(3.0, 10.0), rng.uniform(-30.0, 0.0), rng.uniform(5.0, 10.0),
            rng.uniform(-30.0, 0.0), rng.uniform(5.0, 10.0), rng.uniform(-12.0, 0.0), rng.uniform(1.0, 5.0),
        ]
    )  # fmt: skip


def program(
    x: np.ndarray, horizon: int, probabilities: tuple[np.ndarray, ...] = MODEL.prior, penalty: float = np.inf
) -> SampleProgram:
    gradients = np.tile(REFERENCE, (horizon + 1, 1))
    gradients[-1, 2:] = 0.0
    around = np.array([[x[0] + 0.2 * t * x[1], x[1]] for t in range(horizon + 1)])
    return SampleProgram(MODEL, responses(MODEL, horizon), x, probabilities, gradients, around, penalty)


class ByHand:
    """The same program for CVXPY, from recursions over the plant's own steps, one joint mode after the other."""

    def __init__(self, x: np.ndarray, N: int, probabilities: tuple[np.ndarray, ...]) -> None:
        self.h = cp.Variable(N)
        self.K = {(k, j): cp.Variable((N, 2)) for k, p in enumerate(probabilities) for j in range(len(p)) if p[j] > 0}
        rules, cost, risk = [self.h <= 2.0, self.h >= -5.0], 0.0, 0.03 * 0.8 / 3
        for joint in product(*(np.flatnonzero(p) for p in probabilities)):
            weight = float(np.prod([p[j] for p, j in zip(probabilities, joint, strict=True)]))
            values = {f"intention_{user.name}": j + 0.5 for user, j in zip(USERS, joint, strict=True)}
            plant = TASK.plant.with_parameters(values)
            f = dataclasses.replace(TASK.dynamics, plant=plant).function()

            def step(x: np.ndarray, u: float = 0.0, w: tuple[float, ...] = (0.0,) * 3) -> np.ndarray:
                return np.array(f(x, u, w, []))[:, 0]  # noqa: B023

            zero = step(np.zeros(8))
            A = np.array([step(e) - zero for e in np.eye(8)]).T
            B = step(np.zeros(8), 1.0) - zero
            L = np.array([step(np.zeros(8), 0.0, w) - zero for w in np.eye(3)]).T * [1.0, 1.0, 0.5]
            mean, ego, spread = x, x[:2], np.zeros((8, 3 * N))  # of the agents; of the ego under h
            follow = np.zeros((2, 3 * N))  # deviation of the ego, per noise
            for t in range(N):
                u = sum(self.K[k, j][t] @ spread[2 + 2 * k : 4 + 2 * k] for k, j in enumerate(joint))
                cost += weight * (cp.sum_squares(u) + cp.square(ego[1] - 9.0) + cp.square(self.h[t]))
                cost += weight * cp.sum_squares(follow[1])
                follow = A[:2, :2] @ follow + cp.reshape(B[:2], (2, 1), order="C") @ cp.reshape(
                    u, (1, 3 * N), order="C"
                )
                ego = A[:2, :2] @ ego + B[:2] * self.h[t]
                mean = A @ mean + zero
                spread = A @ spread
                spread[:, 3 * t : 3 * t + 3] += L
                spread[:2] = 0.0
                rules += [ego[1] >= 0.0, ego[1] <= 12.0]
                for k, user in enumerate(USERS):
                    axes = np.array(user.half_axes)
                    place = np.array([x[0] + 0.2 * (t + 1) * x[1] - user.crosses_at, mean[2 + 2 * k]]) / axes
                    n = place / np.linalg.norm(place) / axes
                    clear = n[0] * (ego[0] - user.crosses_at) + n[1] * mean[2 + 2 * k] - 1.0
                    rules.append(norm.isf(risk) * cp.norm(n[0] * follow[0] + n[1] * spread[2 + 2 * k]) <= clear)
            cost += weight * (cp.square(ego[1] - 9.0) + cp.sum_squares(follow[1]))
        self.cost = cost
        self.problem = cp.Problem(cp.Minimize(cost), rules)
        self.problem.solve(solver=cp.CLARABEL)


@pytest.mark.parametrize(
    "probabilities",
    [(np.array([0.7, 0.3]), np.array([1.0, 0.0]), np.array([0.2, 0.0, 0.5, 0.3])),
     (np.array([0.1, 0.9]), np.array([0.0, 1.0]), np.array([1.0, 0.0, 0.0, 0.0]))],
)  # fmt: skip
def test_program_is_the_one_written_out_by_hand(probabilities: tuple[np.ndarray, ...]) -> None:
    N = 9
    judge = ByHand(CLOSE, N, probabilities)
    assert judge.problem.status == "optimal"
    own = program(CLOSE, N, probabilities)
    optimum = solve_by_generation(own, np.zeros(0, dtype=int))
    assert optimum.status is Status.SOLVED
    assert len(optimum.active)
    np.testing.assert_allclose(own.plan(optimum.z)[1][:, 0], judge.h.value, atol=2e-4)
    free = (CLOSE[1] - 9.0) ** 2  # of the first state, which no decision changes
    nothing = np.zeros(own.size)
    judge.h.value = np.zeros(N)
    optimal = judge.problem.value
    for K in judge.K.values():
        K.value = np.zeros((N, 2))
    assert optimal - float(judge.cost.value) == pytest.approx(
        2.0 * 0.5 * (own.objective(optimum.z) - own.objective(nothing)), abs=1e-4 * (1.0 + free)
    )


@pytest.mark.parametrize("seed", range(6))
def test_optimum_is_that_of_the_full_program(seed: int) -> None:
    own = program(scene(seed), 10)
    full = solve_with(own, own.every, 100, 60.0)
    for predicted in (np.zeros(0, dtype=int), np.array([7, 9, 200])):
        reduced = solve_by_generation(own, predicted)
        assert reduced.status is full.status
        if full.status is Status.SOLVED:
            assert len(reduced.imposed) < len(own.every) / 4
            assert own.objective(reduced.z) == pytest.approx(own.objective(full.z), rel=1e-6, abs=1e-5)
            np.testing.assert_allclose(own.plan(reduced.z)[1], own.plan(full.z)[1], atol=1e-4)
            assert own.violations(reduced.z).max() <= 2e-6
            again = solve_by_generation(own, reduced.active)
            assert again.rounds == 1 or set(again.imposed) - set(reduced.active)
