"""The comparison that belongs to driving: who takes part, and that its learners are trained once, each in its way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ctrl import simulate
from mpc import NonlinearMPC
from safe_rl import PolicyController, driving
from safe_rl.cached_policies import TrainingConfig
from safe_rl.driving import LaneKeeping
from safe_rl.driving import comparison as comparisons
from systems.library import driving as driving_task
from systems.library.driving import driving_record


@pytest.fixture
def briefly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own and trainings of a few updates, with the settings of the long ones otherwise."""
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))
    config = driving.driving_config

    def short(make) -> TrainingConfig:  # type: ignore[no-untyped-def]
        settings = dataclasses.replace(
            config(make).settings, environments=8, evaluation_environments=4, warmup=400, hidden=(8, 8)
        )
        return dataclasses.replace(config(make), settings=settings, updates=30)

    monkeypatch.setattr(comparisons, "driving_config", short)
    return tmp_path


@pytest.mark.slow
def test_learners_of_the_comparison_are_trained_once_each_in_its_own_way(briefly: Path) -> None:
    task, programme = driving_task(), comparisons.drivers()
    factories = programme.controllers
    assert factories["lane-keeping"] is LaneKeeping
    assert factories["nonlinear-mpc"].func is NonlinearMPC  # type: ignore[attr-defined]
    names = ["dsac-penalty", "dsac-lagrangian", "dsac-h"]
    assert list(factories) == ["lane-keeping", "lane-changing", "nonlinear-mpc", *names]
    x = task.initial.sample(task.plant.state, np.random.default_rng(0), (5,))
    found = {name: factories[name](task).batch(x, 0) for name in names}  # type: ignore[attr-defined]
    kept = sorted(file.name for file in briefly.glob("*.policy"))
    assert [name.split("-driving-")[0] for name in kept] == ["dsac-h", "dsac-lagrangian", "dsac-penalty"]
    for name in names:
        np.testing.assert_array_equal(factories[name](task).batch(x, 0), found[name])  # type: ignore[attr-defined]
    assert sorted(file.name for file in briefly.glob("*.policy")) == kept


@pytest.mark.slow
def test_configurations_differ_in_their_handlers_alone() -> None:
    configs = [driving.driving_config(make) for make in driving.METHODS.values()]
    first, *others = [dataclasses.asdict(config.settings) for config in configs]
    shared = set(first).intersection(*others)
    assert "return_scale" in shared
    for other in others:
        assert {name: other[name] for name in shared} == {name: first[name] for name in shared}
    described = {str(config.described(driving_task())) for config in configs}
    assert len(described) == len(configs), "policies of different methods must not share a file"


@pytest.mark.slow
def test_dsac_h_learns_to_drive() -> None:
    """In a minute or two: on the road, about as fast as keeping the lane, and near its budget of one sample per run.

    Seeds end between half the budget and two and a half times it; after a third of the training it is twenty times it.
    """
    task = driving_task()
    config = driving.driving_config(driving.METHODS["dsac-h"])
    learner = config.begin(task, Path("none")).learn(config.updates, progress=False)
    rng = np.random.default_rng(1)
    starts = task.initial.sample(task.plant.state, rng, (400,))
    inattention = task.disturbance.sample(task.plant.disturbance, rng, (400, task.steps))
    runs = simulate(task, PolicyController(task, learner.result), starts, inattention)
    assert runs.stayed.mean() > 0.98
    assert ((runs.margins > 0).sum(axis=1).mean(axis=0) <= 4.0).all()
    assert driving_record(task, runs).speed > 19.5
