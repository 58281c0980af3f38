"""Model predictive path integral control: an average of random input sequences, weighted by their costs."""

from __future__ import annotations

import numpy as np

from ctrl.terminal import Kind
from mpc.sampling.intervention import Intervention
from mpc.sampling.sampling_mpc import Distribution, SamplingMPC
from systems import Task
from systems.arguments import expect_number
from systems.signals import Values

__all__ = ["MPPI", "path_integral_weights"]

EFFECTIVE = 0.02  # effective sample size at the default temperature, as a share of the sequences
_HALVINGS = 40  # of the interval in which the logarithm of the temperature is sought


class MPPI(SamplingMPC):
    """Model predictive path integral control (Williams, Aldrich & Theodorou, 2017; Williams et al., 2018).

    The mean of the input sequences moves to their average with the weights exp(-(S - min S) / temperature), where S is
    the cost of a sequence. In contrast to the cross-entropy method, no sequence is discarded, and the deviation is
    given rather than fitted.

    The cost is that of the task alone: the base distribution is centred at the present mean, for which the published
    term for the distance between the two is zero. Costs are those of the inputs as the actuators apply them.

    Args:
        task, horizon, samples, max_iterations, deviation, colour, terminal, seed, time_limit, intervention: see
            :class:`mpc.sampling.sampling_mpc.SamplingMPC`.
        temperature: in the unit of the cost; default: chosen in every round such that the effective sample size of the
            weights is 2 % of the sequences, so that it adapts to the scale of the cost.
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
        intervention: Intervention | None = None,
    ) -> None:
        if temperature is not None:
            expect_number(temperature, "temperature", above=0.0, hint="in the unit of the cost, or None")
        expect_number(cooling, "cooling", above=0.0, most=1.0)
        super().__init__(
            task, horizon, samples, max_iterations, deviation, colour, terminal, seed, time_limit, intervention
        )
        self._arguments = (
            task, horizon, samples, max_iterations, temperature, deviation, cooling, colour, terminal, seed, time_limit,
            intervention,
        )  # fmt: skip
        self.temperature, self.cooling = temperature, float(cooling)

    def _moved(self, drawn: Distribution, u: np.ndarray, score: np.ndarray) -> Distribution:
        weights = path_integral_weights(score, self.temperature)
        return Distribution(u @ weights, self.cooling * drawn.deviation, drawn.kept[..., :0])


def path_integral_weights(cost: np.ndarray, temperature: float | None = None) -> np.ndarray:
    """Weights (count,) proportional to exp(-cost / temperature), with sum 1.

    Args:
        cost: (count,), at least one of them finite.
        temperature: positive; default: such that (sum w)^2 / sum w^2, the effective sample size, is 2 % of the number
            of finite costs and at least 2.
    """
    excess = cost - np.min(cost)
    finite = excess[np.isfinite(excess)]
    if temperature is None:
        temperature = _temperature(finite, max(EFFECTIVE * len(finite), min(2.0, len(finite))))
    weights = np.exp(-excess / temperature)
    return np.asarray(weights / weights.sum())


def _temperature(excess: np.ndarray, size: float) -> float:
    """The temperature at which the effective sample size is ``size``; it increases with the temperature."""
    most = float(excess.max())
    if most <= 0.0:
        return 1.0
    low, high = np.log(most) - 40.0, np.log(most) + 20.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        weights = np.exp(-excess / np.exp(middle))
        low, high = (middle, high) if weights.sum() ** 2 < size * (weights**2).sum() else (low, middle)
    return float(np.exp(high))
