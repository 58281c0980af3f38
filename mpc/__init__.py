"""Controllers that optimise online, each made from a task alone."""

from mpc.equality import EqualityMPC
from mpc.frequency import FrequencySweep, choose_frequency
from mpc.harmonic import HarmonicMPC
from mpc.linear import LinearMPC
from mpc.nonlinear import NonlinearMPC
from mpc.tracking import TrackingMPC

__all__ = [
    "EqualityMPC",
    "FrequencySweep",
    "HarmonicMPC",
    "LinearMPC",
    "NonlinearMPC",
    "TrackingMPC",
    "choose_frequency",
]
