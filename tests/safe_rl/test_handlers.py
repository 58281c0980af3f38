"""Constraint handlers: their gradients against closed forms, and the methods that must coincide."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ctrl.multipliers import PID
from safe_rl import DSACPID, DSACT, PLO, SAC
from safe_rl.handlers import (
    ConservativeAugmented,
    DualAdamGains,
    FixedPenalty,
    Handler,
    Harmonic,
    IntegralGains,
    Lagrangian,
    PIDGains,
    PredictiveGains,
)
from safe_rl.handlers.base import ConstraintState
from safe_rl.handlers.dual_adam import DualAdam
from safe_rl.handlers.harmonic import equal_angle, minimum_norm, mutual_projection
from tests.safe_rl.tasks import TINY, assert_same_run, two_budgets

THETA = torch.tensor([0.3, -0.2], requires_grad=True)
A = torch.tensor([1.0, 2.0])  # gradient of the reward's loss
B = torch.tensor([[-1.0, 0.5], [0.0, 3.0]])  # gradients of two costs


def losses(members: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A linear loss, and costs (members, 2, 5) whose mean over the batch has the gradients B; members differ by 1."""
    spread = torch.arange(members, dtype=torch.float32).view(-1, 1, 1)
    return A @ THETA, (B @ THETA).view(1, 2, 1) + torch.linspace(-1.0, 1.0, 5) + spread


def gradient(handler: Handler, lam: list[float], violation: list[float], members: int = 1) -> torch.Tensor:
    loss, costs = losses(members)
    state = ConstraintState(torch.tensor(lam), torch.tensor(violation))
    (found,) = handler.gradient(loss, costs, state, [THETA])
    return found


def test_lagrangian_gradient_is_that_of_the_weighted_sum() -> None:
    lam = [2.0, 0.5]
    plain = A + 2.0 * B[0] + 0.5 * B[1]
    torch.testing.assert_close(gradient(Lagrangian(normalised=False), lam, [0.0, 0.0]), plain)
    torch.testing.assert_close(gradient(Lagrangian(), lam, [0.0, 0.0]), plain / 3.5)
    torch.testing.assert_close(gradient(FixedPenalty(), lam, [0.0, 0.0]), plain / 3.5)


def test_convexified_weight_is_multiplier_plus_violation_and_never_negative() -> None:
    cal = ConservativeAugmented(members=1, caution=0.0, convexity=10.0)
    expected = A + (2.0 + 10.0 * 0.1) * B[0] + 0.0 * B[1]
    torch.testing.assert_close(gradient(cal, [2.0, 0.5], [0.1, -0.2]), expected)


def test_caution_adds_deviations_of_the_ensemble() -> None:
    costs = torch.randn(4, 2, 7, generator=torch.Generator().manual_seed(0))
    handler = ConservativeAugmented(members=4, caution=0.5)
    torch.testing.assert_close(handler.estimate(costs), costs.mean(0) + 0.5 * costs.std(0, unbiased=True))
    twins = Harmonic(members=2, caution=0.5**0.5)
    torch.testing.assert_close(twins.estimate(costs[:2]), costs[:2].amax(0))
    with pytest.raises(ValueError, match="members=2 or more"):
        Lagrangian(caution=0.5)


@pytest.mark.parametrize("rule", [mutual_projection, minimum_norm, equal_angle])
def test_harmonic_gradients_oppose_neither_gradient(rule) -> None:
    generator = torch.Generator().manual_seed(0)
    opposed = 0
    for _ in range(2000):
        n = int(torch.randint(2, 30, (), generator=generator))
        g1, g2 = torch.randn(2, n, generator=generator, dtype=torch.float64)
        g2 = g2 * 10.0 ** (4.0 * torch.rand((), generator=generator, dtype=torch.float64) - 2.0)
        g = rule(g1, g2)
        assert float(g @ g1) >= -1e-10 * float(g.norm() * g1.norm())
        assert float(g @ g2) >= -1e-10 * float(g.norm() * g2.norm())
        opposed += float((g1 + g2) @ g1) < 0 or float((g1 + g2) @ g2) < 0
    assert opposed > 500, "the plain sum does oppose one of them often"


def test_harmonic_rules_by_hand() -> None:
    g1, g2 = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(mutual_projection(g1, g2), torch.tensor([0.5, 1.5]))
    torch.testing.assert_close(minimum_norm(g1, g2), torch.tensor([0.2, 0.4]))
    bisector = equal_angle(g1, g2)
    assert float(bisector @ g1) == pytest.approx(float(bisector @ g2) / 2**0.5)
    agreeing = torch.tensor([1.0, 1.0])
    torch.testing.assert_close(mutual_projection(g1, agreeing), g1 + agreeing)


def test_a_shut_gate_leaves_the_reward_alone_and_an_open_one_does_not() -> None:
    handler = Harmonic(members=1, caution=0.0, weight=2.0)
    torch.testing.assert_close(gradient(handler, [0.0, 0.0], [-0.1, -0.1]), A)
    opened = gradient(handler, [1.0, 0.0], [0.5, -0.1])
    torch.testing.assert_close(opened, A + 2.0 * B[0])
    gate = handler.controller(2)  # it is told e + margin
    np.testing.assert_allclose(gate.update(np.array([0.0, 0.1])), [0.0, 1.0])
    np.testing.assert_allclose(gate.update(np.array([0.15, 5.0])), [1.5, 2.0])
    torch.testing.assert_close(gradient(handler, [2.0, 0.0], [0.5, -0.1]), A + 4.0 * B[0])


