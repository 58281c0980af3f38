"""Certificates: what can be proved of a task under a law."""

from ctrl.certify.certificate import Certificate, Kind
from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.disturbed import disturbances, sampled_inner
from ctrl.certify.ellipsoids import ellipsoid_region
from ctrl.certify.equilibrium import RestPoint, rest_point
from ctrl.certify.levels import largest_level
from ctrl.certify.linearised import cost_to_go, lyapunov
from ctrl.certify.lyapunov import Lyapunov, QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.neural import NeuralLyapunov
from ctrl.certify.region import Effort
from ctrl.certify.roa import certify, riccati
from ctrl.certify.sampling import SampledLimit, SampledRegion, sampled_limit, sampled_region
from ctrl.certify.shares import proved_region, proved_share
from ctrl.certify.sos import sos_region

__all__ = [
    "Certificate",
    "ClosedLoop",
    "Effort",
    "Kind",
    "Lyapunov",
    "NeuralLyapunov",
    "QuadraticLyapunov",
    "RestPoint",
    "SampledLimit",
    "SampledRegion",
    "SymbolicLyapunov",
    "certify",
    "cost_to_go",
    "disturbances",
    "ellipsoid_region",
    "largest_level",
    "lyapunov",
    "proved_region",
    "proved_share",
    "rest_point",
    "riccati",
    "sampled_inner",
    "sampled_limit",
    "sampled_region",
    "sos_region",
]
