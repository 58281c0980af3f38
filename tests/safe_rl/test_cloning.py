"""Policies that begin as a copy of a controller: near it, never worse than LQR in trials, saved and resumed whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import safe_rl.cloning
import safe_rl.trials
from ctrl.cli import main
from ctrl.comparison.draws import draw
from ctrl.controller import Decision
from ctrl.loop import totals
from ctrl.regulator import LQR
from safe_rl import DSACPID, DSACT, PPO, SAC, GymnasiumTask, JumpStart, JumpStartSettings, Learner, PolicyController
from safe_rl.cloning import CloneTrials
from systems import Box, InvalidValue, Quadratic, SetPoint, Task
from systems.library import pendulum, pendulum_swing_up
from tests.safe_rl.tasks import TINY, assert_same_run, two_budgets

TASK = dataclasses.replace(pendulum(), steps=80)


def sluggish(task: Task) -> LQR:
    """The regulator of another cost, which leaves much to be learned."""
    return LQR(dataclasses.replace(task, cost=Quadratic(Q={"angle": 0.01}, R={"torque": 10.0})))


class Stepwise:
    """A regulator that answers one state after the other and counts the samples since its last reset."""

    def __init__(self, task: Task, make: Any = LQR) -> None:
        self.regulator, self.age, self.ages = make(task), 0, set[tuple[int, int]]()

    def reset(self) -> None:
        self.age = 0

    def step(self, x: np.ndarray, k: int) -> Decision:
        self.ages.add((self.age, k))
        self.age += 1
        return self.regulator.step(x, k)  # type: ignore[no-any-return]


def begun(base: Any = SAC, seed: int = 0, task: Task = TASK, controller: Any = LQR, **more: Any) -> Any:
    return base(task, seed=seed, settings=dataclasses.replace(TINY[base], **more)).clone(controller, runs=8)


def costs(task: Task, controller: Any, runs: int = 100) -> np.ndarray:
    return totals(task, controller, *draw(task, runs, (7,))).cost


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_rl.trials, "_EVERY", 40)
    monkeypatch.setattr(safe_rl.trials, "_RUNS", 32)
    monkeypatch.setattr(safe_rl.cloning, "_STEPS", 200)
    monkeypatch.setattr(CloneTrials, "waits", 40)


@pytest.mark.slow
@pytest.mark.parametrize(
    "controller",
    [
        pytest.param(sluggish, id="batch", marks=pytest.mark.slow),
        pytest.param(lambda task: Stepwise(task, sluggish), id="stepwise"),
    ],
)
def test_it_decides_as_the_controller_where_that_and_the_copy_drive(
    controller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safe_rl.cloning, "_STEPS", 1_500)
    learner = begun(controller=controller, hidden=(32, 32))
    low, high = TASK.input_bounds
    for drives in (sluggish(TASK), PolicyController(TASK, learner.mean_policy)):
        x = draw(TASK, 40, (3,))[0]
        for k in range(30):
            away = PolicyController(TASK, learner.mean_policy).batch(x, k) - sluggish(TASK).batch(x, k)
            assert (np.abs(away) < 0.05 * (high - low)).mean() >= 0.9
            x = TASK.dynamics.lower("numpy")(x, drives.batch(x, k), np.zeros((40, 1)), np.zeros((40, 0)))
    own, its = costs(TASK, PolicyController(TASK, learner.policy)).mean(), costs(TASK, sluggish(TASK)).mean()
    assert own == pytest.approx(its, rel=0.05)
    found = learner.trials.diagnostics
    assert found["copied cost of the clone"] == pytest.approx(found["copied cost of the controller"], rel=0.05)


def test_a_controller_with_a_memory_is_reset_before_each_run() -> None:
    made: list[Stepwise] = []

    def make(task: Task) -> Stepwise:
        made.append(Stepwise(task))
        return made[-1]

    begun(controller=make)
    assert len(made) == 1
    assert all(age == k for age, k in made[0].ages)
    assert {k for _, k in made[0].ages} == set(range(TASK.steps))


@pytest.mark.slow
def test_what_is_kept_costs_no_more_than_lqr() -> None:
    """Of a poor controller LQR is kept, and the copy is what learning goes on from."""
    learner = begun(controller=sluggish)
    np.testing.assert_allclose(
        costs(TASK, PolicyController(TASK, learner.result)), costs(TASK, LQR(TASK)), rtol=1e-3, atol=1e-3
    )
    assert learner.policy.regulator is None
    wrecked = begun(policy_rate=0.3, critic_rate=0.3).learn(200, progress=False)
    kept = costs(TASK, PolicyController(TASK, wrecked.result)).mean()
    assert kept <= 1.02 * costs(TASK, LQR(TASK)).mean()
    assert costs(TASK, PolicyController(TASK, wrecked.mean_policy)).mean() > 1.1 * kept


def test_a_better_policy_than_the_copy_is_kept() -> None:
    learner = begun(controller=sluggish)
    trials = learner.trials
    trials.best, trials.of_best = trials.best, trials._of_copy  # as where LQR does not apply
    better = begun(controller=LQR).policy
    learner.mean_policy.load_state_dict(better.state_dict())
    trials.run()
    x = torch.zeros(1, 2) + 0.3
    assert torch.equal(learner.result.act(x), better.act(x))
    assert trials.diagnostics["clone cost kept"] < trials.diagnostics["clone cost at first"]


@pytest.mark.parametrize("base", [SAC, DSACT])
def test_exploration_begins_at_the_target_entropy_and_critics_learn_first(base: type[Learner]) -> None:
    learner = begun(base)
    before = [weight.detach().clone() for weight in learner.policy.parameters()]
    scales = learner.policy.observation_std.clone()
    noise = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, density = learner.policy.sample(torch.zeros(4000, 2), noise)
    assert -float(density.mean()) == pytest.approx(-1.0, abs=0.25)
    learner.learn(40, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, learner.policy.parameters(), strict=True))
    learner.learn(60, progress=False)
    assert not all(torch.equal(a, b) for a, b in zip(before, learner.policy.parameters(), strict=True))
    assert torch.equal(scales, learner.policy.observation_std)
    # The warm-up is the copy's own: its runs stay near the reference.
    assert float(learner.buffer.contents().observation[:, 0].abs().max()) < 2.0


@pytest.mark.slow
def test_runs_resume_exactly_and_remember_what_was_kept(tmp_path: Path) -> None:
    once = begun(DSACT, controller=sluggish).learn(120, progress=False)
    half = begun(DSACT, controller=sluggish).learn(70, progress=False)
    half.save(tmp_path / "half.pt")
    resumed = DSACT.load(tmp_path / "half.pt", TASK).learn(120, progress=False)
    assert_same_run(once, resumed)
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(once.result.act(x), resumed.result.act(x))
    assert once.trials.diagnostics == resumed.trials.diagnostics
    begun(DSACT).save(tmp_path / "new.pt")
    assert_same_run(
        begun(DSACT).learn(20, progress=False), DSACT.load(tmp_path / "new.pt", TASK).learn(20, progress=False)
    )


def test_observations_are_those_of_the_task() -> None:
    """Angles as sine and cosine: the copy is of what the controller does in the state."""
    task = dataclasses.replace(pendulum_swing_up(), steps=20)
    learner = begun(task=task, controller=LQR, hidden=(32, 32))
    assert learner.policy.observation_size == len(task.observation_signals)
    assert learner.policy.regulator is None
    assert isinstance(learner.trials, CloneTrials)
    assert "clone cost of LQR" not in learner.trials.diagnostics


def test_samples_after_a_run_has_left_are_not_copied() -> None:
    """Where a run stops, the record holds its last state and the reference's input."""
    narrow = dataclasses.replace(
        TASK,
        steps=60,
        domain=Box("near", {"angle": (-0.8, 0.8)}),
        reference=SetPoint({"angle": 0.0}, {"torque": 0.0}),
    )

    class Away:
        def reset(self) -> None: ...

        def step(self, x: np.ndarray, k: int) -> Decision:
            return Decision(np.array([1.5 if x[0] >= 0 else -1.5]))

    learner = begun(task=narrow, controller=lambda task: Away())
    x = torch.tensor([[0.7, 1.0], [-0.7, -1.0], [0.79, 2.0], [-0.79, -2.0]])
    assert (learner.policy.act(x).abs() > 0.65).all()


