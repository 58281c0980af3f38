"""Controllers made with tuned weights and settings."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from ctrl.cells.identity import Identified, identity
from ctrl.comparison.draws import Draws, draw_all
from ctrl.knowledge import knowledge_of, restate
from ctrl.tuning.parameters import reweighted
from systems import Task

__all__ = ["Tuned", "TuningRuns", "tuned"]


@final
@dataclass(frozen=True)
class TuningRuns:
    """What controllers were tuned on.

    Args:
        task: whose nominal plant was simulated.
        trials: of each controller.
        starts: number of initial states of every trial.
        seed: of initial states and disturbances.
    """

    task: Task
    trials: int
    starts: int
    seed: int

    def __str__(self) -> str:
        return (
            f"{self.trials} trials with {self.starts} runs of the nominal plant, of starts and disturbances of seed "
            f"{self.seed}"
        )

    def draws(self) -> Draws:
        """The initial states and disturbances of every trial."""
        return draw_all(self.task, self.starts, (self.seed,))


@final
@dataclass(frozen=True)
class Tuned:
    """Makes a controller of a task with other weights, and states in its knowledge that they were tuned.

    Args:
        factory: of the controller.
        runs: that it was tuned on; default: none, nothing is stated.
    """

    factory: Identified
    runs: TuningRuns | None = None

    def __call__(
        self, task: Task, weights: Mapping[str, float] | None = None, settings: Mapping[str, Any] | None = None
    ) -> Any:
        """The controller, made for the task with these weights.

        Args:
            task: that it controls.
            weights: factors by signal, see :func:`ctrl.tuning.reweighted`; default: none.
            settings: arguments of its factory; default: none.
        """
        chosen = dataclasses.replace(
            self.factory, settings=tuple((dict(self.factory.settings) | dict(settings or {})).items())
        )
        made = chosen(reweighted(task, weights or {}))
        known = knowledge_of(made)
        if self.runs is not None and known is not None:
            with_weights = ", with weights tuned for the cost of the task" if weights else ""
            tuning = f"{known.tuning}, and tuned by {self.runs}"
            restate(made, dataclasses.replace(known, objective=f"{known.objective}{with_weights}", tuning=tuning))
        return made

    def tuned_on(self) -> Draws | None:
        """The draws of the runs that it was tuned on."""
        return None if self.runs is None else self.runs.draws()


def tuned(
    factory: Identified, weights: Mapping[str, float], settings: Mapping[str, Any], runs: TuningRuns | None = None
) -> Identified:
    """A factory with tuned weights and settings, recognised in another process as far as the original one is.

    Args:
        factory: of the controller.
        weights: factors by signal.
        settings: arguments of the factory.
        runs: see :class:`Tuned`; default: none.
    """
    known = identity(factory)
    source = f"{factory.source} {uuid.uuid4().hex}" if known is None else f"tuned {known}"
    chosen = {name: dict(values) for name, values in (("weights", weights), ("settings", settings)) if values}
    return Identified(Tuned(factory, runs), source, tuple(chosen.items()))
