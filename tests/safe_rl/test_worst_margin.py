"""Critics of the discounted worst margin: the safety Bellman equation, its fixed point, and the set that it finds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from ctrl.controller import NotApplicable
from safe_rl import DSACT, PPO, SAC, Learner
from safe_rl.handlers import (
    ConservativeAugmented,
    FixedPenalty,
    Handler,
    Harmonic,
    Lagrangian,
    PIDGains,
    PredictiveGains,
)
from safe_rl.worst_margin import Margins, worst_margin
from systems import Box, InvalidValue, Task, Uniform
from systems.library import braking, driving
from systems.library.double_integrator import can_stop
from tests.safe_rl.tasks import TINY, assert_same_run, two_budgets

TASK = braking()
SWING_UP = dataclasses.replace(two_budgets(), observation=None)


def after(x: np.ndarray, u: float) -> np.ndarray:
    """The double integrator after a sample of 0.1 s, in closed form."""
    p, v = x[..., 0], x[..., 1]
    return np.stack([p + 0.1 * v + 0.005 * u, v + 0.1 * u], axis=-1)


def along_braking(x: np.ndarray, discount: float, samples: int = 400) -> np.ndarray:
    """The discounted worst margin under full braking, by its recursion backwards along each trajectory.

    Its end is where the speed is least; there the position decreases, so the largest g is that of the end itself."""
    states = [x]
    for _ in range(samples):
        states.append(after(states[-1], -1.0))
    value = states[-1][..., 0]
    for state in reversed(states[:-1]):
        g = state[..., 0]
        value = (1.0 - discount) * g + discount * np.maximum(g, value)
    return value


def test_the_fixed_point_on_a_grid_is_the_set_from_which_one_can_stop() -> None:
    # Value iteration over 3 inputs with bilinear interpolation, on a grid that the inputs map beyond the edge of: there
    # the nearest point counts, whose own margin has the right sign.
    p, v = np.linspace(-2.5, 0.5, 121), np.linspace(-1.5, 2.0, 141)
    grid = np.stack(np.meshgrid(p, v, indexing="ij"), axis=-1)
    g = torch.tensor(grid[..., 0])
    places = []
    for u in (-1.0, 0.0, 1.0):
        at = after(grid, u)
        i, j = (
            (np.clip(at[..., k], ends[0], ends[-1]) - ends[0]) / (ends[1] - ends[0]) for k, ends in ((0, p), (1, v))
        )
        i0, j0 = np.minimum(i.astype(int), len(p) - 2), np.minimum(j.astype(int), len(v) - 2)
        places.append((i0, j0, torch.tensor(i - i0), torch.tensor(j - j0)))
    discount, value = 0.999, g.clone()
    for _ in range(400):
        then = []
        for i0, j0, a, b in places:
            corners = [value[i0 + k, j0 + m] for k in (0, 1) for m in (0, 1)]
            then.append((1 - a) * ((1 - b) * corners[0] + b * corners[1]) + a * ((1 - b) * corners[2] + b * corners[3]))
        value = worst_margin(g, torch.stack(then).amin(dim=0), discount, torch.zeros_like(g))
    safe = (value <= 0).numpy()
    exact = can_stop(TASK, grid)
    # They differ within a band of the boundary p + v^2 / 2 = 0, of two cells in position.
    away = np.abs(grid[..., 0] + np.maximum(grid[..., 1], 0.0) ** 2 / 2)
    assert (safe != exact)[away > 0.05].sum() == 0
    assert 0.3 < exact.mean() < 0.9
    # With a discount far below 1 the set is too large: what lies ahead counts for little.
    near = along_braking(grid, 0.8) <= 1e-9
    assert (near & ~exact).sum() > 100
    assert not (exact & ~near).any()


def test_the_bellman_equation_by_hand() -> None:
    margin = torch.tensor([-1.0, -1.0, 2.0, -1.0])
    successor = torch.tensor([3.0, -4.0, 1.0, 3.0])
    terminated = torch.tensor([0.0, 0.0, 0.0, 1.0])
    expected = torch.tensor([0.1 * -1 + 0.9 * 3, -1.0, 2.0, -1.0])
    torch.testing.assert_close(worst_margin(margin, successor, 0.9, terminated), expected)


def test_margins_are_those_of_the_simulation() -> None:
    task = SWING_UP
    env = task.vector_env(50, seed=3)
    observation, violated = env.reset(), 0
    for _ in range(15):
        u = torch.rand(50, 1) * 4.0 - 2.0
        margins = Margins(task, [0, 2])(observation, u)
        transition = env.step(u)
        assert torch.equal(margins[0] > 0, transition.cost[:, 0] > 0)  # violated or not
        torch.testing.assert_close(margins[1].clamp(min=0.0), transition.cost[:, 2])  # the excess
        observation, violated = transition.observation, violated + int(transition.cost[:, 0].sum())
    assert 0 < violated < 15 * 50


HANDLERS = [
    Harmonic(critics="worst margin"),
    Lagrangian(gains=PIDGains(), critics="worst margin"),
    Lagrangian(gains=PredictiveGains(), critics="worst margin"),
]


@pytest.mark.parametrize("base", [SAC, DSACT])
@pytest.mark.parametrize("handler", HANDLERS, ids=["harmonic", "pid", "predictive"])
@pytest.mark.every(3)
def test_every_handler_learns_with_them_and_resumes_to_the_bit(base: Any, handler: Handler, tmp_path: Any) -> None:
    task = SWING_UP
    once = base(task, settings=TINY[base], handler=handler).learn(60, progress=False)
    half = base(task, settings=TINY[base], handler=handler).learn(30, progress=False)
    half.save(tmp_path / "half.pt")
    resumed = base.load(tmp_path / "half.pt", task, handler=handler).learn(60, progress=False)
    assert_same_run(once, resumed)
    other = dataclasses.replace(handler, critics="accumulated cost")
    assert not torch.equal(
        base(task, settings=TINY[base], handler=other).learn(30, progress=False).critics.weights[0],
        half.critics.weights[0],
    )


@pytest.mark.parametrize("base", [SAC, DSACT])
def test_targets_of_a_learner_are_the_bellman_equation(base: type[Learner]) -> None:
    learner: Any = base(SWING_UP, settings=TINY[base], handler=HANDLERS[0]).learn(1, progress=False)  # type: ignore[call-arg]
    batch = learner.buffer.contents()
    successor = torch.randn(4, len(batch.reward)) * 30.0
    got = learner.cost_targets(batch, successor).view(2, 2, -1)  # members, constraints
    x = batch.observation
    g = torch.stack((x[:, 1].abs() - 1.0, x[:, 0].abs() - 1.0)) * learner.constraints.scale[:, None]
    expected = 0.01 * g + 0.99 * torch.maximum(g, successor.view(2, 2, -1))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    # Critics begin at the mean of the margins.
    means = g.mean(dim=1).repeat(2)
    torch.testing.assert_close(learner.critics.biases[-1][2:, 0].squeeze().detach(), means, rtol=0.1, atol=2.0)
    # The margins of the warm-up are on average as large as a scaled return.
    assert float(g.abs().mean()) == pytest.approx(learner.settings.return_scale, rel=0.1)


def test_a_policy_is_charged_what_is_above_zero() -> None:
    learner: Any = SAC(SWING_UP, settings=TINY[SAC], handler=HANDLERS[1])
    costs = torch.tensor([[[-3.0, 2.0]]])
    assert learner.constraints.charged(costs).tolist() == [[[0.0, 2.0]]]
    plain: Any = SAC(SWING_UP, settings=TINY[SAC], handler=Lagrangian())
    assert torch.equal(plain.constraints.charged(costs), costs)


@pytest.mark.parametrize("base", [SAC, DSACT])
def test_where_all_is_safe_cost_critics_do_not_move_the_policy(base: Any) -> None:
    moved = []
    for critics in ("worst margin", "accumulated cost"):
        weights = []
        for factor in (1.0, 5.0):
            handler = FixedPenalty(weight=1.0, critics=critics)  # type: ignore[arg-type]
            learner = base(SWING_UP, settings=TINY[base], handler=handler)
            with torch.no_grad():
                learner.critics.weights[-1][2:] *= factor
                learner.critics.biases[-1][2:, 0] = -1000.0
            weights.append(learner.learn(2, progress=False).policy.network.weights[0].detach())
        moved.append(not torch.equal(*weights))
    assert moved == [False, True]


def test_what_has_no_margins_is_refused() -> None:
    with pytest.raises(InvalidValue, match="give source='episodes'"):
        ConservativeAugmented(critics="worst margin")
    with pytest.raises(InvalidValue, match="accumulated cost"):
        Lagrangian(critics="margins")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="PPO estimates advantages of accumulated costs"):
        PPO(SWING_UP, settings=TINY[PPO], handler=HANDLERS[1])
    with pytest.raises(NotApplicable, match="observes something other than the state"):
        SAC(driving(), settings=TINY[SAC], handler=HANDLERS[1])


def over_a_region() -> Task:
    """Braking with starts all over the plane, in short runs, with a discount that sees far enough."""
    return dataclasses.replace(
        TASK,
        initial=Uniform([-2.0, -0.5], [0.3, 1.8]),
        steps=6,
        discount=0.97,
        domain=Box("model", {"position": (-4.0, 3.0), "speed": (-4.0, 4.0)}),
    )


@pytest.mark.slow
@pytest.mark.parametrize("base", [SAC, DSACT])
def test_the_zero_level_of_a_critic_is_the_edge_of_the_set_from_which_one_can_stop(base: Any) -> None:
    # The policy is held at full braking, the safest one; the critic's value is then known along each trajectory.
    settings = dataclasses.replace(TINY[base], hidden=(64, 64), batch_size=256, warmup=20_000, capacity=20_000)
    settings = dataclasses.replace(settings, environments=100, evaluation_environments=0, policy_rate=1e-12)
    learner = base(over_a_region(), settings=settings, handler=HANDLERS[1])
    with torch.no_grad():
        for policy in learner._policies():
            policy.network.weights[-1].zero_()
            policy.network.biases[-1].copy_(torch.tensor([-20.0, -20.0]))
    learner.learn(2000, progress=False)
    p, v = np.meshgrid(np.linspace(-1.8, 0.2, 41), np.linspace(-0.3, 1.5, 37), indexing="ij")
    grid = np.stack([p.ravel(), v.ravel()], axis=1)
    observation = learner.policy.scale(torch.tensor(grid, dtype=torch.float32))
    inputs = torch.cat((observation, -torch.ones(len(grid), 1)), dim=1)
    with torch.no_grad():
        value = (learner.critics(inputs)[2, 0] / learner.constraints.scale[0]).numpy()
    exact = along_braking(grid, 0.97)
    assert np.abs(value - exact)[np.abs(exact) < 0.4].mean() < 0.05
    assert (np.sign(value) != np.sign(exact))[np.abs(exact) > 0.1].sum() == 0
    # Against the analytic boundary, of no discount: it is within 0.2 m of it, 0.15 m being due to the discount.
    away = np.abs(grid[:, 0] + np.maximum(grid[:, 1], 0.0) ** 2 / 2)
    assert ((value <= 0) != can_stop(TASK, grid))[away > 0.2].sum() == 0
