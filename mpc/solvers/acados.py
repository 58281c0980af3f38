"""acados (Verschueren et al., 2022) for staged programs: its SQP or real-time iteration, compiled for the problem."""

from __future__ import annotations

import ctypes
import itertools
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.controller import Status
from mpc.solvers.acados_install import installed
from mpc.solvers.free_end import FreeEnd
from mpc.solvers.sqp import Ended
from mpc.solvers.staged import Hessian, Point, StagedProgram, is_convex

__all__ = ["AcadosSolver", "formulation"]

TOLERANCE = 1e-6  # of all residuals
UNBOUNDED = 1e9  # the bound of a row or variable without one
BLOCKS = 5  # stages of the partially condensed QP
_STATUS = {
    0: Status.SOLVED,
    2: Status.MAX_ITERATIONS,
    3: Status.NUMERICAL,
    4: Status.INFEASIBLE,
    7: Status.TIMEOUT,
}
_MOST_ITERATIONS = 2  # acados' code
_BOTH, _PREPARATION, _FEEDBACK = 0, 1, 2
_names = itertools.count()


@final
class AcadosSolver:
    """Solves a staged program from the point in ``point``, which it updates; the interface is that of
    :class:`mpc.solvers.sqp.SQP`.

    The clock is checked only before a solve, since acados is bounded by its iterations.

    Args:
        program: what is solved.
        iterations: largest number of QPs in a solve; 1 for the real-time iteration (Diehl, Bock & Schlöder, 2005) with
            HPIPM's fastest mode.
        hessian: of the QPs.

    Attributes:
        point: guess, then solution. lower, upper (N, rows): bounds of the rows before the last stage, which may be
            changed between solves; call :meth:`set_bounds` then.

    Raises:
        AcadosMissing: see :func:`mpc.solvers.acados_install.installed`.
    """

    def __init__(self, program: StagedProgram, iterations: int, hessian: Hessian = "cost") -> None:
        acados, N = installed(), program.horizon
        self.program, self.point, self._free = program, Point(program), FreeEnd(program)
        self.lower, self.upper = np.tile(program.lower, (N, 1)), np.tile(program.upper, (N, 1))
        ocp = formulation(self._free.program, acados.template, iterations, hessian)
        # The files are needed until the solver is loaded; an open library stays when its file goes.
        with tempfile.TemporaryDirectory(prefix="trivium-acados-") as folder:
            self._solver = acados.solver(ocp, Path(folder))
        self._is_real_time = iterations == 1
        self._transfer = _Transfer(self._solver, self._free)

    def set_bounds(self) -> None:
        """Passes the bounds of the rows to acados."""
        if self.lower.shape[1]:
            for k in range(self.program.horizon):
                self._solver.constraints_set(k, "lh", np.maximum(self.lower[k], -UNBOUNDED))
                self._solver.constraints_set(k, "uh", np.minimum(self.upper[k], UNBOUNDED))

    def prepare(self) -> None:
        """Linearises about the point: all that can be done before the measurement arrives."""
        self._free.read(self.point)
        self._transfer.write()
        self._solver.options_set("rti_phase", _PREPARATION)
        self._solver.solve()

    def iterate(self, x: np.ndarray) -> Ended:
        """The real-time iteration for the measured state x (n,), about the point that was prepared; never raises
        because of numbers. The point stays as it was where the QP has no solution."""
        self._measure(x)
        self._solver.options_set("rti_phase", _FEEDBACK)
        return self._ended(self._solver.solve(), 1, np.inf)

    def real_time(self, x: np.ndarray) -> Ended:
        """Both phases of the iteration: :meth:`prepare` and :meth:`iterate`."""
        self.prepare()
        return self.iterate(x)

    def solve(self, x: np.ndarray, iterations: int = 50, until: float = np.inf) -> Ended:
        """Solves from the point for the measured state x (n,); never raises because of numbers.

        Args:
            iterations: largest number of QPs of a solver for real-time iterations; acados fixes that of others when
                the solver is made.
            until: time of `perf_counter` after which no iteration is begun.
        """
        self.point.x[0] = x
        if perf_counter() >= until:
            return Ended(Status.TIMEOUT, 0, np.inf)
        self._free.read(self.point)
        self._transfer.write()
        self._measure(x)
        if self._is_real_time:
            return self._repeated(iterations, until)
        code = self._solver.solve()
        residual = float(np.max(self._solver.get_residuals()))
        return self._ended(code, int(self._solver.get_stats("sqp_iter")[0]), residual)

    def _repeated(self, iterations: int, until: float) -> Ended:
        """Real-time iterations for one measurement until full steps no longer move the point. acados evaluates the
        stationarity of such a solver with derivatives at the point before, so its residual does not tell."""
        free, code, moved, done = self._free, 0, np.inf, 0
        self._solver.options_set("rti_phase", _BOTH)
        while done < iterations and code == 0 and not moved <= TOLERANCE and perf_counter() < until:
            before = free.x.copy(), free.v.copy()
            code, done = self._solver.solve(), done + 1
            self._transfer.read()
            moved = max(
                float((np.abs(new - old) / (1.0 + np.abs(old))).max(initial=0.0))
                for new, old in zip((free.x, free.v), before, strict=True)
            )
        return self._ended(code if code or moved <= TOLERANCE else _MOST_ITERATIONS, done, np.inf)

    def _measure(self, x: np.ndarray) -> None:
        start = np.zeros(self._free.x.shape[1])
        start[: len(x)] = x
        self._solver.set(0, "lbx", start)
        self._solver.set(0, "ubx", start)

    def _ended(self, code: int, iterations: int, residual: float) -> Ended:
        free, status = self._free, _STATUS.get(code, Status.NUMERICAL)
        self._transfer.read()
        if not (np.isfinite(free.x).all() and np.isfinite(free.v).all()):
            status = Status.NUMERICAL
        if status in (Status.SOLVED, Status.MAX_ITERATIONS):
            free.write(self.point)
        else:
            self._solver.reset()  # numbers that are not finite would stay in the QP solver's memory
        return Ended(status, iterations, residual if np.isfinite(residual) else np.inf)


