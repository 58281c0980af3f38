"""Constraint handlers, one per file, which determine how cost critics enter the gradient of the policy."""

from safe_rl.handlers.base import Handler
from safe_rl.handlers.conservative import ConservativeAugmented
from safe_rl.handlers.gains import DualAdamGains, IntegralGains, PIDGains, PredictiveGains
from safe_rl.handlers.harmonic import Harmonic
from safe_rl.handlers.lagrangian import Lagrangian
from safe_rl.handlers.penalty import FixedPenalty

__all__ = [
    "ConservativeAugmented",
    "DualAdamGains",
    "FixedPenalty",
    "Handler",
    "Harmonic",
    "IntegralGains",
    "Lagrangian",
    "PIDGains",
    "PredictiveGains",
]
