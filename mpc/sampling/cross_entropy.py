"""Predictive control by the cross-entropy method: the distribution is fitted to the best of the sequences drawn."""

from __future__ import annotations

import numpy as np

from ctrl.terminal import Kind
from mpc.sampling.intervention import Intervention
from mpc.sampling.sampling_mpc import Distribution, SamplingMPC
from systems import InvalidValue, Task
from systems.arguments import expect_number, expect_whole
from systems.signals import Values

__all__ = ["CrossEntropyMPC"]

KEPT_ELITES = 0.3  # share of the elites that are drawn once more (Pinneri et al., 2020)


class CrossEntropyMPC(SamplingMPC):
    """Predictive control by the cross-entropy method (Rubinstein & Kroese, 2004) with coloured noise and kept elites.

    After each round, mean and deviation become those of the sequences of lowest cost, the elites, smoothed with the
    previous ones. It includes these improvements of Pinneri et al. (2020): noise that is correlated in time, elites
    that are kept for the next round, the mean as one of the sequences, and the best sequence as a possible result. The
    number of sequences is the same in every round.

    Args:
        task, horizon, samples, max_iterations, deviation, colour, terminal, seed, time_limit, intervention: see
            :class:`mpc.sampling.sampling_mpc.SamplingMPC`.
        elites: number of sequences to which the distribution is fitted.
        smoothing: share of the previous mean and deviation in the next ones.
        tolerance: deviation of every input, relative to that of the first round, at which the step counts as solved.
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 30,
        samples: int = 500,
        max_iterations: int = 6,
        elites: int = 25,
        smoothing: float = 0.1,
        tolerance: float = 1e-3,
        deviation: Values = (),
        colour: float = 1.0,
        terminal: Kind = "cost-to-go",
        seed: int = 0,
        time_limit: float | None = None,
        intervention: Intervention | None = None,
    ) -> None:
        expect_whole(elites, "elites", least=2)
        expect_number(smoothing, "smoothing", least=0.0, below=1.0)
        expect_number(tolerance, "tolerance", above=0.0, hint="such as 1e-3")
        super().__init__(
            task, horizon, samples, max_iterations, deviation, colour, terminal, seed, time_limit, intervention
        )
        if elites > samples:
            raise InvalidValue(f"elites = {elites} of {samples} samples; expected fewer elites than samples")
        self._arguments = (
            task, horizon, samples, max_iterations, elites, smoothing, tolerance, deviation, colour, terminal, seed,
            time_limit, intervention,
        )  # fmt: skip
        self.elites, self.smoothing, self.tolerance = elites, float(smoothing), float(tolerance)

    def _moved(self, drawn: Distribution, u: np.ndarray, score: np.ndarray) -> Distribution:
        count = min(self.elites, int(np.isfinite(score).sum()))
        best = np.argsort(score, kind="stable")[:count]
        elites, share = u[..., best], self.smoothing
        mean = share * drawn.mean + (1.0 - share) * elites.mean(axis=-1)
        deviation = drawn.deviation
        if count > 1:  # a single sequence has no deviation
            deviation = share * deviation + (1.0 - share) * elites.std(axis=-1)
        return Distribution(mean, deviation, elites[..., : int(np.ceil(KEPT_ELITES * count))])

    def _has_settled(self, drawn: Distribution) -> bool:
        return bool((drawn.deviation <= self.tolerance * self.deviation).all())
