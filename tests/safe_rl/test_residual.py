"""Residual policies on a regulator: never worse than it, saved and resumed whole, and laws that can be certified."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import safe_rl.trials
from ctrl.certify.files.content import law_data, law_of
from ctrl.commands.baseline import Baseline
from ctrl.comparison.draws import draw, draw_all
from ctrl.controller import NotApplicable
from ctrl.laws import Law, Residual, SaturatedLinear
from ctrl.loop import totals
from ctrl.regulator import LQR
from safe_rl import DSACPID, DSACT, PPO, SAC, GymnasiumTask, JumpStart, Learner, Policy, PolicyController
from safe_rl.residual import ResidualTrials
from safe_rl.trials import stabilises
from systems import Box, Hard, InvalidValue, Quadratic, Task
from systems.arithmetic.affine import Patch
from systems.arithmetic.interval import Interval
from systems.library import battery, cartpole, double_integrator, pendulum, pendulum_swing_up
from tests.exported import Compiled, largest_difference
from tests.safe_rl.tasks import TINY, assert_same_run, two_budgets

TASK = pendulum()


def sluggish(task: Task) -> LQR:
    """The regulator of another cost, which leaves much to be learned."""
    return LQR(dataclasses.replace(task, cost=Quadratic(Q={"angle": 0.01}, R={"torque": 10.0})))


def begun(base: Any = SAC, seed: int = 0, task: Task = TASK, controller: Any = LQR, **more: Any) -> Any:
    return base(task, seed=seed, settings=dataclasses.replace(TINY[base], **more)).residual(controller)


def costs(task: Task, controller: Any, runs: int = 100) -> np.ndarray:
    return totals(task, controller, *draw(task, runs, (7,))).cost


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_rl.trials, "_EVERY", 40)
    monkeypatch.setattr(safe_rl.trials, "_RUNS", 32)
    monkeypatch.setattr(ResidualTrials, "waits", 0)


@pytest.mark.parametrize("base", [SAC, DSACT])
def test_before_anything_is_learned_it_is_the_regulator(base: type[Learner]) -> None:
    for task in (TASK, double_integrator(), cartpole()):
        if task.observation is not None:
            continue
        learner = begun(base, task=task)
        x = draw(task, 50, (1,))[0]
        expected = LQR(task).batch(x, 0)
        np.testing.assert_allclose(PolicyController(task, learner.result).batch(x, 0), expected, atol=1e-6)
        # The policy in training begins beside it, by a share of the range.
        near = PolicyController(task, learner.policy).batch(x, 0) - expected
        assert (np.abs(near) < 0.01 * 0.1 * (task.input_bounds[1] - task.input_bounds[0])).all()


def test_actions_explore_around_the_regulator() -> None:
    learner = begun()
    seen = learner.collector.observation.clone()
    rows = learner.collector.collect_random()
    low, high = learner.policy.action_centre - learner.policy.action_half, learner.policy.action_centre
    high = high + learner.policy.action_half
    regulated = LQR(TASK).batch(seen.double().numpy(), 0)
    added = 0.1 * learner.policy.action_half.numpy() * rows.action.numpy()
    expected = np.clip(regulated + added, low.numpy(), high.numpy())
    np.testing.assert_allclose(learner.policy.physical(rows.action, seen).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_what_is_kept_costs_no_more_than_the_regulator(often: None) -> None:
    """Even where learning fails: steps so large that the policy is wrecked."""
    learner = begun(seed=3, policy_rate=0.3, critic_rate=0.3).learn(200, progress=False)
    regulator, kept = costs(TASK, LQR(TASK)), costs(TASK, PolicyController(TASK, learner.result))
    assert kept.mean() <= 1.02 * regulator.mean()
    assert costs(TASK, PolicyController(TASK, learner.mean_policy)).mean() > regulator.mean()
    assert learner.trials.share < 0.1


def test_the_share_shrinks_where_the_policy_stays_worse_and_grows_where_it_is_better(
    often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = begun().trials
    regulator = trials._of_regulator
    shares = []
    for extra in (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, -1.0, np.inf):
        monkeypatch.setattr(trials, "costs", lambda policy, extra=extra: regulator + extra)
        trials.run()
        shares.append(trials.share)
    np.testing.assert_allclose(shares, [0.1] * 7 + [0.05, 0.075, 0.0375], rtol=1e-5)


def test_only_the_critics_learn_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResidualTrials, "waits", 30)
    monkeypatch.setattr(safe_rl.trials, "_EVERY", 10)
    learner = begun()
    tried: list[int] = []
    monkeypatch.setattr(learner.trials, "run", lambda: tried.append(learner.updates))
    before = [weight.detach().clone() for weight in learner.policy.parameters()]
    critics = [weight.detach().clone() for weight in learner.critics.parameters()]
    learner.learn(30, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, learner.policy.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(critics, learner.critics.parameters(), strict=True))
    learner.learn(60, progress=False)
    assert not all(torch.equal(a, b) for a, b in zip(before, learner.policy.parameters(), strict=True))
    assert tried == [40, 50, 60]


@pytest.mark.slow
def test_a_poor_regulator_is_improved_and_the_share_grows(often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_rl.trials, "_EVERY", 200)
    learner = begun(controller=sluggish, batch_size=64, warmup=1_000, capacity=20_000, mean_updates=100)
    learner.learn(1_000, progress=False)
    before, after = costs(TASK, sluggish(TASK)), costs(TASK, PolicyController(TASK, learner.result))
    assert after.mean() < 0.9 * before.mean()
    assert max(record.diagnostics["residual share"] for record in learner.history) > 0.1
    last = learner.history[-1].diagnostics
    assert last["residual cost kept"] < last["residual cost of the regulator"]


@pytest.mark.parametrize("base", [SAC, DSACT])
def test_growth_leaves_small_corrections_as_they_are(base: type[Learner]) -> None:
    learner = begun(base)
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)) * 0.1
    before = learner.policy.act(x)
    learner.trials._grow(1.5)
    assert learner.trials.share == pytest.approx(0.15)
    torch.testing.assert_close(learner.policy.act(x), before, atol=1e-4, rtol=1e-4)
    noise = torch.full((20, 1), 50.0)
    with torch.no_grad():
        largest = learner.policy.sample_action(learner.policy.scale(x), noise).max()
    assert float(largest) == pytest.approx(1.5)


def test_runs_resume_exactly_and_remember_regulator_and_best(often: None, tmp_path: Path) -> None:
    once = begun(DSACT, controller=sluggish).learn(120, progress=False)
    half = begun(DSACT, controller=sluggish).learn(70, progress=False)
    half.save(tmp_path / "half.pt")
    resumed = DSACT.load(tmp_path / "half.pt", TASK).learn(120, progress=False)
    assert_same_run(once, resumed)
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(once.result.act(x), resumed.result.act(x))


def trained() -> Policy:
    policy = begun(DSACT).policy
    policy.scale_mean(200.0)
    policy.regulator.share.fill_(0.3)
    return policy  # type: ignore[no-any-return]


def test_files_and_laws_are_the_policy(tmp_path: Path) -> None:
    policy = trained()
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    policy.save(tmp_path / "a.policy")
    assert torch.equal(Policy.load(tmp_path / "a.policy").act(x), policy.act(x))
    law = policy.law()
    assert isinstance(law, Residual)
    points = x.double().numpy()
    np.testing.assert_allclose(law(points), policy.act(x).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.array(law.casadi.map(200)(points.T)).T, law(points), atol=1e-12)
    again = law_of(law_data(law))
    np.testing.assert_array_equal(again(points), law(points))
    assert float(np.abs(law(points) - law.base(points)).max()) > 0.01


def test_a_share_of_0_leaves_the_regulators_law() -> None:
    policy = trained()
    assert isinstance(PolicyController(TASK, policy).law, Residual)
    policy.regulator.share.fill_(0.0)
    controller = PolicyController(TASK, policy)
    assert isinstance(controller.law, SaturatedLinear)
    assert "adds nothing to its regulator, since no trial in training improved on it" in controller.approximations
    for x in np.random.default_rng(0).normal(0, 2.0, (200, 2)):
        assert controller.step(x, 0).input == np.clip(controller.law(x), *TASK.input_bounds)


def test_c_code_decides_as_the_controller(tmp_path: Path) -> None:
    controller = PolicyController(TASK, trained())
    folder = controller.export(tmp_path / "c", name="residual")
    start = np.array([[0.7, -0.5], [0.1, 0.2]])
    assert largest_difference(controller, Compiled(folder, TASK), TASK, start, 40) < 1e-9


def test_enclosures_of_the_sum_hold() -> None:
    law = trained().law()
    chance = np.random.default_rng(0)
    middle, half = chance.normal(0, 0.6, (60, 2)), chance.uniform(0.001, 0.3, (60, 2))
    boxes = Interval(middle - half, middle + half)
    value, slope = law.enclose(boxes), law.enclose_jacobian(boxes)
    for _ in range(40):
        a, b = (middle + half * chance.uniform(-1, 1, (60, 2)) for _ in range(2))
        u, v = law(a), law(b)
        assert ((value.lo <= u) & (u <= value.hi)).all()
        ends = np.stack([slope.lo, slope.hi]) * (b - a)[:, None, :]
        assert (ends.min(axis=0).sum(-1) - 1e-9 <= v - u).all()
        assert (v - u <= ends.max(axis=0).sum(-1) + 1e-9).all()


def test_relaxations_of_the_sum_hold_and_are_tighter_than_slopes() -> None:
    law = trained().law()
    chance = np.random.default_rng(1)
    turn, half = np.array([[1.0, 0.4], [-0.3, 0.8]]), chance.uniform(0.001, 0.1, (40, 2))
    middle, reach = chance.normal(0, 0.5, (40, 2)), half @ np.abs(turn).T * (1 + 1e-12)
    patch = Patch(Interval(middle - reach, middle + reach), Interval.of(middle), half, turn)
    form = law.relax(patch)
    for _ in range(60):
        d = patch.half * chance.uniform(-1, 1, (40, 2))
        u = law(patch.point.mid + (patch.T @ d[..., None])[..., 0])
        error = np.abs(u - form.value - (form.matrix @ d[..., None])[..., 0])
        assert (error <= form.radius + 1e-12).all()
    by_slopes = Law.relax(law, patch)
    assert np.median(form.radius / by_slopes.radius) < 0.6


def test_what_no_residual_can_be_learned_of_is_refused() -> None:
    with pytest.raises(InvalidValue, match="without a handler"):
        DSACPID(two_budgets(), settings=TINY[DSACT]).residual()  # type: ignore[attr-defined]
    with pytest.raises(InvalidValue, match="once"):
        begun().residual()
    with pytest.raises(InvalidValue, match="omit the jump start"):
        begun().with_jump_start(JumpStart(TASK, LQR))
    with pytest.raises(InvalidValue, match="a factory of controllers"):
        SAC(TASK, settings=TINY[SAC]).residual(LQR(TASK))  # type: ignore[arg-type]
    with pytest.raises(NotApplicable, match="other than the state"):
        SAC(pendulum_swing_up(), settings=TINY[SAC]).residual()
    foreign = GymnasiumTask("p", lambda: __import__("gymnasium").make("Pendulum-v1"))
    with pytest.raises(InvalidValue, match="plant's state"):
        SAC(foreign, settings=TINY[SAC]).residual()
    assert not stabilises(foreign)
    assert not hasattr(PPO(TASK, settings=TINY[PPO]), "residual")


def test_verdict_says_what_is_violated_and_what_is_allowed(tmp_path: Path) -> None:
    """A policy that costs more than LQR because it keeps a constraint that LQR breaks is not called worse."""
    path = tmp_path / "still.policy"
    policy = SAC(TASK, settings=TINY[SAC]).result
    with torch.no_grad():
        for weights in policy.network.parameters():
            weights.zero_()
    policy.save(path)
    bounds = (
        Box("busy", {"torque": (-0.02, 0.02)}).budget(3),
        Box("near", {"angle": (-1e-3, 1e-3)}, requirement=Hard()),
        Box("priced", {"rate": (-9.0, 9.0)}).soft(1.0),
    )
    task = dataclasses.replace(TASK, constraints=bounds)
    draws = draw_all(task, 200, (0,)).arguments
    its = totals(task, LQR(task), **draws).violated.mean(axis=0)
    own = totals(task, PolicyController(task, policy), **draws).violated.mean(axis=0)
    said, is_worse = Baseline(task).verdict(path)
    assert f"; 'busy' violated at {own[0]:.4g} samples per run, by LQR at {its[0]:.4g}, allowed 3" in said
    assert f"; 'near' violated at {own[1]:.4g} samples per run, by LQR at {its[1]:.4g}, allowed none" in said
    assert f"; 'priced' violated at {own[2]:.4g} samples per run, by LQR at {its[2]:.4g}" in said
    assert own[0] < its[0]
    assert said.startswith("costs more than LQR, but violates less: cost per run")
    assert not is_worse
    lenient = dataclasses.replace(TASK, constraints=bounds[1:])
    said, is_worse = Baseline(lenient).verdict(path)
    assert said.startswith("worse than LQR")
    assert is_worse


def test_a_regulator_is_chosen_where_it_brings_runs_to_the_reference() -> None:
    learner = SAC(TASK, settings=TINY[SAC])
    assert "LQR brings the runs" in learner.choose_regulator()
    assert isinstance(learner.trials, ResidualTrials)
    for task in (pendulum_swing_up(), two_budgets()):
        plain = SAC(task, settings=TINY[SAC])
        assert plain.choose_regulator() == ""
        assert plain.trials is None


def test_verdict_beside_lqr(tmp_path: Path) -> None:
    learner = begun()
    path = tmp_path / "best.policy"
    learner.result.save(path)
    said, is_worse = Baseline(TASK).verdict(path)
    assert said.startswith("as good as LQR")
    assert not is_worse
    untrained = SAC(TASK, settings=TINY[SAC])
    untrained.result.save(path)
    said, is_worse = Baseline(TASK).verdict(path)
    assert said.startswith("worse than LQR")
    assert is_worse
    assert "; train longer, or learn what to add" in said, "it has a domain"
    unbounded = dataclasses.replace(TASK, domain=None)
    assert "; train longer, give the task a domain, or learn what to add" in Baseline(unbounded).verdict(path)[0]
    assert Baseline(TASK).returns["LQR"] < 0
    assert Baseline(pendulum_swing_up()).verdict(tmp_path / "none.policy") == ("", False)
    assert (Baseline(TASK).name, Baseline(battery()).name) == ("lqr", "nonlinear-mpc")
