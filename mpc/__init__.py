"""Controllers that optimise online, each constructed from a task alone.

The control step that they share is in ``online.py``, and the input after a failed solve in ``fallback.py``.
"""

from mpc.adaptive.adaptive_mpc import AdaptiveMPC
from mpc.adaptive.parameter_adaptive_mpc import ParameterAdaptiveMPC
from mpc.blocking import MoveBlocking
from mpc.estimation.moving_horizon import MovingHorizonEstimator
from mpc.explicit.explicit_mpc import ExplicitMPC
from mpc.harmonic.equality_mpc import EqualityMPC
from mpc.harmonic.frequency import FrequencySweep, choose_frequency
from mpc.harmonic.harmonic_mpc import HarmonicMPC
from mpc.harmonic.tracking_mpc import TrackingMPC
from mpc.interop.from_acados import from_acados
from mpc.interop.from_dompc import dompc_expression, from_dompc
from mpc.interop.to_dompc import DoMPC, to_dompc
from mpc.lagrangian.lagrangian_mpc import LagrangianMPC
from mpc.linear.linear_mpc import LinearMPC
from mpc.nonlinear.nonlinear_mpc import NonlinearMPC
from mpc.reduction.dual_network import DualNetwork, DualRecorder
from mpc.reduction.multimodal_mpc import MultiModalMPC
from mpc.reduction.predictors import EveryConstraint, LastActiveSet
from mpc.sampling.cross_entropy import CrossEntropyMPC
from mpc.sampling.mppi import MPPI
from mpc.scenario.scenario_mpc import Scenario, ScenarioMPC
from mpc.steering.covariance_steering import CovarianceSteering
from mpc.steering.mixture import GaussianMixture
from mpc.stochastic.reachable import ErrorDynamics
from mpc.stochastic.stochastic_mpc import (
    StochasticMPC,
    indirect_feedback_mpc,
    nominal_mpc,
    robust_mpc,
    robust_stochastic_mpc,
)
from mpc.stochastic.tube import tube_gain

__all__ = [
    "MPPI",
    "AdaptiveMPC",
    "CovarianceSteering",
    "CrossEntropyMPC",
    "DoMPC",
    "DualNetwork",
    "DualRecorder",
    "EqualityMPC",
    "ErrorDynamics",
    "EveryConstraint",
    "ExplicitMPC",
    "FrequencySweep",
    "GaussianMixture",
    "HarmonicMPC",
    "LagrangianMPC",
    "LastActiveSet",
    "LinearMPC",
    "MoveBlocking",
    "MovingHorizonEstimator",
    "MultiModalMPC",
    "NonlinearMPC",
    "ParameterAdaptiveMPC",
    "Scenario",
    "ScenarioMPC",
    "StochasticMPC",
    "TrackingMPC",
    "choose_frequency",
    "dompc_expression",
    "from_acados",
    "from_dompc",
    "indirect_feedback_mpc",
    "nominal_mpc",
    "robust_mpc",
    "robust_stochastic_mpc",
    "to_dompc",
    "tube_gain",
]
