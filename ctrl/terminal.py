"""The terminal cost of a prediction: the task's own, or the cost-to-go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ctrl.answers import steady_state_in_words
from ctrl.controller import NotApplicable
from ctrl.linearisation import local_model
from ctrl.regulator import lqr
from systems import Task

__all__ = ["Kind", "Terminal", "terminal", "weight_of_rest"]

Kind = Literal["task", "cost-to-go"]
"""``task``: what the task itself charges for its last state, nothing where it has no terminal cost. ``cost-to-go``:
that too, and for a task without one the cost-to-go of the regulator at the operating point, where there is one."""


@dataclass(frozen=True, eq=False)
class Terminal:
    """The cost of the last predicted state x: (x - centre)'P(x - centre) + p'(x - centre), or the task's own terminal
    cost where P is None.

    Args:
        P: (n, n). p: (n,). centre: (n,), None where it is the reference, which moves.
        chosen: in words.
        at_edge: whether the steady state is held off the reference by constraints. The regulator cannot act freely
            around it, so a prediction should end at a steady state that it chooses itself (Limon, Alvarado, Alamo &
            Camacho, 2008; Fagiano & Teel, 2013).
    """

    P: np.ndarray | None
    p: np.ndarray
    centre: np.ndarray | None
    chosen: str
    at_edge: bool = False


def terminal(task: Task, kind: Kind = "cost-to-go") -> Terminal:
    """The terminal cost of a predictive controller.

    A task's own terminal cost is used unchanged. Otherwise the horizon is treated as infinite: the cost from the last
    predicted state on is that of the linear-quadratic regulator at the optimal steady state (Rawlings, Mayne &
    Diehl, 2017, section 2.5), plus the multipliers of that steady state times the distance, since the gradient of the
    stage cost need not vanish there (Diehl, Amrit & Rawlings, 2011).
    """
    n = len(task.plant.state)
    none = np.zeros(n)
    if task.reading.terminal is not None:
        return Terminal(None, none, None, "the task's own")
    if kind == "task":
        return Terminal(None, none, None, "none, as the task has none")
    if not task.reference.is_constant:
        return _moving(task)
    steady = task.reading.steady_state
    if steady is None:
        return Terminal(None, none, None, "none: the plant has no steady state that keeps the constraints")
    try:
        model = local_model(task, constrained=True)
        P = lqr(model.plant, model.Q, model.R, model.N).P
    except NotApplicable as reason:
        return Terminal(None, none, None, f"none: {reason}")
    elsewhere = task.reading.settles_elsewhere(constrained=True)
    where = steady_state_in_words(task, constrained=True) if elsewhere else "the reference"
    return Terminal(P, model.multipliers, model.x_ref, f"Riccati cost-to-go at {where}", task.reading.rests_at_edge)


def weight_of_rest(task: Task, P: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The penalty (n,) per unit of distance between the end of a prediction and a steady state at which it should end:
    ten times the slope of the cost-to-go at the far side of the initial states.

    Args:
        P: (n, n), of the cost-to-go. centre: (n,), where it is zero.
    """
    state = task.plant.state
    spread = 3.0 * np.sqrt(np.diag(task.initial.covariance(state)))
    reach = spread + np.abs(task.initial.mean(state) - centre)
    return np.asarray(10.0 * np.abs(P) @ np.maximum(reach, 1e-3 * reach.max(initial=1.0)))


def _moving(task: Task) -> Terminal:
    """For an affine plant with a quadratic cost the cost-to-go is the same around every reference that it follows."""
    none = np.zeros(len(task.plant.state))
    reading = task.reading
    if task.plant.forecast is not None:
        return Terminal(None, none, None, "none: the signals known ahead move")
    if not (reading.is_affine and reading.is_quadratic):
        return Terminal(None, none, None, "none: the reference moves")
    if not (reading.follows and reading.gradient_vanishes):
        return Terminal(None, none, None, "none: the plant cannot follow the reference, or costs less elsewhere")
    try:
        model = local_model(task)
        P = lqr(model.plant, model.Q, model.R, model.N).P
    except NotApplicable as reason:
        return Terminal(None, none, None, f"none: {reason}")
    return Terminal(P, none, None, "Riccati cost-to-go along the reference")
