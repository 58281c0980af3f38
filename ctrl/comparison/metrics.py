"""Metrics of a controller's runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np

from ctrl.comparison.verdicts import Verdict, verdicts, violated_samples
from ctrl.controller import Status
from ctrl.trajectories import Trajectories
from systems import Hard, Task
from systems.statistics import Estimate, Rate, mean

__all__ = ["Metrics", "estimation_errors", "measure", "settling_times"]

STAY = 0.1
"""Share of the run for which a state must have stayed at the reference, up to the end, to count as settled."""


@final
@dataclass(frozen=True)
class Metrics:
    """One controller's line of the table.

    Args:
        cost: mean of the runs' whole cost, Student's t.
        settling: seconds until the state stays at the reference (``Task.arrival``), median over the runs that settle.
        settled: runs that arrive and stay; if starts are drawn from the initial distribution, the sampled region of
            attraction.
        violated: runs that violate any constraint at any sample.
        violations: the same by name.
        worst_margin: largest g by name; positive means violated, NaN that g was undefined somewhere (so violated, too).
        verdicts: whether each constraint was kept, by its own requirement.
        unsafe: runs that broke a hard constraint or left the domain.
        broke_hard: runs that broke a hard constraint.
        left: runs that left the domain or diverged.
        step_p50: seconds of one step, median.
        step_p99: seconds of one step, 99th percentile.
        missed: timed steps that took longer than dt.
        statuses: samples by how the computation ended.
        estimation_error: root mean square of the error of the estimated state, by name, over the samples of all runs
            until they end; empty where nothing is estimated.
        unsolved: number of runs that ended because equations of the plant were not solved.
    """

    cost: Estimate
    settling: float
    settled: Rate
    violated: Rate
    violations: Mapping[str, Rate]
    worst_margin: Mapping[str, float]
    verdicts: tuple[Verdict, ...]
    unsafe: Rate
    broke_hard: Rate
    left: Rate
    step_p50: float
    step_p99: float
    missed: Rate
    statuses: Mapping[Status, int]
    estimation_error: Mapping[str, float] = field(default_factory=dict)
    unsolved: int = 0


def measure(task: Task, runs: Trajectories) -> Metrics:
    """All metrics of one controller's runs."""
    names = [constraint.name for constraint in task.constraints]
    broken = np.asarray(violated_samples(runs.margins).any(axis=1))  # (b, constraints)
    hard = np.array([isinstance(c.requirement, Hard) for c in task.constraints], dtype=bool)
    broke_hard = np.asarray(broken[:, hard].any(axis=1))
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
        verdicts=verdicts(task, runs.margins),
        unsafe=Rate(int((broke_hard | ~runs.stayed).sum()), b),
        broke_hard=Rate(int(broke_hard.sum()), b),
        left=Rate(int((~runs.stayed).sum()), b),
        step_p50=float(np.quantile(taken, 0.5)) if len(taken) else float("nan"),
        step_p99=float(np.quantile(taken, 0.99)) if len(taken) else float("nan"),
        missed=Rate(int((taken > task.dt).sum()), len(taken)),
        statuses={status: int((runs.statuses == i).sum()) for i, status in enumerate(Status)},
        estimation_error=estimation_errors(task, runs),
        unsolved=0 if runs.unsolved is None else int(runs.unsolved.sum()),
    )


def estimation_errors(task: Task, runs: Trajectories) -> dict[str, float]:
    """Root mean square of the error of the estimated state, by name; empty where nothing was estimated."""
    if runs.estimates is None:
        return {}
    known = np.isfinite(runs.estimates).all(axis=-1)
    if not known.any():
        return {}
    errors = task.reading.state.deviation(runs.estimates[known], runs.states[:, :-1][known])
    return dict(zip(task.plant.state.names, np.sqrt((errors**2).mean(axis=0)).tolist(), strict=True))


def settling_times(task: Task, runs: Trajectories) -> np.ndarray:
    """Seconds (b,) from which on the state is within ``task.arrival`` of the reference; infinite where never."""
    steps = runs.states.shape[1] - 1
    x_ref, _ = task.reference.at(task.plant, np.arange(steps + 1))
    offset = task.reading.state.deviation(runs.states, x_ref)
    outside: np.ndarray = np.any(np.abs(offset) > task.arrival, axis=-1)
    since = steps + 1 - np.argmax(outside[:, ::-1], axis=1)
    since = np.where(outside.any(axis=1), since, 0)
    stays = runs.stayed & (since <= steps - np.ceil(STAY * steps))
    return np.where(stays, since * task.dt, np.inf)
