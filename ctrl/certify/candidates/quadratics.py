"""The quadratic candidates that are tried for every loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from ctrl.certify.candidates.disturbed import reachable
from ctrl.certify.candidates.linearised import cost_to_go, lyapunov, riccati
from ctrl.certify.candidates.sampling import SampledLimit, sampled_limit
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import RestPoint
from ctrl.controller import NotApplicable
from systems import InvalidValue

__all__ = ["Candidate", "quadratics"]


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """A candidate V with its sampled limits.

    Args:
        inner: level of the set that is claimed to be reached; 0 if trajectories converge.
        limit: of its level.
    """

    name: str
    V: QuadraticLyapunov
    inner: float
    limit: SampledLimit

    @property
    def volume(self) -> float:
        """Volume of {V <= limit}, an upper bound for any proof."""
        return self.V.volume(self.limit.level)


def quadratics(loop: ClosedLoop, nominal: ClosedLoop, rest: RestPoint, kappa: float = 0.0) -> list[Candidate]:
    """Candidates around a rest point, starting with the one for which the largest set can be expected.

    They are the cost-to-go of the task's linear-quadratic regulator (at an own rest point, that of the linearised
    loop), and the solution of the linearised loop's Lyapunov equation.

    Args:
        loop: the loop of the claim.
        nominal: the same loop without disturbances.
        kappa: as :func:`certify`; default: 0, any decrease.

    Raises:
        NotApplicable: there is no candidate; the message gives the reason for each.
    """
    makers: dict[str, Callable[[], QuadraticLyapunov]] = {
        "the linearised loop's Lyapunov equation": lambda: lyapunov(loop.task, loop.law, loop.continuous, rest),
    }
    if rest.is_reference:
        makers |= {"the Riccati solution": lambda: riccati(loop.task)}
    else:
        makers |= {"the linearised loop's cost to go": lambda: cost_to_go(nominal, rest)}
    candidates, reasons = [], []
    for name, make in makers.items():
        try:
            V = make()
        except (NotApplicable, InvalidValue) as error:  # such as a cost that does not depend on a state
            reasons.append(str(error))
            continue
        inner = reachable(loop, V, kappa)
        candidates.append(Candidate(name, V, inner, sampled_limit(loop, V, kappa, inner=inner)))
    if not candidates:
        raise NotApplicable("; ".join(dict.fromkeys(reasons)))
    return sorted(candidates, key=lambda candidate: -candidate.volume)
