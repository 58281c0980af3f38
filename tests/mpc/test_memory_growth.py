"""Memory of a controller that runs for a long time: what Python and the process hold must not grow with the steps."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ctrl import LQR, Controller
from mpc import HarmonicMPC, LinearMPC, NonlinearMPC
from systems import Task
from systems.library import ball_and_plate_axis, cartpole

pytestmark = pytest.mark.slow

STEPS = 100_000
WARM = 2_000  # steps after which everything that is made once has been made
LEAST = 20_000  # bytes that may come and go
RESIDENT = 2_000_000  # bytes of the process, which takes memory by pages and keeps some of what is freed


def resident() -> int:
    """Bytes of the process that lie in memory; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else 0


def run(controller: Controller, states: np.ndarray, start: int, steps: int, reset_every: int) -> None:
    for k in range(start, start + steps):
        if k % reset_every == 0:
            controller.reset()
        controller.step(states[k % len(states)], k % reset_every)


def around(task: Task, scale: float) -> np.ndarray:
    """States near the reference, as a disturbed loop visits them, and one measurement that is lost."""
    x_ref = task.reading.window(0, 1)[0][0]
    states = x_ref + scale * np.random.default_rng(0).standard_normal((97, len(x_ref)))
    states[50, 0] = np.nan
    return states


CONTROLLERS: dict[str, tuple[Callable[[], Task], Callable[[Task], Controller], float]] = {
    "LQR": (cartpole, LQR, 0.02),
    "linear": (cartpole, lambda task: LinearMPC(task, 15), 0.02),
    "real-time iteration": (cartpole, lambda task: NonlinearMPC(task, 10, iterations=1), 0.02),
    "harmonic": (ball_and_plate_axis, lambda task: HarmonicMPC(task, 8), 0.01),
}


def growth(controller: Controller, states: np.ndarray) -> tuple[int, int]:
    """Bytes by which the process grows over many steps, and Python's own memory over some."""
    run(controller, states, 0, WARM, 500)
    gc.collect()
    held = resident()
    run(controller, states, WARM, STEPS, 500)
    gc.collect()
    grown = resident() - held
    tracemalloc.start()
    try:
        run(controller, states, WARM, WARM, 500)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        run(controller, states, 2 * WARM, 5 * WARM, 500)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return grown, after - before


@pytest.mark.parametrize("name", CONTROLLERS)
def test_memory_does_not_grow_with_the_steps(name: str) -> None:
    make, control, scale = CONTROLLERS[name]
    task = make()
    of_process, of_python = growth(control(task), around(task, scale))
    assert of_process < RESIDENT
    assert of_python < LEAST


def test_a_list_that_grows_would_be_noticed() -> None:
    class Keeps(LQR):
        """Keeps what it was given: 40 bytes per step and more."""

        def step(self, x: np.ndarray, k: int):  # type: ignore[no-untyped-def]
            kept.append(x.copy())
            return super().step(x, k)

    kept: list[np.ndarray] = []
    task = cartpole()
    controller, states = Keeps(task), around(task, 0.02)
    # The process itself need not grow if it has memory left that was freed before.
    assert growth(controller, states)[1] > LEAST
