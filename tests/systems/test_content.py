"""Equality and hash of what a task holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np
import pytest

from systems import (
    Box,
    Cost,
    Ellipsoid,
    Fixed,
    Gaussian,
    Inequality,
    Nonlinear,
    Polytope,
    Quadratic,
    SetPoint,
    Sinusoid,
    Trajectory,
    Uniform,
)
from systems.describe import describe, statement
from systems.library import driving, pendulum


def rule(x: Any, u: Any) -> Any:
    return x.angle


def stage_cost(x: Any, u: Any, xr: Any, ur: Any) -> Any:
    return x.angle**2


MAKERS: list[Callable[[float], Any]] = [
    lambda v: Box("b", {"angle": (-v, v), "rate": (0.0, 1.0)}),
    lambda v: Box("b", {"angle": (-1.0, 1.0)}).soft(v),
    lambda v: Box("b", {"angle": (-1.0, 1.0)}).chance(0.3 * v),
    lambda v: Polytope("p", ("angle",), np.array([[v]]), np.ones(1)),
    lambda v: Ellipsoid("e", ("angle",), np.eye(1), level=v),
    lambda v: Inequality(f"i{v}", rule),
    lambda v: Quadratic({"angle": v}, np.eye(1)),
    lambda v: Quadratic(np.eye(2) * v, [1.0]),
    lambda v: Nonlinear(stage_cost, None if v == 1.0 else lambda x, xr: 0.0),
    lambda v: Fixed({"angle": v}),
    lambda v: Uniform([0.0, 0.0], [1.0, v]),
    lambda v: Gaussian(covariance_matrix=np.eye(1) * v),
    lambda v: SetPoint([v]),
    lambda v: Sinusoid(0.1, x_sine={"angle": v}),
    lambda v: Trajectory(np.full((3, 1), v), np.ones((3, 1))),
]


@pytest.mark.parametrize("make", MAKERS)
def test_equal_where_the_fields_are(make: Callable[[float], Any]) -> None:
    assert make(1.0) == make(1.0)
    assert hash(make(1.0)) == hash(make(1.0))
    assert make(1.0) != make(2.0)
    assert len({make(1.0), make(2.0), make(1.0)}) == 2


def test_the_form_in_which_numbers_are_given_does_not_count() -> None:
    assert SetPoint([0.0, 1.0]) == SetPoint(np.array([0.0, 1.0])) == SetPoint((0, 1))
    assert Box("b", {"angle": (0, 1), "rate": (0, 1)}) == Box("b", {"rate": (0.0, 1.0), "angle": [0.0, 1.0]})  # type: ignore[dict-item]
    assert Uniform([0.0], [1.0]) != Gaussian([0.0], [1.0])
    assert SetPoint([1.0]) != [1.0]


def test_what_is_no_dataclass_is_equal_to_itself_alone() -> None:
    class Own(Cost):
        def stage(self, x: Any, u: Any, x_ref: Any, u_ref: Any) -> Any:
            return x.angle**2

    one, other = Own(), Own()
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2


def test_describing_leaves_casadis_printing_as_it_was() -> None:
    precision, scientific = ca.SX.get_precision(), ca.SX.get_scientific()
    usual = describe(pendulum())
    try:
        ca.SX.set_precision(9)
        ca.SX.set_scientific(True)
        assert describe(pendulum()) == usual
        assert ca.SX.get_precision() == 9
        assert ca.SX.get_scientific()
    finally:
        ca.SX.set_precision(precision)
        ca.SX.set_scientific(scientific)


def test_a_plant_within_a_distribution_costs_the_rest_of_the_task_no_digits() -> None:
    assert f"{2.0 * np.pi / 3.5:.14f}" in statement(driving())["cost"]["stage"]
