"""One combination of a sweep: a controller with its settings, on a task with its true plant, for one seed."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any, final

from ctrl.answers import announced
from ctrl.cells.identity import Identified, digest, identity
from ctrl.comparison.draws import draw_all
from ctrl.comparison.metrics import measure
from ctrl.comparison.pairing import paired
from ctrl.loop import simulate
from systems import Task
from systems.describe import content, describe

__all__ = ["SweepCell"]


@final
@dataclass(frozen=True)
class SweepCell:
    """A cell whose result is plain data that follows from its fields, measured times aside.

    Args:
        task: with its true plant.
        true: parameters of the true plant that differ from the controllers' model, by name, as text.
        controller: the name that tables show.
        factory: makes the controller.
        starts: number of initial states.
        seed: of initial states and disturbances.
    """

    task: Task
    true: str
    controller: str
    factory: Identified
    starts: int
    seed: int

    @property
    def description(self) -> dict[str, Any]:
        """A description of the cell for readers."""
        return {
            "task": self.task.name,
            "true": self.true or "nominal",
            "controller": self.controller,
            "settings": describe(dict(self.factory.settings)),
            "seed": self.seed,
        }

    @property
    def key(self) -> str:
        """A digest of everything that the result depends on."""
        return digest([self.description, content(self.task), identity(self.factory), self.starts])[:24]

    def __call__(self) -> dict[str, Any]:
        began = perf_counter()
        x0, w, noise = draw_all(self.task, self.starts, (self.seed,))
        controller, _ = paired(self.factory(self.task), self.factory, self.task)
        runs = simulate(self.task, controller, x0, w, noise=noise)
        metrics, said = measure(self.task, runs), announced(controller)
        return {
            "cost": runs.cost.tolist(),
            "runs": len(runs),
            "violated": metrics.violated.k,
            "unsafe": metrics.unsafe.k,
            "settled": metrics.settled.k,
            "left": metrics.left.k,
            "worst_margin": dict(metrics.worst_margin),
            "approximations": None if said is None else list(said),
            "step_p50_ms": 1e3 * metrics.step_p50,
            "step_p99_ms": 1e3 * metrics.step_p99,
            "missed": metrics.missed.k,
            "timed": metrics.missed.n,
            "seconds": perf_counter() - began,
        }
