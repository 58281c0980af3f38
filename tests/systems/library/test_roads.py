"""Roads: the reset keeps the car where it is in the world; the car's equations against circles and limits."""

from __future__ import annotations

import numpy as np
import pytest

from systems import InvalidValue
from systems.hybrid import simulate_hybrid
from systems.library.road_car import RoadCar
from systems.library.roads import Segment, random_road, road_system


def pose(start: np.ndarray, curvature: float, travelled: float, offset: float, angle: float) -> np.ndarray:
    """Place and heading (3,) in the world of a car on a segment that starts at a pose (3,)."""
    x, y, heading = start
    along = heading + curvature * travelled
    if curvature:
        x += (np.sin(along) - np.sin(heading)) / curvature
        y += (np.cos(heading) - np.cos(along)) / curvature
    else:
        x, y = x + travelled * np.cos(heading), y + travelled * np.sin(heading)
    return np.array([x - offset * np.sin(along), y + offset * np.cos(along), along + angle])


def test_the_reset_keeps_the_car_where_it_is() -> None:
    first = Segment(20.0, 1.0, 0.02, 12.0, turn=0.15, shift=0.4)
    road = (first, Segment(30.0, 0.3, 0.0, 10.0))
    run = simulate_hybrid(
        road_system(road), "0", np.array([-0.3, 0.1, 12.0, 0.0]), lambda m, x, k: np.array([2.0, 0.0]), 60, 0.05
    )
    (switch,) = run.switches
    end = pose(np.zeros(3), 0.02, 20.0, first.shift, first.turn)  # where the second segment starts
    before, after = switch.before, switch.after
    assert before[3] == pytest.approx(20.0, abs=1e-9)
    here = pose(np.zeros(3), 0.02, before[3], before[0], before[1])
    np.testing.assert_allclose(pose(end, 0.0, after[3], after[0], after[1]), here, atol=1e-9)
    assert after[2] == before[2]


def test_a_car_that_does_not_turn_drives_straight_in_the_world() -> None:
    system = road_system((Segment(50.0, 1.0, 0.025, 12.0), Segment(1.0, 1.0, 0.0, 12.0)))
    run = simulate_hybrid(system, "0", np.array([0.0, 0.1, 10.0, 0.0]), lambda m, x, k: np.zeros(2), 20, 0.05)
    offset, angle, speed, travelled = run.states[-1]
    np.testing.assert_allclose(
        pose(np.zeros(3), 0.025, travelled, offset, angle),
        [10.0 * np.cos(0.1), 10.0 * np.sin(0.1), 0.1],
        atol=1e-6,
    )
    assert speed == 10.0


def test_the_accelerations_stay_within_the_friction_circle() -> None:
    lower, upper = RoadCar(friction=0.3).bounds
    assert np.hypot(*upper) <= 0.3 * 9.81
    np.testing.assert_allclose(upper, [0.9 * 0.3 * 9.81, 0.4 * 0.3 * 9.81])
    np.testing.assert_array_equal(lower, -upper)


def test_random_roads_post_only_given_speeds() -> None:
    speeds = {(1.0, 0.0): (12.0, 14.0), (0.3, 0.025): (8.0,)}
    road = random_road(np.random.default_rng(0), speeds, 50)
    assert len(road) == 50
    assert {(s.friction, s.curvature) for s in road} == set(speeds)
    assert all(s.speed in speeds[s.friction, s.curvature] for s in road)


def test_a_segment_without_length_is_refused() -> None:
    with pytest.raises(InvalidValue, match="Segment: length"):
        Segment(0.0, 1.0, 0.0, 10.0)
    with pytest.raises(InvalidValue, match="without segments"):
        road_system(())
