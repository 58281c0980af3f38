"""The outline of a sublevel set in the plane, for charts."""

from __future__ import annotations

import numpy as np

from ctrl.certify.claims.sublevel_set import SublevelSet

__all__ = ["outline"]

_GRID = 160  # points per axis


def outline(region: SublevelSet) -> list[np.ndarray]:
    """Lines (k, 2) around the region, straight between points of a grid; none unless there are two states.

    Args:
        region: proved, or sampled.
    """
    low, high = region.hull
    if len(low) != 2 or not np.isfinite([low, high]).all() or not (low < high).all():
        return []
    from contourpy import contour_generator  # comes with matplotlib

    room = 0.02 * (high - low)
    first, second = (np.linspace(a, b, _GRID) for a, b in zip(low - room, high + room, strict=True))
    points = np.stack(np.meshgrid(first, second), axis=-1)
    beyond = np.maximum((region.lower - points).max(axis=-1), (points - region.upper).max(axis=-1))
    scale = float(np.max(high - low))
    # Positive outside the level or the box, negative inside both.
    value = np.maximum(region.V(points) / region.level - 1.0, np.clip(beyond / scale, -1.0, 1.0))
    return [np.asarray(line) for line in contour_generator(first, second, value).lines(0.0)]
