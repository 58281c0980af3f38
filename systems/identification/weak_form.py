"""x' = f(x, u) as a regression without derivatives of the data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from systems.identification.runs import Runs

__all__ = ["weak_form"]

_POWER = 4  # of the test function: smooth to this order at the ends of its window


def weak_form(
    runs: Runs, terms: Callable[[np.ndarray, np.ndarray], np.ndarray], half: int, every: int
) -> tuple[np.ndarray, np.ndarray]:
    """Integrals of the terms and of x', each times a test function over windows of the runs.

    With phi(s) = (1 - s^2)^4, which vanishes at both ends of a window, the integral of phi x' is minus that of
    phi' x: noise is averaged instead of differentiated (Messenger & Bortz, 2021, "Weak SINDy").

    Args:
        runs: measured.
        terms: of states (k, n) and inputs (k, m), (k, terms).
        half: samples from the middle of a window to its ends.
        every: samples from one window to the next.

    Returns:
        Regressors (windows, terms) and targets (windows, n).
    """
    s = np.arange(-half, half + 1) / half
    phi = (1.0 - s**2) ** _POWER
    slope = -2.0 * _POWER * s * (1.0 - s**2) ** (_POWER - 1) / (half * runs.dt)
    weight = 1.0 / phi.sum()
    regressors, targets = [], []
    for x, u in zip(runs.states, runs.inputs, strict=True):
        # An input jumps at the samples: the trapezoidal rule takes the mean of what is before and after.
        after, before = np.vstack([u, u[-1:]]), np.vstack([u[:1], u])
        values = 0.5 * (terms(x, after) + terms(x, before))
        for start in range(0, len(x) - 2 * half, every):
            window = slice(start, start + 2 * half + 1)
            regressors.append(weight * phi @ values[window])
            targets.append(-weight * slope @ x[window])
    width = terms(runs.states[0][:1], runs.inputs[0][:1]).shape[1]
    return np.reshape(regressors, (-1, width)), np.reshape(targets, (-1, len(runs.state)))
