"""Newton's method as an expression: a fixed number of iterations, which any arithmetic can evaluate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import casadi as ca
import numpy as np

from systems.errors import InvalidValue
from systems.lowering.interpret import expressions
from systems.lowering.program import Instruction, Program, read

__all__ = [
    "SOLVED",
    "as_function",
    "eliminate",
    "is_guard",
    "newton",
    "orthogonalise",
    "solved",
    "where_solved",
    "without_guards",
]

SOLVED = 1e-5
"""The relative residual with which the last iteration may begin. That iteration squares it, so the solution is good to
the rounding of 64 bits or nearly so; and 32 bits, in which learners simulate, still reach it."""

_ROUNDED = 1e-8  # SOLVED times this share lies above the rounding of 32 bits squared
_UNDERFLOW = 1e-30  # smaller than the terms of any equation, and still positive in 32 bits


def newton(
    equations: Callable[[ca.SX], ca.SX],
    guess: ca.SX,
    size: ca.SX,
    iterations: int,
    solve: Callable[[ca.SX, ca.SX], ca.SX],
) -> tuple[ca.SX, ca.SX]:
    """The solution z of g(z) = 0 and the residual at the beginning of the last iteration, as expressions.

    If the last iteration begins close to a solution, derivatives of the result are those of the implicit function
    theorem, to the same relative accuracy. Equations that are affine in z need no more than three iterations.

    Args:
        equations: g, (n, 1) of (n, 1). Other symbols in it are treated as constants.
        guess: (n, 1), where the iterations begin.
        size: (n, 1), additional magnitudes of z, such as those of the quantities to which it is added.
        iterations: at least 3.
        solve: of linear equations, :func:`eliminate` or :func:`orthogonalise`.

    Returns:
        z (n, 1), and sum_i |g_i| / (|dg/dz| (|z| + size))_i, the residual relative to the terms of its equation
        (Oettli & Prager, 1964), which is independent of units except for rounding. Zero if dg/dz is a matrix of
        numbers.

    Raises:
        InvalidValue: dg/dz is a matrix of numbers that is singular.
    """
    z = ca.SX.sym("z", guess.shape[0])
    g = ca.densify(equations(z))
    slopes = ca.densify(ca.jacobian(g, z))
    if slopes.is_constant():
        try:
            inverse = np.linalg.inv(np.array(ca.DM(slopes)))
        except np.linalg.LinAlgError as error:
            raise InvalidValue(
                "linear equations to be solved have a singular matrix. For an implicit integrator, choose another dt; "
                "algebraic equations with such a matrix do not determine their signals"
            ) from error
        return guess - ca.SX(inverse) @ as_function([z], [g])(guess), ca.SX(0)
    # An entry that is zero has no terms. Its rounding error shrinks with each iteration to far below the rounding of
    # the other entries, which therefore determine what counts as small.
    magnitude = ca.fabs(z) + size
    terms = ca.fabs(slopes) @ (magnitude + _ROUNDED * ca.sum1(magnitude))
    residual = ca.sum1(ca.fabs(g) / (terms + _UNDERFLOW))
    iterate = as_function([z], [z - solve(slopes, g), residual])
    is_affine = not ca.depends_on(ca.vec(slopes), z)
    reached = ca.SX(0)
    for _ in range(3 if is_affine else iterations):
        guess, reached = iterate(guess)
    return guess, reached


def where_solved(value: ca.SX, residual: ca.SX) -> ca.SX:
    """The value itself if Newton's method converged, otherwise NaN.

    Written as a square root, of which interval arithmetic knows where it may be undefined; a literal NaN has no
    enclosure.
    """
    if residual.is_zero():
        return value
    return value * ca.sqrt(ca.if_else(residual <= SOLVED, 1.0, -1.0))


def is_guard(program: Program, i: Instruction) -> bool:
    """Whether an operation is the factor of :func:`where_solved`: 1, or undefined."""
    if i.op != "sqrt" or not isinstance(i.args[0], int):
        return False
    chosen = program.instructions[i.args[0]]
    return chosen.op == "where" and chosen.args[1:] == (1.0, -1.0)


def solved(f: ca.Function) -> ca.Function | None:
    """A function of the same inputs that is 1 if Newton's method converged everywhere in a function, otherwise 0; None
    if the function solves nothing by iterations.

    Args:
        f: of SX expressions.
    """
    guards = []
    if {f.instruction_id(k) for k in range(f.n_instructions())} >= {ca.OP_SQRT, ca.OP_LE}:  # faster than reading it
        program = read(f)
        guards = [program.instructions[int(i.args[0])] for i in program.instructions if is_guard(program, i)]
    if not guards:
        return None
    z = f.sx_in()
    values, _ = expressions(program, z)
    holds = ca.SX(1)
    for chosen in guards:
        holds = ca.logic_and(holds, values[int(chosen.args[0])])
    return ca.Function("solved", z, [holds], [f.name_in(i) for i in range(f.n_in())], ["solved"])


def without_guards(f: ca.Function) -> ca.Function:
    """The same function without the check whether Newton's method converged.

    Args:
        f: of SX expressions.
    """
    program, z = read(f), f.sx_in()
    guards: dict[int, Any] = {i.out: ca.SX(1) for i in program.instructions if is_guard(program, i)}
    if not guards:
        return f
    _, outputs = expressions(program, z, guards)
    inputs, results = ([name(i) for i in range(n)] for name, n in ((f.name_in, f.n_in()), (f.name_out, f.n_out())))
    return ca.Function(f.name(), z, outputs, inputs, results)


def as_function(arguments: Sequence[ca.SX], results: Sequence[ca.SX]) -> Callable[..., Any]:
    """Expressions as a function of some of their symbols; the others remain in it.

    Calls copy these expressions but not those of the arguments, so that nested functions stay small.

    Args:
        arguments: columns of symbols. results: expressions.
    """
    mine = ca.vertcat(*arguments)
    others = [s for s in ca.symvar(ca.veccat(*results)) if not ca.depends_on(s, mine)]
    function = ca.Function("expressions", [*arguments, *others], list(results))
    return lambda *values: function(*values, *others)


def eliminate(a: ca.SX, b: ca.SX) -> ca.SX:
    """A^-1 b by Gaussian elimination with the diagonal as pivots, which keeps zeros: a quarter of the operations of
    :func:`orthogonalise` for the stages of a Runge-Kutta method, I - h J.

    A pivot close to zero makes the result inaccurate, which the residual of Newton's method then shows.

    Args:
        a: (n, n). b: (n, 1).
    """
    n = a.shape[0]
    rows, right = [[a[i, j] for j in range(n)] for i in range(n)], [b[i] for i in range(n)]
    for k in range(n):
        for i in range(k + 1, n):
            factor = rows[i][k] / rows[k][k]
            for j in range(k + 1, n):
                rows[i][j] -= factor * rows[k][j]
            right[i] -= factor * right[k]
    return _substitute(rows, right)


def orthogonalise(a: ca.SX, b: ca.SX) -> ca.SX:
    """A^-1 b by the modified Gram-Schmidt method applied to (A, b), which needs no pivots and is backward stable, as a
    product with the transpose of its Q is not (Bjoerck, 1967). The columns of Q are not divided by their length, so
    there are no roots.

    Args:
        a: (n, n). b: (n, 1).
    """
    n = a.shape[0]
    columns, rows, right = [a[:, j] for j in range(n)], [[ca.SX(1)] * n for _ in range(n)], []
    for k in range(n):
        q, square = columns[k], ca.sumsqr(columns[k])
        for j in range(k + 1, n):
            rows[k][j] = ca.dot(q, columns[j]) / square
            columns[j] = columns[j] - rows[k][j] * q
        right.append(ca.dot(q, b) / square)
        b = b - right[k] * q
    return _substitute(rows, right)


def _substitute(rows: list[list[ca.SX]], right: list[ca.SX]) -> ca.SX:
    """The solution of upper triangular equations."""
    n = len(right)
    z = [ca.SX(0)] * n
    for k in reversed(range(n)):
        known = sum((rows[k][j] * z[j] for j in range(k + 1, n)), ca.SX(0))
        z[k] = (right[k] - known) / rows[k][k]
    return ca.vertcat(*z)
