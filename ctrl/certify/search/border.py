"""The border of a region in continuous time: no trajectory leaves the box there."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.subdivision import halved
from ctrl.certify.search.limits import SearchLimits
from systems.arithmetic.affine import Patch
from systems.arithmetic.interval import Interval

__all__ = ["holds_at_border"]

_CHUNK = 4096  # parts of faces examined at once, between looks at the clock


def holds_at_border(claim: Claim, limits: SearchLimits) -> tuple[int, str]:
    """The boxes examined to show that V > level or the velocity points inward on every face, and any failure."""
    began = perf_counter()
    loop, region = claim.loop, claim.region
    lower, upper = region.hull
    n, boxes = len(lower), 0
    # Only the region's own box is of interest, not that of {V <= level}.
    least, most = region.V.bounding_box(region.level)
    faces = [(i, -1.0) for i in range(n) if least[i] < region.lower[i]]
    faces += [(i, 1.0) for i in range(n) if most[i] > region.upper[i]]
    low, high = np.tile(lower, (len(faces), 1)), np.tile(upper, (len(faces), 1))
    axis, outward = np.array([i for i, _ in faces]), np.array([side for _, side in faces])
    for k, (i, side) in enumerate(faces):
        low[k, i] = high[k, i] = lower[i] if side < 0 else upper[i]
    while len(low):
        if boxes + len(low[-_CHUNK:]) > limits.boxes or perf_counter() - began > limits.seconds:
            return boxes, f"limits reached on the border of the box: {len(low):,} parts of its faces undecided"
        later = [part[:-_CHUNK] for part in (low, high, axis, outward)]
        low, high, axis, outward = (part[-_CHUNK:] for part in (low, high, axis, outward))
        boxes += len(low)
        box = Interval(low, high)
        patch, rows = Patch.boxes(box), np.arange(len(low))
        velocity = loop.relax(patch).range(loop.with_disturbances(patch).half)[rows, axis]
        inward = np.where(outward > 0, velocity.hi < 0, velocity.lo > 0)
        rest = ~(inward | (region.V.enclose(box).lo > region.level))
        escaping = region.V.enclose(patch.point).hi <= region.level
        velocity_at_point = loop.enclose(patch.point, loop.disturbance_box.mid)[rows, axis]
        if (rest & escaping & np.where(outward > 0, velocity_at_point.lo > 0, velocity_at_point.hi < 0)).any():
            return boxes, "trajectories leave the region through a face of the box; use a lower level or a larger box"
        low, high, axis, outward = low[rest], high[rest], axis[rest], outward[rest]
        halves = halved(low, high, high - low)
        if halves is None:
            return boxes, "a face of the box cannot be halved any further in double precision"
        halved_faces = halves.low, halves.high, np.tile(axis, 2), np.tile(outward, 2)
        low, high, axis, outward = (np.concatenate(pair) for pair in zip(later, halved_faces, strict=True))
    return boxes, ""
