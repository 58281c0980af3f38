"""The rocket obeys mechanics, and its task can be done: by a regulator roughly, by optimisation without violations."""

from __future__ import annotations

import dataclasses

import casadi as ca
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrl import LQR, Decision
from ctrl.check import check_task
from ctrl.loop import simulate
from mpc import NonlinearMPC
from systems import Soft, Task
from systems.library import Rocket, rocket_landing
from systems.library.rocket import CLEARANCE

number = st.floats(-1.0, 1.0)


@pytest.fixture(scope="module")
def task() -> Task:
    return rocket_landing()


def parts(plant: Rocket, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The thrust's vector, N, and the velocity of the point where it acts, from geometry alone."""
    _, _, angle, x_rate, z_rate, rate = x
    along = angle + u[1]
    foot = plant.half_length * np.array([np.sin(angle), -np.cos(angle)])  # from the centre of mass
    return 1e3 * u[0] * np.array([-np.sin(along), np.cos(along)]), np.array([x_rate, z_rate]) + rate * np.array(
        [-foot[1], foot[0]]
    )


@given(x=st.tuples(*[number] * 6), thrust=st.floats(0.0, 400.0), gimbal=number, wind=st.floats(-50.0, 50.0))
def test_energy_grows_by_the_work_of_thrust_and_wind(x, thrust: float, gimbal: float, wind: float) -> None:
    plant = Rocket()
    state, u = np.array(x) * [50, 50, 1, 20, 20, 1], np.array([thrust, gimbal])
    rates = np.array(plant.casadi()(state, u, wind, []))[:, 0]
    energy_rate = (
        plant.mass * (state[3] * rates[3] + state[4] * rates[4] + plant.gravity * rates[1])
        + plant.inertia * state[5] * rates[5]
    )
    force, velocity = parts(plant, state, u)
    assert energy_rate == pytest.approx(force @ velocity + 1e3 * wind * state[3], rel=1e-9, abs=1e-3)


def test_without_thrust_it_falls_as_a_stone_and_keeps_turning(task: Task) -> None:
    step, x = task.dynamics.function(), np.array([1.0, 100.0, 0.1, 2.0, -3.0, 0.2])
    for _ in range(10):
        x = step(x, [0.0, 0.1], 0.0, []).full()[:, 0]
    g, t = task.plant.gravity, 10 * task.dt
    np.testing.assert_allclose(x, [5.0, 94.0 - g * t**2 / 2, 0.5, 2.0, -3.0 - g * t, 0.2], rtol=1e-12)


def test_it_turns_about_the_centre_of_percussion() -> None:
    """A sideways push at the foot of a rod at rest leaves the point at 2/3 of its length still, for an instant."""
    plant = Rocket(gravity=0.0)
    rates = np.array(plant.casadi()(np.zeros(6), [100.0, ca.pi / 2], 0.0, []))[:, 0]
    still = 4.0 / 3.0 * plant.half_length - plant.half_length  # above the centre of mass
    assert rates[3] - still * rates[5] == pytest.approx(0.0, abs=1e-12)  # leaning left moves what is above to the left
    assert rates[3] < 0
    assert rates[5] < 0


@given(x=st.tuples(*[number] * 6), thrust=st.floats(50.0, 400.0), gimbal=number)
def test_left_and_right_are_the_same(x, thrust: float, gimbal: float) -> None:
    f, mirror = Rocket().casadi(), np.array([-1, 1, -1, -1, 1, -1])
    one = np.array(f(np.array(x), [thrust, gimbal], 1.0, []))[:, 0]
    other = np.array(f(mirror * x, [thrust, -gimbal], -1.0, []))[:, 0]
    np.testing.assert_allclose(other, mirror * one, rtol=1e-12, atol=1e-12)


def test_check_finds_nothing(task: Task) -> None:
    report = check_task(task)
    assert report.passed, str(report)
    assert not [check for check in report.checks if not check.passed]


def test_regulator_stabilises_hover(task: Task) -> None:
    x = task.initial.sample(task.plant.state, np.random.default_rng(0), (100,)) / 20.0
    x[:, 1] = np.abs(x[:, 1]) / 2.0
    runs = simulate(task, LQR(task), x, np.zeros((100, task.steps, 1)))
    assert runs.stayed.all()
    assert task.arrived(runs.states[:, -1], task.steps).all()


def test_a_crash_is_charged_for_ever(task: Task) -> None:
    """The engine at its least cannot stop the fall; the run ends at the ground and costs what the impact costs."""
    env = task.env(seed=0)
    env.reset()
    total, last, ended = 0.0, 0.0, False
    for _ in range(task.steps):
        _, last, ended, _, _ = env.step(env.action_space.low)
        total += last
        if ended:
            break
    assert ended
    stage = task.stage_cost_function()
    impact = np.array([0.0, -CLEARANCE, 0.0, 0.0, -25.0, 0.0])  # at no less than the slowest start's speed
    least = float(stage(impact, task.reference.at(task.plant, 0)[1], 0.0, [task.plant.weight, 0.0]))
    assert -last >= task.discount / (1.0 - task.discount) * 0.5 * least


def test_a_touch_of_the_ground_is_an_arrival_if_gentle_upright_and_on_the_pad(task: Task) -> None:
    """The engine hovers; what the first sample ends is charged for the state in which it ends."""
    gentle = np.array([1.0, CLEARANCE * -0.9, 0.02, 0.3, -1.0, 0.0])
    changes = ({}, {"x": 3.5}, {"z_rate": -2.0}, {"angle": 0.2}, {"x_rate": 1.5}, {"angle_rate": 0.3})
    starts = np.tile(gentle, (len(changes), 1))
    for start, change in zip(starts, changes, strict=True):
        for name, value in change.items():
            start[task.plant.state.where(name)] = value

    class Hover:
        def reset(self) -> None: ...

        def step(self, x: np.ndarray, k: int) -> Decision:
            return Decision(np.array([task.plant.weight, 0.0]))  # type: ignore[attr-defined]

    runs = simulate(task, Hover(), starts)
    assert (runs.left == 1).all()
    assert list(task.arrived(runs.states[:, -1], task.steps)) == [True] + [False] * 5


@pytest.mark.parametrize("height", [2.0, 5.0, 20.0])
def test_to_hover_costs_more_than_to_land_roughly_and_to_crash_tens_of_times_that(task: Task, height: float) -> None:
    """So that a learner has a reason to come down, and a crash does not hide it."""
    stage, (x_ref, u_ref) = task.stage_cost_function(), task.reference.at(task.plant, 0)

    def cost(**state: float) -> float:
        x = np.zeros(len(task.plant.state))
        for name, value in state.items():
            x[task.plant.state.where(name)] = value
        return float(stage(x, u_ref, x_ref, u_ref))

    rough = cost(x=1.0, z=-0.6, angle=0.03, x_rate=0.3, z_rate=-0.5, angle_rate=0.005)
    crash = cost(x=20.0, z=-3.0, angle=0.2, x_rate=5.0, z_rate=-25.0, angle_rate=0.05)
    assert rough < cost(z=height) < crash < 100.0 * rough


@pytest.mark.slow
def test_optimisation_lands_without_violations(task: Task) -> None:
    """Where their weight is high: beside the regulator's cost-to-go from afar, what a learner is charged is nothing."""
    expensive = tuple(dataclasses.replace(constraint, requirement=Soft(100.0)) for constraint in task.constraints)
    task = dataclasses.replace(task, constraints=expensive)
    rng = np.random.default_rng(1)
    starts = task.initial.sample(task.plant.state, rng, (2,))
    wind = task.disturbance.sample(task.plant.disturbance, rng, (2, task.steps))
    runs = simulate(task, NonlinearMPC(task), starts, wind)
    assert runs.stayed.all()
    assert task.arrived(runs.states[:, -1], task.steps).all()
    assert runs.margins.max() <= 1e-2
    assert (runs.statuses == 0).mean() >= 0.99
