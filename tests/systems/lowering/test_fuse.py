"""Fewer operations, the same numbers."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
import torch

from systems.library.cartpole import cartpole
from systems.lowering import lower
from systems.lowering.fuse import fused
from systems.lowering.program import read

x, y, z = (ca.SX.sym(name) for name in "xyz")

EXPRESSIONS = {
    "factors": 0.05 * x * y / 1.1 * (-2.0) * z,
    "factor used twice": (3.0 * x) + (3.0 * x) * y,
    "square of a factor": (3.0 * x) ** 2 / (2.0 * y),
    "sum of products": x * y + y * z - x * z,
    "difference of squares": x**2 - y**2,
    "product used twice": (x * y) + z - (x * y) ** 2,
    "constant minus product": 4.0 / 3.0 - 0.1 * x * x / 1.1,
    "constant over factor": 2.0 / (5.0 * x),
    "factor over constant zero": (2.0 * x) * 0.0 + y,
    "negative": -(x * y) + z,
    "extreme factors": 1e-9 * x * 1e9 + 1e8 * y / 1e-8,
    "branches": ca.if_else(2.0 * x > 3.0 * y, 0.5 * x * y, -z * y),
    "powers": (2.0 * x) ** 3 + ca.fmod(2.0 * x, 3.0) + ca.atan2(-x, 2.0 * y) + (2.0 * x**2) ** 1.5,
    "copy of a sign": ca.copysign(x, -0.0) + 1.0,
    "constants only": ca.SX(2.0) + 0.0 * x,
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_values_and_gradients_are_those_of_casadi(expression: ca.SX) -> None:
    f = ca.Function("f", [x, y, z], [expression])
    slope = ca.Function("slope", [x, y, z], [ca.jacobian(expression, ca.vertcat(x, y, z))])
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 50, 1))).requires_grad_()
    values = lower(f, "torch")(*points)
    assert values.shape == (50, 1)
    if values.requires_grad:
        values.sum().backward()
    for i in range(50):
        at = points.detach()[:, i, 0].tolist()
        np.testing.assert_allclose(values.detach()[i, 0], float(f(*at)), rtol=1e-13, atol=1e-14)
        gradient = np.zeros(3) if points.grad is None else points.grad[:, i, 0]
        np.testing.assert_allclose(gradient, np.array(slope(*at)).ravel(), rtol=1e-12, atol=1e-13)


def test_a_step_of_the_cart_pole_takes_fewer_operations() -> None:
    program = read(cartpole().dynamics.function())
    assert len(fused(program).instructions) < 0.8 * len(program.instructions)


def test_constants_made_in_inference_mode_take_part_in_gradients() -> None:
    f = lower(ca.Function("f", [x], [2.0 * x + 1.0]), "torch")
    with torch.inference_mode():
        f(torch.ones(1))
    a = torch.ones(1, requires_grad=True)
    (f(a) ** 2).sum().backward()
    assert a.grad == 12.0


def test_an_empty_batch_keeps_its_type() -> None:
    f = ca.Function("f", [x], [2.0 * x])
    for dtype in (torch.float32, torch.float64):
        assert lower(f, "torch")(torch.ones(0, 1, dtype=dtype)).dtype == dtype
    assert lower(f, "numpy")(np.ones((0, 1), np.float32)).dtype == np.float32
