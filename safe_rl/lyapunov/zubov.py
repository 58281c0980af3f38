"""Samples of a Lyapunov function of the whole region of attraction (Zubov), from simulated trajectories.

Zubov (1964): with J(x) the cost of the trajectory from x, W = 1 - exp(-J) is a Lyapunov function that is below 1 on the
region of attraction and tends to 1 at its border. Here W, from simulated costs, is the target that gives a network its
size and shape; the proof asks for decrease only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from ctrl.certify import ClosedLoop
from systems import InvalidValue
from systems.discretise import rk4

__all__ = ["BasinSamples", "advanced", "simulated"]

_NEAR = 0.01  # of the box's half-widths, where a trajectory counts as arrived
_LAID = 0.95  # share of the starts that arrive whose W is below
_TOP = 0.86  # this
_KEPT = 40_000  # states on the way


@final
@dataclass(frozen=True, eq=False)
class BasinSamples:
    """Args:
    inside: states (k, n) from which trajectories arrive, the uniform starts first.
    target: W (k,) of these.
    outside: states (l, n) from which trajectories leave the box or do not arrive in time.
    unit: the cost J at which W = 1 - 1 / e.
    starts: how many of the uniform starts arrive.
    share: of all of them.
    """

    inside: np.ndarray
    target: np.ndarray
    outside: np.ndarray
    unit: float
    starts: int
    share: float


def advanced(loop: ClosedLoop, x: np.ndarray, dt: float) -> np.ndarray:
    """States (..., n) after dt, in discrete time after a sample."""
    return np.asarray(rk4(loop, x, dt)) if loop.continuous else loop(x)


def simulated(
    loop: ClosedLoop, lower: np.ndarray, upper: np.ndarray, starts: int, steps: int, rng: np.random.Generator
) -> BasinSamples:
    """Trajectories from uniform starts in a box, until they arrive or leave it.

    Their cost is |z|^2 per time, z = 1 at the middle of the box's sides.

    Raises:
        InvalidValue: too few trajectories arrive to learn from.
    """
    centre, half = loop.reference, 0.5 * (upper - lower)
    dt = 0.5 * loop.task.dt if loop.continuous else loop.task.dt
    x = rng.uniform(lower, upper, (starts, len(lower)))
    going = np.ones(starts, dtype=bool)
    arrived = np.zeros(starts, dtype=bool)
    path, costs, moving = [], [], []
    for _ in range(steps):
        size = (((x - centre) / half) ** 2).sum(axis=1)
        path.append(x)
        costs.append(np.where(going, size * dt, 0.0))
        moving.append(going.copy())
        ahead = advanced(loop, x[going], dt)
        stays = np.asarray(((ahead >= lower) & (ahead <= upper)).all(axis=1))
        near = stays & (np.abs(ahead - centre) < _NEAR * half).all(axis=1)
        rows = np.flatnonzero(going)
        x = x.copy()
        x[rows] = np.where(stays[:, None], ahead, x[rows])
        arrived[rows[near]] = True
        going[rows[near | ~stays]] = False
        if not going.any():
            break
    if arrived.sum() < 20:
        raise InvalidValue(
            f"only {int(arrived.sum())} of {starts} trajectories of '{loop.task.name}' arrive at the reference, too "
            "few to learn a region from; improve the controller, or use a smaller box"
        )
    cost = np.cumsum(np.array(costs)[::-1], axis=0)[::-1]
    unit = float(np.quantile(cost[0][arrived], _LAID)) / -np.log(1.0 - _TOP)
    way = np.array(moving) & arrived
    way[0] = False
    k, i = np.nonzero(way)
    some = rng.permutation(len(k))[:_KEPT]
    inside = np.concatenate([path[0][arrived], np.array(path)[k[some], i[some]]])
    J = np.concatenate([cost[0][arrived], cost[k[some], i[some]]])
    return BasinSamples(
        inside, 1.0 - np.exp(-J / unit), path[0][~arrived], unit, int(arrived.sum()), float(arrived.mean())
    )
