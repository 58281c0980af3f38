"""The landing benchmark: which cells count, what a landing is, and that learners land with a guide that can."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from benchmarks import rocket
from ctrl import LQR
from safe_rl import DSACT, JumpStart
from systems.library import rocket_landing


def test_cells_of_other_settings_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocket, "FILE", tmp_path / "cells.jsonl")
    mine = {"digest": rocket.digest(), "way": "lqr", "seed": 0}
    rows = [mine, mine | {"digest": "00000000"}, {"way": "lqr", "seed": 1}]
    rocket.FILE.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert rocket.found() == [mine]
    monkeypatch.setattr(rocket, "START", dataclasses.replace(rocket.START, longest=10))
    assert rocket.found() == []


@pytest.mark.parametrize("change", [{"discount": 0.9}, {"tolerance": {"x": 1.0}}, {"steps": 50}])
def test_the_digest_knows_the_task(change: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    before, task = rocket.digest(), rocket_landing()
    monkeypatch.setattr(rocket, "rocket_landing", lambda: dataclasses.replace(task, **change))
    assert rocket.digest() != before


def test_one_guide_lands_and_the_other_hardly_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocket, "RUNS", 200)
    task = rocket_landing()
    assert rocket.land(task, LQR(task), seed=0)["landed"] >= 195
    assert 0 < rocket.land(task, rocket.SinkUpright(task), seed=0)["landed"] <= 50  # over the pad by luck


def test_a_guide_brings_the_learner_near_the_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the learner takes over, the state is one that it would not have reached by itself."""
    settings = dataclasses.replace(rocket.SETTINGS, warmup=200, environments=32, updates_per_step=1, capacity=20_000)
    lowest = {}
    for way in ("no guide", "lqr"):
        learner = DSACT(rocket_landing(), seed=0, settings=settings)
        if way == "lqr":
            learner.with_jump_start(JumpStart(rocket_landing(), LQR, rocket.START))
        learner.prepare()
        for _ in range(rocket_landing().steps):
            learner.buffer.add(learner.collector.collect())
        seen = learner.buffer.contents()
        own = seen.observation[200:]
        _, z, angle, _, z_rate, _ = own.unbind(dim=1)
        lowest[way] = int(((z.abs() < 5.0) & (z_rate.abs() < 2.0) & (angle.abs() < 0.1)).sum())
    assert lowest["no guide"] <= 3
    assert lowest["lqr"] >= 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_guided_learner_lands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide has withdrawn by then, so the landings are the learner's own; without a guide there are fewer."""
    monkeypatch.setattr(rocket, "SCRATCH", tmp_path)
    torch.set_num_threads(1)
    with_guide, without = (rocket.train(way, rocket_landing(), seed=0)[-1] for way in ("lqr", "no guide"))
    assert with_guide["beta"] <= 0.1
    assert with_guide["landed"] >= 0.8 * with_guide["runs"]
    assert without["landed"] < 0.5 * with_guide["landed"]
