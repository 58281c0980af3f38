"""Nonlinear programs with the stage structure of optimal control, linearised into the arrays of a QP solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import casadi as ca
import numpy as np

from mpc.solvers.hpipm import HPIPM

__all__ = ["Buffered", "Hessian", "Linearisation", "Point", "StagedProgram"]

Hessian = Literal["cost", "lagrangian"]
"""Second derivatives of the cost alone (Gauss-Newton for quadratic costs), or of the whole Lagrangian."""


@final
@dataclass(frozen=True, eq=False)
class StagedProgram:
    """min sum_{k<N} f(x_k, v_k; p_k) + F(x_N, v_N; p_N) over x_{k+1} = next(x_k, v_k; p_k), lower <= g <= upper,
    low <= v <= high; x_0 is given.

    ``v`` holds the inputs and all other variables local to a stage, such as violations of soft constraints.

    Args:
        horizon: N, at least 1.
        stage: (x, v, p) -> (f, next, g).
        terminal: (x, v, p) -> (F, G); its ``v`` may have a different size.
        low, high: (m,), bounds of every v before the last.
        terminal_low, terminal_high: bounds of the last v.
        lower, upper: (rows,), bounds of g.
        terminal_lower, terminal_upper: bounds of G.
    """

    horizon: int
    stage: ca.Function
    terminal: ca.Function
    low: np.ndarray
    high: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    terminal_low: np.ndarray
    terminal_high: np.ndarray
    terminal_lower: np.ndarray
    terminal_upper: np.ndarray

    @property
    def states(self) -> int:
        return int(self.stage.size1_in(0))

    @property
    def parameters(self) -> int:
        return int(self.stage.size1_in(2))


class Buffered:
    """A CasADi function that reads its arguments from, and writes its results to, fixed arrays.

    Args:
        function: its arguments and results must be dense.
        arguments, results: C-ordered arrays with matching numbers of elements, read and written in place. Any further
            arguments are zero.
    """

    def __init__(self, function: ca.Function, arguments: list[np.ndarray], results: list[np.ndarray]) -> None:
        self._buffer, self.run = function.buffer()
        self._kept = (function, arguments, results)
        for i, array in enumerate(arguments):
            self._buffer.set_arg(i, memoryview(array))  # type: ignore[call-arg, arg-type]
        for i, array in enumerate(results):
            self._buffer.set_res(i, memoryview(array))  # type: ignore[call-arg, arg-type]


class Point:
    """A point of a staged program, its multipliers, and the values of its functions.

    Attributes:
        x (N + 1, n), v (N, m), v_last (1, m_N), p (N + 1, parameters).
        pi (N, n): multipliers of the dynamics.
        lam (N, rows), lam_last: multipliers of the rows, positive at an upper bound.
        mu (N, m), mu_last: multipliers of the bounds of v, likewise.
        f (N,), F (1,), next (N, n), g (N, rows), G (1, rows_N): values.
    """

    def __init__(self, program: StagedProgram) -> None:
        N, n = program.horizon, program.states
        m, rows, m_last, rows_last = (
            len(program.low),
            len(program.lower),
            len(program.terminal_low),
            len(program.terminal_lower),
        )
        self.x, self.v, self.v_last = np.zeros((N + 1, n)), np.zeros((N, m)), np.zeros((1, m_last))
        self.p = np.zeros((N + 1, program.parameters))
        self.pi, self.lam, self.lam_last = np.zeros((N, n)), np.zeros((N, rows)), np.zeros((1, rows_last))
        self.mu, self.mu_last = np.zeros((N, m)), np.zeros((1, m_last))
        self.f, self.F = np.zeros(N), np.zeros(1)
        self.next, self.g, self.G = np.zeros((N, n)), np.zeros((N, rows)), np.zeros((1, rows_last))
        # Views read by the mapped function of all stages but the last, and by that of the last.
        self.stages = [self.x[:-1], self.v, self.p[:-1]]
        self.end = [self.x[-1:], self.v_last, self.p[-1:]]


@final
class Linearisation:
    """Evaluates a staged program, and writes its derivatives into the arrays of a QP solver.

    Args:
        program: the program to evaluate.
        qp: the solver that receives the derivatives.

    Attributes:
        point: where the program is evaluated; set by the caller.
        is_convex: whether the Hessians of the cost are constant and positive semidefinite.
    """

    def __init__(self, program: StagedProgram, qp: HPIPM) -> None:
        self.program, self.qp, self.point = program, qp, Point(program)
        N, point, stages, last = program.horizon, self.point, qp.stages, qp.last
        values, values_last = [point.f, point.next, point.g], [point.F, point.G]
        derivatives = [qp.A, qp.B, stages.C, stages.D, stages.q, stages.r, stages.Q, stages.S, stages.R]
        derivatives_last = [last.C, last.D, last.q, last.r, last.Q, last.S, last.R]
        stage, end = (
            _functions(program.stage, dynamics=True),
            _functions(program.terminal, dynamics=False),
        )
        self.is_convex = is_convex(program.stage) and is_convex(program.terminal)
        self._values = [Buffered(stage[0].map(N), point.stages, values), Buffered(end[0], point.end, values_last)]
        self._derivatives: dict[Hessian, list[Buffered]] = {
            kind: [
                Buffered(stage[i].map(N), [*point.stages, point.pi, point.lam], [*values, *derivatives]),
                Buffered(end[i], [*point.end, point.lam_last], [*values_last, *derivatives_last]),
            ]
            for i, kind in enumerate(get_args(Hessian), start=1)
        }

    def evaluate(self) -> None:
        """Evaluates costs, next states and rows at the point."""
        for function in self._values:
            function.run()

    def linearise(self, hessian: Hessian) -> None:
        """Does the same, and writes all first and second derivatives into the QP."""
        for function in self._derivatives[hessian]:
            function.run()


def is_convex(function: ca.Function) -> bool:
    """Whether the Hessian of the first result is constant and positive semidefinite."""
    x, v, p = (ca.SX.sym(name, function.size1_in(i)) for i, name in enumerate("xvp"))
    H = ca.hessian(function(x, v, p)[0], ca.vertcat(x, v))[0]
    if not H.is_constant():
        return False
    values = np.linalg.eigvalsh(np.array(ca.DM(ca.densify(H)))) if H.shape[0] else np.zeros(1)
    return bool(np.isfinite(values).all() and values[0] >= -1e-12 * max(1.0, values[-1]))


def _functions(function: ca.Function, dynamics: bool) -> tuple[ca.Function, ca.Function, ca.Function]:
    """Dense values, and values with derivatives for each kind of Hessian; matrices of the rows are transposed."""
    x, v, p = (ca.SX.sym(name, function.size1_in(i)) for i, name in enumerate("xvp"))
    results = function(x, v, p)
    f, following, g = results if dynamics else (results[0], ca.SX(0, 1), results[1])
    pi, lam = ca.SX.sym("pi", following.shape[0]), ca.SX.sym("lam", g.shape[0])
    z, n = ca.vertcat(x, v), x.shape[0]
    gradient, jacobian, rows = ca.gradient(f, z), ca.jacobian(following, z), ca.jacobian(g, z)
    values = [f, following, g] if dynamics else [f, g]
    # CasADi stores matrices by columns, so an array that holds the columns of A is filled with A itself.
    forward = [jacobian[:, :n], jacobian[:, n:]] if dynamics else []
    first = [*values, *forward, rows[:, :n], rows[:, n:], gradient[:n], gradient[n:]]
    multipliers = [pi, lam] if dynamics else [lam]

    def derivatives(of: ca.SX) -> ca.Function:
        H = ca.hessian(of, z)[0]
        outputs = [*first, H[:n, :n], H[n:, :n], H[n:, n:]]
        return ca.Function("derivatives", [x, v, p, *multipliers], [ca.densify(output) for output in outputs])

    return (
        ca.Function("values", [x, v, p], [ca.densify(value) for value in values]),
        derivatives(f),
        derivatives(f + ca.dot(pi, following) + ca.dot(lam, g)),
    )
