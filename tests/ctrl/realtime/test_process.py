"""The controller in a process of its own: the same numbers, and what happens when that process dies."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, simulate
from ctrl.realtime import Applied, ControllerFailed, Loop, LoopSettings, Overrun, RealClock, SimulatedClock
from ctrl.realtime.process import STANDBY_EVERY, OwnProcess
from ctrl.realtime.run import LoopRun
from ctrl.realtime.slots import Slot, request_type
from tests.ctrl.realtime.plants import START, TASK, Deadly, Remembers, Sleepy, Wrapped, plant, refuses


def applied(run: LoopRun) -> list[Applied]:
    return [tuple(Applied)[i] for i in run.columns.codes[:, 1]]


def deadly(tmp_path: Path, seconds: float = 0.0, at: int = 10) -> Any:
    return type("Mortal", (Deadly,), {"marker": str(tmp_path / "died"), "seconds": seconds, "at": at})


def test_the_same_numbers_as_in_the_loops_own_thread_and_no_process_stays_behind() -> None:
    clock = SimulatedClock()
    loop = Loop(TASK, LQR, Wrapped(plant(clock)), LoopSettings(seconds=5.0), clock=clock)
    runner, pids = loop._runner, []
    assert isinstance(runner, OwnProcess)

    def change(measured: Any, k: int) -> Any:
        pids.extend(runner.pids)
        return measured

    loop._plant.change = change  # type: ignore[attr-defined]
    run = loop.run()
    expected = simulate(TASK, LQR(TASK), START[None])
    assert (run.columns.x == expected.states[0, :-1]).all()
    assert (run.columns.u == expected.inputs[0]).all()
    assert (run.columns.took > 0).all()
    assert run.restarts == 0
    (pid,) = set(pids)
    if os.name == "nt":  # where os.kill(pid, 0) ends a process
        return
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_stand_by_takes_over_in_the_same_sample(tmp_path: Path) -> None:
    clock = SimulatedClock()
    settings = LoopSettings(seconds=2.0, standby=True, unresponsive_seconds=1e6)  # of a clock that runs much faster
    at = STANDBY_EVERY + 1  # the stand-by is not asked then, so that it is the controller in use that dies
    run = Loop(TASK, deadly(tmp_path, at=at), plant(clock), settings, {}, clock).run()
    assert (tmp_path / "died").exists()
    assert run.restarts == 1
    assert set(applied(run)) == {Applied.CONTROLLER}
    assert run.columns.u == pytest.approx(simulate(TASK, LQR(TASK), START[None]).inputs[0, :40])


@pytest.mark.parametrize(
    "seconds", [pytest.param(0.0, id="dies"), pytest.param(60.0, id="hangs", marks=pytest.mark.slow)]
)
def test_the_fallback_runs_until_a_new_process_is_ready(tmp_path: Path, seconds: float) -> None:
    clock = RealClock()
    settings = LoopSettings(unresponsive_seconds=0.2)
    loop = Loop(TASK, deadly(tmp_path, seconds), Wrapped(plant(clock)), settings, clock=clock)

    def change(measured: Any, k: int) -> Any:
        told = loop.log.counts[1]
        if k > 1200 or (k > 20 and told[3] and tuple(Applied)[loop.log.columns(1).codes[0, 1]] is Applied.CONTROLLER):
            loop.stop()
        return measured

    loop._plant.change = change  # type: ignore[attr-defined]
    run = loop.run()
    told = applied(run)
    assert told[int(np.searchsorted(run.columns.k, 10))] is Applied.FALLBACK
    assert run.restarts >= 1
    assert told[-1] is Applied.CONTROLLER
    assert set(told) == {Applied.CONTROLLER, Applied.FALLBACK}
    assert np.isfinite(run.columns.u).all()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_process_that_is_killed_from_outside() -> None:
    clock = SimulatedClock()
    loop = Loop(
        TASK, LQR, Wrapped(plant(clock)), LoopSettings(seconds=3.0, standby=True, unresponsive_seconds=1e6), {}, clock
    )
    runner = loop._runner
    assert isinstance(runner, OwnProcess)

    def change(measured: Any, k: int) -> Any:
        if k == 20:
            os.kill(runner.pids[0] or 0, signal.SIGKILL)
        return measured

    loop._plant.change = change  # type: ignore[attr-defined]
    run = loop.run()
    assert run.restarts == 1
    bad = [k for k, word in enumerate(applied(run)) if word is not Applied.CONTROLLER]
    assert bad in ([], [20], [20, 21])


@pytest.mark.parametrize(
    "policy",
    [Overrun.LATE, *(pytest.param(policy, marks=pytest.mark.slow) for policy in (Overrun.HOLD, Overrun.FALLBACK))],
)
def test_late_answers_in_real_time(policy: Overrun) -> None:
    """Samples 5 and 15 take 75 ms of 50: their answers come in the middle of samples 6 and 16."""
    clock = RealClock()
    run = Loop(TASK, Sleepy, plant(clock), LoopSettings(seconds=1.2, overrun=policy), clock=clock).run()
    told = dict(zip(run.columns.k.tolist(), applied(run), strict=True))
    word = {Overrun.LATE: Applied.HELD, Overrun.HOLD: Applied.HELD, Overrun.FALLBACK: Applied.FALLBACK}[policy]
    for k in (5, 15):
        assert told[k] is word
        if word is Applied.HELD:
            row = int(np.searchsorted(run.columns.k, k))
            assert run.columns.u[row] == run.columns.u[row - 1]
    assert run.summary.missed >= 2


class Raises(LQR):
    """Raises at sample 10 with a long message."""

    def step(self, x: np.ndarray, k: int) -> Any:
        if k == 10:
            raise ValueError("sample ten " + "x" * 50_000)
        return super().step(x, k)


def test_a_controller_that_raises_is_replaced_and_its_error_reported() -> None:
    clock = SimulatedClock()
    run = Loop(TASK, Raises, plant(clock), LoopSettings(seconds=1.0, standby=True), clock=clock).run()
    assert any("sample ten" in error for error in run.errors)
    assert run.restarts >= 1
    assert [k for k, word in enumerate(applied(run)) if word is not Applied.CONTROLLER][:1] == [10]
    assert np.isfinite(run.columns.u).all()


def test_a_controller_that_cannot_be_constructed_is_reported() -> None:
    clock = SimulatedClock()
    with pytest.raises(ControllerFailed, match="no such gain"):
        Loop(TASK, refuses, plant(clock), LoopSettings(seconds=1.0), clock=clock).run()


def test_a_process_that_has_answered_when_nobody_waited_is_kept() -> None:
    clock = SimulatedClock()
    runner = OwnProcess(LQR, TASK, clock, standby=False, restart=60.0, unresponsive=1.0)
    try:
        runner.start(60.0, threading.Event())
        runner.ask(0, START, 0)
        time.sleep(0.5)
        clock.advance(5.0)
        runner.ask(1, START, 1)
        assert runner.restarts == 0
        answer = runner.poll(clock.time() + 10**9)
        assert answer is not None
        assert answer.input == pytest.approx(LQR(TASK).step(START, 1).input)
    finally:
        runner.close()


def test_a_process_prepares_the_sample_that_is_asked_next_unless_it_has_been_asked() -> None:
    clock = RealClock()
    runner = OwnProcess(Remembers, TASK, clock, standby=False, restart=60.0, unresponsive=60.0)

    def answer() -> float:
        told = runner.poll(clock.time() + 10 * 10**9)
        assert told is not None
        return float(told.input[0])

    try:
        runner.start(60.0, threading.Event())
        runner.ask(-1, START, 0)
        assert answer() == 0.0
        for k in (0, 1, 5):
            time.sleep(0.1)
            runner.ask(k, START, k)
            assert answer() == {0: 1.0, 1: 11.0, 5: 21.0}[k]
    finally:
        runner.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows numbers sockets in another way")
def test_a_program_with_many_open_files_can_wait() -> None:
    import fcntl
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3000)), hard))
    ours, other = socket.socketpair()
    high = socket.socket(fileno=fcntl.fcntl(ours.detach(), fcntl.F_DUPFD, 2000))
    clock = RealClock()
    try:
        assert not clock.wait(high, clock.time() + 10**6)
        other.send(b"x")
        assert clock.wait(high, clock.time() + 10**9)
    finally:
        high.close()
        other.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_a_new_process_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from ctrl.realtime import process as module

    clock, failures = SimulatedClock(), []
    runner = OwnProcess(LQR, TASK, clock, standby=False, restart=60.0, unresponsive=1.0)
    made = module.ControllerProcess

    def failing(*given: Any) -> Any:
        if not failures:
            failures.append(1)
            raise OSError("no more processes")
        return made(*given)

    try:
        runner.start(60.0, threading.Event())
        monkeypatch.setattr(module, "ControllerProcess", failing)
        runner._processes[0].close()
        end = time.monotonic() + 60
        while time.monotonic() < end and not (failures and runner.is_available):
            runner.ask(0, START, 0)
            time.sleep(0.02)
        assert runner.is_available
        assert "no more processes" in runner.error
    finally:
        runner.close()


def test_a_record_that_is_half_written_is_not_read() -> None:
    kind = request_type(2)
    memory = bytearray(kind.itemsize)
    slot = Slot(memory, kind)
    slot.write(3, 4, [1.0, 2.0])
    record = slot.read()
    assert record is not None
    assert (record["number"], record["k"], record["x"].tolist()) == (3, 4, [1.0, 2.0])
    slot._version[0] += 1  # as by a process that was killed in between
    assert slot.read() is None


def test_records_are_never_torn() -> None:
    kind = request_type(64)
    memory = bytearray(kind.itemsize)
    writer, reader, end = Slot(memory, kind), Slot(memory, kind), threading.Event()

    def write() -> None:
        number = 0
        while not end.is_set():
            number += 1
            writer.write(number, number, np.full(64, float(number)))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(2000):
            record = reader.read()
            assert record is None or (record["x"] == record["number"]).all()
    finally:
        end.set()
        thread.join()
