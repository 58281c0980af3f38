"""Claims that are false, asked for in every way that the proofs' code could be thought to fall for; none is proved.

That each is false is shown beside it: by the numeric plant, or by algebra in one line. Where a claim next to it is true
and easy, that one is proved, so that what refuses the false one is not a refusal of everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import (
    Certificate,
    ClosedLoop,
    QuadraticLyapunov,
    SearchLimits,
    SymbolicLyapunov,
    certify,
)
from ctrl.certify.candidates.disturbed import reachable
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.files.file import StoredClaim
from ctrl.certify.files.verification import recheck
from ctrl.controller import NotApplicable
from ctrl.laws import Expression, Network, SaturatedLinear
from systems import Box, InvalidValue, LinearPlant, Plant, Quadratic, Task, Uniform, signals
from systems.lowering import NotLowerable

LITTLE = SearchLimits(4000, 5.0)
ONE, ORIGIN = np.eye(1), np.zeros(1)
SQUARE = QuadraticLyapunov(ONE, ORIGIN)
Term = Callable[[Any], Any]


def linear(gain: float, low: float = -1.0, high: float = 1.0) -> SaturatedLinear:
    return SaturatedLinear(gain * ONE, ORIGIN, ORIGIN, np.array([low]), np.array([high]))


IDLE = linear(0.0)


@dataclass(frozen=True)
class Map(Plant):
    """x+ = f(x) + gain u + push w."""

    f: Term
    gain: float = 0.0
    push: Callable[[Any, Any], Any] | None = None
    a: float = 0.5
    limit: float = 1e9
    dt: float = 1.0

    state = signals("x")
    input = signals("u")
    disturbance = signals("w")

    def step(self, x, u, w):
        pushed = 0 * w.w if self.push is None else self.push(x.x, w.w)
        return (self.f(x.x) + self.gain * u.u + pushed,)

    def limits(self):
        return {"u": (-self.limit, self.limit)}


@dataclass(frozen=True)
class Flow(Plant):
    """x' = f(x)."""

    f: Term

    state = signals("x")
    input = signals("u")
    disturbance = signals("w")

    def ode(self, x, u, w):
        return (self.f(x.x) + 0 * u.u + 0 * w.w,)


def task(plant: Plant, half: float = 10.0, **changes: Any) -> Task:
    n = len(plant.state)
    fields: dict[str, Any] = {
        "cost": Quadratic(np.eye(n), np.eye(1)),
        "initial": Uniform([-1.0] * n, [1.0] * n),
        "domain": Box("d", dict.fromkeys(plant.state.names, (-half, half))),
    }
    return Task(name="t", plant=plant, dt=getattr(plant, "dt", 0.1) or 0.1, steps=20, **(fields | changes))


def falls(t: Task, law: Any, level: float, points: int = 20001) -> bool:
    """Whether x^2 falls in one sample of the numeric plant at all of a grid of its set but zero, and within it."""
    x = np.linspace(-np.sqrt(level), np.sqrt(level), points)[:, None]
    x = x[x[:, 0] != 0]
    u = np.clip(law(x), *t.applied_bounds)
    after = np.array(t.true_dynamics.function()(x.T, u.T, 0, [])).T
    return bool((after**2 < x**2).all())


# ---- kinks, jumps, bumps ----

