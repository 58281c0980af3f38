"""Parameters as symbols: the plant that is written for every value, or words that name the parameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import casadi as ca
import numpy as np
import pytest

from systems import InvalidValue, Plant, signals
from systems.lowering.program import read
from systems.lowering.same import same_function
from systems.symbolic_parameters import with_symbols
from systems.symbols import SymbolRead, unreadable
from systems.uncertain_parameters import expect_fixed_limits, expect_independent, expect_same

Factor = Callable[[Any], Any]


class One(Plant):
    state = signals("x")
    input = signals("u")


@dataclass(frozen=True)
class Spring(One):
    """x' = factor(mass) x + u."""

    factor: Factor = lambda mass: mass
    mass: float = 4.0

    def ode(self, x, u, w):
        return (self.factor(self.mass) * x.x + u.u,)


MISREAD: dict[str, Factor] = {
    "math": lambda m: math.sqrt(m),
    "max of math": lambda m: max(1.0, math.sqrt(m)),
    "min": lambda m: min(m, 3.0),
    "if": lambda m: 1.0 if m > 2 else 3.0,
    "isclose": lambda m: 1.0 if math.isclose(m, 4.0) else 3.0,
    "dictionary": lambda m: {4.0: 1.0}.get(m, 3.0),
    "set": lambda m: 1.0 if m in {4.0, 5.0} else 3.0,
    "list": lambda m: 1.0 if m in [4.0, 5.0] else 3.0,
    "whole number": lambda m: 1.0 if m.is_integer() else 3.0,
    "int": lambda m: int(m),
    "range": lambda m: sum(0.5**k for k in range(int(m))),
    "range of itself": lambda m: sum(0.5**k for k in range(m)),
    "type": lambda m: 1.0 if isinstance(m, float) else 3.0,
    "type of a type": lambda m: 1.0 if type(m) is float else 3.0,
    "text": lambda m: 1.0 if str(m) == "4.0" else 3.0,
    "format": lambda m: float(f"{m:.1f}"),
    "float array": lambda m: float(np.array([m, 1.0], dtype=float)[0]),
    "array entry": lambda m: entry(m),
    "inverse of an array": lambda m: np.linalg.inv(np.array([[m, 0.0], [0.0, 1.0]]))[0, 0],
    "DM": lambda m: ca.DM(m),
    "comparison of floats": lambda m: 1.0 if float(m) > 2 else 3.0,
    "attribute": lambda m: 1.0 if getattr(m, "real", None) == 4.0 else 3.0,
    "hash": lambda m: 1.0 if hash(m) == hash(4.0) else 3.0,
    "sorted": lambda m: sorted([m, 3.0])[0],
}


def entry(m: Any) -> Any:
    array = np.zeros(2)
    array[0] = m
    return array[0]


@pytest.mark.parametrize("name", MISREAD)
def test_what_symbols_cannot_follow_is_refused(name: str) -> None:
    factor = MISREAD[name]
    plant = Spring(factor, mass=4 if name == "range of itself" else 4.0)  # a float has no range either
    plant.casadi()  # with its numbers it is an ordinary plant
    with pytest.raises(InvalidValue, match=r"Spring.*\bmass\b") as caught:
        plant.casadi(["mass"])
    assert "signal" not in str(caught.value)


