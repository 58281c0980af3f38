"""The Gymnasium environment against Gymnasium's checker and against the task itself."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from systems import DimensionMismatch, InvalidValue
from tests.systems.envs.environment_tasks import ALL, FreeMass, ledge, root, tracking


@pytest.mark.parametrize("make", ALL)
def test_passes_the_checker(make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # physical units are no [-1, 1], and states have no bounds
        check_env(make().env(seed=3), skip_render_check=True)


@pytest.mark.parametrize("make", ALL)
def test_a_step_is_the_step_of_the_task(make) -> None:
    task = make()
    env = task.env(seed=5)
    env.reset()
    rng = np.random.default_rng(0)
    F, stage, margins = task.dynamics.function(), task.cost.stage_function(task.plant), task.margin_function()
    names = [constraint.name for constraint in task.constraints]
    for k in range(task.steps):
        x = env.unwrapped._x.copy()
        u = rng.uniform(*task.input_bounds)
        draws = np.random.default_rng()
        draws.bit_generator.state = env.np_random.bit_generator.state
        w = task.disturbance.sample(task.plant.disturbance, draws)
        observation, reward, terminated, truncated, info = env.step(u)
        assert truncated == (k == task.steps - 1)
        successor = np.array(F(x, u, w, [])).ravel()
        if terminated:
            break
        np.testing.assert_allclose(info["state"], successor, rtol=1e-12, atol=1e-14)
        xr, ur = task.reference.at(task.plant, k)
        np.testing.assert_allclose(reward, -float(stage(x, u, xr, ur)), rtol=1e-12, atol=1e-14)
        g = np.array(margins(x, u)).ravel()
        np.testing.assert_allclose(list(info["margins"].values()), g, rtol=1e-12, atol=1e-14)
        assert info["costs"] == dict(zip(names, (g > 0).astype(float), strict=True))
        assert info["cost"] == (g > 0).sum()
        seen = task.observe_function()(successor, task.reference.at(task.plant, k + 1)[0])
        np.testing.assert_allclose(observation, np.array(seen).ravel(), rtol=1e-6, atol=1e-6)


def test_a_seed_repeats_everything_and_streams_go_on() -> None:
    def run(seed: int) -> list[np.ndarray]:
        env, seen = tracking().env(seed=seed), []
        for _ in range(2):
            seen.append(env.reset()[0])
            seen += [env.step(np.array([0.5]))[0] for _ in range(3)]
        return seen

    np.testing.assert_array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))
    assert not np.array_equal(run(1)[:4], run(1)[4:])  # the second run draws other disturbances


@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_leaving_costs_as_much_as_staying_there_for_ever(discount: float) -> None:
    task = ledge(discount)
    env = task.env()
    env.reset()
    x, u = np.array([0.95, 1.0]), np.array([1.0])
    _, reward, terminated, truncated, info = env.step(u)
    assert terminated
    assert not truncated
    after = np.array([0.95 + 0.1 + 0.5 * 0.5 * 0.01, 1.05])  # constant acceleration F / m = 0.5 m/s^2
    np.testing.assert_allclose(info["state"], after, rtol=1e-12)

    def cost(x: np.ndarray, u: float) -> float:
        return 2.0 * x[0] ** 2 + 0.5 * x[1] ** 2 + 0.1 * u**2

    later = [cost(after, 0.0)] * (9 if discount == 1.0 else 2000)  # the tail beyond is below the tolerance
    expected = -cost(x, 1.0) - sum(c * discount ** (k + 1) for k, c in enumerate(later))
    assert reward == pytest.approx(expected, rel=1e-12)
    assert info["costs"] == {"edge": 1.0}  # it was within its bound at the start of the step


def test_a_state_that_is_no_number_ends_the_run_with_finite_numbers() -> None:
    env = root().env()
    env.reset(options={"state": {"level": 1.0, "growth": 2.0}})
    observation, reward, terminated, _, info = env.step(np.array([-2.0]))
    assert terminated
    assert reward == pytest.approx(-(1 + 4 + 0.04) * (1 + 0.9 / 0.1))  # charged at the last state that was a number
    np.testing.assert_array_equal(observation, [1.0, 2.0])
    assert info["costs"] == {"level": 1.0}


def test_a_run_that_blows_up_ends_with_a_finite_reward() -> None:
    env = root().env()
    env.reset(options={"state": [1.0, 2.0]})
    terminated, rewards = False, []
    while not terminated:
        observation, reward, terminated, truncated, _ = env.step(np.array([0.0]))
        rewards.append(reward)
        assert not truncated
    assert np.isfinite(rewards).all()
    assert np.isfinite(observation[0])


def test_actions_are_clipped() -> None:
    task = tracking()
    rewards = []
    for force in (5.0, 50.0):
        env = task.env(seed=1)
        env.reset()
        rewards.append(env.step(np.array([force]))[1])
    assert task.input_bounds[1] == 4.0  # the hard corridor is tighter than the actuator
    assert rewards[0] == rewards[1]


def test_misuse_is_refused() -> None:
    env = ledge().env()
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(1))
    env.reset()
    with pytest.raises(DimensionMismatch, match=r"\(2,\); expected \(1,\)"):
        env.step(np.zeros(2))
    with pytest.raises(InvalidValue, match="NaN"):
        env.step(np.array([np.nan]))


def test_unbounded_inputs_are_refused() -> None:
    task = dataclasses.replace(ledge(), plant=FreeMass())
    with pytest.raises(InvalidValue, match=r"input force .* limits"):
        task.env()
