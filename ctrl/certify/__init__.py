"""Certificates: what can be proved of a task under a law."""

from ctrl.certify.certificate import Certificate, Kind
from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.ellipsoids import ellipsoid_region
from ctrl.certify.lyapunov import Lyapunov, QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.neural import NeuralLyapunov
from ctrl.certify.region import Effort
from ctrl.certify.roa import certify, largest_level, proved_region, proved_share, riccati
from ctrl.certify.sampling import SampledLimit, sampled_limit
from ctrl.certify.sos import sos_region

__all__ = [
    "Certificate",
    "ClosedLoop",
    "Effort",
    "Kind",
    "Lyapunov",
    "NeuralLyapunov",
    "QuadraticLyapunov",
    "SampledLimit",
    "SymbolicLyapunov",
    "certify",
    "ellipsoid_region",
    "largest_level",
    "proved_region",
    "proved_share",
    "riccati",
    "sampled_limit",
    "sos_region",
]
