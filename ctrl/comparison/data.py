"""The data of a comparison: what every controller faced, what its runs did, and what was measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ctrl.comparison.metrics import Metrics
from ctrl.trajectories import Trajectories
from systems import Task
from systems.statistics import Estimate, cost_ratios

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ComparisonData"]


@dataclass(frozen=True, eq=False)
class ComparisonData(ABC):
    """Read by the table, the figure and the files of a comparison.

    Args:
        task: the task of every run.
        seeds: of starts and disturbances.
        starts: initial states (runs, n), the same for every controller.
        disturbances: draws (runs, steps, q), the same for every controller.
        runs: trajectories by controller.
        proved: region of attraction by proof, as a share of the starts' support; None where there is no proof.
        skipped: why a controller does not apply, by controller.
        failed: the error that stopped a controller, by controller.
        seconds: wall time by controller, its construction included.
        workers: number of processes.
        metrics: what was measured of the runs, by controller.
        approximations: what each controller does not take of the task as it is written, in words; None where it does
            not say.
        is_proof_tried: whether proofs were asked for; default: True.
        regions: outlines (k, n) of the proved region of attraction of a plant with two states, by controller; default:
            none.
        noise: draws of the measurement's noise (runs, steps, p), the same for every controller; None for a task without
            a measurement.
        estimators: names of the estimators' classes, by controller, of those that have one.
    """

    task: Task
    seeds: tuple[int, ...]
    starts: np.ndarray
    disturbances: np.ndarray
    runs: Mapping[str, Trajectories]
    proved: Mapping[str, float | None]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]
    seconds: Mapping[str, float]
    workers: int
    metrics: Mapping[str, Metrics]
    approximations: Mapping[str, tuple[str, ...] | None]
    is_proof_tried: bool = True
    regions: Mapping[str, tuple[np.ndarray, ...]] = field(default_factory=dict)
    noise: np.ndarray | None = None
    estimators: Mapping[str, str] = field(default_factory=dict)

    @property
    def ratios(self) -> Mapping[str, Estimate]:
        """Mean cost over the smallest mean cost, from paired runs."""
        return cost_ratios({name: runs.cost for name, runs in self.runs.items()})

    @abstractmethod
    def figure(self) -> Figure:
        """Traces, phase portraits, cost and solve times on one page."""
