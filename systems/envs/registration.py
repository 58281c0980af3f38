"""Registers the installed tasks as Gymnasium environments by name.

``gymnasium.make("systems.envs.registration:trivium/cartpole-v0")`` imports this module, which registers them; once it
is imported, ``gymnasium.make("trivium/cartpole-v0")`` is enough. A task is constructed only with its environment.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from systems.errors import InvalidValue, TriviumError

if TYPE_CHECKING:
    from systems.envs.gym import GymEnv

__all__ = ["GymnasiumMissing", "make"]


class GymnasiumMissing(TriviumError, ImportError):
    """Gymnasium is not installed."""


def _register_tasks() -> None:
    """Registers each task of the entry-point group ``trivium.tasks`` as ``trivium/NAME-v0``."""
    try:
        from gymnasium.envs.registration import register, registry
    except ImportError as error:
        raise GymnasiumMissing("environments of Gymnasium need Gymnasium: pip install gymnasium") from error

    for name in sorted({point.name for point in metadata.entry_points(group="trivium.tasks")}):
        if f"trivium/{name}-v0" not in registry:
            register(id=f"trivium/{name}-v0", entry_point=f"{__name__}:make", kwargs={"name": name})


def make(name: str) -> GymEnv:
    """The environment of an installed task.

    Args:
        name: of the task, as on the command line.

    Raises:
        InvalidValue: no such task, or one whose inputs have no bounds.
    """
    from systems.envs.gym import GymEnv

    points = {point.name: point for point in metadata.entry_points(group="trivium.tasks")}
    if name not in points:
        raise InvalidValue(f"unknown task '{name}'; expected one of {', '.join(sorted(points))}")
    task = points[name].load()
    return GymEnv(task() if callable(task) else task)


_register_tasks()
