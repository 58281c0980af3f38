"""Uncertain parameters of plants that carry another: inputs on their way, and error coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from ctrl.certify import ClosedLoop, SearchLimits, certify, lyapunov
from ctrl.laws import SaturatedLinear
from ctrl.regulator import LQR
from systems import Box, Fixed, InvalidValue, Plant, Quadratic, Task, UnknownName, signals
from systems.arithmetic.interval import Interval
from systems.inputs import delay_inputs, lag_inputs, limit_changes, rates_as_inputs
from systems.library import quadrotor_error_coordinates
from tests.systems.test_error_coordinates import body, in_error_coordinates


@dataclass(frozen=True)
class Slider(Plant):
    gain: float = 2.0
    reach: float = 5.0

    state = signals("x", "v")
    input = signals("u")

    def ode(self, x, u, w):
        return x.v, self.gain * u.u - 0.5 * x.v

    def limits(self):
        return {"u": (-self.reach, self.reach)}


SLIDER = Task(
    "slider", Slider(), 0.1, 50, Quadratic([1.0, 0.1], [0.1]), Fixed([0.5, 0.0]),
    domain=Box("model", {"x": (-3.0, 3.0), "v": (-3.0, 3.0)}),
)  # fmt: skip
CARRIED: dict[str, Callable[[Task], Task]] = {
    "dead time": lambda task: delay_inputs(task, {"u": 0.1}),
    "half a sample": lambda task: delay_inputs(task, {"u": 0.05}),
    "lag": lambda task: lag_inputs(task, {"u": 0.2}),
    "changes": lambda task: limit_changes(task, weights=[0.1]),
    "rates": lambda task: rates_as_inputs(task, {"u": (-20.0, 20.0)}, [0.1]),
    "lag and dead time": lambda task: delay_inputs(lag_inputs(task, {"u": 0.2}), {"u": 0.1}),
}


def carried(name: str, task: Task = SLIDER) -> Task:
    made = CARRIED[name](task)
    return replace(made, domain=Box("model", dict.fromkeys(made.plant.state.names, (-6.0, 6.0))))


@pytest.mark.parametrize("name", CARRIED)
def test_every_value_of_a_parameter_of_the_inner_plant_is_enclosed(name: str) -> None:
    task = carried(name)
    law = LQR(task).law
    loop = ClosedLoop(task, law, uncertain={"gain": (1.5, 2.5)})
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (20, len(task.plant.state)))
    enclosed = loop.enclose(Interval.of(points))
    own = ClosedLoop(task, law).enclose(Interval.of(points))
    ends = []
    for gain in (1.5, 1.9, 2.5):
        varied = ClosedLoop(carried(name, replace(SLIDER, plant=Slider(gain))), law)(points)
        assert ((enclosed.lo <= varied) & (varied <= enclosed.hi)).all()
        ends.append(varied)
    assert (enclosed.width >= np.abs(ends[2] - ends[0])).all()
    assert (enclosed.width.max(axis=0) > 1e-3).any()
    assert own.width.max() < 1e-12


@pytest.mark.parametrize("name", ["changes", "lag", "dead time"])
def test_what_holds_for_one_value_is_not_proved_for_all(name: str) -> None:
    task = carried(name)
    law, limits = LQR(task).law, SearchLimits(2000, 10)
    V = lyapunov(task, law)
    assert certify(task, law, V, level=0.01, budget=limits, uncertain={"gain": (1.98, 2.02)}).is_proved
    assert certify(task, law, V, level=0.01, budget=limits).is_proved
    assert not certify(task, law, V, level=0.01, budget=limits, uncertain={"gain": (-1.0, 2.0)}).is_proved


def test_parameters_that_set_limits_and_unknown_ones_are_refused() -> None:
    for name in CARRIED:
        task = carried(name)
        with pytest.raises(InvalidValue, match="Slider: reach sets the limits of the inputs"):
            certify(task, LQR(task).law, uncertain={"reach": (4.0, 6.0)})
        with pytest.raises(UnknownName, match=r"'mass'.*known: gain, reach"):
            certify(task, LQR(task).law, uncertain={"mass": (4.0, 6.0)})


def test_an_inner_plant_that_is_sampled_exactly_is_refused() -> None:
    task = carried("dead time", replace(SLIDER, integrator="exact"))
    with pytest.raises(InvalidValue, match="use integrator='rk4' where parameters may vary"):
        certify(task, LQR(task).law, uncertain={"gain": (1.9, 2.1)})


def test_inner_equations_that_look_at_a_parameter_are_refused() -> None:
    class Looks(Slider):
        def ode(self, x: Any, u: Any, w: Any) -> Any:
            sign = -1.0 if isinstance(self.gain, float) and 1.94 < self.gain < 1.96 else 1.0
            return x.v, sign * self.gain * u.u - 0.5 * x.v

    task = carried("dead time", replace(SLIDER, plant=Looks()))
    with pytest.raises(InvalidValue, match="gain"):
        certify(task, LQR(task).law, uncertain={"gain": (1.9, 2.1)})


@pytest.mark.slow
def test_error_coordinates_hold_for_every_inertia() -> None:
    task = quadrotor_error_coordinates()
    law = LQR(task).law
    V = lyapunov(task, law, continuous=True)
    wide = {"inertia_x": (1.39e-5, 1.41e-5), "drag_ratio": (0.0251, 0.02515)}
    proved = certify(task, law, V, level=1e-7, continuous=True, budget=SearchLimits(2000, 20), uncertain=wide)
    assert proved.is_proved
    assert "for every inertia_x in [1.39e-05, 1.41e-05]" in proved.claim
    loop = ClosedLoop(task, law, continuous=True, uncertain=wide)
    x = np.random.default_rng(0).uniform(-0.3, 0.3, (20, 12))
    enclosed = loop.enclose(Interval.of(x))
    for inertia in wide["inertia_x"]:
        varied = replace(task, plant=task.plant.with_parameters({"inertia_x": inertia}))
        after = ClosedLoop(varied, law, continuous=True)(x)
        assert ((enclosed.lo <= after) & (after <= enclosed.hi)).all()
    assert enclosed.width.max() > 1e-3
    wild, few = {"inertia_x": (1e-6, 1e-3)}, SearchLimits(20, 2)
    assert not certify(task, law, V, level=1e-7, continuous=True, budget=few, uncertain=wild).is_proved
    with pytest.raises(InvalidValue, match="Quadrotor: mass sets the limits of the inputs"):
        certify(task, law, V, level=1e-7, uncertain={"mass": (0.026, 0.028)})


def test_a_norm_that_is_kept_at_one_value_alone_is_refused() -> None:
    task = in_error_coordinates(body())
    law = SaturatedLinear(np.zeros((3, 7)), np.zeros(7), *np.zeros((3, 3)))
    with pytest.raises(InvalidValue, match="changes the norm"):
        certify(task, law, level=0.01, continuous=True, uncertain={"drift": (0.0, 0.1)})
