"""Published methods with their own numbers, apart from the tuned ones of the same names."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import safe_rl
from safe_rl import SACSettings, published
from safe_rl.combinations import ALL, Combination
from safe_rl.handlers import Harmonic
from safe_rl.handlers.base import ConstraintState
from systems import InvalidValue
from tests.safe_rl.tasks import TINY, assert_same_run, two_budgets


@pytest.mark.parametrize("make", published.PUBLISHED, ids=lambda c: c.name)
@pytest.mark.every(3)
def test_it_is_another_method_than_the_tuned_one_and_resumes_to_the_bit(make: Combination, tmp_path) -> None:
    tuned = next(c for c in ALL if f"{c.name}-published" == make.name)
    assert (tuned.base, type(tuned.handler)) == (make.base, type(make.handler))
    assert tuned.handler != make.handler
    small = dataclasses.replace(make.settings, hidden=(16, 16), batch_size=12, warmup=200, capacity=500)
    whole = make(two_budgets(), settings=small).learn(40, progress=False)
    make(two_budgets(), settings=small).learn(20, progress=False, checkpoint=tmp_path / "run")
    assert_same_run(whole, make.load(tmp_path / "run", two_budgets()).learn(40, progress=False))
    other = tuned(two_budgets(), settings=small).learn(40, progress=False)
    assert not torch.equal(whole.policy.network.weights[-1], other.policy.network.weights[-1])


def test_a_combination_brings_its_settings() -> None:
    learner = published.CAL(two_budgets())
    assert learner.settings == published.CAL.settings
    assert (learner.settings.hidden, learner.settings.batch_size, learner.members) == ((256, 256), 12, 4)
    assert learner.constraints.controller.multipliers.tolist() == pytest.approx([0.6931, 0.6931])
    assert learner.name == "cal-published"
    given = TINY[safe_rl.SAC]
    assert published.CAL(two_budgets(), settings=given).settings == given
    assert safe_rl.CAL(two_budgets()).settings == SACSettings()
    with pytest.raises(InvalidValue, match="combination 'a': settings"):
        Combination("a", safe_rl.DSACT, Harmonic(), SACSettings())


def test_step_sizes_are_constant() -> None:
    for make in published.PUBLISHED:
        assert safe_rl.optimiser.decayed(10**6, make.settings.decay) == pytest.approx(1.0, abs=1e-3)
        assert safe_rl.optimiser.decayed(20_000, SACSettings().decay) == pytest.approx(0.1)


def test_without_gates_safety_counts_whatever_the_violation_is() -> None:
    theta = torch.tensor([1.0, 2.0], requires_grad=True)
    for violation in (-1.0, 0.0, 1.0):
        gradients = []
        for handler in (Harmonic(members=1, caution=0.0, gated=False), Harmonic(members=1, caution=0.0)):
            controller = handler.controller(1)
            controller.update(torch.tensor([violation]).double().numpy())
            state = ConstraintState(torch.tensor(controller.multipliers).float(), torch.tensor([violation]))
            costs = (theta[1] * torch.ones(1, 1, 3)).clone()
            gradients.append(handler.gradient(-theta[0] - theta[1], costs, state, [theta])[0])
        # Mutual projection of (-1, -1) and 3 (0, 1), by its formula.
        g1, g2 = torch.tensor([-1.0, -1.0]), torch.tensor([0.0, 3.0])
        c = -3.0
        expected = g1 - c * g2 / 9.0 + g2 - c * g1 / 2.0
        torch.testing.assert_close(gradients[0], expected)
        if violation < 0:
            torch.testing.assert_close(gradients[1], g1)
