"""Reports of ``trivium verify`` on a proved set besides its claim: constraints, and disturbances that it tolerates."""

from __future__ import annotations

from ctrl.certify.candidates.disturbed import disturbances
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.result import Kind
from ctrl.certify.constraints import constraint_statuses
from ctrl.certify.disturbance_bounds import largest_disturbance
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.within import at_level, within_constraints
from ctrl.controller import NotApplicable
from systems import Hard, Task, UnknownName

__all__ = ["constraint_lines", "disturbance_lines", "lowered", "unit_disturbance"]

_LIMITS = SearchLimits(200_000, 10.0)  # to look at constraints that nobody asked about


def constraint_lines(certificate: Certificate, may_lower: bool = False) -> str:
    """Whether a proved set lies in the domain and satisfies every constraint of the task; empty if there are none.

    Args:
        certificate: of any status.
        may_lower: whether a lower level can still be asked for, so that the option is named where one is needed.
    """
    task = certificate.claimed.loop.task
    if not certificate.is_proved:
        named = ", ".join(f"'{constraint.name}'" for constraint in task.constraints)
        return f"not in the claim: constraints ({named})" if named else ""
    statuses = constraint_statuses(certificate, task, _LIMITS)
    lines = [f"  {'constraints ' if k == 0 else ' ' * 12}{status}" for k, status in enumerate(statuses)]
    hard = [s for s in statuses if s.constraint is None or isinstance(s.constraint.requirement, Hard)]
    if may_lower and any(status.kind is not Kind.PROVED for status in hard):
        lines.append(f"{' ' * 14}--within-constraints proves the part of the set within the domain and the hard ones")
    return "\n".join(lines)


def lowered(certificate: Certificate, lines: str, seconds: float) -> tuple[Certificate | None, str]:
    """The part of a proved set within the domain and the hard constraints of the task.

    Args:
        certificate: of a proved claim.
        lines: what is said of it.
        seconds: of the search.

    Returns:
        Its certificate, None where no level is proved to keep them; and the lines, with one that says from which level
        it comes, or why there is none.
    """
    try:
        within = within_constraints(certificate, certificate.claimed.loop.task, SearchLimits(seconds=seconds))
    except NotApplicable as error:
        return None, f"{lines}\nwithin:  NOT SHOWN: {error}"
    share = within.level / certificate.level
    return within, f"{lines}\nwithin:  the constraints hold up to {share:.1%} of the level {certificate.level:.6g}"


def unit_disturbance(task: Task, signal: str) -> dict[str, tuple[float, float]]:
    """The intervals that are scaled to find the largest disturbance that a set tolerates.

    Args:
        task: whose disturbances are meant.
        signal: one of them, in its unit, or "all" for the support of the task's distribution.

    Raises:
        UnknownName: no such disturbance.
        NotApplicable: all are asked for, and the task's distribution is unbounded or zero.
    """
    known = task.plant.disturbance.names
    if signal == "all":
        return disturbances(task)
    if signal not in known:
        raise UnknownName(f"no disturbance '{signal}'; known: {', '.join(known) or 'none'}, or 'all'")
    return {signal: (-1.0, 1.0)}


def disturbance_lines(certificate: Certificate, unit: dict[str, tuple[float, float]], seconds: float) -> str:
    """The largest disturbances under which no trajectory provably leaves a proved set, and one of half its level.

    Args:
        certificate: of a proved claim.
        unit: intervals that are scaled, by signal.
        seconds: of the search, for each set.
    """
    sets = [certificate]
    if 0.5 * certificate.level > certificate.inner:
        sets.append(at_level(certificate, 0.5 * certificate.level))
    return "\n".join(f"survives {largest_disturbance(s, unit, SearchLimits(seconds=seconds))}" for s in sets)
