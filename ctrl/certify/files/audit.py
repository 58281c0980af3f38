"""An independent check of the decrease at random points of a proof, in ball arithmetic (Arb) with many digits.

None of the proof's own arithmetic is used: plant, control law and Lyapunov function are evaluated as straight-line
programs of their CasADi expressions in Arb (python-flint). Derivatives of V are CasADi's.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.certify.bounds.frame import Frame
from ctrl.certify.files.file import StoredClaim
from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.functions.neural import NeuralLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from systems.lowering.interpret import OPERATORS, POWERS, interpret
from systems.lowering.program import Program, read

__all__ = ["Audit", "audit"]

_BITS = 200
# Functions of one number that have the same name in Arb; all others are refused.
_NAMED = frozenset("sqrt exp log sin cos tan sinh cosh tanh asin acos atan asinh erf expm1 log1p".split())  # noqa: SIM905
_OPERATORS: dict[str, Callable[..., Any]] = {
    **OPERATORS,
    "sq": lambda a: a**2,  # the square of a ball is not negative, but a product of two balls may be
    "fabs": abs,
    "fmin": lambda a, b: a.min(b),  # Python's own ignores a NaN
    "fmax": lambda a, b: a.max(b),
    **dict.fromkeys(POWERS, operator.pow),
}

Balls = list[Any]


@dataclass(frozen=True)
class Audit:
    """Number of examined points, number of points that the claim covers, and a point at which it fails."""

    points: int
    relevant: int
    failure: np.ndarray | None


def audit(stored: StoredClaim, low: np.ndarray, high: np.ndarray, points: int = 500, seed: int = 0) -> Audit:
    """Checks one random point in each of many random parts: if V <= level, V decreases there or the next state lies in
    the inner set, under a random corner of the box of disturbances.

    Of an ellipsoid that is one part the points are drawn evenly: of a box around it in twelve states, one of three
    thousand lies inside.

    Args:
        low, high: parts (b, n) of the proof, in its frame's coordinates.

    Raises:
        ImportError: python-flint is not installed.
    """
    import flint

    flint.ctx.prec = _BITS
    rng = np.random.default_rng(seed)
    region, loop, kappa = stored.claim.region, stored.claim.loop, stored.claim.kappa
    frame = Frame(region.V.middle, stored.proof.T)
    if len(low) == 1 and isinstance(region.V, QuadraticLyapunov):
        states = region.V.points(region.level, points, rng)
    else:
        part = rng.integers(len(low), size=points)
        states = frame.origin + rng.uniform(low[part], high[part]) @ frame.T.T
    relevant = 0
    for x in states:
        if not ((x >= region.lower) & (x <= region.upper)).all() or (x == region.V.middle).all():
            continue
        point = [flint.arb(float(a)) for a in x]
        if _value(region.V, point) > region.level:
            continue
        relevant += 1
        ends = np.stack([loop.disturbance_box.lo, loop.disturbance_box.hi])[
            rng.integers(2, size=loop.disturbance_box.shape[0])
        ]
        after, inner = _loop(loop, point, np.diagonal(ends).tolist()), flint.arb(region.inner)
        if loop.continuous:
            change = sum((s * v for s, v in zip(_gradient(region.V, point), after, strict=True)), flint.arb(0))
            decreases = change + flint.arb(kappa) * _value(region.V, point) < 0
            decreases = decreases or _value(region.V, point) < inner
        else:
            decreases = _value(region.V, after) < (1 - flint.arb(kappa)) * _value(region.V, point)
            decreases = decreases or (region.inner > 0 and _value(region.V, after) < inner)
            # Within the region's box, or so close to it that the balls cannot decide.
            bounds = zip(after, region.lower.tolist(), region.upper.tolist(), strict=True)
            decreases = decreases and all(not (a < lower or a > upper) for a, lower, upper in bounds)
        if not decreases:
            return Audit(points, relevant, x)
    return Audit(points, relevant, None)


@final
@dataclass(frozen=True)
class _Column:
    """A column of balls with the operations of an integrator."""

    entries: tuple[Any, ...]

    __array_ufunc__ = None

    def __add__(self, other: _Column) -> _Column:
        return _Column(tuple(a + b for a, b in zip(self.entries, other.entries, strict=True)))

    def __mul__(self, scale: float) -> _Column:
        import flint

        return _Column(tuple(a * flint.arb(float(scale)) for a in self.entries))

    __rmul__ = __mul__


def _loop(loop: ClosedLoop, x: Balls, disturbance: list[float]) -> Balls:
    import flint

    dynamics = loop.task.true_dynamics
    (u,) = _run(read(loop.law.casadi), [x])
    lower, upper = loop.task.applied_bounds
    u = [min(max(a, flint.arb(b)), flint.arb(c)) for a, b, c in zip(u, lower.tolist(), upper.tolist(), strict=True)]
    equations = dynamics.plant.casadi() if loop.continuous else dynamics.equations()
    program = read(equations)
    w = [flint.arb(a) for a in disturbance]
    if loop.continuous:
        return _run(program, [x, u, w, []])[0]
    step = dynamics.stepper(lambda z, u, w, p: _Column(tuple(_run(program, [list(z.entries), u, w, []])[0])))
    return list(step(_Column(tuple(x)), u, w, []).entries)


def _value(V: Lyapunov, x: Balls) -> Any:
    """The value of V, centred at the middle of its centre's box."""
    import flint

    centre = [flint.arb(float(c)) for c in V.middle]
    d = [a - c for a, c in zip(x, centre, strict=True)]
    if isinstance(V, QuadraticLyapunov):
        n = len(d)
        return sum((d[i] * d[j] * flint.arb(float(V.P[i, j])) for i in range(n) for j in range(n)), flint.arb(0))
    form = _form(V)
    linear = sum((s * a for s, a in zip(form.slope, d, strict=True)), flint.arb(0))
    return _run(form.V, [x])[0][0] - form.height - linear


