"""Loops of tasks whose outputs are measured: the numbers of the closed loop, and what happens when sensors fail."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctrl import LQR, ExtendedKalmanFilter, LuenbergerObserver, OffsetFree, OutputFeedback, simulate
from ctrl.comparison.draws import Draws, draw_all
from ctrl.comparison.pairing import paired
from ctrl.realtime import (
    Applied,
    Freshness,
    Loop,
    LoopSettings,
    Measurement,
    SimulatedClock,
    SimulatedPlant,
    UDPPeer,
    UDPPlant,
    resampled,
)
from ctrl.realtime.asked import LONGEST, AskedController, Report, Reports
from ctrl.realtime.run import LoopRun
from systems import Gaussian, Task, TriviumError, signals
from systems import Measurement as Sensor
from systems.library import pendulum
from tests.ctrl.realtime.plants import Constant, Slow, Wrapped

START = Gaussian({"angle": 0.1, "rate": 0.2})
# An angle of every sample and a slow rate, late, rounded and sometimes lost.
BOTH = Sensor(
    signals("angle [rad]", "rate [rad/s]"), noise=Gaussian({"angle": 0.01, "rate": 0.05}), delay={"rate": 2},
    every={"rate": 3}, quantum={"angle": 0.002}, dropout={"angle": 0.2, "rate": 0.1},
)  # fmt: skip
TASK = dataclasses.replace(pendulum(), initial=START, measurement=BOTH, steps=40)
ANGLE = dataclasses.replace(TASK, measurement=Sensor(signals("angle [rad]"), noise=Gaussian({"angle": 0.01})))
SETTINGS = LoopSettings(seconds=40 * TASK.dt, in_process=True)


def drawn(task: Task, seed: int = 3) -> Draws:
    return draw_all(task, 1, (seed,))


def looped(
    controller: Any = LQR, task: Task = TASK, change: Any = None, clock: Any = None, more: Any = None, **named: Any
) -> tuple[LoopRun, Wrapped]:
    clock, draws = clock or SimulatedClock(), drawn(task)
    assert draws.noise is not None
    simulated = SimulatedPlant(task, clock, draws.starts[0], draws.disturbances[0], noise=draws.noise[0])
    connection = Wrapped(simulated, change or (lambda measured, k: measured))
    run = Loop(task, controller, connection, dataclasses.replace(SETTINGS, **named), clock=clock, **(more or {})).run()
    return run, connection


def applied(run: LoopRun) -> list[Applied]:
    return [tuple(Applied)[i] for i in run.columns.codes[:, 1]]


def simulated(controller: Any, task: Task = TASK) -> Any:
    return simulate(task, controller, **drawn(task).arguments)


@pytest.fixture(scope="module")
def expected() -> Any:
    return simulated(paired(LQR(TASK), LQR, TASK)[0])


def equal(run: LoopRun, expected: Any) -> None:
    np.testing.assert_array_equal(run.columns.u, expected.inputs[0])
    np.testing.assert_array_equal(run.columns.y, expected.outputs[0])


def test_a_controller_of_the_state_is_paired_as_in_comparisons(expected: Any) -> None:
    run, connection = looped()
    equal(run, expected)
    np.testing.assert_array_equal(run.columns.x, expected.estimates[0])
    np.testing.assert_array_equal(connection.inner.state, expected.states[0, 39])
    assert np.isnan(run.columns.y).any(axis=0).all()  # lost, late and slow values, as drawn
    assert "ExtendedKalmanFilter, for controller" in str(run)


def test_a_controller_of_outputs_is_given_these(expected: Any) -> None:
    run, _ = looped(lambda task: OutputFeedback(LQR(task), ExtendedKalmanFilter(task)), more={"fallbacks": {}})
    equal(run, expected)
    assert "ExtendedKalmanFilter, for fallbacks and log" in str(run)


@pytest.mark.slow
def test_other_controllers_of_outputs(expected: Any) -> None:
    equal(looped(OutputFeedback(LQR(TASK), ExtendedKalmanFilter(TASK)))[0], expected)
    free, _ = looped(lambda task: OffsetFree(LQR(task), task, ["angle"]))
    equal(free, simulated(OffsetFree(LQR(TASK), TASK, ["angle"])))


@pytest.mark.slow
def test_an_estimator_of_the_users() -> None:
    observer = LuenbergerObserver(ANGLE, [0.6, 0.7])
    run, _ = looped(task=ANGLE, more={"estimator": observer})
    equal(run, simulated(OutputFeedback(LQR(ANGLE), LuenbergerObserver(ANGLE, [0.6, 0.7])), ANGLE))


@pytest.mark.slow
@pytest.mark.parametrize("makes", [LQR, lambda task: OutputFeedback(LQR(task), ExtendedKalmanFilter(task))])
def test_the_same_numbers_from_a_process_of_its_own(makes: Any, expected: Any) -> None:
    run, _ = looped(makes, in_process=False, unresponsive_seconds=1e6)
    equal(run, expected)


@pytest.mark.slow
def test_the_estimator_is_given_what_was_applied() -> None:
    """An overrun at samples 10 to 12: a fallback acts, and no estimator, in whatever place, believes the answers."""
    states = []
    for wrap in (lambda made, task: made, lambda made, task: OutputFeedback(made, ExtendedKalmanFilter(task))):
        clock = SimulatedClock()
        slow = Slow(clock, dict.fromkeys((10, 11, 12), 0.96 * TASK.dt), TASK)
        run, connection = looped(wrap(slow, TASK), clock=clock, more={"fallbacks": {"full": Constant(0.9)}})
        assert applied(run)[10:13] == [Applied.FALLBACK] * 3
        assert set(applied(run)[13:]) == {Applied.CONTROLLER}
        states.append((run.columns.u, connection.inner.state))
    np.testing.assert_array_equal(states[0][0], states[1][0])
    np.testing.assert_array_equal(states[0][1], states[1][1])


@pytest.mark.slow
def test_samples_that_were_skipped_are_predicted() -> None:
    """With all outputs measured without noise, the estimate of the sample after a gap is the true state."""
    exact = dataclasses.replace(TASK, measurement=Sensor(signals("angle [rad]", "rate [rad/s]")))
    for wrap in (lambda made: made, lambda made: OutputFeedback(made, ExtendedKalmanFilter(exact))):
        clock = SimulatedClock()
        # Nothing is measured after the gap, so that only a prediction over the right number of samples is exact.
        run, _ = looped(
            wrap(Slow(clock, {10: 2.6 * TASK.dt}, exact)), exact, lambda m, k: None if k > 10 else m, clock,
            overrun="late",
        )  # fmt: skip
        assert run.columns.k[10:13].tolist() == [10, 12, 13]
        used = LQR(exact)
        after = [used.step(x, k).input for x, k in zip(run.columns.x[11:15], run.columns.k[11:15], strict=True)]
        assert run.columns.u[11:15] == pytest.approx(np.array(after), abs=1e-9)
        x, step = run.columns.x[10], exact.true_dynamics.lower("numpy")
        for _ in range(2):
            x = step(x, run.columns.u[10], np.zeros(1), np.zeros(0))
        assert run.columns.x[11] == pytest.approx(x, abs=1e-9)


def test_a_sensor_that_is_silent_for_good_ends_in_the_watchdog() -> None:
    def change(measured: Measurement, k: int) -> Measurement:
        return measured._replace(x=np.array([np.nan])) if k >= 15 else measured

    run, connection = looped(task=ANGLE, change=change, safe_input=(0.25,))
    told = applied(run)
    assert told[:24] == [Applied.CONTROLLER] * 24
    assert told[24:] == [Applied.SAFE] * 16  # the tenth sample without a value
    assert (run.columns.u[24:] == 0.25).all()
    assert np.isfinite(connection.written).all()
    assert run.summary.measurements == {"fresh": 15, "empty": 25}


@pytest.mark.slow
def test_so_does_one_of_several() -> None:
    """Although the others are still there; the slow one is given more time."""
    # With its drop-outs, 18 values are not lost by chance, and 12 of every third sample after a delay of two.
    for i, first in ((0, 17), (1, 37)):
        mask = np.where(np.arange(2) == i, np.nan, 0.0)
        one, _ = looped(change=lambda m, k, mask=mask: m._replace(x=m.x + mask) if k >= 0 else m, seconds=2.5)
        assert applied(one).index(Applied.SAFE) == first
        assert set(applied(one)[-5:]) == {Applied.SAFE}


@pytest.mark.slow
@pytest.mark.parametrize("makes", [LQR, lambda task: OutputFeedback(LQR(task), ExtendedKalmanFilter(task))])
def test_a_sensor_that_comes_back(makes: Any) -> None:
    """While the watchdog acts, estimators go on: with the safe input, in the controller, too."""
    lost = range(10, 26)
    run, _ = looped(makes, ANGLE, lambda m, k: None if k in lost else m)
    told = applied(run)
    assert told == [Applied.SAFE if 19 <= k <= 25 else Applied.CONTROLLER for k in range(40)]
    estimator, u = ExtendedKalmanFilter(ANGLE), ANGLE.reading.start[1]
    for k in range(40):
        estimate = estimator.update(run.columns.y[k], u, k)
        np.testing.assert_array_equal(run.columns.x[k], estimate.state)
        u = run.columns.u[k]
        if told[k] is Applied.CONTROLLER:
            np.testing.assert_array_equal(u, LQR(ANGLE).step(estimate.state, k).input)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda m, k: None, Freshness.MISSING),
        (lambda m, k: 1 / 0, Freshness.MISSING),
        (lambda m, k: m._replace(sequence=0), Freshness.STALE),
        (lambda m, k: np.zeros(3), Freshness.INVALID),
        (lambda m, k: "text", Freshness.MISSING),
        (lambda m, k: m._replace(x=m.x * np.inf), Freshness.EMPTY),
    ],
)
def test_reports_that_cannot_be_used_are_samples_without_one(change: Any, kind: Freshness) -> None:
    faults = (10, 11, 20)
    run, _ = looped(change=lambda m, k: change(m, k) if k in faults else m, task=ANGLE)
    noise = drawn(ANGLE).noise
    assert noise is not None
    noise = noise.copy()
    noise[0, list(faults)] = np.nan
    expected = simulate(ANGLE, paired(LQR(ANGLE), LQR, ANGLE)[0], **drawn(ANGLE)._replace(noise=noise).arguments)
    equal(run, expected)
    assert [tuple(Freshness)[run.columns.codes[k, 0]] for k in faults] == [kind] * 3


@pytest.mark.slow
def test_the_delay_is_predicted_from_the_estimate() -> None:
    """Exact sensors and model: the input of a sample is that of the state predicted one sample ahead."""
    exact = dataclasses.replace(TASK, measurement=Sensor(signals("angle [rad]", "rate [rad/s]")))
    run, _ = looped(task=exact, predict_delay=True)
    lqr, step = LQR(exact), exact.true_dynamics.lower("numpy")
    for k in range(1, 39):
        predicted = step(run.columns.x[k], run.columns.u[k], np.zeros(1), np.zeros(0))
        assert run.columns.u[k + 1] == pytest.approx(lqr.step(predicted, k + 1).input, abs=1e-12)
    with pytest.raises(TriviumError, match="predict_delay"):
        looped(OutputFeedback(LQR(exact), ExtendedKalmanFilter(exact)), exact, predict_delay=True)


def test_a_controller_that_was_not_asked_catches_up(expected: Any) -> None:
    """One that answers at every seventh sample, and one that is new, know what was measured in between."""
    slow, late = (AskedController(OutputFeedback(LQR(TASK), ExtendedKalmanFilter(TASK)), TASK) for _ in range(2))
    reports, first = Reports(2, 1), TASK.reading.start[1]
    for k in range(29):
        u = expected.inputs[0, k - 1] if k else first
        reports.add(k, Report(expected.outputs[0, k], u))
        for asked in (slow,) * (k % 7 == 0) + (late,) * (k == 28):
            decision = asked.decide(k, np.zeros(2), k, reports)
            np.testing.assert_array_equal(decision.input, expected.inputs[0, k])
            assert asked.decide(k, np.zeros(2), k, reports) is decision  # a report is not taken twice
    assert len(reports.k) == LONGEST


@pytest.mark.slow
def test_a_stand_by_knows_every_measurement(tmp_path: Any) -> None:
    from tests.ctrl.realtime.plants import Deadly

    mortal = type("Mortal", (Deadly,), {"marker": str(tmp_path / "died"), "at": 23})
    run, _ = looped(
        lambda task: OutputFeedback(mortal(task), ExtendedKalmanFilter(task)), in_process=False, standby=True,
        unresponsive_seconds=1e6,
    )  # fmt: skip
    assert (tmp_path / "died").exists()
    assert run.restarts == 1
    equal(run, simulated(OutputFeedback(LQR(TASK), ExtendedKalmanFilter(TASK))))


@pytest.mark.slow
@pytest.mark.parametrize("makes", [LQR, lambda task: OutputFeedback(LQR(task), ExtendedKalmanFilter(task))])
def test_a_report_before_the_run_is_not_one_of_it(makes: Any) -> None:
    """The plant is away in the first samples: the estimate then begins with the first report."""
    run, _ = looped(makes, ANGLE, lambda m, k: None if 0 <= k < 5 else m)
    assert applied(run) == [Applied.SAFE] * 5 + [Applied.CONTROLLER] * 35
    assert np.isnan(run.columns.y[:5]).all()
    estimator, u = ExtendedKalmanFilter(ANGLE), run.columns.u[4]
    for k in range(5, 40):
        x = estimator.update(run.columns.y[k], u, k).state
        u = run.columns.u[k]
        np.testing.assert_array_equal(u, LQR(ANGLE).step(x, k).input)


@pytest.mark.slow
def test_before_the_first_report_the_input_is_safe() -> None:
    run, _ = looped(task=ANGLE, change=lambda m, k: None if k < 23 else m, safe_input=(-0.25,))
    told = applied(run)
    first = told.index(Applied.CONTROLLER)
    assert told == [Applied.SAFE] * first + [Applied.CONTROLLER] * (40 - first)
    assert 1 <= first <= 4


def test_an_estimator_that_fails_ends_in_the_safe_input() -> None:
    class Broken:
        task = ANGLE

        def reset(self) -> None:
            pass

        def update(self, y: np.ndarray, u: np.ndarray, k: int) -> Any:
            raise ArithmeticError("broken")

    run, _ = looped(task=ANGLE, more={"estimator": Broken()})
    assert set(applied(run)) == {Applied.SAFE}
    assert run.errors == ("estimator: ArithmeticError: broken",)


REPORTS = st.one_of(
    st.none(),
    st.sampled_from([np.zeros(3), "text", Measurement(np.zeros(2), 0), RuntimeError("cable")]),
    st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e300, 0.1]), min_size=2, max_size=2).map(np.array),
    st.integers(0, 3).map(lambda bits: np.where([bits & 1, bits & 2], np.nan, 0.0)),  # added to what was measured
)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.integers(0, 39), REPORTS, max_size=40),
    st.sampled_from([LQR, lambda task: OutputFeedback(LQR(task), ExtendedKalmanFilter(task))]),
)
def test_whatever_is_reported_inputs_are_finite_and_within_bounds(faults: dict[int, Any], makes: Any) -> None:
    def change(measured: Measurement, k: int) -> Any:
        fault = faults.get(k, measured)
        if isinstance(fault, Exception):
            raise fault
        is_added = isinstance(fault, np.ndarray) and fault.shape == (2,) and np.nan_to_num(fault).any() == 0
        return measured._replace(x=measured.x + fault) if is_added else fault

    run, connection = looped(makes, change=change)
    assert run.columns.k.tolist() == list(range(40))
    low, high = TASK.input_bounds
    written = np.array(connection.written)
    assert np.isfinite(written).all()
    assert ((written >= low) & (written <= high)).all()


def test_outputs_over_udp() -> None:
    peer = UDPPeer(TASK, 0)
    connection = UDPPlant(TASK, "127.0.0.1", peer.port)
    assert connection.read() is None
    assert peer.receive() is None
    peer.send(np.array([0.5, np.nan]))
    measured = connection.read()
    assert measured is not None
    np.testing.assert_array_equal(measured.x, [0.5, np.nan])
    peer.close()
    connection.close()


@pytest.mark.slow
def test_the_folder_holds_the_outputs(tmp_path: Any) -> None:
    run, _ = looped()
    folder = run.save(tmp_path / "run")
    lines = (folder / "samples.csv").read_text().splitlines()
    assert lines[0].endswith("measured angle [rad],measured rate [rad/s]")
    assert lines[1].split(",")[-1] == "nan"
    assert '"estimator": "ExtendedKalmanFilter, for controller"' in (folder / "summary.json").read_text()


def test_resampled_measurements() -> None:
    assert resampled(ANGLE, 2.0 / ANGLE.dt).measurement is ANGLE.measurement
    with pytest.raises(TriviumError, match="counted in samples"):
        resampled(TASK, 2.0 / TASK.dt)


def test_misuse() -> None:
    clock, full = SimulatedClock(), dataclasses.replace(TASK, measurement=None)
    with pytest.raises(TriviumError, match="'rate' is measured every 3 samples"):
        looped(watchdog_seconds=3 * TASK.dt)
    with pytest.raises(TriviumError, match=r"fallbacks: 'lqg' takes measured outputs.*inside it"):
        looped(more={"fallbacks": {"lqg": OutputFeedback(LQR(TASK), ExtendedKalmanFilter(TASK))}})
    with pytest.raises(TriviumError, match="estimator"):
        looped(more={"estimator": ExtendedKalmanFilter})
    with pytest.raises(TriviumError, match="other signals"):
        looped(more={"estimator": ExtendedKalmanFilter(ANGLE)})
    with pytest.raises(TriviumError, match="measures angle, rate"):
        looped(OutputFeedback(LQR(ANGLE), ExtendedKalmanFilter(ANGLE)))
    connection = SimulatedPlant(full, clock, np.zeros(2))
    with pytest.raises(TriviumError, match="reports its state"):
        Loop(full, LQR, connection, SETTINGS, estimator=ExtendedKalmanFilter(TASK))
    with pytest.raises(TriviumError, match="gives its state"):
        Loop(full, OutputFeedback(LQR(TASK), ExtendedKalmanFilter(TASK)), connection, SETTINGS)
    with pytest.raises(TriviumError, match="noise"):
        SimulatedPlant(full, clock, np.zeros(2), noise=np.zeros((5, 2)))
    with pytest.raises(TriviumError, match="noise of shape"):
        SimulatedPlant(TASK, clock, np.zeros(2), noise=np.zeros((5, 3)))
