"""How far a claim can be carried: the highest level of a Lyapunov function that can be proved."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import numpy as np

from ctrl.certify.certificate import Certificate, Kind
from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.disturbed import reachable
from ctrl.certify.lyapunov import Lyapunov
from ctrl.certify.region import Effort
from ctrl.certify.roa import LEAST_LEVEL, Equilibrium, candidate, certify
from ctrl.certify.sampling import sampled_limit
from ctrl.laws.law import Law
from systems import Task

__all__ = ["largest_level"]


def largest_level(
    task: Task,
    law: Law,
    V: Lyapunov | None = None,
    kappa: float = 0.0,
    resolution: float = 2e-3,
    budget: Effort | None = None,
    continuous: bool = False,
    box: tuple[np.ndarray, np.ndarray] | None = None,
    uncertain: Mapping[str, tuple[float, float]] | None = None,
    disturbance: Mapping[str, tuple[float, float]] | None = None,
    inner: float | None = None,
    equilibrium: Equilibrium = "reference",
) -> Certificate:
    """The highest level that can be proved, by trial just below the sampled limit and bisection.

    Args:
        resolution: bisection stops at this share of the sampled limit.
        budget: for all attempts together; each gets at most half of what is left.
        disturbance, inner, equilibrium: as :func:`certify`; the same inner level in every attempt.

    Returns:
        The proved certificate of the highest level (its boxes and seconds are those of its own proof), or the last
        attempt where none is proved.
    """
    began = perf_counter()
    budget = budget or Effort()
    loop = ClosedLoop(task, law, continuous, disturbance=dict(disturbance or {}))
    V = candidate(loop, V, equilibrium)
    if inner is None:
        inner = reachable(loop, V, kappa, box=box)
    top = max(sampled_limit(loop, V, kappa, box=box, inner=inner).level, LEAST_LEVEL)
    proved, failed, share = 0.0, 1.0, 1.0 - resolution
    boxes = budget.boxes
    best: Certificate | None = None
    while True:
        left = budget.seconds - (perf_counter() - began)
        effort = Effort(max(boxes // 2, 1), max(0.5 * left, 0.0), budget.device)
        level = max(share * top, inner)
        attempt = certify(
            task, law, V, level, kappa, effort, continuous, box, uncertain, disturbance, inner, equilibrium
        )
        boxes -= attempt.boxes
        if attempt.is_proved:
            proved, best = share, attempt
        else:
            failed = share
            best = best if best is not None and best.is_proved else attempt
        if failed - proved <= resolution or left <= 0.02 * budget.seconds or boxes <= 0.02 * budget.boxes:
            return best
        # What was too hard just below the limit is hardly easier a little lower, so the first proof is sought far down.
        share = 0.4 * failed if proved == 0.0 and attempt.kind is Kind.UNDECIDED else 0.5 * (proved + failed)
        if share * top <= inner:
            return best
