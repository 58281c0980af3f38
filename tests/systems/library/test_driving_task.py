"""The driving task: what it shows to a learner, what it asks, and that simple and optimising drivers can drive it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrl import LQR, NotApplicable, Source, Status
from ctrl.loop import simulate
from mpc import NonlinearMPC
from safe_rl.driving import LaneChanging, LaneKeeping
from safe_rl.driving.drivers import EgoDriver
from systems import Task
from systems.constraints import Budget
from systems.discretise import Discretisation
from systems.library import Highway, KinematicCar, cartpole, driving
from systems.library.driving import driving_record
from systems.library.driving.observation import RANGE, comparators
from systems.library.driving.road import Road
from systems.library.driving.traffic import LENGTH, WIDTH
from systems.lowering import lower


@pytest.fixture(scope="module")
def task() -> Task:
    return driving()


@pytest.fixture(scope="module")
def starts(task: Task) -> np.ndarray:
    return task.initial.sample(task.plant.state, np.random.default_rng(0), (2000,))


# ---- the ego ----


def test_the_ego_is_the_kinematic_car(task: Task, starts: np.ndarray) -> None:
    """Its states move as those of the car alone, and the others fall back by the way it drives."""
    car = Discretisation(KinematicCar(), task.dt).function()
    step, names = task.dynamics.function(), task.plant.state.names
    for x in starts[:20]:
        x = np.concatenate([x[:1], [0.02], x[2:]])
        u = [0.03, -2.0]
        own = [0.0, *(x[names.index(name)] for name in KinematicCar.state.names[1:])]
        alone = car(own, u, [], []).full()[:, 0]
        here, still = (step(x, v, np.zeros(8), []).full()[:, 0] for v in (u, [0.0, 0.0]))
        np.testing.assert_allclose([here[names.index(name)] for name in KinematicCar.state.names[1:]], alone[1:])
        difference = car(own, [0.0, 0.0], [], []).full()[0, 0] - alone[0]
        np.testing.assert_allclose(here[4::5] - still[4::5], difference, atol=1e-9)


# ---- constraints ----


@given(
    ahead=st.floats(-100.0, 100.0),
    ours=st.floats(-5.0, 5.0),
    theirs=st.sampled_from(Road().centres),
    turns=st.integers(-3, 3),
)
def test_gap_is_violated_wherever_two_vehicles_touch(ahead: float, ours: float, theirs: float, turns: int) -> None:
    plant = Highway(others=("a",))
    x = plant.state.array({"y": ours, "ahead_a": ahead + turns * plant.road.length, "y_a": theirs, "lane_a": theirs})
    margin = float(MARGIN(x, np.zeros(2))[0])
    if abs(ahead) <= LENGTH and abs(ours - theirs) <= WIDTH:
        assert margin > 0.0
    if abs(ours - theirs) >= 0.75 * plant.road.lane_width or abs(ahead) >= 2.0 * LENGTH:
        assert margin <= 0.0


MARGIN = driving(Highway(others=("a",))).margin_function()


def test_road_and_grip(task: Task) -> None:
    margin = task.margin_function()

    def margins(**state: float) -> np.ndarray:
        far = {f"ahead_{name}": 50.0 for name in "abcdefgh"}
        return margin(task.plant.state.array(far | state), np.zeros(2)).full()[:, 0]

    assert [c.name for c in task.constraints] == ["gap", "road", "grip"]
    assert all(isinstance(c.requirement, Budget) for c in task.constraints)
    assert (margins(y=Road().centres[-1], speed=28.0) <= 0).all()
    assert margins(y=Road().edge - 0.5 * WIDTH)[1] > 0
    wheelbase = KinematicCar().front + KinematicCar().rear
    limit = np.arctan(4.0 * wheelbase / 28.0**2)  # steering at which the lateral acceleration is 4 m/s^2
    for side in (-1.0, 1.0):
        assert margins(speed=28.0, steering=0.99 * side * limit)[2] < 0
        assert margins(speed=28.0, steering=1.01 * side * limit)[2] > 0


def test_leaving_the_road_never_pays(task: Task) -> None:
    """Leaving the road costs more for all future time than standing still on a lane, or any driving."""
    stage = task.stage_cost_function()
    x_ref, u_ref = task.reference.at(task.plant, 0)

    def cost(**state: float) -> float:
        return float(stage(task.plant.state.array({"speed": 28.0} | state), u_ref, x_ref, u_ref))

    outside = [cost(y=Road().edge), cost(y=-Road().edge), cost(heading=0.5), cost(steering=0.2)]
    assert min(outside) > 2.0 * cost(speed=15.0)
    assert cost(speed=0.0) > 2.0 * cost(speed=15.0)


# ---- starts and observation ----


def test_starts_are_spread_over_lanes_and_road(task: Task, starts: np.ndarray) -> None:
    assert np.array_equal(starts[:, 5::5], starts[:, 7::5])  # beside the lane it makes for
    lanes = np.round(starts[:, 7::5] / Road().lane_width).clip(-1, 1)
    share = np.array([(lanes == k).mean() for k in (-1, 0, 1)])
    np.testing.assert_allclose(share, 1.0 / 3.0, atol=0.02)
    along = np.sort(np.concatenate([np.zeros((len(starts), 1)), starts[:, 4::5]], axis=1), axis=1)
    assert np.diff(along, axis=1).min() > 2.0 * LENGTH
    assert (Road().length - along[:, -1]).min() > 2.0 * LENGTH


@pytest.mark.parametrize("n", [2, 3, 5, 8, 9])
def test_comparators_sort_every_order_of_zeros_and_ones(n: int) -> None:
    """... and therefore everything (Knuth's 0-1 principle)."""
    for numbers in itertools.product((0, 1), repeat=n):
        row = list(numbers)
        for i, j in comparators(n):
            assert i < j
            if row[i] > row[j]:
                row[i], row[j] = row[j], row[i]
        assert row == sorted(numbers)


def test_neighbours_are_seen_from_the_nearest_to_the_farthest(task: Task, starts: np.ndarray) -> None:
    observe = lower(task.observe_function(), to="numpy")
    x_ref, _ = task.reference.at(task.plant, 0)
    seen = observe(starts, x_ref)
    names = task.observation_signals.names
    assert len(names) == 7 + 6 * 8
    presence, ahead, aside, approach, heading, closeness = (seen[:, 7 + k :: 6] for k in range(6))
    length = Road().length
    d = starts[:, 4::5] - length * np.round(starts[:, 4::5] / length)
    order = np.argsort(np.abs(d), axis=1)
    sight = np.take_along_axis(np.abs(d), order, 1) <= RANGE
    assert np.array_equal(presence, sight)
    for found, expected in (
        (ahead, d),
        (aside, starts[:, 5::5] - starts[:, :1]),
        (approach, starts[:, 6::5] - starts[:, 2:3]),
    ):
        np.testing.assert_allclose(found, np.where(sight, np.take_along_axis(expected, order, 1), 0.0), atol=1e-12)
    assert (heading[~sight] == 0.0).all()
    margins = lower(task.margin_function(), to="numpy")(starts, np.zeros((len(starts), 2)))
    np.testing.assert_allclose(closeness.max(axis=1), 1.0 / (2.0 - margins[:, 0]))
    assert np.abs(heading).max() < 0.1
    np.testing.assert_allclose(seen[:, 0], starts[:, 2] - 28.0)


def test_heading_of_a_neighbour_is_that_of_its_motion(task: Task, starts: np.ndarray) -> None:
    """Lateral way over way along the road, at the speed before the sample."""
    step, observe = task.dynamics.lower("numpy"), lower(task.observe_function(), to="numpy")
    x_ref, u_ref = task.reference.at(task.plant, 0)
    x = starts[:, :]
    after = step(x, np.tile(u_ref, (len(x), 1)), np.zeros((len(x), 8)), np.zeros(0))
    course = np.arctan2(after[:, 5::5] - x[:, 5::5], x[:, 6::5] * task.dt)
    seen = observe(x, x_ref)[:, 11::6]
    d = np.abs(x[:, 4::5] - Road().length * np.round(x[:, 4::5] / Road().length))
    order = np.argsort(d, axis=1)
    expected = np.where(np.sort(d, axis=1) <= RANGE, np.take_along_axis(course, order, 1), 0.0)
    # A start between two lanes may choose another lane at once; nearly all do not.
    assert np.isclose(seen, expected, atol=1e-9).mean() > 0.97


# ---- driving it ----


def test_lane_keeping_keeps_lane_and_distance(task: Task, starts: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    w = task.disturbance.sample(task.plant.disturbance, rng, (64, task.steps))
    runs = simulate(task, LaneKeeping(task), starts[:64], w)
    assert runs.stayed.all()
    assert runs.margins.max() <= 0.0
    assert np.abs(runs.states[..., 0]).max() < 0.5
    assert runs.states[:, -1, 2].mean() > 18.0  # it does not dawdle


def test_lane_keeping_returns_to_the_middle_as_designed(task: Task) -> None:
    """Alone on the road, 1 m off: critically damped with both rates 0.5 / s, up to the lag of the steering."""
    plant = Highway(others=("a",))
    alone = driving(plant)
    x = plant.state.array({"y": 1.0, "speed": 28.0, "ahead_a": 100.0, "speed_a": 28.0, "desired_a": 28.0})
    run = simulate(alone, LaneKeeping(alone), x[None], np.zeros((1, 150, 1)))
    t = 0.1 * np.arange(151)
    np.testing.assert_allclose(run.states[0, :, 0], (1.0 + 0.5 * t) * np.exp(-0.5 * t), atol=0.08)


@pytest.mark.slow
def test_lane_changing_is_faster_and_keeps_its_distance(task: Task, starts: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    w = task.disturbance.sample(task.plant.disturbance, rng, (64, task.steps))
    changing, keeping = (simulate(task, law(task), starts[:64], w) for law in (LaneChanging, LaneKeeping))
    assert changing.margins.max() <= 0.0
    assert changing.cost.mean() < 0.6 * keeping.cost.mean()
    assert driving_record(task, changing).lane_changes > 1.0


@pytest.mark.parametrize(("taken", "passes"), [(False, True), (True, False)], ids=["free", "taken"])
def test_lane_changing_passes_where_the_next_lane_is_free(taken: bool, passes: bool) -> None:
    """Two lanes, a slow vehicle ahead; beside it another one, or nobody."""
    plant = Highway(others=("a", "b"), road=Road(lanes=2))
    task, ahead = driving(plant), plant.state.where("ahead_a")
    right, left = plant.road.centres
    state = {
        "y": right,
        "speed": 24.0,
        "ahead_a": 40.0,
        "y_a": right,
        "lane_a": right,
        "ahead_b": 38.0 if taken else 130.0,
    }
    state |= {"y_b": left, "lane_b": left} | {f"{what}_{v}": 17.0 for what in ("speed", "desired") for v in "ab"}
    x, w = plant.state.array(state), np.zeros((1, 80, 2))
    run = simulate(task, LaneChanging(task), x[None], w)
    assert (run.states[0, -1, ahead] < -LENGTH) == passes
    assert run.margins.max() <= 0.0


@pytest.mark.parametrize("driver", [LaneKeeping, LaneChanging])
def test_ego_drivers_never_fail_and_refuse_other_plants(task: Task, driver: type[EgoDriver]) -> None:
    law = driver(task)
    for x in (np.full(44, np.nan), np.full(44, np.inf), np.full(44, 1e300), -np.full(44, 1e200), np.zeros(44)):
        decision = law.step(x, 0)
        assert np.isfinite(decision.input).all()
        lower_bound, upper_bound = task.input_bounds
        assert ((decision.input >= lower_bound) & (decision.input <= upper_bound)).all()
        if not np.isfinite(x).all():
            assert decision.status is Status.NUMERICAL
            assert decision.source is Source.BACKUP
    with pytest.raises(NotApplicable, match="no lane"):
        driver(cartpole())
    with pytest.raises(NotApplicable):
        LQR(task)


@pytest.mark.slow
def test_nonlinear_mpc_overtakes(task: Task) -> None:
    """Behind a slow driver who would not make room: optimisation passes, lane keeping stays behind."""
    plant = Highway(others=("a", "b"))
    small = driving(plant)
    state = {"y": 0.1, "speed": 24.0, "ahead_a": 30.0, "speed_a": 17.0, "desired_a": 17.0}
    state |= {"ahead_b": 40.0, "y_b": -3.5, "lane_b": -3.5, "speed_b": 17.0, "desired_b": 17.0}
    x, w = plant.state.array(state), np.zeros((1, 80, 2))
    optimal = simulate(small, NonlinearMPC(small, horizon=20, max_iterations=100), x[None], w)
    keeping = simulate(small, LaneKeeping(small), x[None], w)
    assert (optimal.statuses == STATUSES.index(Status.SOLVED)).mean() >= 0.9
    assert optimal.margins.max() <= 1e-3
    assert optimal.cost[0] < 0.6 * keeping.cost[0]
    ahead = plant.state.where("ahead_a")
    assert optimal.states[0, -1, ahead] < -LENGTH < LENGTH < keeping.states[0, -1, ahead]


STATUSES = tuple(Status)


@pytest.mark.slow
def test_nonlinear_mpc_drives_in_full_traffic(task: Task, starts: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    w = task.disturbance.sample(task.plant.disturbance, rng, (2, 150))
    runs = simulate(task, NonlinearMPC(task, horizon=15, max_iterations=60), starts[:2], w)
    assert (runs.statuses == STATUSES.index(Status.SOLVED)).mean() >= 0.95
    assert runs.margins.max() <= 0.05  # it plans without the others' inattention
    assert runs.stayed.all()


def test_a_batch_of_environments_drives_as_one(task: Task) -> None:
    torch = pytest.importorskip("torch")
    env = task.vector_env(64, seed=1, dtype=torch.float64)
    law, first = LaneKeeping(task), env.reset()
    assert first.shape == (64, 55)
    total = torch.zeros(64, dtype=torch.float64)
    for k in range(50):
        transition = env.step(torch.tensor(law.batch(env.state.numpy(), k)))
        total += transition.reward
        assert not transition.cost.any()
        assert not transition.terminated.any()
    assert torch.isfinite(total).all()
    assert (total < 0).all()
