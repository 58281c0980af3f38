"""What a comparison says of a controller: the share of its starts that is proved to arrive."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from ctrl.certify.certificate import Certificate
from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.equilibrium import rest_point
from ctrl.certify.levels import largest_level
from ctrl.certify.linearised import cost_to_go
from ctrl.certify.region import Effort
from ctrl.certify.roa import Equilibrium, certify, riccati
from ctrl.certify.sampling import sampled_limit
from ctrl.certify.volume import inner_share
from ctrl.controller import Controller, NotApplicable
from ctrl.laws.law import Law
from systems import Task

__all__ = ["proved_region", "proved_share"]


def proved_region(task: Task, controller: Controller, seconds: float = 10.0) -> float | None:
    """What a comparison says of a controller: the share of its starts' support that is proved to reach the reference.

    In the plane the highest level that can be proved is sought. In more states a few shares of the sampled limit are
    tried, from the top. A loop that rests beside the reference, but within the task's tolerance of it, is judged by the
    states proved to converge to its own equilibrium: these arrive, as the task defines it.

    Returns:
        A lower bound of the share, 0 where nothing was proved within the time, None where the controller has no law or
        the closed loop no enclosure.
    """
    law = getattr(controller, "law", None)
    if not isinstance(law, Law):
        return None
    budget = Effort(seconds=seconds)
    try:
        began, loop = perf_counter(), ClosedLoop(task, law)
        rest = rest_point(loop)
        if not rest.is_attractive or not (rest.is_reference or (rest.offset <= task.arrival).all()):
            return 0.0
        equilibrium: Equilibrium = "reference" if rest.is_reference else "own"
        V = riccati(task) if rest.is_reference else cost_to_go(loop, rest)
        if len(task.plant.state) <= 2:
            certificate = largest_level(task, law, V, budget=budget, equilibrium=equilibrium)
        else:
            limit = sampled_limit(loop, V).level
            for share in (0.9, 0.6, 0.3):
                left = seconds - (perf_counter() - began)
                effort = Effort(seconds=max(0.5 * left, 0.0))
                certificate = certify(task, law, V, share * limit, budget=effort, equilibrium=equilibrium)
                if certificate.is_proved:
                    break
    except NotApplicable:
        return None
    return proved_share(certificate, task)


def proved_share(certificate: Certificate, task: Task, boxes: int = 50_000) -> float:
    """A lower bound of the share of the task's initial states that lies in the proved set.

    By halving the box that supports the initial law; see :func:`ctrl.certify.volume.inner_share`.

    Returns:
        A number in [0, 1]; 0 where nothing is proved. For an unbounded law, which has no such box, the box of three
        standard deviations around the mean is taken.
    """
    if not certificate.is_proved:
        return 0.0
    state = task.plant.state
    lower, upper = task.initial.support(state)
    if not np.isfinite([lower, upper]).all():
        mean, spread = task.initial.mean(state), 3.0 * np.sqrt(np.diag(task.initial.covariance(state)))
        lower, upper = mean - spread, mean + spread
    return inner_share(certificate.region, lower, upper, boxes)
