"""Features of a tanh network over boxes: values, slopes, second derivatives, each sharpened by the next.

Layerwise interval bounds treat the units as if they varied independently. Over a box of half-widths d around m they
do not: z(x) lies within |z'| d of z(m), for slopes z' over the box, and these within |z''| d of z'(m). At every layer
the narrower of the two bounds is used, so that the enclosures become exact to first order as boxes shrink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from systems.arithmetic import interval_functions as rules
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval

__all__ = ["Features", "features_over"]

# tanh'' = -2 t (1 - t^2) at t = tanh is extreme at t^2 = 1/3: 4 / (3 sqrt 3) = 0.7698003589...
_STEEPEST = (0.57735026918, 0.57735026919)
_CURVATURE = 0.76980035892
_UNIT = 2.0**-52


@final
@dataclass(frozen=True)
class Features:
    """Enclosures over boxes: values (b, k), slopes (b, n, k), second derivatives (b, q, k), q the pairs i <= j of
    ``np.triu_indices(n)``; None where they were not asked for."""

    value: Ball
    slope: Ball | None
    second: Ball | None


def features_over(
    x: Interval, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], output: np.ndarray, order: int
) -> Features:
    """A tanh(W_k ... tanh(W_1 x + b_1) ... + b_k), with derivatives.

    Args:
        x: boxes (b, n).
        output: A (r, m_k).
        order: of the highest derivative, 0, 1 or 2.
    """
    half = x.rad
    wide = order > 0 and bool((x.hi - x.lo).any())
    box = _identity(Ball.of(x), order)
    at_middle = _identity(Ball.of(x.mid), order - 1)
    layers = [*zip(weights, biases, strict=True), (output, np.zeros(len(output)))]
    for k, (W, b) in enumerate(layers):
        if k:
            box = _through_tanh(box)
            at_middle = _through_tanh(at_middle) if wide else at_middle
        box = _through_matrix(W, b, box)
        if wide:
            at_middle = _through_matrix(W, b, at_middle)
            box = _sharpened(box, at_middle, half) if k else box  # bounds of functions that are linear in x are sharp
    return box


def _identity(x: Ball, order: int) -> Features:
    b, n = x.shape
    slope = Ball.of(np.broadcast_to(np.eye(n), (b, n, n))) if order > 0 else None
    return Features(x, slope, Ball.of(np.zeros((b, n * (n + 1) // 2, n))) if order > 1 else None)


def _through_matrix(W: np.ndarray, b: np.ndarray, z: Features) -> Features:
    def image(a: Ball | None) -> Ball | None:
        return None if a is None else _image(W, a)

    return Features(_image(W, z.value) + Ball.of(b), image(z.slope), image(z.second))


def _image(W: np.ndarray, a: Ball) -> Ball:
    """W a for vectors (..., k), as one product of matrices."""
    k = a.shape[-1]
    mid, rad = a.mid.reshape(-1, k), a.rad.reshape(-1, k)
    radius = upward((rad + (2 * k + 4) * _UNIT * np.abs(mid)) @ np.abs(W).T)
    shape = (*a.shape[:-1], len(W))
    return Ball((mid @ W.T).reshape(shape), radius.reshape(shape))


def _through_tanh(z: Features) -> Features:
    t = rules.tanh(z.value.interval)
    if z.slope is None:
        return Features(Ball.of(t), None, None)
    rate = Ball.of(rules.fmin(rules.fmax(1.0 - t.sq(), 0.0), 1.0))[:, None]
    if z.second is None:
        return Features(Ball.of(t), rate.times(z.slope), None)
    i, j = np.triu_indices(z.slope.shape[1])
    squares = z.slope[:, i].times(z.slope[:, j])
    second = rate.times(z.second) + Ball.of(_second_derivative(t))[:, None].times(squares)
    return Features(Ball.of(t), rate.times(z.slope), second)


def _second_derivative(t: Interval) -> Interval:
    """-2 t (1 - t^2) over intervals of t: extreme at their ends or where it turns."""
    ends = [Interval.of(p) * (Interval.of(p).sq() - 1.0) * 2.0 for p in (t.lo, t.hi)]
    low, high = np.minimum(ends[0].lo, ends[1].lo), np.maximum(ends[0].hi, ends[1].hi)
    near, far = _STEEPEST
    low = np.where((t.lo <= far) & (t.hi >= near), -_CURVATURE, low)
    return Interval(low, np.where((t.lo <= -near) & (t.hi >= -far), _CURVATURE, high))


def _sharpened(box: Features, at_middle: Features, half: np.ndarray) -> Features:
    """The narrower of the bounds over the boxes and of those by the mean value theorem from their middles."""
    slope = box.slope
    if slope is not None and box.second is not None and at_middle.slope is not None:
        n = half.shape[-1]
        i, j = np.triu_indices(n)
        place = np.zeros((n, n), dtype=int)
        place[i, j] = place[j, i] = np.arange(len(i))
        drift = (box.second.size[:, place] * half[:, None, :, None]).sum(axis=2)
        slope = _narrower(slope, at_middle.slope.widened(upward(drift)))
    value = box.value
    if slope is not None:
        value = _narrower(value, at_middle.value.widened(upward((slope.size * half[..., None]).sum(axis=1))))
    return Features(value, slope, box.second)


def _narrower(a: Ball, b: Ball) -> Ball:
    chosen = a.rad <= b.rad
    return Ball(np.where(chosen, a.mid, b.mid), np.where(chosen, a.rad, b.rad))
