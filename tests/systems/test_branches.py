"""Constraints split into the pieces of their maxima hold exactly where the constraints hold, or are left whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.controller import Status
from mpc import NonlinearMPC
from systems import Fixed, Inequality, LinearPlant, Quadratic, Task
from systems.nonsmooth import branches

X, U = ca.SX.sym("x"), ca.SX.sym("u")
SPLIT: dict[str, Any] = {
    "sum of sizes": ca.fabs(X) + 2 * ca.fabs(U - 1) - 3,
    "size of a maximum": ca.fabs(ca.fmax(X, U)) - 1,
    "less the least": 0.5 * X - ca.fmin(U, ca.fmin(X, 1)) - 1,
    "exponential of a maximum": ca.exp(ca.fmax(X, 0.3 - U)) - 2,
    "if_else as a maximum": ca.if_else(X > U, X, U) - 1,
}
WHOLE: dict[str, Any] = {
    "square of what is bounded below": (1 + ca.fmax(X, 0)) ** 2 - 4,
    "its square alone": ca.fmax(X - U, 1.1) ** 2 - 2,
    "least of three under a floor": ca.fmax(ca.fmin(X - 2, ca.fmin(U - 1, 0.4 * X - U)), -0.6),
    "either": ca.fmin(X, U),
    "jump": ca.if_else(X > 0.5, 1, -1) + U,
}


def _agree(g: Any) -> None:
    f = ca.Function("g", [X, U], [g], ["x", "u"], ["g"])
    split = branches(f)
    if split is None:
        return
    rng = np.random.default_rng(0)
    for point in rng.normal(size=(400, 2)) * rng.choice([0.5, 2.0, 10.0], size=(400, 1)):
        value, pieces = float(f(*point)), np.array(split(*point))
        assert (pieces <= 0).all() == (value <= 0) or abs(value) < 1e-9, (g, point)


@pytest.mark.parametrize("name", SPLIT)
def test_what_is_split_holds_where_the_whole_does(name: str) -> None:
    _agree(SPLIT[name])


@pytest.mark.parametrize("name", WHOLE)
def test_what_cannot_be_split_is_not(name: str) -> None:
    _agree(WHOLE[name])


@pytest.mark.parametrize("seed", range(15))
def test_random_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    operations: list[Callable[[Any, Any], Any]] = [
        ca.fmax, ca.fmin, lambda a, b: ca.fabs(a) + b, lambda a, b: a - b, lambda a, b: a**2 - b,
        lambda a, b: ca.if_else(a > b, a, b), lambda a, b: ca.exp(0.2 * a) + b,
    ]  # fmt: skip

    def drawn(depth: int) -> Any:
        if not depth:
            a, b, c = rng.normal(size=3).round(1)
            return a * X + b * U + c
        return operations[rng.integers(len(operations))](drawn(depth - 1), drawn(depth - 1))

    for depth in (1, 2, 2):
        _agree(ca.SX(drawn(depth)))


@pytest.mark.parametrize("start", [-3.0, -5.0, 0.5])
def test_a_controller_knows_that_the_far_side_is_allowed(start: float) -> None:
    """(1 + max(x, 0))^2 <= 4 is x <= 1, however negative x is."""
    plant = LinearPlant([[1.0]], [[0.2]], dt=0.2, input_limits=((-1.0, 1.0),))
    limit = Inequality("limit", lambda x, u: (1 + ca.fmax(x.x1, 0)) ** 2 - 4)
    task = Task("far", plant, 0.2, 20, Quadratic([1.0], [0.1]), Fixed([start]), (limit,))
    assert NonlinearMPC(task, 5).step(np.array([start]), 0).status is Status.SOLVED