FOLLOWED: dict[str, Factor] = {
    "casadi": lambda m: ca.fmax(1.0, ca.sqrt(m)),
    "branch": lambda m: ca.if_else(m > 2, m, 3.0),
    "powers": lambda m: m**3 / (1 + m) - m**-0.5 + 0.3 * m * 7.0 * m - (-m),
    "rounding": lambda m: math.floor(m) + 0.5 * m,
    "a constant": lambda m: 2.0,
    "matrix": lambda m: (np.array([[0.0, 1.0], [2.0, 0.3]]) @ ca.vertcat(m, 1.0))[1],
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_symbols_follow_is_taken(name: str) -> None:
    plant = Spring(FOLLOWED[name])
    f = plant.casadi(["mass"])
    for mass in (0.5, 2.3, 4.0, 17.25):
        expect_same(f, plant, ["mass"], {"mass": mass})
        assert float(f(0.7, 0.1, [], mass)) == pytest.approx(
            float(Spring(plant.factor, mass).casadi()(0.7, 0.1, [], []))
        )


def test_what_is_another_function_elsewhere_only_is_found_there() -> None:
    """isinstance lets no symbol refuse, and at its own value this plant is the same."""
    plant = Spring(lambda m: m if not isinstance(m, float) or m > 2 else 2.0)
    f = plant.casadi(["mass"])
    expect_same(f, plant, ["mass"], {"mass": 3.0})
    with pytest.raises(InvalidValue, match="the equation of x is another function when mass may vary than at mass = 1"):
        expect_same(f, plant, ["mass"], {"mass": 1.0})


def test_signals_refuse_to_be_numbers() -> None:
    """NaN > 1 is false, so without an error these would be constants."""
    for factor in (lambda x: max(1.0, math.sqrt(x)), lambda x: 2.0 if math.isclose(x, 0.0) else 1.0, lambda x: int(x)):

        @dataclass(frozen=True)
        class Read(One):
            def ode(self, x, u, w, factor=factor):
                return (factor(x.x) + u.u,)

        with pytest.raises(InvalidValue, match=r"Read\.ode .*signals \(x\)"):
            Read().casadi()


def test_only_within_and_only_what_holds_symbols_is_unreadable() -> None:
    x = ca.SX.sym("x")
    assert math.isnan(float(x))
    assert isinstance(hash(x), int)
    with unreadable(("m",)):
        assert float(ca.SX(3.0)) == 3.0
        assert max(ca.SX(3.0), 2.0) == 3.0
        assert isinstance(hash(x), int)  # of a signal, as a cache asks for
        with pytest.raises(SymbolRead, match="decides by the value"), unreadable():
            bool(x > 1)
        with pytest.raises(SymbolRead, match=r"parameter m, .* in a dictionary"):
            hash(2 * ca.SX.sym("m"))
        with pytest.raises(SymbolRead, match="cannot read"):
            float(x)
    assert math.isnan(float(x))


TABLE = ca.interpolant("drag", "linear", [[-10.0, 0.0, 10.0]], [2.0, 0.0, 3.0])


def test_a_table_is_compared_at_points() -> None:
    plant = Spring(lambda m: m * TABLE(0.5 * m))
    f = plant.casadi(["mass"])
    expect_same(f, plant, ["mass"], {"mass": 3.0})
    with pytest.raises(InvalidValue, match=r"another function when mass may vary"):
        Spring(lambda m: TABLE(0.5 * m) + (1.0 if isinstance(m, float) else 0.0)).casadi(["mass"])


# ---- fields that no interval fits ----


@dataclass(frozen=True)
class Chain(One):
    links: int = 3
    rigid: bool = True
    stiffness: float = 2.0

    def ode(self, x, u, w):
        return (sum(self.stiffness / (k + 1) for k in range(self.links)) * x.x * (2 if self.rigid else 1) + u.u,)


def test_whole_numbers_and_truths_stay_what_they_are() -> None:
    f = Chain().casadi(["stiffness"])
    assert float(f(1.0, 0.0, [], 3.0)) == pytest.approx(2 * 3.0 * (1 + 1 / 2 + 1 / 3))
    with pytest.raises(InvalidValue, match=r"Chain.links = 3 is declared as int; only a real number"):
        Chain().casadi(["links"])
    with pytest.raises(InvalidValue, match=r"Chain.rigid = True is declared as bool"):
        Chain().casadi(["rigid", "stiffness"])


@dataclass(frozen=True)
class Rod(One):
    """Inertia from mass and length: once and for all where it is filled in, again and again where it is computed."""

    mass: float = 2.0
    length: float = 0.5
    inertia: float | None = None
    table: Any = None
    ratio: float = field(init=False)

    def __post_init__(self) -> None:
        if self.inertia is None:
            object.__setattr__(self, "inertia", self.mass * self.length**2)
        if self.table is None:
            object.__setattr__(self, "table", np.array([self.length, 1.0]))
        object.__setattr__(self, "ratio", self.mass / 3)
        super().__post_init__()

    def ode(self, x, u, w):
        return (x.x * self.ratio + u.u / self.inertia + self.table[0],)


def test_what_is_filled_in_from_a_parameter_is_named() -> None:
    with pytest.raises(InvalidValue, match=r"Rod.inertia is filled in from mass .* would stay 0.5 while mass varies"):
        expect_independent(Rod(), ["mass"], {"mass": [1.0, 3.0]})
    with pytest.raises(InvalidValue, match=r"Rod.table is filled in from length"):
        expect_independent(Rod(inertia=1.0), ["length"], {"length": [0.4, 0.6]})
    expect_independent(Rod(inertia=1.0), ["mass"], {"mass": [1.0, 3.0]})  # given, so it is a number of its own
    expect_independent(Rod(), ["mass", "inertia"], {"mass": [1.0, 3.0], "inertia": [0.4, 0.6]})  # both vary


def test_what_is_computed_from_a_parameter_varies_with_it() -> None:
    plant = Rod(inertia=1.0)
    f = plant.casadi(["mass"])
    assert float(f(1.0, 0.0, [], 6.0)) == pytest.approx(2.0 + 0.5)
    expect_same(f, plant, ["mass"], {"mass": 6.0})
    with pytest.raises(InvalidValue, match=r"Rod.ratio is computed when the plant is constructed"):
        plant.casadi(["ratio"])


@dataclass(frozen=True)
class Checked(One):
    mass: float = 2.0
    table: Any = None

    def __post_init__(self) -> None:
        if self.mass <= 0:
            raise ValueError("mass must be positive")
        super().__post_init__()

    def ode(self, x, u, w):
        return (x.x / self.mass + u.u,)


def test_a_plant_whose_making_reads_a_parameter_says_so() -> None:
    with pytest.raises(InvalidValue, match=r"Checked.__post_init__ decides by the value of the parameter mass"):
        Checked().casadi(["mass"])


# ---- limits ----


@dataclass(frozen=True)
class Motor(One):
    limit: Factor = lambda a: (-1.0, 1.0)
    a: float = 2.0

    def ode(self, x, u, w):
        return (self.a * x.x + u.u,)

    def limits(self):
        return {"u": self.limit(self.a)}


LIMITS: dict[str, Factor] = {
    "the parameter itself": lambda a: (-a, a),
    "zero in between, the same at both ends": lambda a: (-abs_(a), abs_(a)),
    "the same at both ends": lambda a: (-1.0, 1.0 + (a - 1) * (a - 2) * (a - 3)),
    "read as a number": lambda a: (-1.0, max(0.0, 2 + 10 * (a - 1) * (a - 2) * (a - 3))),
    "by type": lambda a: (-1.0, 1.0 if not isinstance(a, float) else a),
}


def abs_(a: Any) -> Any:
    return ca.fmax(0.0, 2 + 10 * (a - 1) * (a - 2) * (a - 3)) if isinstance(a, ca.SX) else 2.0


@pytest.mark.parametrize("name", LIMITS)
def test_limits_that_vary_are_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="a sets the limits of the inputs, which are not enclosed"):
        expect_fixed_limits(Motor(LIMITS[name]), ["a"], {"a": [1.0, 3.0, 2.5]})


