"""Controllers that optimise online, each made from a task alone."""

from mpc.equality import EqualityMPC
from mpc.explicit import ExplicitMPC
from mpc.frequency import FrequencySweep, choose_frequency
from mpc.harmonic import HarmonicMPC
from mpc.lagrangian import LagrangianMPC
from mpc.linear import LinearMPC
from mpc.nonlinear import NonlinearMPC
from mpc.reachable import ErrorDynamics
from mpc.stochastic import StochasticMPC, indirect_feedback_mpc, nominal_mpc, robust_mpc, robust_stochastic_mpc
from mpc.tracking import TrackingMPC
from mpc.tube import tube_gain

__all__ = [
    "EqualityMPC",
    "ErrorDynamics",
    "ExplicitMPC",
    "FrequencySweep",
    "HarmonicMPC",
    "LagrangianMPC",
    "LinearMPC",
    "NonlinearMPC",
    "StochasticMPC",
    "TrackingMPC",
    "choose_frequency",
    "indirect_feedback_mpc",
    "nominal_mpc",
    "robust_mpc",
    "robust_stochastic_mpc",
    "tube_gain",
]
