"""Nothing is proved of a set in which the plant, the law or V computes no number, however well that is hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop, QuadraticLyapunov, SearchLimits, SymbolicLyapunov, certify
from ctrl.certify.files.audit import _run
from ctrl.laws import Expression, SaturatedLinear
from ctrl.laws.law import clip
from systems import Box, Plant, Quadratic, Task, Uniform, Vector, signals
from systems.arithmetic.affine import Patch
from systems.arithmetic.interval import Interval
from systems.lowering.program import read

LITTLE = SearchLimits(boxes=3000, seconds=10.0)
ONE, ORIGIN = np.eye(1), np.zeros(1)
ZERO = SaturatedLinear(np.zeros((1, 1)), ORIGIN, ORIGIN, -np.ones(1), np.ones(1))
SQUARE = QuadraticLyapunov(ONE, ORIGIN)

Term = Callable[[Any], Any]


@dataclass(frozen=True)
class Flow(Plant):
    """x' = -x + u + a term that is zero, or NaN, on |x| < 1."""

    term: Term

    state = signals("x")
    input = signals("u")
    disturbance = signals("w")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (-x.x + u.u + self.term(x.x),)


@dataclass(frozen=True)
class Map(Plant):
    """The same in samples."""

    term: Term
    dt: float = 0.1

    state = signals("x")
    input = signals("u")
    disturbance = signals("w")

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (0.8 * x.x + 0.1 * u.u + self.term(x.x) + 0 * w.w,)


def task(plant: Plant) -> Task:
    return Task(
        name="hidden",
        plant=plant,
        dt=0.1,
        steps=10,
        cost=Quadratic({"x": 1.0}, {"u": 1.0}),
        initial=Uniform([-1], [1]),
        domain=Box("model", {"x": (-10.0, 10.0)}),
    )


NAN: dict[str, Term] = {
    "zero times a logarithm": lambda x: ca.fmax(0, x - 5) * ca.log(x - 5),
    "zero times an arc cosine, inside only": lambda x: ca.fmax(0, x - 5) * ca.acos(10 * x),
    "zero over a root": lambda x: ca.fmax(0, x - 5) / ca.sqrt(x - 5),
    "zero times an inverse": lambda x: ca.fmax(0, x - 5) * (1 / ca.fmax(x - 5, 0)),
    "the larger one": lambda x: ca.fmax(0, ca.tanh(ca.log(x - 10)) - 5),
    "the smaller one": lambda x: 5 + ca.fmin(-5, ca.tanh(ca.sqrt(x - 10))),
    "zero times an arc sine": lambda x: ca.fmin(0, x + 5) * ca.asin(x + 7),
    "zero times an area cosine": lambda x: ca.fmax(0, x - 5) * ca.acosh(x - 5),
    "zero times an area tangent": lambda x: ca.fmax(0, x - 5) * ca.atanh(x - 5),
    "zero times a negative power": lambda x: ca.fmax(0, x - 5) * ca.fmax(x - 5, 0) ** -3,
    "zero times an overflow": lambda x: ca.fmax(0, x - 5) * ca.exp(900 * (x + 1)),
    "a bounded function of a difference of overflows": lambda x: ca.fmax(
        0, ca.tanh(ca.exp(900 * (x + 2)) - ca.exp(901 * (x + 2))) - 5
    ),
    "a difference that CasADi simplifies": lambda x: ca.log(x - 5) - ca.log(x - 5),
    "a quotient that CasADi simplifies": lambda x: (ca.acosh(x) + 1) / (ca.acosh(x) + 1) - 1,
    "a product that CasADi simplifies": lambda x: ca.sqrt(x - 5) * ca.sqrt(x - 5) - (x - 5),
    "a difference of overflows that CasADi simplifies": lambda x: ca.exp(900 * (x + 2)) - ca.exp(900 * (x + 2)),
    "a product that CasADi simplifies, undefined on a part": lambda x: ca.sqrt(x + 0.5) * ca.sqrt(x + 0.5) - (x + 0.5),
    "a difference that CasADi simplifies, undefined on a part": lambda x: ca.log(x + 0.5) - ca.log(x + 0.5),
    "overflows that CasADi simplifies, on a part": lambda x: ca.exp(9000 * (x - 0.6)) - ca.exp(9000 * (x - 0.6)),
    "a gap of 1e-9": lambda x: ca.fmax(0, x - 5) * ca.log((x - 0.3) ** 2 - 1e-18),
}


@pytest.mark.parametrize("name", NAN)
@pytest.mark.parametrize("kind", ["flow", "sampled flow", "map"])
@pytest.mark.every(3)
def test_a_plant_that_computes_no_number_is_not_proved(kind: str, name: str) -> None:
    plant = Map(NAN[name]) if kind == "map" else Flow(NAN[name])
    found = certify(task(plant), ZERO, SQUARE, level=0.9, budget=LITTLE, continuous=kind == "flow")
    assert not found.is_proved, found


