"""The function that is proved is the plant that runs, for its own parameters and for every uncertain one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop, QuadraticLyapunov, SearchLimits, certify, largest_level, riccati
from ctrl.laws import SaturatedLinear
from ctrl.regulator import LQR
from systems import Box, InvalidValue, Plant, Quadratic, Task, Uniform, signals
from systems.arithmetic.interval import Interval
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum
from systems.library.planar_quadrotor import planar_quadrotor
from systems.lowering.program import read
from systems.lowering.same import same_function

Factor = Callable[[Any], Any]


class One(Plant):
    state = signals("x")
    input = signals("u")

    def limits(self):
        return {"u": (-1.0, 1.0)}


@dataclass(frozen=True)
class Spring(One):
    factor: Factor
    mass: float = 4.0
    inertia: float | None = None

    def __post_init__(self) -> None:
        if self.inertia is None:
            object.__setattr__(self, "inertia", 0.5 * self.mass)
        super().__post_init__()

    def ode(self, x, u, w):
        return (self.factor(self.mass) * x.x + 2.0 * u.u / self.inertia,)


def task(plant: Plant, dt: float = 0.1) -> Task:
    return Task(
        name="t",
        plant=plant,
        dt=dt,
        steps=50,
        cost=Quadratic({"x": 1.0}, {"u": 1.0}),
        initial=Uniform([-1], [1]),
        domain=Box("model", {"x": (-5.0, 5.0)}),
    )


# Each of these is +0.5 at mass 4, and something else where a symbol stands for the mass.
UNSTABLE: dict[str, Factor] = {
    "max of math": lambda m: max(1.0, math.sqrt(m)) - 1.5,
    "isclose": lambda m: 0.5 if math.isclose(m, 4.0) else -0.5,
    "dictionary": lambda m: {4.0: 0.5}.get(m, -0.5),
    "type": lambda m: 0.5 if isinstance(m, float) else -0.5,
    "text": lambda m: 0.5 if str(m) == "4.0" else -0.5,
    "array": lambda m: float(np.maximum(np.array([m - 4.0], dtype=float), 0.5)[0]),
}


@pytest.mark.parametrize("name", UNSTABLE)
def test_the_plant_that_runs_is_the_one_that_is_proved(name: str) -> None:
    """With |u| <= 1 and x' = x / 2 + u no state beyond 2 comes back."""
    unstable = task(Spring(UNSTABLE[name]))
    law = LQR(unstable).law
    found = largest_level(unstable, law, riccati(unstable))
    assert found.is_proved
    assert not found.contains(np.array([[2.0]]))[0]
    assert found.contains(np.array([[1.8]]))[0]
    V = QuadraticLyapunov(np.eye(1), np.zeros(1))
    assert not certify(unstable, law, V, level=4.1, budget=SearchLimits(5000)).is_proved
    with pytest.raises(InvalidValue, match="mass"):
        certify(unstable, law, riccati(unstable), uncertain={"mass": (3.9, 4.1)})


@pytest.mark.parametrize("make", [pendulum, cartpole, planar_quadrotor])
def test_the_program_that_is_enclosed_is_that_of_the_simulator(make: Callable[[], Task]) -> None:
    known = make()
    zero = np.zeros(len(known.plant.input))
    n = len(known.plant.state)
    law = SaturatedLinear(np.zeros((len(zero), n)), np.zeros(n), zero, zero, zero)
    loop = ClosedLoop(known, law)
    plant = read(known.dynamics.equations())
    assert same_function(read(loop.plant_step.equations), plant)
    f, numbers = loop.plant_step.free
    x, u, w, _ = f.sx_in()
    free = ca.Function("f", [x, u, w, ca.SX(0, 1)], [f(x, u, w, ca.DM(numbers.lo))])
    assert same_function(read(free), plant)
    rng = np.random.default_rng(0)
    for point in rng.normal(size=(5, n)):
        after = known.dynamics.function()(point, law(point), 0, [])
        assert np.allclose(loop(point), np.array(after)[:, 0], rtol=1e-13)


def test_parameters_that_others_follow_from_are_refused_by_name() -> None:
    plain = task(Spring(lambda m: -0.1 * m))
    law = LQR(plain).law
    with pytest.raises(InvalidValue, match=r"Spring.inertia is filled in from mass"):
        certify(plain, law, uncertain={"mass": (3.9, 4.1)})
    both = certify(plain, law, level=1.0, uncertain={"mass": (3.9, 4.1), "inertia": (1.9, 2.1)})
    assert both.is_proved
    given = task(Spring(lambda m: -0.1 * m, inertia=2.5))
    assert certify(given, LQR(given).law, level=1.0, uncertain={"mass": (3.9, 4.1)}).is_proved


def test_a_plant_that_is_another_one_for_some_values_is_refused() -> None:
    """At its own mass the symbol does what the number does."""
    plain = task(Spring(lambda m: 0.5 if isinstance(m, float) and math.isclose(m, 3.0) else -0.1 * m, inertia=2.5))
    assert certify(plain, LQR(plain).law, level=1.0, uncertain={"mass": (3.8, 4.1)}).is_proved
    with pytest.raises(InvalidValue, match=r"another function when mass may vary than at mass = 3, where"):
        certify(plain, LQR(plain).law, level=1.0, uncertain={"mass": (3.0, 4.1)})


def _fallback(m: Any) -> float:
    try:
        return max(m, 0.6) - 1.2 if abs(m - 3.95) < 0.01 else -0.1
    except TypeError:
        return -0.1


def _read(m: Any) -> float:
    try:
        return 0.5 if abs(float(m) - 3.95) < 0.01 else -0.1
    except TypeError:
        return -0.1


