"""Claims about regions of attraction of closed loops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np

from ctrl.certify.candidates.disturbed import reachable
from ctrl.certify.candidates.linearised import cost_to_go, riccati
from ctrl.certify.candidates.sampling import sampled_limit
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.functions.lyapunov import Lyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from systems import InvalidValue
from systems.arguments import expect_array, expect_choice, expect_number
from systems.errors import shown

__all__ = ["LEAST_LEVEL", "Claim", "Equilibrium", "candidate", "expected_box", "expected_rate"]

Equilibrium = Literal["reference", "own"]
"""The point to which trajectories are claimed to converge: the task's reference, or the loop's own equilibrium."""

LEAST_LEVEL = 1e-12  # what is tried where sampling finds a violation next to the reference

_ROUNDING = (
    "doubles rounded outward; holds for real arithmetic on the equations of the plant as it is simulated, their "
    "numbers, gains, bounds and dt the doubles given; not for the rounding of a running controller"
)

_EXPONENTIAL = "; and for the exact solution between samples, its matrix exponential enclosed"


@final
@dataclass(frozen=True, eq=False)
class Claim:
    """A set S = {V <= level}, cut to a box, is a region of attraction of a closed loop x+ = f(x) or x' = f(x).

    From every start in S the states stay in S and converge to the equilibrium at the centre of V, because V(f(x)) <
    (1 - kappa) V(x), or V'(x) f(x) < -kappa V(x), on S except at that point, and no trajectory leaves S through the
    border of the box.

    With an inner level: the states stay in S, come to {V <= inner} in finite time and stay there (ultimate boundedness;
    Khalil 2002, "Nonlinear Systems", section 4.8), whatever the disturbances in W are, because V(f(x, w)) < max((1 -
    kappa) V(x), inner) for all x in S and w in W, or V'(x) f(x, w) < -kappa V(x) wherever V(x) >= inner.

    The loop is lowered when it is first evaluated, and once for all claims that share it.

    Args:
        loop: the closed loop, with its uncertain parameters and disturbances.
        region: S, and the inner level.
        kappa: least relative decrease of V per sample (in continuous time: per second); default: 0, any decrease.
        equilibrium: what trajectories are claimed to converge to; default: the reference of the task.
    """

    loop: ClosedLoop
    region: SublevelSet
    kappa: float = 0.0
    equilibrium: Equilibrium = "reference"

    @staticmethod
    def about(
        loop: ClosedLoop,
        V: Lyapunov | None = None,
        level: float | None = None,
        *,
        kappa: float = 0.0,
        box: tuple[np.ndarray, np.ndarray] | None = None,
        inner: float | None = None,
        equilibrium: Equilibrium = "reference",
    ) -> Claim:
        """The claim with all defaults filled in, as :func:`ctrl.certify.certify` describes.

        Raises:
            InvalidValue: a level that is not positive, kappa out of range, an inner level beyond the level, a box that
                does not fit, or an unbounded set.
        """
        V = candidate(loop, V, equilibrium)
        kappa, (lower, upper) = expected_rate(loop, kappa), expected_box(loop, box)
        if inner is None:
            inner = reachable(loop, V, kappa, level, (lower, upper)) if loop.is_disturbed else 0.0
        inner = expect_number(inner, "inner", least=0.0)
        if level is None:
            level = max(0.99 * sampled_limit(loop, V, kappa, box=(lower, upper), inner=inner).level, LEAST_LEVEL, inner)
        level = expect_number(level, "level", above=0.0)
        if inner > level or (loop.is_disturbed and inner == 0):
            raise InvalidValue(
                f"inner = {inner}; expected at most level = {level}, and above 0 if there are disturbances"
            )
        claim = Claim(loop, SublevelSet(V, level, lower, upper, inner), kappa, equilibrium)
        claim._expect_bounded()
        return claim

    def _expect_bounded(self) -> None:
        region, task = self.region, self.loop.task
        low, high = region.hull
        if not np.isfinite([low, high]).all():
            raise InvalidValue(
                f"task '{task.name}' has no bounded domain, and sublevel sets of this V may be unbounded; give box, "
                "the bounds of the set"
            )
        box = f"the box from {region.lower} to {region.upper}"
        if not (low <= high).all():
            raise InvalidValue(
                f"{box} contains no state with V <= {region.level:.6g}; V is centred at {region.V.middle}: give a box "
                "or a domain that contains the centre, or a higher level"
            )
        if bounds := self.loop.beyond_half_a_period(low, high):
            raise InvalidValue(
                f"{box.removeprefix('the ')}: a periodic signal or a quaternion leaves {bounds}, outside of which a "
                "controller may use an equivalent value closer to the reference, but the law does not; give a smaller "
                "box, or omit it"
            )

    def centred(self, V: Lyapunov) -> Claim:
        """The same claim with V centred at another point."""
        return replace(self, region=replace(self.region, V=V))

    @property
    def law(self) -> str:
        """A description of the control law."""
        words = "".join(f" {letter}" if letter.isupper() else letter for letter in type(self.loop.law).__name__)
        return f"the {words.strip().lower()} law"

    @property
    def domain(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Lower and upper (n,) of the box with which S is intersected; None if it contains the level set."""
        return None if self.region.is_whole else (self.region.lower, self.region.upper)

    @property
    def dynamics(self) -> str:
        """Integrator and sample time, such as "euler, 0.05 s", or "continuous time"."""
        return "continuous time" if self.loop.continuous else str(self.loop.task.true_dynamics)

    @property
    def dt(self) -> float:
        """Seconds per sample, 0 in continuous time."""
        return 0.0 if self.loop.continuous else self.loop.task.dt

    @property
    def rounding(self) -> str:
        """The arithmetic that the claim covers."""
        return _ROUNDING + (_EXPONENTIAL if self.loop.is_sampled_exactly else "")

    @property
    def stated(self) -> dict[str, Any]:
        """Everything that is claimed, by name; it is stored in files and computed again when they are verified."""
        return {
            "task": self.loop.task.name,
            "law": self.law,
            "V": self.region.V,
            "reference": self.loop.reference,
            "level": float(self.region.level),
            "kappa": float(self.kappa),
            "state": self.loop.task.plant.state,
            "domain": self.domain,
            "task_domain": self.loop.task.domain_bounds,
            "dynamics": self.dynamics,
            "dt": self.dt,
            "uncertain": self.loop.uncertain,
            "disturbance": self.loop.disturbance,
            "inner": float(self.region.inner),
            "rounding": self.rounding,
        }


