"""Tasks beyond their constraints, and the books of the benchmark on them: which setting is chosen, what is missing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import feasible_region
from benchmarks.beyond import braking_beyond, can_keep, cartpole_beyond, lane_beyond, least_violation
from benchmarks.constrained import GRID, feasibility, starts, unpacked
from benchmarks.feasible_region import GAINS, LIKE, TASKS, TESTING, TUNING, UNAWARE, Found, digest, made
from safe_rl.policy import Policy
from systems import SetPoint, Task


def packed(safe: np.ndarray) -> str:
    return np.packbits(safe).tobytes().hex()


@pytest.mark.parametrize("task", [braking_beyond(), lane_beyond()], ids=lambda task: task.name)
def test_where_the_constraint_can_be_kept_is_where_optimal_control_keeps_it(task: Task) -> None:
    x = starts(task)
    known = can_keep(task, x)
    assert 0.7 < known.mean() < 0.99
    chosen = np.concatenate([np.flatnonzero(known)[:15], np.flatnonzero(~known)[:15]])
    least = np.array([least_violation(task, start) for start in x[chosen]])
    near = np.abs(least) < 1e-6  # where the solver's tolerance decides
    assert near.sum() <= 2
    np.testing.assert_array_equal((least <= 0.0)[~near], known[chosen][~near])


def test_track_can_be_kept_at_rest_and_not_at_speed_in_front_of_its_end() -> None:
    task = cartpole_beyond()
    x = np.array([[0.0, 0.0, 0.0, 0.0], [0.6, 0.0, 0.0, 0.0], [0.69, 0.0, 1.0, 0.0], [0.8, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(can_keep(task, x), [True, True, False, False])
    # At once, at 1 m/s, a sample later it is 0.05 m further, whatever a force of 10 N does to 1.1 kg.
    assert least_violation(task, x[2]) > 0.02
    np.testing.assert_allclose(least_violation(task, x[3]), 0.1, atol=1e-6)


@pytest.mark.parametrize("name", TASKS)
def test_what_is_wanted_violates_the_constraint(name: str) -> None:
    task = TASKS[name]
    x, u = task.reference.at(task.plant, 0)
    assert float(task.margin_function()(x, u)) > 0.4
    low, high = task.domain_bounds
    assert (low < x).all()
    assert (x < high).all()


def test_no_policy_keeps_a_start_that_cannot_be_kept() -> None:
    for task in (braking_beyond(), lane_beyond()):
        known = set(np.flatnonzero(can_keep(task, starts(task))).tolist())
        low, high = (torch.tensor(bound, dtype=torch.float32) for bound in task.input_bounds)
        for seed in range(3):
            policy = Policy(2, low, high, (8,), torch.Generator().manual_seed(seed))
            assert unpacked(feasibility(task, policy)) <= known


def test_cells_of_another_task_or_setting_are_not_taken_for_these() -> None:
    task = TASKS["braking-beyond"]
    nearer = dataclasses.replace(task, reference=SetPoint({"position": 0.4}))
    assert digest(made("plo", 0), task) != digest(made("plo", 0), nearer)
    marks = {digest(made(m, i), task) for m in GAINS for i in range(len(GAINS[m]))}
    assert len(marks) == sum(map(len, GAINS.values()))
    for method, ready in LIKE.items():
        assert made(method, 0).handler == ready.handler  # the first setting is the default


def test_setting_is_chosen_by_share_among_those_that_met_their_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feasible_region, "FILE", tmp_path / "cells.jsonl")
    name = "braking-beyond"

    def note(method: str, setting: int, seed: int, cost: float, kept: int, earned: float) -> None:
        cell = {
            "digest": digest(made(method, setting), TASKS[name]), "task": name, "seed": seed, "cost": cost,
            "budget": 0.5, "return": earned, "safe": packed(np.arange(GRID) < kept),
        }  # fmt: skip
        with open(feasible_region.FILE, "a") as file:
            file.write(json.dumps(cell) + "\n")

    assert Found().chosen("plo", name) is None
    for seed in TUNING:
        note("plo", 0, seed, 0.1, 400, -50.0)
        note("plo", 1, seed, 0.9, 1900, -40.0)  # over its budget
        note("pid", 0, seed, 0.1, 400, -50.0)
        note("pid", 1, seed, 0.1, 400, -49.0)  # the same share at a better return
    assert Found().chosen("plo", name) == 0
    assert Found().chosen("pid", name) == 1
    missing = Found().missing()
    assert ("plo", 0, name, TESTING[0]) in missing
    assert ("plo", 1, name, TESTING[0]) not in missing
    assert not any(method in ("plo", "pid") and task == name and seed in TUNING for method, _, task, seed in missing)
    assert not any(method == "integral" and task == name and seed in TESTING for method, _, task, seed in missing)
    assert (UNAWARE, 0, name, TUNING[0]) in missing
    note("plo", 0, TESTING[0], 0.1, 500, -45.0)
    assert [cell["return"] for cell in Found().tested("plo", name)] == [-45.0]
    assert ("plo", 0, name, TESTING[0]) not in Found().missing()
