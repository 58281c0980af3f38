"""The batched simulator against CasADi, against the Gymnasium environment and against finite differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from systems import DimensionMismatch, Inequality, InvalidValue, Task, UnknownName
from systems.envs.model import SampleModel
from systems.envs.vector import VectorEnv
from systems.library.bandit import bandit
from systems.library.cartpole import cartpole
from tests.systems.envs.environment_tasks import ALL, ledge, root, tracking


def actions(task: Task, *shape: int, seed: int = 0) -> torch.Tensor:
    low, high = task.input_bounds
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, (*shape, len(low))))


def collect(env: VectorEnv, steps: int) -> list[torch.Tensor]:
    inputs = actions(env.task, steps, env.n)
    return [part for u in inputs for part in (*env.step(u), env.state, env.samples)]


@pytest.mark.parametrize("make", ALL)
@pytest.mark.every(3)
def test_successors_are_those_of_casadi_and_of_the_gymnasium_environment(make) -> None:
    task = make()
    env = task.vector_env(5, seed=2, dtype=torch.float64)
    gym = task.env()
    gym.reset()
    F = task.dynamics.function()
    spare = env._disturbance  # to replay the draws
    for u in actions(task, 2 * task.steps, 5):
        x, k, generator = env.state.clone(), env.samples.clone(), torch.Generator()
        generator.set_state(env.state_dict()["generator"])
        w = spare.draw(5, generator).numpy()
        out = env.step(u)
        for i in range(5):
            after = np.array(F(x[i].numpy(), u[i].numpy(), w[i], [])).ravel()
            expected = gym._model.step(x[i].numpy(), gym._model.clip(u[i].numpy()), w[i], int(k[i]))
            assert out.terminated[i] == expected.terminated
            assert out.truncated[i] == (k[i] == task.steps - 1)
            np.testing.assert_allclose(out.reward[i], expected.reward, rtol=1e-11, atol=1e-13)
            np.testing.assert_array_equal(out.cost[i], expected.violated)
            if not out.terminated[i]:
                seen = task.observe_function()(after, task.reference.at(task.plant, int(k[i]) + 1)[0])
                np.testing.assert_allclose(out.next_observation[i], np.array(seen).ravel(), rtol=1e-11, atol=1e-13)
            if not (out.terminated[i] or out.truncated[i]):
                np.testing.assert_allclose(env.state[i], after, rtol=1e-11, atol=1e-13)
                np.testing.assert_array_equal(out.observation[i], out.next_observation[i])


def test_runs_restart_at_once_and_only_observation_shows_it() -> None:
    task = tracking()
    env = task.vector_env(4, dtype=torch.float64)
    env.reset()
    for k, u in enumerate(actions(task, 2 * task.steps, 4)):
        out = env.step(u)
        is_last = k % task.steps == task.steps - 1
        assert out.truncated.tolist() == [is_last] * 4
        assert not out.terminated.any()
        assert env.samples.tolist() == [(k + 1) % task.steps] * 4
        assert (out.observation == out.next_observation).all() == (not is_last)
        states, samples = env.ends  # what the observation of the successor is of
        assert samples.tolist() == [k % task.steps + 1] * 4
        assert torch.equal(env.model.observe(states, samples), out.next_observation)
        if is_last:
            xr = task.reference.at(task.plant, 0)[0]
            np.testing.assert_allclose(out.observation, np.tile([0.3, -0.2, *xr], (4, 1)), rtol=1e-15)
            xr = task.reference.at(task.plant, task.steps)[0]
            np.testing.assert_allclose(out.next_observation[:, 2:], np.tile(xr, (4, 1)), rtol=1e-15)


def test_starts_and_disturbances_follow_their_laws() -> None:
    task = cartpole()
    n = 20_000
    x = task.vector_env(n, seed=1, dtype=torch.float64).reset().numpy()
    low, high = task.initial.support(task.plant.state)
    assert (x >= low).all()
    assert (x <= high).all()
    np.testing.assert_allclose(x.mean(0), (low + high) / 2, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(x.T), task.initial.covariance(task.plant.state), atol=5 / np.sqrt(n))
    task = tracking()
    w = VectorEnv(task, 1, dtype=torch.float64)._disturbance.draw(n, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_allclose(w.mean(0), [0.1, 0.0], atol=2 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(w.T), [[0.04, 0.01], [0.01, 0.09]], atol=1 / np.sqrt(n))


@pytest.mark.parametrize("make", ALL)
def test_a_saved_simulation_continues_bit_by_bit(make) -> None:
    env = make().vector_env(6, seed=4)
    env.reset()
    collect(env, 5)
    saved = env.state_dict()
    expected = collect(env, 15)
    other = make().vector_env(6, seed=99)
    other.load_state_dict(saved)
    for ours, theirs in zip(collect(other, 15), expected, strict=True):
        assert torch.equal(ours, theirs)
    # What was saved did not move on with the simulation, and the memory layout is the same again.
    other.load_state_dict(saved)
    assert torch.equal(other.step(actions(env.task, 6)).reward, _first_reward(make, saved))
    assert other.state.stride() == env.state.stride()


def _first_reward(make, saved) -> torch.Tensor:
    env = make().vector_env(6)
    env.load_state_dict(saved)
    return env.step(actions(env.task, 6)).reward


def test_seeds_decide() -> None:
    def first(seed: int) -> torch.Tensor:
        return cartpole().vector_env(3, seed=seed).reset()

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_terminal_reward_in_a_batch() -> None:
    env = ledge(0.9).vector_env(3, dtype=torch.float64)
    env.reset()
    out = env.step(torch.tensor([[1.0], [-3.0], [100.0]]))
    after = [(0.95 + 0.1 + 0.005 * u / 2, 1.0 + 0.1 * u / 2, u) for u in (1.0, -3.0, 5.0)]
    expected = [
        -(2 * 0.95**2 + 0.5 + 0.1 * u**2) - (9.0 * (2 * x**2 + 0.5 * v**2) if x > 1 else 0.0) for x, v, u in after
    ]
    np.testing.assert_allclose(out.reward, expected, rtol=1e-13)
    assert out.terminated.tolist() == [x > 1 for x, _, _ in after]
    assert out.cost[:, 0].tolist() == [float(x > 1) for x, _, _ in after]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_no_number_is_never_handed_on(dtype: torch.dtype) -> None:
    env = root().vector_env(8, dtype=dtype, seed=1)
    env.reset()
    ends = 0
    for u in actions(env.task, 60, 8):
        out = env.step(u)
        ends += int(out.terminated.sum())
        for part in out[:4]:
            assert part.dtype == dtype
            assert torch.isfinite(part).all()
        assert torch.isfinite(env.state).all()
    assert ends > 100


def test_misuse_is_refused() -> None:
    env = cartpole().vector_env(3)
    with pytest.raises(DimensionMismatch, match=r"\(3,\); expected \(3, 1\)"):
        env.step(torch.zeros(3))
    with pytest.raises(DimensionMismatch, match="saved states"):
        env.load_state_dict(cartpole().vector_env(4).state_dict())
    with pytest.raises(InvalidValue, match="n = 0"):
        cartpole().vector_env(0)


def test_the_accelerator_path_gives_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an accelerator, its branch runs on the processor: same outcomes as long as no run ends."""
    for make in ALL:
        ours, theirs = make().vector_env(6, dtype=torch.float64), make().vector_env(6, dtype=torch.float64)
        ours.model._on_host = False
        for u in actions(ours.task, 40, 6):
            theirs.load_state_dict(ours.state_dict())
            for a, b in zip(ours.step(u)[1:], theirs.step(u)[1:], strict=True):
                assert torch.equal(a, b)


