"""Long runs in which everything goes wrong: measurements, states, time budgets, the clock, the controller's process.

Whatever happens: no exception, every input finite and within its bounds, the sample number never stands still, and two
samples after a fault has passed the input is again the controller's, solved.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, Decision
from ctrl.controller import Status
from ctrl.realtime import (
    Applied,
    Clock,
    Freshness,
    Loop,
    LoopSettings,
    Measurement,
    Overrun,
    SimulatedClock,
    SimulatedPlant,
)
from ctrl.realtime.process import OwnProcess
from mpc import LinearMPC, NonlinearMPC
from systems import Task
from tests.mpc.faults import fenced_pendulum, hasty

TASK = fenced_pendulum()
FAULTS = ("nan", "inf", "missing", "stale", "infeasible", "huge", "hasty", "slow", "raises", "stall", "jump")
SHARE = 0.1  # of the samples at which a fault begins
LONGEST = 4  # samples
RECOVERY = 2  # samples
MAKES: dict[str, Callable[[Task], Any]] = {
    "lqr": LQR,
    "linear": lambda task: LinearMPC(task, 10),
    "nonlinear": lambda task: NonlinearMPC(task, 10),
    "real-time iteration": lambda task: NonlinearMPC(task, 10, iterations=1),
}


class Faults:
    """Which fault is there in which sample, drawn before the run."""

    def __init__(self, samples: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rng, self.now, k = rng, [""] * (samples + LONGEST), 0
        while k < samples:
            if k > 5 and rng.random() < SHARE:
                length, kind = int(rng.integers(1, LONGEST + 1)), str(rng.choice(FAULTS))
                self.now[k : k + length] = [kind] * length
                k += length
            k += 1

    def at(self, k: int) -> str:
        return self.now[min(k, len(self.now) - 1)]

    def between(self, first: int, last: int) -> bool:
        """Whether there was a fault in one of these samples."""
        return any(self.now[first : last + 1])


class FaultyClock(Clock):
    """Stands still, or jumps ahead by several samples, when it should sleep."""

    def __init__(self, faults: Faults) -> None:
        self.inner, self.faults, self.k = SimulatedClock(), faults, -1

    def time(self) -> int:
        return self.inner.time()

    def sleep_until(self, instant: int, stop: threading.Event) -> None:
        fault = self.faults.at(self.k + 1)
        if fault != "stall":
            self.inner.sleep_until(instant + (int(2.5e9 * TASK.dt) if fault == "jump" else 0), stop)

    def wait(self, connection: Any, until: int) -> bool:
        return self.inner.wait(connection, until)


class FaultyPlant:
    """Measurements that are wrong; a plant that has left its domain is taken back to where it began."""

    def __init__(self, clock: FaultyClock, faults: Faults, loop: list[Loop]) -> None:
        self.clock, self.faults, self.loop = clock, faults, loop
        self.start, self.sequence = np.array([0.1, 0.2]), 0
        self.last = Measurement(self.start, 0)
        self.inputs: list[float] = []
        self.renew()

    def renew(self) -> None:
        self.inner = SimulatedPlant(TASK, self.clock, self.start)

    def read(self) -> Any:
        x = self.inner.read().x
        if self.inner.left >= 0 or np.abs(x).max() > 0.7:
            self.renew()
            x = self.inner.read().x
        self.sequence += 1
        k = self.clock.k = self.loop[0].log.samples + self.loop[0].log.skipped
        fault, rng = self.faults.at(k), self.faults.rng
        if fault == "nan":
            x = np.where(rng.random(2) < 0.5, np.nan, x)
            x[rng.integers(2)] = np.nan
        elif fault == "inf":
            x = x * np.array([np.inf, 1.0])
        elif fault == "missing":
            return None
        elif fault == "stale":
            return self.last
        elif fault == "infeasible":
            x = np.array([1.2, 3.0]) * rng.choice([-1.0, 1.0])
        elif fault == "huge":
            x = rng.choice([-1.0, 1.0], 2) * 10.0 ** rng.uniform(3.0, 308.0, 2)
        measured = Measurement(x, self.sequence)
        self.last = measured if fault == "" else self.last
        return measured

    def write(self, u: np.ndarray) -> None:
        self.inputs.append(float(u[0]))
        self.inner.write(u)


class FaultyController:
    """Gets one iteration only, takes too long, or raises."""

    def __init__(self, inner: Any, clock: FaultyClock, faults: Faults) -> None:
        self.inner, self.clock, self.faults = inner, clock, faults
        self.parts = {} if isinstance(inner, LQR) else hasty(inner)
        self.normal = {(place, name): getattr(place, name) for place, name in self.parts}

    def reset(self) -> None:
        self.inner.reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        fault = self.faults.at(k)
        if fault == "raises":
            raise RuntimeError("broken")
        if fault == "slow":
            self.clock.inner.advance(TASK.dt * self.faults.rng.uniform(0.5, 3.0))
        for (place, name), value in (self.parts if fault == "hasty" else self.normal).items():
            setattr(place, name, value)
        return self.inner.step(x, k)


def ruined(make: Callable[[Task], Any], samples: int, seed: int, policy: Overrun) -> None:
    faults = Faults(samples, seed)
    clock, loop = FaultyClock(faults), []  # type: ignore[var-annotated]
    connection = FaultyPlant(clock, faults, loop)
    settings = LoopSettings(
        seconds=samples * TASK.dt, in_process=True, overrun=policy, watchdog_seconds=6 * TASK.dt, capacity=samples,
        rate_limit=(100.0,),
    )  # fmt: skip
    controller = FaultyController(make(TASK), clock, faults)
    loop.append(Loop(TASK, controller, connection, settings, clock=clock))
    run = loop[0].run()
    low, high = TASK.input_bounds
    assert np.isfinite(connection.inputs).all()
    assert (connection.inputs >= low).all()
    assert (connection.inputs <= high).all()
    assert (np.diff(run.columns.k) >= 1).all()
    assert run.columns.k[-1] + LONGEST >= samples - 1
    solved = (Status.SOLVED, Status.MAX_ITERATIONS) if make is MAKES["real-time iteration"] else (Status.SOLVED,)
    normal = tuple(Applied).index(Applied.CONTROLLER), {tuple(Status).index(status) for status in solved}
    numbers = run.columns.k.tolist()  # a step that takes long leaves samples out, so recovery is counted in steps
    calm = [i for i, k in enumerate(numbers) if not faults.between(numbers[max(i - RECOVERY, 0)], k)]
    assert len(calm) > 0.3 * samples
    wrong = [
        (int(run.columns.k[i]), run.columns.codes[i].tolist())
        for i in calm
        if run.columns.codes[i, 1] != normal[0] or run.columns.codes[i, 2] not in normal[1]
    ]
    assert not wrong
    met = {faults.at(k) for k in run.columns.k.tolist()}
    assert met == {"", *FAULTS}
    measured = run.summary.measurements
    assert set(measured) == {str(word) for word in Freshness} - {"empty"}  # which only outputs can be


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "linear" else n for n in MAKES])
@pytest.mark.every(3)
def test_faults(name: str) -> None:
    ruined(MAKES[name], 500, 0, Overrun.FALLBACK)


@pytest.mark.parametrize("policy", [Overrun.LATE, Overrun.HOLD])
def test_faults_with_other_policies(policy: Overrun) -> None:
    ruined(LQR, 500, 1, policy)


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "samples", [pytest.param(20_000, marks=pytest.mark.slow), pytest.param(100_000, marks=pytest.mark.manual)]
)
@pytest.mark.parametrize("name", MAKES)
def test_faults_for_long(name: str, samples: int) -> None:
    ruined(MAKES[name], samples, 2, Overrun.FALLBACK)


def killed(samples: int, kills: int) -> None:
    """The controller's process is killed again and again, at any instant: before and while it computes."""
    clock, rng = SimulatedClock(), np.random.default_rng(0)
    loops: list[Loop] = []
    inner, deaths = SimulatedPlant(TASK, clock, np.array([0.1, 0.2])), [0]

    class Killing:
        def read(self) -> Any:
            at, runner = loops[0].log.samples, loops[0]._runner
            assert isinstance(runner, OwnProcess)
            if sum(process.is_ready for process in runner._processes) < 2:
                time.sleep(0.01)  # the samples are simulated, but a process is started in real time
            elif at > deaths[-1] + 100 and len(deaths) <= kills:
                deaths.append(at)
                threading.Timer(rng.uniform(0.0, 1e-3), os.kill, (runner.pids[0], signal.SIGKILL)).start()
            return inner.read()

        def write(self, u: np.ndarray) -> None:
            inner.write(u)

    # The clock runs much faster than the processes answer.
    settings = LoopSettings(
        seconds=samples * TASK.dt, standby=True, capacity=samples, unresponsive_seconds=1e9, restart_seconds=600.0
    )
    loops.append(Loop(TASK, LQR, Killing(), settings, clock=clock))
    run = loops[0].run()
    del deaths[0]
    assert len(deaths) == kills
    assert len(deaths) - 1 <= run.restarts <= len(deaths)  # the last one may come when the loop has ended
    assert run.columns.k.tolist() == list(range(samples))
    wrong = np.flatnonzero(run.columns.codes[:, 1] != tuple(Applied).index(Applied.CONTROLLER))
    # The kill itself comes up to 1 ms of real time later, which is a few dozen samples.
    assert not [k for k in wrong if not any(0 <= k - death <= 50 for death in deaths)]
    assert len(wrong) <= RECOVERY * len(deaths)
    low, high = TASK.input_bounds
    assert ((run.columns.u >= low) & (run.columns.u <= high)).all()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_processes() -> None:
    killed(100_000, 10)
