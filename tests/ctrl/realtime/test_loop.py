"""The loop on a simulated clock: what it applies in every sample, and when."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, simulate
from ctrl.controller import Status
from ctrl.realtime import (
    Applied,
    Freshness,
    Loop,
    LoopSettings,
    Measurement,
    Overrun,
    RealClock,
    SimulatedClock,
    SimulatedPlant,
    resampled,
)
from ctrl.realtime.run import LoopRun
from mpc import LinearMPC, NonlinearMPC
from systems import Sinusoid, TriviumError
from systems.library import oscillating_masses
from tests.ctrl.realtime.plants import START, TASK, Constant, Prepared, Scripted, Slow, Stalling, Wrapped, plant

IN_PROCESS = LoopSettings(seconds=2.0, in_process=True)  # 40 samples
MS = 1_000_000


def looped(
    controller: Any = LQR, change: Any = None, clock: Any = None, fallbacks: Any = None, **named: Any
) -> LoopRun:
    clock = clock or SimulatedClock()
    connection = plant(clock) if change is None else Wrapped(plant(clock), change)
    settings = dataclasses.replace(IN_PROCESS, **named)
    return Loop(TASK, controller, connection, settings, fallbacks, clock).run()


def applied(run: LoopRun) -> list[Applied]:
    return [tuple(Applied)[i] for i in run.columns.codes[:, 1]]


def fresh(run: LoopRun) -> list[Freshness]:
    return [tuple(Freshness)[i] for i in run.columns.codes[:, 0]]


@pytest.fixture(scope="module")
def reference() -> Any:
    return simulate(TASK, LQR(TASK), START[None])


@pytest.mark.parametrize("kind", [LQR, LinearMPC])
def test_without_delays_it_is_the_closed_loop(kind: Any) -> None:
    w = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 40, 1))
    expected = simulate(TASK, kind(TASK), START[None], w)
    clock = SimulatedClock()
    run = Loop(TASK, kind, plant(clock, w[0]), IN_PROCESS, clock=clock).run()
    assert np.abs(run.columns.x - expected.states[0, :-1]).max() < 1e-9
    assert np.abs(run.columns.u - expected.inputs[0]).max() < 1e-7
    assert run.stage_costs == pytest.approx(expected.costs[0], rel=1e-6)
    assert run.summary.inputs == {"controller": 40}
    assert run.summary.missed == 0


def test_a_state_that_leaves_the_domain_stays_there() -> None:
    expected = simulate(TASK, Constant(10.0), START[None])
    clock = SimulatedClock()
    simulated = plant(clock)
    run = Loop(TASK, Constant(10.0), simulated, dataclasses.replace(IN_PROCESS, seconds=5.0), clock=clock).run()
    assert simulated.left == expected.left[0] > 0
    assert (run.columns.x == expected.states[0, :-1]).all()


def test_the_simulated_actuators_have_their_limits() -> None:
    after = []
    for force in (10.0, 1e6):
        clock = SimulatedClock()
        simulated = plant(clock)
        simulated.write(np.array([force]))
        clock.advance(TASK.dt)
        after.append(simulated.read().x)
    assert (after[0] == after[1]).all()
    assert (after[0] != START).all()


def test_deadlines_are_absolute() -> None:
    clock = SimulatedClock()
    controller = Slow(clock, {k: 0.01 * (k % 4) for k in range(40)})
    run = looped(controller, clock=clock)
    due, woke, asked, answered, written = run.columns.times.T
    assert (due == 50 * MS * np.arange(40)).all()
    assert (woke == due).all()
    assert (answered - asked == 10 * MS * (np.arange(40) % 4)).all()
    assert (written == answered).all()
    assert run.summary.step.worst == pytest.approx(0.03)
    assert run.summary.missed == 0


def test_samples_that_are_over_are_skipped_and_the_plant_goes_on(reference: Any) -> None:
    clock = SimulatedClock()
    controller = Slow(clock, {3: 0.13})  # two and a half samples
    run = looped(controller, clock=clock, overrun=Overrun.LATE)
    assert run.columns.k.tolist() == [0, 1, 2, 3, 5, *range(6, 40)]
    assert controller.asked == run.columns.k.tolist()
    assert run.summary.skipped == 1
    assert run.summary.missed == 2  # sample 3 was late, 4 never began
    step = TASK.true_dynamics.lower("numpy")
    held = run.columns.u[3]
    x = reference.states[0, 3]
    for _ in range(2):
        x = step(x, held, np.zeros(1), np.zeros(0))
    assert run.columns.x[4] == pytest.approx(x, abs=1e-12)


@pytest.mark.parametrize("policy", list(Overrun))
@pytest.mark.every(3)
def test_overruns(policy: Overrun) -> None:
    clock = SimulatedClock()
    run = looped(Slow(clock, {5: 0.047}), clock=clock, overrun=policy, fallbacks={"zero": Constant(0.25)})
    u, told = run.columns.u[:, 0], applied(run)
    lqr = LQR(TASK).step(run.columns.x[5], 5).input[0]
    expected = {Overrun.LATE: (lqr, Applied.LATE), Overrun.HOLD: (u[4], Applied.HELD)}
    expected |= {Overrun.FALLBACK: (0.25, Applied.FALLBACK)}
    assert (u[5], told[5]) == expected[policy]
    assert set(told[:5] + told[6:]) == {Applied.CONTROLLER}
    assert run.summary.missed == 1
    assert run.columns.codes[:, 5].tolist() == [int(k == 5) for k in range(40)]
    assert run.summary.fallbacks == ({"zero": 1} if policy is Overrun.FALLBACK else {})


def test_predictions_and_the_watchdog_count_samples_that_were_skipped() -> None:
    def run(change: Any) -> LoopRun:
        clock = SimulatedClock()
        return looped(Slow(clock, {3: 0.13}), change, clock, overrun=Overrun.LATE, watchdog_seconds=0.15)

    normal, lost = run(lambda m, k: m), run(lambda m, k: None if k >= 4 else m)
    assert lost.columns.k[4] == 5
    assert lost.columns.x[4] == pytest.approx(normal.columns.x[4], abs=1e-9)
    assert [tuple(Applied)[i] for i in lost.columns.codes[3:6, 1]] == [Applied.LATE, Applied.CONTROLLER, Applied.SAFE]


def scripted(policy: Overrun, script: dict[int, list[tuple[float, int]]]) -> tuple[LoopRun, Scripted, Wrapped]:
    clock = SimulatedClock()
    connection = Wrapped(plant(clock))
    settings = LoopSettings(seconds=1.0, in_process=True, overrun=policy)
    loop = Loop(TASK, LQR, connection, settings, {"constant": Constant(0.25)}, clock)
    runner = Scripted(clock, script)
    loop._runner = runner
    return loop.run(), runner, connection


@pytest.mark.parametrize("policy", list(Overrun))
def test_an_answer_that_comes_in_the_next_sample(policy: Overrun) -> None:
    """That of sample 5 comes 2 ms after sample 6 has begun, and that of sample 6 another 2 ms later."""
    run, runner, connection = scripted(policy, {5: [], 6: [(0.002, 5), (0.004, 6)]})
    told = applied(run)
    assert told[5] is (Applied.FALLBACK if policy is Overrun.FALLBACK else Applied.HELD)
    assert told[6] is Applied.CONTROLLER
    assert run.columns.u[6] == pytest.approx(runner.input(6))
    assert run.columns.times[6, 4] - run.columns.times[6, 0] == 4 * MS
    late = [u for u in connection.written if u == runner.input(5)]
    assert len(late) == (policy is Overrun.LATE)
    assert run.summary.missed == 1


@pytest.mark.parametrize("policy", list(Overrun))
def test_only_the_answer_to_an_earlier_request_comes(policy: Overrun) -> None:
    run, runner, _ = scripted(policy, {5: [], 6: [(0.002, 5)]})
    expected = {Overrun.LATE: Applied.LATE, Overrun.HOLD: Applied.HELD, Overrun.FALLBACK: Applied.FALLBACK}
    assert applied(run)[6] is expected[policy]
    if policy is Overrun.LATE:
        assert run.columns.u[6] == runner.input(5)
    if policy is Overrun.HOLD:
        assert run.columns.u[6] == run.columns.u[4]
    assert applied(run)[7] is Applied.CONTROLLER


def test_an_answer_after_the_budget_and_within_the_sample() -> None:
    run, runner, _ = scripted(Overrun.LATE, {5: [(0.046, 5)]})
    assert applied(run)[5] is Applied.LATE
    assert run.columns.u[5] == runner.input(5)
    assert run.summary.missed == 1
    assert run.summary.skipped == 0


def test_the_delay_is_predicted_away(reference: Any) -> None:
    """The input of a sample is computed in the one before; with the exact model, the run is that without delay."""
    clock = SimulatedClock()
    controller = Slow(clock, dict.fromkeys(range(100), 0.04))
    run = looped(controller, clock=clock, predict_delay=True)
    assert run.columns.x == pytest.approx(reference.states[0, :40], abs=1e-9)
    assert controller.asked == list(range(1, 41))
    due, _, _, _, written = run.columns.times.T
    assert (written == due).all()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda m, k: None, Freshness.MISSING),
        (lambda m, k: m._replace(x=np.where(np.arange(4) == 1, np.nan, m.x)), Freshness.INVALID),
        (lambda m, k: m._replace(x=m.x[:3]), Freshness.INVALID),
        (lambda m, k: m._replace(sequence=9), Freshness.STALE),
        (lambda m, k: m._replace(time=5), Freshness.STALE),
        (lambda m, k: {}["device"], Freshness.MISSING),
        (lambda m, k: "text", Freshness.MISSING),
    ],
)
@pytest.mark.every(3)
def test_measurements_that_fail_are_found_and_predicted_through(change: Any, kind: Freshness, reference: Any) -> None:
    faults = (10, 11, 12, 20)

    def changed(measured: Measurement, k: int) -> Any:
        stamped = measured._replace(time=k + 10)
        return change(stamped, k) if k in faults else stamped

    run = looped(change=changed)
    assert [k for k, word in enumerate(fresh(run)) if word is not Freshness.FRESH] == list(faults)
    assert {fresh(run)[k] for k in faults} == {kind}
    assert run.columns.x == pytest.approx(reference.states[0, :40], abs=1e-9)  # undisturbed, the model is exact
    assert run.summary.inputs == {"controller": 40}


def test_the_watchdog_and_its_end() -> None:
    """Samples 10 to 20 are lost; the third of them reaches 0.15 s. Sample 21 is normal again."""
    run = looped(
        change=lambda m, k: None if 10 <= k <= 20 else m, watchdog_seconds=0.15, safe_input=(0.5,), rate_limit=(1e9,)
    )
    told = applied(run)
    assert [k for k, word in enumerate(told) if word is Applied.SAFE] == list(range(12, 21))
    assert (run.columns.u[12:21] == 0.5).all()
    assert told[21] is Applied.CONTROLLER
    assert run.columns.codes[12:21, 5].sum() == 0  # not asked, so not late
    late = looped(change=lambda m, k: None if 10 <= k <= 20 else m, watchdog_seconds=0.15, predict_delay=True)
    assert [k for k, word in enumerate(applied(late)) if word is Applied.SAFE] == list(range(12, 22))


def test_a_prediction_that_diverges_is_not_put_to_the_controller() -> None:
    run = looped(change=lambda m, k: m._replace(x=m.x + 1e200) if k == 5 else m, predict_delay=True, safe_input=(0.5,))
    assert [k for k, word in enumerate(applied(run)) if word is Applied.SAFE] == [6]  # computed in sample 5
    assert run.columns.u[6] == 0.5


def test_a_plant_that_counts_from_the_beginning_again_is_accepted_after_the_watchdog() -> None:
    run = looped(change=lambda m, k: m if k < 15 else m._replace(sequence=m.sequence - 15), watchdog_seconds=0.2)
    assert fresh(run)[14:20] == [Freshness.FRESH, *[Freshness.STALE] * 4, Freshness.FRESH]
    assert set(fresh(run)[19:]) == {Freshness.FRESH}


def test_before_the_first_measurement_the_input_is_safe() -> None:
    run = looped(change=lambda m, k: None if k < 23 else m, safe_input=(-0.5,))  # 21 of them before the first sample
    told = applied(run)
    first = told.index(Applied.CONTROLLER)
    assert 1 <= first <= 4
    assert told == [Applied.SAFE] * first + [Applied.CONTROLLER] * (40 - first)
    assert (run.columns.u[:first] == -0.5).all()


def test_the_first_plan_is_made_before_the_time_counts() -> None:
    """Also if the first measurement comes late, as over a network."""
    clock = SimulatedClock()
    slow = Slow(clock, {})
    slow.first = False  # so that the first plan is recorded, too
    slow.seconds = {0: 0.02}
    run = looped(slow, change=lambda m, k: None if k < 5 else m, clock=clock)
    assert slow.asked == [0, *range(40)]
    assert run.summary.measurements == {"fresh": 40}
    assert run.columns.times[0, 0] == 0


def test_the_next_sample_is_prepared_when_the_input_has_been_written(reference: Any) -> None:
    """Also where the preparation alone takes longer than the budget of an answer."""
    clock = SimulatedClock()
    controller = Prepared(clock, dict.fromkeys(range(40), 0.004), ahead=0.03)
    run = looped(controller, clock=clock, budget=0.1)
    assert [k for k, _ in controller.prepared] == [*range(41)]
    due, _, asked, answered, written = run.columns.times.T
    assert (answered - asked == 4 * MS).all()
    prepared = np.array([at for _, at in controller.prepared[1:]])
    assert np.ptp(prepared - written) == 0
    assert (written - due == 4 * MS).all()
    assert run.summary.missed == 0
    np.testing.assert_array_equal(run.columns.u, reference.inputs[0, :40])


def test_a_sample_that_has_begun_is_not_prepared_and_errors_of_a_preparation_are_told() -> None:
    clock = SimulatedClock()
    controller = Prepared(clock, {3: 0.13}, ahead=0.01, broken=7)
    run = looped(controller, clock=clock, overrun=Overrun.LATE)
    assert [k for k, _ in controller.prepared] == [0, 1, 2, 3, *range(6, 41)]
    _, _, asked, answered, _ = run.columns.times.T
    took = dict(zip(run.columns.k.tolist(), (answered - asked).tolist(), strict=True))
    assert {k for k, each in took.items() if each == 10 * MS} == {5, 7}
    assert run.errors == ("ValueError: cannot be prepared",)
    assert set(applied(run)) == {Applied.CONTROLLER, Applied.LATE}


def test_with_its_delay_predicted_the_sample_after_the_next_is_prepared() -> None:
    clock = SimulatedClock()
    controller = Prepared(clock, {}, ahead=0.01)
    looped(controller, clock=clock, predict_delay=True)
    assert [k for k, _ in controller.prepared] == [*range(1, 42)]
    assert controller.asked == [*range(1, 41)]


def test_real_time_iterations_are_prepared() -> None:
    """The loop costs what the closed loop does, and every step after the first finds its sample prepared."""
    found = []

    class Watched(NonlinearMPC):
        def step(self, x: np.ndarray, k: int) -> Any:
            found.append(self._prepared == k)
            return super().step(x, k)

    run = looped(lambda task: Watched(task, 15, iterations=1))
    assert found == [False, *[True] * 40]
    expected = simulate(TASK, NonlinearMPC(TASK, 15, iterations=1), START[None])
    assert run.stage_costs == pytest.approx(expected.costs[0, :40], rel=1e-2, abs=1e-4)
    assert run.stage_costs.sum() == pytest.approx(expected.costs[0, :40].sum(), rel=1e-4)


@pytest.mark.parametrize("limit", [5.0, 40.0])
@pytest.mark.every(2)
def test_commands_are_limited_after_the_controller(limit: float) -> None:
    run = looped(rate_limit=(limit,))
    change = np.diff(run.columns.u[:, 0], prepend=0.0)
    assert np.abs(change).max() == pytest.approx(limit * 0.05)
    fallback = looped(Constant(np.nan), fallbacks={"far": Constant(1e300)}, rate_limit=(limit,))
    assert np.abs(np.diff(fallback.columns.u[:, 0], prepend=0.0)).max() == pytest.approx(limit * 0.05)
    assert fallback.columns.u.max() == pytest.approx(min(10.0, 40 * limit * 0.05))
    outside = looped(Constant(1e300))
    assert (outside.columns.u == 10.0).all()


@pytest.mark.parametrize("answer", [np.nan, np.inf, ValueError("broken"), np.zeros(2), "text", None])
@pytest.mark.every(3)
def test_answers_that_cannot_be_applied(answer: Any) -> None:
    chain = {
        "raises": Constant(KeyError("no")),
        "nan": Constant(np.nan),
        "fine": Constant(0.75),
        "not asked": Constant(1),
    }
    run = looped(Constant(answer), fallbacks=chain)
    assert (run.columns.u == 0.75).all()
    assert run.summary.fallbacks == {"fine": 40}
    assert any("raises" in error for error in run.errors)
    none = looped(Constant(answer), fallbacks={}, safe_input=(0.5,))
    assert np.isfinite(none.columns.u).all()
    if isinstance(answer, float):
        assert set(applied(none)) == {Applied.SAFE}


def test_a_fallback_that_solves_its_problem_comes_before_one_that_does_not() -> None:
    class Unsure(Constant):
        def step(self, x: np.ndarray, k: int) -> Any:
            return dataclasses.replace(super().step(x, k), status=Status.INFEASIBLE)

    run = looped(Constant(np.nan), fallbacks={"unsure": Unsure(0.1), "sure": Constant(0.2)})
    assert run.summary.fallbacks == {"sure": 40}
    run = looped(Constant(np.nan), fallbacks={"unsure": Unsure(0.1), "nan": Constant(np.nan)})
    assert run.summary.fallbacks == {"unsure": 40}
    run = looped(Constant(np.nan), fallbacks={"unsure": Unsure(0.1), "later": Unsure(0.3)})
    assert run.summary.fallbacks == {"unsure": 40}


def test_a_clock_that_stands_still_does_not_stop_the_samples() -> None:
    clock = Stalling(set(range(5, 12)))
    run = looped(clock=clock)
    assert (np.diff(run.columns.k) >= 1).all()
    assert (np.diff(run.columns.x[:, 0]) != 0).all()  # nor the simulated plant
    assert run.columns.k[-1] == 39
    assert np.isfinite(run.columns.u).all()


def test_the_safe_input_is_written_last_however_the_loop_ends() -> None:
    clock = SimulatedClock()
    connection = Wrapped(plant(clock))
    settings = dataclasses.replace(IN_PROCESS, safe_input=(0.5,), seconds=None)
    loop = Loop(TASK, LQR, connection, settings, clock=clock)

    def change(measured: Measurement, k: int) -> Measurement:
        if k == 7:
            loop.stop()
        return measured

    connection.change = change
    run = loop.run()
    assert len(run.columns.k) == 8
    assert connection.written[-1] == 0.5
    assert run.stopped == "stop()"
    with pytest.raises(TriviumError, match="has already run"):
        loop.run()


@pytest.mark.skipif(os.name == "nt", reason="os.kill of Windows ends the process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_the_loop_and_are_as_before_afterwards(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    connection = Wrapped(plant(RealClock()))
    settings = LoopSettings(in_process=True, safe_input=(0.5,))
    threading.Timer(0.2, lambda: os.kill(os.getpid(), number)).start()
    run = Loop(TASK, LQR, connection, settings).run()
    assert run.stopped == number.name
    assert connection.written[-1] == 0.5
    assert signal.getsignal(number) is before


@pytest.mark.skipif(os.name == "nt", reason="os.kill of Windows ends the process")
def test_a_second_signal_interrupts_a_controller_that_does_not_return() -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        loop._stop.wait()  # two signals at once would be one
        os.kill(os.getpid(), signal.SIGINT)

    class Endless(Constant):
        def step(self, x: np.ndarray, k: int) -> Any:
            if k == 1:
                threading.Thread(target=interrupt).start()
            while k == 1:
                time.sleep(0.01)
            return super().step(x, k)

    connection = Wrapped(plant(RealClock()))
    loop = Loop(TASK, Endless(1.0), connection, LoopSettings(in_process=True, safe_input=(0.5,)))
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert connection.written[-1] == 0.5


def test_a_long_sample_is_cut_short_by_a_signal() -> None:
    clock = RealClock()
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = clock.time()
    clock.sleep_until(began + 60 * 10**9, stop)
    assert clock.time() - began < 30 * 10**9


def test_the_real_clock_never_wakes_early() -> None:
    clock, stop = RealClock(), threading.Event()
    for _ in range(20):
        instant = clock.time() + 2 * MS
        clock.sleep_until(instant, stop)
        assert clock.time() >= instant


def test_the_log_is_bounded_and_counts_everything() -> None:
    run = looped(capacity=7, change=lambda m, k: None if k == 3 else m)
    assert run.columns.k.tolist() == list(range(33, 40))
    assert run.summary.samples == 40
    assert run.summary.held == 7
    assert run.summary.measurements == {"fresh": 39, "missing": 1}
    assert len(run.stage_costs) == 7


def test_summary_against_numpy() -> None:
    clock = SimulatedClock()
    took = {k: 1e-3 * (k % 50) for k in range(300)} | {130: 0.049, 131: 0.048}
    run = looped(Slow(clock, took), clock=clock, seconds=15.0)
    numbers = run.summary
    steps = np.array([took[k] for k in range(300)])
    assert numbers.step.worst == pytest.approx(steps.max())
    assert numbers.step.p50 == pytest.approx(np.quantile(steps[steps > 0], 0.5, method="higher"))
    assert numbers.step.p99 == pytest.approx(np.quantile(steps[steps > 0], 0.99, method="higher"))
    late = steps > 0.045
    assert numbers.missed == late.sum()
    worst = max(range(15), key=lambda s: (late[20 * s : 20 * s + 20].sum(), steps[20 * s : 20 * s + 20].max(), s))
    assert numbers.worst_second is not None
    assert numbers.worst_second.start == worst
    assert numbers.worst_second.missed == late[20 * worst : 20 * worst + 20].sum()


@pytest.mark.slow
def test_two_loops_in_two_threads_give_what_they_give_alone() -> None:
    def both(kind: Any) -> LoopRun:
        return looped(kind)

    alone = {kind: both(kind) for kind in (LQR, LinearMPC)}
    runs: dict[Any, LoopRun] = {}
    threads = [threading.Thread(target=lambda kind=kind: runs.update({kind: both(kind)})) for kind in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for kind, run in alone.items():
        assert (runs[kind].columns.x == run.columns.x).all()
        assert (runs[kind].columns.u == run.columns.u).all()


def test_misuse() -> None:
    clock = SimulatedClock()
    with pytest.raises(TriviumError, match=r"read\(\) and write"):
        Loop(TASK, LQR, object())  # type: ignore[arg-type]
    with pytest.raises(TriviumError, match="controller"):
        Loop(TASK, LQR(TASK), plant(clock))
    with pytest.raises(TriviumError, match="controller"):
        Loop(TASK, 5, plant(clock), IN_PROCESS)  # type: ignore[arg-type]
    with pytest.raises(TriviumError, match="fallbacks"):
        Loop(TASK, LQR, plant(clock), IN_PROCESS, {"lqr": LQR})  # type: ignore[dict-item]
    with pytest.raises(TriviumError, match="fallbacks"):
        Loop(TASK, LQR, plant(clock), IN_PROCESS, [LQR(TASK)])  # type: ignore[arg-type]
    with pytest.raises(TriviumError, match="clock"):
        Loop(TASK, LQR, plant(clock), IN_PROCESS, clock=5)  # type: ignore[arg-type]
    with pytest.raises(TriviumError, match="spin"):
        RealClock(-1.0)
    with pytest.raises(TriviumError, match="safe_input"):
        Loop(TASK, LQR, plant(clock), LoopSettings(safe_input=(11.0,)))
    with pytest.raises(TriviumError, match="rate_limit"):
        Loop(TASK, LQR, plant(clock), LoopSettings(rate_limit=(1.0, 2.0)))
    with pytest.raises(TriviumError, match="resampled"):
        Loop(TASK, LQR, plant(clock), LoopSettings(rate=200.0))
    for name, value in {
        "rate": -1.0, "seconds": 0.0, "budget": 1.5, "overrun": "skip", "in_process": 1, "standby": None,
        "restart_seconds": 0.0, "unresponsive_seconds": -1.0, "predict_delay": "no", "watchdog_seconds": np.nan,
        "rate_limit": (0.0,), "safe_input": (np.nan,), "capacity": 0,
    }.items():  # fmt: skip
        with pytest.raises(TriviumError, match=name):
            LoopSettings(**{name: value})
    with pytest.raises(TriviumError, match="standby"):
        LoopSettings(standby=True, in_process=True)
    with pytest.raises(TriviumError, match="start"):
        SimulatedPlant(TASK, clock, np.zeros(3))
    with pytest.raises(TriviumError, match="disturbances"):
        SimulatedPlant(TASK, clock, START, np.zeros((3, 2)))


def test_resampling() -> None:
    faster = resampled(TASK, 200.0)
    assert (faster.dt, faster.steps) == (0.005, 1000)
    assert resampled(TASK, 20.0) is TASK
    with pytest.raises(TriviumError, match="per sample"):
        resampled(dataclasses.replace(TASK, reference=Sinusoid(0.1)), 200.0)
    masses = oscillating_masses()
    if masses.plant.is_discrete:
        with pytest.raises(TriviumError, match="discrete"):
            resampled(masses, 200.0)
