"""Dependence on an argument with steps, against values."""

from __future__ import annotations

from collections.abc import Callable

import casadi as ca
import numpy as np
import pytest

from systems.affine import affine_matrices, is_affine_in, steps_in

AFFINE: dict[str, Callable[[ca.SX, ca.SX], ca.SX]] = {
    "product with a step of another": lambda x, u: ca.sign(x) * u + x**2,
    "branch on another": lambda x, u: ca.if_else(x > 0.0, 2.0 * u, -u),
    "product": lambda x, u: x * u - 3.0,
}
OTHER: dict[str, Callable[[ca.SX, ca.SX], ca.SX]] = {
    "sign": lambda x, u: u + ca.sign(u),
    "floor": lambda x, u: x + ca.floor(u),
    "branch between constants": lambda x, u: x + u + ca.if_else(u > 1.0, 0.5, 0.0),
    "branch with a jump": lambda x, u: ca.if_else(x + u > 0.0, u, u + 1.0),
    "square": lambda x, u: u**2,
    "kink": lambda x, u: ca.fabs(u),
    "step of a product": lambda x, u: ca.ceil(x * u),
}


def is_affine_by_values(f: ca.Function) -> bool:
    """The value halfway is the mean of the ends, for many pairs of inputs."""
    rng = np.random.default_rng(1)
    x, a, b = rng.uniform(-3.0, 3.0, (3, 1, 400))
    ends = 0.5 * (np.array(f(x, a)) + np.array(f(x, b)))
    return bool(np.abs(np.array(f(x, 0.5 * (a + b))) - ends).max() < 1e-9)


@pytest.mark.parametrize("name", [*AFFINE, *OTHER])
def test_affine_in_an_argument(name: str) -> None:
    x, u = ca.SX.sym("x"), ca.SX.sym("u")
    f = ca.Function("f", [x, u], [{**AFFINE, **OTHER}[name](x, u)])
    assert is_affine_in(f, 1) == (name in AFFINE) == is_affine_by_values(f)
    assert steps_in(f, 1) == (name in OTHER and name not in ("square", "kink"))
    assert affine_matrices(f, [0, 1]) is None
