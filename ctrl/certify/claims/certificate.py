"""Certificates: a claim, its status, and everything that is needed to verify it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan, log1p
from typing import final

import numpy as np

from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.result import Kind, SearchResult
from ctrl.certify.claims.sentences import is_at_reference, numbers, rounded_up, sentence
from ctrl.certify.claims.subdivision import Subdivision
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov
from ctrl.certify.functions.neural import NeuralLyapunov
from ctrl.certify.loops.equilibrium import distance
from systems import InvalidValue, Signals
from systems.arithmetic.interval import Interval
from systems.errors import expect
from systems.true_plant import difference

__all__ = ["Certificate", "expect_proved"]

Intervals = Mapping[str, tuple[float, float]]
Box = tuple[np.ndarray, np.ndarray]


@final
@dataclass(frozen=True, eq=False)
class Certificate:
    """A claim about a region of attraction and its status.

    Args:
        claimed: the claim; see :class:`Claim` for its meaning.
        result: its status, and the basis for it.
    """

    claimed: Claim
    result: SearchResult

    @property
    def is_proved(self) -> bool:
        return self.kind is Kind.PROVED

    @property
    def kind(self) -> Kind:
        """The status of the claim."""
        return self.result.kind

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.claimed.loop.task.name

    @property
    def law(self) -> str:
        """A description of the control law."""
        return self.claimed.law

    @property
    def V(self) -> Lyapunov:
        """The Lyapunov function."""
        return self.claimed.region.V

    @property
    def reference(self) -> np.ndarray:
        """Reference (n,) of the task."""
        return self.claimed.loop.reference

    @property
    def level(self) -> float:
        """Level of the set."""
        return float(self.claimed.region.level)

    @property
    def inner(self) -> float:
        """Level of the set that trajectories reach; 0 if they converge."""
        return float(self.claimed.region.inner)

    @property
    def kappa(self) -> float:
        """Least relative decrease per sample, 0 for any."""
        return float(self.claimed.kappa)

    @property
    def time_constant(self) -> float:
        """Seconds T with V(x(t)) <= exp(-t / T) V(x(0)) at every sample, in continuous time at all times, as long as V
        is above ``inner``; rounded upward, infinite if kappa is 0.

        If V is quadratic, its square root is a distance, whose time constant is twice as long.
        """
        if self.kappa == 0:
            return inf
        seconds = 1.0 / self.kappa if self.dt == 0 else -self.dt / log1p(-self.kappa)
        return seconds * (1.0 + 1e-12)

    @property
    def state(self) -> Signals:
        """Names and units of x."""
        return self.claimed.loop.task.plant.state

    @property
    def domain(self) -> Box | None:
        """Lower and upper (n,) of the box with which S is intersected; None if it contains the level set."""
        return self.claimed.domain

    @property
    def task_domain(self) -> Box:
        """Lower and upper (n,) of the task's domain; infinite where there is none."""
        return self.claimed.loop.task.domain_bounds

    @property
    def dynamics(self) -> str:
        """Integrator and sample time, or "continuous time"."""
        return self.claimed.dynamics

    @property
    def dt(self) -> float:
        """Seconds per sample, 0 in continuous time."""
        return self.claimed.dt

    @property
    def uncertain(self) -> Intervals:
        """Intervals of the plant's parameters for all values in which the claim holds."""
        return self.claimed.loop.uncertain

    @property
    def disturbance(self) -> Intervals:
        """Intervals in which signals of w may change at any time; the others are zero."""
        return self.claimed.loop.disturbance

    @property
    def rounding(self) -> str:
        """The arithmetic that the claim covers."""
        return self.claimed.rounding

    @property
    def boxes(self) -> int:
        """Boxes examined."""
        return self.result.boxes

    @property
    def seconds(self) -> float:
        """Wall time spent."""
        return self.result.seconds

    @property
    def cpu(self) -> float:
        """Processor time spent, in seconds."""
        return self.result.cpu

    @property
    def volume(self) -> float:
        """Volume of S: up to rounding for a whole ellipsoid, otherwise a lower bound; NaN if nothing is proved."""
        return self.result.volume

    @property
    def origin(self) -> str:
        """Treatment of the neighbourhood of the equilibrium."""
        return self.result.origin

    @property
    def core(self) -> np.ndarray:
        """Half-widths (n,) of the hull of the parallelepiped that one Jacobian settled."""
        return self.result.core

    @property
    def counterexample(self) -> np.ndarray | None:
        """A point (n,) of S that violates the claim."""
        return self.result.counterexample

    @property
    def reason(self) -> str:
        """The reason why it is refused or undecided."""
        return self.result.reason

    @property
    def advice(self) -> str:
        """What to try if it is undecided."""
        return self.result.advice

    @property
    def proof(self) -> Subdivision | None:
        """The subdivision of the region; None if the claim is not proved."""
        return self.result.proof

    @property
    def region(self) -> SublevelSet:
        """The set S; its box is infinite if it contains the level set."""
        n = len(self.state)
        lower, upper = self.domain or (np.full(n, -np.inf), np.full(n, np.inf))
        return SublevelSet(self.V, self.level, lower, upper, self.inner)

    @property
    def offset(self) -> np.ndarray:
        """Upper bounds (n,) on the distance between the point to which trajectories converge and the reference."""
        return distance(self.V.centre, self.reference)

    @property
    def is_at_reference(self) -> bool:
        """Whether trajectories converge to the reference, up to rounding, and not to a nearby point."""
        return is_at_reference(self.region, self.reference)

    @property
    def claim(self) -> str:
        """The claim in one sentence."""
        return sentence(self.claimed)

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
            what = f"V(x) = (x - c)'P(x - c), P = [{'; '.join(map(numbers, self.V.P))}]"
        elif isinstance(self.V, NeuralLyapunov):
            units = " x ".join(str(len(b)) for b in self.V.biases)
            what = f"V(x) = |A (h(x) - h(c))|^2 + (x - c)'P(x - c), h a tanh network of {units} units"
        else:
            what = "V a CasADi expression"
        T = rounded_up(self.time_constant) if self.kappa else ""
        until = f", until V <= {self.inner:.6g}" if self.inner else ""
        lines = [
            f"{self.kind.upper()}: {self.claim}",
            f"  task        {self.task} ({self.dynamics}); x = ({', '.join(map(str, self.state))})",
            f"  plant       {difference(self.claimed.loop.task)}",
            f"  condition   {condition}, {what}",
            f"  region      level {self.level!r}{f', inner {self.inner!r}' if self.inner else ''}"
            f"{'' if isnan(self.volume) else f', volume {self.volume:.6g}'}",
            *([f"  rate        V(x(t)) <= exp(-t / T) V(x(0)), T = {T} s{until}"] if self.kappa else []),
            f"  equilibrium {self.origin}",
            f"  arithmetic  {self.rounding}",
            f"  effort      {f'{self.boxes:,} boxes' if self.boxes else 'no box was examined'}, {self.seconds:.3f} s "
            f"({self.cpu:.3f} s of processor time)",
        ]
        if self.counterexample is not None:
            lines.append(f"  broken at   [{numbers(self.counterexample)}]")
        if self.reason:
            lines.append(f"  because     {self.reason}")
        if self.advice:
            lines.append(f"  try         {self.advice}")
        return "\n".join(lines)


def expect_proved(certificate: Certificate) -> None:
    """Raises :class:`InvalidValue` unless given the certificate of a proved claim."""
    hint = "such as largest_level(task, LQR(task).law)"
    expect(certificate, Certificate, "the certificate", hint)
    if not certificate.is_proved:
        raise InvalidValue(f"the certificate is {certificate.kind}; expected a proved one, {hint}")
