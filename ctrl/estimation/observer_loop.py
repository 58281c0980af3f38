"""The loop of a plant, an observer and a linear regulator as one plant under one control law, for proofs."""

from __future__ import annotations

import dataclasses
from typing import Any

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from ctrl.estimation.constant_gain import LuenbergerObserver, SteadyKalmanFilter
from ctrl.estimation.output_feedback import OutputFeedback
from ctrl.laws.saturated_linear import SaturatedLinear
from ctrl.regulator import LQR
from systems import Box, Fixed, Plant, Quadratic, SetPoint, Signal, Signals, Task, Vector
from systems.errors import expect

__all__ = ["observer_loop"]


def observer_loop(feedback: OutputFeedback) -> tuple[Task, SaturatedLinear]:
    """A task whose state consists of the plant's state and the estimation error, with the control law of the loop;
    :func:`ctrl.certify.certify` and all other proofs accept both.

    With x the state, z the estimate and e = z - x: u = clip(u_r - K (x + e - x_r)), x+ = F(x, u), and e+ = s +
    L (h(x+, u) - h(s, u)) - x+ for the prediction s = F(z, u). There is no noise or rounding, and the true plant is the
    nominal one; the loop starts with the estimate that the initial error leaves.

    Args:
        feedback: of an LQR with a constant gain by a steady Kalman filter or a Luenberger observer.

    Returns:
        The task, which charges the cost of the plant for x and u and nothing for e, with no
        constraints; its domain bounds the errors as far from zero as the state from its reference; and the law.

    Raises:
        NotApplicable: another controller or estimator, or both made for different plants; delayed measurements, a true
            plant of its own, or signals or states with periods.
    """
    expect(feedback, OutputFeedback, "feedback", "such as OutputFeedback(LQR(task), SteadyKalmanFilter(task))")
    regulator, observer, given = feedback.controller, feedback.estimator, feedback.task
    if not isinstance(regulator, LQR) or not isinstance(observer, (SteadyKalmanFilter, LuenbergerObserver)):
        raise NotApplicable(
            f"{feedback!r}: only an LQR with a SteadyKalmanFilter or a LuenbergerObserver is one law with one gain"
        )
    model, plant, n = observer.model, given.plant, observer.model.n
    if model.size > n or model.measurement.dropouts.any() or given.truth or given.variation:
        raise NotApplicable(
            f"task '{given.name}': delays, drop-outs, a true plant of its own and parameters that vary "
            "do not belong to this loop; leave them out"
        )
    if not model.signals.is_euclidean:
        raise NotApplicable(f"task '{given.name}': measured angles jump by a turn; declare them by signals(...)")
    if not regulator.task.reading.state.is_euclidean:
        raise NotApplicable(
            f"task '{given.name}': the regulator takes the estimate of a periodic state the shortest way round, which "
            "jumps by a turn; charge the angle itself, not its cosine, and declare it by signals(...)"
        )
    if regulator.task.plant != plant or regulator.task.dt != given.dt:
        raise NotApplicable(
            f"task '{given.name}': the regulator was made for another plant or sample time than the observer"
        )
    law, F, H = regulator.law, model.F, model.H

    def step(self: Plant, x: Vector, u: Vector, w: Vector) -> Any:
        state, estimate = x.column[:n], x.column[:n] + x.column[n:]
        after, predicted = F(state, u.column, u.column, w.column), F(estimate, u.column, u.column, ca.DM(model.w))
        corrected = predicted + ca.DM(observer.L) @ (H(after, u.column) - H(predicted, u.column))
        return ca.vertcat(after, corrected - after)

    limits = dict(zip(plant.input.names, zip(*(bound.tolist() for bound in plant.bounds), strict=True), strict=True))
    errors = [Signal(f"{signal.name}_error", signal.unit) for signal in plant.state]
    namespace = {
        "state": Signals([*plant.state, *errors]), "input": plant.input, "disturbance": plant.disturbance,
        "step": step, "limits": lambda self: limits,
    }  # fmt: skip
    made = dataclasses.make_dataclass(
        f"Observed{plant.name}", [("dt", float)], bases=(Plant,), namespace=namespace, frozen=True
    )
    x_ref, u_ref = given.reading.start
    weights = regulator.task.reading.expansion(x_ref, u_ref, x_ref, u_ref, np.zeros(n))[4]
    H2 = 0.5 * np.array(weights)
    Q = np.zeros((2 * n, 2 * n))
    Q[:n, :n] = H2[:n, :n]
    task = Task(
        f"{given.name}-observed",
        made(given.dt),
        given.dt,
        given.steps,
        Quadratic(Q=Q, R=H2[n:, n:]),
        Fixed(np.concatenate([x_ref, np.zeros(n)])),
        reference=SetPoint(np.concatenate([x_ref, np.zeros(n)]), u_ref),
        disturbance=given.disturbance,
        domain=_domain(given),
    )
    gain = np.hstack([law.K, law.K])
    return task, SaturatedLinear(gain, np.concatenate([law.x_ref, np.zeros(n)]), law.u_ref, law.lower, law.upper)


def _domain(task: Task) -> Box | None:
    """The task's domain, and errors as far from zero as its states may be from the reference."""
    if task.domain is None:
        return None
    reference = dict(zip(task.plant.state.names, task.reading.start[0], strict=True))
    errors = {
        f"{name}_error": (low - reference[name], high - reference[name])
        for name, (low, high) in task.domain.bounds.items()
    }
    return Box("domain", {**task.domain.bounds, **errors})