TERMS: dict[str, tuple[Term, float]] = {
    "a kink": (lambda x: 0.6 * x + 2 * ca.fmax(0, x - 0.7), 0.9),
    "a bump 1e-6 wide": (lambda x: 0.6 * x + 3 * ca.fmax(0, 1 - 1e6 * ca.fabs(x - 0.54321)), 0.9),
    "a bell 1e-6 wide": (lambda x: 0.6 * x + 3 * ca.exp(-((1e6 * (x - 0.54321)) ** 2)), 0.9),
    "a pole": (lambda x: 0.6 * x + 1e-9 * ca.tan(2 * x), 0.9),
    "a step": (lambda x: 0.6 * x - 0.5 * ca.floor(x + 0.2), 0.9),
    "a branch": (lambda x: ca.if_else(x > 0.7, 1.5 * x, 0.6 * x), 0.9),
    "a truth value": (lambda x: 0.6 * x + (x > 0.8) * x, 0.9),
    "a sign": (lambda x: 0.2 * x - 0.5 * ca.sign(x), 0.9),
    "a remainder": (lambda x: ca.fmod(3 * x, 0.7), 0.9),
    "a root at zero": (lambda x: 0.1 * ca.sqrt(ca.fabs(x)), 0.9),
    "a steep start": (lambda x: 0.6 * x + 0.003 * ca.asinh(1e8 * x), 0.9),
    "fast ripples": (lambda x: 0.6 * x + 1e-6 * ca.sin(1e10 * x), 0.9),
    "a rest elsewhere": (lambda x: x - 0.1 * x * (x - 0.5) ** 2, 0.9),
    "a rest on the border": (lambda x: x - 0.1 * x * (1 - x), 1.0),
    "one part in 1e13 too much": (lambda x: (1 + 1e-13) * x, 1.0),
    "one unit in the last place": (lambda x: (1 + 2.0**-52) * x, 1.0),
    "no motion": (lambda x: 1.0 * x, 1.0),
    "a decrease that vanishes": (lambda x: x + 0.1 * x**3, 0.9),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_map_that_does_not_bring_all_of_the_set_closer(name: str) -> None:
    f, level = TERMS[name]
    t = task(Map(f))
    if name not in ("a pole", "a bump 1e-6 wide", "a bell 1e-6 wide", "a rest elsewhere", "fast ripples"):
        assert not falls(t, IDLE, level)
    where = {"a pole": np.pi / 4, "a bump 1e-6 wide": 0.54321, "a bell 1e-6 wide": 0.54321, "a rest elsewhere": 0.5}
    if name in where:
        at = where[name]
        assert abs(float(f(ca.DM(at)))) >= at
    if name in ("a step", "a branch", "a truth value", "a sign", "a remainder"):
        with pytest.raises(NotApplicable, match="where it may be discontinuous"):
            certify(t, IDLE, SQUARE, level=level, budget=LITTLE)
        return
    found = certify(t, IDLE, SQUARE, level=level, budget=LITTLE)
    assert not found.is_proved, found
    assert found.advice or found.kind == "refused"


@pytest.mark.parametrize("rate", [2.0**-53, 1e-13, 0.0])
def test_a_flow_that_grows_by_a_rounding(rate: float) -> None:
    grows = certify(task(Flow(lambda x: rate * x)), IDLE, SQUARE, level=1.0, continuous=True, budget=LITTLE)
    assert not grows.is_proved
    shrinks = certify(task(Flow(lambda x: -1e-13 * x)), IDLE, SQUARE, level=1.0, continuous=True, budget=LITTLE)
    assert shrinks.is_proved


@pytest.mark.parametrize("level", [1.0, 1.0000001, 4.0])
def test_a_flow_whose_basin_ends_before(level: float) -> None:
    """x' = -x + x^3 rests at 1 and grows beyond."""
    t = task(Flow(lambda x: -x + x**3))
    for continuous in (True, False):
        assert not certify(t, IDLE, SQUARE, level=level, continuous=continuous, budget=LITTLE).is_proved
        assert certify(t, IDLE, SQUARE, level=0.99, continuous=continuous, budget=LITTLE).is_proved


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e-80, 1e80, 1e150])
def test_growth_at_any_scale(size: float) -> None:
    for P in (1.0, size**-2 if 1e-150 < size < 1e150 else 1.0):
        level = P * size * size
        level = level if 0 < level < np.inf else 1e-300
        V = QuadraticLyapunov(P * ONE, ORIGIN)
        grows = task(Map(lambda x: 1.0000001 * x), 2 * size, initial=Uniform([-size], [size]))
        assert not certify(grows, IDLE, V, level=level, budget=LITTLE).is_proved


# ---- integrators ----


@pytest.mark.parametrize(
    ("integrator", "substeps", "rate", "holds"),
    [
        *(("euler", 1, -19.0, True), ("euler", 1, -21.0, False), ("euler", 2, -39.0, True), ("euler", 2, -41.0, False)),
        *(("rk4", 1, -27.5, True), ("rk4", 1, -28.0, False), ("rk4", 2, -55.0, True), ("rk4", 2, -56.0, False)),
        *(("exact", 1, -1000.0, True), ("exact", 1, 1e-13, False)),
    ],
)
def test_what_is_claimed_is_the_integrators_step(integrator: Any, substeps: int, rate: float, holds: bool) -> None:
    """Euler's steps of 0.1 s grow beyond a rate of 20 per second, those of Runge and Kutta beyond 27.85."""
    t = task(Flow(lambda x: rate * x), integrator=integrator, substeps=substeps)
    found = certify(t, IDLE, SQUARE, level=1.0, budget=LITTLE)
    assert found.is_proved == holds, found