def test_what_cannot_be_copied_is_refused() -> None:
    fresh = lambda base=SAC, task=TASK: base(task, settings=TINY[base])  # noqa: E731
    with pytest.raises(InvalidValue, match="without a handler"):
        DSACPID(two_budgets(), settings=TINY[DSACT]).clone(LQR)  # type: ignore[attr-defined]
    copied = begun()
    with pytest.raises(InvalidValue, match="once"):
        copied.clone(LQR)
    with pytest.raises(InvalidValue, match="once"):
        copied.residual()
    with pytest.raises(InvalidValue, match="omit the jump start"):
        copied.guided(LQR)
    with pytest.raises(InvalidValue, match="without a jump start or filter"):
        fresh().guided(LQR).clone(LQR)
    with pytest.raises(InvalidValue, match="a factory of controllers"):
        fresh().clone(LQR(TASK))
    with pytest.raises(InvalidValue, match="no reset"):
        fresh().clone(lambda task: 3)
    with pytest.raises(InvalidValue, match="runs"):
        fresh().clone(LQR, runs=0)
    foreign = GymnasiumTask("p", lambda: __import__("gymnasium").make("Pendulum-v1"))
    with pytest.raises(InvalidValue, match="plant's state"):
        SAC(foreign, settings=TINY[SAC]).clone(LQR)
    with pytest.raises(InvalidValue, match="prior policy observes"):
        SAC(foreign, settings=TINY[SAC]).guided(LQR)
    assert not hasattr(PPO(TASK, settings=TINY[PPO]), "clone")


