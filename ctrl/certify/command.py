"""What ``trivium verify`` does: prove what can be proved of a controller, write it down, and show it again."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np

from ctrl.certify.audit import audit
from ctrl.certify.certificate import Certificate, sentence
from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.files import read, recheck
from ctrl.certify.fit import fitted, sampled_basin
from ctrl.certify.region import Effort
from ctrl.certify.roa import largest_level, riccati
from ctrl.certify.sampling import sampled_limit
from ctrl.controller import NotApplicable
from ctrl.laws.law import Law
from systems import InvalidValue, Task

__all__ = ["prove", "show_again"]

_RESOLUTION = 5e-3


def prove(task: Task, law: Law, seconds: float, degree: int | None, continuous: bool) -> tuple[Certificate, str]:
    """The largest proved set of the Riccati solution and, where a degree is given, of a polynomial fitted to the basin.

    Args:
        seconds: of proof, for each of the two.

    Returns:
        The certificate of the larger volume, and lines that say what sampling found.
    """
    loop = ClosedLoop(task, law, continuous)
    V, lines = riccati(task), []
    sampled = sampled_limit(loop, V)
    lines.append(
        f"sampled: no violation below V = {sampled.level:.6g} of the Riccati solution ({sampled.samples:,} points)"
    )
    best = largest_level(task, law, V, resolution=_RESOLUTION, budget=Effort(seconds=seconds), continuous=continuous)
    if degree is not None:
        lower, upper = loop.domain
        if not np.isfinite([lower, upper]).all():
            raise InvalidValue(f"task '{task.name}' has no bounded domain to fit a polynomial in; give it a domain")
        began = perf_counter()
        basin = sampled_basin(loop, lower, upper)
        candidates = []
        for share in (0.97, 0.85, 0.7):  # what a polynomial of this degree can follow is not known beforehand
            W = fitted(loop, degree, basin, share=share, rounds=8)
            level = sampled_limit(loop, W).level
            inside = np.mean(W(np.concatenate([basin.points(r) for r in np.sqrt(np.linspace(0.01, 1, 40))])) <= level)
            candidates.append((float(inside), W))
        share, W = max(candidates, key=lambda c: c[0])
        lines.append(
            f"fitted: degree {degree}, holds {share:.0%} of the sampled basin ({perf_counter() - began:.1f} s)"
        )
        other = largest_level(
            task, law, W, resolution=_RESOLUTION, budget=Effort(seconds=seconds), continuous=continuous
        )
        if other.is_proved and not (best.is_proved and best.volume >= other.volume):
            best = other
    return best, "\n".join(lines)


def law_of(controller: object, name: str) -> Law:
    """The law of a controller.

    Raises:
        NotApplicable: it has none.
    """
    law = getattr(controller, "law", None)
    if not isinstance(law, Law):
        raise NotApplicable(f"controller '{name}' has no law in closed form, so nothing can be proved of it")
    return law


def show_again(path: Path, points: int) -> bool:
    """Re-checks a file and prints how it went."""
    stored = read(path)
    found = recheck(stored)
    if not found.holds:
        print(f"NOT SHOWN AGAIN: {path}: {found.reason}")
        return False
    print(f"SHOWN AGAIN: {path}: {len(found.low):,} parts, outward rounded, {found.seconds:.2f} s, no search")
    loop, region = stored.loop, stored.region  # what was shown; the file's own words were not looked at
    claim = sentence(region.V, region.level, not region.is_whole, "the law in the file", loop.uncertain)
    print(f"  task '{loop.task.name}'{' in continuous time' if loop.continuous else ''}: {claim}")
    try:
        looked = audit(stored, found.low, found.high, points)
    except ImportError:
        print("  audit in Arb left out: install python-flint")
        return True
    if looked.failure is not None:
        print(f"  AUDIT FAILED in Arb at {looked.failure.tolist()}")
        return False
    print(f"  audit in Arb: V falls at {looked.relevant:,} random points of the set")
    return True
