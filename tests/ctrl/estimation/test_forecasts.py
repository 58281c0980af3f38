"""Estimators on tasks with signals known ahead, judged by a scalar Kalman filter that is given the series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ctrl import (
    ExtendedKalmanFilter,
    KalmanFilter,
    NotApplicable,
    OutputFeedback,
    UnscentedKalmanFilter,
    simulate,
)
from ctrl.estimation import Estimator
from ctrl.estimation.output_feedback import standard_estimator
from mpc import LinearMPC, MovingHorizonEstimator
from systems import Gaussian, LinearPlant, Measurement, Quadratic, Task, know_ahead, signals

PLANT = LinearPlant(
    [[-0.5]],
    [[1.0]],
    E=[[0.3, 0.2]],
    state=signals("level [m]"),
    input=signals("pump [V]"),
    disturbance=signals("rain [mm]", "leak [m/s]"),
    input_limits=((-1.0, 1.0),),
)
TASK = Task(
    "tank", PLANT, 0.2, 25, Quadratic(Q=[1], R=[1]), Gaussian([0.4]),
    disturbance=Gaussian({"leak": 0.3}), integrator="exact",
)  # fmt: skip
RNG = np.random.default_rng(3)
PREDICTED, ACTUAL = RNG.normal(size=26), RNG.normal(size=26)
LEVEL = Measurement(signals("level [m]"), noise=Gaussian({"level": 0.1}))
BOTH = Measurement(signals("level [m]", "rain [mm]"), noise=Gaussian({"level": 0.1}))


def known(measurement: Measurement, **options: Any) -> Task:
    return replace(know_ahead(TASK, signals("rain [mm]"), {"rain": PREDICTED}, **options), measurement=measurement)


def scalar_filter(y: np.ndarray, u: np.ndarray, rain: np.ndarray) -> list[float]:
    """The levels of a Kalman filter of the level alone, whose rain is given."""
    a = np.exp(-0.5 * 0.2)
    b = (1 - a) / 0.5
    level, P, levels = 0.0, 0.4**2, []
    for k in range(len(y)):
        if k:
            level = a * level + b * (u[k - 1] + 0.3 * rain[k - 1])
            P = a * a * P + (b * 0.2 * 0.3) ** 2
        gain = P / (P + 0.1**2)
        level, P = level + gain * (y[k] - level), (1 - gain) * P
        levels.append(level)
    return levels


FILTERS = [KalmanFilter, ExtendedKalmanFilter, UnscentedKalmanFilter]


@pytest.mark.parametrize("made", FILTERS)
def test_a_measured_signal_is_believed_and_a_wrong_forecast_is_not(made: Callable[[Task], Estimator]) -> None:
    """No forecast error is declared, and yet the measured rain, which has no noise, replaces the predicted."""
    estimator = made(known(BOTH, actual={"rain": ACTUAL}))
    y, u = RNG.normal(size=20), RNG.uniform(-1, 1, size=20)
    expected = scalar_filter(y, u, ACTUAL)
    for k in range(20):
        estimate = estimator.update(np.array([y[k], ACTUAL[k]]), u[k - 1 : k] if k else np.zeros(1), k)
        np.testing.assert_allclose(estimate.state, [expected[k], ACTUAL[k]], atol=1e-9)


@pytest.mark.parametrize("made", FILTERS)
def test_without_a_sensor_the_forecast_is_taken(made: Callable[[Task], Estimator]) -> None:
    estimator = made(known(LEVEL))
    assert any("predicts rain from the forecast alone" in text for text in estimator.approximations or ())
    assert not any("forecast" in text for text in made(known(BOTH)).approximations or ())
    y, u = RNG.normal(size=20), RNG.uniform(-1, 1, size=20)
    expected = scalar_filter(y, u, PREDICTED)
    for k in range(20):
        estimate = estimator.update(y[k : k + 1], u[k - 1 : k] if k else np.zeros(1), k)
        # The small doubt about the forecast lets the level correct it a little.
        np.testing.assert_allclose(estimate.state, [expected[k], PREDICTED[k]], atol=0.02)


def test_forecast_errors_and_previews_are_part_of_the_estimate() -> None:
    """The deviation of the rain is that of an autoregressive process, and those of previews follow from it."""
    task = known(LEVEL, errors=Gaussian({"rain": 0.5}), persistence=0.6, preview=1)
    estimator, variance = KalmanFilter(task), 0.0
    for k in range(6):
        estimate = estimator.update(np.full(1, np.nan), np.zeros(1), k)
        rain, ahead = task.plant.state.where("rain"), task.plant.state.where("rain_1_ahead")
        assert estimate.covariance is not None
        np.testing.assert_allclose(estimate.state[[rain, ahead]], PREDICTED[k : k + 2], atol=1e-12)
        np.testing.assert_allclose(
            estimate.covariance[np.ix_([rain, ahead], [rain, ahead])], variance * np.array([[1, 0.6], [0.6, 0.36]])
        )
        variance = 0.6**2 * variance + 0.5**2


def test_a_product_with_a_signal_known_ahead_is_left_to_the_extended_filter() -> None:
    base = replace(TASK, disturbance=Gaussian({"leak": 0.1}))
    assert isinstance(standard_estimator(known(BOTH)), KalmanFilter)
    scaled = Measurement(signals("flow [m]"), lambda x, u: (x.level * x.rain,), noise=Gaussian({"flow": 0.1}))
    task = replace(know_ahead(base, signals("rain [mm]"), {"rain": PREDICTED}), measurement=scaled)
    assert isinstance(standard_estimator(task), ExtendedKalmanFilter)


def test_predictive_control_by_measurements_at_a_price() -> None:
    """With good sensors, the loop costs what it does with the state."""
    exact = Measurement(signals("level [m]", "rain [mm]"), noise=Gaussian({"level": 1e-6}))
    task = known(exact, actual={"rain": ACTUAL}, persistence=0.6)
    state, x0 = replace(task, measurement=None), np.array([[0.7, ACTUAL[0]]])
    by_state = simulate(state, LinearMPC(state, 8), x0)
    measured = simulate(task, OutputFeedback(LinearMPC(task, 8), standard_estimator(task)), x0)
    np.testing.assert_allclose(measured.cost, by_state.cost, rtol=1e-4)


def test_estimators_that_take_no_forecast_say_so() -> None:
    with pytest.raises(NotApplicable, match=r"\(rain\), which moving horizon estimation does not support"):
        MovingHorizonEstimator(known(BOTH))
