"""The closed form of where braking can still succeed, against the braking itself."""

from __future__ import annotations

import numpy as np

from systems.library import braking
from systems.library.double_integrator import can_stop


def test_states_that_can_stop_are_those_that_full_braking_stops() -> None:
    task = braking()
    step = task.dynamics.lower("numpy")
    rng = np.random.default_rng(0)
    x = rng.uniform([-2.0, -0.5], [0.1, 2.0], (20_000, 2))
    feasible, worst = can_stop(task, x), x[:, 0].copy()
    for _ in range(task.steps):
        x = step(x, np.full((len(x), 1), -1.0), np.zeros((len(x), 1)), np.zeros((len(x), 0)))
        worst = np.maximum(worst, x[:, 0])
    near = np.abs(worst) < 1e-9
    assert (feasible == (worst <= 0))[~near].all()
    assert 0.3 < feasible.mean() < 0.9


def test_every_start_of_the_task_can_stop() -> None:
    task = braking()
    assert can_stop(task, task.initial.sample(task.plant.state, np.random.default_rng(1), (10_000,))).all()
