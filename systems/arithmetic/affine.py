"""Affine forms over boxes: a function is an affine map of the state, up to a radius.

Linear relaxations of networks and mean-value forms of plants both have this form, and bounds on the change of a
Lyapunov function use nothing else of either.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval

__all__ = ["Affine", "Patch", "clipped", "mean_value"]

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Patch:
    """Parallelepipeds x = point + T d, |d| <= half.

    Args:
        hull: boxes (b, n) that contain them.
        point: tiny boxes (b, n) that contain their centres, inside the hulls.
        half: (b, k).
        T: (n, k); k = n, unless directions are added along which the state does not change.
    """

    hull: Interval
    point: Interval
    half: Array
    T: Array

    @staticmethod
    def boxes(x: Interval) -> Patch:
        """Axis-aligned boxes (b, n)."""
        return Patch(x, Interval.of(x.mid), x.rad, np.eye(x.shape[-1]))

    @property
    def turn(self) -> Ball:
        """T, repeated for each parallelepiped, (b, n, k)."""
        return Ball.of(np.broadcast_to(self.T, (*self.half.shape[:-1], *self.T.shape)))

    def __len__(self) -> int:
        return len(self.half)

    def __getitem__(self, key: Any) -> Patch:
        return Patch(self.hull[key], self.point[key], self.half[key], self.T)


@final
@dataclass(frozen=True, slots=True)
class Affine:
    """z(x) within ``radius`` of value + matrix d, for all x = point + T d of each parallelepiped.

    Args:
        value: (b, k).
        matrix: (b, k, n), exact numbers.
        radius: (b, k); infinite or NaN if there is no bound.
    """

    value: Array
    matrix: Array
    radius: Array

    def __getitem__(self, key: Any) -> Affine:
        return Affine(self.value[key], self.matrix[key], self.radius[key])

    def range(self, half: Array) -> Interval:
        """Bounds on all values, (b, k)."""
        with np.errstate(invalid="ignore", over="ignore"):
            reach = upward((np.abs(self.matrix) @ half[..., None])[..., 0] + self.radius)
        return Ball(self.value, reach).interval


def mean_value(at_point: Interval, slopes: Ball, half: Array) -> Affine:
    """The affine form given by the mean value theorem.

    Args:
        at_point: (b, k), the value at the centre.
        slopes: (b, k, n), derivatives with respect to d over the hull.
        half: (b, n).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        radius = upward((slopes.rad @ half[..., None])[..., 0] + at_point.rad)
    return Affine(at_point.mid, slopes.mid, radius)


def clipped(form: Affine, half: Array, lower: Array, upper: Array) -> Affine:
    """The affine form of clip(z, lower, upper), along the chord over the range of z, which halves the error compared
    with a slope anywhere in [0, 1].

    The residual clip(z) - slope z is piecewise linear, so its extremes lie at the ends of the range and at the kinks.

    Args:
        lower, upper: (k,), may be infinite.
    """
    reach = form.range(half)
    low, high = reach.lo, reach.hi
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        inside, flat = (low >= lower) & (high <= upper), (high <= lower) | (low >= upper)
        rise = np.clip(high, lower, upper) - np.clip(low, lower, upper)
        slope = np.where(inside, 1.0, np.where(flat, 0.0, np.clip(rise / (high - low), 0.0, 1.0)))
        residuals = []
        for z in (low, high, np.clip(lower, low, high), np.clip(upper, low, high)):
            residuals.append(Ball.of(np.clip(z, lower, upper)) - Ball.of(z) * slope)
        least = reduce(np.minimum, [r.lo for r in residuals])
        most = reduce(np.maximum, [r.hi for r in residuals])
        offset = 0.5 * (least + most)
        spread = np.maximum(most - offset, offset - least)
        value = Ball.of(form.value) * slope + Ball.of(offset)
        matrix = form.matrix * slope[..., None]
        lost = (np.abs(matrix) @ half[..., None])[..., 0] * 2.0**-52  # the product above is rounded
        radius = upward(form.radius * slope + spread + value.rad + lost)
        unknown = ~np.isfinite(low + high)
        # The finite range of a saturation must not hide that z is undefined or too large for a double.
        radius = np.where(unknown, form.radius + np.inf, np.where(inside, form.radius, radius))
    return Affine(np.where(inside, form.value, value.mid), np.where(inside[..., None], form.matrix, matrix), radius)
