"""Model predictive path integral control: an average of random input sequences, weighted by what they cost."""

from __future__ import annotations

import numpy as np

from ctrl.terminal import Kind
from mpc.sampling.sampling_mpc import Distribution, SamplingMPC
from systems import Task
from systems.arguments import expect_number
from systems.signals import Values

__all__ = ["MPPI", "path_integral_weights"]

EFFECTIVE = 0.02  # share of the sequences that the weights of the default temperature amount to
_HALVINGS = 40  # of the interval in which the logarithm of the temperature is sought


class MPPI(SamplingMPC):
    """Model predictive path integral control (Williams, Aldrich & Theodorou, 2017; Williams et al., 2018).

    The mean of the input sequences moves to their average with the weights exp(-(S - min S) / temperature), S being
    what a sequence costs. What distinguishes it from the cross-entropy method is that no sequence is cut off, and that
    the deviation is given rather than fitted.

    The cost is the task's alone: its base distribution is centred at the present mean, where the published term that
    charges the distance between the two is zero. Sequences are charged as the actuators apply them.

    Args:
        task, horizon, samples, max_iterations, deviation, colour, terminal, seed, time_limit: see
            :class:`mpc.sampling.sampling_mpc.SamplingMPC`.
        temperature: in the unit of the cost; default: chosen in every round such that the weights amount to 2 % of the
            sequences (their effective sample size), so that it follows the scale of the cost.
        cooling: factor on the deviation from one round of a step to the next.
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 30,
        samples: int = 1000,
        max_iterations: int = 3,
        temperature: float | None = None,
        deviation: Values = (),
        cooling: float = 0.5,
        colour: float = 1.0,
        terminal: Kind = "cost-to-go",
        seed: int = 0,
        time_limit: float | None = None,
    ) -> None:
        if temperature is not None:
            expect_number(temperature, "temperature", above=0.0, hint="in the unit of the cost, or None")
        expect_number(cooling, "cooling", above=0.0, most=1.0)
        super().__init__(task, horizon, samples, max_iterations, deviation, colour, terminal, seed, time_limit)
        self._arguments = (
            task, horizon, samples, max_iterations, temperature, deviation, cooling, colour, terminal, seed, time_limit
        )  # fmt: skip
        self.temperature, self.cooling = temperature, float(cooling)

    def _moved(self, drawn: Distribution, u: np.ndarray, score: np.ndarray) -> Distribution:
        weights = path_integral_weights(score, self.temperature)
        return Distribution(u @ weights, self.cooling * drawn.deviation, drawn.kept[..., :0])


def path_integral_weights(cost: np.ndarray, temperature: float | None = None) -> np.ndarray:
    """Weights (count,) proportional to exp(-cost / temperature), with sum 1.

    Args:
        cost: (count,), of which one is finite at least.
        temperature: positive; default: such that (sum w)^2 / sum w^2, the effective sample size, is 2 % of the finite
            costs, and 2 at least.
    """
    excess = cost - np.min(cost)
    finite = excess[np.isfinite(excess)]
    if temperature is None:
        temperature = _temperature(finite, max(EFFECTIVE * len(finite), min(2.0, len(finite))))
    weights = np.exp(-excess / temperature)
    return np.asarray(weights / weights.sum())


def _temperature(excess: np.ndarray, size: float) -> float:
    """The temperature at which the effective sample size, which grows with it, is ``size``."""
    most = float(excess.max())
    if most <= 0.0:
        return 1.0
    low, high = np.log(most) - 40.0, np.log(most) + 20.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        weights = np.exp(-excess / np.exp(middle))
        low, high = (middle, high) if weights.sum() ** 2 < size * (weights**2).sum() else (low, middle)
    return float(np.exp(high))
