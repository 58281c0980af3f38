"""The example of slow and late pumps: who knows of the dead time keeps the level, who does not overshoots."""

from __future__ import annotations

import numpy as np

from ctrl import simulate
from examples.pump_rate_limits import Unaware, late_pumps, levels, slow_pumps
from mpc import LinearMPC


def test_dead_time_is_known() -> None:
    task = late_pumps()
    assert len(task.plant.state) == 4 + 4 + 3 + 2
    start = task.initial.mean(task.plant.state)[None] - np.eye(1, 13, 1)
    known, unknown = (simulate(task, made, start) for made in (LinearMPC(task), Unaware(slow_pumps(levels()))))
    assert known.cost[0] < 0.5 * unknown.cost[0]
    rates = np.abs(np.diff(known.inputs[0], axis=0)) / task.dt
    assert rates.max() < 0.05 + 1e-9
    assert rates.max() > 0.05 - 1e-6