BANDS: dict[str, Factor] = {
    "type": lambda m: 0.5 if isinstance(m, float) and 3.94 < m < 3.96 else -0.1,
    "computed": lambda m: 0.5 if not isinstance(m, ca.SX) and abs(2.0 * (m - 3.95)) < 0.01 else -0.1,
    "text": lambda m: 0.5 if f"{m:.2f}" == "3.95" else -0.1,
    "rounded": lambda m: 0.5 if isinstance(m, float) and round(100 * m) == 395 else -0.1,
    "table": lambda m: {3.95: 0.5}.get(m, -0.1) if isinstance(m, float) else -0.1,
    "fallback": _fallback,
    "fallback for what cannot be read": _read,
}


@pytest.mark.parametrize("name", BANDS)
def test_a_plant_that_is_another_one_in_a_narrow_band_is_refused(name: str) -> None:
    """Between the values that are tried; numbers that may vary are not to be looked at, as symbols are not."""
    assert BANDS[name](3.95) > 0 > BANDS[name](4.0)
    plain = task(Spring(BANDS[name], inertia=2.5))
    assert certify(plain, LQR(plain).law, level=1.0).is_proved
    with pytest.raises(InvalidValue, match="mass"):
        certify(plain, LQR(plain).law, level=1.0, uncertain={"mass": (3.8, 4.1)})


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_numbers_that_vary_may_be_computed_with() -> None:
    ways: dict[str, Factor] = {
        "operators": lambda m: -0.1 * abs(-m) / (2.0 + m) ** 2 - 0.1 - 0.001 * +m,
        "casadi": lambda m: -0.1 * ca.sqrt(m) - ca.fmax(0.01 * m, 0.0),
        "numpy": lambda m: -0.1 * np.sqrt(m) - (np.array([m, 1.0]) @ np.array([0.01, 0.02])),
    }
    for factor in ways.values():
        plain = task(Spring(factor, inertia=2.5))
        assert certify(plain, LQR(plain).law, level=0.5, uncertain={"mass": (3.8, 4.1)}).is_proved


@dataclass(frozen=True)
class LimitedByType(One):
    dt: float = 1.0
    a: float = 2.0

    def step(self, x, u, w):
        return (1.2 * x.x + u.u,)

    def limits(self):
        return {"u": (0.0, 0.0) if isinstance(self.a, float) and 2.49 < self.a < 2.51 else (-2.0, 2.0)}


def test_limits_in_a_narrow_band_are_refused() -> None:
    sampled = task(LimitedByType(), dt=1.0)
    law = SaturatedLinear(0.7 * np.eye(1), np.zeros(1), np.zeros(1), -2 * np.ones(1), 2 * np.ones(1))
    with pytest.raises(InvalidValue, match="looks at the number of a parameter that may vary"):
        certify(sampled, law, QuadraticLyapunov(np.eye(1), np.zeros(1)), level=9.0, uncertain={"a": (1.0, 3.0)})


def test_every_value_of_several_parameters_is_enclosed() -> None:
    wide = {"cart_mass": (0.9, 1.2), "pole_mass": (0.09, 0.12), "half_length": (0.45, 0.55)}
    known = cartpole()
    loop = ClosedLoop(known, LQR(known).law, uncertain=wide)
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.4, 0.4, (50, 4))
    found, slopes = loop.enclose(Interval.of(points)), loop.enclose_jacobian(Interval.of(points))
    for _ in range(20):
        values = {name: float(rng.uniform(*ends)) for name, ends in wide.items()}
        other = known.with_truth(dataclasses.replace(known.plant, **values))
        exact = ClosedLoop(other, LQR(known).law)
        assert found.contains(exact(points)).all()
        J = exact.enclose_jacobian(Interval.of(points)).jacobian.mid
        assert ((slopes.jacobian.lo <= J + 1e-12) & (slopes.jacobian.hi >= J - 1e-12)).all()


@dataclass(frozen=True)
class Limited(One):
    dt: float = 1.0
    a: float = 2.0

    def step(self, x, u, w):
        return (1.2 * x.x + u.u,)

    def limits(self):
        h = ca.fmax(0.0, 2 + 10 * (self.a - 1) * (self.a - 2) * (self.a - 3))
        return {"u": (-h, h)} if isinstance(self.a, ca.SX) else {"u": (-float(h), float(h))}


@dataclass(frozen=True)
class LimitedByMax(Limited):
    def limits(self):
        h = max(0.0, 2 + 10 * (self.a - 1) * (self.a - 2) * (self.a - 3))
        return {"u": (-h, h)}


@pytest.mark.parametrize("kind", [Limited, LimitedByMax])
def test_limits_are_not_looked_at_in_a_few_places_only(kind: type[Limited]) -> None:
    """They are 2 at a = 1, 2 and 3, and 0 at a = 2.5."""
    sampled = task(kind(), dt=1.0)
    one, zero = np.ones(1), np.zeros(1)
    law = SaturatedLinear(0.7 * np.eye(1), zero, zero, -2 * one, 2 * one)
    V = QuadraticLyapunov(np.eye(1), zero)
    assert certify(sampled, law, V, level=9.0).is_proved
    with pytest.raises(InvalidValue, match="a sets the limits of the inputs"):
        certify(sampled, law, V, level=9.0, uncertain={"a": (1.0, 3.0)})
    with pytest.raises(InvalidValue, match="a sets the limits of the inputs"):
        certify(sampled, law, V, level=9.0, uncertain={"a": (1.0, 3.0)}, budget=SearchLimits(10))
