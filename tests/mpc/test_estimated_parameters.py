"""Parameters of a plant that are estimated along with its state, and the adaptive control that uses them."""

from __future__ import annotations

import dataclasses
import functools
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from ctrl import ExtendedKalmanFilter, UnscentedKalmanFilter, compare
from ctrl.check import check_controller
from ctrl.estimation import Estimator
from mpc import MovingHorizonEstimator, NonlinearMPC, ParameterAdaptiveMPC
from systems import (
    Box,
    Fixed,
    Gaussian,
    InvalidValue,
    Measurement,
    Plant,
    Quadratic,
    Task,
    UnknownName,
    estimate_parameters,
    positive,
    signals,
)
from systems.measurement import Sensors
from systems.signals import Vector


@dataclass(frozen=True)
class Cart(Plant):
    """mass speed' = force - drag speed."""

    mass: float = positive(1.0)  # kg
    drag: float = positive(0.2)  # N s/m

    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")
    disturbance = signals("wind [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return x.speed, (u.force + w.wind - self.drag * x.speed) / self.mass

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"force": (-5.0, 5.0)}


TASK = Task(
    "cart", Cart(), 0.1, 60, Quadratic({"position": 5.0, "speed": 0.1}, {"force": 0.05}),
    Gaussian({"position": 0.1, "speed": 0.1}, {"position": 1.0}),
    disturbance=Gaussian({"wind": 0.05}),
    measurement=Measurement(signals("position [m]"), noise=Gaussian({"position": 0.01})),
)  # fmt: skip
MASS = {"mass": (0.4, 2.0)}


