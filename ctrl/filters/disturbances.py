"""Bounds of the disturbances that a filter takes into account."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ctrl.certify.candidates.disturbed import disturbances as drawn
from ctrl.controller import NotApplicable
from systems import Fixed, Task, UnknownName
from systems.arguments import expect_pair
from systems.errors import expect

__all__ = ["disturbance_bounds"]


def disturbance_bounds(task: Task, given: Mapping[str, tuple[float, float]] | None) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds, each (q,), of the disturbances that a filter takes into account.

    Args:
        task: whose distribution is used by default.
        given: intervals by name (others zero); None for those of the task's distribution.

    Raises:
        NotApplicable: they are not bounded. UnknownName: no such disturbance.
    """
    names = list(task.plant.disturbance.names)
    low, high = np.zeros(len(names)), np.zeros(len(names))
    if given is None:
        if isinstance(task.disturbance, Fixed):
            return task.disturbance.support(task.plant.disturbance)
        given = drawn(task)
    expect(given, Mapping, "disturbance", 'such as {"push": (-0.1, 0.1)}')
    for name, ends in given.items():
        if name not in names:
            raise UnknownName.among(name, names, f"disturbance of {task.plant.name}")
        low[names.index(name)], high[names.index(name)] = expect_pair(ends, f"disturbance {name}")
    if not np.isfinite([low, high]).all():
        raise NotApplicable(f"disturbance from {low} to {high}; expected bounded intervals")
    return low, high
