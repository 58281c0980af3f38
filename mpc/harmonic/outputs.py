"""The affine conditions of a task as two-sided rows lower <= E x + F u <= upper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrl.controller import NotApplicable
from mpc.affine_task import affine_task
from systems import Task

__all__ = ["Outputs", "outputs"]


@dataclass(frozen=True, eq=False)
class Outputs:
    """lower <= E x + F u <= upper; every row has a finite bound, and opposite sides of one output share a row.

    Args:
        E: (rows, n).
        F: (rows, m).
        lower, upper: (rows,), infinite where there is no bound.
    """

    E: np.ndarray
    F: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def outputs(task: Task) -> Outputs:
    """The constraints and the input bounds of a task, infinite bounds dropped.

    Soft, chance and budget constraints are treated as hard: the artificial reference must satisfy them for all future
    time.

    Raises:
        NotApplicable: a constraint that is not affine in state and input.
    """
    constraints = affine_task(task).constraints
    n, m = len(task.plant.state), len(task.plant.input)
    least, most = task.input_bounds
    rows = [np.append(np.eye(n + m)[n + i], most[i]) for i in range(m)]
    rows += [np.append(-np.eye(n + m)[n + i], -least[i]) for i in range(m)]
    for direction, low, high in zip(constraints.C, constraints.lower, constraints.upper, strict=True):
        rows += [np.append(direction, high), np.append(-direction, -low)]
    kept: list[np.ndarray] = []
    bounds: list[list[float]] = []
    for row in rows:
        direction, limit = row[:-1], float(row[-1])
        if np.isinf(limit):
            continue
        length = np.linalg.norm(direction)
        if length == 0:
            if limit < 0:
                raise NotApplicable(f"task '{task.name}': a constraint excludes every state and input")
            continue
        for known, bound in zip(kept, bounds, strict=True):
            cosine = known @ direction / (np.linalg.norm(known) * length)
            if abs(abs(cosine) - 1.0) > 1e-14:
                continue
            factor = np.linalg.norm(known) / length
            if cosine > 0:
                bound[1] = min(bound[1], limit * float(factor))
            else:
                bound[0] = max(bound[0], -limit * float(factor))
            break
        else:
            # The first entry positive, so that a box reads as it was written.
            sign = np.sign(direction[np.flatnonzero(direction)[0]])
            kept.append(sign * direction)
            bounds.append([-np.inf, limit] if sign > 0 else [-limit, np.inf])
    matrix = np.array(kept).reshape(-1, n + m)
    lower, upper = np.array(bounds).reshape(-1, 2).T
    if (lower > upper).any():
        raise NotApplicable(f"task '{task.name}': its constraints contradict each other; no point satisfies them")
    return Outputs(matrix[:, :n], matrix[:, n:], lower, upper)
