"""Physical ranges of parameters: stated once beside the field, refused when the plant is made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import casadi as ca
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems import InvalidValue, Plant, library, nonnegative, parameter, positive, signals
from systems.library.driving import Highway
from systems.library.driving.drivers import Driver
from systems.library.driving.road import Road
from systems.parameters import expect_parameters

PLANTS = [thing for thing in map(library.__dict__.get, library.__all__) if isinstance(thing, type)]
ANY_SIGN = {
    # Of a reaction's heat, of van der Pol's damping, of winds: both signs mean something.
    "enthalpy_ab", "enthalpy_bc", "enthalpy_ad", "mu", "dt", "side_wind", "updraught", "vortex",
}  # fmt: skip


@dataclass(frozen=True)
class Motor(Plant):
    inertia: float = positive(2.0)
    friction: float = nonnegative(0.5)
    efficiency: float = parameter(0.9, above=0.0, most=1.0)
    duty: float = parameter(0.5, least=0.0, below=1.0)
    offset: float = 0.0
    poles: int = 2
    reversed: bool = False
    label: str = "m"
    half: float = dataclasses.field(init=False, default=1.0)

    state = signals("speed [rad/s]")
    input = signals("torque [N m]")

    def __post_init__(self) -> None:
        if not isinstance(self.inertia, ca.SX):
            object.__setattr__(self, "half", 0.5 * self.inertia)
        super().__post_init__()

    def ode(self, x, u, w):
        sign = -1.0 if self.reversed else 1.0
        drag = sum(self.friction * x.speed for _ in range(self.poles))
        return (sign * self.efficiency * u.torque - drag + self.offset) / self.inertia


def marked(plant: Any) -> list[tuple[str, dict[str, Any]]]:
    found = [(f.name, dict(f.metadata.get("range", {}))) for f in dataclasses.fields(plant)]
    return [(name, limits) for name, limits in found if limits]


@pytest.mark.parametrize("plant", [*PLANTS, Driver, Road], ids=lambda p: p.__name__)
def test_the_library_states_the_ranges_of_its_parameters(plant: Any) -> None:
    floats = {f.name for f in dataclasses.fields(plant) if f.type in (float, "float")}
    assert floats - {name for name, _ in marked(plant)} <= ANY_SIGN
    for name in floats - ANY_SIGN:
        for wrong in (-1.0, -1e-12, float("nan"), float("inf"), "1", True, None, 1j, [1.0], Decimal(1), np.True_):
            if name == "inlet_temperature" and wrong in (-1.0, -1e-12):  # in degrees Celsius
                continue
            with pytest.raises(InvalidValue, match=rf"{plant.__name__}\.{name} = .*; expected a finite number"):
                plant(**{name: wrong})


@pytest.mark.parametrize("plant", PLANTS, ids=lambda p: p.__name__)
def test_masses_lengths_and_inertias_are_not_zero(plant: Any) -> None:
    words = ("mass", "length", "inertia", "arm", "wheelbase", "radius", "volume", "density")
    for name, limits in marked(plant):
        if any(word in name for word in words):
            assert limits["above"] == 0.0, name
            with pytest.raises(InvalidValue, match=rf"{name} = 0.0; expected a finite number above 0"):
                plant(**{name: 0.0})


def test_a_highway_is_made_of_a_road_and_a_driver() -> None:
    for wrong in ({"road": 3}, {"driver": Road()}, {"others": "abc"}, {"others": ()}, {"others": ("lambda-1",)}):
        with pytest.raises(InvalidValue):
            Highway(**wrong)  # type: ignore[arg-type]
    for lanes in (0, 1.5, True, None, "2"):
        with pytest.raises(InvalidValue, match=r"Road\.lanes = .*; expected a whole number of at least 1"):
            Road(lanes=lanes)  # type: ignore[arg-type]


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_range_holds_exactly_what_it_says(value: float) -> None:
    ranges = {
        "inertia": value > 0, "friction": value >= 0, "efficiency": 0 < value <= 1, "duty": 0 <= value < 1,
        "offset": True,
    }  # fmt: skip
    for name, inside in ranges.items():
        if inside and np.isfinite(value):
            assert getattr(Motor(**{name: value}), name) == value  # type: ignore[arg-type]
        else:
            with pytest.raises(InvalidValue, match=f"Motor.{name} = "):
                Motor(**{name: value})  # type: ignore[arg-type]


def test_numbers_of_other_libraries_become_floats() -> None:
    for value in (np.float32(1.5), np.int64(3), Fraction(3, 2), np.array(1.5)):
        motor = Motor(inertia=value)  # type: ignore[arg-type]
        assert type(motor.inertia) is float
        assert motor.parameters["inertia"] == float(value)
    assert type(Motor(inertia=3).inertia) is int  # a Python number stays what it is, so that files say what was written


def test_symbols_stand_for_any_number() -> None:
    f = Motor().casadi(["inertia", "friction"])
    assert float(f(1.0, 2.0, [], [4.0, 0.25])) == pytest.approx((0.9 * 2.0 - 2 * 0.25) / 4.0)


def test_counts_switches_and_derived_fields_are_no_parameters() -> None:
    """They could be no symbols: range(poles) and if reversed need numbers, half is computed."""
    assert list(Motor().parameters) == ["inertia", "friction", "efficiency", "duty", "offset"]
    f = Motor(poles=3, reversed=True).casadi(tuple(Motor().parameters))
    assert float(f(1.0, 1.0, [], [1.0, 1.0, 1.0, 0.0, 0.0])) == -4.0


def test_a_parameter_without_a_default_must_be_given() -> None:
    @dataclass(frozen=True)
    class Needy:
        mass: float = positive()

    with pytest.raises(TypeError, match="mass"):
        Needy()
    expect_parameters(Needy(1.0), "Needy")
    with pytest.raises(InvalidValue, match=r"Needy\.mass = -1\.0"):
        expect_parameters(Needy(-1.0), "Needy")


def test_a_subclass_inherits_the_ranges() -> None:
    @dataclass(frozen=True)
    class Big(Motor):
        gear: float = positive(10.0)

    for name in ("inertia", "gear"):
        with pytest.raises(InvalidValue, match=rf"Big\.{name} = 0"):
            Big(**{name: 0})  # type: ignore[arg-type]
