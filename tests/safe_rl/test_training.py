"""The loop: what it shows, what it records, what `predict` and `evaluate` give."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ctrl.cli import main
from safe_rl import DSACT, SAC, DSACTSettings, Policy, PolicyController, SACLagrangian, evaluate
from safe_rl.arithmetic import quick_arithmetic
from systems.library import bandit
from tests.safe_rl.tasks import TINY as TINY_OF
from tests.safe_rl.tasks import swing_up, two_budgets

TINY = DSACTSettings(hidden=(16, 16), batch_size=32, warmup=200, environments=4, capacity=1_000)


def test_statistics_agree_with_the_rewards_and_costs() -> None:
    """All episodes of the run, recomputed from the replay memory."""
    settings = DSACTSettings(hidden=(8,), batch_size=8, warmup=40, environments=4, updates_per_step=1)
    learner = DSACT(swing_up(steps=10, rate_limit=1.0), settings=settings)
    learner.learn(190, progress=False)  # with the warm-up 200 steps: 20 episodes in each of 4 environments
    rows = learner.buffer.contents()
    record = learner.history[0]
    assert (record.updates, record.steps, record.episodes, record.mean_length) == (190, 800, 80, 10.0)
    assert record.mean_return == pytest.approx(float(rows.reward.sum()) / 80, rel=1e-5)
    assert record.mean_costs["fast"] == pytest.approx(float(rows.cost.sum()) / 80, rel=1e-5)
    assert record.mean_costs["fast"] > 0


def test_warm_up_fixes_the_scaling_of_observations() -> None:
    learner = DSACT(swing_up(), settings=TINY)
    learner.prepare()
    scaled = learner.policy.scale(learner.buffer.contents().observation)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(scaled.std(0), torch.ones(3), atol=1e-4, rtol=0.0)
    frozen = learner.policy.observation_mean.clone()
    learner.learn(20, progress=False)
    assert torch.equal(frozen, learner.target_policy.observation_mean)


def test_evaluation_counts_each_environment_once() -> None:
    """Against a loop by hand; the mean action only, first episodes only."""
    task = swing_up(steps=30)
    policy = DSACT(task, settings=TINY).policy
    environment = task.vector_env(6, seed=5)
    observation, total = environment.reset(), 0.0
    for _ in range(30):
        step = environment.step(policy.act(observation))
        observation, total = step.observation, total + float(step.reward.sum())
    assert evaluate(policy, task, episodes=6, seed=5) == pytest.approx(total / 6, rel=1e-5)


def test_predict_takes_and_gives_arrays() -> None:
    learner = DSACT(swing_up(), settings=TINY)
    action, memory = learner.predict(np.zeros(3))
    assert memory is None
    assert action.shape == (1,)
    assert learner.predict(np.zeros((5, 3)))[0].shape == (5, 1)
    np.testing.assert_array_equal(action, learner.predict(np.zeros(3))[0])
    drawn = [float(learner.predict(np.zeros(3), deterministic=False)[0][0]) for _ in range(4)]
    assert len(set(drawn)) == 4
    with pytest.raises(ValueError, match=r"shape \(4,\); expected"):
        learner.predict(np.zeros(4))


def test_log_is_written_and_nothing_is_drawn_outside_a_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    DSACT(swing_up(steps=20), settings=TINY).learn(230, progress=True, log=tmp_path)
    shown = capfd.readouterr()
    assert "\x1b" not in shown.out + shown.err
    with open(tmp_path / "progress.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["updates"]) for line in lines] == [200, 230]
    assert float(lines[0]["charts/return"]) < 0
    assert "costs/fast" in lines[0]
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert (settings["task"], settings["hidden"]) == ("pendulum-swing-up", [16, 16])


def test_tensorboard_gets_the_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    DSACT(swing_up(steps=20), settings=TINY).learn(20, progress=False, log=tmp_path)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert {"charts/return", "costs/fast", "learner/temperature"} <= set(events.Tags()["scalars"])


def test_policy_of_a_learner_moves_alone(tmp_path: Path) -> None:
    learner = DSACT(swing_up(), settings=TINY).learn(10, progress=False)
    learner.policy.save(tmp_path / "policy")
    observation = torch.tensor([[0.5, 0.8, 1.0]])
    assert torch.equal(Policy.load(tmp_path / "policy").act(observation), learner.policy.act(observation))


def test_command_line_trains_a_constrained_learner_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `trivium train` to a policy that a comparison reads, with the budget said in all its units."""
    monkeypatch.setattr("ctrl.discovery.entry_points", lambda group: {})
    out = tmp_path / "run"
    command = ["train", "systems.library:bandit", "--learner", "safe_rl:SACLagrangian", "--out", str(out)]
    assert main([*command, "--steps", "10400"]) == 0
    shown = capsys.readouterr()
    assert "0.5 accumulated per episode of 1 = 0.5 per step" in shown.err
    assert "sac-lagrangian.policy" in shown.out
    assert main([*command, "--updates", "30"]) == 0
    assert "resuming from" in capsys.readouterr().out
    assert PolicyController.load(bandit(), out / "sac-lagrangian.policy").batch(np.zeros((1, 1)), 0).shape == (1, 1)
    settings = json.loads((out / "settings.json").read_text())
    assert "Lagrangian" in settings["handler"]


def test_live_view_shows_cost_against_budget_multiplier_and_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = SACLagrangian(two_budgets(), settings=TINY_OF[SAC])
    news: list[str] = []
    monkeypatch.setattr("rich.progress.Progress.update", lambda bar, task, **fields: news.append(bar.news))
    learner.learn(400, progress=False)
    for part in ("return", "fast ", " of 2 (multiplier ", " of 1 (multiplier ", "updates/s", "steps/s"):
        assert part in news[-1]


@pytest.mark.parametrize("flushed", [True, False])
def test_threads_and_subnormal_numbers_are_put_back_as_they_were(flushed: bool) -> None:
    def subnormal() -> float:
        return float(torch.tensor(torch.finfo(torch.float32).tiny) * 0.5)

    threads = torch.get_num_threads()
    if not torch.set_flush_denormal(flushed):
        pytest.skip("this processor cannot flush subnormal numbers")
    try:
        with quick_arithmetic(threads + 1):
            assert subnormal() == 0.0
            assert torch.get_num_threads() == threads + 1
        assert (subnormal() == 0.0) is flushed
        DSACT(swing_up(), settings=TINY).learn(1, progress=False)
        assert (subnormal() == 0.0) is flushed
        assert torch.get_num_threads() == threads
    finally:
        torch.set_flush_denormal(False)
