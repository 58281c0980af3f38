"""Certificates: what is claimed, how it was shown, and all that is needed to show it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from enum import StrEnum
from math import isnan
from typing import Any, final

import numpy as np

from ctrl.certify.claims.sublevel_set import Region
from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov
from ctrl.certify.functions.neural import NeuralLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import at_most, distance, is_same
from ctrl.certify.search.subdivision import Proof
from ctrl.laws.law import Law
from systems import Signals
from systems.arithmetic.interval import Interval

__all__ = ["Certificate", "Kind", "sentence", "stated"]

Intervals = Mapping[str, tuple[float, float]]
Box = tuple[np.ndarray, np.ndarray]

_LITTLE = 1e-6  # of the level: V at a point a thousandth of the set's size away


class Kind(StrEnum):
    """How a claim stands."""

    PROVED = "proved"  # by outward-rounded arithmetic
    SAMPLED = "sampled"  # no counterexample among many points; nothing more
    REFUSED = "refused"  # a point is proved to break it, or it makes no sense
    UNDECIDED = "undecided"  # budget spent, or the arithmetic is too coarse


def sentence(
    region: Region,
    reference: np.ndarray,
    law: str,
    uncertain: Intervals,
    disturbance: Intervals,
    continuous: bool,
    state: Signals,
    domain: Box,
) -> str:
    """What is claimed of a region under a law.

    Args:
        state: names of x. domain: lower and upper (n,), of the task.
    """
    V = region.V
    known = "".join(
        f", for every {name} in [{float(low)!r}, {float(high)!r}]" for name, (low, high) in uncertain.items()
    )
    goal = f"the reference [{_numbers(reference)}]"
    if not _is_at(region, reference):
        away = f"within [{', '.join(map(at_most, distance(V.centre, reference)))}] of {goal}"
        goal = f"the loop's own equilibrium [{_numbers(V.middle)}], {away},"
    inside = f"comes to V <= {_rounded(region.inner, ROUND_CEILING)} in finite time, for good,"
    end = inside if region.inner > 0 else f"converges to {goal}"
    when = "at any time" if continuous else "in any sample"
    pushes = ", ".join(f"any {name} in [{float(low)!r}, {float(high)!r}]" for name, (low, high) in disturbance.items())
    disturbed = f"with {pushes} {when} and no other disturbance" if pushes else "without disturbance"
    starts = f"every start with V <= {_rounded(region.level, ROUND_FLOOR)}{_given(region)}{_cut(region, state, domain)}"
    return f"{starts} stays there and {end} under {law}, {disturbed}{known}"


def _is_at(region: Region, reference: np.ndarray) -> bool:
    """Whether the centre of V is the reference up to rounding, which must be little beside the size of the set."""
    V = region.V
    return is_same(V.centre, reference) and bool(V.enclose(Interval.of(reference)).hi <= _LITTLE * region.level)


def _given(region: Region) -> str:
    """What was made of the V that was given, where that is more than rounding; else nothing."""
    constant, slope = region.V.correction
    lower, upper = region.hull
    with np.errstate(invalid="ignore"):
        size = abs(constant) + np.nansum(np.abs(slope) * (upper - lower))
    if size <= 1e-9 * region.level:
        return ""
    numbers = ", ".join(map(repr, slope.tolist()))
    return f", where V(x) = W(x) + {constant!r} + [{numbers}]'(x - c) with W the function given and c its centre,"


def _cut(region: Region, state: Signals, domain: Box) -> str:
    """The box that {V <= level} is cut to, as far as it cuts, and where the set goes beyond the domain of the task."""
    low, high = region.V.bounding_box(region.level)
    bounds = []
    for i, name in enumerate(state.names):
        least, most = float(region.lower[i]), float(region.upper[i])
        below, above = low[i] < least, high[i] > most
        if below and above and np.isfinite([least, most]).all():
            bounds.append(f"{name} in [{least!r}, {most!r}]")
        elif below and np.isfinite(least):
            bounds.append(f"{name} >= {least!r}")
        elif above and np.isfinite(most):
            bounds.append(f"{name} <= {most!r}")
    text = ""
    if bounds:
        same = np.array_equal(region.lower, domain[0]) and np.array_equal(region.upper, domain[1])
        text = f" within {'the domain of the task' if same else 'the box'} ({', '.join(bounds)})"
    lower, upper = region.hull
    beyond = [name for i, name in enumerate(state.names) if lower[i] < domain[0][i] or upper[i] > domain[1][i]]
    return f"{text}, a set that reaches beyond the domain of the task in {', '.join(beyond)}," if beyond else text


def _rounded(a: float, rounding: str) -> str:
    """A number in six digits, not beyond it on the side that matters."""
    return f"{float(Context(prec=6, rounding=rounding).create_decimal(a)):.6g}"


_ROUNDING = (
    "doubles rounded outward; holds for real arithmetic on the equations of the plant as it is simulated, their "
    "numbers, gains, bounds and dt the doubles given; not for the rounding of a running controller"
)

_EXPONENTIAL = "; and for the exact solution between samples, its matrix exponential enclosed"


def stated(loop: ClosedLoop, region: Region, kappa: float) -> dict[str, Any]:
    """The fields of a certificate that say what is claimed, by name, as they follow from what is proved.

    A file holds these, and showing it again computes them anew.
    """
    task = loop.task
    return {
        "task": task.name,
        "law": _name(loop.law),
        "V": region.V,
        "reference": loop.reference,
        "level": float(region.level),
        "kappa": float(kappa),
        "state": task.plant.state,
        "domain": None if region.is_whole else (region.lower, region.upper),
        "task_domain": task.domain_bounds,
        "dynamics": "continuous time" if loop.continuous else str(task.true_dynamics),
        "dt": 0.0 if loop.continuous else task.dt,
        "uncertain": loop.uncertain,
        "disturbance": loop.disturbance,
        "inner": float(region.inner),
        "rounding": _ROUNDING + (_EXPONENTIAL if loop.is_sampled_exactly else ""),
    }


@final
@dataclass(frozen=True, eq=False)
class Certificate:
    """A claim about a region of attraction of a closed loop, x+ = f(x) or x' = f(x), or of a disturbed one.

    The claim: from every start in S = {V <= level} (cut to ``domain`` where that is given) the states stay in S and
    converge to the equilibrium at the centre of V, because V(f(x)) < (1 - kappa) V(x), or V'(x) f(x) < -kappa V(x), on
    S but that point, and no motion leaves S through the border of the domain.

    With an inner level: the states stay in S, come to {V <= inner} in finite time and stay there (ultimate boundedness;
    Khalil 2002, "Nonlinear Systems", section 4.8), whatever the disturbances in W are, because V(f(x, w)) < max((1 -
    kappa) V(x), inner) for all x in S and w in W, or V'(x) f(x, w) < -kappa V(x) wherever V(x) >= inner.

    Args:
        kind: how the claim stands. task, law: what it speaks of.
        V: the Lyapunov function. reference: (n,), of the task.
        level: of the sublevel set. kappa: least relative decrease per sample, 0 for any.
        state: names and units of x.
        domain: lower and upper (n,) of the box that S is cut to, the task's domain or another one; None where it cuts
            nothing off. task_domain: lower and upper (n,), infinite where the task has none.
        dynamics: integrator and sample time, such as "euler, 0.05 s", or "continuous time". dt: seconds per sample, 0
            in continuous time.
        uncertain: intervals of the plant's parameters for all values in which the claim holds.
        disturbance: W: intervals in which signals of w may change from sample to sample, or at any time in continuous
            time; the others are zero. inner: see above, 0 for convergence to the equilibrium.
        boxes: examined. seconds: wall time spent. cpu: processor time spent, in seconds.
        volume: of S, NaN where nothing is proved: to rounding error for a whole ellipsoid, else a lower bound.
        origin: how the neighbourhood of the equilibrium was treated. rounding: what the arithmetic covers.
        core: half-widths (n,) of the hull of the parallelepiped around the reference that was settled at once.
        counterexample: a point (n,) of S that breaks the claim, proved to do so where the kind is refused.
        reason: why it is refused or undecided. advice: what to try where it is undecided.
        proof: how the region was cut, enough to show the claim again without searching; None where it is not proved.
    """

    kind: Kind
    task: str
    law: str
    V: Lyapunov
    reference: np.ndarray
    level: float
    kappa: float
    state: Signals
    domain: Box | None
    task_domain: Box
    dynamics: str
    dt: float
    uncertain: Mapping[str, tuple[float, float]]
    boxes: int
    seconds: float
    cpu: float
    volume: float
    origin: str
    rounding: str
    core: np.ndarray
    counterexample: np.ndarray | None = None
    reason: str = ""
    advice: str = ""
    proof: Proof | None = None
    disturbance: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    inner: float = 0.0

    @property
    def is_proved(self) -> bool:
        return self.kind is Kind.PROVED

    @property
    def region(self) -> Region:
        """The set S."""
        n = len(self.state)
        lower, upper = self.domain or (np.full(n, -np.inf), np.full(n, np.inf))
        return Region(self.V, self.level, lower, upper, self.inner)

    @property
    def offset(self) -> np.ndarray:
        """Upper bounds (n,) of the distance between the point that motions converge to and the reference."""
        return distance(self.V.centre, self.reference)

    @property
    def is_at_reference(self) -> bool:
        """Whether motions converge to the reference, up to rounding, and not to a point beside it."""
        return _is_at(self.region, self.reference)

    @property
    def claim(self) -> str:
        """The claim in one sentence."""
        return sentence(
            self.region,
            self.reference,
            self.law,
            self.uncertain,
            self.disturbance,
            self.dt == 0,
            self.state,
            self.task_domain,
        )

    def contains(self, x: np.ndarray) -> np.ndarray:
        """Whether each of the states (..., n) surely lies in S; (...,) of bool."""
        return self.region.surely_holds(Interval.of(x))

    def __str__(self) -> str:
        f = "f(x, w)" if self.disturbance else "f(x)"
        if self.dt == 0:
            condition = f"V'(x) {f} < {f'-{self.kappa:g} V(x)' if self.kappa else '0'}"
            condition += f" where V(x) >= {self.inner:.6g}" if self.inner else ""
        else:
            least = f"(1 - {self.kappa:g}) V(x)" if self.kappa else "V(x)"
            condition = f"V({f}) < {f'max({least}, {self.inner:.6g})' if self.inner else least}"
        if isinstance(self.V, QuadraticLyapunov):
            what = f"V(x) = (x - c)'P(x - c), P = [{'; '.join(map(_numbers, self.V.P))}]"
        elif isinstance(self.V, NeuralLyapunov):
            units = " x ".join(str(len(b)) for b in self.V.biases)
            what = f"V(x) = |A (h(x) - h(c))|^2 + (x - c)'P(x - c), h a tanh network of {units} units"
        else:
            what = "V a CasADi expression"
        lines = [
            f"{self.kind.upper()}: {self.claim}",
            f"  task        {self.task} ({self.dynamics}); x = ({', '.join(map(str, self.state))})",
            f"  condition   {condition}, {what}",
            f"  region      level {self.level!r}{f', inner {self.inner!r}' if self.inner else ''}"
            f"{'' if isnan(self.volume) else f', volume {self.volume:.6g}'}",
            f"  equilibrium {self.origin}",
            f"  arithmetic  {self.rounding}",
            f"  effort      {f'{self.boxes:,} boxes' if self.boxes else 'no box was examined'}, {self.seconds:.3f} s "
            f"({self.cpu:.3f} s of processor time)",
        ]
        if self.counterexample is not None:
            lines.append(f"  broken at   [{_numbers(self.counterexample)}]")
        if self.reason:
            lines.append(f"  because     {self.reason}")
        if self.advice:
            lines.append(f"  try         {self.advice}")
        return "\n".join(lines)


def _name(law: Law) -> str:
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in type(law).__name__)
    return f"the {words.strip().lower()} law"


def _numbers(array: np.ndarray) -> str:
    return ", ".join(f"{a:.6g}" for a in array)
