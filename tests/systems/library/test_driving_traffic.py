"""Traffic against what is known of it: equilibria, decisions made by hand, and long runs without a collision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from systems import InvalidValue
from systems.library import Highway, driving
from systems.library.driving import lane_keeping
from systems.library.driving.drivers import Driver
from systems.library.driving.road import Road
from systems.library.driving.traffic import LENGTH, WIDTH, Vehicle, in_the_way, strongest
from systems.lowering import lower

RIGHT, MIDDLE, LEFT = Road().centres


def scene(plant: Highway, ego: dict[str, float], **others: tuple[float, ...]) -> np.ndarray:
    """A state from the ego's by name and (ahead, lane, speed, desired) of each other vehicle, at rest in its lane."""
    state = dict(ego)
    for name, (ahead, lane, speed, desired) in others.items():
        state |= {f"ahead_{name}": ahead, f"y_{name}": lane, f"lane_{name}": lane}
        state |= {f"speed_{name}": speed, f"desired_{name}": desired}
    return plant.state.array(state)


def after(plant: Highway, x: np.ndarray, samples: int = 1, u: Any = (0.0, 0.0)) -> dict[str, float]:
    f = plant.casadi()
    for _ in range(samples):
        x = f(x, u, 0, []).full()[:, 0]
    return dict(zip(plant.state.names, x, strict=True))


def away(plant: Highway) -> dict[str, float]:
    """An ego that is in nobody's way, at the side of the road."""
    return {"y": plant.road.centres[0] - 10.0, "speed": 20.0}


# ---- geometry ----


@given(d=st.floats(-2000.0, 2000.0), length=st.floats(50.0, 500.0))
def test_ways_round_the_ring(d: float, length: float) -> None:
    road = Road(length=length)
    forward, signed, chord = float(road.forward(d)), float(road.signed(d)), float(road.chord(d))
    slack = 1e-9 * (1.0 + abs(d))
    assert -slack <= forward <= length + slack
    assert abs(signed) <= length / 2 + slack
    turns = (forward - d) / length
    assert turns == pytest.approx(round(turns), abs=1e-9)
    assert abs(chord) <= abs(signed) + slack  # never longer, so that a margin computed from it errs on the safe side
    assert chord**2 == pytest.approx(float(road.chord(d + length)) ** 2, rel=1e-6, abs=1e-6)


@given(y=st.floats(-30.0, 30.0), lanes=st.integers(1, 6))
def test_nearest_lane_is_nearest(y: float, lanes: int) -> None:
    road = Road(lanes=lanes)
    distances = [abs(y - centre) for centre in road.centres]
    assert abs(y - float(road.nearest(y))) <= min(distances) + 1e-9


@given(a=st.tuples(st.floats(-5, 5), st.floats(-5, 5)), b=st.tuples(st.floats(-5, 5), st.floats(-5, 5)))
def test_in_the_way_is_symmetric_and_sure_of_touching_bodies(a, b) -> None:
    one, other = (tuple(sorted(span)) for span in (a, b))
    share = float(in_the_way(one, other))
    assert share == float(in_the_way(other, one))
    assert 0.0 <= share <= 1.0
    apart = max(one[0], other[0]) - min(one[1], other[1])
    if apart <= WIDTH:
        assert share == 1.0
    if apart >= Road().lane_width - 0.5 * WIDTH:  # one lane further, half a vehicle off its middle
        assert share == 0.0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100)), min_size=2, max_size=8))
def test_strongest_are_the_two_largest(pairs) -> None:
    first, second = strongest(*zip(*pairs, strict=True))
    expected = sorted((w * v for w, v in pairs), reverse=True)
    assert [float(first), float(second)] == pytest.approx(expected[:2])


# ---- following ----


