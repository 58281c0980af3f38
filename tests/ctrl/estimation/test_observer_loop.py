"""The loop of plant, observer and regulator: that of the closed loop, proved, and the proof held against samples."""

from __future__ import annotations

import dataclasses
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import (
    LQR,
    Decision,
    ExtendedKalmanFilter,
    LuenbergerObserver,
    NotApplicable,
    OutputFeedback,
    SteadyKalmanFilter,
    simulate,
)
from ctrl.certify import ClosedLoop, SearchLimits, certify, lyapunov
from ctrl.estimation import observer_loop
from systems import Gaussian, Measurement, Nonlinear, Task, angle, signals
from systems.inputs import limit_changes
from systems.library import pendulum
from systems.library.pendulum import Pendulum

TASK = dataclasses.replace(
    pendulum(), steps=60, measurement=Measurement(signals("angle [rad]"), noise=Gaussian({"angle": 0.02}))
)


def COST(x: Any, u: Any, xr: Any, ur: Any) -> Any:
    return 1 - ca.cos(x.angle) + x.rate**2 + u.torque**2


def pair(task: Task) -> OutputFeedback:
    return OutputFeedback(LQR(task), SteadyKalmanFilter(task))


@pytest.mark.parametrize("observer", [SteadyKalmanFilter, lambda task: LuenbergerObserver(task, [0.6, 0.7])])
def test_it_is_the_loop_that_runs(observer) -> None:  # type: ignore[no-untyped-def]
    feedback = OutputFeedback(LQR(TASK), observer(TASK))
    run = simulate(TASK, feedback, np.array([[0.8, 0.5]]))  # starts so that the torque saturates
    task, law = observer_loop(feedback)
    assert run.estimates is not None
    x = np.concatenate([run.states[0, 0], run.estimates[0, 0] - run.states[0, 0]])
    step = task.dynamics.function()
    assert np.abs(run.inputs).max() == TASK.plant.bounds[1][0]
    for k in range(60):
        np.testing.assert_allclose(x[:2], run.states[0, k], atol=1e-10)
        np.testing.assert_allclose(x[:2] + x[2:], run.estimates[0, k], atol=1e-10)
        x = np.array(step(x, law(x), 0, []))[:, 0]


def test_a_proved_region_holds_on_samples() -> None:
    task, law = observer_loop(pair(TASK))
    V = lyapunov(task, law)
    certificate = certify(task, law, V, level=0.05, budget=SearchLimits(seconds=120))
    assert certificate.is_proved
    rng = np.random.default_rng(0)
    z = rng.normal(size=(10_000, 4))
    z *= np.sqrt(0.05) * rng.random((10_000, 1)) ** 0.25 / np.linalg.norm(z, axis=1, keepdims=True)
    x = np.linalg.solve(np.linalg.cholesky(V.P).T, z.T).T
    value = np.einsum("bi,ij,bj->b", x, V.P, x)
    assert value.max() <= 0.05 * (1 + 1e-9)
    loop = ClosedLoop(task, law)
    for _ in range(60):
        x = loop(x)
        before, value = value, np.einsum("bi,ij,bj->b", x, V.P, x)
        assert (value < before).all()
    assert value.max() < 1e-3


def test_too_high_a_level_is_refused() -> None:
    task, law = observer_loop(pair(TASK))
    assert not certify(task, law, lyapunov(task, law), level=0.2, budget=SearchLimits(seconds=20)).is_proved


def test_what_is_no_such_loop_is_refused() -> None:
    with pytest.raises(NotApplicable, match="only an LQR"):
        observer_loop(OutputFeedback(LQR(TASK), ExtendedKalmanFilter(TASK)))

    class Still:
        def reset(self) -> None: ...

        def step(self, x: np.ndarray, k: int) -> Decision:
            return Decision(np.zeros(1))

    with pytest.raises(NotApplicable, match="only an LQR"):
        observer_loop(OutputFeedback(Still(), SteadyKalmanFilter(TASK)))
    assert TASK.measurement is not None
    for changes in ({"delay": 1}, {"dropout": 0.1}):
        measurement = dataclasses.replace(TASK.measurement, **changes)  # type: ignore[arg-type]
        with pytest.raises(NotApplicable, match="do not belong to this loop"):
            observer_loop(pair(dataclasses.replace(TASK, measurement=measurement)))
    with pytest.raises(NotApplicable, match="do not belong to this loop"):
        observer_loop(pair(TASK.with_truth(TASK.plant)))
    turning = Measurement(signals(angle("angle [rad]")), noise=Gaussian({"angle": 0.02}))
    with pytest.raises(NotApplicable, match="jump by a turn"):
        observer_loop(pair(dataclasses.replace(TASK, measurement=turning)))
    heavier = dataclasses.replace(TASK, plant=dataclasses.replace(TASK.plant, mass=0.3))
    faster = dataclasses.replace(TASK, dt=0.02)
    for other in (heavier, limit_changes(TASK, None, [1.0])):
        with pytest.raises(NotApplicable, match="made for another plant or sample time"):
            observer_loop(OutputFeedback(LQR(other), SteadyKalmanFilter(TASK)))
    with pytest.raises(NotApplicable, match=r"samples of 0\.02 s, and is called every 0\.05 s"):
        observer_loop(OutputFeedback(LQR(faster), SteadyKalmanFilter(TASK)))


def test_a_regulator_that_turns_the_estimate_is_not_this_law() -> None:
    """The regulator takes an angle nearest to its reference, which the estimate may leave where the state does not."""

    @dataclasses.dataclass(frozen=True)
    class Turning(Pendulum):
        state = signals(angle("angle [rad]"), "rate [rad/s]")

    turning = dataclasses.replace(TASK, plant=Turning(), domain=None, cost=Nonlinear(COST))
    with pytest.raises(NotApplicable, match="periodic state"):
        observer_loop(pair(turning))
