"""Budgets in the units of users and of critics, and what a learner measures of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from safe_rl import DSACT, cost_limits
from safe_rl.constraints import Constraints
from safe_rl.handlers import IntegralGains, Lagrangian
from systems import Box
from tests.safe_rl.tasks import TINY, swing_up, two_budgets


def test_conversions_are_those_of_a_cost_spent_evenly() -> None:
    task = swing_up(discount=0.97, steps=100, budget=25.0)
    (limit,) = cost_limits(task)
    even = np.full(100, 25.0 / 100)
    assert limit.rate == pytest.approx(0.25)
    assert limit.discounted == pytest.approx(float(even @ 0.97 ** np.arange(100)))
    # A published conversion, for a limit of 10 in 400 steps.
    safety_gym = cost_limits(swing_up(discount=0.99, steps=400, budget=10.0))[0]
    assert safety_gym.discounted == pytest.approx(10 * (1 - 0.99**400) / (1 - 0.99) / 400)
    assert limit.critic == pytest.approx(sum(0.25 * 0.97**k for k in range(5000)))
    for number in ("25 violated steps per episode of 100", "0.25 per step", "7.94 discounted by 0.97"):
        assert number in str(limit)


def test_a_discounted_budget_is_its_own_discounted_form() -> None:
    task = dataclasses.replace(
        swing_up(discount=0.9, steps=30), constraints=(Box("fast", {"rate": (-1.0, 1.0)}).budget(2.0, "discounted"),)
    )
    (limit,) = cost_limits(task)
    assert limit.discounted == pytest.approx(2.0)
    assert limit.rate * sum(0.9**k for k in range(30)) == pytest.approx(2.0)


def test_every_requirement_has_its_allowance() -> None:
    box = Box("a", {"rate": (-1.0, 1.0)})
    named = [dataclasses.replace(box, name=name) for name in "abcd"]
    task = dataclasses.replace(
        swing_up(steps=50), constraints=(named[0], named[1].soft(1.0), named[2].chance(0.9), named[3].budget(3.0))
    )
    assert [(a.name, a.column, round(a.limit, 9)) for a in cost_limits(task)] == [("a", 0, 0), ("c", 2, 5), ("d", 3, 3)]
    unconstrained = dataclasses.replace(task, constraints=(named[1].soft(1.0),))
    with pytest.raises(ValueError, match="no constraint for Lagrangian"):
        DSACT(unconstrained, settings=TINY[DSACT], handler=Lagrangian())


def test_measure_finds_what_runs_spend() -> None:
    """Runs of 20 steps that begin at different times, each with known costs: per run 20 * 0.3, and discounted ones."""
    task, n, T = two_budgets(), 40, 20
    constraints = Constraints(task, Lagrangian(), n, torch.device("cpu"))
    age = torch.arange(n) % T
    for _ in range(400):
        cost = torch.stack((torch.full((n,), 0.3), torch.full((n,), 9.0), age.float() / T), dim=1)
        constraints.measure(cost, age.float(), age == T - 1)
        age = (age + 1) % T
    discounted = sum(k / T * 0.99**k for k in range(T))
    torch.testing.assert_close(constraints.spent, torch.tensor([6.0, discounted]), rtol=1e-3, atol=0.0)


def test_learner_measures_what_its_runs_cost() -> None:
    """Against the books of finished runs."""
    learner = DSACT(two_budgets(), settings=TINY[DSACT], handler=Lagrangian()).learn(200, progress=False)
    assert learner.constraints is not None
    record = learner.history[-1]
    assert 0 < record.diagnostics["spent fast"] <= 20
    assert float(learner.constraints.violation.abs().max()) > 0
    assert record.diagnostics["multiplier fast"] > 0


def test_evaluation_environments_act_without_noise() -> None:
    """Budgets are measured on the mean action; without a handler every environment explores."""
    for handler, evaluation_environments in ((Lagrangian(), 2), (None, 0)):
        learner = DSACT(two_budgets(), settings=TINY[DSACT], handler=handler)
        learner.prepare()
        seen = learner.collector.observation
        applied = learner.policy.physical(learner.collector.collect().action)
        still = (applied - learner.policy.act(seen)).abs().amax(dim=1) < 1e-6
        assert still.tolist() == [True] * evaluation_environments + [False] * (4 - evaluation_environments)


def test_pressure_begins_short_of_a_budget_and_nothing_presses_where_nothing_is_allowed_or_spent() -> None:
    box = Box("a", {"rate": (-1.0, 1.0)})
    some, none = box.budget(4.0), dataclasses.replace(box, name="none")
    task = dataclasses.replace(swing_up(steps=50), constraints=(some, none))
    constraints = Constraints(
        task, Lagrangian(gains=IntegralGains(1.0), period=1, margin=0.03), 50, torch.device("cpu")
    )
    torch.testing.assert_close(constraints.threshold, torch.tensor([4.0 * 0.97, 0.0]))
    age = torch.arange(50)
    for spent, expected in ((3.8, 0.0), (3.95, 1.0)):
        for _ in range(400):
            constraints.measure(torch.tensor([[spent / 50, 0.0]]).expand(50, 2), age.float(), age == 49)
            age = (age + 1) % 50
        constraints.update_multipliers()
        risen = constraints.state.multipliers > 0
        assert risen.tolist() == [bool(expected), False]


def test_measuring_never_waits_for_the_device() -> None:
    """Tensors without values: whoever asks one for its value, as a branch on it would, gets an error."""
    device = torch.device("meta")
    constraints = Constraints(two_budgets(), Lagrangian(period=2), 4, device)
    constraints.measure(torch.ones(4, 3, device=device), torch.ones(4, device=device), torch.ones(4, device=device))
    constraints.update_multipliers()
