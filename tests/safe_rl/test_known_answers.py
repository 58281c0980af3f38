"""Small constrained problems whose answers are known: multipliers, optimal costs, feasible sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_are
from scipy.optimize import brentq

from safe_rl import (
    CAL,
    DSACH,
    DSACPID,
    PLO,
    SACPID,
    SACPLO,
    Combination,
    DSACLagrangian,
    DSACTSettings,
    PPOLagrangian,
    SACLagrangian,
    assess,
)
from safe_rl.base.ppo import PPOSettings
from safe_rl.base.sac import SACSettings
from systems import Task
from systems.library import bandit, braking, cartpole_track, effort_budget, lane_bound
from systems.library.double_integrator import can_stop

QUICK: dict[str, Any] = {"hidden": (32, 32), "warmup": 2_000, "mean_updates": 300}


@pytest.mark.parametrize(
    ("make", "settings", "updates"),
    [
        pytest.param(
            SACPID,
            SACSettings(hidden=(16, 16), batch_size=64, warmup=2_000, mean_updates=300),
            3_000,
            marks=pytest.mark.slow,
        ),
        pytest.param(PLO, DSACTSettings(**QUICK), 6_000, marks=pytest.mark.slow),
        pytest.param(SACLagrangian, SACSettings(**QUICK), 6_000, marks=pytest.mark.slow),
        pytest.param(DSACLagrangian, DSACTSettings(**QUICK), 6_000, marks=pytest.mark.slow),
        pytest.param(DSACPID, DSACTSettings(**QUICK), 4_000, marks=pytest.mark.slow),
        pytest.param(CAL, SACSettings(**QUICK), 6_000, marks=pytest.mark.slow),
        pytest.param(PPOLagrangian, PPOSettings(hidden=(32, 32)), 6_000, marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_bandit_settles_at_its_budget_with_the_kkt_multiplier(make: Combination, settings: Any, updates: int) -> None:
    learner = make(bandit(), settings=settings).learn(updates, progress=False)
    dose = float(learner.result.act(torch.zeros(1, 1)))
    # The budget less its reserve binds the mean of what is drawn; tanh makes that differ a little from the mean action.
    best = 0.5 * (1.0 - make.handler.margin)
    assert dose == pytest.approx(best, abs=0.06)
    prices = [record.diagnostics["multiplier dose"] for record in learner.history[-5:]]
    assert np.mean(prices) == pytest.approx(2.0 * (1.0 - best), abs=0.12)  # of the reward -(1 - dose)^2


def optimum_of_effort_budget(task: Task) -> tuple[np.ndarray, float, float]:
    """Gain, multiplier and discounted cost of the best law, from Riccati equations and a root in the multiplier.

    Discounting scales A and B by sqrt(discount). Cost and effort of u = -K x are quadratic forms of the start.
    """
    dynamics = task.dynamics.function()
    none = np.zeros(len(task.plant.disturbance))
    A = np.column_stack([dynamics(e, [0], none, []).full()[:, 0] for e in np.eye(2)])
    B = dynamics(np.zeros(2), [1], none, []).full()
    Q, R, _ = task.cost.matrices(task.plant)  # type: ignore[attr-defined]
    g = task.discount**0.5
    second = task.initial.covariance(task.plant.state)  # of starts with mean zero
    limit = task.constraints[0].requirement.limit  # type: ignore[union-attr]

    def gain(lam: float) -> np.ndarray:
        P = solve_discrete_are(g * A, g * B, Q, R + lam)
        return np.linalg.solve(R + lam + g**2 * B.T @ P @ B, g**2 * B.T @ P @ A)

    def worth(K: np.ndarray, W: np.ndarray) -> float:
        """sum_k discount^k E[x' W x] under u = -K x, over the run."""
        total, X, M = 0.0, second, A - B @ K
        for k in range(task.steps):
            total += task.discount**k * float(np.trace(W @ X))
            X = M @ X @ M.T
        return total

    lam = brentq(lambda lam: worth(gain(lam), gain(lam).T @ gain(lam)) - limit, 0.0, 100.0)
    K = gain(lam)
    return K, lam, worth(K, Q + K.T @ R @ K)


def test_the_optimum_of_the_effort_budget_is_one() -> None:
    """The law spends its budget, and no nearby law that keeps to it costs less."""
    task = effort_budget()
    K, lam, cost = optimum_of_effort_budget(task)
    assert lam > 0.01
    x = task.initial.sample(task.plant.state, np.random.default_rng(0), (4000,))
    step = task.dynamics.lower("numpy")

    def run(K: np.ndarray) -> tuple[float, float]:
        spent = paid = 0.0
        at = x
        for k in range(task.steps):
            u = -at @ K.T
            assert (np.abs(u) <= 1.5).all() or k > 0
            spent += 0.95**k * float((u**2).mean())
            paid += 0.95**k * float((at[:, 0] ** 2 + 0.1 * at[:, 1] ** 2 + 0.01 * u[:, 0] ** 2).mean())
            at = step(at, u, np.zeros((len(at), 1)), np.zeros((len(at), 0)))
        return spent, paid

    spent, paid = run(K)
    assert spent == pytest.approx(0.6, rel=0.04)
    assert paid == pytest.approx(cost, rel=0.04)
    for change in np.random.default_rng(1).normal(0, 0.03, (20, 1, 2)):
        other_spent, other_paid = run(K + change)
        assert other_paid + lam * other_spent >= paid + lam * spent - 1e-9


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_effort_budget_is_learned_to_two_percent() -> None:
    task = effort_budget()
    _, _, best = optimum_of_effort_budget(task)
    learner = SACLagrangian(task).learn(20_000, progress=False)
    found = assess(learner.result, task, episodes=4000, seed=77)
    assert found.spent.mean() <= 0.6 * 1.02
    assert -found.discounted_returns.mean() <= 1.02 * best


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("make", [PLO, DSACPID], ids=lambda c: c.name)
def test_braking_keeps_nearly_all_feasible_starts_feasible(make: Combination) -> None:
    task = braking()
    learner = make(task).learn(4_000, progress=False)
    found = assess(learner.result, task, episodes=1000, seed=77)
    assert found.spent.mean() <= 0.5
    x = np.stack(np.meshgrid(np.linspace(-2, 0, 41), np.linspace(0, 1, 21), indexing="ij"), -1).reshape(-1, 2)
    x = x[can_stop(task, x)]
    step, act, worst, at = task.dynamics.lower("numpy"), learner.result.law(), x[:, 0].copy(), x
    for _ in range(task.steps):
        at = step(at, act(at), np.zeros((len(at), 1)), np.zeros((len(at), 0)))
        worst = np.maximum(worst, at[:, 0])
    assert (worst <= 0).mean() >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("make", "task", "updates"),
    [
        (PLO, effort_budget(), 6_000),
        (SACPLO, lane_bound(), 4_000),
        (DSACH, braking(), 4_000),
        (CAL, lane_bound(), 4_000),
        (PPOLagrangian, cartpole_track(), 5_000),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_one_combination_of_each_family_meets_its_budget(make: Combination, task: Task, updates: int) -> None:
    """With default settings and one seed; all combinations, tasks and seeds are `python -m benchmarks.constrained`."""
    learner = make(task).learn(updates, progress=False)
    found = assess(learner.result, task, episodes=10_000, seed=77)
    mean, low, high = found.interval()
    limit = found.limits[0].limit
    assert high - low <= 0.1 * limit, "too few runs to tell"
    assert mean <= limit
