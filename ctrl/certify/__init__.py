"""Certificates: what can be proved of a task under a law."""

from ctrl.certify.candidates.disturbed import disturbances, sampled_inner
from ctrl.certify.candidates.ellipsoids import ellipsoid_region
from ctrl.certify.candidates.linearised import cost_to_go, lyapunov
from ctrl.certify.candidates.sampling import SampledLimit, SampledRegion, sampled_limit, sampled_region
from ctrl.certify.claims.certificate import Certificate, Kind
from ctrl.certify.claims.sublevel_set import Effort
from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.functions.neural import NeuralLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import RestPoint, rest_point
from ctrl.certify.search.levels import largest_level
from ctrl.certify.search.roa import certify, riccati
from ctrl.certify.shares import proved_region, proved_share
from ctrl.certify.sos.candidate import sos_region

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
