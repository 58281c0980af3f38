"""Multipliers by feedback: the violation of a constraint is the control error, its multiplier the control input.

A constrained minimisation by descent steps is a plant whose input is the multiplier (Zhang, Yuan, Zhan et al., 2025,
arXiv 2501.15217). The penalty method is then a proportional controller, dual ascent an integral one, and a model of how
the violation responds to the multiplier makes a predictive one. Constrained learning and Lagrangian-predictive control
use the same objects.
"""

from ctrl.multipliers.base import MultiplierController
from ctrl.multipliers.feedback import PID, Integral, Proportional
from ctrl.multipliers.model import GivenModel, ViolationModel
from ctrl.multipliers.predictive import Predictive

__all__ = [
    "PID",
    "GivenModel",
    "Integral",
    "MultiplierController",
    "Predictive",
    "Proportional",
    "ViolationModel",
]
