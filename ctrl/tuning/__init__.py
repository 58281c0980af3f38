"""Tuning of the weights that controllers see, and of their settings, with the same number of trials for each."""

from ctrl.tuning.parameters import Range, reweighted, tunable_weights
from ctrl.tuning.results import Trial, Tuning
from ctrl.tuning.run import tune
from ctrl.tuning.tuned import Tuned

__all__ = ["Range", "Trial", "Tuned", "Tuning", "reweighted", "tunable_weights", "tune"]
