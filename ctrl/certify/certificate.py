"""Certificates: what is claimed, how it was shown, and all that is needed to show it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import final

import numpy as np

from ctrl.certify.lyapunov import Lyapunov, QuadraticLyapunov
from ctrl.certify.region import Region
from ctrl.certify.tree import Proof
from systems import Signals
from systems.lowering.interval import Interval

__all__ = ["Certificate", "Kind"]


class Kind(StrEnum):
    """How a claim stands."""

    PROVED = "proved"  # by outward-rounded arithmetic
    SAMPLED = "sampled"  # no counterexample among many points; nothing more
    REFUSED = "refused"  # a point is proved to break it, or it makes no sense
    UNDECIDED = "undecided"  # budget spent, or the arithmetic is too coarse


def sentence(V: Lyapunov, level: float, is_cut: bool, law: str, uncertain: Mapping[str, tuple[float, float]]) -> str:
    """What is claimed of {V <= level}, cut to the task's domain or not, under a law."""
    known = "".join(f", for every {name} in [{low!r}, {high!r}]" for name, (low, high) in uncertain.items())
    cut = " within the domain of the task" if is_cut else ""
    return (
        f"every start with V <= {level:.6g}{cut} stays there and converges to the reference "
        f"[{_numbers(V.middle)}] under {law}, without disturbance{known}"
    )


@final
@dataclass(frozen=True, eq=False)
class Certificate:
    """A claim about a region of attraction of an undisturbed closed loop, x+ = f(x) or x' = f(x).

    The claim: from every start in S = {V <= level} (cut to ``domain`` where that is given) the states stay in S and
    converge to the equilibrium at the centre of V, because V(f(x)) < (1 - kappa) V(x), or V'(x) f(x) < -kappa V(x), on
    S but that point, and no motion leaves S through the border of the domain.

    Args:
        kind: how the claim stands. task, law: what it speaks of.
        V: the Lyapunov function. level: of the sublevel set. kappa: least relative decrease per sample, 0 for any.
        state: names and units of x.
        domain: lower and upper (n,) of the box that S is cut to, None where {V <= level} lies in the task's domain.
        dynamics: integrator and sample time, such as "euler, 0.05 s", or "continuous time". dt: seconds per sample, 0
        in
            continuous time.
        uncertain: intervals of the plant's parameters for all values in which the claim holds.
        boxes: examined. seconds: wall time spent. cpu: processor time spent, in seconds.
        volume: of S, NaN where nothing is proved: to rounding error for a whole ellipsoid, else a lower bound.
        origin: how the neighbourhood of the reference was treated. rounding: what the arithmetic covers.
        core: half-widths (n,) of the hull of the parallelepiped around the reference that was settled at once.
        counterexample: a point (n,) of S that breaks the claim, proved to do so where the kind is refused.
        reason: why it is refused or undecided.
        proof: how the region was cut, enough to show the claim again without searching; None where it is not proved.
    """

    kind: Kind
    task: str
    law: str
    V: Lyapunov
    level: float
    kappa: float
    state: Signals
    domain: tuple[np.ndarray, np.ndarray] | None
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
    proof: Proof | None = None

    @property
    def is_proved(self) -> bool:
        return self.kind is Kind.PROVED

    @property
    def region(self) -> Region:
        """The set S."""
        n = len(self.state)
        lower, upper = self.domain or (np.full(n, -np.inf), np.full(n, np.inf))
        return Region(self.V, self.level, lower, upper)

    @property
    def claim(self) -> str:
        """The claim in one sentence."""
        return sentence(self.V, self.level, self.domain is not None, self.law, self.uncertain)

    def contains(self, x: np.ndarray) -> np.ndarray:
        """Whether each of the states (..., n) surely lies in S; (...,) of bool."""
        return self.region.surely_holds(Interval.of(x))

    def __str__(self) -> str:
        if self.dt == 0:
            condition = f"V'(x) f(x) < {f'-{self.kappa:g} V(x)' if self.kappa else '0'}"
        else:
            condition = f"V(f(x)) < {f'(1 - {self.kappa:g}) V(x)' if self.kappa else 'V(x)'}"
        if isinstance(self.V, QuadraticLyapunov):
            what = f"V(x) = (x - c)'P(x - c), P = [{'; '.join(map(_numbers, self.V.P))}]"
        else:
            what = "V a CasADi expression"
        lines = [
            f"{self.kind.upper()}: {self.claim}",
            f"  task        {self.task} ({self.dynamics}); x = ({', '.join(map(str, self.state))})",
            f"  condition   {condition}, {what}",
            f"  region      level {self.level!r}, volume {self.volume:.6g}",
            f"  reference   {self.origin}",
            f"  arithmetic  {self.rounding}",
            f"  effort      {self.boxes:,} boxes, {self.seconds:.3f} s ({self.cpu:.3f} s of processor time)",
        ]
        if self.counterexample is not None:
            lines.append(f"  broken at   [{_numbers(self.counterexample)}]")
        if self.reason:
            lines.append(f"  because     {self.reason}")
        return "\n".join(lines)


def _numbers(array: np.ndarray) -> str:
    return ", ".join(f"{a:.6g}" for a in array)
