"""Policies that the command line trains once and keeps: one file per task, settings and version."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from importlib import metadata
from pathlib import Path

import numpy as np

from ctrl.controller import NotApplicable
from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.checkpoint import CheckpointError
from safe_rl.controller import PolicyController
from systems import Task
from systems.describe import fingerprint

__all__ = ["UPDATES", "cache_folder", "dsact"]

UPDATES = 20_000
"""Updates of a policy that is trained on the spot."""


CHECKPOINT_EVERY = 5_000
"""Updates that an interruption can cost at most."""


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
    if not len(lower) or not (np.isfinite([lower, upper]).all() and (lower < upper).all()):
        raise NotApplicable(f"task '{task.name}': a policy needs inputs, each with finite bounds, lower < upper")
    if task.discount >= 1:
        raise NotApplicable(f"task '{task.name}': a learner needs a discount below 1, such as 0.99")
    settings = DSACTSettings()
    recipe = {
        "task": fingerprint(task),
        "settings": dataclasses.asdict(settings),
        "updates": UPDATES,
        "version": _version(),
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
    learner.learn(UPDATES, checkpoint=running, checkpoint_every=CHECKPOINT_EVERY)
    learner.mean_policy.save(finished)
    running.unlink()
    return PolicyController(task, learner.mean_policy)


def _version() -> str:
    try:
        return metadata.version("trivium-control")
    except metadata.PackageNotFoundError:
        return "not installed"  # a checkout on the path
