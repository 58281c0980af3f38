"""The benchmark on plants that learners were not tuned on: what is called worse, and what it counts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import strangers
from benchmarks.strangers import PEERS, STARTS, TASKS, Run, Show, compared, digest
from safe_rl import DSACTSettings


def test_worse_is_worse_by_more_than_noise() -> None:
    chance = np.random.default_rng(0)
    lqr = chance.uniform(1.0, 2.0, 20)
    noise = chance.normal(0.0, 0.01, 20)
    assert not compared(lqr, lqr, lqr)["worse"]
    assert not compared(lqr + noise - noise.mean() + 0.001, lqr, lqr)["worse"]
    assert compared(lqr + noise - noise.mean() + 0.02, lqr, lqr)["worse"]
    assert not compared(lqr - 0.1, lqr, lqr)["worse"]
    found = compared(lqr, 2.0 * lqr, 0.5 * lqr)
    assert (found["to_best"], found["to_lqr"]) == (2.0, 0.5)
    lost = lqr.copy()
    lost[3] = np.inf
    assert compared(lost, lqr, lqr)["worse"]
    assert not compared(lost, lost, lqr)["worse"]


def test_cells_are_kept_and_resumed_and_the_last_line_is_json(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[tuple[str, int]] = []

    def learned(task: object, seed: int, updates: int) -> dict[str, object]:
        made.append((task.name, seed))  # type: ignore[attr-defined]
        return {"costs": [40.0] * STARTS, "seconds": 1.0, "regulator": True, "trials": {"residual share kept": 0.2}}

    monkeypatch.setattr(strangers, "FILE", tmp_path / "cells.jsonl")  # type: ignore[operator]
    monkeypatch.setattr(strangers, "learned", learned)
    monkeypatch.setattr(strangers, "NonlinearMPC", lambda task, horizon: strangers.LQR(task))
    Run(seeds=1, task=("quadruple_tank",)).run()
    Run(seeds=2, task=("quadruple_tank",)).run()
    assert made == [("quadruple-tank", 0), ("quadruple-tank", 1)]
    Show().run()
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(rows) == {"quadruple_tank/0", "quadruple_tank/1"}
    assert rows["quadruple_tank/0"]["share"] == 0.2
    assert {*PEERS} == {"lqr", "nonlinear-mpc"}


def test_cells_of_other_settings_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["quadruple_tank"][0]()
    before = digest(task, 100)
    assert digest(task, 101) != before
    monkeypatch.setattr(strangers, "DSACTSettings", lambda: DSACTSettings(batch_size=17))
    assert digest(task, 100) != before
