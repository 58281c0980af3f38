"""Sample points of a plant: states, inputs and disturbances at which its equations must be valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from systems import Plant, Task

__all__ = ["POINTS", "Samples", "around_origin", "of_task"]

POINTS = 64


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """Points and the box they come from.

    Args:
        where: the points, in words.
        centre: the middle, in words.
        fix: what else to do if the plant is unsound at the points.
        x: (points, n). u: (points, m). w: (points, q).
        lower, upper: box of states, each (n,). x_ref, u_ref: (n,) and (m,), the state and input in the middle.
    """

    where: str
    centre: str
    fix: str
    x: np.ndarray
    u: np.ndarray
    w: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    x_ref: np.ndarray
    u_ref: np.ndarray


def around_origin(plant: Plant) -> Samples:
    """States and disturbances within one unit of 0; inputs over their limits, or one unit where there are none."""
    chance = np.random.default_rng(0)
    ones, rest = np.ones(len(plant.state)), np.zeros(len(plant.input))
    u = _inputs(plant.bounds, rest, chance)
    x, w = (chance.uniform(-1, 1, (POINTS, len(s))) for s in (plant.state, plant.disturbance))
    where = f"at {POINTS} points around the origin, with inputs up to their limits"
    return Samples(where, "the origin", "", x, u, w, -ones, ones, 0 * ones, rest)


def of_task(task: Task) -> Samples:
    """States in the task's domain; where that has no bound, among the starts and the reference. Inputs over their
    bounds, disturbances as they are drawn.
    """
    chance, state = np.random.default_rng(0), task.plant.state
    x_ref, u_ref = task.reference.at(task.plant, 0)
    mean, spread = task.initial.mean(state), 3.0 * np.sqrt(np.diag(task.initial.covariance(state)))
    low, high = task.initial.support(state)
    low = np.minimum(np.where(np.isfinite(low), low, mean - spread), x_ref)
    high = np.maximum(np.where(np.isfinite(high), high, mean + spread), x_ref)
    # A state that starts where it shall stay still moves between: by half of itself, which keeps its sign.
    width = np.where(low < high, 0.0, np.where(low == 0, 1.0, 0.5 * np.abs(low)))
    bounds = task.domain_bounds
    lower, upper = (
        np.where(np.isfinite(b), b, np.clip(side, *bounds))
        for b, side in zip(bounds, (low - width, high + width), strict=True)
    )
    u = _inputs(task.input_bounds, u_ref, chance)
    x = chance.uniform(lower, upper, (POINTS, len(state)))
    w = task.disturbance.sample(task.plant.disturbance, chance, (POINTS,))
    among = "the starts and the reference" if task.domain is None else "the domain"
    where = f"at {POINTS} points of {among}, with inputs up to their bounds"
    fix = "or give the task a domain without such states"
    return Samples(where, "the reference", fix, x, u, w, lower, upper, x_ref, u_ref)


def _inputs(bounds: tuple[np.ndarray, np.ndarray], centre: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Inputs (points, m) between their bounds, the ends first; one unit around the centre where there is none."""
    m, inside = len(centre), np.clip(centre, *bounds)
    lower, upper = (np.where(np.isfinite(b), b, inside + side) for b, side in zip(bounds, (-1.0, 1.0), strict=True))
    share = np.concatenate([np.zeros((1, m)), np.ones((1, m)), chance.random((POINTS - 2, m))])
    return np.asarray(lower + share * (upper - lower))
