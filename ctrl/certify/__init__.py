"""Certificates: what can be proved of a task under a law."""

from ctrl.certify.branch_and_bound import Budget
from ctrl.certify.certificate import Certificate, Kind
from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.lyapunov import Lyapunov, Quadratic
from ctrl.certify.roa import certify, largest_level, proved_share, riccati
from ctrl.certify.sampling import SampledLimit, sampled_limit

__all__ = [
    "Budget",
    "Certificate",
    "ClosedLoop",
    "Kind",
    "Lyapunov",
    "Quadratic",
    "SampledLimit",
    "certify",
    "largest_level",
    "proved_share",
    "riccati",
    "sampled_limit",
]
