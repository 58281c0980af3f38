"""Quadratic candidates for any smooth loop, from the Lyapunov equation of the linearised one."""

from __future__ import annotations

import numpy as np

from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import RestPoint, behaviour_around, rest_point
from ctrl.controller import NotApplicable
from ctrl.laws.law import Law, clip
from ctrl.regulator import LQR, local_model
from systems import InvalidValue, Task
from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval

__all__ = ["cost_to_go", "lyapunov", "riccati"]


def riccati(task: Task) -> QuadraticLyapunov:
    """V = (x - x_r)'P(x - x_r) with the cost-to-go of the task's linear-quadratic regulator.

    Args:
        task: with a linear-quadratic regulator, whose cost depends on all states.

    Raises:
        NotApplicable: the task has no such regulator.
        InvalidValue: the cost does not depend on all states, so that P is singular.
    """
    P = LQR(task).P
    try:
        return QuadraticLyapunov(P, Interval.of(task.reading.start[0]))
    except InvalidValue as error:
        weak = np.abs(np.linalg.eigh(P)[1][:, 0])
        names = [name for name, a in zip(task.plant.state.names, weak, strict=True) if a > 0.1]
        raise InvalidValue(
            f"task '{task.name}': its cost barely depends on {', '.join(names)}, so sublevel sets of its Riccati "
            f"solution may be unbounded ({error}); use lyapunov(task, law), which weights every state"
        ) from error


def cost_to_go(loop: ClosedLoop, rest: RestPoint | None = None) -> QuadraticLyapunov:
    """V = z'Pz around a rest point of the loop with A'PA - P = -W; in continuous time A'P + PA = -W.

    A is the Jacobian of the loop at the rest point and W the weight of the task's stage cost under the law's own slope
    there, so V is the cost-to-go of the linearised loop. For the regulator of the task it is the Riccati solution.

    Args:
        loop: in discrete or continuous time.
        rest: the equilibrium; default: that of :func:`rest_point`.

    Raises:
        NotApplicable: the loop has no rest point, or is not attracted to it; or the task's cost is not convex at its
            reference.
    """
    rest = rest_point(loop) if rest is None else rest
    _expect_attractive(loop, rest)
    model = local_model(loop.task)
    point = Interval.of(rest.box.mid)
    K = Ball.of(clip(loop.law.enclose(point), loop.law.enclose_jacobian(point), *loop.task.applied_bounds)[1]).mid
    across = model.N @ K
    return _solved(loop, rest, model.Q + across + across.T + K.T @ model.R @ K)


def lyapunov(task: Task, law: Law, continuous: bool = False, rest: RestPoint | None = None) -> QuadraticLyapunov:
    """V = z'Pz around a rest point of the loop with A'PA - P = -D; in continuous time A'P + PA = -D (Lyapunov, 1892).

    A is the Jacobian of the loop there, and D = diag(1 / s^2) weighs every state by its scale s: the largest initial
    distance from the reference, or the distance to the border of the domain for states that start at the reference. V
    then decreases strictly in all states; the Riccati solution may not, if the cost involves only a few outputs.

    Args:
        task: with a constant reference.
        law: the controller in closed form.
        continuous: whether the law is evaluated continuously; default: once per sample.
        rest: the equilibrium; default: that of :func:`rest_point`.

    Raises:
        NotApplicable: the loop has no rest point, or is not attracted to it.
    """
    loop = ClosedLoop(task, law, continuous)
    rest = rest_point(loop) if rest is None else rest
    _expect_attractive(loop, rest)
    return _solved(loop, rest, np.diag(_scale(loop) ** -2.0))


def _scale(loop: ClosedLoop) -> np.ndarray:
    """The largest expected distance of each state from its reference, (n,)."""
    reference = loop.reference
    scale = np.ones(len(reference))
    # The last known distance is used.
    for (low, high), nearest in (
        (loop.domain, np.minimum),
        (loop.task.initial.support(loop.task.plant.state), np.maximum),
    ):
        reach = nearest(np.abs(high - reference), np.abs(low - reference))
        scale = np.where(np.isfinite(reach) & (reach > 0), reach, scale)
    return scale


def _solved(loop: ClosedLoop, rest: RestPoint, W: np.ndarray) -> QuadraticLyapunov:
    from scipy import linalg  # slow to import and only needed here

    A = rest.slopes
    P = linalg.solve_continuous_lyapunov(A.T, -W) if loop.continuous else linalg.solve_discrete_lyapunov(A.T, W)
    return QuadraticLyapunov(0.5 * (P + P.T), rest.box)


def _expect_attractive(loop: ClosedLoop, rest: RestPoint) -> None:
    if not rest.is_attractive:
        kind, bound = ("a real part", "< 0") if loop.continuous else ("a modulus", "< 1")
        where = ", ".join(f"{a:.4g}" for a in rest.box.mid)
        raise NotApplicable(
            f"task '{loop.task.name}': the equilibrium of the closed loop at [{where}] is not attractive: the "
            f"linearised loop has an eigenvalue with {kind} of {rest.growth:.4g}, expected {bound}; "
            f"{behaviour_around(loop, rest)}. No region of attraction can be proved; train the law longer, or start "
            "from a regulator"
        )
