"""The same claims by other means: branch and bound in plain intervals, and satisfiability modulo real arithmetic.

Both are given the certificate's own Lyapunov function, level, decrease and box. What they are not given is the way the
certificate was found.

* Plain intervals: the same batches, halvings and counterexample tests, the same border and the same inequality between
  matrices around the equilibrium; but the change of V over a box is the natural interval extension of its expression,
  V(f(box)) - (1 - kappa) V(box) or V'(box) f(box) + kappa V(box), and not an expansion in affine forms.
* z3 (de Moura & Bjorner 2008), of polynomial loops in continuous time: is there an x in the region with
  V'(x) f(x) >= -kappa V(x)? All numbers enter as the rationals that the doubles are. Asked of the decrease alone. It is
  used if it is installed: pip install z3-solver.

dReal, which published certificates of networks use, is not run: its package on PyPI lacks the libraries it links to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from time import perf_counter, process_time
from typing import Any

import casadi as ca
import numpy as np

from ctrl.certify import Certificate, ClosedLoop, QuadraticLyapunov, SearchLimits
from ctrl.certify.bounds.examiner import Examiner, Findings
from ctrl.certify.bounds.frame import Frame
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.result import Kind
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.search.border import holds_at_border
from ctrl.certify.search.search import Search, decreases
from systems.arithmetic.exact import with_symbolic_numbers
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_matrices import quadratic_form, total
from systems.lowering.interpret import OPERATORS, POWERS, interpret
from systems.lowering.program import Program, read

__all__ = ["Attempt", "Race", "by_z3", "race"]


@dataclass(frozen=True)
class Attempt:
    """How one claim fared.

    Args:
        answer: proved, refuted, open or unknown. seconds: of processor time. wall: by the clock. boxes: examined.
    """

    answer: str
    seconds: float
    wall: float
    boxes: int = 0

    @property
    def is_proved(self) -> bool:
        return self.answer == "proved"

    @property
    def boxes_per_second(self) -> float:
        return self.boxes / max(self.seconds, 1e-9)

    def __str__(self) -> str:
        counted = f", {self.boxes:,} boxes, {self.boxes_per_second:,.0f} per second" if self.boxes else ""
        return f"{self.answer} in {self.seconds:.3g} s ({self.wall:.3g} s by the clock){counted}"


@dataclass(frozen=True)
class Race:
    """One claim by affine forms and by plain intervals; ``ratio`` of their times bounds the true one from below where
    the latter gave up."""

    ours: Attempt
    plain: Attempt

    @property
    def ratio(self) -> float:
        return self.plain.seconds / max(self.ours.seconds, 1e-9)

    def __str__(self) -> str:
        bound = "" if self.plain.is_proved else "more than "
        return f"affine forms: {self.ours}; plain intervals: {self.plain}; {bound}{self.ratio:.3g} times as long"


def race(certificate: Certificate, loop: ClosedLoop, seconds: float = 60.0) -> Race:
    """Both proofs of a proved claim, ours first; plain intervals give up after so many seconds of processor time."""
    lower, upper = certificate.domain or loop.domain
    claim = Claim(loop, SublevelSet(certificate.V, certificate.level, lower, upper), certificate.kappa)

    def ours() -> tuple[str, int]:
        result = decreases(claim, SearchLimits(200_000_000, 1e4))
        return str(result.kind), result.boxes

    return Race(_timed(ours), _timed(lambda: _plainly(claim, seconds)))


def _timed(way: Callable[[], tuple[str, int]]) -> Attempt:
    began, worked = perf_counter(), process_time()
    answer, boxes = way()
    return Attempt(answer, process_time() - worked, perf_counter() - began, boxes)


# ---- plain intervals ----


@dataclass(frozen=True, eq=False)
class _Plain:
    """Settles boxes as an Examiner does, by natural interval extension."""

    core_of: Examiner

    @property
    def claim(self) -> Claim:
        return self.core_of.claim

    @property
    def frame(self) -> Frame:
        return self.core_of.frame

    def examine(self, low: np.ndarray, high: np.ndarray, core: np.ndarray) -> Findings:
        region, loop, centre = self.claim.region, self.claim.loop, self.claim.region.V.centre
        at, reach = centre - self.frame.origin, Interval.of(core)
        settled = ((low >= (at - reach).hi) & (high <= (at + reach).lo)).all(axis=1)
        x = Interval(low, high) + self.frame.origin
        value = _value(region, x)
        beyond = ((x.lo > region.upper) | (x.hi < region.lower)).any(axis=1) | (value.lo > region.level)
        rest = np.flatnonzero(~settled & ~beyond)
        still_open, middle = np.zeros(len(low), dtype=bool), np.zeros_like(low)
        if len(rest):
            x, value = x[rest], value[rest]
            f = loop.enclose(x)
            if loop.continuous:
                growth = total(region.V.enclose_gradient(x) * f) + Interval.of(self.claim.kappa) * value
                falls = growth.hi < 0
            else:
                falls = (_value(region, f) - (1.0 - Interval.of(self.claim.kappa)) * value).hi < 0
                falls &= ((f.lo >= region.lower) & (f.hi <= region.upper)).all(axis=1) | region.is_whole
            still_open[rest], middle[rest] = ~falls, x.mid
        nothing = np.zeros((len(low), len(loop.task.plant.disturbance)))
        return Findings(still_open, high - low, middle, nothing, np.zeros(len(low)))


def _value(region: SublevelSet, x: Interval) -> Interval:
    V = region.V
    return quadratic_form(V.P, x - V.centre) if isinstance(V, QuadraticLyapunov) else V.enclose(x)


def _plainly(claim: Claim, seconds: float) -> tuple[str, int]:
    boxes, worked = 0, process_time()
    loop, region = claim.loop, claim.region
    if loop.continuous and not region.is_whole:
        boxes, fault = holds_at_border(claim, SearchLimits(seconds=seconds))
        if fault:
            return str(Kind.UNDECIDED), boxes
    examiner = Examiner(claim, Frame(region.V.middle, np.eye(len(region.lower))))
    cover = examiner.cover()
    core = None if cover is None else examiner.core(cover)
    if cover is None or core is None:
        return str(Kind.UNDECIDED), boxes
    search = Search(_Plain(examiner), cover, core)  # type: ignore[arg-type]
    while True:
        result = search.run(SearchLimits(200_000_000, 1.0))  # by the clock, which says little on a busy machine
        boxes += result.boxes
        if result.kind is not Kind.UNDECIDED or search.is_stuck or process_time() - worked > seconds:
            return str(result.kind), boxes


# ---- z3 ----


def by_z3(certificate: Certificate, loop: ClosedLoop, seconds: float = 60.0) -> Attempt | None:
    """The decrease of a polynomial V along a polynomial loop without input, in continuous time; None without z3."""
    try:
        import z3
    except ImportError:
        return None
    n = len(certificate.state)
    x = [z3.Real(f"x{i}") for i in range(n)]
    V, slope = _polynomial(certificate.V, x)
    (f,) = _run(read(loop.task.true_dynamics.plant.casadi()), x, [], [0] * len(loop.task.plant.disturbance), [])
    lower, upper = certificate.domain or loop.domain
    elsewhere = z3.Or(*(a != _exact(c) for a, c in zip(x, certificate.V.middle, strict=True)))
    claim = [_exact(certificate.level) - V >= 0, elsewhere]
    for a, least, most in zip(x, lower, upper, strict=True):
        claim += [a >= _exact(least), a <= _exact(most)]
    claim.append(sum(s * v for s, v in zip(slope, f, strict=True)) + _exact(certificate.kappa) * V >= 0)
    solver = z3.Solver()
    solver.add(*claim)
    answers, limit = {"unsat": "proved", "sat": "refuted", "unknown": "unknown"}, seconds
    while True:  # its limit is by the clock; on a busy machine it is asked once more and given more time
        solver.set("timeout", int(1000 * limit))
        found = _timed(lambda: (answers[str(solver.check())], 0))
        if found.answer != "unknown" or found.seconds > 0.9 * seconds:
            return found
        limit *= 1.1 * seconds / max(found.seconds, 0.05 * seconds)


def _exact(number: float) -> Any:
    import z3

    return z3.RealVal(Fraction(float(number)))


def _polynomial(V: Any, x: list[Any]) -> tuple[Any, list[Any]]:
    """V and its gradient in z3's reals."""
    centre = [_exact(c) for c in V.middle]
    if isinstance(V, QuadraticLyapunov):
        d = [a - c for a, c in zip(x, centre, strict=True)]
        slope = [sum(2 * _exact(p) * a for p, a in zip(row, d, strict=True)) for row in V.P]
        return sum(s * a for s, a in zip(slope, d, strict=True)) / 2, slope
    free, numbers = with_symbolic_numbers(V.function)
    y, c = free.sx_in()
    W = free(y, c)
    program = read(ca.Function("W", [y, c], [W, ca.densify(ca.gradient(W, y))]))
    constants = [_exact(a) for a in numbers]
    (value,), slope = _run(program, x, constants)
    (at_centre,), tilt = _run(program, centre, constants)
    lean = sum(s * (a - b) for s, a, b in zip(tilt, x, centre, strict=True))
    return value - at_centre - lean, [s - t for s, t in zip(slope, tilt, strict=True)]


def _run(program: Program, *inputs: Sequence[Any]) -> list[list[Any]]:
    return interpret(program, inputs, _RULES.__getitem__, _exact)


def _power(base: Any, exponent: float) -> Any:
    return prod([base] * int(exponent), start=_exact(1.0))


_RULES: dict[str, Callable[..., Any]] = {**OPERATORS, **dict.fromkeys(POWERS, _power)}
