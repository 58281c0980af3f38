"""Constraints: an expression g(x, u) that is at most 0 where the system is safe."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import casadi as ca
import numpy as np

from systems.arguments import expect_array, expect_name, expect_names, expect_number, expect_pair
from systems.content import ByContent
from systems.errors import DimensionMismatch, InvalidValue, UnknownName, located, shown
from systems.expressions import evaluated, expect_arguments, without_nan
from systems.linear_programs import maximise
from systems.plant import Plant
from systems.requirements import Budget, Chance, Hard, Requirement, Soft
from systems.semidefinite import is_positive_definite, is_symmetric
from systems.signals import Signals, Vector, left_out

__all__ = [
    "PREVIOUS",
    "Box",
    "Budget",
    "Chance",
    "ChangeLimit",
    "Constraint",
    "Ellipsoid",
    "Hard",
    "Inequality",
    "Polytope",
    "Requirement",
    "Soft",
]


PREVIOUS = "previous_"
"""What the name of a state that holds an input of one sample before starts with."""

_STATEMENTS = (ca.OP_LT, ca.OP_LE, ca.OP_EQ, ca.OP_NE, ca.OP_NOT, ca.OP_AND, ca.OP_OR)


@dataclass(frozen=True, eq=False)
class Constraint(ByContent, ABC):
    """A named condition on state and input; :meth:`soft`, :meth:`chance` and :meth:`budget` change its requirement.

    Args:
        name: of the constraint, in messages and results.
        requirement: how it must hold: Hard(), Soft(weight), Chance(probability) or Budget(limit, per); default: Hard().
    """

    name: str
    requirement: Requirement = field(default_factory=Hard, kw_only=True)

    def __post_init__(self) -> None:
        expect_name(self.name, f"the name of a {type(self).__name__}")
        if not isinstance(self.requirement, Requirement):
            raise InvalidValue(
                f"constraint '{self.name}': requirement = {shown(self.requirement)}; expected Hard(), Soft(weight), "
                "Chance(probability) or Budget(limit, per)"
            )

    @abstractmethod
    def expression(self, x: Vector, u: Vector) -> Any:
        """g(x, u) as a CasADi column; every row must be <= 0."""

    def soft(self, weight: float) -> Self:
        """The same condition with a penalty of ``weight`` per unit of violation and step."""
        with located(self.name, InvalidValue):
            return self._requiring(Soft(weight))

    def chance(self, probability: float) -> Self:
        """The same condition, to hold with at least this probability in every step."""
        with located(self.name, InvalidValue):
            return self._requiring(Chance(probability))

    def budget(
        self,
        limit: float,
        per: Literal["episode", "discounted"] = "episode",
        of: Literal["steps", "excess"] = "steps",
    ) -> Self:
        """The same condition, violated in at most ``limit`` steps per episode (or as a discounted sum) on average.

        With ``of="excess"`` the amount of violation is accumulated, max(0, g) of the largest g: fuel, dose, wear.
        """
        with located(self.name, InvalidValue):
            return self._requiring(Budget(limit, per, of))

    def _requiring(self, requirement: Requirement) -> Self:
        present, requested = type(self.requirement), type(requirement)
        if present not in (Hard, requested):
            raise InvalidValue(
                f"already {present.__name__.lower()}; {requested.__name__.lower()} would drop that; a constraint "
                "has one requirement: write two constraints, each with its own name"
            )
        return dataclasses.replace(self, requirement=requirement)

    def function(self, plant: Plant) -> ca.Function:
        """g as a CasADi function ``g(x, u) -> (rows, 1)`` for this plant.

        Raises:
            UnknownName: the condition names a signal that the plant does not have.
            InvalidValue: it does not return a column of expressions in x and u, returns none or a comparison,
                or contains a NaN.
        """
        x, u = plant.state.symbol(), plant.input.symbol()
        arguments = Vector(plant.state, x, "state"), Vector(plant.input, u, "input")
        result = evaluated(self.expression, f"constraint '{self.name}'", *arguments)
        try:
            column = ca.SX(result) if isinstance(result, (ca.SX, ca.DM)) else ca.vertcat(*map(ca.SX, _rows(result)))
            g = ca.Function("g", [x, u], [ca.vec(column)], ["x", "u"], ["g"])
        except (TypeError, RuntimeError, NotImplementedError) as error:
            raise InvalidValue(
                f"constraint '{self.name}' must return CasADi expressions in x and u (each <= 0 where safe), "
                f"returned {type(result).__name__}: {str(error).splitlines()[-1]}"
            ) from error
        if column.numel() == 0:
            raise InvalidValue(
                f"constraint '{self.name}' bounds nothing; give at least one finite bound, or leave it out"
            )
        entries = [column[i] for i in range(column.numel())]
        if any(not entry.is_leaf() and entry.op() in _STATEMENTS for entry in entries):
            raise InvalidValue(
                f"constraint '{self.name}' returned a comparison; return the expression g that must be <= 0, such as "
                "x.position - 2 for x.position <= 2"
            )
        return without_nan(g, f"constraint '{self.name}'")


@dataclass(frozen=True, eq=False)
class Box(Constraint):
    """Bounds on states and inputs by name: ``Box("track", {"position": (-2.4, 2.4)})``.

    Args:
        bounds: (lower, upper) by name of a state or input, in its unit; an infinite bound is not a condition.

    Raises:
        InvalidValue: NaN, or lower above upper.
    """

    bounds: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.bounds, Mapping):
            raise InvalidValue(
                f"constraint '{self.name}': bounds = {shown(self.bounds)}; expected pairs by name, such as "
                '{"position": (-1.0, 1.0)}'
            )
        for name, bound in self.bounds.items():
            expect_name(name, f"constraint '{self.name}': the name of a bounded signal")
            expect_pair(bound, f"constraint '{self.name}': bounds of {name}")

    def expression(self, x: Vector, u: Vector) -> Any:
        rows = []
        for name, (low, high) in self.bounds.items():
            value = self._near(_signal(name, x, u), name, x.signals)
            rows += [low - value] if np.isfinite(low) else []
            rows += [value - high] if np.isfinite(high) else []
        return ca.vertcat(*rows)

    def _near(self, value: Any, name: str, state: Signals) -> Any:
        """The value of a periodic signal that is nearest to the middle of its bounds."""
        period = state[state.where(name)].period if name in state.names else np.inf
        if np.isinf(period):
            return value
        low, high = self.bounds[name]
        if not np.isfinite([low, high]).all() or high - low >= period:
            raise InvalidValue(
                f"constraint '{self.name}': {name} is periodic with {period:.4g} and bounded by ({low}, {high}); give "
                "two bounds closer than that, or leave it out"
            )
        middle = 0.5 * (low + high)
        return value - period * ca.floor((value - middle) / period + 0.5)

    def interval(self, declared: Signals) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds for these signals, each (n,), infinite where there is none."""
        pairs = [self.bounds.get(name, (-np.inf, np.inf)) for name in declared.names]
        return np.array([low for low, _ in pairs], dtype=float), np.array([high for _, high in pairs], dtype=float)

    def support(self, direction: Mapping[str, float]) -> float:
        """Support function of the box: the maximum over it of the linear form ``direction``."""
        total = 0.0
        for name, weight in direction.items():
            low, high = self.bounds.get(name, (-np.inf, np.inf))
            total += 0.0 if weight == 0 else weight * (high if weight > 0 else low)
        return total

    def contains(self, x: np.ndarray, declared: Signals) -> np.ndarray:
        """Whether each of the points (..., n) lies inside; (...,) of bool. NaN lies outside."""
        lower, upper = self.interval(declared)
        return np.asarray(((x >= lower) & (x <= upper)).all(axis=-1))