@pytest.mark.parametrize("growth", [0.0, 1e-14, 1e-12])
def test_a_spiral_that_grows_between_exact_samples(growth: float) -> None:
    A = np.array([[growth, 1.0], [-1.0, growth]])
    idle = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), ORIGIN, -np.ones(1), np.ones(1))
    V = QuadraticLyapunov(np.eye(2), np.zeros(2))
    t = task(LinearPlant(A, np.zeros((2, 1))), integrator="exact")
    assert not certify(t, idle, V, level=1.0, budget=LITTLE).is_proved
    t = task(LinearPlant(A - 1e-9 * np.eye(2), np.zeros((2, 1))), integrator="exact")
    assert certify(t, idle, V, level=1.0, budget=LITTLE).is_proved


# ---- what really runs ----


def test_limits_and_plants_are_those_of_the_truth() -> None:
    nominal = Map(lambda x: 1.2 * x, 1.0)
    law = linear(0.7)
    assert certify(task(nominal), law, SQUARE, level=0.9).is_proved
    for truth in (
        Map(lambda x: 1.2 * x, 1.0, limit=0.01),
        Map(lambda x: 2.2 * x, 1.0),
        Map(lambda x: 1.2 * x, 0.0),
        Map(lambda x: 1.2 * x, -1.0),
    ):
        wrong = task(nominal, truth=truth)
        assert not falls(wrong, law, 0.9)
        assert not certify(wrong, law, SQUARE, level=0.9, budget=LITTLE).is_proved


@pytest.mark.parametrize(
    ("law", "level", "holds"),
    [
        (linear(0.7), 24.9, True),  # |0.2 x| < 1 up to 5
        (linear(0.7), 25.1, False),
        (linear(0.7, -0.5, 0.1), 0.24, True),  # 0.2 |x| < 0.1 up to 0.5 below zero
        (linear(0.7, -0.5, 0.1), 0.26, False),
        (linear(-0.7), 1e-6, False),
        (linear(2.3), 1e-6, False),
        (linear(0.7, 0.1, 0.5), 1.0, False),  # it never rests
        (linear(1e300), 1.0, False),
        (linear(1e-320), 1.0, False),
    ],
)
def test_a_law_as_far_as_its_limits_go(law: SaturatedLinear, level: float, holds: bool) -> None:
    t = task(Map(lambda x: 1.2 * x, 1.0))
    assert falls(t, law, level) == holds
    assert certify(t, law, SQUARE, level=level, budget=LITTLE).is_proved == holds


X = ca.SX.sym("x", 1)
LAWS: dict[str, ca.SX] = {
    "a dead zone": -0.7 * (ca.fmax(0, X - 0.01) - ca.fmax(0, -X - 0.01)),
    "a bound that hides a NaN": ca.fmax(-0.3, ca.fmin(0.3, ca.log(X))),
    "a pole that is saturated": -1e-3 / X,
    "zero times a logarithm": -0.7 * X + ca.fmax(0, X - 5) * ca.log(X - 5),
    "a steep middle beside an overflow": -0.7 * X + 1e-3 / (1 + ca.exp(1e5 * X)) - 5e-4,
}


@pytest.mark.parametrize("name", LAWS)
def test_a_law_that_fails_somewhere(name: str) -> None:
    t = task(Map(lambda x: 1.2 * x, 1.0))
    law = Expression(ca.Function("u", [X], [LAWS[name]]))
    assert not falls(t, law, 0.9) or name == "a pole that is saturated"
    assert not certify(t, law, SQUARE, level=0.9, budget=LITTLE).is_proved


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "gelu", "identity"])
def test_a_network_that_saturates_too_early(activation: Any) -> None:
    """Two units that make 0.7 x close to zero, whatever they do far out, before a tanh that ends at 0.05."""
    weights = (np.array([[0.7], [-0.7]]), np.array([[-20.0, 20.0]]), 0.05 * ONE)
    net = Network(weights, (np.zeros(2), ORIGIN, ORIGIN), (activation, "tanh", "identity"))
    t = task(Map(lambda x: 1.2 * x, 1.0))
    assert not falls(t, net, 0.9)
    assert not certify(t, net, SQUARE, level=0.9, budget=LITTLE).is_proved


# ---- candidates ----


@pytest.mark.parametrize("P", [[[1, 0.5], [0.4, 1]], [[1, 2], [2, 1]], [[1, 1], [1, 1]], [[0, 0], [0, 0]], -np.eye(2)])
def test_a_matrix_that_is_no_candidate(P: Any) -> None:
    with pytest.raises(InvalidValue, match=r"symmetric|positive definite"):
        QuadraticLyapunov(np.array(P, dtype=float), np.zeros(2))


