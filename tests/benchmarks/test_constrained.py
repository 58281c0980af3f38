"""Books of the benchmark of constrained learners: which cells count, and what share a policy keeps."""

from __future__ import annotations

import numpy as np

from benchmarks.constrained import GRID, LEARNERS, TASKS, digest, feasible, share, starts, unpacked
from safe_rl import DSACPID, Combination
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
