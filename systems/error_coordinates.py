"""Tasks with unit quaternions in error coordinates: three components instead of four, without a norm constraint."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Self, final

import casadi as ca
import numpy as np

from systems.arguments import expect_names
from systems.carrying_plant import CarryingPlant
from systems.constraints import Box, Constraint
from systems.costs import Cost, Quadratic
from systems.distributions import Distribution, Fixed, Gaussian, Uniform
from systems.errors import InvalidValue, expect
from systems.expressions import column
from systems.lowering.interpret import OPERATORS, POWERS, interpret
from systems.lowering.program import read
from systems.measurement import Measurement
from systems.observations import Observation
from systems.plant import Plant
from systems.references import SetPoint
from systems.signals import Signals, Vector
from systems.task import Task

__all__ = ["MOST_ERROR", "ErrorCoordinates", "in_error_coordinates"]

MOST_ERROR = 0.57
"""Bound of each component of an error, so that their squares add up to less than 1: a turn of 69 degrees about one
axis."""

_POINTS = 12  # at which a plant is asked whether it keeps the norm

# Vector part of conj(e_j) * q for the units e_0 = 1, e_1 = i, e_2 = j, e_3 = k: (component, sign) of each row.
_ERROR_OF = (
    ((1, 1), (2, 1), (3, 1)),
    ((0, -1), (3, 1), (2, -1)),
    ((3, -1), (0, -1), (1, 1)),
    ((2, 1), (1, -1), (0, -1)),
)


@final
@dataclass(frozen=True)
class _Attitude:
    """A unit quaternion near a reference s e_j, by its error: the vector part of conj(s e_j) * q.

    Args:
        at: positions of its four components among the states.
        component: j, the component of the reference that is not zero.
        sign: s, 1 or -1.
    """

    at: tuple[int, ...]
    component: int
    sign: int

    @property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """Position among the states, and sign, of each of the three components of the error."""
        return tuple((self.at[i], self.sign * s) for i, s in _ERROR_OF[self.component])


@final
@dataclass(frozen=True)
class ErrorCoordinates(CarryingPlant):
    """A plant whose unit quaternions are given by their errors from a reference attitude.

    The error of q is the vector part e of conj(q_ref) * q, which for small errors is half the rotation vector in body
    axes, and q = q_ref * (sqrt(1 - |e|^2), e). Its equation is that of the plant, e' = vector part of conj(q_ref) * q',
    which describes the same trajectory as long as |q| = 1 and the attitude is less than half a turn from the reference.

    Args:
        plant: in continuous time; it preserves the norm of its quaternions.
        attitudes: its quaternions.
    """

    plant: Plant
    attitudes: tuple[_Attitude, ...]

    @property
    def inner(self) -> Plant:
        return self.plant

    def with_inner(self, plant: Plant) -> Self:
        return dataclasses.replace(self, plant=plant)

    @property
    def name(self) -> str:
        return f"{self.plant.name}InErrorCoordinates"

    @cached_property
    def kept(self) -> list[tuple[int, int, str]]:
        """By state: its position among those of the plant, its sign there, and its name. The errors stand where the
        vector parts did."""
        names = self.plant.state.names
        kept = {i: (i, 1, name) for i, name in enumerate(names)}
        for attitude in self.attitudes:
            for i, (at, sign) in zip(attitude.at[1:], attitude.rows, strict=True):
                kept[i] = (at, sign, f"{names[i]}_error")
            del kept[attitude.at[0]]
        return list(kept.values())

    @property
    def state(self) -> Signals:  # type: ignore[override]
        return self._state

    @cached_property
    def _state(self) -> Signals:
        units = [self.plant.state[i] for i, _, _ in self.kept]
        return Signals(
            dataclasses.replace(signal, name=name, quaternion="") if name.endswith("_error") else signal
            for signal, (_, _, name) in zip(units, self.kept, strict=True)
        )

    @property
    def input(self) -> Signals:  # type: ignore[override]
        return self.plant.input

    @property
    def disturbance(self) -> Signals:  # type: ignore[override]
        return self.plant.disturbance

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.plant.is_discrete:
            raise InvalidValue(
                f"{self.plant.name} is discrete by nature; error coordinates need its equations in continuous time: ode"
            )
        for attitude in self.attitudes:
            self._expect_norm_kept(attitude)

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        rates = self._rates(self.whole(x), u, w)
        return ca.vertcat(*[sign * rates[i] for i, sign, _ in self.kept])

    def whole(self, x: Vector) -> Vector:
        """The state of the plant at a state in error coordinates."""
        full = ca.SX(len(self.plant.state), 1)
        for (i, sign, _), entry in zip(self.kept, ca.vertsplit(x.column), strict=True):
            full[i] = sign * entry
        for attitude in self.attitudes:
            missing = 1.0 - sum(full[i] ** 2 for i, _ in attitude.rows)
            full[attitude.at[attitude.component]] = attitude.sign * ca.sqrt(missing)
        return Vector(self.plant.state, full, "state")

    def reduced(self, values: np.ndarray) -> np.ndarray:
        """Error coordinates (..., n - 1 per quaternion) of states (..., n) of the plant whose quaternions have norm 1
        and are less than half a turn from the reference."""
        at, signs = [i for i, _, _ in self.kept], np.array([sign for _, sign, _ in self.kept])
        return np.asarray(np.asarray(values)[..., at] * signs)

    @property
    def words(self) -> str:
        """A description of the states, for use in sentences."""
        return " and ".join(map(self._sentence, self.attitudes))

    def _sentence(self, attitude: _Attitude) -> str:
        parts = [self.plant.state.names[i] for i in attitude.at]
        unit = f"{'-' if attitude.sign < 0 else ''}{('1', 'i', 'j', 'k')[attitude.component]}"
        errors = ", ".join(f"{part}_error" for part in parts[1:])
        whole = f"({', '.join(parts)}) = {unit} * (sqrt(1 - |e|^2), e)"
        return f"the unit quaternion {whole} given by its error e = ({errors})"

    def _rates(self, x: Vector, u: Vector, w: Vector) -> Any:
        """The column of the derivatives of the plant."""
        states = ", ".join(self.plant.state.names)
        return column(self.plant.ode(x, u, w), f"{self.plant.name}.ode", f"one expression per state: {states}")

    def _expect_norm_kept(self, attitude: _Attitude) -> None:
        """Raises InvalidValue where q'q is not zero on |q| = 1, in rational arithmetic at random points.

        What is not rational in the equations of q, such as a sine or a maximum, takes random values of its own: q'q
        must vanish whatever these are. It is then zero as a polynomial in all of them, but for the odds that one of
        degree d has zeros at all of the points, (d / 2,000,001) to their number (Schwartz, 1980).
        """
        plant, names = self.plant, ", ".join(self.plant.state.names[i] for i in attitude.at)
        vectors = [Vector(s, s.symbol(), "signals") for s in (plant.state, plant.input, plant.disturbance)]
        p = ca.vertcat(*[value for value in plant.parameters.values() if isinstance(value, ca.SX)])  # may vary
        rates = self._rates(*vectors)[list(attitude.at)]
        program = read(ca.Function("rates", [*(v.column for v in vectors), p], [rates]))
        rng = np.random.default_rng(0)
        for _ in range(_POINTS):
            states, inputs, disturbances, t, parameters = (
                [Fraction(int(a), 1000) for a in rng.integers(-1_000_000, 1_000_001, size)]
                for size in (len(plant.state), len(plant.input), len(plant.disturbance), 3, p.numel())
            )
            square = sum((a * a for a in t), Fraction(0))
            q = [(1 - square) / (1 + square), *(2 * a / (1 + square) for a in t)]  # of norm 1, exactly
            for i, a in zip(attitude.at, q, strict=True):
                states[i] = a
            try:
                (rate,) = interpret(program, [states, inputs, disturbances, parameters], _Opaque(rng), Fraction)
            except ZeroDivisionError as error:
                raise InvalidValue(f"{self.plant.name}: the equations of ({names}) divide by zero") from error
            off = sum((a * b for a, b in zip(q, rate, strict=True)), Fraction(0))
            if off != 0:
                raise InvalidValue(
                    f"{self.plant.name} changes the norm of ({names}) where it is 1, or it cannot be shown that it "
                    "does not; error coordinates describe unit quaternions alone. Write q' = 1/2 q * (0, omega); a "
                    "term that draws the norm to 1, such as k (1 - |q|^2) q, vanishes there"
                )


@final
class _Opaque:
    """Rules of rational arithmetic, in which every other operation has a random value for each of its arguments."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._values: dict[tuple[Any, ...], Fraction] = {}

    def __call__(self, op: str) -> Any:
        if op in OPERATORS:
            return OPERATORS[op]

        def rule(*operands: Any) -> Fraction:
            if op in POWERS and operands[1] % 1 == 0 and abs(operands[1]) <= 16:
                return Fraction(operands[0] ** int(operands[1]))
            if op == "sqrt" and operands[0] == 1:  # of the norm itself
                return Fraction(1)
            given = (op, *operands)
            if given not in self._values:
                self._values[given] = Fraction(int(self._rng.integers(-1_000_000, 1_000_001)), 1000)
            return self._values[given]

        return rule


