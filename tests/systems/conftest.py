"""A zoo of expressions of three variables, each with the box on which it is evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np
import pytest


@dataclass(frozen=True)
class Case:
    """A function of x (3) and u (1), smooth almost everywhere on lower <= (x, u) <= upper."""

    function: ca.Function
    lower: np.ndarray
    upper: np.ndarray

    def sample(self, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        points = np.random.default_rng(seed).uniform(self.lower, self.upper, (n, 4))
        return points[:, :3], points[:, 3:]


def _zoo() -> dict[str, tuple[ca.SX, float, float]]:
    x, u = ca.SX.sym("x", 3), ca.SX.sym("u")
    a, b, c = ca.vertsplit(x)
    cart = (u + 0.05 * c**2 * ca.sin(b)) / 1.1
    expressions = {
        "arithmetic": (ca.vertcat(a + b, a - u, a * b * c, a / (3 + b), -c, 2 * a, 1 / (4 + c)), -2, 2),
        "constants_and_structural_zeros": (ca.vertcat(0, 3, a, ca.SX(1, 1), -0.5, 1e-300 * a), -2, 2),
        "matrix": (ca.vertcat(ca.horzcat(a, b), ca.horzcat(0, u * c), ca.horzcat(1, 2)), -2, 2),
        "sparse_matrix": (ca.diag(x), -2, 2),
        "empty": (ca.SX(0, 1), -2, 2),
        "if_else": (ca.if_else(a < 0.3, b**2, ca.sin(c) + u), -2, 2),
        "if_else_nan_branch": (ca.if_else(a > 0, ca.sqrt(a), b), -2, 2),
        "if_else_log_branch": (ca.if_else(a <= 0, u * b, ca.log(a) / a), -2, 2),
        "if_else_nested": (ca.if_else(a > 1, b, ca.if_else(a > -1, c, -u)), -2, 2),
        "if_else_zero": (ca.if_else(ca.logic_and(a <= 0.5, b > 0), ca.sqrt(b), 0), -2, 2),
        "if_else_number": (ca.if_else(a, b, c) + ca.if_else(b > c, 1, 2), -2, 2),
        "logic": (ca.if_else(ca.logic_or(ca.logic_not(a < b), c == u), a, b) + (a <= c) - (b != c), -2, 2),
        "fabs_sign": (ca.vertcat(ca.fabs(a), ca.fabs(a * b - c), ca.sign(b) * c), -2, 2),
        "fmin_fmax": (ca.vertcat(ca.fmin(a, 0.5), ca.fmax(-1, ca.fmin(1, u)), ca.fmin(a, b * c)), -2, 2),
        "atan2": (ca.vertcat(ca.atan2(a, b), ca.atan2(c, 0.7), ca.atan2(0.5, u)), -2, 2),
        "sqrt": (ca.vertcat(ca.sqrt(a), ca.sqrt(1 + b * c), ca.norm_2(x)), 0.01, 4),
        "powers": (ca.vertcat(a**2, b**3, c**4, a**5, b**-2, c**0.5, a**2.5, b**-1.5, 2**c, a**u), 0.1, 2),
        "integer_powers_of_both_signs": (ca.vertcat(a**2, b**3, c**4, a**5, b**7, c**8), -2, 2),
        "trigonometry": (ca.vertcat(ca.sin(a), ca.cos(b * c), ca.tan(u / 2), ca.sin(9 * a)), -2, 2),
        "inverse_trigonometry": (ca.vertcat(ca.asin(a), ca.acos(b), ca.atan(c)), -0.99, 0.99),
        "hyperbolic": (ca.vertcat(ca.sinh(a), ca.cosh(b), ca.tanh(c), ca.asinh(a), ca.tanh(3 * u)), -2, 2),
        "inverse_hyperbolic": (ca.vertcat(ca.acosh(1 + a), ca.atanh(b)), 0.05, 0.9),
        "exponential": (ca.vertcat(ca.exp(a), ca.log(3 + b), ca.log1p(c / 4), ca.expm1(u)), -2, 2),
        "rounding": (ca.vertcat(ca.floor(3 * a) + b, ca.ceil(2 * c)), -2, 2),
        "hypot_copysign": (ca.vertcat(ca.hypot(a, b), ca.copysign(a, c)), -2, 2),
        "cart": (
            ca.vertcat(cart, (9.81 * ca.sin(b) - ca.cos(b) * cart) / (0.7 - 0.05 * ca.cos(b) ** 2)),
            -2,
            2,
        ),
    }
    return {
        name: (ca.Function(f"zoo_{name}", [x, u], [expression], ["x", "u"], ["y"]), low, high)
        for name, (expression, low, high) in expressions.items()
    }


ZOO = {name: Case(f, np.full(4, low), np.full(4, high)) for name, (f, low, high) in _zoo().items()}


@pytest.fixture(params=ZOO, scope="session")
def case(request: pytest.FixtureRequest) -> Case:
    return ZOO[request.param]


def casadi_values(function: ca.Function, *inputs: np.ndarray) -> np.ndarray:
    """CasADi's own value at each row of the inputs: (n, m), or (n, r, c) for a matrix."""
    values = [np.asarray(function(*row).full()) for row in zip(*inputs, strict=True)]
    stacked = np.stack(values)
    return stacked[..., 0] if function.size2_out(0) == 1 else stacked


@pytest.fixture(scope="session")
def reference():
    return casadi_values
