"""Parameters of the plant that change while a linear MPC runs: the same as a controller constructed for that plant."""

from __future__ import annotations

import dataclasses
import functools
import pickle
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import Status
from ctrl.check import check_controller
from ctrl.controller import NotApplicable
from ctrl.export.code import NotExportable
from mpc import ExplicitMPC, LinearMPC, ParameterAdaptiveMPC
from mpc.adaptive import Tunable
from systems import (
    Box,
    DimensionMismatch,
    Fixed,
    Gaussian,
    InvalidValue,
    Measurement,
    Plant,
    Quadratic,
    SetPoint,
    Sinusoid,
    Task,
    UnknownName,
    positive,
    signals,
)
from systems.signals import Vector


@dataclass(frozen=True)
class Lift(Plant):
    """A mass on a rope, with a spring that may be nonlinear."""

    mass: float = positive(1.0)  # kg
    weight: float = 0.0  # N
    ripple: float = 0.0  # N
    gain: float = 1.0

    state = signals("height [m]", "speed [m/s]")
    input = signals("force [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        force = self.gain * u.force - self.weight - self.ripple * ca.sin(x.height)
        return x.speed, force / self.mass

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"force": (-6.0, 9.0)}


def lift(reference: Any = SetPoint(), highest: float = 2.0, **parameters: float) -> Task:  # noqa: B008
    return Task(
        "lift", Lift(**parameters), 0.1, 30, Quadratic({"height": 5.0, "speed": 0.5}, {"force": 0.1}),
        Gaussian({"height": 0.3, "speed": 0.3}), reference=reference,
        constraints=(Box("shaft", {"height": (-2.0, highest)}),),
    )  # fmt: skip


SINE = Sinusoid(0.2, x_sine=(0.5, 0.0), x_cosine=(0.0, 1.0))
TASKS = {
    "at the reference": lift(),
    "elsewhere": lift(SetPoint([1.0, 0.0], [1.0]), weight=2.0),
    "at an edge": lift(SetPoint([1.0, 0.0], [2.0]), 0.8, weight=2.0),
    "moving": lift(SINE),
    "moving, other matrices in every sample": lift(SINE, ripple=1.5),
}
STARTS = np.array([[0.3, -0.2], [-0.5, 0.6], [0.7, 0.1], [1.9, 3.0]])


def changed(task: Task, names: tuple[str, ...], values: np.ndarray) -> Task:
    return dataclasses.replace(task, plant=task.plant.with_parameters(dict(zip(names, values.tolist(), strict=True))))


def differences(controller: LinearMPC, anew: LinearMPC, first: int) -> float:
    """Largest difference of the inputs, of a failed solve's too, and of the operating points."""
    gaps = []
    for k, x in enumerate(STARTS, first):
        a, b = controller.step(x, k), anew.step(x, k)
        assert (a.status, a.source) == (b.status, b.source)
        backup = (c._fallback.input(x, k + 50, None)[0] for c in (controller, anew))
        gaps += [a.input - b.input, np.subtract(*backup)]
    gaps += [a - b for a, b in zip(controller.operating_point, anew.operating_point, strict=True)]
    return max(np.abs(gap).max() for gap in gaps)


CHANGES = ((0, np.array([1.7, 1.1])), (4, np.array([0.8, 2.5])))


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] * (c == "moving")) for c in TASKS])
def test_it_is_the_controller_of_the_changed_plant(case: str) -> None:
    task, names = TASKS[case], ("mass", "weight")
    make = functools.partial(LinearMPC, horizon=8)
    controller = make(task, parameters=names)
    assert isinstance(controller, Tunable)
    for first, values in CHANGES[1:] if not task.reference.is_constant else CHANGES:
        controller.set_parameters(values)
        anew = make(changed(task, names, values))
        assert differences(controller, anew, first) < 1e-9
        assert controller.refused == ""
        assert controller.terminal == anew.terminal
        if anew.terminal_set is not None:
            assert controller.terminal_set is not None
            np.testing.assert_allclose(controller.terminal_set.H, anew.terminal_set.H, atol=1e-9)
    controller.reset()
    assert differences(controller, make(task), 0) < 1e-9


