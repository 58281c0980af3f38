"""One combination of a sweep: a controller with its settings, on a task with its true plant, for one seed."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any, final

import numpy as np

from ctrl.answers import announced
from ctrl.cells.identity import Identified, digest, identity
from ctrl.comparison.draws import draw_all
from ctrl.comparison.metrics import measure
from ctrl.comparison.pairing import paired
from ctrl.comparison.verdicts import violated_samples
from ctrl.controller import Controller
from ctrl.loop import simulate
from ctrl.sweep.perturbation import NOMINAL, Perturbation
from ctrl.training_log import read_log, training_log
from systems import Task
from systems.describe import content, describe

__all__ = ["SweepCell"]

_POINTS = 400  # of a learning curve
_MADE: dict[str, Controller] = {}  # the last controller of this process


@final
@dataclass(frozen=True)
class SweepCell:
    """A cell whose result is plain data that follows from its fields, measured times aside.

    ``broken`` counts the runs that violate any constraint at any sample, leave the domain or diverge; ``learning``
    holds updates and minus the mean return of the training of a learner whose log can be read, else nothing.

    Args:
        task: with its true plant.
        true: parameters of the true plant that differ from the controllers' model, by name, as text.
        controller: the name that tables show.
        factory: makes the controller.
        starts: number of initial states.
        seed: of initial states and disturbances.
        perturbation: of the loop that runs, unknown to the controller; default: none.
    """

    task: Task
    true: str
    controller: str
    factory: Identified
    starts: int
    seed: int
    perturbation: Perturbation = NOMINAL

    @property
    def description(self) -> dict[str, Any]:
        """A description of the cell for readers."""
        entries = {
            "task": self.task.name,
            "true": self.true or "nominal",
            "controller": self.controller,
            "settings": describe(dict(self.factory.settings)),
            "seed": self.seed,
        }
        return entries if self.perturbation == NOMINAL else entries | {"perturbation": str(self.perturbation)}

    @property
    def key(self) -> str:
        """A digest of everything that the result depends on."""
        parts = [self.description, content(self.task), identity(self.factory), self.starts]
        return digest(parts if self.perturbation == NOMINAL else [*parts, describe(self.perturbation)])[:24]

    def __call__(self) -> dict[str, Any]:
        began = perf_counter()
        controller, task = self._made(), self.perturbation.task(self.task)
        drawn = self.perturbation.draws(draw_all(task, self.starts, (self.seed,)))
        runs = simulate(task, self.perturbation.controller(controller, task), **drawn.arguments)
        metrics, approximations = measure(task, runs), announced(controller)
        return {
            "cost": runs.cost.tolist(),
            "runs": len(runs),
            "violated": metrics.violated.k,
            "unsafe": metrics.unsafe.k,
            "settled": metrics.settled.k,
            "left": metrics.left.k,
            "broken": int((violated_samples(runs.margins).any(axis=(1, 2)) | ~runs.stayed).sum()),
            "worst_margin": dict(metrics.worst_margin),
            "approximations": None if approximations is None else list(approximations),
            "step_p50_ms": 1e3 * metrics.step_p50,
            "step_p99_ms": 1e3 * metrics.step_p99,
            "missed": metrics.missed.k,
            "timed": metrics.missed.n,
            "seconds": perf_counter() - began,
            "learning": _learning(controller),
        }

    def _made(self) -> Controller:
        """The controller. Cells that differ in their perturbations share it, as runs of a comparison do."""
        known = None if self.perturbation == NOMINAL else identity(self.factory)
        key = "" if known is None else digest([known, content(self.task)])
        if key and key in _MADE:
            return _MADE[key]
        made: Controller = paired(self.factory(self.task), self.factory, self.task)[0]
        if key:
            _MADE.clear()
            _MADE[key] = made
        return made


def _learning(controller: Controller) -> list[list[float]]:
    """Updates and minus the mean return of a training; empty where there is none or no log of it."""
    log = training_log(controller)
    held = None if log is None else read_log(log)
    if held is None:
        return []
    shown = np.unique(np.linspace(0, len(held[0]) - 1, _POINTS).round().astype(int))
    return [held[0][shown].tolist(), (-held[1][shown]).tolist()]
