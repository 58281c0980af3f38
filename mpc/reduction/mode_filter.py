"""Probabilities of the modes of agents, by Bayes' rule from their measured transitions."""

from __future__ import annotations

from typing import final

import numpy as np

from mpc.reduction.model import MultiModalModel

__all__ = ["ModeFilter"]

_LEAST = 1e-6  # probability that a mode keeps, so that it can return if an agent changes its behaviour


@final
class ModeFilter:
    """The probability of each mode, given all states measured in a run.

    Args:
        model: with the modes and their prior probabilities.
    """

    def __init__(self, model: MultiModalModel) -> None:
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Starts a new run with the prior probabilities."""
        self.probabilities: tuple[np.ndarray, ...] = self._model.prior
        self._last: tuple[np.ndarray, int] | None = None

    def update(self, x: np.ndarray, k: int) -> tuple[np.ndarray, ...]:
        """The probabilities after the finite state x (n,) of sample k; a state that does not follow the last sample
        does not change them."""
        if self._last is not None and self._last[1] == k - 1:
            before = self._last[0]
            updated = []
            for p, where, modes in zip(self.probabilities, self._model.agents, self._model.modes, strict=True):
                logs = np.log(p)
                for j, mode in enumerate(modes):
                    noise = mode.to_noise @ (x[where] - mode.A @ before[where] - mode.c)
                    size = np.linalg.slogdet(mode.L.T @ mode.L)[1] if mode.L.size else 0.0
                    logs[j] -= 0.5 * (min(float(noise @ noise), 1e12) + size)
                p = np.maximum(np.exp(logs - logs.max()), _LEAST)
                updated.append(p / p.sum())
            self.probabilities = tuple(updated)
        self._last = x.copy(), k
        return self.probabilities

    def likely(self) -> tuple[np.ndarray, ...]:
        """The probabilities without the least likely modes, which together have at most ``mode_risk``; the others are
        scaled to sum 1."""
        share = self._model.mode_risk / max(len(self._model.agents), 1)
        kept = []
        for p in self.probabilities:
            order = np.argsort(p)
            dropped = order[np.cumsum(p[order]) <= share]
            left = p.copy()
            left[dropped] = 0.0
            kept.append(left / left.sum())
        return tuple(kept)
