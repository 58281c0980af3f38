"""The data of a comparison: common conditions, recorded runs, and metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from ctrl.comparison.metrics import Metrics
from ctrl.knowledge import Knowledge
from ctrl.trajectories import Trajectories
from systems import Task
from systems.statistics import Estimate, cost_ratios

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ComparisonData", "ProvedShare"]


@final
class ProvedShare(float):
    """A proved share of the initial states, a number that also contains the outline of its region.

    Args:
        share: between 0 and 1.
        outlines: lines (k, 2) around the region, of a plant with two states.
    """

    outlines: tuple[np.ndarray, ...]

    def __new__(cls, share: float, outlines: Sequence[np.ndarray]) -> ProvedShare:
        made = super().__new__(cls, share)
        made.outlines = tuple(outlines)
        return made

    def __reduce__(self) -> tuple[type[ProvedShare], tuple[float, tuple[np.ndarray, ...]]]:
        return ProvedShare, (float(self), self.outlines)


@dataclass(frozen=True, eq=False)
class ComparisonData(ABC):
    """The data from which the table, the figure and the files of a comparison are created.

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
        approximations: the announced approximations of each controller; None if it announces nothing.
        is_proof_tried: whether proofs were requested; default: True.
        knowledge: objective, tuning and foresight of each controller that states them; default: none.
        noise: draws of the measurement's noise (runs, steps, p), the same for every controller; None for a task without
            a measurement.
        parameters: of the true plant in each run (runs, v); None for a task without a variation.
        training_logs: CSV files of the trainings of learners, by controller, of those that name one; default: none.
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
    noise: np.ndarray | None = None
    parameters: np.ndarray | None = None
    estimators: Mapping[str, str] = field(default_factory=dict)
    knowledge: Mapping[str, Knowledge] = field(default_factory=dict)
    training_logs: Mapping[str, Path] = field(default_factory=dict)

    @property
    def ratios(self) -> Mapping[str, Estimate]:
        """Mean cost over the smallest mean cost, from paired runs."""
        return cost_ratios({name: runs.cost for name, runs in self.runs.items()})

    @property
    def regions(self) -> Mapping[str, tuple[np.ndarray, ...]]:
        """Outlines of the proved regions of attraction in the plane of two states, by controller, where known."""
        return {name: share.outlines for name, share in self.proved.items() if isinstance(share, ProvedShare)}

    @abstractmethod
    def figure(self) -> Figure:
        """Traces, phase portraits, cost and solve times on one page."""
