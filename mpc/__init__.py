"""Controllers that optimise online, each made from a task alone."""

from mpc.linear import LinearMPC
from mpc.nonlinear import NonlinearMPC
from mpc.reachable import ErrorDynamics
from mpc.stochastic import StochasticMPC, indirect_feedback_mpc, nominal_mpc, robust_mpc, robust_stochastic_mpc
from mpc.tube import tube_gain

__all__ = [
    "ErrorDynamics",
    "LinearMPC",
    "NonlinearMPC",
    "StochasticMPC",
    "indirect_feedback_mpc",
    "nominal_mpc",
    "robust_mpc",
    "robust_stochastic_mpc",
    "tube_gain",
]
