"""Predictive controllers with forecasts, against linear and quadratic programs written by hand."""

from __future__ import annotations

import dataclasses

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.signal import cont2discrete

from ctrl import NotApplicable, Status, simulate
from ctrl.loop import STATUSES
from mpc import LinearMPC, NonlinearMPC
from mpc.online import OnlineController
from systems import (
    Box,
    Fixed,
    Inequality,
    LinearPlant,
    Nonlinear,
    Plant,
    Task,
    know_ahead,
    signals,
)
from systems.inputs import limit_changes
from systems.library import battery, greenhouse, heat_pump

SOLVED = STATUSES[Status.SOLVED]
CONTROLLERS = [LinearMPC, NonlinearMPC]


def shortened(task: Task, steps: int, start: np.ndarray) -> tuple[Task, np.ndarray]:
    """The first samples of a task, from this state of the inner plant."""
    x = task.initial.mean(task.plant.state).copy()
    x[: len(start)] = start
    return dataclasses.replace(task, steps=steps), x[None]


@pytest.mark.parametrize("make", CONTROLLERS)
@pytest.mark.parametrize("steps", [12])
def test_a_battery_trades_as_the_linear_program_over_the_whole_run(
    make: type[LinearMPC | NonlinearMPC], steps: int
) -> None:
    task, start = shortened(battery(preview=0), steps, np.array([4.0]))
    price = task.plant.forecast.predicted[:steps, 0]  # type: ignore[union-attr]
    low = np.tri(steps)
    effect = np.hstack([0.9**0.5 * low, -low / 0.9**0.5])  # energies after each hour of (charging, discharging)
    c = np.concatenate([price, -price]) - 0.2 * effect[-1]
    A, b = np.vstack([effect, -effect]), np.concatenate([np.full(steps, 13.5 - 4.0), np.full(steps, 4.0)])
    best = linprog(c, A, b, bounds=(0.0, 5.0)).fun - 0.2 * 4.0
    run = simulate(task, make(task, steps), start)
    assert (run.statuses == SOLVED).all()
    assert run.cost[0] == pytest.approx(best, abs=1e-6)
    assert (run.margins <= 1e-6).all()


def test_a_heat_pump_pays_the_bill_of_the_linear_program_over_the_whole_run() -> None:
    steps = 14
    task, start = shortened(heat_pump(preview=0), steps, np.array([20.5, 23.0, 26.0]))
    outside, sun, price, lowest = task.plant.forecast.predicted[: steps + 1].T  # type: ignore[union-attr]
    A = np.array([[-0.7, 0.6, 0.0], [0.6 / 3.5, -0.9 / 3.5, 0.3 / 3.5], [0.0, 1.2, -1.2]])
    B = np.array([[0.0, 0.1, 0.9], [0.0, 0.0, 0.1 / 3.5], [12.0, 0.0, 0.0]])  # of power, outside, sun; per hour
    a, b, *_ = cont2discrete((A, B, np.eye(3), np.zeros((3, 3))), 0.5)
    # Variables: powers, states after each sample, shortfalls of comfort at the samples 0 .. steps - 1.
    u, x, s = cp.Variable(steps), cp.Variable((steps + 1, 3)), cp.Variable(steps, nonneg=True)
    left = (x[steps] - 20.0) @ np.array([1.0, 3.5, 0.25]) * 0.05
    given = np.stack([outside, sun], axis=1)[:steps]
    problem = cp.Problem(
        cp.Minimize(0.5 * price[:steps] @ u + cp.sum(s) - left),
        [
            x[0] == start[0, :3],
            x[1:] == x[:-1] @ a.T + cp.outer(u, b[:, 0]) + given @ b[:, 1:].T,
            u >= 0.0,
            u <= 2.0,
            x[1:, 2] <= 55.0,
            s >= lowest[:steps] - x[:-1, 0],
        ],
    )
    best = problem.solve(solver=cp.CLARABEL)
    for make in CONTROLLERS:
        run = simulate(task, make(task, steps), start)
        assert (run.statuses == SOLVED).all()
        assert run.cost[0] == pytest.approx(best, abs=1e-5)


