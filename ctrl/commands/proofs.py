"""The implementation of ``trivium verify``: proofs about a controller, and verification of certificates."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ctrl.certify.candidates.disturbed import disturbances, reachable
from ctrl.certify.candidates.fast import LITTLE, fast_ellipsoid
from ctrl.certify.candidates.fit import fitted, sampled_basin
from ctrl.certify.candidates.quadratics import quadratics
from ctrl.certify.candidates.sampling import sampled_limit
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.claim import Equilibrium
from ctrl.certify.files.audit import audit
from ctrl.certify.files.content import law_data, lyapunov_data
from ctrl.certify.files.file import Contradiction, StoredClaim, read
from ctrl.certify.files.verification import Recheck, recheck
from ctrl.certify.functions.lyapunov import Lyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import at_most, distance, rest_point
from ctrl.certify.search.levels import largest_level
from ctrl.certify.search.limits import SearchLimits
from ctrl.commands.claims import constraint_lines
from ctrl.controller import NotApplicable
from ctrl.laws.law import Law
from systems import InvalidValue, Task
from systems.arithmetic.interval import Interval
from systems.files import json_text, printable

__all__ = ["CHECK_SECONDS", "best_certificate", "law_of_controller", "reach_line", "verify_again"]

CHECK_SECONDS = 25.0
"""Default time limit of a re-verification. A search has 60 s, but half of its boxes are halved and not kept."""

_RESOLUTION = 5e-3
_AT_ONCE, _LEAST_AUDIT = 10, 3.0  # points of an audit, and its seconds


def best_certificate(
    task: Task,
    law: Law,
    seconds: float,
    degree: int | None,
    continuous: bool,
    disturbed: bool = False,
    kappa: float = 0.0,
) -> tuple[Certificate, str]:
    """The largest proved set of a quadratic and, if a degree is given, of a polynomial fitted to the basin.

    Args:
        task: what is controlled.
        law: the controller in closed form.
        seconds: of proof, for each of them.
        degree: of the polynomial; None for none.
        continuous: whether the law answers at every instant.
        disturbed: whether under all disturbances in the support of the task's distribution.
        kappa: the share by which V must decrease per sample, in continuous time per second; default: 0, any decrease.

    Returns:
        The certificate of the larger volume, and lines that say where the loop rests, what sampling found and which V
        was kept.

    Raises:
        NotApplicable: the loop rests nowhere near the reference, or is not attracted to where it rests.
    """
    nominal, W = ClosedLoop(task, law, continuous), disturbances(task) if disturbed else {}
    loop, lines = replace(nominal, disturbance=W), []
    rest = rest_point(nominal)
    equilibrium: Equilibrium = "reference" if rest.is_reference else "own"
    if not rest.is_reference:
        lines.append(f"beside:  {beside(task, rest.box, rest.reference)}; the claim is about that point")

    def largest(V: Lyapunov, inner: float) -> Certificate:
        budget = SearchLimits(seconds=seconds)
        return largest_level(
            task,
            law,
            V,
            kappa,
            resolution=_RESOLUTION,
            budget=budget,
            continuous=continuous,
            disturbance=W,
            inner=inner,
            equilibrium=equilibrium,
        )

    best: Certificate | None = None
    choice, reached = "", 0.0
    for candidate in quadratics(loop, nominal, rest, kappa):
        name, level = candidate.name, candidate.limit.level
        if disturbed:
            lines.append(f"sampled: disturbances keep trajectories within about V = {candidate.inner:.6g} of {name}")
        lines.append(f"sampled: no violation below V = {level:.6g} of {name} ({candidate.limit.samples:,} points)")
        if best is not None and best.is_proved and candidate.volume <= best.volume:
            lines.append(f"not tried: {name}, whose set is smaller even where samples end")
            continue
        certificate = largest(candidate.V, candidate.inner)
        if best is None or (certificate.is_proved and not (best.is_proved and best.volume >= certificate.volume)):
            best, choice, reached = certificate, name, certificate.level / level if certificate.is_proved else 0.0
    assert best is not None  # there is at least one candidate
    fast = fast_ellipsoid(nominal, rest) if reached < LITTLE and not disturbed else None
    if fast is not None:
        limit, name = sampled_limit(nominal, fast), "the largest ellipsoid of fast decrease"
        lines.append(f"sampled: no violation below V = {limit.level:.6g} of {name} ({limit.samples:,} points)")
        other = largest(fast, 0.0)
        if other.is_proved and not (best.is_proved and best.volume >= other.volume):
            best, choice = other, "the largest ellipsoid of fast decrease"
    if degree is not None:
        lower, upper = loop.domain
        if not np.isfinite([lower, upper]).all():
            raise InvalidValue(f"task '{task.name}' has no bounded domain to fit a polynomial in; give it a domain")
        began = perf_counter()
        basin = sampled_basin(nominal, lower, upper, centre=rest.box.mid)
        candidates = []
        for share in (0.97, 0.85, 0.7):  # what a polynomial of this degree can follow is not known beforehand
            V = fitted(nominal, degree, basin, share=share, rounds=8)
            inner = reachable(loop, V, kappa, box=(lower, upper))
            level = sampled_limit(loop, V, kappa, inner=inner).level
            inside = np.mean(V(np.concatenate([basin.points(r) for r in np.sqrt(np.linspace(0.01, 1, 40))])) <= level)
            candidates.append((float(inside), V, inner))
        share, V, inner = max(candidates, key=lambda c: c[0])
        lines.append(
            f"fitted: degree {degree}, holds {share:.0%} of the sampled basin ({perf_counter() - began:.1f} s)"
        )
        other = largest(V, inner)
        if other.is_proved and not (best.is_proved and best.volume >= other.volume):
            best, choice = other, "the fitted polynomial"
    lines.append(f"V:       {choice}")
    return best, "\n".join(lines)


def reach_line(certificate: Certificate) -> str:
    """How far a set reaches from the centre of its V, state by state.

    Args:
        certificate: of a proved claim.
    """
    (lower, upper), middle = certificate.region.hull, certificate.V.middle
    reach = np.maximum(upper - middle, middle - lower)
    return f"reaches: {_states(certificate.claimed.loop.task, reach)} from where the loop rests, at most"


def beside(task: Task, box: Interval, reference: np.ndarray) -> str:
    """The distance of a loop's rest point from the reference, state by state."""
    away = _states(task, distance(box, reference))
    return f"the closed loop does not rest at the reference, but within {away} of it"


