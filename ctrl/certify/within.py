"""The largest part of a certified set that lies within the domain and the hard constraints of a task."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from ctrl.certify.claims.certificate import Certificate, expect_proved
from ctrl.certify.claims.result import Kind
from ctrl.certify.constraints import keeps_constraints
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.search.prove import expect_limits
from ctrl.controller import NotApplicable
from systems import InvalidValue, Task
from systems.arguments import expect_number

__all__ = ["at_level", "within_constraints"]

_LOWEST = 2.0**-20  # of the level: lower ones are not tried
_PART = 0.25  # of the remaining limits, for one level: close to a constraint, no number of boxes is enough


def within_constraints(
    certificate: Certificate, task: Task, limits: SearchLimits | None = None, resolution: float = 5e-3
) -> Certificate:
    """The certificate at the highest level, up to its own, at which the set lies within the domain and the hard
    constraints of a task, by bisection over levels; :func:`ctrl.certify.keeps_constraints` proves it of each.

    Args:
        certificate: of a proved claim.
        task: with domain and hard constraints; its states and inputs must be those of the certificate.
        limits: of all attempts together; default: 2,000,000 boxes and 60 seconds.
        resolution: relative accuracy of the level; default: 0.5 %.

    Returns:
        The certificate itself if its set lies within them.

    Raises:
        InvalidValue: a claim that is not proved, or a task with other signals.
        NotApplicable: no level is proved to satisfy them, for instance because the equilibrium violates one.
    """
    limits, began = expect_limits(limits), perf_counter()
    resolution = expect_number(resolution, "resolution", above=0.0, below=1.0, hint="a share of the level")
    expect_proved(certificate)
    boxes, reason = limits.boxes, ""
    best: Certificate | None = None
    low, high, level = 0.0, certificate.level, certificate.level
    while level > certificate.inner and level > _LOWEST * certificate.level:
        left = limits.seconds - (perf_counter() - began)
        attempt = certificate if level == certificate.level else at_level(certificate, level)
        result = keeps_constraints(attempt, task, SearchLimits(max(int(_PART * boxes), 1), max(_PART * left, 0.0)))
        boxes -= result.boxes
        if result.is_proved:
            low, best = level, attempt
        else:
            high, reason = level, result.constraint
            if result.kind is Kind.REFUSED and result.counterexample is not None:
                high = min(high, float(certificate.V(result.counterexample)))
        if high - low <= resolution * high or boxes <= 0 or left <= 0:
            break
        level = 0.5 * (low + high)
    if best is None and certificate.inner >= certificate.level:
        raise NotApplicable(
            f"the inner level of the certificate equals its level {certificate.level:.6g}, so no lower level can be "
            "tried; certify a smaller inner level"
        )
    if best is None:
        raise NotApplicable(
            f"no set {{V <= c}} with c up to {certificate.level:.6g} was proved to lie in the domain and satisfy the "
            f"hard constraints of task '{task.name}', because of {reason}"
        )
    return best


def at_level(certificate: Certificate, level: float) -> Certificate:
    """The certificate of a lower level, down to its inner one.

    V decreases along every trajectory from the proved set, so none leaves a level set inside it. The same proof covers
    the lower level, because the decrease that was proved does not depend on the level.

    Args:
        certificate: of a proved claim.
        level: between its inner level and its own.

    Raises:
        InvalidValue: a claim that is not proved, or another level.
    """
    if not certificate.is_proved or not max(certificate.inner, 0.0) < level <= certificate.level:
        raise InvalidValue(
            f"level = {level} of a {certificate.kind} certificate; expected a proved one and {certificate.inner} < "
            f"level <= {certificate.level}"
        )
    region = replace(certificate.claimed.region, level=level)
    claim = replace(certificate.claimed, region=region)
    return Certificate(claim, replace(certificate.result, volume=region.volume()))