@dataclass(frozen=True)
class Pair(Plant):
    """x shrinks, y grows or shrinks."""

    growth: float
    dt: float = 1.0

    state = signals("x", "y")
    input = signals("u")

    def step(self, x, u, w):
        return (0.5 * x.x + 0 * u.u, self.growth * x.y)


CANDIDATES: dict[str, Term] = {
    "not positive": lambda x: x[0] ** 2 - x[1] ** 2,
    "negative": lambda x: -(x[0] ** 2) - x[1] ** 2,
    "zero": lambda x: 0 * x[0],
    "linear": lambda x: x[0],
    "blind to a state": lambda x: x[0] ** 2,
    "hardly sees a state": lambda x: x[0] ** 2 + 1e-30 * x[1] ** 2,
    "two wells": lambda x: x[0] ** 2 * (x[0] - 3) ** 2 + x[1] ** 2,
    "bounded": lambda x: ca.tanh(x[0] ** 2) + x[1] ** 2,
    "not everywhere": lambda x: x[0] ** 2 / (1 - x[0] ** 2) + x[1] ** 2,
    "an angle": lambda x: ca.atan2(x[1], x[0]) ** 2 + x[0] ** 2,
    "shifted by 1e20": lambda x: ca.sumsqr(x) + 1e20,
    "tilted": lambda x: ca.sumsqr(x) + 10 * x[1],
}


@pytest.mark.parametrize("name", CANDIDATES)
@pytest.mark.parametrize("kappa", [0.0, 0.2])
@pytest.mark.every(3)
def test_no_candidate_shows_that_what_grows_converges(name: str, kappa: float) -> None:
    x = ca.SX.sym("x", 2)
    V = SymbolicLyapunov(ca.Function("V", [x], [CANDIDATES[name](x)]), np.zeros(2))
    idle = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), ORIGIN, -np.ones(1), np.ones(1))
    for growth in (1.0, 1.1):
        found = certify(task(Pair(growth)), idle, V, level=1.0, kappa=kappa, budget=SearchLimits(2000, 3.0))
        assert not found.is_proved, found


@pytest.mark.parametrize("kappa", [0.0, 0.7499, 0.7501, 0.999999])
def test_the_share_of_a_decrease_is_not_exceeded(kappa: float) -> None:
    """x+ = x / 2 leaves a quarter of x^2."""
    found = certify(task(Map(lambda x: 0.5 * x)), IDLE, SQUARE, level=1.0, kappa=kappa, budget=LITTLE)
    assert found.is_proved == (kappa < 0.75)


# ---- disturbances ----

PUSHES: dict[str, tuple[Callable[[Any, Any], Any], tuple[float, float], float, float]] = {
    # push, its interval, the least inner level that holds, and one that does not
    "both ways": (lambda x, w: w, (-0.1, 0.1), 0.0401, 0.0399),
    "one way": (lambda x, w: w, (0.3, 0.4), 0.6401, 0.6399),
    "always the same": (lambda x, w: w, (0.3, 0.3), 0.3601, 0.3599),
    "worst in between": (lambda x, w: 0.1 - w**2, (-0.3, 0.3), 0.35, 0.0399),
    "with the state": (lambda x, w: x * w, (-0.49, 0.49), 1e-6, -1.0),
}


@pytest.mark.parametrize("name", PUSHES)
def test_no_smaller_set_is_reached_than_the_disturbance_allows(name: str) -> None:
    """x+ = x / 2 + w comes to |x| <= 2 |w| and no closer."""
    push, W, enough, short = PUSHES[name]
    t = task(Map(lambda x: 0.5 * x, push=push))

    def claimed(inner: float) -> Certificate:
        return certify(t, IDLE, SQUARE, level=0.9, disturbance={"w": W}, inner=inner, budget=SearchLimits(20_000, 5.0))

    assert claimed(enough).is_proved
    if short > 0:
        assert not claimed(short).is_proved
    stronger = task(Map(lambda x: 0.5 * x, push=lambda x, w: push(x, w) + 0.6 * x))
    assert not certify(stronger, IDLE, SQUARE, level=0.9, disturbance={"w": W}, inner=enough, budget=LITTLE).is_proved


