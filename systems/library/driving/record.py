"""Statistics of driving runs: speed, distance, smoothness, and constraint violations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from systems.errors import InvalidValue
from systems.library.driving.highway import Highway
from systems.runs import RecordedRuns
from systems.statistics import poisson
from systems.task import Task

__all__ = ["DrivingRecord", "driving_record"]


@dataclass(frozen=True, eq=False)
class DrivingRecord:
    """The record of all runs together.

    Args:
        distance: driven along the road, km. speed: mean, m/s.
        violations: by constraint, how often it came to be violated: stretches of violated samples, not samples.
        per_1000_km: by constraint, violations per 1,000 km.
        at_most: by constraint, upper end of the exact 95 % interval of that rate, violations taken as a Poisson process
            (Garwood, 1936): what no violation in so many km can claim.
        lane_changes: per km. jerk: root mean square of the change of acceleration, m/s^3.
        left: runs that left the road or the model's domain.
    """

    distance: float
    speed: float
    violations: dict[str, int]
    per_1000_km: dict[str, float]
    at_most: dict[str, float]
    lane_changes: float
    jerk: float
    left: int

    def __str__(self) -> str:
        rates = ", ".join(
            f"{name} {count} ({self.per_1000_km[name]:.3g} per 1,000 km, at most {self.at_most[name]:.3g} at 95 %)"
            for name, count in self.violations.items()
        )
        return (
            f"{self.distance:.1f} km at {self.speed:.1f} m/s; violations: {rates or 'no constraints'}; "
            f"{self.lane_changes:.2f} lane changes per km, jerk {self.jerk:.2f} m/s^3, {self.left} runs left the road"
        )


def driving_record(task: Task, runs: RecordedRuns) -> DrivingRecord:
    """Reads the runs of a driving task, each up to where it left the domain.

    Raises:
        InvalidValue: the task is not one of driving among others, or nobody moved.
    """
    plant = task.plant
    if not isinstance(plant, Highway):
        raise InvalidValue(f"task '{task.name}' of {plant.name} has no driving record; expected one of Highway")
    state, steps = plant.state, runs.inputs.shape[1]
    driving = np.arange(steps) < np.where(runs.left < 0, steps, runs.left)[:, None]  # (b, steps)
    speed, heading, y = (runs.states[..., state.where(name)] for name in ("speed", "heading", "y"))
    way = task.dt * float((speed * np.cos(heading))[:, :-1][driving].sum())
    if not way > 0:
        raise InvalidValue("the ego stood still throughout; a record needs some distance")
    lane = np.abs(y[..., None] - np.array(plant.road.centres)).argmin(axis=-1)
    changes = int(((np.diff(lane, axis=1) != 0) & driving).sum())
    acceleration = runs.inputs[..., plant.input.where("acceleration")]
    jerk = np.diff(acceleration, axis=1)[driving[:, 1:]] / task.dt
    # A run that left counts once more where it ended: in the next sample or, if there is none, in its last.
    counted = np.arange(steps) <= np.where(runs.left < 0, steps, runs.left)[:, None]
    broken = ~(runs.margins <= 0.0) & counted[..., None]
    began = broken & ~np.concatenate([np.zeros_like(broken[:, :1]), broken[:, :-1]], axis=1)
    counts = began.sum(axis=(0, 1))
    names, unit = [constraint.name for constraint in task.constraints], 1e6 / way
    return DrivingRecord(
        distance=1e-3 * way,
        speed=float(speed[:, :-1][driving].mean()),
        violations={name: int(n) for name, n in zip(names, counts, strict=True)},
        per_1000_km={name: float(n * unit) for name, n in zip(names, counts, strict=True)},
        at_most={name: poisson(int(n))[1] * unit for name, n in zip(names, counts, strict=True)},
        lane_changes=1e3 * changes / way,
        jerk=float(np.sqrt(np.mean(jerk**2))) if jerk.size else 0.0,
        left=int((runs.left >= 0).sum()),
    )
