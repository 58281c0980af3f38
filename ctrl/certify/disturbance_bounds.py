"""The largest bounded disturbance under which no trajectory leaves a proved set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import final

from ctrl.certify.candidates.disturbed import disturbances
from ctrl.certify.claims.certificate import Certificate, Intervals, expect_proved
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.result import Kind
from ctrl.certify.claims.sentences import rounded_down
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.search.prove import expect_limits, prove
from systems import InvalidValue
from systems.arguments import expect_number

__all__ = ["LargestDisturbance", "largest_disturbance"]

_LEAST, _MOST = 2.0**-20, 2.0**20  # scales that are tried
_PART = 0.2  # of the remaining seconds, for one attempt


@final
@dataclass(frozen=True, eq=False)
class LargestDisturbance:
    """The largest disturbance under which no trajectory that starts in a set is proved to leave it.

    Args:
        unit: intervals of disturbances at scale 1, by signal.
        scale: the largest multiple of them that is proved; 0 if there is none.
        certificate: of that claim, whose inner level is the level of the set; None if none is proved.
        failed: the smallest multiple that was tried and not proved; infinite if all were proved.
        is_refused: whether a counterexample is proved at that multiple, so that no larger one can be tolerated.
    """

    unit: Intervals
    scale: float
    certificate: Certificate | None
    failed: float
    is_refused: bool

    def __str__(self) -> str:
        if self.certificate is None:
            names = ", ".join(self.unit)
            return f"not proved for any multiple of the given disturbance of {names}, down to {_LEAST:.0e} of it"
        drawn = " and ".join(
            f"any {name} in [{float(low)!r}, {float(high)!r}]"
            for name, (low, high) in self.certificate.disturbance.items()
        )
        when = "at any time" if self.certificate.dt == 0 else "in any sample"
        why = "a counterexample is proved there" if self.is_refused else "undecided there"
        beyond = "" if self.failed > _MOST else f"; not at {self.failed:.6g} times ({why})"
        cut = " within its box" if self.certificate.domain else ""
        return (
            f"proved: no trajectory leaves {{V <= {self.certificate.level!r}}}{cut} with {drawn} {when}, "
            f"{rounded_down(self.scale)} times the given intervals{beyond}"
        )


def largest_disturbance(
    certificate: Certificate,
    unit: Mapping[str, tuple[float, float]] | None = None,
    budget: SearchLimits | None = None,
    resolution: float = 0.02,
) -> LargestDisturbance:
    """The largest multiple of a disturbance under which no trajectory leaves a proved set, by bisection. Each multiple
    is a claim of its own: V(f(x, w)) < level for all x of the set and all w (in continuous time: V decreases on its
    border).

    The largest region of attraction tolerates hardly any disturbance, since V barely decreases at its level; a lower
    level tolerates more, see :func:`ctrl.certify.at_level`.

    Args:
        certificate: of a proved claim.
        unit: intervals of signals of w, by name, which are scaled; they are extended to contain 0. Default: the support
            of the task's distribution.
        budget: limits of all attempts together; default: 2,000,000 boxes for each and 60 seconds for all.
        resolution: relative accuracy of the multiple; default: 2 %.

    Raises:
        InvalidValue: a claim that is not proved, or intervals that are zero.
        NotApplicable: no intervals are given, and the task's distribution is unbounded or zero.
        UnknownName: no such signal.
    """
    limits, began = expect_limits(budget), perf_counter()
    resolution = expect_number(resolution, "resolution", above=0.0, below=1.0, hint="a share of the multiple")
    expect_proved(certificate)
    claimed = certificate.claimed
    given = disturbances(claimed.loop.task) if unit is None else dict(unit)
    _ = replace(claimed.loop, disturbance=given)  # refuses unknown signals and malformed intervals
    given = {name: (min(float(low), 0.0), max(float(high), 0.0)) for name, (low, high) in given.items()}
    if not any(high > low for low, high in given.values()):
        raise InvalidValue(f"disturbance = {given}; expected an interval other than (0, 0), such as (-1.0, 1.0)")
    best: Certificate | None = None
    proved, failed, scale, is_refused = 0.0, float("inf"), 1.0, False
    while _LEAST <= scale <= _MOST and failed - proved > resolution * proved:
        left = limits.seconds - (perf_counter() - began)
        if left <= 0:
            break
        attempt = prove(_survives(claimed, given, scale), SearchLimits(limits.boxes, _PART * left, limits.device))
        if attempt.is_proved:
            proved, best = scale, attempt
        else:
            failed, is_refused = scale, attempt.kind is Kind.REFUSED
        scale = 4.0 * scale if failed == float("inf") else 0.25 * scale if not proved else 0.5 * (proved + failed)
    return LargestDisturbance(given, proved, best, failed, is_refused)


def _survives(claimed: Claim, unit: Intervals, scale: float) -> Claim:
    """The claim that no trajectory leaves the set under a multiple of the disturbances."""
    drawn = {name: (scale * low, scale * high) for name, (low, high) in unit.items()}
    region = replace(claimed.region, inner=claimed.region.level)
    return replace(claimed, loop=replace(claimed.loop, disturbance=drawn), region=region, kappa=0.0)
