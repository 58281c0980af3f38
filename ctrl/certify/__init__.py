"""Proved regions of attraction of a task under a control law. Start with :func:`certify` or :func:`largest_level`.

``print(largest_level(task, LQR(task).law))`` finds the largest ellipsoid from which the regulator provably converges
and states the assumptions. Both functions accept any Lyapunov function in place of the default one; the other names are
Lyapunov functions, methods that compute better ones, and estimates by sampling.
"""

from ctrl.certify.barriers import BarrierCertificate, certify_barrier
from ctrl.certify.candidates.disturbed import disturbances, sampled_inner
from ctrl.certify.candidates.linearised import cost_to_go, lyapunov, riccati
from ctrl.certify.candidates.reshaped import reshaped
from ctrl.certify.candidates.sampling import SampledLimit, SampledRegion, sampled_limit, sampled_region
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.result import Kind
from ctrl.certify.constraints import ConstraintStatus, KeptConstraints, constraint_statuses, keeps_constraints
from ctrl.certify.disturbance_bounds import LargestDisturbance, largest_disturbance
from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.functions.neural import NeuralLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import RestPoint, rest_point
from ctrl.certify.runs import RunsClaim, claim_by_runs
from ctrl.certify.search.levels import largest_level
from ctrl.certify.search.limits import Effort, SearchLimits
from ctrl.certify.search.prove import certify, prove
from ctrl.certify.semidefinite.ellipsoids import ellipsoid_region
from ctrl.certify.semidefinite.squares import sos_region
from ctrl.certify.shares import proved_region, proved_share
from ctrl.certify.within import at_level, within_constraints

__all__ = [
    "BarrierCertificate",
    "Certificate",
    "Claim",
    "ClosedLoop",
    "ConstraintStatus",
    "Effort",
    "KeptConstraints",
    "Kind",
    "LargestDisturbance",
    "Lyapunov",
    "NeuralLyapunov",
    "QuadraticLyapunov",
    "RestPoint",
    "RunsClaim",
    "SampledLimit",
    "SampledRegion",
    "SearchLimits",
    "SymbolicLyapunov",
    "at_level",
    "certify",
    "certify_barrier",
    "claim_by_runs",
    "constraint_statuses",
    "cost_to_go",
    "disturbances",
    "ellipsoid_region",
    "keeps_constraints",
    "largest_disturbance",
    "largest_level",
    "lyapunov",
    "prove",
    "proved_region",
    "proved_share",
    "reshaped",
    "rest_point",
    "riccati",
    "sampled_inner",
    "sampled_limit",
    "sampled_region",
    "sos_region",
    "within_constraints",
]
