"""Loops of tasks with signals known ahead: controllers look into the forecast, the plant lives the actual series."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ctrl import Decision, ExtendedKalmanFilter, OutputFeedback, simulate
from ctrl.comparison.draws import draw_all
from ctrl.realtime import Loop, LoopSettings, Measurement, SimulatedClock, SimulatedPlant, resampled
from ctrl.realtime.run import LoopRun
from mpc import LinearMPC
from systems import Fixed, Gaussian, LinearPlant, Quadratic, Task, TriviumError, know_ahead, signals
from systems import Measurement as Sensor
from tests.ctrl.realtime.plants import Wrapped

STEPS = 20
RNG = np.random.default_rng(1)
PREDICTED, ACTUAL = RNG.normal(size=(2, STEPS + 6))
PLAIN = Task(
    "tank", LinearPlant([[0.9]], [[0.5]], [[1.0]], dt=1.0), 1.0, STEPS, Quadratic([1.0], [0.1]), Fixed([2.0])
)  # fmt: skip
TASK = know_ahead(
    PLAIN,
    signals("w1 [-]"),
    {"w1": PREDICTED},
    {"w1": ACTUAL},
    errors=Gaussian({"w1": 0.1}),
    persistence=0.5,
    preview=1,
)
SETTINGS = LoopSettings(seconds=float(STEPS), in_process=True)


class Foresighted:
    """u = -x - what is predicted for this sample and the next two, exactly as a predictive controller reads it."""

    def __init__(self, task: Task) -> None:
        self.forecast = task.plant.forecast
        self.approximations = ()

    def reset(self) -> None:
        pass

    def step(self, x: np.ndarray, k: int) -> Decision:
        assert self.forecast is not None
        return Decision(np.array([-x[0] - self.forecast.path(x[1:], k, 3)[:, 0].sum()]))


def looped(controller: Any, task: Task = TASK, change: Any = None, **named: Any) -> LoopRun:
    clock, drawn = SimulatedClock(), draw_all(task, 1, (5,))
    noise = None if drawn.noise is None else drawn.noise[0]
    simulated = SimulatedPlant(task, clock, drawn.starts[0], drawn.disturbances[0], noise=noise)
    connection = Wrapped(simulated, change or (lambda measured, k: measured))
    return Loop(task, controller, connection, dataclasses.replace(SETTINGS, **named), clock=clock).run()


def test_the_loop_reads_the_forecast_and_lives_the_truth() -> None:
    drawn = draw_all(TASK, 1, (5,))
    expected = simulate(TASK, Foresighted(TASK), **drawn.arguments)
    run = looped(Foresighted)
    np.testing.assert_array_equal(run.columns.u, expected.inputs[0])
    np.testing.assert_array_equal(run.columns.x, expected.states[0, :-1])
    assert np.abs(run.columns.x[:, 1] - PREDICTED[:STEPS]).max() > 0.5  # the forecast errs


@pytest.mark.slow
def test_linear_mpc_with_a_forecast() -> None:
    planned = simulate(TASK, LinearMPC(TASK, 5), **draw_all(TASK, 1, (5,)).arguments)
    assert looped(lambda task: LinearMPC(task, 5)).columns.u == pytest.approx(planned.inputs[0], abs=1e-7)


@pytest.mark.slow
def test_after_the_series_its_last_values_are_held() -> None:
    run = looped(Foresighted, seconds=STEPS + 15.0)
    w = np.tile(draw_all(TASK, 1, (5,)).disturbances, (1, 2, 1))[:, : STEPS + 15]
    expected = simulate(TASK, Foresighted(TASK), TASK.initial.sample(TASK.plant.state, RNG, (1,)), w)
    np.testing.assert_array_equal(run.columns.u, expected.inputs[0])


@pytest.mark.slow
def test_what_is_not_measured_is_predicted_with_the_forecast() -> None:
    exact = know_ahead(PLAIN, signals("w1 [-]"), {"w1": PREDICTED})
    normal = looped(Foresighted, exact)
    lost = looped(Foresighted, exact, lambda m, k: None if k in (4, 5, 11) else m)
    assert lost.columns.x == pytest.approx(normal.columns.x, abs=1e-12)
    assert lost.summary.measurements == {"fresh": STEPS - 3, "missing": 3}
    delayed = looped(Foresighted, exact, predict_delay=True)
    assert delayed.columns.u[1:] == pytest.approx(normal.columns.u[1:], abs=1e-12)

    def without_signals(m: Measurement, k: int) -> Measurement:
        return m._replace(x=np.where([False, True], np.nan, m.x))

    rig = looped(Foresighted, exact, without_signals)  # which knows no prices
    np.testing.assert_array_equal(rig.columns.u, normal.columns.u)
    assert rig.summary.measurements == {"fresh": STEPS}


@pytest.mark.slow
def test_measured_and_known_ahead() -> None:
    sensors = Sensor(signals("x1 [-]", "w1 [-]"), noise=Gaussian({"x1": 0.05}), dropout={"x1": 0.2})
    task = dataclasses.replace(TASK, measurement=sensors)
    expected = simulate(
        task, OutputFeedback(Foresighted(task), ExtendedKalmanFilter(task)), **draw_all(task, 1, (5,)).arguments
    )
    for make in (Foresighted, lambda task: OutputFeedback(Foresighted(task), ExtendedKalmanFilter(task))):
        run = looped(make, task)
        assert run.columns.u == pytest.approx(expected.inputs[0], abs=1e-9)  # by a Kalman filter, as all is affine
        np.testing.assert_array_equal(run.columns.y, expected.outputs[0])


def test_another_rate_is_refused() -> None:
    with pytest.raises(TriviumError, match="w1 are known ahead at its samples"):
        resampled(TASK, 2.0)
