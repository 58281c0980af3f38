"""What sensors report, signal by signal and sample by sample."""

from __future__ import annotations

import dataclasses

import casadi as ca
import numpy as np
import pytest

from systems import (
    DimensionMismatch,
    Fixed,
    Gaussian,
    InvalidValue,
    LinearPlant,
    Measurement,
    Observation,
    Quadratic,
    SetPoint,
    Task,
    Uniform,
    UnknownName,
    signals,
)
from systems.describe import describe, fingerprint
from systems.library import pendulum
from systems.measurement import Sensors

PLANT = LinearPlant([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]], dt=0.1, input_limits=((-1.0, 1.0),))
TASK = Task("rail", PLANT, 0.1, 20, Quadratic(Q=[1, 1], R=[1]), Fixed([0.5, 0.0]))
BOTH = Measurement(signals("x1 [-]", "sum [-]"), lambda x, u: (x.x1, x.x1 + x.x2 + 10.0 * u.u1))


def reports(measurement: Measurement, samples: int, noise: np.ndarray | None = None) -> np.ndarray:
    """Of the states (k, 100 k) and the inputs k / 10 before each sample."""
    sensors = Sensors(measurement, PLANT)
    sensors.reset()
    return np.array(
        [
            sensors.read(np.array([k, 100.0 * k]), np.array([0.1 * k]), k, 0.0 if noise is None else noise[k])
            for k in range(samples)
        ]
    )


def test_outputs_are_the_expression_of_the_state_and_the_input_before() -> None:
    k = np.arange(4.0)
    np.testing.assert_allclose(reports(BOTH, 4), np.c_[k, 102.0 * k])
    np.testing.assert_allclose(reports(Measurement(signals("x2 [-]")), 4), 100.0 * k[:, None])


def test_delays_and_sample_times_of_each_signal() -> None:
    late = dataclasses.replace(BOTH, delay={"sum": 2}, every={"x1": 3, "sum": 2})
    nan = np.nan
    expected = [[0, nan], [nan, nan], [nan, 0], [3, nan], [nan, 204], [nan, nan], [6, 408], [nan, nan]]
    np.testing.assert_array_equal(reports(late, 8), np.array(expected, dtype=float))


def test_a_value_that_is_late_is_one_that_was_taken_on_time() -> None:
    plant = LinearPlant([[0.0]], [[1.0]])
    sensors = Sensors(Measurement(signals("x1 [-]"), delay=2, every=3), plant)
    reported = [float(sensors.read(np.array([10.0 * k]), np.zeros(1), k)[0]) for k in range(9)]
    np.testing.assert_array_equal(reported, [np.nan, np.nan, 0, np.nan, np.nan, 30, np.nan, np.nan, 60])


def test_noise_is_added_before_rounding_and_a_lost_value_is_not_reported() -> None:
    noise = np.array([[0.4, 0.0], [np.nan, 0.0], [0.2, np.inf]])
    rounded = dataclasses.replace(BOTH, quantum={"x1": 0.5})
    np.testing.assert_array_equal(reports(rounded, 3, noise), [[0.5, 0.0], [np.nan, 102.0], [2.0, np.nan]])
    assert rounded.covariance == pytest.approx(np.diag([0.25 / 12, 0.0]))


def test_the_noise_of_a_run_does_not_depend_on_its_losses() -> None:
    given = Measurement(signals("x1 [-]"), noise=Uniform([-1.0], [1.0]))
    lossy = dataclasses.replace(given, dropout=0.3)
    one, other = (m.sample(*map(np.random.default_rng, (1, 2)), (4000, 5)) for m in (given, lossy))
    lost = np.isnan(other)
    np.testing.assert_array_equal(one[~lost], other[~lost])
    assert lost.mean() == pytest.approx(0.3, abs=0.02)
    assert not np.isnan(one).any()


def test_misuse_is_refused_where_it_is_written() -> None:
    one = signals("x1 [-]")
    for wrong in (
        {"delay": -1}, {"delay": 0.5}, {"every": 0}, {"every": {"x1": 1.5}}, {"quantum": -0.1}, {"dropout": 1.0},
        {"dropout": [0.1, 0.2]}, {"delay": "2"}, {"noise": 0.1}, {"delay": {"x2": 1}}, {"noise": Gaussian({"x2": 1.0})},
    ):  # fmt: skip
        with pytest.raises((InvalidValue, DimensionMismatch, UnknownName)):
            Measurement(one, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="without signals"):
        Measurement(signals())
    for bad, message in (
        (Measurement(signals("angle [rad]")), "angle"),
        (Measurement(one, lambda x, u: (x.x1, x.x2)), "2 numbers for 1"),
        (Measurement(one, lambda x, u: (ca.SX.sym("a"),)), "neither state nor input"),
        (Measurement(one, lambda x, u: (float(x.x1),)), "NaN"),
    ):
        with pytest.raises((InvalidValue, UnknownName), match=message):
            dataclasses.replace(TASK, measurement=bad)
    with pytest.raises(InvalidValue, match="measurement = 1"):
        dataclasses.replace(TASK, measurement=1)  # type: ignore[arg-type]


def test_the_measurement_belongs_to_what_a_task_says() -> None:
    def with_factor(factor: float) -> Task:
        return dataclasses.replace(TASK, measurement=Measurement(signals("y [-]"), lambda x, u: (factor * x.x1,)))

    assert with_factor(2.0) == with_factor(2.0) != with_factor(3.0)
    assert len({fingerprint(task) for task in (TASK, with_factor(2.0), with_factor(3.0))}) == 3
    assert describe(with_factor(2.0))["measurement"]["expression"] == "(2.*x1)"
    assert "measurement" not in describe(TASK)


def test_gymnasium_observes_what_is_measured_and_holds_it() -> None:
    measurement = Measurement(signals("angle [rad]", "late [rad]"), lambda x, u: (x.angle, x.angle), delay={"late": 2})
    task = dataclasses.replace(pendulum(), measurement=measurement, reference=SetPoint({"angle": 0.0}))
    env = task.env()
    first, _ = env.reset(seed=1, options={"state": [0.3, 1.0]})
    seen, states = [first], [0.3]
    for _ in range(3):
        observation, _, _, _, info = env.step(np.zeros(1))
        seen.append(observation)
        states.append(info["state"][0])
    np.testing.assert_allclose(np.array(seen)[:, 0], states, rtol=1e-6)
    np.testing.assert_allclose(np.array(seen)[:, 1], [0.0, 0.0, states[0], states[1]], rtol=1e-6)
    motor = dataclasses.replace(task, measurement=Measurement(signals("torque [N m]"), lambda x, u: u.torque))
    env = motor.env()
    assert env.reset(seed=1)[0] == 0.0
    assert env.step(np.array([5.0]))[0] == 0.75  # as the actuator applies it
    observed = Observation(signals("a [-]"), lambda x, xr: x.angle)
    with pytest.raises(InvalidValue, match="leave out one"):
        dataclasses.replace(task, observation=observed).env()
