"""Nonlinear programs with the stage structure of optimal control, linearised into the arrays of a QP solver."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final, get_args

import casadi as ca
import numpy as np

from ctrl.export.code import fragment
from mpc.solvers.hpipm import HPIPM, StageSizes, views
from systems.errors import TriviumError
from systems.lowering.buffered import Buffered
from systems.lowering.c_backend import compiled_library, functions_of, library_of
from systems.semidefinite import is_positive_semidefinite

__all__ = ["Hessian", "Linearisation", "Point", "StagedProgram"]

_NOISE = 1e-12  # of Hessians, relative to their largest entry
_HOT = 200  # linearisations after which the functions are compiled in the background

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
    def sizes(self) -> StageSizes:
        """Sizes of its linearisation."""
        inputs, last_inputs = len(self.low), len(self.terminal_low)
        return StageSizes(self.horizon, self.states, inputs, len(self.lower), last_inputs, len(self.terminal_lower))

    @property
    def states(self) -> int:
        return int(self.stage.size1_in(0))

    @property
    def parameters(self) -> int:
        return int(self.stage.size1_in(2))


class Point:
    """A point of a staged program, its multipliers, and the values of its functions.

    Attributes:
        x (N + 1, n), v (N, m), v_last (1, m_N), p (N + 1, parameters).
        pi (N, n): multipliers of the dynamics.
        lam (N, rows), lam_last: multipliers of the rows, positive at an upper bound.
        mu (N, m), mu_last: multipliers of the bounds of v, likewise.
        f (N,), F (1,), next (N, n), g (N, rows), G (1, rows_N): values.
        variables: x, v and v_last as one block. bounded: v, v_last, g and G as one block; see
            :func:`mpc.solvers.hpipm.views`. multipliers: those of ``bounded``.
    """

    def __init__(self, program: StagedProgram) -> None:
        N, sizes = program.horizon, program.sizes
        states = (N + 1) * sizes.states
        block, self.multipliers = np.zeros(states + sizes.bounded), np.zeros(sizes.bounded)
        self.variables, self.bounded = block[: sizes.variables], block[states:]
        self.x, self.v, self.v_last = views(sizes, block, "variables")
        _, _, self.g, self.G = views(sizes, self.bounded, "bounded")
        self.mu, self.mu_last, self.lam, self.lam_last = views(sizes, self.multipliers, "bounded")
        self.p, self.pi = np.zeros((N + 1, program.parameters)), np.zeros((N, sizes.states))
        self.f, self.F, self.next = np.zeros(N), np.zeros(1), np.zeros((N, sizes.states))
        # Views read by the mapped function of all stages but the last, and by that of the last.
        self.stages = [self.x[:-1], self.v, self.p[:-1]]
        self.end = [self.x[-1:], self.v_last, self.p[-1:]]


@final
class Linearisation:
    """Evaluates a staged program, and writes its derivatives into the arrays of a QP solver.

    Args:
        program: the program to evaluate.
        qp: the solver that receives the derivatives.
        compiled: called with the library where one has been compiled, perhaps in another thread.

    Attributes:
        point: where the program is evaluated; set by the caller.
        functions: of a stage, then of the last: values, and derivatives with the Hessian of the cost and Lagrangian.
        arrays: their arguments and results, for a stage and for the last.
        slope: the gradient of the Lagrangian of each stage, without the multipliers of bounds and of the dynamics that
            lead to it; see :func:`mpc.solvers.hpipm.views`.
        is_compiled: whether the functions run as compiled C.
        pivots: (N + 1,), smallest pivot of the Cholesky factorisation of each Hessian.
    """

    def __init__(
        self, program: StagedProgram, qp: HPIPM, compiled: Callable[[Path], None] = lambda library: None
    ) -> None:
        self.program, self.qp, self.point = program, qp, Point(program)
        N, point, stages, last = program.horizon, self.point, qp.stages, qp.last
        self.pivots = np.zeros(N + 1)
        values, values_last = [point.f, point.next, point.g], [point.F, point.G]
        self.slope = np.zeros_like(qp.gradient)
        x, u, u_last = views(program.sizes, self.slope, "variables")
        derivatives, derivatives_last = (
            [part.C, part.D, part.q, part.r, part.Q, part.S, part.R, pivots, *slopes]
            for part, pivots, slopes in (
                (stages, self.pivots[:N], (x[:-1], u)),
                (last, self.pivots[N:], (x[-1:], u_last)),
            )
        )
        self.arrays = (
            ([*point.stages, point.pi, point.lam], [*values, qp.A, qp.B, *derivatives]),
            ([*point.end, point.lam_last], [*values_last, *derivatives_last]),
        )
        self.functions = (*_functions(program.stage, "stage"), *_functions(program.terminal, "terminal"))
        self._until_compiled, self._on_compiled, self.is_compiled = _HOT, compiled, False
        self._use(self.functions)

    def load(self) -> None:
        """Uses the functions that were compiled before, if there are any."""
        library = library_of(self.functions, more=_iteration())
        if library is not None:
            with contextlib.suppress(TriviumError):
                self._adopt(library)

    def compile(self) -> None:
        """Compiles the functions to C, which gives the same numbers faster; otherwise, that is done in the background
        when they have been evaluated often.

        Raises:
            CompilerMissing: there is no C compiler, or it fails.
            NotLowerable: a function calls one for which CasADi generates no C.
        """
        self._until_compiled = 0
        self._adopt(compiled_library(self.functions, more=_iteration()))

    def _adopt(self, library: Path) -> None:
        self._use(functions_of(self.functions, library))
        self.is_compiled = True
        self._on_compiled(library)

    def _compile_quietly(self) -> None:
        with contextlib.suppress(TriviumError, OSError):
            self.compile()

    def _use(self, functions: Sequence[ca.Function]) -> None:
        made = [
            [Buffered(stage.map(self.program.horizon), *self.arrays[0]), Buffered(last, *self.arrays[1])]
            for stage, last in zip(functions[:3], functions[3:], strict=True)
        ]
        self._values, self._derivatives = made[0], dict(zip(get_args(Hessian), made[1:], strict=True))

    def evaluate(self) -> None:
        """Evaluates costs, next states and rows at the point."""
        for function in self._values:
            function.run()

    def linearise(self, hessian: Hessian) -> None:
        """Does the same, and writes all first and second derivatives into the QP."""
        self._until_compiled -= 1
        if self._until_compiled == 0:
            threading.Thread(target=self._compile_quietly, name="compile", daemon=True).start()
        for function in self._derivatives[hessian]:
            function.run()

    @property
    def is_convex(self) -> bool:
        """Whether all Hessians of the last linearisation are positive semidefinite, to rounding."""
        return bool(self.pivots.min() > 0.0)


def _iteration() -> str:
    """The C code that is compiled with the functions; see :mod:`mpc.solvers.iteration`."""
    return fragment("mpc.solvers", "iteration.c")


def is_convex(function: ca.Function) -> bool:
    """Whether the Hessian of the first result is constant and positive semidefinite."""
    x, v, p = (ca.SX.sym(name, function.size1_in(i)) for i, name in enumerate("xvp"))
    H = ca.hessian(function(x, v, p)[0], ca.vertcat(x, v))[0]
    if not H.is_constant():
        return False
    matrix = np.array(ca.DM(ca.densify(H)))
    return bool(np.isfinite(matrix).all()) and is_positive_semidefinite(matrix, _NOISE)


def _least_pivot(H: ca.SX) -> ca.SX:
    """The smallest pivot of H = L D L', not positive where H is not positive semidefinite to rounding."""
    if not H.shape[0]:
        return ca.SX(1)
    pivots, _, _ = ca.ldl(H + 1e-10 * ca.SX.eye(H.shape[0]), False)
    return ca.mmin(pivots)


def _functions(function: ca.Function, name: Literal["stage", "terminal"]) -> tuple[ca.Function, ...]:
    """Dense values, and values with derivatives for each kind of Hessian; matrices of the rows are transposed."""
    dynamics = name == "stage"
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
    lagrangian = f + ca.dot(pi, following) + ca.dot(lam, g)
    slope = ca.gradient(lagrangian, z)

    def derivatives(of: ca.SX, kind: Hessian) -> ca.Function:
        H = ca.hessian(of, z)[0]
        outputs = [*first, H[:n, :n], H[n:, :n], H[n:, n:], _least_pivot(H), slope[:n], slope[n:]]
        return ca.Function(f"{name}_{kind}", [x, v, p, *multipliers], [ca.densify(output) for output in outputs])

    return (
        ca.Function(f"{name}_values", [x, v, p], [ca.densify(value) for value in values]),
        derivatives(f, "cost"),
        derivatives(lagrangian, "lagrangian"),
    )