def hourly_greenhouse(outside: np.ndarray, sun: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Effect (steps,) of the heating of each half hour on the dry mass in the end, and that mass without heating, from
    the solutions of the equations under a constant sun and outside temperature, starting at 0 g/m^2 and 10 degC."""
    steps, h, decay = len(sun), 0.5, np.exp(-0.5)
    mean = 1.0 - decay  # integral over half an hour of the decay of a temperature difference, in K h
    temperature, mass, effect = 10.0, 0.0, np.zeros(steps)
    for k in range(steps):
        mass += 7.5e-5 * sun[k] * (outside[k] * h + (temperature - outside[k]) * mean)
        temperature = outside[k] + (temperature - outside[k]) * decay
        effect[k] = 0.1 * 7.5e-5 * sun[k] * (h - mean)  # in its own half hour
        later = 0.1 * mean * decay ** np.arange(steps - k - 1)  # temperature at the beginning of the later ones
        effect[k] += 7.5e-5 * (sun[k + 1 :] * later).sum() * mean
    return effect, np.array(mass)


@pytest.mark.parametrize("make", CONTROLLERS)
def test_a_greenhouse_is_heated_at_full_power_where_that_pays(make: type[LinearMPC | NonlinearMPC]) -> None:
    # Without temperature limits the program has one variable per half hour, of which each is worth it or is not.
    steps = 32
    task, start = shortened(greenhouse(preview=0), steps, np.array([0.0, 10.0]))
    task = dataclasses.replace(task, constraints=())
    outside, sun, price = task.plant.forecast.predicted[:steps].T  # type: ignore[union-attr]
    effect, mass = hourly_greenhouse(outside, sun)
    gain = 0.1364 * effect - price * 0.5e-3  # EUR/m^2 for 1 W/m^2
    heating = np.where(gain > 0.0, 100.0, 0.0)
    assert 3 < (heating > 0).sum() < steps - 3
    best = -(gain * heating).sum() - 0.1364 * mass
    run = simulate(task, make(task, steps), start)
    assert (run.statuses == SOLVED).all()
    assert run.cost[0] == pytest.approx(best, abs=1e-5)
    clear = np.abs(gain) > 1e-5
    np.testing.assert_allclose(run.inputs[0, clear, 0], heating[clear], atol=1e-2)


def test_a_greenhouse_pays_the_bill_of_the_linear_program_within_its_temperatures() -> None:
    steps = 20
    task, start = shortened(greenhouse(preview=0), steps, np.array([0.0, 9.0]))
    outside, sun, price = task.plant.forecast.predicted[: steps + 1].T  # type: ignore[union-attr]
    decay, h = np.exp(-0.5), 0.5
    mean = 1.0 - decay
    u, x, s = cp.Variable(steps), cp.Variable(steps + 1), cp.Variable(steps, nonneg=True)
    settled = outside[:steps] + 0.1 * u
    mass = 7.5e-5 * sun[:steps] @ (settled * h + (x[:-1] - settled) * mean)
    problem = cp.Problem(
        cp.Minimize(0.5e-3 * price[:steps] @ u + 0.02 * cp.sum(s) - 0.1364 * mass),
        [
            x[0] == 9.0,
            x[1:] == settled + decay * (x[:-1] - settled),
            u >= 0.0,
            u <= 100.0,
            s >= 8.0 - x[:-1],
            s >= x[:-1] - 30.0,
        ],
    )
    best = problem.solve(solver=cp.CLARABEL)
    for make in CONTROLLERS:
        run = simulate(task, make(task, steps), start)
        assert (run.statuses == SOLVED).all()
        assert run.cost[0] == pytest.approx(best, abs=2e-5)
    assert run.states[0, 1:-1, 1].min() == pytest.approx(8.0, abs=1e-3)  # the limit is active


PLANT = LinearPlant(
    [[1.0, 0.3], [0.0, 0.9]],
    [[0.0], [0.5]],
    E=[[0.0], [1.0]],
    dt=0.5,
    state=signals("place [m]", "speed [m/s]"),
    input=signals("push [N]"),
    disturbance=signals("wind [m/s]"),
    input_limits=((-2.0, 2.0),),
)
STEPS, HORIZON, PERSISTENCE = 10, 6, 0.6
RNG = np.random.default_rng(3)
PREDICTED = {
    "wind": RNG.normal(0.0, 0.3, 40),
    "price": RNG.normal(0.0, 1.0, 40),
    "weight": RNG.uniform(0.2, 3.0, 40),
    "target": np.sin(0.4 * np.arange(40)),
    "wall": 0.8 + 0.3 * np.cos(0.5 * np.arange(40)),
}
ACTUAL = {name: series + RNG.normal(0.0, 0.05, 40) for name, series in PREDICTED.items()}
COST = Nonlinear(
    lambda x, u, xr, ur: x.weight * (x.place - x.target) ** 2 + 0.5 * u.push**2 + x.price * u.push + 0.1 * x.speed**2
)


def everything() -> Task:
    """Wind, price, weight, target and wall change with time, and none is quite what was predicted."""
    task = Task("everything", PLANT, 0.5, STEPS, Nonlinear(lambda x, u, xr, ur: 0.0), Fixed([0.2, 0.0]))
    declared = signals("wind [m/s]", "price [-]", "weight [-]", "target [m]", "wall [m]")
    wall = Inequality("wall", lambda x, u: x.place - x.wall).soft(50.0)
    return know_ahead(
        task, declared, PREDICTED, ACTUAL, cost=COST, constraints=(wall,), persistence=PERSISTENCE, preview=1
    )


def input_by_hand(x: np.ndarray, k: int) -> float:
    """The first input of the quadratic program at sample k, from the present values and the forecast."""
    now = {name: series[k] for name, series in ACTUAL.items()}
    path = {
        name: PREDICTED[name][k : k + HORIZON + 1]
        + PERSISTENCE ** np.arange(HORIZON + 1) * (now[name] - PREDICTED[name][k])
        for name in PREDICTED
    }
    z, u, s = cp.Variable((HORIZON + 1, 2)), cp.Variable(HORIZON), cp.Variable(HORIZON + 1, nonneg=True)
    cost = 50.0 * cp.sum(s[1:])
    for j in range(HORIZON):
        cost += path["weight"][j] * cp.square(z[j, 0] - path["target"][j]) + 0.5 * cp.square(u[j])
        cost += path["price"][j] * u[j] + 0.1 * cp.square(z[j, 1])
    rows = [z[0] == x, z[1:, 0] == z[:-1, 0] + 0.3 * z[:-1, 1], cp.abs(u) <= 2.0]
    rows += [z[1:, 1] == 0.9 * z[:-1, 1] + 0.5 * u + path["wind"][:-1], z[1:, 0] - path["wall"][1:] <= s[1:]]
    cp.Problem(cp.Minimize(cost), rows).solve(solver=cp.CLARABEL, tol_gap_rel=1e-10, tol_gap_abs=1e-10)
    return float(u.value[0])


@pytest.mark.parametrize("make", CONTROLLERS)
def test_whatever_changes_with_time_is_predicted_from_forecast_and_present_values(
    make: type[LinearMPC | NonlinearMPC],
) -> None:
    task = everything()
    run = simulate(task, make(task, HORIZON), task.initial.mean(task.plant.state)[None])
    assert (run.statuses == SOLVED).all()
    for k in range(STEPS):
        x = run.states[0, k]
        if k % 3 == 0:
            assert run.inputs[0, k, 0] == pytest.approx(input_by_hand(x[:2], k), abs=2e-5)
        now = {name: series[k] for name, series in ACTUAL.items()}
        u = run.inputs[0, k, 0]
        charged = now["weight"] * (x[0] - now["target"]) ** 2 + 0.5 * u**2 + now["price"] * u + 0.1 * x[1] ** 2
        charged += 50.0 * max(0.0, x[0] - now["wall"])
        assert run.costs[0, k] == pytest.approx(charged, abs=1e-9)
        expected = [x[0] + 0.3 * x[1], 0.9 * x[1] + 0.5 * u + now["wind"]]
        np.testing.assert_allclose(run.states[0, k + 1, :2], expected, atol=1e-12)


def test_an_exact_cost_and_plant_are_not_announced_as_approximate() -> None:
    task = everything()
    assert LinearMPC(task, HORIZON).approximations == ()
    assert NonlinearMPC(task, HORIZON).approximations == ()


@pytest.mark.parametrize("back_end", ["daqp", "hpipm", "piqp"])
def test_every_back_end_gives_the_same_inputs(back_end: str) -> None:
    task = everything()
    controller = LinearMPC(task, HORIZON, solver=back_end)  # type: ignore[arg-type]
    x = task.initial.mean(task.plant.state)
    for k in (0, 3):
        x[2:] = task.plant.forecast.at(k)  # type: ignore[union-attr]
        reference = NonlinearMPC(task, HORIZON).step(x, k).input
        np.testing.assert_allclose(controller.step(x, k).input, reference, atol=1e-5)


@dataclasses.dataclass(frozen=True)
class Heater(Plant):
    """Its efficiency changes with the weather, so a signal multiplies the input."""

    state = signals("warmth [K]")
    input = signals("power [kW]")
    disturbance = signals("gain [K/kWh]")

    def ode(self, x, u, w):  # type: ignore[no-untyped-def]
        return (-0.5 * x.warmth + w.gain * u.power,)

    def limits(self):  # type: ignore[no-untyped-def]
        return {"power": (0.0, 3.0)}


def heater() -> Task:
    cost = Nonlinear(lambda x, u, xr, ur: (x.warmth - xr.warmth) ** 2 + 0.1 * u.power**2)
    task = Task("heater", Heater(), 0.3, 8, cost, Fixed([0.0]))
    task = know_ahead(task, signals("gain [K/kWh]"), {"gain": lambda t: 1.0 + 0.8 * np.sin(2.0 * t)})
    return dataclasses.replace(task, cost=Nonlinear(lambda x, u, xr, ur: (x.warmth - 1.0) ** 2 + 0.1 * u.power**2))


def test_a_signal_may_multiply_the_input() -> None:
    task = heater()
    start = task.initial.mean(task.plant.state)[None]
    linear, nonlinear = (simulate(task, make(task, 5), start) for make in CONTROLLERS)
    np.testing.assert_allclose(linear.inputs, nonlinear.inputs, atol=1e-5)
    assert LinearMPC(task, 5).approximations == ()


def test_limits_on_changes_go_with_forecasts() -> None:
    task = limit_changes(everything(), {"push": 0.6})
    start = task.initial.mean(task.plant.state)[None]
    linear, nonlinear = (simulate(task, make(task, HORIZON), start) for make in CONTROLLERS)
    np.testing.assert_allclose(linear.inputs, nonlinear.inputs, atol=2e-5)
    changes = np.diff(np.concatenate([[0.0], linear.inputs[0, :, 0]]))
    assert np.abs(changes).max() == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("make", CONTROLLERS)
def test_a_new_forecast_replaces_the_old_one(make: type[OnlineController]) -> None:
    task, other = everything(), {**PREDICTED, "price": -PREDICTED["price"]}
    declared = signals("wind [m/s]", "price [-]", "weight [-]", "target [m]", "wall [m]")
    base = Task("everything", PLANT, 0.5, STEPS, Nonlinear(lambda x, u, xr, ur: 0.0), Fixed([0.2, 0.0]))
    changed = know_ahead(
        base, declared, other, cost=COST, constraints=task.constraints, persistence=PERSISTENCE, preview=1
    )
    controller, x = make(task, HORIZON), task.initial.mean(task.plant.state)
    before = controller.step(x, 0).input
    controller.set_plant(changed.plant)
    np.testing.assert_allclose(controller.step(x, 0).input, make(changed, HORIZON).step(x, 0).input, atol=1e-6)
    assert np.abs(controller.step(x, 0).input - before).max() > 1e-3


def test_a_linear_mpc_says_what_it_cannot_take() -> None:
    task = everything()
    with pytest.raises(NotApplicable, match="leave terminal out"):
        LinearMPC(task, HORIZON, terminal="cost")
    concave = Nonlinear(lambda x, u, xr, ur: -(x.place**2) + u.push**2)
    with pytest.raises(NotApplicable, match="not convex in the controller"):
        LinearMPC(dataclasses.replace(task, cost=concave), HORIZON)
    bent = Inequality("disc", lambda x, u: x.place**2 - x.wall)
    with pytest.raises(NotApplicable, match="not affine"):
        LinearMPC(dataclasses.replace(task, constraints=(bent,)), HORIZON)
    nonlinear = dataclasses.replace(task, constraints=(bent, Box("speed", {"speed": (-5.0, 5.0)})))
    assert NonlinearMPC(nonlinear, HORIZON).step(task.initial.mean(task.plant.state), 0).status is Status.SOLVED
