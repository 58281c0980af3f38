"""What is asked of every expression: no NaN in it, and the right arguments."""

from __future__ import annotations

import math
from dataclasses import dataclass

import casadi as ca
import numpy as np
import pytest

from systems import Inequality, InvalidValue, Nonlinear, Observation, Plant, Vector, signals
from systems.arithmetic.interval import Interval
from systems.expressions import expect_arguments, largest, without_nan
from systems.library import DoubleIntegrator
from systems.lowering import lower

PLANT = DoubleIntegrator()
TAUGHT = r"contains a NaN: .*math.*use casadi's: casadi.fabs"


@dataclass(frozen=True)
class Drag(Plant):
    state = signals("speed [m/s]")
    input = signals("force [N]")

    def ode(self, x, u, w):
        return (u.force - math.fabs(x.speed) * x.speed,)


@dataclass(frozen=True)
class Recursion(Plant):
    dt: float = 1.0
    state = signals("speed [m/s]")
    input = signals("force [N]")

    def step(self, x, u, w):
        return (u.force + math.sqrt(x.speed),)


def test_functions_of_math_in_the_equations() -> None:
    with pytest.raises(InvalidValue, match=f"Drag.ode {TAUGHT}"):
        Drag().casadi()
    with pytest.raises(InvalidValue, match=f"Recursion.step {TAUGHT}"):
        Recursion().casadi()


def test_functions_of_math_in_a_cost() -> None:
    with pytest.raises(InvalidValue, match=f"the stage cost {TAUGHT}"):
        Nonlinear(lambda x, u, xr, ur: math.fabs(x.speed)).stage_function(PLANT)
    with pytest.raises(InvalidValue, match=f"the terminal cost {TAUGHT}"):
        Nonlinear(lambda x, u, xr, ur: x.speed, lambda x, xr: math.cos(x.speed)).terminal_function(PLANT)


def test_functions_of_math_in_a_constraint() -> None:
    with pytest.raises(InvalidValue, match=f"constraint 'slow' {TAUGHT}"):
        Inequality("slow", lambda x, u: math.fabs(x.speed) - 1).function(PLANT)


def test_casadis_own_functions_and_infinite_constants_are_read() -> None:
    g = Inequality("slow", lambda x, u: (ca.fabs(x.speed) - 1, x.speed - np.inf)).function(PLANT)
    np.testing.assert_array_equal(g([0.0, -3.0], 0.0).full()[:, 0], [2.0, -np.inf])


def test_a_nan_is_found_wherever_it_stands() -> None:
    x = ca.SX.sym("x")
    for hidden in (ca.SX(np.nan), ca.if_else(x > 0, x, ca.SX(np.nan)), ca.sin(x + np.nan), ca.vertcat(x, np.nan)):
        with pytest.raises(InvalidValue, match="this contains a NaN"):
            without_nan(ca.Function("f", [x], [hidden]), "this")
    f = ca.Function("f", [x], [ca.sqrt(x) + 1 / x])
    assert without_nan(f, "this") is f


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Inequality("i", lambda x: x.speed), r"constraint 'i' takes \(x\); expected a function of \(x, u\)"),
        (lambda: Inequality("i", 3.0), r"constraint 'i' is float; expected a function of \(x, u\)"),
        (lambda: Nonlinear(lambda x, u: x.speed), r"the stage cost takes \(x, u\); expected .*\(x, u, xr, ur\)"),
        (lambda: Nonlinear(lambda x, u, xr, ur: 0, lambda x: 0), r"the terminal cost takes \(x\)"),
        (lambda: Observation(signals("a"), lambda x: x.speed), r"the observation takes \(x\)"),
        (lambda: Observation("a", lambda x, xr: x.speed), "the signals of an observation = 'a'; expected .* Signals"),
    ],
)
def test_functions_of_other_arguments(make, message) -> None:
    with pytest.raises(InvalidValue, match=message):
        make()


def test_functions_that_fit_are_let_through() -> None:
    def defaulted(x: Vector, u: Vector, scale: float = 2.0) -> ca.SX:
        return scale * x.speed

    for function in (defaulted, lambda *z: z[0].speed, max):  # a builtin does not tell
        assert expect_arguments(function, "x, u", "it") is function


@pytest.mark.parametrize("place", [None, 0, 1, 2])
def test_the_largest_entry_and_nan_where_one_is(place: int | None) -> None:
    x = ca.SX.sym("x", 3)
    f = ca.Function("largest", [x], [largest(*ca.vertsplit(x))])
    for row in ([1.0, 3.0, 2.0], [-np.inf, 0.0, np.inf], [-np.inf] * 3, [5.0, 5.0, 5.0]):
        values = np.array(row)
        if place is not None:
            values[place] = np.nan
        np.testing.assert_array_equal(np.array(f(values)).ravel(), [values.max()])
        np.testing.assert_array_equal(lower(f, to="numpy")(values), [values.max()])


def test_the_largest_entry_of_intervals_is_enclosed_as_tightly_as_by_fmax() -> None:
    x = ca.SX.sym("x", 3)
    f = ca.Function("largest", [x], [largest(*ca.vertsplit(x))])
    found = lower(f, to="interval")(Interval(np.array([0.0, 1.0, -1.0]), np.array([2.0, 3.0, 0.0])))
    np.testing.assert_array_equal([found.lo, found.hi], [[1.0], [3.0]])
    slope = ca.Function("slope", [x], [ca.jacobian(largest(*ca.vertsplit(x)), x)])
    np.testing.assert_array_equal(np.array(slope([1.0, 5.0, 2.0])), [[0.0, 1.0, 0.0]])