def test_limits_that_stay_are_taken() -> None:
    expect_fixed_limits(Motor(), ["a"], {"a": [1.0, 3.0]})
    expect_fixed_limits(Motor(lambda a: (-1.0, 0 * a + 2.0)), ["a"], {"a": [1.0, 3.0]})


# ---- the comparison by text ----

X, Y = ca.SX.sym("x"), ca.SX.sym("y")


def same(a: Any, b: Any) -> bool:
    programs = [read(ca.Function("f", [X, Y], [ca.SX(expression)])) for expression in (a, b)]
    return same_function(programs[0], programs[1])


def test_signs_order_and_rounding_make_no_difference() -> None:
    assert same(-(X * Y), (-X) * Y)
    assert same(X - Y, -(Y - X))
    assert same(-X - Y, -(X + Y))
    assert same(X * 0.3, X * (0.1 * 3))
    assert same(ca.fmin(X, Y), ca.fmin(Y, X))
    assert same(ca.sin(-X), -ca.sin(X))
    assert same(X * X, X**2)
    assert same(X / -Y, -(X / Y))
    assert same(ca.vertcat(X, 2.0), ca.vertcat(X, 2.0))


def test_whatever_else_differs_does() -> None:
    for a, b in (
        (X, Y),
        (X - Y, Y - X),
        (X + Y, X - Y),
        (X * 0.3, X * 0.3000001),
        (ca.fmin(X, Y), ca.fmax(X, Y)),
        (ca.fmin(X, 1.0), X),
        (ca.fmin(X, 1.0), ca.fmin(X, -1.0)),
        (X / Y, Y / X),
        (ca.cos(X), ca.sin(X)),
        (ca.exp(-X), ca.exp(X)),
        (ca.sqrt(-X), ca.sqrt(X)),
        (X**3, X**5),
        (1.0, 2.0),
        (1.0, -1.0),
        (ca.if_else(X > 0, X, Y), ca.if_else(X > 0, Y, X)),
        (ca.vertcat(X, Y), ca.vertcat(Y, X)),
        (X, ca.vertcat(X, Y)),
        (0.0, X),
    ):
        assert not same(a, b), (a, b)


def test_making_with_symbols_names_what_went_wrong() -> None:
    @dataclass(frozen=True)
    class Picky(One):
        mass: float = 2.0

        def __post_init__(self) -> None:
            if isinstance(self.mass, ca.SX):
                raise TypeError("numbers only")
            super().__post_init__()

        def ode(self, x, u, w):
            return (self.mass * x.x,)

    with pytest.raises(InvalidValue, match=r"Picky cannot be made with mass as symbols, .*numbers only"):
        with_symbols(Picky(), {"mass": ca.SX.sym("mass")})
