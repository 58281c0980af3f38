"""Whether a function is affine, and its matrices; how it depends on an argument, steps included."""

from __future__ import annotations

from collections.abc import Sequence

import casadi as ca
import numpy as np

from systems.arithmetic.exact import DISCONTINUOUS, KINKS
from systems.lowering.program import read
from systems.newton import without_guards

__all__ = ["affine_matrices", "is_affine_in", "steps_in"]


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


def is_affine_in(f: ca.Function, i: int) -> bool:
    """Whether a function is affine in one argument, with slopes and steps that may depend on the others.

    Args:
        f: of SX expressions. i: number of the argument.
    """
    f = without_guards(f)
    arguments = f.sx_in()
    slope = ca.jacobian(ca.veccat(*f.call(arguments)), arguments[i])
    return ca.simplify(ca.jacobian(slope, arguments[i])).is_zero() and not _operations_on(f, i) & KINKS


def steps_in(f: ca.Function, i: int) -> bool:
    """Whether a function has an operation that may step where one argument changes.

    The Jacobian does not show such a dependence: that of `sign(u)` is zero.

    Args:
        f: of SX expressions. i: number of the argument.
    """
    return bool(_operations_on(without_guards(f), i) & DISCONTINUOUS)


def _operations_on(f: ca.Function, i: int) -> set[str]:
    """The operations on an argument or on what depends on it; a branch counts if its condition does."""
    operations, dependent = set[str](), set[int]()
    for instruction in read(f).instructions:
        if instruction.op == "input":
            if instruction.args[0] == i:
                dependent.add(instruction.out)
            continue
        does_depend = [isinstance(a, int) and a in dependent for a in instruction.args]
        if any(does_depend):
            dependent.add(instruction.out)
            if instruction.op != "where" or does_depend[0]:
                operations.add(instruction.op)
    return operations
