"""Stored claims changed as nobody would write them."""

from __future__ import annotations

import dataclasses
from typing import Any

from ctrl.certify.files.file import StoredClaim


def forged(stored: StoredClaim, **changes: Any) -> StoredClaim:
    """The same with another proof, or another loop, region or kappa of its claim."""
    proof = changes.pop("proof", stored.proof)
    return StoredClaim(dataclasses.replace(stored.claim, **changes), proof)
