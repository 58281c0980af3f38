"""Claims in words: one sentence that names the set, the claim and its assumptions."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context

import numpy as np

from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.loops.equilibrium import at_most, distance, is_same
from systems import Signals
from systems.arithmetic.interval import Interval
from systems.error_coordinates import ErrorCoordinates

__all__ = ["is_at_reference", "numbers", "rounded_down", "rounded_up", "sentence"]

Box = tuple[np.ndarray, np.ndarray]

_LITTLE = 1e-6  # of the level: V at a point a thousandth of the set's size away


def sentence(claim: Claim) -> str:
    """The claim in one sentence."""
    loop, region = claim.loop, claim.region
    V, reference = region.V, loop.reference
    known = "".join(
        f", for every {name} in [{float(low)!r}, {float(high)!r}]" for name, (low, high) in loop.uncertain.items()
    )
    goal = f"the reference [{numbers(reference)}]"
    if not is_at_reference(region, reference):
        away = f"within [{', '.join(map(at_most, distance(V.centre, reference)))}] of {goal}"
        goal = f"the loop's own equilibrium [{numbers(V.middle)}], {away},"
    inside = f"comes to V <= {rounded_up(region.inner)} in finite time, for all future time,"
    end = inside if region.inner > 0 else f"converges to {goal}"
    when = "at any time" if loop.continuous else "in any sample"
    drawn = ", ".join(
        f"any {name} in [{float(low)!r}, {float(high)!r}]" for name, (low, high) in loop.disturbance.items()
    )
    disturbed = f"with {drawn} {when} and no other disturbance" if drawn else "without disturbance"
    state, domain = loop.task.plant.state, loop.task.domain_bounds
    starts = f"every start with V <= {rounded_down(region.level)}{_given(region)}{_cut(region, state, domain)}"
    return f"{_coordinates(claim)}{starts} stays there and {end} under {claim.law}, {disturbed}{known}"


def _coordinates(claim: Claim) -> str:
    """A description of the states if they are not those of the plant as written; otherwise empty."""
    plant = claim.loop.task.true_dynamics.plant
    if not isinstance(plant, ErrorCoordinates):
        return ""
    stepped = "" if claim.loop.continuous else ", in which its samples are integrated"
    return f"in error coordinates, {plant.words}{stepped}: "


def is_at_reference(region: SublevelSet, reference: np.ndarray) -> bool:
    """Whether the centre of V is the reference up to rounding, which must be small compared with the set."""
    V = region.V
    return is_same(V.centre, reference) and bool(V.enclose(Interval.of(reference)).hi <= _LITTLE * region.level)


def _given(region: SublevelSet) -> str:
    """The correction of the given V if it is more than rounding; otherwise empty."""
    constant, slope = region.V.correction
    lower, upper = region.hull
    with np.errstate(invalid="ignore"):
        size = abs(constant) + np.nansum(np.abs(slope) * (upper - lower))
    if size <= 1e-9 * region.level:
        return ""
    slopes = ", ".join(map(repr, slope.tolist()))
    return f", where V(x) = W(x) + {constant!r} + [{slopes}]'(x - c) with W the function given and c its centre,"


def _cut(region: SublevelSet, state: Signals, domain: Box) -> str:
    """The faces of the box that cut {V <= level}, and the states in which the set reaches beyond the task's domain."""
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


def rounded_up(a: float) -> str:
    """A finite number in six digits, not below it."""
    return _rounded(a, ROUND_CEILING)


def rounded_down(a: float) -> str:
    """A finite number in six digits, not above it."""
    return _rounded(a, ROUND_FLOOR)


def _rounded(a: float, rounding: str) -> str:
    return f"{float(Context(prec=6, rounding=rounding).create_decimal(a)):.6g}"


def numbers(array: np.ndarray) -> str:
    """The entries with six digits."""
    return ", ".join(f"{a:.6g}" for a in array)
