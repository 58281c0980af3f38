"""What of a learner goes into a checkpoint, and how a learner goes on from it."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from safe_rl.checkpoint import CheckpointError, size_of
from safe_rl.progress import Record
from systems import Task
from systems.describe import fingerprint
from systems.files import shown

if TYPE_CHECKING:
    from safe_rl.training import Learner

__all__ = ["content", "reading", "restore", "settings"]


def content(learner: Learner) -> dict[str, Any]:
    """Everything a run depends on."""
    return {
        "identity": _identity(learner),
        "seed": learner.seed,
        "settings": dataclasses.asdict(learner.settings),
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
        "updates": learner.updates,
        "prepared": learner.prepared,
        "reward_scale": learner.reward_scale,
        "constraints": {} if learner.constraints is None else learner.constraints.state_dict(),
        "history": [dataclasses.asdict(record) for record in learner.history],
        "generator": learner.generator.get_state(),
        "collector": learner.collector.state_dict(),
        "learner": learner.learner_state(),
    }


def settings(stored: dict[str, Any], kind: type[Any]) -> Any:
    """The settings a learner was made with; tuples come back from files as lists.

    Raises:
        ValueError: they ask for more memory than the tensors of the file take, which such a learner has filled.
    """
    found = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored["settings"].items()})
    widths = tuple(getattr(found, "hidden", ()))
    asked = sum(a * b for a, b in pairwise((1, *widths, 1))) + getattr(found, "environments", 0)
    if 4 * asked > size_of(stored):
        raise ValueError(f"settings {shown(stored['settings'])} ask for more than the file holds the result of")
    return found


def restore(learner: Learner, stored: dict[str, Any], path: str | Path) -> None:
    """Bring a fresh learner to where the saved one was.

    Raises:
        CheckpointError: it belongs to another task or another handler.
    """
    then, now = stored["identity"], _identity(learner)
    differing = [
        f"{key} {then.get(key)} ({'given' if key == 'handler' else 'this task'}: {now[key]})"
        for key in now
        if then.get(key) != now[key]
    ]
    if differing:
        raise CheckpointError(f"{path}: made for another task or handler: {'; '.join(differing)}; load it with its own")
    learner.updates, learner.prepared = int(stored["updates"]), bool(stored["prepared"])
    learner.reward_scale.copy_(stored["reward_scale"])
    if learner.constraints is not None:
        learner.constraints.load_state_dict(stored["constraints"])
    learner.history = [_record(record) for record in stored["history"]]
    learner.generator.set_state(stored["generator"])
    learner.collector.load_state_dict(stored["collector"])
    learner.load_learner_state(stored["learner"])
    if learner.prepared != (learner.collector.steps > 0) or (learner.updates > 0 and not learner.prepared):
        raise ValueError(
            f"{learner.updates} updates after {learner.collector.steps} steps, prepared: {learner.prepared}"
        )


@contextmanager
def reading(path: str | Path, kind: str) -> Iterator[None]:
    """Context in which content that does not fit is a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # a checksum can be made for any content
        raise CheckpointError(
            f"{path}: its content does not fit this version of {kind} ({type(error).__name__}: {error}); "
            "load it with the version of the package that wrote it"
        ) from error


def _record(stored: Any) -> Record:
    """A line of the log; of numbers alone, as a writer of CSV takes them."""
    record = Record(**stored)
    numbers = [record.updates, record.steps, record.episodes, record.mean_return, record.mean_length]
    numbers += [*record.mean_costs.values(), *record.diagnostics.values()]
    if not all(isinstance(a, (int, float)) for a in numbers):
        raise ValueError(f"a line of the log with {shown(stored)}")
    return record


def _identity(learner: Learner) -> dict[str, Any]:
    """What a checkpoint must agree on with the task and the handler it is loaded for."""
    environment, task = learner.collector.environment, learner.task
    return {
        "task": f"{task.name} {fingerprint(task) if isinstance(task, Task) else ''}".strip(),
        "discount": learner.discount,
        "observation size": environment.observation_size,
        "action low": environment.action_low.tolist(),
        "action high": environment.action_high.tolist(),
        "constraints": list(learner.constraint_names),
        "handler": repr(learner.handler),
        "budgets": [] if learner.constraints is None else [str(a) for a in learner.constraints.allowances],
    }
