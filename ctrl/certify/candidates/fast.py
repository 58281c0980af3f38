"""The quadratic function of the largest ellipsoid of fast decrease, tried where the usual candidates prove little."""

from __future__ import annotations

from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import RestPoint
from ctrl.certify.semidefinite.ellipsoids import largest_ellipsoid
from ctrl.controller import NotApplicable
from systems import InvalidValue

__all__ = ["LITTLE", "fast_ellipsoid"]

LITTLE = 0.1
"""Share of the sampled level: a proof below it is limited by the search, not by the loop."""

_RATE = 0.5  # of the linearised loop's own decay, which V must keep up with


def fast_ellipsoid(loop: ClosedLoop, rest: RestPoint) -> QuadraticLyapunov | None:
    """V of the largest ellipsoid on which it decreases fast along the linearised loop, with a margin for the nonlinear
    part; None if there is none.

    Args:
        loop: without disturbances.
        rest: its rest point.
    """
    if not rest.is_reference:
        return None
    try:
        return largest_ellipsoid(loop, _RATE * (-2.0 * rest.growth if loop.continuous else 1.0 - rest.growth**2))
    except (NotApplicable, InvalidValue):  # such as a law that is not linear
        return None
