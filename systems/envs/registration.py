"""The installed tasks as environments of Gymnasium: ``gymnasium.make("trivium/cartpole-v0")``.

Gymnasium finds this module by the entry-point group ``gymnasium.envs`` when it is imported: nothing slow happens here.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from systems.errors import InvalidValue

if TYPE_CHECKING:
    from systems.envs.gym import GymEnv

__all__ = ["make", "register_tasks"]


def register_tasks() -> None:
    """Registers each task of the entry-point group ``trivium.tasks`` as ``NAME-v0``, in the namespace that Gymnasium
    gives to the entry point, ``trivium``. No task is made."""
    from gymnasium.envs.registration import register

    for name in sorted({point.name for point in metadata.entry_points(group="trivium.tasks")}):
        register(id=f"{name}-v0", entry_point="systems.envs.registration:make", kwargs={"name": name})


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
