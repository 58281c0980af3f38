"""Learners with several training seeds, on the runs of a comparison."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ctrl.cells.identity import Identified
from ctrl.sweep.cell import SweepCell
from ctrl.sweep.grid import grid
from systems import Task

__all__ = ["is_trained", "training_cells"]


def is_trained(factory: Callable[..., Any]) -> bool:
    """Whether a factory of controllers takes the seed of a training.

    Args:
        factory: of controllers.
    """
    made_by = factory.factory if isinstance(factory, Identified) else factory
    return "seed" in inspect.signature(made_by).parameters


def training_cells(
    task: Task, controllers: Mapping[str, Identified], training_seeds: Sequence[int], starts: int, seed: int = 0
) -> list[SweepCell]:
    """One cell for each learner and training seed, all with the same runs; empty where nothing is trained.

    Args:
        task: of the trainings and of the runs.
        controllers: factories by name; those that take no seed are left out.
        training_seeds: of the trainings.
        starts: number of initial states.
        seed: of initial states and disturbances; default: 0.
    """
    learners = {name: factory for name, factory in controllers.items() if is_trained(factory)}
    if not learners:
        return []
    settings = {name: {"seed": list(training_seeds)} for name in learners}
    return grid([task], learners, starts, [seed], settings=settings)
