"""Predictions of a mode against a simulation sample by sample in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ctrl.hybrid.prediction import ModePrediction, numbers
from ctrl.laws.saturated_linear import SaturatedLinear
from ctrl.regulator import LQR
from systems import Discretisation, Plant, signals
from systems.hybrid import HybridSystem, Mode, Transition
from systems.library.roads import DT, Segment, road_system, segment_task
from systems.signals import Vector

ROAD = (Segment(40.0, 0.3, 0.0, 12.0, turn=0.1, shift=0.3), Segment(40.0, 1.0, 0.025, 8.0))


def predicted(samples: int = 400) -> ModePrediction:
    system = road_system(ROAD)
    (guard,) = system.guards["0"]
    return ModePrediction(system.mode("0").plant, guard, np.arange(3), DT, "rk4", samples)


@pytest.mark.parametrize("moved", [0.0, -0.7])
def test_a_mode_ends_at_the_sample_and_the_state_of_the_simulation(moved: float) -> None:
    law, by, system = LQR(segment_task(0.3, 0.0, 10.0)).law, np.array([moved, 0.0, 0.0]), road_system(ROAD)
    step, (guard,) = Discretisation(system.mode("0").plant, DT).lower("numpy"), system.guards["0"]
    predict, rng, saturated = predicted(), np.random.default_rng(0), 0
    for start in rng.uniform([-1.5, -0.2, 6.0, 0.0], [1.5, 0.2, 14.0, 20.0], (12, 4)):
        x, count = start, 0
        while True:
            u = law(x[:3] - by)
            saturated += bool((np.abs(u) >= law.upper - 1e-12).any())
            x, count = step(x, u, np.zeros(0), np.zeros(0)), count + 1
            if guard.is_due(x, u, np.zeros(0)):
                break
        taken, after, ended = predict(start, numbers(law, by))
        assert ended
        assert taken == count
        np.testing.assert_allclose(after, np.array(guard.reset(x)).ravel(), rtol=0, atol=1e-9)
    assert saturated > 20


@pytest.mark.parametrize("samples", [1, 16, 23])
def test_a_mode_that_does_not_end_in_time_is_given_up_and_has_no_next_state(samples: int) -> None:
    law = LQR(segment_task(0.3, 0.0, 10.0)).law
    taken, after, ended = predicted(samples)(np.array([0.0, 0.0, 10.0, 0.0]), numbers(law, np.zeros(3)))
    assert (taken, ended) == (samples, False)
    assert np.isnan(after).all()


def test_a_mode_may_end_at_the_last_sample_and_not_after_it() -> None:
    law, start = LQR(segment_task(0.3, 0.0, 10.0)).law, np.array([0.0, 0.0, 10.0, 0.0])
    taken, *_ = predicted()(start, numbers(law, np.zeros(3)))
    assert predicted(taken)(start, numbers(law, np.zeros(3)))[2]
    assert not predicted(taken - 1)(start, numbers(law, np.zeros(3)))[2]


@dataclass(frozen=True)
class Growing(Plant):
    """x' = 50 x^2 + u, which has no bounded solution from positive states."""

    state = signals("x [-]", "clock [s]")
    input = signals("u [-]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return 50 * x.x * x.x + u.u, 1.0


@dataclass(frozen=True)
class Point(Plant):
    state = signals("y [-]")
    input = signals("u [-]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (u.u,)


def test_modes_of_other_states_and_states_that_are_not_finite() -> None:
    system = HybridSystem(
        (Mode("growing", Growing()), Mode("point", Point())),
        (Transition("growing", "point", lambda x: 0.95 - x.clock, lambda x: (x.x + 7.0,)),),
    )
    (guard,) = system.guards["growing"]
    predict = ModePrediction(system.mode("growing").plant, guard, np.array([0]), 0.1, "rk4", 10_000_000)
    law = numbers(SaturatedLinear([[2.0]], [0.0], [0.0], [-1.0], [1.0]), np.zeros(1))
    taken, after, ended = predict(np.array([-0.01, 0.0]), law)
    assert (taken, ended, after.shape) == (10, True, (1,))
    assert after[0] == pytest.approx(7.0, abs=0.01)
    taken, after, ended = predict(np.array([3.0, -1e9]), law)
    assert not ended
    assert np.isnan(after).all()
    assert after.shape == (1,)
    assert taken < 100