@dataclass(frozen=True)
class Valve(Plant):
    """level' = gain * opening: the only unknown is a factor of what is known."""

    gain: float = 1.0

    state = signals("level [m]")
    input = signals("opening [-]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (self.gain * u.opening,)


@pytest.mark.parametrize(
    "make", [ExtendedKalmanFilter, UnscentedKalmanFilter, functools.partial(MovingHorizonEstimator, horizon=20)]
)
def test_a_factor_is_estimated_as_by_bayesian_linear_regression(make: Any) -> None:
    noise, interval, dt = 0.05, (-1.0, 4.0), 0.5
    measurement = Measurement(signals("level [m]"), noise=Gaussian({"level": noise}))
    task = Task("valve", Valve(), dt, 20, Quadratic([1], [1]), Fixed([0.3]), measurement=measurement)
    estimator = make(estimate_parameters(task, {"gain": interval}, drift={"gain": 0.0}))
    rng, regressor, gain = np.random.default_rng(0), 0.0, 1.7
    precision, weighted = 1 / (0.25 * 5.0) ** 2, 1.0 / (0.25 * 5.0) ** 2
    u = np.zeros(1)
    for k in range(15):
        regressor += dt * u[0] if k else 0.0
        y = 0.3 + gain * regressor + noise * rng.normal()
        estimate = estimator.update(np.array([y]), u, k)
        precision += regressor**2 / noise**2
        weighted += regressor * (y - 0.3) / noise**2
        assert estimate.state[1] == pytest.approx(weighted / precision, abs=1e-6)
        assert estimate.covariance[1, 1] == pytest.approx(1 / precision, rel=1e-6)
        u = rng.uniform(-1.0, 1.0, 1)


@pytest.mark.parametrize(("make", "runs"), [(ExtendedKalmanFilter, 200), (UnscentedKalmanFilter, 60)])
def test_errors_of_state_and_mass_lie_within_their_covariance(make: Any, runs: int) -> None:
    steps = 25
    task = estimate_parameters(TASK, {"mass": (0.8, 1.2)})
    estimator, sensors = make(task), Sensors(task.measurement, task.plant)  # type: ignore[arg-type]
    step, rng = task.dynamics.lower("numpy"), np.random.default_rng(1)
    x = task.initial.sample(task.plant.state, rng, (runs,))
    u = rng.uniform(-5.0, 5.0, (steps, 1))
    w = task.disturbance.sample(task.plant.disturbance, rng, (steps, runs))
    states = [x]
    for k in range(steps - 1):
        states.append(step(states[-1], np.broadcast_to(u[k], (runs, 1)), w[k], np.zeros(0)))
    nees, spread = np.zeros(runs), 0.0
    for i in range(runs):
        estimator.reset()
        sensors.reset()
        for k in range(steps):
            before = u[k - 1] if k else np.zeros(1)
            y = sensors.read(states[k][i], before, k, rng.normal(0.0, 0.01, 1))
            estimate = estimator.update(y, before, k)
        error = estimate.state - states[-1][i]
        nees[i] = error @ np.linalg.solve(estimate.covariance, error)
        spread += estimate.covariance[2, 2] ** 0.5 / runs
    low, high = chi2.ppf([0.025, 0.975], 3 * runs) / runs
    assert low < nees.mean() < high
    assert spread < 0.25 * 0.1  # the mass is known four times better than at first


def heavy() -> Task:
    return TASK.with_truth(Cart(mass=1.8))


@pytest.mark.parametrize(
    "estimator", [ExtendedKalmanFilter, UnscentedKalmanFilter, functools.partial(MovingHorizonEstimator, horizon=8)]
)
def test_a_wrong_mass_is_recovered_and_used(estimator: Any) -> None:
    task = dataclasses.replace(heavy(), steps=40)
    controller = ParameterAdaptiveMPC(task, MASS, None, estimator, functools.partial(NonlinearMPC, horizon=12))
    comparison = compare(task, {"adaptive": controller}, starts=1, workers=1)
    assert comparison.metrics["adaptive"].estimation_error["position"] < 0.02
    both = controller.estimator.update(np.full(1, np.nan), np.zeros(1), task.steps).state
    assert both[2] == pytest.approx(1.8, rel=0.1)
    assert controller.parameters == pytest.approx([1.8], rel=0.1)
    controller.reset()
    np.testing.assert_array_equal(controller.parameters, [1.0])


def test_predictions_use_the_estimated_mass() -> None:
    task = dataclasses.replace(TASK, steps=20)
    fast = functools.partial(NonlinearMPC, horizon=10)
    controller = ParameterAdaptiveMPC(task, MASS, predictive=fast)
    for k, y in enumerate((0.8, 0.79, np.nan, 0.7)):
        decision = controller.step(np.array([y]), k)
        assert controller.estimate is not None
        expected = fast(task, parameters=("mass",))
        expected.set_parameters(controller.parameters)
        assert decision.input == pytest.approx(expected.step(controller.estimate.state, k).input, abs=1e-4)
    assert controller.parameters[0] != 1.0
    assert controller.estimate.state.shape == (2,)
    assert any("takes the estimates of mass for exact" in said for said in controller.approximations or ())
    copied = pickle.loads(pickle.dumps(controller))
    assert isinstance(copied.estimator, Estimator)
    assert check_controller(controller, task).passed


def test_estimates_beyond_the_interval_are_not_given_to_the_controller() -> None:
    controller = ParameterAdaptiveMPC(TASK, {"mass": (0.9, 1.1)}, predictive=functools.partial(NonlinearMPC, horizon=5))
    for k in range(12):  # hardly moves, as if it weighed a ton
        controller.step(np.array([1.0]), k)
        assert 0.9 <= controller.parameters[0] <= 1.1


def test_the_domain_holds_the_intervals() -> None:
    task = estimate_parameters(dataclasses.replace(TASK, domain=Box("d", {"speed": (-9.0, 9.0)})), MASS)
    assert task.plant.state.names == ("position", "speed", "mass")
    assert task.domain is not None
    assert task.domain.bounds["mass"] == (0.4, 2.0)
    assert task.domain.bounds["speed"] == (-9.0, 9.0)
    same = TASK.dynamics.function()([0.1, 0.2], [0.3], [0.4], []).full()
    after = task.dynamics.function()([0.1, 0.2, 1.0], [0.3], [0.4, 0.05], []).full()
    np.testing.assert_allclose(after, np.vstack([same, [[1.05]]]))
    drift = np.sqrt(np.diag(task.disturbance.covariance(task.plant.disturbance)))
    np.testing.assert_allclose(drift, [0.05, 0.0016])


@pytest.mark.parametrize(
    ("intervals", "drift", "error", "message"),
    [
        ({"weight": (1.0, 2.0)}, None, UnknownName, "weight"),
        ({"mass": (1.5, 2.0)}, None, InvalidValue, "around its value"),
        ({"mass": (2.0, 0.5)}, None, InvalidValue, "lowest value before"),
        ({"mass": 1.0}, None, InvalidValue, r"expected \(lowest, highest\)"),
        ({}, None, InvalidValue, "intervals by name"),
        (MASS, {"mass": -1.0}, InvalidValue, "drift of mass"),
        (MASS, {"drag": 0.1}, UnknownName, "estimated parameter"),
    ],
)
def test_misuse_is_refused(intervals: Any, drift: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        estimate_parameters(TASK, intervals, drift)


def test_a_task_without_a_measurement_is_refused() -> None:
    with pytest.raises(InvalidValue, match="has no measurement"):
        estimate_parameters(dataclasses.replace(TASK, measurement=None), MASS)
    with pytest.raises(InvalidValue, match="expected a factory of estimators"):
        ParameterAdaptiveMPC(TASK, MASS, estimator=lambda task: None)  # type: ignore[arg-type, return-value]
