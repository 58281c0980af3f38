"""Pictures and films of driving show what the run did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctrl import LQR, Trajectories, simulate
from safe_rl.driving import LaneKeeping
from systems import InvalidValue, Task
from systems.library import driving, pendulum, rocket_landing
from systems.library.driving import film, picture
from systems.library.driving.scene import scene
from systems.library.rocket_landings import landings


@pytest.fixture(scope="module")
def task() -> Task:
    return driving()


@pytest.fixture(scope="module")
def runs(task: Task) -> Trajectories:
    rng = np.random.default_rng(0)
    w = task.disturbance.sample(task.plant.disturbance, rng, (3, 60))
    return simulate(task, LaneKeeping(task), task.initial.sample(task.plant.state, rng, (3,)), w)


def test_a_scene_puts_everyone_on_the_standing_road(task: Task, runs: Trajectories) -> None:
    """What each of the others drives along the road is the mean of its speeds; on the shorter way round the ring."""
    seen = scene(task, runs, 1)
    length = seen.plant.road.length
    assert np.abs(seen.ahead).max() <= length / 2
    along = seen.driven[:, None] + seen.ahead
    moved = np.diff(along, axis=0)
    moved -= length * np.round(moved / length)
    mean = 0.5 * task.dt * (seen.speed[1:] + seen.speed[:-1])
    np.testing.assert_allclose(moved, mean * np.cos(seen.heading[:-1] * (np.arange(9) == 0)), atol=2e-3)
    assert np.array_equal(seen.y[:, 0], runs.states[1, :, 0])
    assert len(seen.time) == 61
    assert len(seen.margins) == len(seen.inputs) == 60


def test_a_run_that_left_is_shown_up_to_there(task: Task) -> None:
    class Swerve(LaneKeeping):
        def batch(self, x: np.ndarray, k: int) -> np.ndarray:
            return np.tile(task.input_bounds[1], (len(x), 1))

    start = task.initial.sample(task.plant.state, np.random.default_rng(1), (1,))
    runs = simulate(task, Swerve(task), start, np.zeros((1, 60, 8)))
    assert 0 < runs.left[0] < 60
    seen = scene(task, runs)
    assert len(seen.time) == runs.left[0] + 1
    assert picture(task, runs).axes


def test_a_picture_has_its_views_and_traces(task: Task, runs: Trajectories, tmp_path: Path) -> None:
    page = picture(task, runs, instants=(0.0, 2.0, 4.0))
    labels = [axes.get_ylabel() for axes in page.axes]
    assert labels[:6] == ["0.0 s", "2.0 s", "4.0 s", "speed [m/s]", "across [m]", "gap g [-]"]
    speeds = page.axes[3].lines
    assert any(np.array_equal(line.get_ydata(), runs.states[0, :, 2]) for line in speeds)
    page.savefig(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_a_film_plays_in_real_time(task: Task, runs: Trajectories, tmp_path: Path) -> None:
    Image = pytest.importorskip("PIL.Image")
    file = film(task, runs, tmp_path / "run.gif", run=2, every=12)
    with Image.open(file) as shown:
        assert shown.n_frames == 6
        assert shown.info["duration"] == 1200  # ms
        first = np.asarray(shown.convert("RGB"))
        shown.seek(5)
        assert (np.asarray(shown.convert("RGB")) != first).mean() > 0.005


def test_other_tasks_and_runs_are_refused(task: Task, runs: Trajectories) -> None:
    with pytest.raises(InvalidValue, match="run 3 of 3"):
        picture(task, runs, run=3)
    swing = pendulum()
    other = simulate(swing, LQR(swing), np.zeros((1, 2)), np.zeros((1, 5, len(swing.plant.disturbance))))
    with pytest.raises(InvalidValue, match="Highway"):
        picture(swing, other)


def test_landings_are_drawn_with_the_run_asked_for(tmp_path: Path) -> None:
    task = rocket_landing()
    rng = np.random.default_rng(0)
    starts = task.initial.sample(task.plant.state, rng, (4,))
    starts[3, 4] = -60.0  # too fast for any engine: it crashes
    runs = simulate(task, LQR(task), starts, np.zeros((4, task.steps, 1)))
    assert list(runs.stayed) == [True, True, True, False]
    page = landings(task, runs, run=1)
    path, fall = page.axes
    crosses = [line for line in path.lines if line.get_marker() == "x"]
    assert [float(line.get_xdata()[0]) for line in crosses] == [runs.states[3, -1, 0]]
    assert any(np.array_equal(line.get_ydata(), runs.states[1, :, 1]) for line in path.lines)
    assert any(np.array_equal(line.get_xdata(), -runs.states[2, :, 4]) for line in fall.lines)
    assert len(path.patches) >= 4  # rockets and their flames
    page.savefig(tmp_path / "landing.png")
    with pytest.raises(InvalidValue, match="run 4 of 4"):
        landings(task, runs, run=4)
