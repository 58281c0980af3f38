"""The controllers of a comparison, by name, and its number of starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from ctrl.controller import Controller
from systems import Task

__all__ = ["STARTS", "ComparisonSpec", "Factory"]

Factory = Callable[[Task], Controller]
"""Makes a controller for a task, or raises :class:`NotApplicable` with the reason. A controller's class is one."""

STARTS = 128
"""Initial states of a comparison, unless another number is given."""


@final
@dataclass(frozen=True)
class ComparisonSpec:
    """A task's own comparison, for controllers that would take too long on 128 starts.

    Args:
        controllers: factories by the name that the table shows.
        starts: number of initial states; default: 128.
    """

    controllers: Mapping[str, Factory]
    starts: int = STARTS
