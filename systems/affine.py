"""Whether a function is affine, and its matrices."""

from __future__ import annotations

from collections.abc import Sequence

import casadi as ca
import numpy as np

from systems.arithmetic.exact import DISCONTINUOUS
from systems.lowering.program import read
from systems.newton import without_guards

__all__ = ["affine_matrices"]


def affine_matrices(f: ca.Function, inputs: Sequence[int]) -> list[np.ndarray] | None:
    """The matrices by which an affine function multiplies some of its arguments.

    Args:
        f: of SX expressions and one result.
        inputs: numbers of the arguments.

    Returns:
        One matrix per argument; None if f is not affine in them. A function with steps (`sign`, `floor`, `if_else`
        between constants) has constant slopes as well, and is not affine.
    """
    f = without_guards(f)
    arguments = f.sx_in()
    value = f(*arguments)
    slopes = [ca.jacobian(value, arguments[i]) for i in inputs]
    if any(ca.symvar(slope) for slope in slopes) or any(i.op in DISCONTINUOUS for i in read(f).instructions):
        return None
    return [np.array(ca.DM(ca.evalf(slope))).reshape(slope.shape) for slope in slopes]
