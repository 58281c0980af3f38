"""Checks that a stored learner fits the task, its settings and the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from safe_rl.budgets import CostLimit
from safe_rl.checkpoint import CheckpointError, size_of
from safe_rl.environment import LearnableTask, VectorEnvironment
from safe_rl.handlers.base import Handler
from safe_rl.progress import Record
from systems import Task
from systems.describe import fingerprint
from systems.files import shown

__all__ = ["expect_same_identity", "identity", "reading", "record", "settings"]


@contextmanager
def reading(path: str | Path, kind: str) -> Iterator[None]:
    """Context that reports content that does not fit as a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # a checksum can be made for any content
        raise CheckpointError(
            f"{path}: its content does not fit this version of {kind} ({type(error).__name__}: {error}); "
            "load it with the version of the package that wrote it"
        ) from error


def settings(stored: dict[str, Any], kind: type[Any]) -> Any:
    """The settings of a stored learner, in which lists from the file become tuples again.

    Raises:
        ValueError: they require more memory than the tensors in the file, which such a learner would have filled.
    """
    read = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored["settings"].items()})
    widths = tuple(getattr(read, "hidden", ()))
    asked = sum(a * b for a, b in pairwise((1, *widths, 1))) + getattr(read, "environments", 0)
    if 4 * asked > size_of(stored):
        raise ValueError(f"settings {shown(stored['settings'])} require more memory than the file contains")
    return read


def identity(
    task: LearnableTask, environment: VectorEnvironment, handler: Handler | None, limits: Sequence[CostLimit]
) -> dict[str, Any]:
    """Properties of task and handler that must be the same in a checkpoint and in the learner that loads it."""
    return {
        "task": f"{task.name} {fingerprint(task) if isinstance(task, Task) else ''}".strip(),
        "discount": float(task.discount),
        "observation size": environment.observation_size,
        "action low": environment.action_low.tolist(),
        "action high": environment.action_high.tolist(),
        "constraints": list(environment.constraint_names),
        "handler": repr(handler),
        "budgets": [str(limit) for limit in limits],
    }


def expect_same_identity(stored: dict[str, Any], given: dict[str, Any], path: str | Path) -> None:
    """Rejects a checkpoint made for a different task or handler.

    Args:
        stored: identity in the file.
        given: identity of the learner that is to resume from it.
        path: of the file, for the message.

    Raises:
        CheckpointError: says in which properties they differ.
    """
    differing = [
        f"{key} {stored.get(key)} ({'given' if key == 'handler' else 'this task'}: {given[key]})"
        for key in given
        if stored.get(key) != given[key]
    ]
    if differing:
        raise CheckpointError(
            f"{path}: made for another task or handler: {'; '.join(differing)}; load it with the ones it was made for"
        )


def record(stored: Any) -> Record:
    """A line of the log, which must consist of numbers.

    Raises:
        ValueError: an entry is not a number.
    """
    line = Record(**stored)
    numbers = [line.updates, line.steps, line.episodes, line.mean_return, line.mean_length]
    numbers += [*line.mean_costs.values(), *line.diagnostics.values()]
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise ValueError(f"a line of the log with {shown(stored)}")
    return line
