"""The result of a search for a proof, or of the verification of a stored proof."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import nan
from typing import final

import numpy as np

from ctrl.certify.claims.subdivision import Subdivision

__all__ = ["Kind", "SearchResult"]


class Kind(StrEnum):
    """The status of a claim."""

    PROVED = "proved"  # by outward-rounded arithmetic
    SAMPLED = "sampled"  # no counterexample among many points; nothing more
    REFUSED = "refused"  # a point is proved to violate it, or it is meaningless
    UNDECIDED = "undecided"  # limits reached, or the arithmetic is too coarse


@final
@dataclass(frozen=True, eq=False)
class SearchResult:
    """The status of a claim, the resources spent on it and the basis of a proof.

    Args:
        kind: the status of the claim.
        core: half-widths (n,) of the hull of the parallelepiped around the centre of V that one Jacobian settles.
        boxes: examined.
        seconds: wall time.
        cpu: processor time in seconds.
        counterexample: a point (n,) that violates the claim, provably if the kind is refused.
        reason: why it is refused or undecided.
        advice: what to try if it is undecided.
        proof: how the set was divided, if the claim is proved.
        origin: how the neighbourhood of the equilibrium was treated.
        volume: of the set, NaN where nothing is proved: to rounding error for a whole ellipsoid, else a lower bound.
    """

    kind: Kind
    core: np.ndarray
    boxes: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    counterexample: np.ndarray | None = None
    reason: str = ""
    advice: str = ""
    proof: Subdivision | None = None
    origin: str = ""
    volume: float = nan