def test_components_stay_contiguous() -> None:
    env = cartpole().vector_env(32)
    env.reset()
    for u in actions(env.task, 200, 32):
        out = env.step(u)
        assert env.state.stride() == out.observation.stride() == out.next_observation.stride() == (1, 32)


@pytest.mark.parametrize("make", [cartpole, tracking])
def test_gradients_of_a_rollout_are_those_of_finite_differences(make) -> None:
    task = make()
    names = ("pole_mass", "half_length") if make is cartpole else ("mass",)
    model = SampleModel(task, "torch", parameters=names)
    p = torch.tensor([getattr(task.plant, name) for name in names], dtype=torch.float64)
    x = torch.from_numpy(task.initial.sample(task.plant.state, np.random.default_rng(0), (2,)))
    u = 0.2 * actions(task, 6, 2)
    w = 0.1 * torch.ones(6, 2, len(task.plant.disturbance), dtype=torch.float64)

    def total(x: torch.Tensor, u: torch.Tensor, w: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        run = model.rollout(x, u, w, p)
        return run.costs.sum() + run.states[-1].sin().sum()

    inputs = tuple(a.clone().requires_grad_() for a in (x, u, w, p))
    assert torch.autograd.gradcheck(total, inputs, eps=1e-6, atol=1e-7, rtol=1e-5)


def test_a_rollout_is_the_simulation() -> None:
    task = tracking()
    model = SampleModel(task, "torch")
    x = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    u = actions(task, 5, 1)
    run = model.rollout(x, u, start=2)
    w = model.array(np.zeros(len(task.plant.disturbance)))
    for k in range(5):
        out = model.step(x, u[k], w, torch.tensor([2 + k]))
        torch.testing.assert_close(run.costs[k], -out.reward, rtol=1e-13, atol=0)
        torch.testing.assert_close(run.margins[k], out.margin, rtol=1e-13, atol=1e-15)
        x = out.state
        torch.testing.assert_close(run.states[k + 1], x, rtol=1e-13, atol=1e-15)
    with pytest.raises(DimensionMismatch, match="go beyond the 7 samples"):
        model.rollout(x, u, start=3)
    with pytest.raises(UnknownName, match="mas"):
        SampleModel(task, "torch", parameters=("mas",))


def test_a_budget_of_excess_is_spent_by_how_much_is_violated() -> None:
    """The bandit's dose is its own cost; a budget of steps counts instead."""
    task = bandit()
    doses = torch.tensor([[0.0], [0.3], [2.0]])
    torch.testing.assert_close(task.vector_env(3).step(doses).cost, doses)
    counted = dataclasses.replace(task, constraints=(Inequality("dose", lambda x, u: u.dose).budget(0.5),))
    torch.testing.assert_close(counted.vector_env(3).step(doses).cost, torch.tensor([[0.0], [1.0], [1.0]]))
    env = task.env()
    env.reset(seed=0)
    info = env.step(np.array([0.3], dtype=np.float32))[-1]
    assert info["costs"]["dose"] == pytest.approx(0.3)
    assert info["cost"] == pytest.approx(0.3)
