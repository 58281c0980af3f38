"""The choice of the base frequency."""

from __future__ import annotations

import numpy as np
import pytest

from mpc import HarmonicMPC, choose_frequency
from tests.mpc.harmonic_problems import axis, axis_controller, masses


def test_cost_and_feasible_set_agree_on_the_ball_and_plate() -> None:
    task = axis()
    frequencies = [0.1, 0.2, 0.3254, 0.5, 1.0]
    sweep = choose_frequency(task, 5, frequencies, lambda w: axis_controller(task, 5, w), plane=("v1", "tilt_1"))
    assert sweep.best == 0.3254
    assert sweep.frequencies[np.argmax(sweep.area)] == 0.3254
    assert (sweep.failures == 0).all()
    # The speed binds below, the input above: a good frequency lies where they change places.
    speed, action = (sweep.outputs.index(name) for name in ("v1", "acceleration_1"))
    binding = sweep.amplitude.argmax(axis=1)
    assert (binding[:3] == speed).all()
    assert (binding[3:] == action).all()


@pytest.mark.slow
def test_the_sweep_refines_around_its_best() -> None:
    sweep = choose_frequency(masses(), 6)
    assert len(sweep.frequencies) > 16
    assert (np.diff(sweep.frequencies) > 0).all()
    assert sweep.cost[sweep.frequencies == sweep.best] == sweep.cost[sweep.failures == 0].min()
    assert HarmonicMPC(masses(), 6).frequency == pytest.approx(sweep.best)


def test_the_figure_shows_cost_and_limits() -> None:
    sweep = choose_frequency(masses(), 5, [0.3, 0.9])
    above, below = sweep.plot().axes[:2]
    assert "best at" in above.get_title()
    assert {line.get_label() for line in below.get_lines()} >= set(sweep.outputs)
