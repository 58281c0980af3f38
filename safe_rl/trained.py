"""Policies that the command line trains once and keeps: one file per task, recipe and version."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, final

import numpy as np

from ctrl.controller import NotApplicable
from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.checkpoint import CheckpointError
from safe_rl.combinations import Combination
from safe_rl.controller import PolicyController
from safe_rl.jump_start import JumpStart
from safe_rl.training import Learner
from systems import Task
from systems.cache import cache_folder
from systems.describe import fingerprint
from systems.files import kept, locked

__all__ = ["UPDATES", "Recipe", "dsact", "trained"]

UPDATES = 20_000
"""Updates of a policy that is trained on the spot."""


CHECKPOINT_EVERY = 5_000
"""Updates that an interruption can cost at most."""


@final
@dataclass(frozen=True)
class Recipe:
    """How a policy is made.

    Args:
        name: of the file that keeps it. make: the learner. settings: of its base. updates: in all.
        guide: begins its runs.
    """

    name: str
    make: type[Learner] | Combination
    settings: Any
    updates: int
    guide: Callable[[Task], JumpStart] | None = None

    def begin(self, task: Task, running: Path, seed: int = 0) -> Learner:
        """The learner, from its checkpoint where there is one that can be read."""
        try:
            learner = self.make.load(running, task)
        except CheckpointError:
            running.unlink(missing_ok=True)
            learner = self.make(task, seed=seed, settings=self.settings)  # type: ignore[call-arg]
        return learner if self.guide is None else learner.guided(self.guide(task))

    def described(self, task: Task) -> dict[str, Any]:
        """All that the policy depends on, in words and numbers."""
        recipe = {
            "task": fingerprint(task),
            "settings": dataclasses.asdict(self.settings),
            "updates": self.updates,
            "version": _version(),
        }
        if isinstance(self.make, Combination):
            recipe["handler"] = repr(self.make.handler)
        if self.guide is not None:
            recipe["guide"] = repr(self.guide(task).settings)
        return recipe


def dsact(task: Task) -> PolicyController:
    """A DSAC-T policy for the task, trained with default settings and seed 0 unless that was done before.

    A training that was interrupted goes on where it stopped.

    Raises:
        NotApplicable: an input of the task has no bounds.
    """
    return trained(task, Recipe("dsact", DSACT, DSACTSettings(), UPDATES))


def trained(task: Task, recipe: Recipe) -> PolicyController:
    """The policy of a recipe on a task, from the cache or trained on the spot; see `dsact`."""
    lower, upper = task.input_bounds
    if not len(lower) or not (np.isfinite([lower, upper]).all() and (lower < upper).all()):
        raise NotApplicable(f"task '{task.name}': a policy needs inputs, each with finite bounds, lower < upper")
    if task.discount >= 1:
        raise NotApplicable(f"task '{task.name}': a learner needs a discount below 1, such as 0.99")
    key = hashlib.sha256(json.dumps(recipe.described(task), sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder()
    stem = f"{recipe.name}-{task.name}-{key}"
    finished, running = folder / f"{stem}.policy", folder / f"{stem}.learner"
    with locked(finished, wait=True):  # whoever asks while another process trains it waits for that
        try:
            return PolicyController.load(task, finished)
        except (CheckpointError, NotApplicable):
            pass  # not trained yet, damaged, or a foreign one: train it
        learner = recipe.begin(task, running)
        learner.learn(recipe.updates, checkpoint=running, checkpoint_every=CHECKPOINT_EVERY)
        try:
            place, trouble = kept(finished, learner.result.save)
        except OSError as error:  # it is trained again the next time
            place, trouble = finished, str(error)
        if trouble:
            warnings.warn(f"{trouble}; the policy is {place if place.exists() else 'not kept'}", stacklevel=2)
        else:
            running.unlink(missing_ok=True)
        return PolicyController(task, learner.result)


def _version() -> str:
    try:
        return metadata.version("trivium-control")
    except metadata.PackageNotFoundError:
        return "not installed"  # a checkout on the path
