"""Plants: what follows from one text, and what is said when the text is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from systems import (
    DimensionMismatch,
    Fixed,
    InvalidValue,
    Plant,
    Quadratic,
    Signals,
    Task,
    TriviumError,
    UnknownName,
    signals,
)


@dataclass(frozen=True)
class Mass(Plant):
    mass: float = 2.0
    drag: float = 0.5
    label: str = "no physics"

    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")
    disturbance = signals("push [N]")

    def ode(self, x, u, w):
        return x.speed, (u.force + w.push - self.drag * x.speed) / self.mass

    def limits(self):
        return {"force": (-1.0, 3.0)}


AB, F = signals("a", "b"), signals("f")


def plant(ode: Callable[..., Any], limits: Any = None, state: Signals = AB, input: Signals = F) -> Plant:
    """A plant with this right-hand side."""

    @dataclass(frozen=True)
    class Written(Plant):
        def ode(self, x, u, w):
            return ode(x, u, w)

        def limits(self):
            return limits or {}

    Written.state, Written.input = state, input
    return Written()


def test_function_and_names() -> None:
    f = Mass().casadi()
    assert f.name_in() == ["x", "u", "w", "p"]
    assert f.name_out() == ["ode"]
    np.testing.assert_allclose(f([1, 2], 3, 1, []).full()[:, 0], [2, 1.5])
    assert Mass().name == "Mass"
    assert not Mass().is_discrete


def test_parameters_become_symbols() -> None:
    assert Mass().parameters == {"mass": 2.0, "drag": 0.5}
    f = Mass().casadi(["drag", "mass"])
    assert f.size_in("p") == (2, 1)
    np.testing.assert_allclose(f([0, 1], 4, 0, [1.0, 3.0]).full()[:, 0], [1, 1])
    with pytest.raises(UnknownName, match=r"unknown parameter of Mass 'mas'; known: mass, drag. Did you mean 'mass'"):
        Mass().casadi(["mas"])


def test_limits() -> None:
    lower, upper = Mass().bounds
    assert lower == [-1.0]
    assert upper == [3.0]
    lower, upper = plant(lambda x, u, w: (x.b, u.f)).bounds
    assert lower == [-np.inf]
    assert upper == [np.inf]


@pytest.mark.parametrize(
    ("limits", "error", "message"),
    [
        ({"f": (1.0, -1.0)}, InvalidValue, r"limits of f = \(1.0, -1.0\); expected two numbers, lower <= upper"),
        ({"f": (np.nan, 1.0)}, InvalidValue, r"limits of f = \(nan, 1.0\)"),
        ({"f": 3.0}, InvalidValue, r"limits of f = 3.0; expected a pair"),
        ([(-1.0, 1.0)], InvalidValue, r'limits\(\) returned \[\(-1.0, 1.0\)\]; return a mapping .* {"f": '),
        ({"g": (0.0, 1.0)}, UnknownName, r"limits\(\): unknown signal 'g'; known: f"),
    ],
)
def test_bad_limits(limits, error, message) -> None:
    with pytest.raises(error, match=message):
        _ = plant(lambda x, u, w: (x.b, u.f), limits).bounds


@pytest.mark.parametrize(
    ("ode", "error", "message"),
    [
        (lambda x, u, w: (x.b,), DimensionMismatch, r"Written.ode returned shape \(1, 1\); expected \(2, 1\).*: a, b"),
        (lambda x, u, w: (x.b, u.f, 0), DimensionMismatch, r"returned shape \(3, 1\); expected \(2, 1\)"),
        (lambda x, u, w: None, InvalidValue, "returned None; return one expression per state: a, b"),
        (lambda x, u, w: 3.0, InvalidValue, "returned float; return a sequence"),
        (lambda x, u, w: ("b", "f"), InvalidValue, "returned tuple; return a sequence of CasADi expressions"),
        (lambda x, u, w: (x.b, u.force), UnknownName, "unknown Written input signal 'force'; known: f"),
        (lambda x, u, w: (x.bee, u.f), UnknownName, "unknown Written state signal 'bee'; known: a, b"),
        (lambda x, u, w: (x.b, w.push), UnknownName, "unknown Written disturbance signal 'push'; known: none"),
        (lambda x, u, w: (x.b, ca.SX.sym("stray")), InvalidValue, "neither state, input, disturbance nor parameter"),
        (lambda x, u, w: (x.b, u.f if x.a > 0 else 0), InvalidValue, r"write casadi.if_else\(condition"),
        (lambda x, u, w: (x.b, max(u.f, 0)), InvalidValue, "casadi.fmax"),
    ],
)
def test_wrong_equations(ode, error, message) -> None:
    with pytest.raises(error, match=message):
        plant(ode).casadi()


def test_equations_may_be_returned_in_several_forms() -> None:
    for ode in (
        lambda x, u, w: (x.b, u.f),
        lambda x, u, w: [x[1], u[0]],
        lambda x, u, w: ca.vertcat(x.b, u.f),
        lambda x, u, w: np.array([[0, 1], [0, 0]]) @ x.column + ca.vertcat(0, u.f),
    ):
        np.testing.assert_array_equal(plant(ode).casadi()([1, 2], 3, [], []).full()[:, 0], [2, 3])


def test_a_name_may_be_used_once_only() -> None:
    with pytest.raises(InvalidValue, match="f named twice among state, input and disturbance"):
        plant(lambda x, u, w: (x.f,), state=signals("f"), input=signals("f"))


def test_a_parameter_must_be_finite() -> None:
    with pytest.raises(InvalidValue, match=r"Mass.mass = nan; expected a finite number"):
        Mass(mass=float("nan"))


def test_class_bodies_that_cannot_work() -> None:
    with pytest.raises(InvalidValue, match="defines both ode"):

        class Both(Plant):
            def ode(self, x, u, w): ...

            def step(self, x, u, w): ...

    with pytest.raises(InvalidValue, match=r"Loose.state is \('a', 'b'\); declare it as state = signals"):

        class Loose(Plant):
            state = ("a", "b")

    @dataclass(frozen=True)
    class Neither(Plant):
        state = signals("a")
        input = signals()

    with pytest.raises(InvalidValue, match="defines neither ode"):
        Neither()

    @dataclass(frozen=True)
    class NoInput(Plant):
        state = signals("a")

        def ode(self, x, u, w):
            return (x.a,)

    with pytest.raises(InvalidValue, match="NoInput declares no input"):
        NoInput()

    @dataclass(frozen=True)
    class NoClock(Plant):
        state = signals("a")
        input = signals()

        def step(self, x, u, w):
            return (x.a,)

    with pytest.raises(InvalidValue, match="discrete by nature but has no dt"):
        NoClock()

    class NoDataclass(Plant):
        state = signals("a")
        input = signals()

        def ode(self, x, u, w):
            return (x.a,)

    with pytest.raises(InvalidValue, match=r"NoDataclass is not a dataclass; write @dataclass\(frozen=True\)"):
        NoDataclass().casadi()


def test_a_plant_without_input() -> None:
    f = plant(lambda x, u, w: (x.b, -x.a), input=signals())
    np.testing.assert_array_equal(f.casadi()([1, 2], [], [], []).full()[:, 0], [2, -1])
    assert f.bounds[0].shape == (0,)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            {"ode": lambda self, x, u: (u.a,)},
            r"Bad.ode takes \(self, x, u\); expected a plain method: def ode",
        ),
        ({"ode": lambda self: ()}, "Bad.ode takes"),
        ({"ode": lambda x, u, w: ()}, r"Bad.ode takes \(x, u, w\)"),
        ({"step": lambda self, x, u: (u.a,)}, "Bad.step takes"),
        ({"step": lambda self, x, u, w, k: (u.a,)}, "Bad.step takes"),
        ({"ode": staticmethod(lambda x, u, w: ())}, "Bad.ode is of type staticmethod; write a plain method"),
        ({"ode": classmethod(lambda cls, x, u, w: ())}, "Bad.ode is of type classmethod"),
        ({"step": staticmethod(lambda x, u, w: ())}, "Bad.step is of type staticmethod"),
        ({"ode": property(lambda self: ())}, "Bad.ode is of type property"),
        ({"ode": (1.0,)}, "Bad.ode is of type tuple"),
        ({"limits": {"a": (0.0, 1.0)}}, r"Bad.limits is of type dict; write a plain method: def limits\(self\)"),
        ({"limits": property(lambda self: {})}, "Bad.limits is of type property"),
        ({"limits": lambda self, x: {}}, r"Bad.limits takes \(self, x\)"),
        ({"limits": staticmethod(lambda: {})}, "Bad.limits is of type staticmethod"),
    ],
)
def test_methods_of_another_form_are_refused_with_the_class(method: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        type("Bad", (Plant,), method)


def test_methods_with_more_than_is_asked_of_them_are_fine() -> None:
    def ode(self, x, u, w, gain=1.0, *more, **others):
        return (gain * x.a,)

    @dataclass(frozen=True)
    class Wide(Plant):
        state = signals("a")
        input = signals()

    Wide.ode = ode
    assert type("Wider", (Wide,), {"ode": ode})().casadi()([2.0], [], [], []) == 2.0


@pytest.mark.parametrize(
    ("ode", "message"),
    [
        (lambda x, u, w: (x.b, ca.sin(x)), r"cannot be evaluated: .*\(x\.column\)"),
        (lambda x, u, w: (x + 1, x.b), "cannot be evaluated: TypeError"),
        (lambda x, u, w: x["a":"b"], "give a name or a whole number"),
        (lambda x, u, w: (x[True], x.b), "give a name or a whole number"),
        (lambda x, u, w: (x[5], x.b), "index 5 of a vector of 2"),
    ],
)
def test_what_casadi_cannot_read_is_reported_with_its_location(ode: Callable[..., Any], message: str) -> None:
    with pytest.raises(TriviumError, match=message):
        plant(ode).casadi()


def test_a_task_asks_for_the_equations_at_once() -> None:
    """A plant whose ode gives another number of expressions is refused where a task is made of it."""
    short, broken = plant(lambda x, u, w: (x.b,)), plant(lambda x, u, w: (x.c, x.b))
    good = plant(lambda x, u, w: (x.b, u.f))
    make = {"dt": 0.1, "steps": 3, "cost": Quadratic([1.0, 1.0], [1.0]), "initial": Fixed()}
    with pytest.raises(DimensionMismatch, match=r"task 't': Written.ode returned shape \(1, 1\)"):
        Task("t", short, **make)
    with pytest.raises(UnknownName, match=r"task 't': unknown Written state signal 'c'"):
        Task("t", broken, **make)
    for truth, message in ((short, r"returned shape \(1, 1\)"), (broken, "signal 'c'")):
        with pytest.raises(TriviumError, match=f"task 't': truth: .*{message}"):
            Task("t", good, **make, truth=truth)
    reversed_limits = plant(lambda x, u, w: (x.b, u.f), {"f": (1.0, -1.0)})
    with pytest.raises(InvalidValue, match=r"task 't': truth: Written: limits of f = \(1.0, -1.0\)"):
        Task("t", good, **make, truth=reversed_limits)
    with pytest.raises(InvalidValue, match=r"task 't': Written: limits of f = \(1.0, -1.0\)"):
        Task("t", reversed_limits, **make)