def test_an_inner_level_that_is_left_out_is_never_beyond_the_level() -> None:
    """Motions keep within x^2 = 0.04 at best; a level below that is refused by a state, not by its own inner level."""
    t = task(Map(lambda x: 0.5 * x, push=lambda x, w: w))
    loop = ClosedLoop(t, IDLE, disturbance={"w": (-0.1, 0.1)})
    assert reachable(loop, SQUARE, level=0.01) == 0.01
    assert 0.04 < reachable(loop, SQUARE, level=0.9) < 0.06
    small = certify(t, IDLE, SQUARE, level=0.01, disturbance={"w": (-0.1, 0.1)}, budget=LITTLE)
    assert small.kind == "refused"


NOWHERE: dict[str, Callable[[Any, Any], Any]] = {
    "a logarithm": lambda x, w: 1e-3 * ca.log(w),
    "a quotient": lambda x, w: 1e-9 / w,
    "zero times a logarithm": lambda x, w: ca.fmax(0, w - 5) * ca.log(w - 5),
    "a bell between the corners": lambda x, w: 1.2 * ca.exp(-((1e4 * (w - 0.0123)) ** 2)),
}


@pytest.mark.parametrize("name", NOWHERE)
def test_disturbances_within_their_interval_count(name: str) -> None:
    t = task(Map(lambda x: 0.5 * x, push=NOWHERE[name]))
    found = certify(t, IDLE, SQUARE, level=0.9, disturbance={"w": (-0.1, 0.4)}, inner=0.1, budget=LITTLE)
    assert not found.is_proved


def test_an_inner_set_of_a_loop_that_rests_anywhere() -> None:
    for f in (lambda x: 1.0 * x, lambda x: -1.0 * x):
        assert not certify(task(Map(f)), IDLE, SQUARE, level=0.9, inner=0.5, budget=LITTLE).is_proved


# ---- files ----


@pytest.mark.parametrize("level", [1.2, 1.21, 1.4, 100.0])
def test_the_parts_of_a_proof_show_no_larger_set(level: float) -> None:
    """x^2 falls up to |x| = 1.2 alone; the proof of 1.2 is offered for more, with a wider box and core."""
    t = task(Map(lambda x: 0.5 * x + 3 * ca.fmax(0, x - 1) - 3 * ca.fmax(0, -x - 1)))
    proved = certify(t, IDLE, SQUARE, level=1.2)
    assert proved.is_proved
    loop = ClosedLoop(t, IDLE)
    proof = proved.proof
    assert proof is not None
    wide = dataclasses.replace(proof, low=np.array([-11.0]), high=np.array([11.0]))
    covered = dataclasses.replace(wide, core=np.array([11.0]))
    for offered in (proof, wide, covered):
        again = recheck(StoredClaim(Claim(loop, SublevelSet(SQUARE, level, *loop.domain)), offered))
        assert again.holds == (level == 1.2 and offered is proof), again.reason
        assert again.holds or again.reason


def test_an_operation_without_bounds_is_named() -> None:
    V = SymbolicLyapunov(ca.Function("V", [X], [ca.erf(X) ** 2]), ORIGIN)
    law = Expression(ca.Function("u", [X], [-ca.erf(X)]))
    with pytest.raises(NotLowerable, match="erf"):
        certify(task(Map(lambda x: 0.5 * x)), IDLE, V, level=0.1)
    with pytest.raises(NotLowerable, match="erf"):
        certify(task(Map(lambda x: 0.5 * x, 1.0)), law, SQUARE, level=0.1)


def test_laws_candidates_and_boxes_that_do_not_fit_are_refused_in_words() -> None:
    t = task(Map(lambda x: 0.5 * x))
    with pytest.raises(InvalidValue, match="the law reads 2 states; plant Map has 1"):
        certify(t, SaturatedLinear(np.ones((1, 2)), np.zeros(2), ORIGIN, -np.ones(1), np.ones(1)), SQUARE, level=1.0)
    with pytest.raises(InvalidValue, match="does not accept the 2 states"):
        certify(task(Pair(0.5)), linear(1.0), QuadraticLyapunov(np.eye(2), np.zeros(2)), level=1.0)
    with pytest.raises(InvalidValue, match="V is a function of 2 states; plant Map has 1: x"):
        certify(t, IDLE, QuadraticLyapunov(np.eye(2), np.zeros(2)), level=1.0)
    away = np.array([2.0]), np.array([3.0])
    with pytest.raises(InvalidValue, match="contains no state with V <= 1"):
        certify(t, IDLE, SQUARE, level=1.0, box=away)