@dataclass(frozen=True, eq=False)
class ChangeLimit(Constraint):
    """Limits on the change of inputs, u_k - u_(k-1), created by :func:`systems.inputs.limit_changes`.

    Args:
        bounds: (lower, upper) of the change in one sample by name of an input, in its unit. The previous input is the
            state ``previous_NAME``.
    """

    bounds: Mapping[str, tuple[float, float]]

    def changes(self, x: Vector, u: Vector) -> list[Any]:
        """The change of each bounded input, in the order of the bounds."""
        return [_signal(name, x, u) - x[PREVIOUS + name] for name in self.bounds]

    def expression(self, x: Vector, u: Vector) -> Any:
        rows = []
        for change, (low, high) in zip(self.changes(x, u), self.bounds.values(), strict=True):
            rows += [low - change] if np.isfinite(low) else []
            rows += [change - high] if np.isfinite(high) else []
        return ca.vertcat(*rows)

    def clip(self, u: np.ndarray, x: np.ndarray, inputs: Signals, state: Signals) -> np.ndarray:
        """The inputs (..., m) nearest to ``u`` whose changes from the previous ones in the states (..., n) are within
        the limits; where a previous one is not finite, ``u`` itself."""
        clipped = np.array(u, dtype=float)
        for name, (low, high) in self.bounds.items():
            i, before = inputs.where(name), x[..., state.where(PREVIOUS + name)]
            limited = np.clip(clipped[..., i], before + low, before + high)
            clipped[..., i] = np.where(np.isfinite(before), limited, clipped[..., i])
        return clipped


