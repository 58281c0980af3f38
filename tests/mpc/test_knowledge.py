"""What predictive controllers say of their objective, their data and their foresight."""

from __future__ import annotations

import dataclasses

from ctrl import LQR
from mpc import LinearMPC, NonlinearMPC
from systems import Sinusoid
from systems.library import double_integrator


def test_foresight_is_that_of_the_reference() -> None:
    still = double_integrator()
    moving = dataclasses.replace(still, reference=Sinusoid(0.05, x_sine={"position": 1.0}))
    for make in (LinearMPC, NonlinearMPC):
        assert make(still, 7).knowledge.foresight == "a constant reference"
        assert make(moving, 7).knowledge.foresight == "the reference 7 samples ahead"
        assert "over 7 predicted samples" in make(still, 7).knowledge.objective
    assert LQR(still).knowledge.foresight == "a constant reference"
    assert LQR(moving).knowledge.foresight == "the whole reference"
