"""Closed loops with polynomial equations, read from the CasADi text of plant and law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.semidefinite.gram import Polynomial
from ctrl.controller import NotApplicable
from ctrl.laws.expression import Expression
from ctrl.laws.law import Law
from ctrl.laws.saturated_linear import SaturatedLinear
from systems.lowering.program import Operand, read

__all__ = ["PolynomialLoop", "polynomial_loop"]


@final
@dataclass(frozen=True, eq=False)
class PolynomialLoop:
    """z' = f(z) with polynomials f and f(0) = 0, where z = x - centre, as long as all |slabs z| are at most 1.

    Args:
        centre: (n,).
        field: n polynomials.
        slabs: (k, n), rows that are at most 1 in size where the polynomials speak of the loop that runs: within the
            task's domain, and while no linear feedback saturates. A domain or input range that is not centred is taken
            at its nearer side.
    """

    centre: np.ndarray
    field: tuple[Polynomial, ...]
    slabs: np.ndarray

    @property
    def jacobian(self) -> np.ndarray:
        """At the centre, (n, n)."""
        n = len(self.centre)
        unit = [tuple(row) for row in np.eye(n, dtype=int).tolist()]
        return np.array([[p.terms.get(e, 0.0) for e in unit] for p in self.field])

    def stretched(self, scale: np.ndarray) -> PolynomialLoop:
        """The same loop in y, z = scale * y, scale (n,)."""
        field = tuple(p.stretched(scale).scaled(1.0 / s) for p, s in zip(self.field, scale, strict=True))
        return PolynomialLoop(self.centre, field, self.slabs * scale)

    @property
    def is_odd(self) -> bool:
        """Whether f(-z) = -f(z); V may then be taken even."""
        return all(sum(e) % 2 == 1 for p in self.field for e, c in p.terms.items() if c != 0)


def polynomial_loop(loop: ClosedLoop) -> PolynomialLoop:
    """The equations of a closed loop in continuous time around its reference.

    A saturated linear law is read as the linear law it is inside its bounds.

    Raises:
        NotApplicable: discrete time; equations or a law that are not polynomial, the message says in what; or the
            reference is not an equilibrium.
    """
    task, plant = loop.task, loop.task.true_dynamics.plant
    if not loop.continuous:
        raise NotApplicable(
            f"task '{task.name}': sums of squares need the equations in continuous time; give "
            "ClosedLoop(task, law, continuous=True)"
        )
    centre = loop.reference
    n = len(centre)
    x = [
        Polynomial.of({(0,) * n: float(c), tuple(e): 1.0})
        for c, e in zip(centre, np.eye(n, dtype=int).tolist(), strict=True)
    ]
    zeros = [Polynomial.constant(0.0, n)] * len(plant.disturbance)
    f = plant.casadi()
    equations = evaluate(f, f"plant {plant.name}", [x, _input(loop.law, x), zeros, []])
    field = []
    size = max((abs(c) for p in equations for c in p.terms.values()), default=1.0)
    for p in equations:
        rest = p.terms.get((0,) * n, 0.0)
        if abs(rest) > 1e-9 * size:
            raise NotApplicable(
                f"the reference {centre} of task '{task.name}' is not an equilibrium; the state changes there by "
                f"{rest:.3g} per second"
            )
        field.append(Polynomial.of({e: c for e, c in p.terms.items() if any(e) and c != 0}))
    return PolynomialLoop(centre, tuple(field), _slabs(loop))


def evaluate(function: ca.Function, what: str, inputs: Sequence[Sequence[Polynomial]]) -> list[Polynomial]:
    """The output of a CasADi function of columns at polynomials with numbers as coefficients.

    Raises:
        NotApplicable: an operation on the state whose result is not a polynomial.
    """
    program = read(function)
    n = next(len(e) for column in inputs for p in column for e in p.exponents)
    zero = (0,) * n
    values: list[Polynomial] = []

    def value(a: Operand) -> Polynomial:
        return values[a] if isinstance(a, int) else Polynomial.constant(a, n)

    for i in program.instructions:
        if i.op == "input":
            values.append(inputs[int(i.args[0])][int(i.args[1])])
            continue
        args = [value(a) for a in i.args]
        numbers = [p.terms.get(zero, 0.0) if not any(c for e, c in p.terms.items() if any(e)) else None for p in args]
        result = _operation(i.op, args, numbers)
        if result is None:
            raise NotApplicable(
                f"{what} is not polynomial: it contains {_operation_name(i.op)} of the state. Sums of squares need "
                "sums and products of states; take V from riccati(task) or ctrl.certify.candidates.fit, which do not, "
                "or search with a polynomial approximation of the plant and prove the result for the true one"
            )
        values.append(result)
    return [value(a) for a in program.entries[0]]


def _operation(op: str, args: Sequence[Polynomial], numbers: Sequence[float | None]) -> Polynomial | None:
    """None where the result is not a polynomial."""
    n = len(args[0].exponents[0])
    first, last = args[0], args[-1]
    if op == "add":
        return first + last
    if op == "sub":
        return first - last
    if op == "mul":
        return first * last
    if op == "neg":
        return Polynomial(first.exponents, -first.values)
    if op == "twice":
        return Polynomial(first.exponents, 2.0 * first.values)
    if op == "sq":
        return first * first
    if op == "div" and numbers[1]:
        return Polynomial(first.exponents, first.values / numbers[1])
    if op in ("pow", "constpow") and numbers[1] is not None and numbers[1] >= 0 and numbers[1] == int(numbers[1]):
        result = Polynomial.constant(1.0, n)
        for _ in range(int(numbers[1])):
            result = result * first
        return result
    if None not in numbers and hasattr(ca, op):  # such as the sine of an undisturbed disturbance
        return Polynomial.constant(float(getattr(ca, op)(*numbers)), n)
    return None


def _operation_name(op: str) -> str:
    words = {"div": "a quotient with a divisor", "inv": "the inverse", "pow": "a power that is not a whole number"}
    return words.get(op, words["pow"] if op == "constpow" else f"the {op}")


def _input(law: Law, x: Sequence[Polynomial]) -> list[Polynomial]:
    if isinstance(law, SaturatedLinear):
        n = len(x)
        u = []
        for row, least in zip(law.K, law.u_ref, strict=True):
            total = Polynomial.constant(float(least + row @ law.x_ref), n)
            for gain, state in zip(row, x, strict=True):
                total = total - Polynomial(state.exponents, float(gain) * state.values)
            u.append(total)
        return u
    if isinstance(law, Expression):
        return evaluate(law.function, f"law {law.function.name()}", [x])
    raise NotApplicable(
        f"the law is a {type(law).__name__}; sums of squares need a SaturatedLinear law or an Expression in polynomials"
    )


def _slabs(loop: ClosedLoop) -> np.ndarray:
    centre, (lower, upper) = loop.reference, loop.domain
    half = np.minimum(upper - centre, centre - lower)
    rows = [row / h for row, h in zip(np.eye(len(centre)), half, strict=True) if np.isfinite(h)]
    if isinstance(loop.law, SaturatedLinear):
        law = loop.law
        least, most = loop.task.applied_bounds
        least, most = np.maximum(least, law.lower), np.minimum(most, law.upper)
        held = law.u_ref - law.K @ (centre - law.x_ref)
        room = np.minimum(most - held, held - least)
        rows += [row / r for row, r in zip(law.K, room, strict=True) if np.isfinite(r) and row.any() and r > 0]
    return np.array(rows).reshape(-1, len(centre))