@pytest.mark.parametrize("base", [SAC, PPO])
def test_guided_is_a_jump_start_on_its_own_task(base: type[Learner]) -> None:
    settings = JumpStartSettings(longest=5)
    one = base(TASK, settings=TINY[base]).guided(LQR, settings).learn(20, progress=False)  # type: ignore[call-arg]
    other = base(TASK, settings=TINY[base])  # type: ignore[call-arg]
    other.with_jump_start(JumpStart(TASK, LQR, settings)).learn(20, progress=False)
    assert_same_run(one, other)


@pytest.mark.slow
def test_train_begins_as_a_copy_and_says_how_near_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "systems.library:pendulum", "--learner", "safe_rl:SAC", "--out", "out", "--updates", "8"]
    given = ["--settings", "hidden=16,16", "batch_size=32", "warmup=200"]
    assert main([*command, "--clone", "ctrl.regulator:LQR", "--residual", "True"]) == 2
    assert "--clone and --residual True both given" in capsys.readouterr().err
    assert main([*command, "--clone", "ctrl.regulator:LQR", *given]) == 0
    said = capsys.readouterr().out
    assert "the copy costs" in said
    assert "LQR" in said.split("as good as", 1)[1]
    learner = SAC.load(tmp_path / "out" / "checkpoint.pt", pendulum())
    assert isinstance(learner.trials, CloneTrials)
    assert main([*command[:-1], "12", "--clone", "ctrl.regulator:LQR"]) == 0
    assert "this one is resumed" in capsys.readouterr().out
    assert main([*command[:3], "safe_rl:PPO", "--out", "other", "--clone", "ctrl.regulator:LQR"]) == 2
    assert "has no clone()" in capsys.readouterr().err
