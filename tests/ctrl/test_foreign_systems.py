"""Compensators of python-control in the closed loop, against python-control's own simulation of the loop."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, Status, compare, simulate
from ctrl.controller import NotApplicable
from ctrl.foreign_systems import CompensatorController, from_control
from systems import Gaussian, InvalidValue, LinearPlant, Measurement, Quadratic, SetPoint, Task, Uniform, signals
from systems.library.cartpole import cartpole

control = pytest.importorskip("control")

DT = 0.1
PLANT = LinearPlant(
    np.array([[0.0, 1.0], [-1.0, -0.3]]), np.array([[0.0], [1.0]]),
    state=signals("place [m]", "speed [m/s]"), input=signals("force [N]"),
)  # fmt: skip
TASK = Task(
    name="spring", plant=PLANT, dt=DT, steps=40, cost=Quadratic(Q={"place": 1.0}, R={"force": 0.1}),
    initial=Uniform({"place": -1.0}, {"place": 1.0}), reference=SetPoint({"place": 0.5}, {"force": 0.5}),
    integrator="exact", tolerance={"place": 0.1},
)  # fmt: skip
LEAD = control.tf([3.0, 2.0, 0.5], [0.05, 1.0, 0.0], inputs=["place"])


def sampled() -> Any:
    return control.c2d(control.ss(PLANT.A, PLANT.B, np.eye(2), np.zeros((2, 1))), DT)


def test_the_loop_is_that_of_python_control() -> None:
    """A PID with filter on one output: the same error as in control's own feedback interconnection."""
    plant, law = sampled(), control.c2d(control.ss(LEAD), DT, "bilinear")
    runs = simulate(TASK, from_control(LEAD)(TASK), np.array([[0.0, 0.0], [-0.4, 0.8]]))
    for start, states in zip(((0.0, 0.0), (-0.4, 0.8)), runs.states, strict=True):
        x, z = np.array(start), np.zeros(law.nstates)
        for k in range(TASK.steps):
            np.testing.assert_allclose(states[k], x, rtol=1e-8, atol=1e-10)
            error = np.array([0.5 - x[0]])
            u = 0.5 + law.C @ z + law.D @ error
            z, x = law.A @ z + law.B @ error, plant.A @ x + plant.B @ u
    place = control.ss(plant.A, plant.B, plant.C[:1], plant.D[:1], DT)
    closed = control.feedback(place * law, 1)
    _, y = control.forced_response(closed, np.arange(41) * DT, np.full(41, 0.5))
    shifted = dataclasses.replace(TASK, reference=SetPoint({"place": 0.5}))
    alone = simulate(shifted, from_control(LEAD)(shifted), np.zeros((1, 2)))
    np.testing.assert_allclose(alone.states[0, :, 0], y, rtol=1e-7, atol=1e-9)


def test_runs_do_not_depend_on_those_before() -> None:
    starts = np.array([[0.3, 0.0], [0.3, 0.0]])
    one, two = simulate(TASK, from_control(LEAD)(TASK), starts).states
    np.testing.assert_array_equal(one, two)


def test_a_gain_is_the_regulator_and_every_kind_takes_part_in_a_comparison() -> None:
    task = dataclasses.replace(cartpole(), steps=20)
    gain = control.ss([], [], [], LQR(task).K)
    integrating = control.nlsys(lambda t, z, e, p: z + e, lambda t, z, e, p: 0.1 * z, inputs=["position"], outputs=1,
        states=1, dt=True)  # fmt: skip
    compared = compare(task, {"lqr": LQR, "gain": from_control(gain), "sum": from_control(integrating)}, 3, workers=1)
    assert not compared.failed
    assert not compared.skipped
    np.testing.assert_allclose(compared.runs["gain"].states, compared.runs["lqr"].states, rtol=1e-8, atol=1e-10)
    controller = CompensatorController(task, integrating)
    pushed = [float(controller.step(np.array([-1.0, 0, 0, 0]), k).input[0]) for k in range(3)]
    np.testing.assert_allclose(pushed, [0.0, 0.1, 0.2])


def test_inputs_are_within_their_bounds() -> None:
    task = dataclasses.replace(cartpole(), steps=20)
    controller = from_control(control.tf([500.0], [1.0], inputs=["position"]))(task)
    assert [float(controller.step(np.array([x, 0, 0, 0]), 0).input[0]) for x in (1.0, -1.0)] == [-10.0, 10.0]


def test_what_is_not_reported_keeps_its_error_and_no_numbers_give_a_status() -> None:
    measured = dataclasses.replace(TASK, measurement=Measurement(signals("place [m]"), noise=Gaussian({"place": 0.1})))
    controller = from_control(control.tf([2.0], [1.0], dt=DT))(measured)
    assert controller.measurement == measured.measurement
    assert controller.step(np.array([0.2]), 0).input[0] == pytest.approx(0.5 + 2.0 * 0.3)
    assert controller.step(np.array([np.nan]), 1).input[0] == pytest.approx(0.5 + 2.0 * 0.3)
    plain = from_control(control.ss(1.0, 1.0, 1.0, 0.0, DT, inputs=["place"]))(TASK)
    plain.step(np.zeros(2), 0)
    lost = plain.step(np.full(2, np.nan), 1)
    assert lost.status is Status.NUMERICAL
    assert lost.input[0] == 0.5
    assert plain.step(np.zeros(2), 2).input[0] == pytest.approx(0.5 + 0.5), "its state is that before"
    runs = compare(measured, {"p": from_control(control.tf([2.0], [1.0], dt=DT))}, 3, workers=1)
    assert not runs.estimators, "it takes the measurement itself"


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (lambda: control.ss(0.5, 1.0, 1.0, 0.0, 0.2, inputs=["place"]), "samples of 0.2 s"),
        (lambda: control.ss(0.5, 1.0, 1.0, 0.0, DT), "name the inputs after"),
        (lambda: control.ss(0.5, [[1.0, 1.0]], [[1.0], [1.0]], np.zeros((2, 2)), DT), "2 outputs"),
    ],
)
def test_systems_that_do_not_fit_do_not_apply(system: Any, words: str) -> None:
    with pytest.raises(NotApplicable, match=words):
        from_control(system())(TASK)


def test_other_things_are_refused() -> None:
    with pytest.raises(InvalidValue, match=r"control\.tf"):
        from_control(np.eye(2))  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="discrete time"):
        from_control(control.nlsys(lambda t, z, e, p: -z, lambda t, z, e, p: z, inputs=1, outputs=1, states=1))
