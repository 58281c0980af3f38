"""The constraints, input bounds and kinks of a task as affine rows; the only place where they are converted to
matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from systems import Budget, Chance, Task
from systems.nonsmooth import penalties

__all__ = ["AffineRows", "AffineTask", "affine_penalties", "affine_task"]


@dataclass(frozen=True, eq=False)
class AffineRows:
    """lower <= C (x, u) <= upper at the weight (rows,) of a violation, infinite where hard.

    Args:
        C: (rows, n + m).
        lower: (rows,), -infinity where there is no bound.
        upper: (rows,), infinity where there is no bound.
        weight: (rows,), per unit of violation and sample.
    on_input: mask (rows,), rows that depend on the input.
        always: mask (rows,), rows that a steady state must satisfy. names: of the constraints, empty for kinks.
    """

    C: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray
    on_input: np.ndarray
    always: np.ndarray
    names: tuple[str, ...] = ()

    @property
    def hard(self) -> np.ndarray:
        """Mask (rows,)."""
        return np.isinf(self.weight)

    def with_allowed(self, task: Task, weight: float) -> AffineRows:
        """The same rows with chance constraints and budgets at a weight instead of hard."""
        allowed = {c.name for c in task.constraints if isinstance(c.requirement, Budget | Chance)}
        may = np.array([name in allowed for name in self.names], dtype=bool)
        return replace(self, weight=np.where(may, weight, self.weight))


@dataclass(frozen=True, eq=False)
class AffineTask:
    """The conditions of a task as rows.

    Args:
        inputs: the finite input bounds, a row of the identity for each input that has one.
        constraints: the rows of :attr:`systems.reading.Reading.conditions`.
    """

    inputs: AffineRows
    constraints: AffineRows


def affine_task(task: Task) -> AffineTask:
    """The conditions of a task.

    Raises:
        NotApplicable: one that is not affine in state and input, or soft rows of which only the largest violation
            is charged although several may be violated at once.
    """
    constraints = _constraints(task)
    n, m = len(task.plant.state), len(task.plant.input)
    lower, upper = task.input_bounds
    limited = np.isfinite(lower) | np.isfinite(upper)
    count = int(limited.sum())
    inputs = AffineRows(
        np.hstack([np.zeros((m, n)), np.eye(m)])[limited],
        lower[limited],
        upper[limited],
        np.full(count, np.inf),
        np.ones(count, dtype=bool),
        np.ones(count, dtype=bool),
        ("input bounds",) * count,
    )
    return AffineTask(inputs, constraints)


def _constraints(task: Task) -> AffineRows:
    reading = task.reading
    conditions = reading.conditions
    if reading.not_affine:
        raise NotApplicable(
            f"task '{task.name}': {', '.join(sorted(reading.not_affine))} is not affine in state and input, as a "
            "linear MPC needs; use a polytope inside it, or the nonlinear MPC"
        )
    x, u = conditions.value.sx_in()
    C = np.array(ca.DM(ca.evalf(ca.jacobian(conditions.value(x, u), ca.vertcat(x, u)))))
    offset = np.array(conditions.value(0, 0))[:, 0]
    soft = np.isfinite(conditions.weight)
    for group in np.unique(conditions.group[soft]):
        members = C[(conditions.group == group) & soft]
        rounding = 1e-9 * np.abs(members).max(initial=0.0)
        if len(members) > 2 or (len(members) == 2 and (np.abs(members[0] + members[1]) > rounding).any()):
            name = conditions.names[int(np.flatnonzero(conditions.group == group)[0])]
            raise NotApplicable(
                f"task '{task.name}': the soft constraint '{name}' charges the largest of several violations, which a "
                "linear MPC cannot; write its rows as constraints of their own, or use the nonlinear MPC"
            )
    return AffineRows(
        C,
        conditions.lower - offset,
        conditions.upper - offset,
        conditions.weight,
        conditions.on_input,
        np.isinf(conditions.weight),
        conditions.names,
    )


def affine_penalties(task: Task) -> AffineRows:
    """The kinks of the stage cost as soft rows.

    Raises:
        NotApplicable: kinks that are not weighted maxima of affine functions, or kinks of the terminal cost.
    """
    last = task.reading.terminal
    if last is not None and (last.count or last.left):
        raise NotApplicable(
            f"task '{task.name}': its terminal cost has kinks ({', '.join(task.reading.cost_kinks)}), which a linear "
            "MPC does not take; use the nonlinear MPC"
        )
    stage = task.stage_cost
    split = penalties(stage)
    symbols = stage.sx_in()
    x, u = symbols[:2]
    if split is not None:
        excess = ca.substitute(split.excess(*symbols), ca.vertcat(*symbols[2:]), ca.vertcat(*task.reading.start))
        slopes = ca.jacobian(excess, ca.vertcat(x, u))
        if not ca.symvar(slopes) and (task.reference.is_constant or not len(split.weight)):
            C = np.array(ca.DM(ca.evalf(slopes))).reshape(len(split.weight), x.shape[0] + u.shape[0])
            offset = np.array(ca.Function("offset", [x, u], [excess])(0, 0)).reshape(-1)
            acts = np.abs(C[:, x.shape[0] :]).max(axis=1, initial=0.0) > 0
            return AffineRows(C, np.full(len(C), -np.inf), -offset, split.weight, acts, np.zeros(len(C), dtype=bool))
    raise NotApplicable(
        f"task '{task.name}': its cost has kinks ({', '.join(task.reading.cost_kinks)}) that are not weighted maxima "
        "of affine functions about a constant reference, as a linear MPC needs; use the nonlinear MPC"
    )
