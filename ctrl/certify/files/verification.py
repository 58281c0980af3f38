"""Verifies stored proofs again, without search, solver or sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np

from ctrl.certify.bounds.examiner import Examiner
from ctrl.certify.bounds.frame import Frame
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.result import Kind, SearchResult
from ctrl.certify.claims.subdivision import Subdivision
from ctrl.certify.files.file import StoredClaim
from ctrl.certify.functions.lyapunov import QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.functions.neural import NeuralLyapunov
from ctrl.certify.loops.equilibrium import at_most, distance, equilibrium_near, is_same
from ctrl.certify.search.border import holds_at_border
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.search.search import CHUNK
from ctrl.laws import Expression, Network, Residual
from ctrl.laws.lattice import Lattice
from systems.files import printable

__all__ = ["Recheck", "holds_again", "recheck"]

_MEMORY = 1 << 27  # doubles that the examination of boxes may take at a time
_NOT_AT_REST = "the centre of V is not proved to be an equilibrium of the closed loop"


@dataclass(frozen=True, eq=False)
class Recheck:
    """The result of verifying a stored claim again.

    Args:
        holds: whether it was verified, with outward rounding.
        reason: why not.
        low, high: parts (b, n) of the proof, in the frame's coordinates.
        seconds: wall time.
        certificate: of the verified claim; None if it was not verified.
    """

    holds: bool
    reason: str
    low: np.ndarray
    high: np.ndarray
    seconds: float
    certificate: Certificate | None = None


def recheck(stored: StoredClaim, seconds: float = math.inf) -> Recheck:
    """Verifies the stored claim again, without search, solver or sampling.

    Args:
        seconds: time limit.
    """
    began, worked = perf_counter(), process_time()
    no_boxes = np.zeros((0, len(stored.claim.region.lower)))
    low = high = no_boxes
    try:
        with np.errstate(all="ignore"):
            origin, reason = _rests(stored)
            if not reason:
                left = seconds - (perf_counter() - began)
                chunk = max(1, min(CHUNK, _MEMORY // _footprint(stored)))
                _, reason, low, high = holds_again(stored.claim, stored.proof, left, chunk)
    except Exception as error:  # any error caused by an untrusted file counts as not verified
        origin, reason = "", printable(f"{type(error).__name__}: {error}")
    spent = perf_counter() - began
    if reason:
        return Recheck(False, reason, low, high, spent)
    certificate = _certificate(stored, origin, len(low), spent, process_time() - worked)
    return Recheck(True, "", low, high, spent, certificate)


def _rests(stored: StoredClaim) -> tuple[str, str]:
    """In words, what is proved about the equilibrium, or why the claim is meaningless."""
    loop, region = stored.claim.loop, stored.claim.region
    if not (0 < region.level < np.inf and 0 <= stored.claim.kappa < (np.inf if loop.continuous else 1)):
        return "", "the level or kappa is out of range"
    if not 0 <= region.inner <= region.level or (loop.is_disturbed and region.inner == 0):
        return "", "the inner level is out of range"
    if not np.isfinite(region.hull).all():
        return "", "the region is not bounded"
    if bounds := loop.beyond_half_a_period(*region.hull):
        return "", f"the region leaves {bounds}, outside of which a controller may use an equivalent value of the state"
    centre = region.V.centre
    if region.inner > 0:
        return f"no claim; trajectories end in {{V <= {region.inner:.6g}}}", ""
    if (centre.lo == centre.hi).all():
        return "equilibrium, exactly", "" if loop.drift(centre.lo)[0] else _NOT_AT_REST
    equilibrium = equilibrium_near(loop, centre.mid)
    if equilibrium is None or not centre.contains(equilibrium).all():
        return "", _NOT_AT_REST
    where = "of it" if is_same(equilibrium, loop.reference) else "of the reference"
    away = at_most(float(distance(centre, loop.reference).max()))
    return f"one equilibrium, proved to lie within {away} {where}; V is centred there", ""


def holds_again(
    claim: Claim, proof: Subdivision, seconds: float = math.inf, chunk: int = CHUNK
) -> tuple[bool, str, np.ndarray, np.ndarray]:
    """Whether a proof holds: its box covers the region, and each of its parts is settled on its own.

    There is no search, except for the border of the region's box in continuous time.

    Args:
        seconds: after which to give up.
        chunk: parts that are examined at once.

    Returns:
        Whether it holds, the reason if not, and the parts: low and high (b, n) in the frame's coordinates.
    """
    region = claim.region
    ends = perf_counter() + seconds
    examiner = Examiner(claim, Frame(region.V.middle, proof.T))
    low, high = proof.leaves()
    cover = examiner.cover()
    if cover is None or not ((proof.low <= cover[0]) & (proof.high >= cover[1])).all():
        return False, "the box of the proof does not cover the region", low, high
    settled = region.inner > 0 or examiner.settled_around(proof.core[None])[0] or examiner.is_settled_at_once()
    if not settled:
        return False, "no decrease is proved around the equilibrium", low, high
    if claim.loop.continuous and not region.is_whole:
        fault = holds_at_border(claim, SearchLimits(seconds=min(seconds, SearchLimits.seconds)))[1]
        if fault:
            return False, fault, low, high
    for k in range(0, len(low), chunk):
        if perf_counter() > ends:
            reason = f"time limit reached with {k:,} of {len(low):,} boxes verified; raise it by --seconds N"
            return False, reason, low, high
        findings = examiner.examine(low[k : k + chunk], high[k : k + chunk], proof.core)
        if findings.open.any():
            return False, f"{int(findings.open.sum()):,} of {len(low):,} boxes are not verified", low, high
    return True, "", low, high


def _certificate(stored: StoredClaim, origin: str, boxes: int, seconds: float, cpu: float) -> Certificate:
    """The certificate of the stored claim."""
    region, proof = stored.claim.region, stored.proof
    is_ellipsoid = isinstance(region.V, QuadraticLyapunov) and region.is_whole
    result = SearchResult(
        Kind.PROVED,
        core=np.abs(proof.T) @ proof.core,
        boxes=boxes,
        seconds=seconds,
        cpu=cpu,
        proof=proof,
        origin=origin,
        volume=region.volume() if is_ellipsoid else math.nan,  # others take as long as a proof
    )
    return Certificate(stored.claim, result)


def _footprint(stored: StoredClaim) -> int:
    """An estimate of the number of doubles needed to examine one box."""
    law, V, n = stored.claim.loop.law, stored.claim.region.V, len(stored.claim.region.lower)
    size = 100 * n * n
    if isinstance(law, Residual):
        law = law.correction
    if isinstance(law, Network):
        widths = [len(b) for b in law.biases]
        size += 6 * max(width * (n + sum(widths[: k + 1])) for k, width in enumerate(widths))
    if isinstance(law, Lattice):
        size += 4 * n * sum(f.table.size for f in law.inputs)
    if isinstance(law, Expression):
        size += 4 * law.function.n_instructions()
    if isinstance(V, NeuralLyapunov):
        widths = [len(b) for b in V.biases]
        size += 6 * n * n * (sum(widths) + max(widths) ** 2)
    if isinstance(V, SymbolicLyapunov):
        size += 4 * n * n * V.function.n_instructions()
    return size