class _Transfer:
    """Copies a point to acados and back.

    The methods of ``AcadosOcpSolver`` take as long as the solver, so the underlying functions are called with prepared
    addresses. For later versions, whose functions have other arguments, the methods are used.
    """

    def __init__(self, solver: Any, free: FreeEnd) -> None:
        self._solver, self._free, self._is_early = solver, free, not hasattr(solver, "set_flat")
        if self._is_early:
            library = solver.shared_lib
            self._put, self._fetch = library["ocp_nlp_out_set"], library["ocp_nlp_out_get"]
            self._set_parameters = library[f"{solver.model_name}_acados_update_params"]
            handles = [ctypes.c_void_p(h) for h in (solver.nlp_config, solver.nlp_dims, solver.nlp_out)]
            self._points = [
                (*handles, k, field, ctypes.c_void_p(row.ctypes.data))
                for field, array in ((b"x", free.x), (b"u", free.v))
                for k, row in enumerate(array)
            ]
            count, capsule = free.p.shape[1], ctypes.c_void_p(solver.capsule)
            rows = enumerate(free.p) if count else ()
            self._parameters = [(capsule, k, ctypes.c_void_p(row.ctypes.data), count) for k, row in rows]

    def write(self) -> None:
        """To acados."""
        if self._is_early:
            for arguments in self._points:
                self._put(*arguments)
            for arguments in self._parameters:
                self._set_parameters(*arguments)
            return
        for field, array in (("x", self._free.x), ("u", self._free.v), ("p", self._free.p)):
            if array.shape[1]:
                for k, row in enumerate(array):
                    self._solver.set(k, field, row)

    def read(self) -> None:
        """From acados."""
        if self._is_early:
            for arguments in self._points:
                self._fetch(*arguments)
            return
        for field, array in (("x", self._free.x), ("u", self._free.v)):
            for k, row in enumerate(array):
                row[:] = self._solver.get(k, field)


def formulation(program: StagedProgram, template: Any, iterations: int, hessian: Hessian) -> Any:
    """An ``AcadosOcp`` for a program whose last stage has no variables.

    Args:
        template: the module ``acados_template``.
        iterations, hessian: see :class:`AcadosSolver`.
    """
    ocp, N = template.AcadosOcp(), program.horizon
    x, v = ca.SX.sym("x", program.states), ca.SX.sym("v", len(program.low))
    p = ca.SX.sym("p", program.parameters)
    f, after, g = program.stage(x, v, p)
    F, G = program.terminal(x, ca.SX(0, 1), p)
    model, cost, constraints, options = ocp.model, ocp.cost, ocp.constraints, ocp.solver_options
    model.name = f"trivium_{next(_names)}"
    model.x, model.u, model.p, model.disc_dyn_expr = x, v, p, after
    ocp.parameter_values = np.zeros(program.parameters)
    ocp.dims.N = N
    cost.cost_type = cost.cost_type_e = "EXTERNAL"
    model.cost_expr_ext_cost, model.cost_expr_ext_cost_e = f, F
    bounded = np.flatnonzero(np.isfinite(program.low) | np.isfinite(program.high))
    constraints.idxbu = bounded
    constraints.lbu, constraints.ubu = _finite(program.low[bounded]), _finite(program.high[bounded])
    constraints.x0 = np.zeros(program.states)
    if g.shape[0]:
        model.con_h_expr = g
        constraints.lh, constraints.uh = _finite(program.lower), _finite(program.upper)
        if hasattr(model, "con_h_expr_0"):  # later versions take the first stage apart
            model.con_h_expr_0 = g
            constraints.lh_0, constraints.uh_0 = constraints.lh, constraints.uh
    if G.shape[0]:
        model.con_h_expr_e = G
        constraints.lh_e, constraints.uh_e = _finite(program.terminal_lower), _finite(program.terminal_upper)
    options.tf = float(N)  # acados weighs a stage by its length
    options.integrator_type = "DISCRETE"
    options.qp_solver, options.qp_solver_cond_N = "PARTIAL_CONDENSING_HPIPM", min(BLOCKS, N)
    options.nlp_solver_type = "SQP_RTI" if iterations == 1 else "SQP"
    options.hpipm_mode = "SPEED_ABS" if iterations == 1 else "BALANCE"
    options.nlp_solver_max_iter = iterations
    options.hessian_approx = "EXACT" if hessian == "lagrangian" else "GAUSS_NEWTON"
    convex = hessian == "cost" and is_convex(program.stage) and is_convex(program.terminal)
    options.regularize_method = "NO_REGULARIZE" if convex else "MIRROR"
    options.tol, options.qp_tol = TOLERANCE, 0.1 * TOLERANCE
    options.print_level = 0
    return ocp


def _finite(bounds: np.ndarray) -> np.ndarray:
    return np.clip(bounds, -UNBOUNDED, UNBOUNDED)
