"""A task's reference as target parameters of the artificial reference, sample by sample."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from systems import InvalidValue, SetPoint, Sinusoid, Task

__all__ = ["FittedTarget", "SinusoidTarget", "SteadyTarget", "Target", "fit_matrix", "mean_of"]


class Target(ABC):
    """The reference around sample k as mean + sine sin(w (j - N)) + cosine cos(w (j - N)), j samples ahead."""

    @abstractmethod
    def parameters(self, k: int) -> np.ndarray:
        """(parts, n + m): mean, sine and cosine part of (x_r, u_r), or the mean alone."""


class SteadyTarget(Target):
    """The reference of sample k, treated as constant, with amplitudes of zero.

    Args:
        task: whose reference it is.
        parts: 3 for a harmonic artificial reference, 1 for a steady one.
    """

    def __init__(self, task: Task, parts: int) -> None:
        steps = 1 if task.reference.is_constant else task.steps + 1
        x, u = task.reading.window(0, steps)
        self._task, self._is_constant = task, task.reference.is_constant
        self._all = np.zeros((steps, parts, x.shape[1] + u.shape[1]))
        self._all[:, 0] = np.hstack([x, u])

    def parameters(self, k: int) -> np.ndarray:
        """See :class:`Target`; after the end of the run, the reference continues."""
        if self._is_constant:
            return self._all[0]
        if 0 <= k < len(self._all):
            return self._all[k]
        parameters = np.zeros_like(self._all[0])
        parameters[0] = np.hstack(self._task.reading.window(k, 1))[0]
        return parameters


class SinusoidTarget(Target):
    """A sinusoidal reference of the frequency of the artificial harmonic: the same parameters, turned to the phase at
    the end of the horizon (Krupa, Limon & Alamo, Harmonic based MPC for tracking sinusoidal references, 2023)."""

    def __init__(self, task: Task, horizon: int) -> None:
        reference, plant = task.reference, task.plant
        assert isinstance(reference, Sinusoid)
        parts = (
            (reference.x_mean, reference.u_mean),
            (reference.x_sine, reference.u_sine),
            (reference.x_cosine, reference.u_cosine),
        )
        self._parts = np.array([np.concatenate(SetPoint(x, u).at(plant, 0)) for x, u in parts])
        self._parts[0] = np.concatenate(mean_of(task))
        self._frequency, self._horizon = reference.frequency, horizon
        self._turn = np.eye(3)

    def parameters(self, k: int) -> np.ndarray:
        """See :class:`Target`."""
        phase = self._frequency * (k + self._horizon)
        cosine, sine = np.cos(phase), np.sin(phase)
        self._turn[1:, 1:] = (cosine, -sine), (sine, cosine)
        return self._turn @ self._parts


class FittedTarget(Target):
    """A harmonic fitted to any reference over the samples ahead; near samples have the largest weights.

    The reference enters the objective only, so fitting it at every sample does not affect feasibility.
    """

    def __init__(self, task: Task, horizon: int, frequency: float, window: int) -> None:
        self._task, self._ahead = task, np.arange(window + 1)
        self._fit = fit_matrix(horizon, frequency, window)

    def parameters(self, k: int) -> np.ndarray:
        """See :class:`Target`."""
        return self._fit @ np.hstack(self._task.reading.window(k, len(self._ahead)))


def mean_of(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """State (n,) and input (m,) where a sinusoid has its mean, any other reference its first sample; of periodic
    signals the representatives that belong to :meth:`Reading.window`."""
    reference, plant = task.reference, task.plant
    first, input_ = task.reading.start
    if not isinstance(reference, Sinusoid):
        return first, input_
    x, u = SetPoint(reference.x_mean, reference.u_mean).at(plant, 0)
    return x + first - reference.at(plant, 0)[0], u


def fit_matrix(horizon: int, frequency: float, window: int) -> np.ndarray:
    """(3, window + 1): weighted least squares of samples j = 0..window by 1, sin(w (j - N)), cos(w (j - N)).

    The weights decay as exp(-j / horizon), since samples far ahead are fitted again before they matter.

    Raises:
        InvalidValue: fewer than three samples, or a frequency at which the three functions are not independent.
    """
    j = np.arange(window + 1)
    phase = frequency * (j - horizon)
    basis = np.column_stack([np.ones(len(j)), np.sin(phase), np.cos(phase)])
    root = np.exp(-0.5 * j / horizon)
    if len(j) < 3 or np.linalg.cond(basis * root[:, None]) > 1e8:
        raise InvalidValue(
            f"{window + 1} samples do not determine a harmonic of {frequency:.4g} rad per sample; lengthen the window, "
            "or choose a frequency away from 0 and from pi"
        )
    return np.linalg.pinv(basis * root[:, None]) * root
