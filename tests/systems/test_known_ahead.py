"""Signals that are known ahead: what the plant meets, what is predicted of it, and what learners are given."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrl import LQR, NotApplicable, OffsetFree, SteadyKalmanFilter, simulate
from ctrl.certify import ClosedLoop
from ctrl.controller import Decision
from ctrl.export import export
from ctrl.laws import SaturatedLinear
from mpc import LinearMPC
from systems import (
    DimensionMismatch,
    Fixed,
    Forecast,
    Gaussian,
    InvalidValue,
    LinearPlant,
    Measurement,
    Nonlinear,
    Quadratic,
    Task,
    Uniform,
    UnknownName,
    know_ahead,
    signals,
)
from systems.inputs import delay_inputs, limit_changes
from systems.library import HeatPump, battery, heat_pump

PLANT = LinearPlant(
    [[-0.5]],
    [[1.0]],
    E=[[0.3]],
    state=signals("level [m]"),
    input=signals("pump [V]"),
    disturbance=signals("rain [mm]"),
    input_limits=((-1.0, 1.0),),
)
TASK = Task("tank", PLANT, 0.2, 12, Quadratic(Q=[1], R=[1]), Fixed([0.5]))
SERIES = np.random.default_rng(1).normal(size=30)
CHARGED = Nonlinear(lambda x, u, xr, ur: x.level**2 + x.rain * u.pump + u.pump**2)


class Constant:
    """A controller that always gives the same input."""

    def __init__(self, value: list[float]) -> None:
        self.value = np.array(value)

    def reset(self) -> None: ...

    def step(self, x: np.ndarray, k: int) -> Decision:
        return Decision(self.value.copy())


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 999), st.floats(0.0, 1.0), st.integers(0, 3), st.integers(1, 2), st.booleans())
def test_the_plant_meets_the_actual_series_and_shows_the_predictions(
    seed: int, persistence: float, preview: int, count: int, errs: bool
) -> None:
    """By the formula of the prediction, written out for each state."""
    rng, steps = np.random.default_rng(seed), TASK.steps
    names = ["rain", "price"][:count]
    predicted = {name: rng.normal(size=steps + 1 + 4) for name in names}
    actual = {name: rng.normal(size=steps + 1) for name in names} if errs else None
    task = know_ahead(
        TASK,
        signals(*names),
        predicted,
        actual,
        persistence=persistence,
        preview=preview,
    )
    run = simulate(task, Constant([0.3]), task.initial.mean(task.plant.state)[None])
    level = 0.5
    a, b = np.exp(-0.1), (1.0 - np.exp(-0.1)) / 0.5
    for k in range(steps + 1):
        x = dict(zip(task.plant.state.names, run.states[0, k], strict=True))
        assert x["level"] == pytest.approx(level, rel=1e-6, abs=1e-6)
        for name in names:
            now = (predicted if actual is None else actual)[name][k]
            assert x[name] == pytest.approx(now, abs=1e-12)
            for i in range(1, preview + 1):
                expected = predicted[name][k + i] + persistence**i * (now - predicted[name][k])
                assert x[f"{name}_{i}_ahead"] == pytest.approx(expected, abs=1e-12)
        level = a * level + b * (0.3 + 0.3 * x["rain"])


def test_predictions_are_what_the_plant_does_if_the_forecast_is_right() -> None:
    task = know_ahead(TASK, signals("rain [mm]"), {"rain": SERIES}, persistence=0.7, preview=2)
    forecast = task.plant.forecast
    assert forecast is not None
    x = np.array([0.0, 3.0, 0.0, 0.0])  # an error of the forecast that persists
    x[2:] = forecast.path(x[1:], 4, 1)[0, 1:]
    predicted = task.reading.window(4, 6, x)[0][:, 1:]
    step = task.dynamics.lower("numpy")
    for j in range(6):
        np.testing.assert_allclose(x[1:], predicted[j], atol=1e-12)
        x = step(x, np.zeros(1), forecast.driving(4 + j), np.zeros(0))


def test_errors_are_drawn_persist_and_are_not_foreseen() -> None:
    task = know_ahead(
        dataclasses.replace(TASK, disturbance=Fixed()),
        signals("rain [mm]", "price [EUR]"),
        {"rain": SERIES, "price": SERIES},
        errors=Gaussian({"rain": 0.5}),
        persistence=0.8,
    )
    w = task.disturbance.sample(task.plant.disturbance, np.random.default_rng(0), (400, task.steps))
    start = np.broadcast_to(task.initial.mean(task.plant.state), (400, 3))
    errors = (
        simulate(task, Constant([0.0]), start, w).states[:, :, 1:]
        - task.reference.at(task.plant, np.arange(task.steps + 1))[0][:, 1:]
    )
    assert np.abs(errors[:, :, 1]).max() < 1e-15
    for k in (1, 4, 12):
        expected = 0.5 * np.sqrt(sum(0.8 ** (2 * i) for i in range(k)))
        assert errors[:, k, 0].std() == pytest.approx(expected, rel=0.15)
    joined = dataclasses.replace(TASK, disturbance=Fixed())
    two = LinearPlant(PLANT.A, PLANT.B, E=[[0.3, 1.0]], state=PLANT.state, input=PLANT.input,
                      disturbance=signals("rain [mm]", "leak"), input_limits=((-1.0, 1.0),))  # fmt: skip
    joined = dataclasses.replace(joined, plant=two, disturbance=Uniform({"leak": -1.0}, {"leak": 2.0}))
    both = know_ahead(joined, signals("rain [mm]"), {"rain": SERIES}, errors=Uniform({"rain": -3.0}, {"rain": 0.0}))
    assert both.plant.disturbance.names == ("leak", "rain_next")
    low, high = both.disturbance.support(both.plant.disturbance)
    assert (low.tolist(), high.tolist()) == ([-1.0, -3.0], [2.0, 0.0])
    assert both.disturbance.mean(both.plant.disturbance).tolist() == [0.5, -1.5]


def test_learners_observe_the_next_values_and_are_charged_the_present_ones() -> None:
    pytest.importorskip("gymnasium")
    task = battery(preview=2)
    assert task.plant.forecast is not None
    f = task.plant.forecast.predicted[:, 0]
    env = task.env()
    names = task.observation_signals.names
    observation, _ = env.reset(seed=0)
    for k in range(5):
        seen = dict(zip(names, observation, strict=True))
        assert [seen[n] for n in ("price", "price_1_ahead", "price_2_ahead")] == pytest.approx(f[k : k + 3], rel=1e-6)
        observation, reward, *_ = env.step(np.array([1.0, 0.25]))
        assert reward == pytest.approx(-0.75 * f[k], rel=1e-5)


def test_many_environments_step_as_one() -> None:
    torch = pytest.importorskip("torch")
    task = heat_pump(preview=1)
    many = task.vector_env(3, seed=1, dtype=torch.float64)
    many.reset()
    many._x[0] = torch.as_tensor(task.initial.mean(task.plant.state))
    task_quiet = dataclasses.replace(task, disturbance=Fixed())
    many._disturbance = type(many._disturbance)(task_quiet.disturbance, task.plant.disturbance, many.model)
    one = task_quiet.env()
    one.reset(options={"state": task.initial.mean(task.plant.state)})
    for _ in range(20):
        step = many.step(torch.full((3, 1), 0.7, dtype=torch.float64))
        _, reward, _, _, info = one.step(np.array([0.7]))
        np.testing.assert_allclose(many.state[0].numpy(), info["state"], atol=1e-9)
        assert float(step.reward[0]) == pytest.approx(reward, abs=1e-9)
    inputs = np.full((20, 1), 0.7)
    rolled = one._model.rollout(task.initial.mean(task.plant.state), inputs)
    np.testing.assert_allclose(rolled.states[-1], info["state"], atol=1e-9)


def test_transformations_of_inputs_carry_the_forecast() -> None:
    known = know_ahead(TASK, signals("rain [mm]"), {"rain": SERIES}, {"rain": SERIES + 1.0}, cost=CHARGED)
    for task in (limit_changes(known, {"pump": 1.0}), delay_inputs(known, {"pump": 0.4})):
        assert task.plant.forecast == known.plant.forecast
        run = simulate(task, Constant([0.1]), task.initial.mean(task.plant.state)[None])
        np.testing.assert_allclose(run.states[0, :, 1], SERIES[:13] + 1.0, atol=1e-12)
        np.testing.assert_array_equal(task.reference.at(task.plant, np.arange(13))[0][:, 1], SERIES[:13])


def test_a_function_of_time_is_its_values() -> None:
    known = know_ahead(TASK, signals("rain [mm]"), {"rain": lambda t: 3.0 * t})
    assert known == know_ahead(TASK, signals("rain [mm]"), {"rain": 3.0 * (0.2 * np.arange(26))})
    assert known != know_ahead(TASK, signals("rain [mm]"), {"rain": 3.1 * (0.2 * np.arange(26))})


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"predicted": {"rain": SERIES[:12]}}, DimensionMismatch, "rain has 12 values; .* need 13"),
        ({"predicted": {"snow": SERIES}}, UnknownName, "snow"),
        ({"predicted": {}}, InvalidValue, "no series of rain"),
        ({"predicted": SERIES}, InvalidValue, "expected a series by signal"),
        ({"predicted": {"rain": np.full(30, np.nan)}}, InvalidValue, "rain"),
        ({"persistence": 1.5}, InvalidValue, "persistence"),
        ({"preview": -1}, InvalidValue, "preview"),
        ({"declared": signals("level [m]"), "predicted": {"level": SERIES}}, InvalidValue, "already has a signal"),
        ({"task": dataclasses.replace(TASK, disturbance=Fixed([1.0]))}, InvalidValue, "draws the disturbance rain"),
        ({"task": know_ahead(TASK, signals("a"), {"a": SERIES})}, InvalidValue, "knows signals ahead already"),
        ({"errors": 0.1}, InvalidValue, "errors"),
    ],
)
def test_misuse(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    given: dict[str, Any] = {"task": TASK, "declared": signals("rain [mm]"), "predicted": {"rain": SERIES}}
    with pytest.raises(error, match=words):
        know_ahead(**{**given, **arguments})


def test_a_forecast_refuses_what_it_is_not() -> None:
    with pytest.raises(InvalidValue, match="no signal"):
        Forecast(signals(), np.zeros((3, 0)))
    with pytest.raises(DimensionMismatch, match=r"expected \(samples, 1\)"):
        Forecast(signals("a"), np.zeros((3, 2)))


def test_readers_of_one_plant_for_all_time_refuse(tmp_path: Any) -> None:
    task = know_ahead(TASK, signals("rain [mm]"), {"rain": SERIES})
    with pytest.raises(NotApplicable, match="known ahead"):
        LQR(task)
    with pytest.raises(NotApplicable, match=r"known ahead|changes with time"):
        ClosedLoop(task, SaturatedLinear(np.zeros((1, 2)), np.zeros(2), np.zeros(1), -np.ones(1), np.ones(1)))
    with pytest.raises(NotApplicable, match="known ahead"):
        export(LinearMPC(task, 3), tmp_path / "c")
    measured = dataclasses.replace(task, measurement=Measurement(signals("level [m]")))
    with pytest.raises(NotApplicable, match=r"known ahead \(rain\)"):
        SteadyKalmanFilter(measured)
    with pytest.raises(NotApplicable, match="offset-free control needs a target that does not move"):
        OffsetFree(LinearMPC(measured, 3), measured)


def test_the_true_plant_may_be_given_before_or_after_transformations() -> None:
    leaky = dataclasses.replace(PLANT, A=[[-0.7]])
    actual = np.random.default_rng(2).normal(size=30)

    def transformed(task: Task) -> Task:
        return limit_changes(know_ahead(task, signals("rain [mm]"), {"rain": SERIES}, {"rain": actual}), {"pump": 1.0})

    before, after = transformed(TASK.with_truth(leaky)), transformed(TASK).with_truth(leaky)
    assert before.truth == after.truth
    x0 = before.initial.mean(before.plant.state)[None]
    runs = [simulate(task, Constant([0.1]), x0) for task in (before, after)]
    np.testing.assert_array_equal(runs[0].states, runs[1].states)
    assert not np.array_equal(runs[0].states, simulate(transformed(TASK), Constant([0.1]), x0).states)
    with pytest.raises(InvalidValue, match="before transformations of the task"):
        transformed(TASK).with_truth(HeatPump())


def test_energy_is_kept_in_the_heated_house() -> None:
    """What goes into air, floor and water is what the pump and the sun give and the walls lose."""
    plant, rng = HeatPump(), np.random.default_rng(0)
    for _ in range(5):
        x, u, w = rng.normal(20.0, 5.0, 3), rng.uniform(0.0, 1.0, 1), rng.normal(1.0, 5.0, 2)
        rates = plant.casadi()(x, u, w, []).full()[:, 0] * 3600.0
        stored = rates @ [plant.room_capacity, plant.floor_capacity, plant.water_capacity]
        gained = plant.performance * u[0] + w[1] - plant.loss * (x[0] - w[0])
        assert stored == pytest.approx(gained)
