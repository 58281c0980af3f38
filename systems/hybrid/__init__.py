"""Hybrid systems: plants as modes, guards at which the mode changes, and resets of the state."""

from systems.hybrid.guards import Guard
from systems.hybrid.integral import WithIntegral
from systems.hybrid.run import End, HybridRun, Switch, simulate_hybrid
from systems.hybrid.sampled import SampledHybrid
from systems.hybrid.system import HybridSystem, Mode, Transition

__all__ = [
    "End",
    "Guard",
    "HybridRun",
    "HybridSystem",
    "Mode",
    "SampledHybrid",
    "Switch",
    "Transition",
    "WithIntegral",
    "simulate_hybrid",
]