def test_changes_of_the_task_keep_the_parameters_and_a_new_run_does_not() -> None:
    task = TASKS["elsewhere"]
    controller = LinearMPC(task, 8, parameters=("mass",), solver="piqp")
    controller.set_parameters(np.array([2.0]))
    controller.follow(SetPoint([0.5, 0.0], [2.0]))
    other = dataclasses.replace(task, reference=SetPoint([0.5, 0.0], [2.0]))
    anew = LinearMPC(changed(other, ("mass",), np.array([2.0])), 8, solver="piqp")
    assert differences(controller, anew, 0) < 1e-9
    controller.reset()
    assert differences(controller, LinearMPC(other, 8, solver="piqp"), 0) < 1e-9
    assert pickle.loads(pickle.dumps(controller)).parameters == ("mass",)
    assert check_controller(controller, other).passed


def test_values_without_a_regulator_leave_the_controller_as_it_is() -> None:
    """Without a gain nothing can be stabilised; with a mass of 1e-300 nothing can be computed; -1 is no mass."""
    task = TASKS["at the reference"]
    controller = LinearMPC(task, 8, parameters=("mass", "gain"))
    controller.set_parameters(np.array([1.5, 1.0]))
    anew = LinearMPC(changed(task, ("mass", "gain"), np.array([1.5, 1.0])), 8)
    for values in ([1.5, 0.0], [1e-300, 1.0], [0.0, 1.0], [-1.0, 1.0]):
        controller.set_parameters(np.array(values))
        assert controller.refused
        assert differences(controller, anew, 0) < 1e-9
    assert "no input reaches" in refusal(controller, [1.5, 0.0])
    assert "above 0" in refusal(controller, [-1.0, 1.0])
    assert not refusal(controller, [1.5, 1.0])
    with pytest.raises(NotApplicable):
        LinearMPC(changed(task, ("gain",), np.array([0.0])), 8)


def refusal(controller: LinearMPC, values: list[float]) -> str:
    controller.set_parameters(np.array(values))
    return controller.refused


def test_estimated_parameters_drive_a_linear_mpc() -> None:
    task = dataclasses.replace(
        lift(weight=1.0), initial=Fixed([0.5, 0.0]),
        measurement=Measurement(signals("height [m]"), noise=Gaussian({"height": 0.005})),
    )  # fmt: skip
    fast = functools.partial(LinearMPC, horizon=8)
    controller = ParameterAdaptiveMPC(task, {"weight": (0.0, 3.0)}, predictive=fast)
    inner: Any = controller.controller
    step, x = changed(task, ("weight",), np.array([2.2])).dynamics.function(), np.array([0.5, 0.0])
    for k in range(12):
        decision = controller.step(x[:1], k)
        assert decision.status is Status.SOLVED
        x = np.array(step(x, decision.input, [], [])).ravel()
    assert controller.parameters == pytest.approx([2.2], abs=0.1)
    assert controller.estimate is not None
    state = controller.estimate.state
    anew = fast(changed(task, ("weight",), controller.parameters))
    assert np.abs(inner.step(state, 40).input - anew.step(state, 40).input).max() < 1e-9
    assert "takes the estimates of weight for exact" in (controller.approximations or ())


def test_misuse_is_refused() -> None:
    task = TASKS["at the reference"]
    with pytest.raises(UnknownName, match="length"):
        LinearMPC(task, 5, parameters=("length",))
    controller = LinearMPC(task, 5, parameters=("mass",))
    with pytest.raises(DimensionMismatch, match="LinearMPC"):
        controller.set_parameters(np.ones(2))
    with pytest.raises(InvalidValue, match="NaN"):
        controller.set_parameters(np.array([np.nan]))
    with pytest.raises(NotExportable, match="without parameters"):
        controller.c_code(10)
    ends = dataclasses.replace(task, cost=Quadratic([5.0, 0.5], [0.1], [1.0, 1.0]))
    with pytest.raises(NotApplicable, match="use NonlinearMPC"):
        LinearMPC(ends, 5, parameters=("mass",))
    measured = dataclasses.replace(task, measurement=Measurement(signals("height [m]")))
    with pytest.raises(InvalidValue, match="one plant, so give LinearMPC"):
        ParameterAdaptiveMPC(measured, {"mass": (0.5, 2.0)}, predictive=ExplicitMPC)
