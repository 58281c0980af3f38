"""Quadratic candidates whose shape is found by random search: the largest set, cut to a box, according to samples.

Riccati and Lyapunov equations take neither the box nor the input bounds into account, and linear matrix inequalities
only ellipsoids that lie inside both. If the box may cut the set, a slanted ellipsoid may be many times as large.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctrl.certify.candidates.sampling import sampled_limit
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.controller import NotApplicable
from systems import InvalidValue
from systems.arguments import expect_seed, expect_whole

__all__ = ["reshaped"]

_SAMPLES = 20_000
_SHRUNK = ((0.3, 4000), (0.05, 2000), (0.005, 1000))  # shares of the box that are sampled more densely
_STRICT = 1e-4  # least relative decrease per sample, as a margin for the proof
_FIRST, _LEAST, _MOST = 0.15, 3e-3, 0.5  # sizes of the changes
_BETWEEN = 100  # rounds between two searches for violations that the samples have missed
_RAYS, _AROUND = 256, 400  # of these searches; samples added around each violation


def reshaped(
    loop: ClosedLoop,
    V: QuadraticLyapunov,
    box: tuple[np.ndarray, np.ndarray] | None = None,
    rounds: int = 2000,
    seed: int = 0,
) -> QuadraticLyapunov:
    """V with a different shape, for which {V <= 1}, cut to a box, is about as large as samples allow; not a proof.

    An evolution strategy of one parent and one child (Rechenberg, 1973) on the root of P: a change is kept where the
    volume up to the lowest sample that does not decrease, or leaves the box, is not smaller. Samples are drawn
    uniformly from the box; from time to time, violations found by a search below the level are added.

    Args:
        loop: in discrete time.
        V: the initial shape, such as that of :func:`ctrl.certify.lyapunov`.
        box: lower and upper (n,); default: the domain of the task.
        rounds: number of changes to try; default: 2,000.
        seed: of samples and changes; default: 0.

    Raises:
        NotApplicable: a loop in continuous time.
        InvalidValue: the box is not bounded.
    """
    if loop.continuous:
        raise NotApplicable(
            "V is reshaped from samples one step apart; expected a loop in discrete time (continuous=False)"
        )
    lower, upper = loop.domain if box is None else box
    if not np.isfinite([lower, upper]).all():
        raise InvalidValue(f"box from {lower} to {upper}; expected finite bounds, between which samples are drawn")
    rng, n, centre = np.random.default_rng(expect_seed(seed)), len(V.P), V.middle
    expect_whole(rounds, "rounds", least=1)
    even = rng.uniform(lower, upper, (_SAMPLES, n))
    x = np.concatenate([even, *(centre + share * (even[:count] - centre) for share, count in _SHRUNK)])
    root, size, left = np.linalg.cholesky(V.P), _FIRST, rounds
    while True:
        after = loop(x)
        leaves = ~((after >= lower) & (after <= upper)).all(axis=1)
        d, image = x - centre, after - centre

        def reached(root: np.ndarray, d: Any = d, image: Any = image, leaves: Any = leaves) -> tuple[float, float]:
            """The share of the uniform samples below the lowest violation of the decrease, and the level of that."""
            value, follows = ((d @ root) ** 2).sum(axis=1), ((image @ root) ** 2).sum(axis=1)
            broken = leaves | ~(follows < (1.0 - _STRICT) * value)
            lowest = value[broken].min() if broken.any() else value.max()
            return float((value[:_SAMPLES] < lowest).mean()), float(lowest)

        best, level = reached(root)
        for _ in range(min(_BETWEEN, left)):
            change = np.tril(rng.normal(size=(n, n))) * rng.integers(2, size=(n, n))
            trial = root + size * change * np.abs(root).max(axis=0)
            share, at = reached(trial)
            if share >= best and np.diag(trial).all():
                size = min(1.3 * size, _MOST) if share > best else size
                root, best, level = trial, share, at
            else:
                size = max(0.985 * size, _LEAST)
        P = root @ root.T / level
        candidate = QuadraticLyapunov(0.5 * (P + P.T), V.centre)
        left -= _BETWEEN
        if left <= 0:
            return candidate
        # Violations below this level that random samples missed are added, so that the next shapes avoid them.
        limit = sampled_limit(loop, candidate, ceiling=1.0, rays=_RAYS, box=(lower, upper), seed=left)
        if limit.violation is not None:
            spread = rng.normal(size=(_AROUND, n)) * (upper - lower) * 10.0 ** rng.uniform(-4, -1, (_AROUND, 1))
            x = np.concatenate([x, np.clip(limit.violation + spread, lower, upper), limit.violation[None]])