@given(speed=st.floats(5.0, 25.0), faster=st.floats(1.05, 2.0))
def test_a_stream_at_the_steady_gap_stays_as_it_is(speed: float, faster: float) -> None:
    driver, desired = Driver(), speed * faster
    gap = driver.steady_gap(speed, desired)
    assert float(driver.follow(speed, desired, driver.brake(speed, 0.0, gap))) == pytest.approx(0.0, abs=1e-12)
    assert driver.steady_desire(speed, gap) == pytest.approx(desired, rel=1e-9)


def test_a_follower_settles_at_the_steady_gap_behind_its_leader() -> None:
    """Alone on a long road, behind the ego, which drives on at 20 m/s."""
    plant = Highway(road=Road(lanes=1, length=2000.0), others=("a",))
    end = after(plant, scene(plant, {"speed": 20.0}, a=(-80.0, 0.0, 26.0, 28.0)), 1500)
    # The ring puts the ego 2 km ahead of itself as well, but only the follower minds.
    assert end["speed_a"] == pytest.approx(20.0, abs=1e-3)
    assert -end["ahead_a"] - LENGTH == pytest.approx(plant.driver.steady_gap(20.0, 28.0), rel=1e-3)


@pytest.mark.slow
def test_alone_a_driver_comes_to_its_desired_speed() -> None:
    plant = Highway(others=("a",))
    assert after(plant, scene(plant, away(plant), a=(50.0, LEFT, 10.0, 22.0)), 600)["speed_a"] == pytest.approx(22.0)


def test_a_stopped_queue_brakes_but_never_backs_up() -> None:
    plant = Highway(road=Road(lanes=1, length=300.0), others=("a",))
    f, x = plant.casadi(), scene(plant, {"speed": 0.0}, a=(-60.0, 0.0, 22.0, 22.0))
    speed, ahead = plant.state.where("speed_a"), plant.state.where("ahead_a")
    for _ in range(300):
        x = f(x, 0, 0, []).full()[:, 0]
        assert x[speed] >= 0.0
    assert x[speed] < 0.05
    assert -x[ahead] - LENGTH >= 0.9 * plant.driver.standstill


# ---- changing lanes: cases decided by hand ----