DEFINED: dict[str, Term] = {
    "logarithm": lambda x: 0.1 * (ca.log(x + 5) - np.log(5.0)),
    "root": lambda x: 0.1 * (ca.sqrt(x + 4) - 2.0),
    "arc sine": lambda x: 0.1 * ca.asin(x / 2),
    "inverse": lambda x: 0.1 * (1 / (x + 2) - 0.5),
    "exponential": lambda x: 1e-300 * (ca.exp(300 * x) - 1),
}


@pytest.mark.parametrize("name", DEFINED)
@pytest.mark.parametrize("continuous", [False, True])
def test_what_has_a_value_on_the_whole_set_is_proved(continuous: bool, name: str) -> None:
    found = certify(task(Flow(DEFINED[name])), ZERO, SQUARE, level=0.9, budget=LITTLE, continuous=continuous)
    assert found.is_proved, found


@pytest.mark.parametrize("name", NAN)
@pytest.mark.every(2)
def test_a_law_that_computes_no_number_is_not_proved(name: str) -> None:
    x = ca.SX.sym("x", 1)
    law = Expression(ca.Function("u", [x], [NAN[name](x)]))
    for continuous in (False, True):
        plain = task(Flow(lambda x: 0.0))
        found = certify(plain, law, SQUARE, level=0.9, budget=LITTLE, continuous=continuous)
        assert not found.is_proved, found


@pytest.mark.parametrize("name", [name for name in NAN if "large" not in name and "small" not in name])
def test_a_candidate_that_computes_no_number_is_not_proved(name: str) -> None:
    x = ca.SX.sym("x", 1)

    def smooth(x: Any) -> Any:  # kinks are refused in V, so what hides the NaN is a bounded function, or nothing
        if "simplifies" in name:
            return NAN[name](x)
        return 1e-3 * ca.tanh(ca.log(x - 0.5) if "log" in name else ca.sqrt(ca.sin(x) - 0.7))

    V = SymbolicLyapunov(ca.Function("V", [x], [x**2 + smooth(x)]), ORIGIN)
    found = certify(task(Flow(lambda x: 0.0)), ZERO, V, level=0.5, budget=LITTLE)
    assert not found.is_proved, found


def test_slopes_are_unknown_where_values_are() -> None:
    """The derivative of a logarithm is defined, and finite, below zero."""
    loop = ClosedLoop(task(Flow(lambda x: ca.fmax(0, x - 5) * ca.log(x - 5))), ZERO, continuous=True)
    box = Interval(np.array([[0.0], [6.0]]), np.array([[0.1], [6.1]]))
    slopes = loop.enclose_jacobian(box).jacobian
    assert np.isnan(slopes.rad[0]).all()
    assert np.isfinite(slopes.rad[1]).all()
    plain = ClosedLoop(task(Flow(lambda x: ca.log(x - 5))), ZERO, continuous=True)
    assert np.isnan(plain.enclose_jacobian(box).jacobian.rad).ravel().tolist() == [True, False]
    assert np.isnan(plain.relax(Patch.boxes(box)).radius).ravel().tolist() == [True, False]
    x = ca.SX.sym("x", 1)
    law = Expression(ca.Function("u", [x], [ca.log(x - 5)]))
    driven = ClosedLoop(task(Flow(lambda x: 0.0)), law, continuous=True)
    assert driven.enclose(box).undefined.ravel().tolist() == [True, False]
    assert not np.isfinite(driven.relax(Patch.boxes(box)).radius[0, 0])
    value, slope = clip(law.enclose(box), Interval.of(np.zeros((2, 1, 1))), -np.ones(1), np.ones(1))
    assert value.undefined.tolist() == [[True], [False]]
    assert slope.undefined.tolist() == [[[True]], [[False]]]
    assert law.enclose_jacobian(box).undefined.tolist() == [[[True]], [[False]]]
    V = SymbolicLyapunov(ca.Function("V", [x], [ca.log(x - 5)]), np.array([6.0]))
    assert V.enclose_hessian(box).undefined.tolist() == [[[True]], [[False]]]


def test_the_audit_finds_no_number_either() -> None:
    flint = pytest.importorskip("flint")
    x = ca.SX.sym("x", 1)
    for hidden in (ca.fmax(0, x - 5) * ca.log(x - 5), ca.fmax(3, ca.log(x - 5)), ca.fmin(ca.sqrt(x - 5), -3)):
        ((value,),) = _run(read(ca.Function("f", [x], [hidden])), [[flint.arb(0)]])
        assert not value.is_finite()
        assert not value < 1e9


def test_rest_is_not_shown_where_there_is_no_number() -> None:
    for name, term in NAN.items():
        if name in ("zero times an arc cosine, inside only", "a gap of 1e-9") or "on a part" in name:
            continue  # there is one, at the origin
        assert not ClosedLoop(task(Flow(term)), ZERO, continuous=True).drift(ORIGIN)[0], name
