"""Moving horizon estimation: the Kalman filter where that is optimal, ipopt where it is not, and bounds."""

from __future__ import annotations

import dataclasses

import casadi as ca
import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrl import LQR, ExtendedKalmanFilter, KalmanFilter, NotApplicable, OutputFeedback, Status, simulate
from ctrl.estimation import Estimator
from mpc import MovingHorizonEstimator
from systems import Box, Gaussian, InvalidValue, LinearPlant, Measurement, Quadratic, Task, Uniform, signals
from systems.library import pendulum
from systems.measurement import Sensors

A = np.array([[1.0, 0.1, 0.0], [-0.05, 0.95, 0.1], [0.0, 0.0, 0.9]])
LINEAR = Task(
    "linear",
    LinearPlant(A, [[0.0], [0.1], [0.2]], [[0.0, 0.0], [0.3, 0.0], [0.1, 0.5]], dt=0.1, input_limits=((-1.0, 1.0),)),
    0.1,
    50,
    Quadratic(Q=[1, 1, 1], R=[1]),
    Gaussian(average=[0.3, 0.0, -0.1], deviation=[0.7, 0.4, 0.3]),
    disturbance=Gaussian({"w1": 0.2, "w2": 0.3}, average=[0.1, 0.0]),
    measurement=Measurement(
        signals("y [-]", "z [-]"),
        lambda x, u: (x.x1 + 0.2 * x.x3 + 0.5 * u.u1, x.x2),
        noise=Gaussian(covariance_matrix=np.array([[0.01, 0.004], [0.004, 0.04]])),
    ),
)
PENDULUM = dataclasses.replace(
    pendulum(),
    domain=None,
    initial=Gaussian({"angle": 0.3, "rate": 0.4}),
    disturbance=Gaussian({"push": 0.05}),
    measurement=Measurement(signals("sine [-]"), lambda x, u: (ca.sin(x.angle),), noise=Gaussian({"sine": 0.05})),
)