SLOW, FAST = 15.0, 25.0
CASES: dict[str, tuple[dict[str, tuple[float, ...]], float]] = {
    # a drives at its wish on the middle lane; b, c, d are in its way, or not.
    "free road: stay": ({"b": (100.0, LEFT, 20.0, 20.0)}, MIDDLE),
    "slow leader, left lane empty: change": (
        {"b": (30.0, MIDDLE, SLOW, SLOW), "c": (30.0, RIGHT, SLOW, SLOW)}, LEFT,
    ),
    "slow leader, someone beside on both sides: stay": (
        {"b": (30.0, MIDDLE, SLOW, SLOW), "c": (1.0, LEFT, 20.0, 20.0), "d": (-1.0, RIGHT, 20.0, 20.0)}, MIDDLE,
    ),
    "slow leader, someone fast close behind on the left, right blocked: stay": (
        {"b": (30.0, MIDDLE, SLOW, SLOW), "c": (-12.0, LEFT, 30.0, 30.0), "d": (0.0, RIGHT, 20.0, 20.0)}, MIDDLE,
    ),
    "slow leader, slower ones on both other lanes: stay": (
        {"b": (30.0, MIDDLE, 20.0, 20.0), "c": (25.0, LEFT, SLOW, SLOW), "d": (25.0, RIGHT, SLOW, SLOW)}, MIDDLE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_decisions_made_by_hand(case: str) -> None:
    others, expected = CASES[case]
    plant = Highway(road=Road(length=400.0), others=("a", *others))
    now = after(plant, scene(plant, away(plant), a=(0.0, MIDDLE, 20.0, FAST), **others))
    assert now["lane_a"] == expected


def test_of_two_that_want_one_place_only_one_takes_it() -> None:
    others = {"a": (0.0, LEFT, 20.0, FAST), "b": (0.0, RIGHT, 20.0, FAST)}
    blocks = {"c": (25.0, LEFT, SLOW, SLOW), "d": (25.0, RIGHT, SLOW, SLOW)}
    plant = Highway(road=Road(length=400.0), others=(*others, *blocks))
    now = after(plant, scene(plant, away(plant), **others, **blocks))
    assert sorted([now["lane_a"], now["lane_b"]]) == [RIGHT, MIDDLE]
    for alone in others:  # each of them would, were it not for the other
        plant = Highway(road=Road(length=400.0), others=(alone, *blocks))
        assert after(plant, scene(plant, away(plant), **{alone: others[alone]}, **blocks))[f"lane_{alone}"] == MIDDLE


def test_a_polite_driver_makes_room() -> None:
    """A faster one presses from behind: leaving the lane gains nothing for oneself, but much for the other."""
    others = {"b": (-14.0, MIDDLE, 24.0, 30.0), "c": (60.0, LEFT, 20.0, 20.0), "d": (1.0, RIGHT, 20.0, 20.0)}
    for politeness, expected in ((0.0, MIDDLE), (0.5, LEFT)):
        plant = Highway(road=Road(length=400.0), driver=Driver(politeness=politeness), others=("a", *others))
        assert after(plant, scene(plant, away(plant), a=(0.0, MIDDLE, 20.0, 20.0), **others))["lane_a"] == expected


def test_nobody_cuts_in_on_the_ego() -> None:
    """The ego on the left lane, fast and close behind, has the protection that every follower has."""
    plant = Highway(road=Road(length=400.0), others=("a", "b", "d"))
    slow = {"b": (30.0, MIDDLE, SLOW, SLOW), "d": (0.0, RIGHT, 20.0, 20.0)}
    for ego, expected in (({"y": LEFT, "speed": 30.0}, MIDDLE), (away(plant), LEFT)):
        x = scene(plant, ego, a=(12.0, MIDDLE, 20.0, FAST), **{k: (12.0 + v[0], *v[1:]) for k, v in slow.items()})
        assert after(plant, x)["lane_a"] == expected


# ---- long runs ----


@pytest.fixture(scope="module")
def rollout() -> Callable[..., np.ndarray]:
    """States (samples + 1, runs, n) of the task's traffic with a lane-keeping ego."""
    task = driving()
    plant = task.plant
    assert isinstance(plant, Highway)
    step, law = lower(plant.casadi(), to="numpy"), lower(lane_keeping(plant, 28.0), to="numpy")

    def run(runs: int, samples: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        states = [task.initial.sample(plant.state, rng, (runs,))]
        for _ in range(samples):
            w = task.disturbance.sample(plant.disturbance, rng, (runs,))
            states.append(step(states[-1], law(states[-1]), w, np.zeros(0)))
        return np.stack(states)

    return run


def positions(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Along and across, (..., vehicles), the ego first."""
    nothing = np.zeros_like(x[..., :1])
    return np.concatenate([nothing, x[..., 4::5]], -1), np.concatenate([x[..., :1], x[..., 5::5]], -1)


@pytest.mark.slow
def test_no_collision_and_no_lane_lost_in_three_quarters_of_an_hour(rollout) -> None:
    """16 runs of three minutes: nobody touches anybody, brakes beyond the limit or leaves the lanes."""
    x, length = rollout(16, 1800, seed=0), Road().length
    along, across = positions(x)
    for i in range(along.shape[-1]):
        for j in range(i):
            d = along[..., i] - along[..., j]
            touch = (np.abs(d - length * np.round(d / length)) < LENGTH) & (
                np.abs(across[..., i] - across[..., j]) < WIDTH
            )
            assert not touch.any(), (i, j)
    y, speed, lane, desired = (x[..., k::5] for k in (5, 6, 7, 8))
    assert np.isin(lane[1:], Road().centres).all()
    assert (np.abs(np.diff(lane[1:], axis=0)) <= Road().lane_width).all()  # one lane at a time
    assert (np.abs(y) <= Road().edge).all()
    assert (np.abs(np.diff(y, axis=0)) <= Driver().lateral_speed * 0.1 + 1e-12).all()
    gain = np.diff(speed, axis=0) / 0.1
    assert (gain >= -Driver().hardest_braking - 1e-9).all()
    assert (gain <= Driver().acceleration + 1e-9).all()
    assert (desired == desired[0]).all()
    changes = (np.diff(lane[1:], axis=0) != 0).sum()
    assert changes > 50  # they do change lanes
    # ... and no more than a few times per vehicle and minute, so that nobody weaves.
    assert changes / (16 * 8 * 3.0) < 3.0


def test_all_drivers_are_alike_and_no_place_is_special(rollout) -> None:
    """Renaming the vehicles renames their trajectories; shifting one by a whole turn shifts it and nothing else."""
    plant, x = Highway(), rollout(40, 60, seed=3)[-1]
    step = lower(plant.casadi(), to="numpy")
    u, w, p = np.zeros((40, 2)), np.zeros((40, 8)), np.zeros(0)
    plain = step(x, u, w, p)
    shifted = x.copy()
    shifted[:, 4] += 3 * Road().length
    turned = step(shifted, u, w, p)
    turned[:, 4] -= 3 * Road().length
    np.testing.assert_allclose(turned, plain, atol=1e-9)
    backwards = np.concatenate([np.arange(4), np.arange(4, 44).reshape(8, 5)[::-1].ravel()])
    renamed = step(x[:, backwards], u, w, p)[:, backwards]
    # Drivers decide in the order of their names; where two want one place the other may get it.
    same = (renamed[:, 7::5] == plain[:, 7::5]).all(axis=1)
    assert same.mean() > 0.9
    np.testing.assert_allclose(renamed[same], plain[same], atol=1e-9)


def test_numpy_and_torch_take_the_same_decisions(rollout) -> None:
    torch = pytest.importorskip("torch")
    plant, x = Highway(), rollout(64, 100, seed=5)[::10].reshape(-1, 44)
    rng = np.random.default_rng(0)
    u, w = rng.uniform(*plant.bounds, (len(x), 2)), rng.uniform(-0.5, 0.5, (len(x), 8))
    f = plant.casadi()
    ours = lower(f, to="numpy")(x, u, w, np.zeros(0))
    theirs = lower(f, to="torch")(*(torch.tensor(a) for a in (x, u, w)), torch.zeros(0)).numpy()
    assert np.array_equal(ours[:, 7::5], theirs[:, 7::5])  # which lane, to the last bit
    np.testing.assert_allclose(theirs, ours, rtol=1e-13, atol=1e-12)


@settings(max_examples=40)
@given(data=st.data())
def test_derivatives_are_finite_wherever_vehicles_are(data) -> None:
    plant = Highway(others=("a", "b"))
    f = plant.casadi()
    x, u, _, p = f.sx_in()
    slope = ca.Function("slope", [x, u], [ca.jacobian(f(x, u, np.zeros(2), p), ca.vertcat(x, u))])
    place = st.tuples(st.floats(-150, 150), st.sampled_from([RIGHT, MIDDLE, LEFT]), st.floats(0, 40), st.floats(5, 40))
    ego = {"y": data.draw(st.floats(-5, 5)), "speed": data.draw(st.floats(0, 40))}
    state = scene(plant, ego, a=data.draw(place), b=data.draw(place))
    assert np.isfinite(np.array(slope(state, [0.01, 1.0]))).all()


def test_misuse_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one"):
        Highway(others=())
    with pytest.raises(InvalidValue, match="lane"):
        Road(lanes=0)


def test_a_vehicle_claims_both_lanes_while_it_changes() -> None:
    assert [float(v) for v in Vehicle(ca.SX(0), ca.SX(1.0), ca.SX(20), ca.SX(3.5)).span] == [1.0, 3.5]
