"""Costs: the stage cost of one sample and the terminal cost of the last state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.arguments import expect_array
from systems.content import ByContent
from systems.errors import DimensionMismatch, InvalidValue
from systems.expressions import evaluated, expect_arguments, without_nan
from systems.plant import Plant
from systems.semidefinite import is_positive_semidefinite, is_symmetric
from systems.signals import Signals, Vector, expect_values

__all__ = ["Cost", "Nonlinear", "Quadratic", "Weight", "expect_weight", "weight_matrix"]

Weight = Mapping[str, float] | Sequence[float] | np.ndarray
"""A diagonal by name (default: 0) or in order, or a full matrix."""


class Cost(ByContent, ABC):
    """l(x, u; x_r, u_r), charged once per sample, and V_f(x; x_r), charged once at the end."""

    @property
    def is_distance(self) -> bool:
        """Whether the stage cost is declared as a quadratic form of the distance from the reference."""
        return False

    @abstractmethod
    def stage(self, x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        """Stage cost, a CasADi scalar, for the state, the input and the reference of one sample."""

    def terminal(self, x: Vector, x_ref: Vector) -> Any:
        """Cost of the last state, a CasADi scalar; default: zero."""
        return ca.SX(0)

    def stage_function(self, plant: Plant) -> ca.Function:
        """``l(x, u, xr, ur) -> (1, 1)``."""
        x, xr = (Vector(plant.state, plant.state.symbol(), "state") for _ in range(2))
        u, ur = (Vector(plant.input, plant.input.symbol(), "input") for _ in range(2))
        value = _scalar(evaluated(self.stage, "the stage cost", x, u, xr, ur), "the stage cost")
        arguments = [x.column, u.column, xr.column, ur.column]
        return _function("stage_cost", arguments, value, ["x", "u", "xr", "ur"])

    def terminal_function(self, plant: Plant) -> ca.Function:
        """``Vf(x, xr) -> (1, 1)``."""
        x, xr = (Vector(plant.state, plant.state.symbol(), "state") for _ in range(2))
        value = _scalar(evaluated(self.terminal, "the terminal cost", x, xr), "the terminal cost")
        return _function("terminal_cost", [x.column, xr.column], value, ["x", "xr"])


@dataclass(frozen=True, eq=False)
class Quadratic(Cost):
    """(x - x_r)' Q (x - x_r) + (u - u_r)' R (u - u_r), and (x - x_r)' P (x - x_r) at the end if P is given.

    Args:
        Q, R, P: weights by signal name, as a diagonal, or as symmetric positive semidefinite matrices.
    """

    Q: Weight
    R: Weight
    P: Weight | None = None

    def __post_init__(self) -> None:
        for name in ("Q", "R", "P"):
            if name != "P" or self.P is not None:
                expect_weight(getattr(self, name), name)

    @property
    def is_distance(self) -> bool:
        return True

    def matrices(self, plant: Plant) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Q (n, n), R (m, m), P (n, n) for this plant; P is zero where none was given.

        Raises:
            DimensionMismatch: shapes that do not fit the plant.
            InvalidValue: a matrix that is not symmetric positive semidefinite.
        """
        return (
            weight_matrix(self.Q, plant.state, "Q"),
            weight_matrix(self.R, plant.input, "R"),
            weight_matrix(self.P if self.P is not None else {}, plant.state, "P"),
        )

    def stage(self, x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        Q = weight_matrix(self.Q, x.signals, "Q")
        R = weight_matrix(self.R, u.signals, "R")
        return _form(x.column - x_ref.column, Q) + _form(u.column - u_ref.column, R)

    def terminal(self, x: Vector, x_ref: Vector) -> Any:
        return _form(x.column - x_ref.column, weight_matrix(self.P if self.P is not None else {}, x.signals, "P"))


@dataclass(frozen=True, eq=False)
class Nonlinear(Cost):
    """Any stage cost, as an expression of state, input and their references.

    ``Nonlinear(lambda x, u, xr, ur: 1 - ca.cos(x.angle) + 0.01 * u.torque**2)``

    Args:
        stage_cost: function of x, u, x_ref and u_ref that returns a CasADi scalar.
        terminal_cost: function of the last state and its reference that returns a CasADi scalar; default: zero.
    """

    stage_cost: Callable[[Vector, Vector, Vector, Vector], Any]
    terminal_cost: Callable[[Vector, Vector], Any] | None = None

    def __post_init__(self) -> None:
        expect_arguments(self.stage_cost, "x, u, xr, ur", "the stage cost")
        if self.terminal_cost is not None:
            expect_arguments(self.terminal_cost, "x, xr", "the terminal cost")

    def stage(self, x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        return self.stage_cost(x, u, x_ref, u_ref)

    def terminal(self, x: Vector, x_ref: Vector) -> Any:
        return ca.SX(0) if self.terminal_cost is None else self.terminal_cost(x, x_ref)


def _form(z: Any, weight: np.ndarray) -> Any:
    """z' W z written as a sum of squares where W is diagonal, which every reader encloses most tightly."""
    if np.array_equal(weight, np.diag(np.diag(weight))):
        return sum((w * z[i] ** 2 for i, w in enumerate(np.diag(weight)) if w), start=ca.SX(0))
    return ca.bilin(ca.SX(weight), z, z)


def weight_matrix(weight: Weight, declared: Signals, what: str) -> np.ndarray:
    """The weight as a matrix (n, n) for these signals; ``what`` names it in errors.

    Raises:
        DimensionMismatch: another shape.
        InvalidValue: not finite, not symmetric, or not positive semidefinite.
    """
    n = len(declared)
    expect_weight(weight, what)
    if isinstance(weight, Mapping) or np.ndim(weight) == 1:
        matrix = np.diag(declared.array(weight, what=f"diagonal of {what}"))
    else:
        matrix = np.array(weight, dtype=float)
    if matrix.shape != (n, n):
        raise DimensionMismatch(f"{what} has shape {matrix.shape}; expected ({n}, {n}) for {', '.join(declared.names)}")
    return matrix


def expect_weight(weight: Any, what: str) -> None:
    """Refuses a weight that fits no plant, whatever its signals are; ``what`` names it in errors.

    Raises:
        DimensionMismatch: not a square matrix.
        InvalidValue: something other than finite real numbers, or a matrix that is not symmetric and positive
            semidefinite.
    """
    if isinstance(weight, Mapping):
        expect_values(weight, f"diagonal of {what}")
        matrix = np.diag([float(value) for value in weight.values()])
    else:
        given = expect_array(weight, what)
        matrix = np.diag(given) if given.ndim == 1 else given
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise DimensionMismatch(f"{what} has shape {matrix.shape}; expected a diagonal (n,) or a square matrix (n, n)")
    if not is_symmetric(matrix):
        raise InvalidValue(f"{what} must be symmetric; symmetrise it as ({what} + {what}.T) / 2")
    if not is_positive_semidefinite(matrix):
        smallest = float(np.linalg.eigvalsh(matrix).min())
        raise InvalidValue(
            f"{what} is not positive semidefinite: its smallest eigenvalue is {smallest:.3g}; a cost must not reward "
            "distance from the reference"
        )


def _scalar(value: Any, what: str) -> ca.SX:
    try:
        scalar = ca.SX(value)
    except (TypeError, NotImplementedError) as error:
        raise InvalidValue(f"{what} returned {type(value).__name__}; return one CasADi expression") from error
    if scalar.shape != (1, 1):
        raise DimensionMismatch(f"{what} returned shape {scalar.shape}; return one CasADi scalar")
    return scalar


def _function(name: str, arguments: list[Any], value: Any, names: list[str]) -> ca.Function:
    try:
        f = ca.Function(name, arguments, [value], names, ["cost"])
    except RuntimeError as error:
        raise InvalidValue(
            f"{name} contains symbols that are not among its arguments ({', '.join(names)}); "
            f"CasADi says: {str(error).splitlines()[-1]}"
        ) from error
    return without_nan(f, f"the {name.replace('_', ' ')}")