def data(task: Task, samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States of one run under random inputs, those inputs before each sample, and the reports."""
    assert task.measurement is not None
    rng, plant = np.random.default_rng(seed), task.plant
    sensors, step = Sensors(task.measurement, plant), task.dynamics.function()
    x, u = task.initial.sample(plant.state, rng), task.reading.start[1]
    states, inputs, outputs = [], [], []
    for k in range(samples):
        states.append(x)
        inputs.append(u)
        outputs.append(sensors.read(x, u, k, task.measurement.sample(rng, rng, ())))
        u = rng.uniform(-0.5, 0.5, len(plant.input))
        x = np.array(step(x, u, task.disturbance.sample(plant.disturbance, rng), []))[:, 0]
    return np.array(states), np.array(inputs), np.array(outputs)


@pytest.mark.parametrize(
    "changes",
    [{}, {"delay": {"y": 2}}, {"every": {"z": 3}, "delay": {"z": 1}}, {"dropout": 0.4}],
    ids=str,
)
@pytest.mark.parametrize("model_error", [(), {"x1": 0.1}], ids=["", "model error"])
def test_without_bounds_it_is_the_kalman_filter(changes: dict[str, object], model_error: object) -> None:
    task = dataclasses.replace(LINEAR, measurement=dataclasses.replace(LINEAR.measurement, **changes))  # type: ignore[type-var]
    _, inputs, reports = data(task, 20)
    moving = MovingHorizonEstimator(task, 5, model_error)  # type: ignore[arg-type]
    kalman = KalmanFilter(task, model_error)  # type: ignore[arg-type]
    for k in range(20):
        one, other = (estimator.update(reports[k], inputs[k], k) for estimator in (moving, kalman))
        assert one.status is Status.SOLVED
        np.testing.assert_allclose(one.state, other.state, atol=1e-8)
        np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-8)
        assert one.used == other.used


def test_a_nonlinear_window_is_the_optimum_that_ipopt_finds() -> None:
    """While the window still holds the first sample, the problem is the most likely trajectory of all."""
    _, inputs, reports = data(PENDULUM, 7, seed=2)
    moving = MovingHorizonEstimator(PENDULUM, 8)
    for k in range(7):
        estimate = moving.update(reports[k], inputs[k], k)
    assert estimate.status is Status.SOLVED
    x, w = ca.MX.sym("x", 2), ca.MX.sym("w", 6)
    step, z, cost = PENDULUM.dynamics.function(), x, (x[0] / 0.3) ** 2 + (x[1] / 0.4) ** 2
    for k in range(7):
        cost += ((reports[k, 0] - ca.sin(z[0])) / 0.05) ** 2
        if k < 6:
            cost += w[k] ** 2
            z = step(z, inputs[k + 1], 0.05 * w[k], [])
    quiet = {"ipopt.print_level": 0, "print_time": False, "ipopt.sb": "yes", "ipopt.tol": 1e-12}
    variables = ca.vertcat(x, w)
    solver = ca.nlpsol("s", "ipopt", {"x": variables, "f": cost}, quiet)
    optimum = solver(x0=0)["x"]
    last = np.array(ca.Function("last", [variables], [z])(optimum))[:, 0]
    np.testing.assert_allclose(estimate.state, last, atol=1e-6)


def test_bounds_of_states_and_supports_of_disturbances_are_kept() -> None:
    """A level that cannot be negative, measured with noise that can."""
    tank = LinearPlant([[0.95]], [[0.1]], [[1.0]], dt=1.0)
    task = Task(
        "tank", tank, 1.0, 50, Quadratic(Q=[1], R=[1]), Gaussian([0.5]), disturbance=Uniform([-0.1], [0.1]),
        measurement=Measurement(signals("x1 [-]"), noise=Gaussian([0.3])), domain=Box("full", {"x1": (0.0, 2.0)}),
    )  # fmt: skip
    moving, free = MovingHorizonEstimator(task, 6), KalmanFilter(task)
    rng = np.random.default_rng(1)
    pairs = []
    for k in range(30):
        y = rng.normal(-0.2, 0.3, 1)
        pairs.append([e.update(y, np.zeros(1), k).state[0] for e in (moving, free)])
    bounded, unbounded = np.array(pairs).T
    assert unbounded.min() < -0.1
    assert bounded.min() > -1e-7
    states = np.array([record.guess[0] for record in moving._records])
    assert np.abs(states[1:] - 0.95 * states[:-1]).max() < 0.1 + 1e-7
    jump = MovingHorizonEstimator(task, 6, bounds=Box("wide", {"x1": (-9.0, 9.0)}))
    jump.update(np.zeros(1), np.zeros(1), 0)
    jump.update(np.full(1, 5.0), np.zeros(1), 1)
    start, end = (record.guess[0] for record in jump._records)
    assert end - 0.95 * start == pytest.approx(0.1, abs=1e-6)  # as far as the disturbance reaches


def test_it_balances_a_pendulum_as_the_extended_filter_does() -> None:
    rng = np.random.default_rng(0)
    x0 = np.array([[0.3, -0.3]])
    w = PENDULUM.disturbance.sample(PENDULUM.plant.disturbance, rng, (1, 60))
    assert PENDULUM.measurement is not None
    v = PENDULUM.measurement.sample(rng, rng, (1, 60))
    makers: list[Estimator] = [MovingHorizonEstimator(PENDULUM, 8), ExtendedKalmanFilter(PENDULUM)]
    costs = [simulate(PENDULUM, OutputFeedback(LQR(PENDULUM), e), x0, w, noise=v).cost[0] for e in makers]
    assert costs[0] == pytest.approx(costs[1], rel=0.05)


NUMBERS = st.one_of(st.floats(), st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e200, 0.0]))
MADE = MovingHorizonEstimator(PENDULUM, 3, max_iterations=5)


@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_no_number_raises_or_gives_nan(rows: list[tuple[float, float]]) -> None:
    MADE.reset()
    for k, (y, u) in enumerate(rows):
        estimate = MADE.update(np.array([y]), np.array([u]), k)
        assert np.isfinite(estimate.state).all()
        assert estimate.covariance is not None
        assert np.isfinite(estimate.covariance).all()


def test_a_solve_that_fails_leaves_the_extended_filter() -> None:
    _, inputs, reports = data(PENDULUM, 5)
    stopped = MovingHorizonEstimator(PENDULUM, 4, time_limit=1e-9)
    extended = ExtendedKalmanFilter(PENDULUM)
    for k in range(5):
        one, other = (e.update(reports[k], inputs[k], k) for e in (stopped, extended))
        assert one.status is Status.TIMEOUT
        np.testing.assert_allclose(one.state, other.state, atol=1e-12)


def test_misuse_and_copies() -> None:
    with pytest.raises(NotApplicable, match="signals without noise"):
        MovingHorizonEstimator(dataclasses.replace(LINEAR, measurement=Measurement(signals("x1 [-]"))))
    with pytest.raises(InvalidValue, match="horizon"):
        MovingHorizonEstimator(LINEAR, 0)
    with pytest.raises(InvalidValue, match="bounds"):
        MovingHorizonEstimator(LINEAR, bounds=(0.0, 1.0))  # type: ignore[arg-type]
    with pytest.raises(NotApplicable, match="no measurement"):
        MovingHorizonEstimator(pendulum())
    one = MovingHorizonEstimator(LINEAR, 4)
    assert one.approximations == ()
    assert "arrival cost" in repr(MovingHorizonEstimator(PENDULUM, 3))
    one.update(np.ones(2), np.zeros(1), 0)
    sent = cloudpickle.loads(cloudpickle.dumps(one))
    one.reset()
    np.testing.assert_array_equal(*(e.update(np.ones(2), np.zeros(1), 0).state for e in (one, sent)))