@dataclass(frozen=True, eq=False)
class Polytope(Constraint):
    """H s <= h for the named signals s.

    Args:
        signals: names of states or inputs, in the order of the columns of H.
        H: (rows, signals), finite.
        h: (rows,); +inf for a row that is not a condition.
    """

    signals: Sequence[str]
    H: np.ndarray
    h: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_names(self.signals, f"constraint '{self.name}': signals")
        H = expect_array(self.H, f"constraint '{self.name}': H")
        h = expect_array(self.h, f"constraint '{self.name}': h", infinite=True)
        if H.ndim != 2 or H.shape[1] != len(self.signals) or h.shape != (len(H),):
            raise DimensionMismatch(
                f"constraint '{self.name}': H {H.shape} and h {h.shape} do not fit {len(self.signals)} signals; "
                "expected (rows, signals) and (rows,)"
            )
        if np.isneginf(h).any():
            raise InvalidValue(f"constraint '{self.name}': h contains -inf, which no point satisfies; drop such rows")
        object.__setattr__(self, "H", H)
        object.__setattr__(self, "h", h)

    def expression(self, x: Vector, u: Vector) -> Any:
        s = ca.vertcat(*[_signal(name, x, u) for name in self.signals])
        return ca.SX(self.H) @ s - ca.SX(self.h)

    def support(self, direction: Mapping[str, float]) -> float:
        """Support function of the polytope: the maximum over it of a linear form; inf where unbounded, -inf if empty.

        See :func:`systems.linear_programs.maximise`.
        """
        if _free(direction, self.signals):
            return np.inf
        return maximise(np.array([direction.get(name, 0.0) for name in self.signals]), self.H, self.h).value


@dataclass(frozen=True, eq=False)
class Ellipsoid(Constraint):
    """(s - centre)' P (s - centre) <= level for the named signals s.

    Args:
        signals: names of k states or inputs.
        P: (k, k), symmetric and positive definite.
        level: a positive number; default: 1.
        centre: (k,); default: the origin.
    """

    signals: Sequence[str]
    P: np.ndarray
    level: float = 1.0
    centre: Sequence[float] | np.ndarray = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        k = len(expect_names(self.signals, f"constraint '{self.name}': signals"))
        P = expect_array(self.P, f"constraint '{self.name}': P")
        given = np.zeros(k) if left_out(self.centre) else self.centre
        centre = expect_array(given, f"constraint '{self.name}': centre")
        if P.shape != (k, k) or centre.shape != (k,):
            raise DimensionMismatch(
                f"constraint '{self.name}': P {P.shape}, centre {centre.shape} for {k} signals; expected ({k}, {k}) "
                f"and ({k},)"
            )
        if not (is_symmetric(P) and is_positive_definite(P)):
            raise InvalidValue(f"constraint '{self.name}': P must be symmetric and positive definite")
        expect_number(self.level, f"constraint '{self.name}': level", above=0.0)
        object.__setattr__(self, "P", P)
        object.__setattr__(self, "centre", centre)

    def expression(self, x: Vector, u: Vector) -> Any:
        s = ca.vertcat(*[_signal(name, x, u) for name in self.signals]) - ca.SX(self.centre)
        return s.T @ ca.SX(self.P) @ s - self.level

    def support(self, direction: Mapping[str, float]) -> float:
        """Support function of the ellipsoid: the maximum over it of a linear form c's, c'centre + sqrt(level c'P^-1 c);
        infinite in directions of other signals."""
        if _free(direction, self.signals):
            return np.inf
        c = np.array([direction.get(name, 0.0) for name in self.signals])
        return float(c @ self.centre + np.sqrt(self.level * c @ np.linalg.solve(self.P, c)))


@dataclass(frozen=True, eq=False)
class Inequality(Constraint):
    """Any condition g(x, u) <= 0 written as an expression.

    ``Inequality("keep out", lambda x, u: 1 - x.px**2 - x.py**2)`` excludes the unit disc.

    Args:
        g: function of the state x and the input u that returns a CasADi expression, or several, each <= 0 where safe.
    """

    g: Callable[[Vector, Vector], Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_arguments(self.g, "x, u", f"constraint '{self.name}'")

    def expression(self, x: Vector, u: Vector) -> Any:
        return self.g(x, u)


def _free(direction: Mapping[str, float], bounded: Sequence[str]) -> bool:
    """Whether a linear form has weight on a signal that the set does not bound."""
    return any(weight != 0 and name not in bounded for name, weight in direction.items())


def _signal(name: str, x: Vector, u: Vector) -> Any:
    for vector in (x, u):
        if name in vector.names:
            return vector[name]
    raise UnknownName.among(name, [*x.names, *u.names], "state or input")


def _rows(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple, np.ndarray, Vector)) else [result]
