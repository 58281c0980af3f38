"""Books of the benchmarks of constrained learners: which cells count, which setting is chosen, what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import constrained, feasible_region
from benchmarks.constrained import GRID, LEARNERS, TASKS, digest, feasible, share, starts, unpacked
from safe_rl import DSACPID, PLO, Combination
from safe_rl.handlers import Lagrangian, PIDGains


def packed(safe: np.ndarray) -> str:
    return np.packbits(safe).tobytes().hex()


def test_starts_are_packed_without_loss_and_shares_count_the_feasible_ones() -> None:
    safe = np.random.default_rng(0).random(GRID) < 0.3
    assert unpacked(packed(safe)) == set(np.flatnonzero(safe))
    task = TASKS["braking"]
    known = feasible(task, [])
    assert 0 < len(known) < GRID
    assert share({"safe": packed(np.isin(np.arange(GRID), list(known)))}, known) == 100.0
    assert starts(task).shape == (GRID, 2)


def test_results_of_other_settings_are_another_cell() -> None:
    other = Combination("dsac-pid", DSACPID.base, Lagrangian(gains=PIDGains(kp=3.0)))
    assert digest(DSACPID, "braking") != digest(other, "braking")
    assert digest(DSACPID, "braking") != digest(DSACPID, "bandit")
    assert len({digest(make, "braking") for make in LEARNERS.values()}) == len(LEARNERS)
    for method, ready in feasible_region.LIKE.items():  # cells that both benchmarks share
        assert digest(feasible_region.made(method, 0), "braking") == digest(ready, "braking")


def test_setting_is_chosen_by_share_among_those_that_met_their_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cells.jsonl"
    monkeypatch.setattr(feasible_region, "FILE", file)
    monkeypatch.setattr(feasible_region, "cells", lambda path=None: constrained.cells(file) if path == file else [])
    assert feasible_region.Found().chosen("plo", "braking") is None
    for setting, (cost, kept) in enumerate([(0.1, 400), (0.1, 600), (0.9, GRID)]):
        for seed in feasible_region.TUNING:
            cell = {
                "digest": digest(feasible_region.made("plo", setting), "braking"),
                "task": "braking",
                "seed": seed,
                "cost": cost,
                "budget": 0.5,
                "safe": packed(np.arange(GRID) < kept),
            }
            with open(file, "a") as out:
                out.write(json.dumps(cell) + "\n")
    found = feasible_region.Found()
    assert found.chosen("plo", "braking") == 1
    missing = [cell for cell in found.missing() if cell is not None]
    assert ("plo", 1, "braking", 0) in missing
    assert not any(method == "plo" and task == "braking" and seed >= 100 for method, _, task, seed in missing)
    assert PLO.handler == feasible_region.made("plo", 0).handler
