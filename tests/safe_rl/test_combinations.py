"""Every ready-made combination: it learns, resumes to the last bit, is exported, and refuses what is not its own."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ctrl.discovery import entry_points
from safe_rl import (
    CAL,
    DSACPID,
    PLO,
    PPO,
    PPOPID,
    SAC,
    CheckpointError,
    Combination,
    SACLagrangian,
    assess,
    export_onnx,
)
from safe_rl.combinations import ALL
from safe_rl.handlers import ConservativeAugmented, IntegralGains, Lagrangian
from tests.safe_rl.tasks import TINY, assert_same_run, swing_up, two_budgets

ROOT = Path(__file__).parents[2]
every = pytest.mark.parametrize("make", ALL, ids=[c.name for c in ALL])


@every
@pytest.mark.every(4)
def test_resumed_run_equals_the_uninterrupted_one(make: Combination, tmp_path: Path) -> None:
    settings = TINY[make.base]
    whole = make(two_budgets(), seed=1, settings=settings).learn(90, progress=False)
    make(two_budgets(), seed=1, settings=settings).learn(37, progress=False, checkpoint=tmp_path / "run")
    resumed = make.load(tmp_path / "run", two_budgets())
    assert resumed.updates == 37
    assert_same_run(whole, resumed.learn(90, progress=False))
    assert all(torch.isfinite(p).all() for p in whole.policy.parameters())
    assert whole.history[-1].diagnostics == resumed.history[-1].diagnostics


@pytest.mark.parametrize(
    "make",
    [PLO, pytest.param(CAL, marks=pytest.mark.slow), pytest.param(PPOPID, marks=pytest.mark.slow)],
    ids=lambda c: c.name,
)
def test_policy_is_exported(make: Combination, tmp_path: Path) -> None:
    """One of each base learner: handlers have no part in it."""
    ort = pytest.importorskip("onnxruntime")
    learner = make(two_budgets(), settings=TINY[make.base]).learn(10, progress=False)
    export_onnx(learner.result, tmp_path / "p.onnx")
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    session = ort.InferenceSession(str(tmp_path / "p.onnx"))
    (found,) = session.run(None, {"observation": x.numpy()})
    np.testing.assert_allclose(found, learner.result.act(x).numpy(), atol=1e-5)


def test_a_learner_goes_by_the_name_of_what_made_it(tmp_path: Path) -> None:
    learner = PLO(two_budgets(), settings=TINY[PLO.base])
    learner.learn(2, progress=False, log=tmp_path)
    assert json.loads((tmp_path / "settings.json").read_text())["learner"] == "plo"
    learner.save(tmp_path / "run")
    assert PLO.load(tmp_path / "run", two_budgets()).name == "plo"
    assert PLO.base(two_budgets(), settings=TINY[PLO.base], handler=PLO.handler).name == "DSACT + Lagrangian"


def test_names_are_those_of_the_entry_points() -> None:
    table = entry_points("trivium.learners")
    named = {c.name for c in ALL}
    assert named <= set(table)
    for name in named:
        assert table[name].load().name == name


def test_checkpoint_of_another_handler_is_refused(tmp_path: Path) -> None:
    PLO(two_budgets(), settings=TINY[PLO.base]).save(tmp_path / "run")
    with pytest.raises(CheckpointError, match="handler"):
        DSACPID.load(tmp_path / "run", two_budgets())
    with pytest.raises(CheckpointError, match="expected one of SAC"):
        SACLagrangian.load(tmp_path / "run", two_budgets())
    with pytest.raises(CheckpointError, match="another task"):
        PLO.load(tmp_path / "run", swing_up())


def test_tighter_budget_is_another_task(tmp_path: Path) -> None:
    PLO(swing_up(budget=5.0), settings=TINY[PLO.base]).save(tmp_path / "run")
    with pytest.raises(CheckpointError, match="budget"):
        PLO.load(tmp_path / "run", swing_up(budget=4.0))


def test_ppo_refuses_what_it_cannot_handle() -> None:
    with pytest.raises(ValueError, match="members=1"):
        PPO(two_budgets(), settings=TINY[PPO], handler=ConservativeAugmented())


def test_steps_can_be_the_measure_of_a_run() -> None:
    learner = CAL(two_budgets(), settings=TINY[SAC])
    learner.learn(steps=301, progress=False)
    assert learner.collector.steps == 304  # whole steps of 4 environments
    with pytest.raises(ValueError, match="either updates or steps"):
        learner.learn(10, steps=10)
    with pytest.raises(ValueError, match="304 have already been made"):
        learner.learn(steps=200)


def test_assessment_counts_each_run_once_and_in_the_units_of_its_budget() -> None:
    task = two_budgets()
    learner = SACLagrangian(task, settings=TINY[SAC]).learn(10, progress=False)
    found = assess(learner.result, task, episodes=6, seed=5)
    environment = task.vector_env(6, seed=5)
    observation, spent = environment.reset(), np.zeros((6, 2))
    for k in range(20):
        step = environment.step(learner.result.act(observation))
        observation = step.observation
        cost = step.cost.double().numpy()
        spent += np.stack((cost[:, 0], 0.99**k * cost[:, 2]), axis=1)
    np.testing.assert_allclose(found.spent, spent, rtol=1e-6)
    assert (found.lengths == 20).all()
    mean, low, high = found.interval(1)
    assert low < mean < high


def _killed_and_resumed(path: Path, wait: float) -> None:
    """SIGKILL a run `wait` seconds after its first checkpoint, resume it, compare with a run that was left alone."""
    code = (
        "from tests.safe_rl.test_combinations import *\n"
        "learner = PLO(two_budgets(), settings=TINY[PLO.base])\n"
        f"learner.learn(10**9, progress=False, checkpoint={str(path)!r}, checkpoint_every=20)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        deadline = time.monotonic() + 120
        while not path.exists():
            assert process.poll() is None, "the run ended before it wrote a checkpoint"
            assert time.monotonic() < deadline, "no checkpoint appeared"
            time.sleep(0.005)
        time.sleep(wait)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = PLO.load(path, two_budgets())
    target = resumed.updates + 30
    resumed.learn(target, progress=False)
    assert_same_run(PLO(two_budgets(), settings=TINY[PLO.base]).learn(target, progress=False), resumed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_end_in_twenty_identical_runs(tmp_path: Path) -> None:
    draw = random.Random(0)
    for k in range(20):
        _killed_and_resumed(tmp_path / f"run{k}", draw.uniform(0.0, 1.5))


def test_settings_of_a_handler_are_part_of_its_description() -> None:
    one, other = Lagrangian(gains=IntegralGains(0.1)), Lagrangian(gains=IntegralGains(0.2))
    assert repr(one) != repr(other)
    assert dataclasses.replace(other, gains=IntegralGains(0.1)) == one
