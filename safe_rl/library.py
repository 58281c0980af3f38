"""Policies that the command line trains once and keeps: one file per task, settings and version."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from importlib import metadata
from pathlib import Path

from ctrl.controller import NotApplicable
from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.checkpoint import CheckpointError
from safe_rl.controller import PolicyController
from systems import Task
from systems.describe import describe

__all__ = ["UPDATES", "cache_folder", "dsact"]

UPDATES = 30_000
"""Updates of a policy that is trained on the spot."""


def cache_folder() -> Path:
    """Where trained policies are kept: ``$TRIVIUM_CACHE``, else ``trivium`` in the user's cache folder."""
    chosen = os.environ.get("TRIVIUM_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "trivium"


def dsact(task: Task) -> PolicyController:
    """A DSAC-T policy for the task, trained with default settings and seed 0 unless that was done before.

    A training that was interrupted goes on where it stopped.

    Raises:
        NotApplicable: an input of the task has no bounds.
    """
    lower, upper = task.input_bounds
    if not all(map(float.__lt__, lower.tolist(), upper.tolist())) or max(abs(lower).max(), abs(upper).max()) == float(
        "inf"
    ):
        raise NotApplicable(f"task '{task.name}': a policy needs finite bounds, lower < upper, on every input")
    settings = DSACTSettings()
    # The plant that really runs is not the learner's to know.
    described = describe(dataclasses.replace(task, truth=None, name=""))
    recipe = {
        "task": described,
        "settings": dataclasses.asdict(settings),
        "updates": UPDATES,
        "version": metadata.version("trivium-control"),
    }
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    finished, running = folder / f"dsact-{task.name}-{key}.policy", folder / f"dsact-{task.name}-{key}.learner"
    try:
        return PolicyController.load(task, finished)
    except (FileNotFoundError, CheckpointError):
        pass  # not trained yet, or damaged: train it
    try:
        learner = DSACT.load(running, task)
    except (FileNotFoundError, CheckpointError):
        running.unlink(missing_ok=True)
        learner = DSACT(task, seed=0, settings=settings)
    learner.learn(UPDATES, checkpoint=running, checkpoint_every=10_000)
    learner.policy.save(finished)
    running.unlink()
    return PolicyController(task, learner.policy)
