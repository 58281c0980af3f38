"""The C code of explicit MPC: its control law as a lattice, and the regions in which it is optimal."""

from __future__ import annotations

import numpy as np

from ctrl.export.code import CodePart, fragment
from ctrl.laws.lattice import Lattice

__all__ = ["explicit_part"]


def explicit_part(
    law: Lattice,
    rows: np.ndarray,
    right: np.ndarray,
    first: np.ndarray,
    middle: np.ndarray,
    half: np.ndarray,
    centre: np.ndarray,
) -> CodePart:
    """The whole step, but ``regulate(x, k, u)``.

    Args:
        law: the input as a function of the state.
        rows: (rows, n), the sides of all regions, in units of the bounds.
        right: (rows,), with rows (x - middle) / half <= right within a region.
        first: (regions,), the first row of each.
        middle, half: (n,), of the bounds.
        centre: (n,), next to which the representative of a periodic state is taken.
    """
    pieces = np.cumsum([0, *(len(f.b) for f in law.inputs)])
    terms = [np.array(term) + start for f, start in zip(law.inputs, pieces, strict=False) for term in f.terms]
    return CodePart(
        (fragment("mpc.export", "explicit.c"),),
        {
            "SLOPES": np.vstack([f.A for f in law.inputs]),
            "OFFSETS": np.concatenate([f.b for f in law.inputs]),
            "TERM_PIECES": np.concatenate(terms),
            "TERM_FIRST": np.cumsum([0, *map(len, terms)]),
            "INPUT_FIRST": np.cumsum([0, *(len(f.terms) for f in law.inputs)]),
            "REGION_ROWS": rows,
            "REGION_RIGHT": right,
            "REGION_FIRST": np.append(first, len(rows)).astype(int),
            "MIDDLE": middle,
            "HALF": half,
            "CENTRE": centre,
        },
        {"REGIONS": len(first)},
    )
