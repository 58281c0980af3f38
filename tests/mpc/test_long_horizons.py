"""Horizons that no memory holds are refused with what they would need, before anything is built."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from ctrl import Controller
from ctrl.controller import Status
from mpc import EqualityMPC, HarmonicMPC, LagrangianMPC, NonlinearMPC, StochasticMPC, TrackingMPC
from systems import InvalidValue, Task
from systems.library import cartpole, double_integrator

MAKERS: dict[str, Callable[[Task, int], Controller]] = {
    "nonlinear": NonlinearMPC,
    "Lagrangian": LagrangianMPC,
    "harmonic": lambda task, horizon: HarmonicMPC(task, horizon, frequency=0.3),
    "tracking": TrackingMPC,
    "equality": EqualityMPC,
    "stochastic": StochasticMPC,
}


@pytest.mark.parametrize("name", MAKERS)
def test_they_are_refused_with_the_memory_they_need(name: str) -> None:
    with pytest.raises(
        InvalidValue, match=r"would need about [\d.e+]+ GB .*shorten the horizon to \d+ samples"
    ) as told:
        MAKERS[name](double_integrator(), 900_000)
    advised = int(re.findall(r"to (\d+) samples", str(told.value))[0])
    assert 100 < advised < 900_000


def test_a_step_that_had_no_time_says_so() -> None:
    for controller in (NonlinearMPC(cartpole(), time_limit=1e-6), LagrangianMPC(cartpole(), time_limit=1e-6)):
        decision = controller.step(np.array([0.5, 0.3, 0.0, 0.0]), 0)
        assert decision.status is Status.TIMEOUT
        assert np.isfinite(decision.input).all()
