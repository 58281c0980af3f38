"""Terminal sets of predictive filters: proved sets, or sampled sublevel sets of a regulator."""

from __future__ import annotations

from typing import final

import casadi as ca
import numpy as np

from ctrl.certify.candidates.linearised import riccati
from ctrl.certify.candidates.sampling import sampled_limit
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.result import Kind, SearchResult
from ctrl.certify.constraints import keeps_constraints
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.search.limits import SearchLimits
from ctrl.controller import NotApplicable
from ctrl.filters.barriers import sublevel_barrier
from ctrl.regulator import LQR
from systems import Task

__all__ = ["TerminalSet", "regulator_set"]

_SHARE = 0.9  # of the level that samples allow
_TRIALS = 12  # levels tried, each 0.7 times the last, until the set satisfies the constraints


@final
class TerminalSet:
    """{V <= level}, the law under which it is invariant, and the law's gain at its centre.

    Args:
        certificate: of the set and the law, proved or sampled, with a quadratic V.

    Attributes:
        law: its law. K: (m, n), with law(x) close to u_c - K (x - c). middle: c. is_proved: whether the certificate is.

    Raises:
        NotApplicable: a certificate in continuous time, or of another kind of V.
    """

    def __init__(self, certificate: Certificate) -> None:
        loop = certificate.claimed.loop
        if loop.continuous:
            raise NotApplicable("the certificate is for a law that is evaluated continuously; certify it sampled")
        self.certificate, self.law, self.middle = certificate, loop.law, certificate.V.middle
        self.is_proved = certificate.is_proved
        self._barrier = sublevel_barrier(certificate)
        x = ca.SX.sym("x", len(self.middle))
        slope = ca.Function("slope", [x], [ca.jacobian(loop.law.casadi(x), x)])
        self.K = -np.asarray(slope(self.middle).full())

    def tightened(self, error: np.ndarray) -> ca.Function:
        """``x -> g``, g <= 0 if x + e lies in the set for all |e| <= error (n,), by the triangle inequality.

        Raises:
            NotApplicable: the error does not fit into the set.
        """
        V, level = self.certificate.V, self.certificate.level
        plant = self.certificate.claimed.loop.task.plant
        x = plant.state.symbol()
        g = self._barrier.function(plant)(x, 0)
        if error.any():
            assert isinstance(V, QuadraticLyapunov)
            radius = np.sqrt(level) - np.sqrt(error @ np.abs(V.P) @ error)
            if radius <= 0:
                raise NotApplicable(
                    f"predictions deviate by up to {error.tolist()}, for which the terminal set is too small; shorten "
                    "the horizon, or certify a larger set"
                )
            g = g + level - radius**2
        return ca.Function("terminal", [x], [g / level])


def regulator_set(task: Task) -> TerminalSet:
    """The largest sampled sublevel set of the regulator's cost-to-go that satisfies the hard constraints, not proved.

    Args:
        task: with a regulator.

    Raises:
        NotApplicable: there is no such set; a certificate of another law may still exist.
    """
    regulator = LQR(task)
    loop = ClosedLoop(task, regulator.law)
    V = riccati(task)
    level, zero = _SHARE * sampled_limit(loop, V).level, np.zeros(len(V.middle))
    for _ in range(_TRIALS):
        claim = Claim.about(loop, V, level)
        sampled = Certificate(claim, SearchResult(Kind.SAMPLED, zero))
        limits = SearchLimits(boxes=100_000, seconds=2.0)
        if claim.domain is None and keeps_constraints(sampled, task, limits).is_proved:
            return TerminalSet(sampled)
        level *= 0.7
    raise NotApplicable(
        f"task '{task.name}': no sublevel set of the regulator's cost-to-go satisfies the hard constraints, "
        "perhaps because the reference violates them; pass a certificate around a point farther inside"
    )