def expected_rate(loop: ClosedLoop, kappa: float) -> float:
    """A relative decrease of V per sample, in continuous time per second.

    Raises:
        InvalidValue: it is negative, or 1 or more per sample.
    """
    return expect_number(kappa, "kappa", least=0.0, below=None if loop.continuous else 1.0)


def expected_box(loop: ClosedLoop, box: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper (n,) of a box; default: the domain of the task.

    Raises:
        InvalidValue: it is not two arrays of this size, or lower is not below upper.
    """
    if box is None:
        return loop.domain
    shape = loop.reference.shape
    if not isinstance(box, (tuple, list, np.ndarray)) or len(box) != 2:
        raise InvalidValue(f"box = {shown(box)}; expected two arrays {shape}, lower and upper")
    lower, upper = (expect_array(bound, "a bound of the box", infinite=True) for bound in box)
    if lower.shape != shape or upper.shape != shape or not (lower < upper).all():
        raise InvalidValue(f"box from {lower} to {upper}; expected two arrays {shape}, lower < upper")
    return lower, upper


def candidate(loop: ClosedLoop, V: Lyapunov | None, equilibrium: Equilibrium) -> Lyapunov:
    """V; default: the Riccati solution of the task or, at an equilibrium of its own, the cost-to-go of the loop."""
    expect_choice(equilibrium, "equilibrium", ("reference", "own"))
    if V is None:
        return cost_to_go(loop) if equilibrium == "own" else riccati(loop.task)
    if not isinstance(V, Lyapunov):
        raise InvalidValue(
            f"V is of type {type(V).__name__}; expected a Lyapunov function: QuadraticLyapunov(P, centre) for (x - c)'P"
            "(x - c), SymbolicLyapunov(function, centre) for a smooth casadi.Function of one column"
        )
    if V.centre.shape != loop.reference.shape:
        raise InvalidValue(
            f"V is a function of {len(V.middle)} states; plant {loop.task.plant.name} has {len(loop.reference)}: "
            f"{', '.join(loop.task.plant.state.names)}"
        )
    return V
