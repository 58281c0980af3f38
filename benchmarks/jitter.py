"""How evenly does the real-time iteration run in a loop, alone and while the loop's own interpreter is busy?

    python -m benchmarks.jitter [--steps 20000]

Nonlinear MPC with one quadratic program per sample balances a cart-pole under random pushes, over 40 samples: in the
loop's process, in a process of its own, and, where acados is installed, with acados in a process of its own. Busy means
that a second thread of the loop's process runs Python without a pause. All take turns of 500 samples, so that they meet
the same load of the machine; samples follow each other without a pause.

Times: ``processor`` is the processor time of the controller's step, ``wall`` its wall time, both where it runs;
``exchange`` is the wall time from asking to having the answer in the loop. The last line is JSON: of each, the ratio of
the 99.9 % quantile to the median, and both in microseconds.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter, perf_counter_ns, thread_time_ns
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from ctrl.controller import Controller, Decision
from ctrl.loop import SingleStep
from ctrl.realtime.clock import RealClock
from ctrl.realtime.process import OwnProcess
from ctrl.realtime.runner import InProcess, Runner
from mpc import NonlinearMPC
from systems import Task, TriviumError
from systems.library import cartpole

TURN = 500
PATIENCE = 60.0
TIMES = ("processor", "wall", "exchange")


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        steps: of each controller, alone and busy.
        horizon: predicted samples.
    """

    steps: int = 20_000
    horizon: int = 40


class Timed:
    """A controller that reports the processor time of its step, in nanoseconds, where the iterations are reported."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    def reset(self) -> None:
        self.controller.reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        began = thread_time_ns()
        decision = self.controller.step(x, k)
        return dataclasses.replace(decision, iterations=thread_time_ns() - began)


def timed(horizon: int, solver: Any, task: Task) -> Timed:
    return Timed(NonlinearMPC(task, horizon, solver=solver, iterations=1))


def runners(task: Task, horizon: int) -> dict[str, Runner | None]:
    """By name; None for what is not installed."""
    clock = RealClock()
    ours: Callable[[Task], Controller] = partial(timed, horizon, "sqp")
    made: dict[str, Runner | None] = {
        "in the loop's process": InProcess(ours(task), task, clock),
        "own process": OwnProcess(ours, task, clock, False, PATIENCE, PATIENCE),
        "acados": None,
    }
    try:
        peer: Callable[[Task], Controller] = partial(timed, horizon, "acados")
        peer(task)
    except (TriviumError, ImportError) as reason:
        print(f"acados: {reason}")
    else:
        made["acados"] = OwnProcess(peer, task, clock, False, PATIENCE, PATIENCE)
    for runner in made.values():
        if runner is not None:
            runner.start(PATIENCE, threading.Event())
    return made


class ClosedLoop:
    """Samples of one controller, continued from turn to turn."""

    def __init__(self, task: Task, runner: Runner, seed: int) -> None:
        self.runner, self.step = runner, SingleStep(task.true_dynamics)
        self.low, self.high = task.true_dynamics.plant.bounds
        self.x, self.k, self.rng = np.array([0.5, 0.1, 0.0, 0.0]), 0, np.random.default_rng(seed)
        self.times: dict[str, list[int]] = {name: [] for name in TIMES}

    def turn(self, samples: int) -> None:
        clock = RealClock()
        for _ in range(samples):
            began = perf_counter_ns()
            self.runner.ask(self.k, self.x, self.k)
            answer = self.runner.poll(clock.time() + int(1e9 * PATIENCE))
            exchange = perf_counter_ns() - began
            assert answer is not None, self.runner.error
            if self.k:  # the first plan is solved to convergence
                for name, value in zip(TIMES, (answer.iterations, answer.took, exchange), strict=True):
                    self.times[name].append(int(value))
            push = self.rng.uniform(-0.5, 0.5, 1)
            self.x = self.step(self.x, np.clip(answer.input, self.low, self.high), push).copy()
            self.k += 1


@contextmanager
def busy(is_busy: bool) -> Iterator[None]:
    """Context in which a thread of this process runs Python all the time; threads give way as they do in the loop."""
    end, before = threading.Event(), sys.getswitchinterval()

    def work() -> None:
        total = 0
        while not end.is_set():
            for i in range(1000):
                total += i * i

    thread = threading.Thread(target=work, daemon=True)
    sys.setswitchinterval(1e-4)
    if is_busy:
        thread.start()
    try:
        yield
    finally:
        end.set()
        sys.setswitchinterval(before)
        if is_busy:
            thread.join()


def quantiles(values: list[int]) -> dict[str, float]:
    p50, p999 = np.quantile(values, [0.5, 0.999])
    return {"ratio": p999 / p50, "p50_us": 1e-3 * p50, "p999_us": 1e-3 * p999}


def main(options: Options) -> None:
    task, began = cartpole(), perf_counter()
    made = runners(task, options.horizon)
    situations = ("alone", "busy_host")
    loops = {
        (situation, name): ClosedLoop(task, runner, 0)
        for name, runner in made.items()
        if runner is not None
        for situation in situations
    }
    for _ in range(-(-options.steps // TURN)):
        for (situation, _), loop in loops.items():
            with busy(situation == "busy_host"):
                loop.turn(TURN)
    for runner in made.values():
        if runner is not None:
            runner.close()
    result: dict[str, Any] = {"benchmark": "jitter", "steps": options.steps, "horizon": options.horizon}
    table = Table("host", "controller", "time", "p50 [us]", "p99.9 [us]", "p99.9 / p50")
    for situation in situations:
        result[situation] = {}
        for name in made:
            loop = loops.get((situation, name))
            found = None if loop is None else {time: quantiles(loop.times[time]) for time in TIMES}
            result[situation][name] = found
            for time, q in (found or {}).items():
                row = (f"{q['p50_us']:.0f}", f"{q['p999_us']:.0f}", f"{q['ratio']:.2f}")
                table.add_row(situation.replace("_", " "), name, time, *row)
        ours, peer = result[situation]["own process"], result[situation]["acados"]
        result[situation]["wall_ratio_to_acados"] = peer and ours["wall"]["ratio"] / peer["wall"]["ratio"]
    Console(width=110).print(table)
    result["seconds"] = round(perf_counter() - began, 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
