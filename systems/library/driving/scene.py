"""One run of driving in traffic, in road coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from systems.errors import InvalidValue
from systems.library.driving.highway import Highway
from systems.runs import RecordedRuns
from systems.task import Task

__all__ = ["Scene", "scene"]


@dataclass(frozen=True, eq=False)
class Scene:
    """Positions of all vehicles at each of K samples; the ego is vehicle 0.

    Args:
        plant: whose road and drivers these are.
        desired_speed: of the ego, m/s.
        time: (K,), s.
        driven: (K,), distance of the ego along the road, m.
        ahead: (K, vehicles), of the ego by the shorter way round the ring, m.
        y: (K, vehicles), across the road, m.
        heading: (K, vehicles), rad.
        speed: (K, vehicles), m/s.
        inputs: (K - 1, 2).
        margins: (K - 1, constraints), positive where violated.
    """

    plant: Highway
    desired_speed: float
    time: np.ndarray
    driven: np.ndarray
    ahead: np.ndarray
    y: np.ndarray
    heading: np.ndarray
    speed: np.ndarray
    inputs: np.ndarray
    margins: np.ndarray


def scene(task: Task, runs: RecordedRuns, run: int = 0) -> Scene:
    """Reads one of the runs, up to where it left the domain.

    Raises:
        InvalidValue: the task is not one of driving among others, or there is no such run.
    """
    plant = task.plant
    if not isinstance(plant, Highway):
        raise InvalidValue(f"task '{task.name}' of {plant.name} cannot be drawn as driving; expected one of Highway")
    if not -len(runs.states) <= run < len(runs.states):
        raise InvalidValue(f"run {run} of {len(runs.states)} runs; the first is 0")
    left = int(runs.left[run])
    x = runs.states[run, : left + 1] if left >= 0 else runs.states[run]
    names, length = plant.state, plant.road.length

    def of(what: str) -> np.ndarray:
        return np.stack([x[:, names.where(f"{what}_{name}")] for name in plant.others], axis=1)

    ego = {name: x[:, names.where(name)] for name in ("y", "speed", "heading")}
    along = ego["speed"] * np.cos(ego["heading"])
    driven = np.concatenate([[0.0], np.cumsum(0.5 * task.dt * (along[1:] + along[:-1]))])
    ahead, y, speed = of("ahead"), of("y"), of("speed")
    lateral = np.gradient(y, task.dt, axis=0) if len(x) > 1 else np.zeros_like(y)
    reference, _ = task.reference.at(plant, 0)
    return Scene(
        plant,
        float(reference[names.where("speed")]),
        task.dt * np.arange(len(x)),
        driven,
        np.column_stack([np.zeros(len(x)), ahead - length * np.round(ahead / length)]),
        np.column_stack([ego["y"], y]),
        np.column_stack([ego["heading"], np.arctan2(lateral, np.maximum(speed, 1.0))]),
        np.column_stack([ego["speed"], speed]),
        runs.inputs[run, : len(x) - 1],
        runs.margins[run, : len(x) - 1],
    )