def _states(task: Task, sizes: np.ndarray) -> str:
    """Upper bounds (n,), state by state."""
    return ", ".join(
        f"{signal.name} {at_most(a)}{f' {signal.unit}' if signal.unit != '-' else ''}"
        for signal, a in zip(task.plant.state, sizes.tolist(), strict=True)
    )


def law_of_controller(controller: object, name: str) -> Law:
    """The law of a controller.

    Raises:
        NotApplicable: it has none.
    """
    law = getattr(controller, "law", None)
    if not isinstance(law, Law):
        raise NotApplicable(
            f"controller '{name}' has no law in closed form, so nothing can be proved of it; "
            "--samples N says what random runs show"
        )
    return law


def verify_again(path: Path, points: int, task: Task | None = None, seconds: float = CHECK_SECONDS) -> bool:
    """Verifies the claim of a file again, audits it, and prints the result.

    What is printed as re-verified is what was verified: every word of it is made from what was proved anew.

    Args:
        path: of the file.
        points: of the audit.
        task: that the file speaks of; default: that of the library by its name.
        seconds: after which to give up, the audit having what is left of them; default: 25.

    Raises:
        FileError: no certificate of this format, or of another task.
    """
    try:
        stored = read(path, task)
    except Contradiction as error:
        print(f"NOT RE-VERIFIED: {error}")
        return False
    outcome = recheck(stored, seconds)
    if outcome.certificate is None:
        print(f"NOT RE-VERIFIED: {path}: {outcome.reason}")
        return False
    print(f"RE-VERIFIED: {path}: {len(outcome.low):,} parts, outward rounded, {outcome.seconds:.2f} s, no search")
    print(outcome.certificate)
    print(f"  law         {_described(law_data(stored.claim.loop.law))}")
    print(f"  V           {_described(lyapunov_data(stored.claim.region.V))}")
    if not outcome.certificate.is_at_reference:
        print(f"  {beside(stored.claim.loop.task, stored.claim.region.V.centre, stored.claim.loop.reference)}")
    if constraints := constraint_lines(outcome.certificate):
        print(constraints)
    failure, report = _audited(stored, outcome, points, max(seconds - outcome.seconds, _LEAST_AUDIT))
    print(f"  {report}")
    return failure is None


def _described(data: dict[str, Any]) -> str:
    """A law or a function by its type and by a digest of all its numbers, which are in the file."""
    digest = hashlib.sha256(json_text(data, indent=None).encode()).hexdigest()
    return f"{data['kind']}, SHA-256 {digest[:16]}"


def _audited(stored: StoredClaim, outcome: Recheck, points: int, seconds: float) -> tuple[np.ndarray | None, str]:
    """A point at which the audit fails, if there is one, and a description; stops when the time is up."""
    began, looked, relevant = perf_counter(), 0, 0
    while looked < points and (looked == 0 or perf_counter() - began < seconds):
        some = min(_AT_ONCE, points - looked)
        try:
            with np.errstate(all="ignore"):
                part = audit(stored, outcome.low, outcome.high, some, seed=looked)
        except ImportError:
            return None, "audit in Arb left out: install python-flint"
        except Exception as error:  # Arb has not every operation; the proof does not rest on it
            return None, printable(f"audit in Arb left out: {type(error).__name__}: {error}")
        if part.failure is not None:
            return part.failure, f"AUDIT FAILED in Arb at {part.failure.tolist()}"
        looked, relevant = looked + some, relevant + part.relevant
    if relevant == 0 and looked > 0:
        return None, f"audit in Arb: none of {looked:,} random points lies in the set, so nothing is shown by it"
    return None, f"audit in Arb: V decreases at {relevant:,} random points of the set, of {looked:,} looked at"