def _gradient(V: Lyapunov, x: Balls) -> Balls:
    import flint

    centre = [flint.arb(float(c)) for c in V.middle]
    if isinstance(V, QuadraticLyapunov):
        d = [a - c for a, c in zip(x, centre, strict=True)]
        return [2 * sum((flint.arb(float(p)) * a for p, a in zip(row, d, strict=True)), flint.arb(0)) for row in V.P]
    form = _form(V)
    return [a - b for a, b in zip(_run(form.gradient, [x])[0], form.slope, strict=True)]


@final
@dataclass(frozen=True)
class _Form:
    """Programs of an expression and of its gradient, and their values at the middle of its centre."""

    V: Program
    gradient: Program
    height: Any
    slope: Balls


@lru_cache(maxsize=4)  # programs are read once, not at every point
def _form(V: Lyapunov) -> _Form:
    import flint

    if isinstance(V, NeuralLyapunov):
        V = V.symbolic
    if not isinstance(V, SymbolicLyapunov):
        raise TypeError(f"{type(V).__name__} cannot be evaluated in Arb")
    (symbol,) = V.function.sx_in()
    gradient = read(ca.Function("gradient", [symbol], [ca.densify(ca.gradient(V.function(symbol), symbol))]))
    value, centre = read(V.function), [flint.arb(float(c)) for c in V.middle]
    return _Form(value, gradient, _run(value, [centre])[0][0], _run(gradient, [centre])[0])


def _run(program: Program, inputs: Sequence[Balls]) -> list[Balls]:
    """Evaluates a program in Arb, with its constants as exact doubles."""
    import flint

    def rule(op: str) -> Callable[..., Any]:
        operation = _OPERATORS.get(op) or (getattr(flint.arb, op) if op in _NAMED else None)
        if operation is None:
            raise ValueError(f"{program.name} uses {op}, which the audit cannot evaluate in Arb")
        return operation

    return interpret(program, inputs, rule, flint.arb)
