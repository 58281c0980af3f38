"""The search for weights and settings of one controller: a tree-structured Parzen estimator (Bergstra et al., 2011), by
Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

from ctrl.tuning.parameters import Range
from systems.errors import TriviumError

__all__ = ["OptunaMissing", "Search"]

_SPAN = 100.0  # weights are searched between the task's divided and multiplied by this


class OptunaMissing(TriviumError, ImportError):
    """Optuna is not installed."""


@final
class Search:
    """Proposes weights and settings. The first proposal is the task's own weights, with the default settings; the
    proposals follow from the seed and the results.

    Args:
        weights: signals whose weights are tuned.
        ranges: of settings, by name.
        seed: of the proposals.

    Raises:
        OptunaMissing: Optuna is not installed.
    """

    def __init__(self, weights: tuple[str, ...], ranges: Mapping[str, Range], seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise OptunaMissing("tuning needs Optuna: pip install 'trivium-control[tuning]'") from error
        self._optuna: Any = optuna
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self._study: Any = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True))
        finally:
            optuna.logging.set_verbosity(verbosity)
        self._weights, self._ranges = weights, dict(ranges)
        self._space: dict[str, Any] = {
            f"weight {name}": optuna.distributions.FloatDistribution(1.0 / _SPAN, _SPAN, log=True) for name in weights
        }
        for name, among in self._ranges.items():
            self._space[f"setting {name}"] = (
                optuna.distributions.IntDistribution(int(among.low), int(among.high)) if among.is_whole
                else optuna.distributions.FloatDistribution(among.low, among.high, log=among.is_logarithmic)
            )  # fmt: skip
        self._own: Any = None
        self._allowed: int | None = None

    def ask(self) -> tuple[Any, dict[str, float], dict[str, Any]]:
        """A trial to be passed to :meth:`tell`, factors of weights, and settings."""
        if self._own is None:  # settings keep their defaults, which only the controller knows
            self._own = self._study.ask()
            return self._own, dict.fromkeys(self._weights, 1.0), {}
        trial = self._study.ask(self._space)
        # Three digits, so that what a table shows is what ran.
        weights = {name: float(f"{trial.params[f'weight {name}']:.3g}") for name in self._weights}
        settings = {name: self._setting(name, trial.params[f"setting {name}"]) for name in self._ranges}
        return trial, weights, settings

    def tell(self, trial: Any, cost: float | None, broken: int = 0) -> None:
        """The outcome of a trial.

        Args:
            trial: as from :meth:`ask`.
            cost: mean over the runs; None where there is none.
            broken: number of runs that violate a constraint, leave the domain or diverge.
        """
        states = self._optuna.trial.TrialState
        if cost is None or math.isnan(cost):
            self._study.tell(trial, state=states.FAIL)
            return
        if trial is self._own:
            self._allowed = broken
        trial.set_constraint("broken runs", broken - (self._allowed or 0))
        self._study.tell(trial, cost)

    def _setting(self, name: str, value: float) -> float | int:
        among = self._ranges[name]
        return int(value) if among.is_whole else min(max(float(f"{value:.3g}"), among.low), among.high)
