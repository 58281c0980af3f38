"""Policies that the command line trains once and caches: one file per task, training configuration and version."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, final

import numpy as np

from ctrl.controller import NotApplicable
from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.base.off_policy import OffPolicy
from safe_rl.checkpoint import CheckpointError
from safe_rl.combinations import Combination
from safe_rl.controller import PolicyController
from safe_rl.jump_start import JumpStart
from safe_rl.measured_policy import MeasuredPolicyController
from safe_rl.policy import Policy
from safe_rl.progress import write_log
from safe_rl.training import Learner
from systems import Task
from systems.arguments import expect_seed
from systems.cache import cache_folder
from systems.describe import fingerprint
from systems.files import kept, locked

__all__ = ["UPDATES", "TrainingConfig", "cached_policy", "dsact"]

UPDATES = 20_000
"""Updates of a policy that is trained on first use."""


CHECKPOINT_EVERY = 5_000
"""Updates that an interruption can cost at most."""


@final
@dataclass(frozen=True)
class TrainingConfig:
    """Learner, settings and number of updates of a training.

    Args:
        name: of the policy's file.
        make: the learner.
        settings: of its base.
        updates: in all.
        jump_start: constructs the jump start; default: none.
        chooses_regulator: whether the learner learns what to add to LQR if that brings the runs to the reference.
        seed: of the learner and its environments; default: 0.
    """

    name: str
    make: type[Learner] | Combination
    settings: Any
    updates: int
    jump_start: Callable[[Task], JumpStart] | None = None
    chooses_regulator: bool = False
    seed: int = 0

    def begin(self, task: Task, running: Path) -> Learner:
        """The learner, from its checkpoint if a readable one exists."""
        try:
            learner = self.make.load(running, task)
        except CheckpointError:
            running.unlink(missing_ok=True)
            learner = self.make(task, seed=self.seed, settings=self.settings)  # type: ignore[call-arg]
            if self.chooses_regulator and isinstance(learner, OffPolicy):
                learner.choose_regulator()
        return learner if self.jump_start is None else learner.with_jump_start(self.jump_start(task))

    def described(self, task: Task) -> dict[str, Any]:
        """Everything that the policy depends on, in words and numbers."""
        description = {
            "task": fingerprint(task),
            "settings": dataclasses.asdict(self.settings),
            "updates": self.updates,
            "version": _version(),
        }
        if isinstance(self.make, Combination):
            description["handler"] = repr(self.make.handler)
        if task.observes_measurement:
            description["observed"] = list(task.observation_signals.names)
        if self.chooses_regulator:
            description["regulator"] = "LQR, where it brings the runs to the reference"
        if self.jump_start is not None:
            description["jump start"] = repr(self.jump_start(task).settings)
        if self.seed:  # files of seed 0 keep their names
            description["seed"] = self.seed
        return description


def dsact(task: Task, seed: int = 0) -> PolicyController | MeasuredPolicyController:
    """A DSAC-T policy for the task, trained with default settings on first use; a residual on LQR if LQR brings the
    runs to the reference.

    An interrupted training resumes where it stopped.

    Args:
        task: on which it is trained.
        seed: of the training; default: 0.

    Raises:
        NotApplicable: an input of the task has no bounds.
    """
    config = TrainingConfig("dsact", DSACT, DSACTSettings(), UPDATES, chooses_regulator=True, seed=expect_seed(seed))
    return cached_policy(task, config)


def cached_policy(task: Task, config: TrainingConfig) -> PolicyController | MeasuredPolicyController:
    """The policy of a training configuration on a task, from the cache or trained now; see `dsact`."""
    lower, upper = task.input_bounds
    if not len(lower) or not (np.isfinite([lower, upper]).all() and (lower < upper).all()):
        raise NotApplicable(f"task '{task.name}': a policy needs inputs, each with finite bounds, lower < upper")
    if task.discount >= 1:
        raise NotApplicable(f"task '{task.name}': a learner needs a discount below 1, such as 0.99")
    key = hashlib.sha256(json.dumps(config.described(task), sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder()
    stem = f"{config.name}-{task.name}-{key}"
    finished, running, log = (folder / f"{stem}.{kind}" for kind in ("policy", "learner", "csv"))
    with locked(finished, wait=True):  # waits if another process is training it
        try:
            return _with_log(task, Policy.load(finished), log)
        except (CheckpointError, NotApplicable):
            pass  # not trained yet, damaged, or a foreign one: train it
        learner = config.begin(task, running)
        learner.learn(config.updates, checkpoint=running, checkpoint_every=CHECKPOINT_EVERY)
        with suppress(OSError):  # the policy is usable without its learning curve
            write_log(log, learner.history)
        try:
            place, trouble = kept(finished, learner.result.save)
        except OSError as error:  # the policy is trained again next time
            place, trouble = finished, str(error)
        if trouble:
            saved = f"saved as {place}" if place.exists() else "not saved"
            warnings.warn(f"{trouble}; the policy is {saved}", stacklevel=2)
        else:
            running.unlink(missing_ok=True)
        return _with_log(task, learner.result, log)


def _with_log(task: Task, policy: Policy, log: Path) -> PolicyController | MeasuredPolicyController:
    """The controller of a policy, with the log of its training if it exists."""
    controller = (MeasuredPolicyController if task.observes_measurement else PolicyController)(task, policy)
    controller.training_log = log if log.is_file() else None
    return controller


def _version() -> str:
    try:
        return metadata.version("trivium-control")
    except metadata.PackageNotFoundError:
        return "not installed"  # a checkout on the path
