"""Quantiles of sums of independent uniform numbers, by the Fourier series of their density."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

__all__ = ["uniform_sum_quantiles"]

TERMS = 1 << 14
NEGLIGIBLE = 1e-13


def uniform_sum_quantiles(half_widths: np.ndarray, probability: float) -> np.ndarray:
    """Quantiles of S_j = sum over the first j groups of a_i z_i, with independent z_i uniform on [-1, 1].

    The density of S_j vanishes outside [-T, T], T = sum a_i, so there it equals its Fourier series, whose coefficients
    are the characteristic function prod_i sin(a_i w) / (a_i w) at w = pi k / T. The probability is raised by a bound of
    what the truncated series may miss, so a quantile is never too small; it is exact up to about 1e-5 in probability.

    Args:
        half_widths: (groups, q), the a_i, not negative.
        probability: between 0 and 1, 1 for the support itself.

    Returns:
        (groups,), those of S_1 .. S_groups.
    """
    a = np.asarray(half_widths, dtype=float)
    support = np.cumsum(a.sum(axis=1))
    quantiles, total = np.zeros(len(a)), support[-1] if len(a) else 0.0
    k = np.arange(1, TERMS + 1)
    w = np.pi * k / total if total > 0 else np.zeros(TERMS)
    transform = np.ones(TERMS)
    widths: list[float] = []
    for j, group in enumerate(a):
        for width in group[group > NEGLIGIBLE * total]:
            transform = transform * np.sinc(width * w / np.pi)
            widths.append(float(width))
        if not widths or probability >= 1.0:
            quantiles[j] = support[j]
        elif len(widths) == 1:
            quantiles[j] = widths[0] * (2.0 * probability - 1.0)
        else:
            quantile = _quantile(transform / (np.pi * k), w, total, support[j], probability + _missed(widths, total))
            quantiles[j] = min(quantile, support[j])
    return quantiles


def _quantile(series: np.ndarray, w: np.ndarray, total: float, support: float, probability: float) -> float:
    """Where F(s) = 1/2 + s / (2 T) + sum_k series_k sin(w_k s) reaches the probability."""
    last = int(np.flatnonzero(np.abs(series) > NEGLIGIBLE).max(initial=-1)) + 1
    series, w = series[:last], w[:last]

    def excess(s: float) -> float:
        return 0.5 + 0.5 * s / total + float(series @ np.sin(w * s)) - probability

    if excess(support) <= 0:
        return support
    if excess(-support) >= 0:
        return -support
    return float(brentq(excess, -support, support, xtol=1e-12 * support))


def _missed(widths: list[float], total: float) -> float:
    """Bound of the sum over k > TERMS of |transform_k| / (pi k), from the two widest terms alone."""
    first, second = sorted(widths, reverse=True)[:2]
    one = total / (np.pi**2 * first * TERMS)
    two = total**2 / (2.0 * np.pi**3 * first * second * TERMS**2)
    return float(min(one, two))