def test_a_cost_gradient_of_noise_does_not_lead() -> None:
    """Far from every violation the cost critics are flat; what is left of their slope must not lead the policy."""
    state = ConstraintState(torch.tensor([2.0, 0.0]), torch.tensor([0.5, -0.1]))
    (found,) = Harmonic(members=1, caution=0.0).gradient(A @ THETA, (1e-4 * (B @ THETA)).view(1, 2, 1), state, [THETA])
    torch.testing.assert_close(found, A, rtol=0.0, atol=1e-2)


def test_dual_adam_is_adam_on_the_logarithm() -> None:
    """Against torch's Adam on the loss lam * (limit - cost)."""
    controller = DualAdam(0.05, 2)
    controller.start(np.array([0.6931, 2.0]))
    log = torch.tensor(np.log([0.6931, 2.0]), requires_grad=True)
    optimiser = torch.optim.Adam([log], lr=0.05)
    for k in range(200):
        violation = torch.tensor([np.sin(0.1 * k), 0.3 - 0.01 * k], dtype=torch.float64)
        optimiser.zero_grad()
        (log.exp() * -violation).sum().backward()
        optimiser.step()
        found = controller.update(violation.numpy())
        np.testing.assert_allclose(found, log.detach().exp().numpy(), rtol=1e-9)
    assert found[0] != found[1]


def test_conservative_without_its_additions_is_sac_lagrangian_bit_for_bit() -> None:
    gains = DualAdamGains(rate=0.05)
    cal = ConservativeAugmented(members=1, caution=0.0, convexity=0.0, gains=gains)
    plain = Lagrangian(source="critics", period=1, gains=gains, normalised=False)
    full = ConservativeAugmented(gains=gains)
    one, other, third = (
        SAC(two_budgets(), settings=TINY[SAC], handler=handler).learn(120, progress=False)
        for handler in (cal, plain, full)
    )
    assert one.constraints is not None
    assert float(one.constraints.state.multipliers.abs().max()) > 0
    assert not torch.allclose(one.constraints.state.multipliers, torch.tensor(0.6931))
    assert_same_run(one, other)
    assert not torch.equal(one.policy.network.weights[0], third.policy.network.weights[0])


def test_plo_with_a_pid_controller_in_place_of_the_predictive_one_is_pid_lagrangian() -> None:
    assert isinstance(PLO.handler, Lagrangian)
    handler = dataclasses.replace(PLO.handler, gains=PIDGains(), period=DSACPID.handler.period)
    assert isinstance(handler.controller(1), PID)
    one = DSACT(two_budgets(), settings=TINY[DSACT], handler=handler).learn(100, progress=False)
    other = DSACPID(two_budgets(), settings=TINY[DSACT]).learn(100, progress=False)
    assert_same_run(one, other)
    predictive = PLO(two_budgets(), settings=TINY[DSACT]).learn(100, progress=False)
    assert not torch.equal(one.policy.network.weights[0], predictive.policy.network.weights[0])


@pytest.mark.parametrize("gains", [IntegralGains(), PIDGains(), PredictiveGains(), DualAdamGains()])
def test_every_controller_raises_its_multiplier_under_violation_and_lowers_it_after(gains) -> None:
    controller = gains.controller(2)
    for _ in range(60):
        high = controller.update(np.array([0.5, -0.5])).copy()
    for _ in range(200):
        low = controller.update(np.array([-0.5, -0.5])).copy()
    assert high[0] > 0.5
    assert low[0] < high[0]
    assert low[1] <= 0.7
    assert np.isfinite([high, low]).all()


def settle(answer: float, lag: int, noise: float, updates: int) -> tuple[np.ndarray, np.ndarray]:
    """Violation and multiplier, one of each per decision, of a policy that would settle at the violation

        e = 1 - answer * lam

    and gets there with a lag in updates; measured with noise that the sum over a run correlates (80 steps).
    """
    assert isinstance(PLO.handler, Lagrangian)
    controller, rng = PLO.handler.gains.controller(1), np.random.default_rng(0)
    e, error, lam, seen = 1.0, 0.0, 0.0, []
    for step in range(updates // 2):
        e += (1.0 - answer * lam - e) * 2.0 / lag
        error += -error / 80 + rng.normal() * noise * (2.0 / 80) ** 0.5
        if step % PLO.handler.period == 0:
            lam = float(controller.update(np.clip([e + error], -1.0, 1.0))[0])
            seen.append((e, lam))
    return tuple(np.array(seen).T)  # type: ignore[return-value]


def test_predictive_multipliers_settle_on_a_policy_that_follows_at_once() -> None:
    violation, lam = settle(answer=1 / 3, lag=150, noise=0.0, updates=6_000)
    assert abs(violation[-1]) < 0.02
    assert lam[-1] == pytest.approx(3.0, rel=0.02)


def test_predictive_multipliers_do_not_flip_on_a_policy_that_follows_late_and_is_measured_with_noise() -> None:
    violation, lam = settle(answer=2.5, lag=600, noise=0.15, updates=12_000)
    settled = len(lam) // 3
    assert lam[settled:].mean() == pytest.approx(0.4, abs=0.05)
    assert lam[settled:].std() < 0.08
    assert -0.05 < violation[settled:].mean() < 0.02
    assert violation[settled:].std() < 0.1
