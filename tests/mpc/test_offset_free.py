"""Offset-free control: no offset under a biased plant with every controller, which each has without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cloudpickle
import numpy as np
import pytest

from ctrl import LQR, Controller, ExtendedKalmanFilter, KalmanFilter, NotApplicable, OutputFeedback, Status, simulate
from ctrl.check import check_controller
from ctrl.estimation import OffsetFree, disturbance_model
from mpc import (
    EqualityMPC,
    ExplicitMPC,
    HarmonicMPC,
    LagrangianMPC,
    LinearMPC,
    NonlinearMPC,
    StochasticMPC,
    TrackingMPC,
)
from systems import (
    Box,
    Fixed,
    Gaussian,
    InvalidValue,
    LinearPlant,
    Measurement,
    Quadratic,
    SetPoint,
    Task,
    Uniform,
    equilibrium,
    integer,
    signals,
)
from systems.library.pendulum import Pendulum, pendulum

A, B = np.array([[0.9, 0.1], [0.0, 0.8]]), np.array([[0.0], [0.2]])
NOMINAL = LinearPlant(A, B, E=[[0.0], [0.1]], dt=0.1, input_limits=((-2.0, 2.0),))
BIASED = LinearPlant(A + 0.02, 0.9 * B, E=[[0.0], [0.1]], c=[0.02, -0.05], dt=0.1, input_limits=((-2.0, 2.0),))
# At rest x2 = x1 and u1 = x1.
TASK = Task(
    "biased", NOMINAL, 0.1, 250, Quadratic(Q=[1, 1], R=[0.1]), Gaussian([0.1, 0.1]),
    reference=SetPoint([0.5, 0.5], [0.5]), disturbance=Uniform([-0.02], [0.02]), truth=BIASED,
    measurement=Measurement(signals("x1 [-]"), noise=Gaussian([0.01])),
)  # fmt: skip
BOTH = dataclasses.replace(TASK, measurement=Measurement(signals("x1 [-]", "x2 [-]"), noise=Gaussian([0.01, 0.01])))
MAKERS: dict[str, Callable[[Task], Controller]] = {
    "lqr": LQR,
    "linear": lambda task: LinearMPC(task, 8),
    "nonlinear": lambda task: NonlinearMPC(task, 8),
    "lagrangian": lambda task: LagrangianMPC(task, 5),
    "explicit": lambda task: ExplicitMPC(task, 2, within=Box("w", {"x1": (-3.0, 3.0), "x2": (-3.0, 3.0)})),
    "tracking": lambda task: TrackingMPC(task, 8),
    "equality": lambda task: EqualityMPC(task, 8),
    "harmonic": lambda task: HarmonicMPC(task, 8, frequency=0.3),
    "stochastic": lambda task: StochasticMPC(task, 4),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.every(3)
def test_a_biased_plant_settles_at_the_reference(name: str) -> None:
    steps = 60 if name == "lagrangian" else 250
    tolerance = 1e-2 if name == "lagrangian" else 1e-6
    task, start, still = TASK, np.array([[0.4, 0.4]]), np.zeros((1, steps, 1))
    free = simulate(task, OffsetFree(MAKERS[name](task), task), start, still)
    assert abs(free.states[0, -1, 0] - 0.5) < tolerance
    if name in ("lqr", "linear", "nonlinear"):
        plain = simulate(task, OutputFeedback(MAKERS[name](task), KalmanFilter(task)), start, still)
        assert abs(plain.states[0, -1, 0] - 0.5) > 0.02


def test_a_nonlinear_plant_of_another_mass_settles_at_the_angle() -> None:
    plant = Pendulum()
    rest = equilibrium(plant, {"angle": 0.3})
    task = dataclasses.replace(
        pendulum(), plant=plant, steps=400, reference=SetPoint(rest.x, rest.u), truth=Pendulum(mass=0.17, damping=0.12),
        disturbance=Gaussian({"push": 0.01}), domain=None,
        measurement=Measurement(signals("angle [rad]"), noise=Gaussian([0.01])),
    )  # fmt: skip
    start, still, angle = rest.x[None], np.zeros((1, 400, 1)), rest.x[0]
    assert angle > 0.1
    for make in (LQR, lambda task: NonlinearMPC(task, 15)):
        controller = OffsetFree(make(task), task)
        run = simulate(task, controller, start, still)
        assert abs(run.states[0, -1, 0] - angle) < 1e-6
        # The pendulum is heavier than the model, which a torque explains.
        assert controller.disturbance["torque"] == pytest.approx(0.02 * 9.81 * 0.5 * np.sin(angle), rel=0.01)
    plain = simulate(task, OutputFeedback(LQR(task), ExtendedKalmanFilter(task)), start, still)
    assert abs(plain.states[0, -1, 0] - angle) > 0.01


def test_where_disturbances_are_put() -> None:
    assert disturbance_model(TASK).names == ("u1",)
    model = disturbance_model(BOTH)
    assert model.names == ("u1", "x1")
    np.testing.assert_array_equal(model.B, [[1.0, 0.0]])
    np.testing.assert_array_equal(model.C, [[0.0, 1.0], [0.0, 0.0]])
    x, u = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5])
    after = np.array(model.task.dynamics.function()(x, u, [0.0, 0.01, 0.02], []))[:, 0]
    np.testing.assert_allclose(after, [*(A @ x[:2] + B @ (u + 0.3)), 0.31, 0.42])
    assert model.task.measurement is not None
    outputs = np.array(model.task.measurement.function(model.task.plant)(x, u))[:, 0]
    np.testing.assert_allclose(outputs, [0.5, 0.2])
    assert disturbance_model(TASK, {"x1": 0.1}).names == ("x1",)
    controller = OffsetFree(LQR(BOTH), BOTH, tracks=["x1"])
    run = simulate(BOTH, controller, np.array([[0.4, 0.4]]), np.zeros((1, 250, 1)))
    assert abs(run.states[0, -1, 0] - 0.5) < 1e-6


def test_misuse_is_refused() -> None:
    with pytest.raises(NotApplicable, match=r"tracks=\['x1'\]"):
        OffsetFree(LQR(BOTH), BOTH)
    with pytest.raises(NotApplicable, match="no measurement"):
        OffsetFree(LQR(TASK), dataclasses.replace(TASK, measurement=None))
    with pytest.raises(NotApplicable, match="not an equilibrium"):
        OffsetFree(LQR(TASK), dataclasses.replace(TASK, reference=SetPoint([0.5, 0.0])))
    with pytest.raises(InvalidValue, match="drift of 'x3'"):
        OffsetFree(LQR(TASK), TASK, drift={"x3": 0.1})
    with pytest.raises(InvalidValue, match="drift of 'u1'"):
        OffsetFree(LQR(TASK), TASK, drift={"u1": -0.1})
    with pytest.raises(NotApplicable, match="told apart"):
        OffsetFree(LQR(TASK), TASK, drift={"u1": 0.1, "x1": 0.1})
    with pytest.raises(InvalidValue, match="expected a controller"):
        OffsetFree(LQR, TASK)  # type: ignore[arg-type]
    unbounded = dataclasses.replace(TASK, plant=LinearPlant(A, B, E=[[0.0], [0.1]], dt=0.1), truth=None)
    with pytest.raises(NotApplicable, match=r'drift=\{"u1"'):
        OffsetFree(LQR(unbounded), unbounded)


def test_it_keeps_the_interface_of_controllers() -> None:
    report = check_controller(lambda task: OffsetFree(LQR(task), task), TASK)
    assert not [check for check in report.checks if not check.passed], str(report)
    one = OffsetFree(LQR(TASK), TASK)
    one.step(np.array([0.7]), 0)
    sent = cloudpickle.loads(cloudpickle.dumps(one))
    one.reset()
    np.testing.assert_array_equal(*(c.step(np.array([0.3]), 0).input for c in (one, sent)))
    one.reset()
    for k, y in enumerate((0.4, np.nan, 1e300, -np.inf, 0.5)):
        decision = one.step(np.array([y]), k)
        assert np.isfinite(decision.input).all()
    assert decision.status in tuple(Status)


def test_integer_inputs_are_refused() -> None:
    plant = LinearPlant([[0.9]], [[1.0]], dt=1.0, input=signals(integer("heater [-]")), input_limits=((0.0, 3.0),))
    measurement = Measurement(signals("x1 [-]"), noise=Gaussian([0.1]))
    task = Task("heater", plant, 1.0, 5, Quadratic(Q=[1.0], R=[0.1]), Fixed([0.0]), measurement=measurement)
    with pytest.raises(NotApplicable, match="integer inputs"):
        OffsetFree(LinearMPC(task, 3), task)