@final
@dataclass(frozen=True, eq=False)
class _ErrorCost(Cost):
    """A cost of the whole state, read in error coordinates."""

    cost: Cost
    plant: ErrorCoordinates

    def stage(self, x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        return self.cost.stage(self.plant.whole(x), u, self.plant.whole(x_ref), u_ref)

    def terminal(self, x: Vector, x_ref: Vector) -> Any:
        return self.cost.terminal(self.plant.whole(x), self.plant.whole(x_ref))


@final
@dataclass(frozen=True, eq=False)
class _ErrorConstraint(Constraint):
    """A constraint on the whole state, read in error coordinates."""

    constraint: Constraint
    plant: ErrorCoordinates

    def expression(self, x: Vector, u: Vector) -> Any:
        return self.constraint.expression(self.plant.whole(x), u)


def in_error_coordinates(task: Task, *quaternions: Sequence[str]) -> Task:
    """The task with three error coordinates in place of the four components of each unit quaternion.

    A quaternion norm that the plant preserves is neither controllable nor stable, so neither a regulator nor a region
    of attraction exists in all four components; in error coordinates both exist. Cost, constraints, reference, domain,
    tolerance, observation and measurement mean the same as before, on unit quaternions less than half a turn from the
    reference attitude. The domain is confined to errors of at most 0.57 per component, and the component of an initial
    state that is dropped follows from its norm of 1. Samples are integrated in error coordinates, so that the attitude
    cannot drift off the unit quaternions.

    Args:
        task: with a constant reference, whose quaternions have one component of 1 or -1 and three of 0.
        *quaternions: names of the four components of each, scalar part first; default: those that the plant declares.

    Raises:
        InvalidValue: no quaternion; a reference that moves or has another attitude; a plant that is discrete by nature
            or does not keep the norm; a domain that error coordinates cannot express.
        UnknownName: no such state.
    """
    expect(task, Task, "the task in error coordinates", "which holds a plant")
    state, where = task.plant.state, f"task '{task.name}' in error coordinates"
    named = [expect_names(names, "quaternions: names of four states, scalar part first") for names in quaternions]
    groups = [[state.where(name) for name in names] for names in named] or state.quaternions
    different = {i for group in groups for i in group}
    if not groups or any(len(group) != 4 for group in groups) or len(different) < 4 * len(groups):
        raise InvalidValue(
            f'{where}: expected unit quaternions of four states each, declared by quaternion("qw", "qx", "qy", "qz") '
            'or named here: in_error_coordinates(task, ("qw", "qx", "qy", "qz"))'
        )
    if not task.reference.is_constant:
        raise InvalidValue(f"{where}: the reference moves; errors are measured from one attitude")
    x_ref, u_ref = task.reference.at(task.plant, 0)
    attitudes = tuple(_attitude(task, group, x_ref) for group in groups)
    plant = ErrorCoordinates(task.plant, attitudes)
    truth = None if task.truth is None else ErrorCoordinates(task.truth, attitudes)
    observed = task.observation
    return dataclasses.replace(
        task,
        name=f"{task.name}-error-coordinates",
        plant=plant,
        truth=truth,
        cost=_cost(task, plant, [group[a.component] for group, a in zip(groups, attitudes, strict=True)]),
        constraints=tuple(_constraint(constraint, plant) for constraint in task.constraints),
        reference=SetPoint(_at_rest(plant, x_ref), u_ref),
        initial=_initial(task, plant),
        domain=_domain(task, plant),
        tolerance=None if task.tolerance is None else plant.reduced(task.arrival) * _signs(plant),
        observation=observed
        if not isinstance(observed, Observation)
        else Observation(observed.signals, lambda x, xr: observed.expression(plant.whole(x), plant.whole(xr))),
        measurement=None if task.measurement is None else _measurement(task.measurement, plant),
    )


def _attitude(task: Task, group: list[int], x_ref: np.ndarray) -> _Attitude:
    q = x_ref[group]
    component = int(np.argmax(np.abs(q)))
    if abs(q[component]) != 1.0 or np.count_nonzero(q) != 1:
        names = ", ".join(task.plant.state.names[i] for i in group)
        raise InvalidValue(
            f"task '{task.name}' in error coordinates: the reference of ({names}) is {q.tolist()}; expected one "
            "component of 1 or -1 and three of 0: turn the axes of the world so that the reference attitude is one of "
            "those"
        )
    return _Attitude(tuple(group), component, int(np.sign(q[component])))


def _signs(plant: ErrorCoordinates) -> np.ndarray:
    return np.array([sign for _, sign, _ in plant.kept])


def _is_error(plant: ErrorCoordinates) -> np.ndarray:
    """Which states are components of an error, (n,) of bool."""
    positions = {i for attitude in plant.attitudes for i in attitude.at}
    return np.array([i in positions for i, _, _ in plant.kept])


def _at_rest(plant: ErrorCoordinates, x_ref: np.ndarray) -> np.ndarray:
    return np.where(_is_error(plant), 0.0, plant.reduced(x_ref))


def _cost(task: Task, plant: ErrorCoordinates, dropped: list[int]) -> Cost:
    """Quadratic where the components that are dropped have no weight, which alone are not linear in the error."""
    if isinstance(task.cost, Quadratic):
        Q, R, P = task.cost.matrices(task.plant)
        if not (Q[dropped].any() or P[dropped].any()):
            at, signs = [i for i, _, _ in plant.kept], _signs(plant)
            Q, P = (signs[:, None] * weight[np.ix_(at, at)] * signs for weight in (Q, P))
            return Quadratic(Q, R, None if task.cost.P is None else P)
    return _ErrorCost(task.cost, plant)


def _constraint(constraint: Constraint, plant: ErrorCoordinates) -> Constraint:
    components = {plant.plant.state.names[i] for attitude in plant.attitudes for i in attitude.at}
    if isinstance(constraint, Box) and not components & set(constraint.bounds):
        return constraint
    return _ErrorConstraint(constraint.name, constraint, plant, requirement=constraint.requirement)


@final
@dataclass(frozen=True)
class _Measured:
    """The expressions of a measurement, which read the whole state."""

    measurement: Measurement
    plant: ErrorCoordinates

    def __call__(self, x: Vector, u: Vector) -> Any:
        whole, expression = self.plant.whole(x), self.measurement.expression
        return [whole[s] for s in self.measurement.signals.names] if expression is None else expression(whole, u)


def _measurement(measurement: Measurement, plant: ErrorCoordinates) -> Measurement:
    components = {plant.plant.state.names[i] for attitude in plant.attitudes for i in attitude.at}
    if measurement.expression is None and not components & set(measurement.signals.names):
        return measurement
    return dataclasses.replace(measurement, expression=_Measured(measurement, plant))


def _initial(task: Task, plant: ErrorCoordinates) -> Distribution:
    initial, state, signs = task.initial, task.plant.state, _signs(plant)
    if isinstance(initial, Fixed):
        return Fixed(plant.reduced(initial.support(state)[0]))
    if isinstance(initial, Uniform):
        ends = np.array([plant.reduced(bound) for bound in initial.support(state)])
        return Uniform(ends.min(axis=0), ends.max(axis=0))
    if isinstance(initial, Gaussian):
        at = [i for i, _, _ in plant.kept]
        covariance = signs[:, None] * initial.covariance(state)[np.ix_(at, at)] * signs
        return Gaussian(average=plant.reduced(initial.mean(state)), covariance_matrix=covariance)
    raise InvalidValue(
        f"task '{task.name}' in error coordinates: its initial states are {type(initial).__name__}; expected Fixed, "
        "Uniform or Gaussian"
    )


def _domain(task: Task, plant: ErrorCoordinates) -> Box:
    lower, upper = task.domain_bounds
    least = float(np.sqrt(1.0 - 3.0 * MOST_ERROR**2))
    for attitude in plant.attitudes:
        i = attitude.at[attitude.component]
        low, high = sorted((attitude.sign * lower[i], attitude.sign * upper[i]))
        if low > least or high < 1.0:
            raise InvalidValue(
                f"task '{task.name}' in error coordinates: its domain confines {task.plant.state.names[i]}, the "
                f"component of the reference attitude, to [{lower[i]:g}, {upper[i]:g}]; bound the other components"
            )
    ends = np.array([plant.reduced(lower), plant.reduced(upper)])
    reach = np.where(_is_error(plant), MOST_ERROR, np.inf)
    low, high = np.maximum(ends.min(axis=0), -reach), np.minimum(ends.max(axis=0), reach)
    names = plant.state.names
    bounds = {
        name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True) if np.isfinite([a, b]).any()
    }
    return Box("domain" if task.domain is None else task.domain.name, bounds)
