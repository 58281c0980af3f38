"""The record of driving runs, on runs whose record is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ctrl import LQR, Trajectories, simulate
from safe_rl.driving import LaneKeeping
from systems import InvalidValue, Task
from systems.library import driving, pendulum
from systems.library.driving import driving_record


@pytest.fixture(scope="module")
def task() -> Task:
    return driving()


def constant(task: Task, runs: int = 2, steps: int = 100) -> Trajectories:
    """The ego at 25 m/s on the middle lane, nothing violated."""
    x = np.zeros((runs, steps + 1, len(task.plant.state)))
    x[..., task.plant.state.where("speed")] = 25.0
    blank = np.zeros((runs, steps))
    whole = np.zeros((runs, steps), dtype=np.int8)
    margins, left = np.full((runs, steps, 3), -1.0), np.full(runs, -1)
    return Trajectories(x, np.zeros((runs, steps, 2)), blank, np.zeros(runs), margins, blank, whole, whole, left)


def test_distance_and_speed(task: Task) -> None:
    record = driving_record(task, constant(task))
    assert record.distance == pytest.approx(0.5)  # 2 runs of 10 s at 25 m/s
    assert record.speed == pytest.approx(25.0)
    assert record.violations == {"gap": 0, "road": 0, "grip": 0}
    assert record.at_most["gap"] == pytest.approx(3.6889 * 2000.0, rel=1e-4)  # Garwood: none seen, at most 3.689
    assert record.lane_changes == record.jerk == record.left == 0
    assert "0.5 km at 25.0 m/s" in str(record)


def test_violations_are_counted_by_stretches(task: Task) -> None:
    runs = constant(task)
    runs.margins[0, 10:20, 0] = 0.5
    runs.margins[0, 30, 0] = 0.5
    runs.margins[1, 0:3, 0] = np.nan  # undefined is violated
    runs.margins[1, 99, 1] = 1e-9
    record = driving_record(task, runs)
    assert record.violations == {"gap": 3, "road": 1, "grip": 0}
    assert record.per_1000_km["gap"] == pytest.approx(3 / 0.5 * 1000.0)
    assert record.per_1000_km["gap"] < record.at_most["gap"]


def test_lane_changes_and_jerk(task: Task) -> None:
    runs = constant(task)
    runs.states[0, 50:, 0] = 3.5
    runs.states[1, 20:60, 0] = -3.4
    runs.inputs[0, ::2, 1] = 1.0  # 1 m/s^2 on and off: 10 m/s^3 in each of its samples
    record = driving_record(task, runs)
    assert record.lane_changes == pytest.approx(3 / 0.5)
    assert record.jerk == pytest.approx(10.0 / np.sqrt(2.0))


def test_a_run_counts_up_to_where_it_left(task: Task) -> None:
    runs = constant(task)
    left = np.array([40, -1])
    runs.margins[0, 40:, 1] = 0.1  # where it lies beside the road: one violation
    runs.states[0, 60:, 0] = 9.0  # what is held after that counts for nothing
    record = driving_record(task, dataclasses.replace(runs, left=left))
    assert record.distance == pytest.approx(0.35)
    assert record.violations["road"] == 1
    assert record.lane_changes == 0
    assert record.left == 1


def test_lane_keeping_has_a_clean_record(task: Task) -> None:
    rng = np.random.default_rng(0)
    w = task.disturbance.sample(task.plant.disturbance, rng, (20, 100))
    runs = simulate(task, LaneKeeping(task), task.initial.sample(task.plant.state, rng, (20,)), w)
    record = driving_record(task, runs)
    assert not any(record.violations.values())
    assert record.lane_changes == record.left == 0
    assert 3.5 < record.distance < 5.6
    assert 0 < record.jerk < 5.0


def test_other_tasks_are_refused(task: Task) -> None:
    swing = pendulum()
    runs = simulate(swing, LQR(swing), np.zeros((1, 2)), np.zeros((1, 5, len(swing.plant.disturbance))))
    with pytest.raises(InvalidValue, match="Highway"):
        driving_record(swing, runs)
    still = constant(task)
    still.states[:] = 0.0
    with pytest.raises(InvalidValue, match="stood still"):
        driving_record(task, still)
