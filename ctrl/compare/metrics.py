"""What is measured of a controller's runs. Every rate is k of n with an interval; every interval is at 95 %."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from ctrl.controller import Status
from ctrl.simulate import Trajectories
from systems import Task
from systems.lowering import lower

__all__ = ["Estimate", "Metrics", "Rate", "cost_ratios", "mean", "measure", "wilson"]

LEVEL = 0.95
ROUNDING = 1e-6
"""Margins up to this count as kept: a solver stands on a bound to its own tolerance. The worst is shown unrounded."""
STAY = 0.1
"""Share of the run for which a state must have stayed at the reference, up to the end, to count as settled."""


@final
@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; the ends are NaN where there are too few runs to tell."""

    value: float
    low: float
    high: float


@final
@dataclass(frozen=True)
class Rate:
    """k of n, and the Wilson interval of the probability behind it."""

    k: int
    n: int

    @property
    def value(self) -> float:
        return self.k / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.k, self.n)


@final
@dataclass(frozen=True)
class Metrics:
    """One controller's line of the table.

    Args:
        cost: mean of the runs' whole cost, Student's t.
        settling: seconds until the state stays at the reference (``Task.arrival``), median over the runs that settle.
        settled: runs that arrive and stay; of starts drawn from the initial law, the sampled region of attraction.
        violated: runs that violate any constraint at any sample. violations: the same by name.
        worst_margin: largest g by name; positive means violated.
        left: runs that left the domain or diverged.
        step_p50, step_p99: seconds of one step. missed: timed steps that took longer than dt.
        statuses: samples by how the computation ended.
    """

    cost: Estimate
    settling: float
    settled: Rate
    violated: Rate
    violations: Mapping[str, Rate]
    worst_margin: Mapping[str, float]
    left: Rate
    step_p50: float
    step_p99: float
    missed: Rate
    statuses: Mapping[Status, int]


def measure(task: Task, runs: Trajectories) -> Metrics:
    """All metrics of one controller's runs."""
    names = [constraint.name for constraint in task.constraints]
    broken = np.any(runs.margins > ROUNDING, axis=1)  # (b, constraints)
    when = settling_times(task, runs)
    arrived = when[np.isfinite(when)]
    taken = runs.seconds[np.isfinite(runs.seconds)]
    b = len(runs)
    return Metrics(
        cost=mean(runs.cost),
        settling=float(np.median(arrived)) if len(arrived) else float("nan"),
        settled=Rate(len(arrived), b),
        violated=Rate(int(broken.any(axis=1).sum()), b),
        violations={name: Rate(int(broken[:, i].sum()), b) for i, name in enumerate(names)},
        worst_margin={name: float(runs.margins[..., i].max()) for i, name in enumerate(names)},
        left=Rate(int((~runs.stayed).sum()), b),
        step_p50=float(np.quantile(taken, 0.5)) if len(taken) else float("nan"),
        step_p99=float(np.quantile(taken, 0.99)) if len(taken) else float("nan"),
        missed=Rate(int((taken > task.dt).sum()), len(taken)),
        statuses={status: int((runs.statuses == i).sum()) for i, status in enumerate(Status)},
    )


def settling_times(task: Task, runs: Trajectories) -> np.ndarray:
    """Seconds (b,) from which on the state is within ``task.arrival`` of the reference; infinite where never."""
    steps = runs.states.shape[1] - 1
    x_ref, _ = task.reference.at(task.plant, np.arange(steps + 1))
    offset = np.where(turning(task), _wrapped(runs.states - x_ref), runs.states - x_ref)
    outside: np.ndarray = np.any(np.abs(offset) > task.arrival, axis=-1)
    since = steps + 1 - np.argmax(outside[:, ::-1], axis=1)
    since = np.where(outside.any(axis=1), since, 0)
    stays = runs.stayed & (since <= steps - np.ceil(STAY * steps))
    return np.where(stays, since * task.dt, np.inf)


def turning(task: Task) -> np.ndarray:
    """Which states (n,) are angles that come round: a full turn changes neither cost nor margins nor the motion."""
    declared = task.plant.state
    found = np.array([unit == "rad" for unit in declared.units], dtype=bool)
    chance, m, q = np.random.default_rng(0), len(task.plant.input), len(task.plant.disturbance)
    x, u, w = (chance.standard_normal((16, size)) for size in (len(declared), m, q))
    x_ref, u_ref = task.reference.at(task.plant, np.zeros(16, dtype=int))
    step = task.dynamics.lower("numpy")
    stage, margins = (lower(f, to="numpy") for f in (task.stage_cost_function(), task.margin_function()))
    for i in np.flatnonzero(found):
        turn = 2 * np.pi * np.eye(len(declared))[i]
        with np.errstate(all="ignore"):
            pairs = (
                (step(x, u, w, np.zeros(0)) + turn, step(x + turn, u, w, np.zeros(0))),
                (stage(x, u, x_ref, u_ref), stage(x + turn, u, x_ref, u_ref)),
                (margins(x, u), margins(x + turn, u)),
            )
            found[i] = all(np.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in pairs)
    return found


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)


def wilson(k: int, n: int) -> tuple[float, float]:
    """Interval of a probability of which k of n draws came true (Wilson, 1927); never empty, never outside [0, 1]."""
    if n == 0:
        return 0.0, 1.0
    z2, share = 1.959963984540054**2, k / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return (0.0 if k == 0 else float(centre - half)), (1.0 if k == n else float(centre + half))


def mean(values: np.ndarray) -> Estimate:
    """Mean with Student's t interval."""
    with np.errstate(all="ignore"):  # infinite costs have an infinite mean and no interval
        average = float(np.mean(values))
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    half = _quantile(len(values) - 1) * deviation / len(values) ** 0.5 if np.isfinite(deviation) else np.nan
    return Estimate(average, average - half, average + half)


def cost_ratios(costs: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Each controller's mean cost over the smallest mean cost, from paired runs.

    The interval is Student's t on the linearised ratio (the delta method); as starts and disturbances are shared, what
    is hard for all of them cancels.
    """
    best = min(costs, key=lambda name: float(np.mean(costs[name])))
    base, found = costs[best], {}
    with np.errstate(all="ignore"):
        for name, values in costs.items():
            ratio = float(np.mean(values) / np.mean(base))
            error = mean((values - ratio * base) / np.mean(base))
            found[name] = Estimate(ratio, ratio + error.low, ratio + error.high)
    return found


def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit  # scipy is slow to import

    return float(stdtrit(freedom, 0.5 + LEVEL / 2))
