"""The share of the initial states from which a controller is proved to reach the reference, for comparisons."""

from __future__ import annotations

import numpy as np

from ctrl.certify.candidates.fast import LITTLE, fast_ellipsoid
from ctrl.certify.candidates.quadratics import quadratics
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.claim import Equilibrium
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import rest_point
from ctrl.certify.outlines import outline
from ctrl.certify.search.levels import largest_level
from ctrl.certify.search.limits import SearchLimits
from ctrl.comparison.data import ProvedShare
from ctrl.controller import Controller, NotApplicable
from ctrl.laws.law import Law
from systems import Task

__all__ = ["proved_region", "proved_share"]

_BOXES = 50_000  # examined for a share
_FINE, _COARSE = 2e-3, 0.05  # of the level, relative to the sampled limit


def proved_region(task: Task, controller: Controller, seconds: float = SearchLimits.seconds) -> float | None:
    """The proved share of the support of the initial states from which the controller reaches the reference.

    Searches for the highest provable level of every quadratic candidate that ``trivium verify`` tries, in more than two
    states with a resolution of a twentieth of the sampled limit. A loop whose equilibrium lies beside the reference,
    but within the task's tolerance of it, counts the states proved to converge to its own equilibrium, as these arrive
    within that tolerance.

    Args:
        task: whose initial states count.
        controller: with a control law in closed form as its ``law``.
        seconds: time limit of the proof of each candidate; default: 60.

    Returns:
        A lower bound on the share, with the outline of the region in two states; 0 if nothing was proved within
        the time, None if the controller has no control law or the closed loop no enclosure.
    """
    try:
        law = getattr(controller, "law", None)
        if not isinstance(law, Law):
            return None
        loop = ClosedLoop(task, law)
        rest = rest_point(loop)
        if not rest.is_attractive or not (rest.is_reference or (rest.offset <= task.arrival).all()):
            return 0.0
        equilibrium: Equilibrium = "reference" if rest.is_reference else "own"
        resolution = _FINE if len(task.plant.state) <= 2 else _COARSE
        best, volume, budget = 0.0, 0.0, SearchLimits(seconds=seconds)
        reached, outlines = 0.0, list[np.ndarray]()

        def attempt(V: QuadraticLyapunov) -> float:
            """The proved level, 0 if none is proved; the best result so far is kept."""
            nonlocal best, volume, outlines
            certificate = largest_level(task, law, V, resolution=resolution, budget=budget, equilibrium=equilibrium)
            if not certificate.is_proved:
                return 0.0
            share, volume = proved_share(certificate, task), max(volume, certificate.volume)
            if share > best:
                best, outlines = share, outline(certificate.region)
            return certificate.level

        for candidate in quadratics(loop, loop, rest):
            if candidate.volume > volume and best < 1.0:
                reached = max(reached, attempt(candidate.V) / candidate.limit.level)
        if reached < LITTLE and (fast := fast_ellipsoid(loop, rest)) is not None:
            attempt(fast)
        return ProvedShare(best, outlines)
    except NotApplicable:
        return None


def proved_share(certificate: Certificate, task: Task) -> float:
    """A lower bound on the share of the task's initial states that lies in the proved set.

    The box that supports the initial distribution is halved; see :meth:`SublevelSet.inner_share`.

    Args:
        certificate: of a claim about this task.
        task: whose initial states count.

    Returns:
        A number in [0, 1]; 0 where nothing is proved. For an unbounded distribution, which has no such box, it refers
        to the box of three standard deviations around the mean.
    """
    if not certificate.is_proved:
        return 0.0
    state = task.plant.state
    lower, upper = task.initial.support(state)
    if not np.isfinite([lower, upper]).all():
        mean, spread = task.initial.mean(state), 3.0 * np.sqrt(np.diag(task.initial.covariance(state)))
        lower, upper = mean - spread, mean + spread
    return certificate.region.inner_share(lower, upper, _BOXES)
