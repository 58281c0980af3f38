"""do-mpc (Fiedler et al., 2023) for staged programs: its ``Model`` and ``MPC``, solved by ipopt."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.controller import Status
from mpc.solvers.free_end import FreeEnd
from mpc.solvers.ipopt import status_of
from mpc.solvers.sqp import Ended
from mpc.solvers.staged import Point, StagedProgram
from systems import Task
from systems.errors import TriviumError

__all__ = ["DoMPCMissing", "DoMPCSolver", "Variables", "controller", "do_mpc"]


class DoMPCMissing(TriviumError, ImportError):
    """do-mpc is not installed."""


def do_mpc() -> Any:
    """The package do-mpc.

    Raises:
        DoMPCMissing: it cannot be imported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # do-mpc warns of its own optional dependencies
            import do_mpc as package
            import do_mpc.controller
            import do_mpc.model
            import do_mpc.simulator
    except ImportError as error:
        raise DoMPCMissing(f"do-mpc cannot be imported: {error}; run pip install 'trivium-control[peers]'") from error
    return package


@final
class Variables:
    """The variables of a do-mpc model: states and inputs of a task by name, and the additional ones of a staged
    program.

    Args:
        program: a program whose last stage has no variables.
        task: whose states and inputs come first in it.
    """

    def __init__(self, program: StagedProgram, task: Task) -> None:
        self.names = task.plant.state.names, task.plant.input.names
        self.counts = program.states - len(self.names[0]), len(program.low) - len(self.names[1])
        self.parameters = program.parameters

    def declare(self, model: Any) -> tuple[ca.SX, ca.SX, ca.SX]:
        """Declares states, inputs and time-varying parameters; returns them as columns."""
        x, v = (
            ca.vertcat(
                *[model.set_variable(kind, name) for name in names],
                *([model.set_variable(kind, auxiliary, (count, 1))] if count else []),
            )
            for kind, names, auxiliary, count in zip(
                ("_x", "_u"), self.names, ("auxiliary_state", "auxiliary"), self.counts, strict=True
            )
        )
        p = model.set_variable("_tvp", "stage", (self.parameters, 1)) if self.parameters else ca.SX(0, 1)
        return x, v, p

    def set_rhs(self, model: Any, after: ca.SX) -> None:
        """Sets the next state, a column, and completes the model."""
        names, count = self.names[0], self.counts[0]
        for i, name in enumerate(names):
            model.set_rhs(name, after[i])
        if count:
            model.set_rhs("auxiliary_state", after[len(names) :])
        model.setup()


def controller(
    program: StagedProgram,
    task: Task,
    bounds: tuple[np.ndarray, np.ndarray],
    stages: Callable[[float], np.ndarray],
    options: dict[str, Any],
) -> Any:
    """The ``MPC`` of do-mpc for a program whose last stage has no variables; its model is ``mpc.model``.

    The rows of each stage are added one by one, since do-mpc's own constraints would also hold for the measured state,
    which cannot be changed, and not at the end.

    Args:
        program: what is solved.
        task: gives the names of the variables and the sample time.
        bounds: lower and upper bounds of the rows before the last stage, each (N, rows).
        stages: parameters of all stages, (N + 1, parameters), at a time in seconds.
        options: of ipopt, besides those that keep it quiet.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of CasADi, on the way that do-mpc compares bounds
        return _built(program, task, bounds, stages, options)


def _built(
    program: StagedProgram,
    task: Task,
    bounds: tuple[np.ndarray, np.ndarray],
    stages: Callable[[float], np.ndarray],
    options: dict[str, Any],
) -> Any:
    package, variables = do_mpc(), Variables(program, task)
    model = package.model.Model("discrete", "SX")
    variables.set_rhs(model, program.stage(*variables.declare(model))[1])
    mpc = package.controller.MPC(model)
    settings, N = mpc.settings, program.horizon
    settings.n_horizon, settings.t_step = N, task.dt
    settings.store_full_solution = settings.store_lagr_multiplier = False
    settings.supress_ipopt_output()
    settings.nlpsol_opts.update({"error_on_fail": False, "show_eval_warnings": False, "expand": True})
    settings.nlpsol_opts.update({f"ipopt.{name}": value for name, value in options.items()})
    x, v, p = model.x.cat, model.u.cat, model.tvp.cat
    mpc.set_objective(mterm=program.terminal(x, ca.SX(0, 1), p)[0], lterm=program.stage(x, v, p)[0])
    declared = model.u.keys()
    inputs = [name for name in declared if name != "default"]  # do-mpc's own, without entries
    mpc.set_rterm(**dict.fromkeys(inputs, 0.0))
    start = 0
    for name in inputs:
        end = start + model.u[name].shape[0]
        mpc.bounds["lower", "_u", name] = program.low[start:end]
        mpc.bounds["upper", "_u", name] = program.high[start:end]
        start = end
    template = mpc.get_tvp_template()

    def parameters(time: float) -> Any:
        if variables.parameters:
            for k, row in enumerate(stages(time)):
                template["_tvp", k, "stage"] = row
        return template

    mpc.set_tvp_fun(parameters)
    mpc.prepare_nlp()
    points, given = mpc.opt_x_unscaled, mpc.opt_p
    for k, (lower, upper) in enumerate(zip(*bounds, strict=True)):
        _append(mpc, program.stage(points["_x", k, 0, -1], points["_u", k, 0], given["_tvp", k])[2], lower, upper)
    end = program.terminal(points["_x", N, 0, -1], ca.SX(0, 1), given["_tvp", N])[1]
    _append(mpc, end, program.terminal_lower, program.terminal_upper)
    mpc.create_nlp()
    return mpc


def _append(mpc: Any, rows: ca.SX, lower: np.ndarray, upper: np.ndarray) -> None:
    if rows.shape[0]:
        mpc.nlp_cons.append(rows)
        mpc.nlp_cons_lb.append(lower)
        mpc.nlp_cons_ub.append(upper)


@final
class DoMPCSolver:
    """Solves a staged program with do-mpc from the point in ``point``, which it updates; the interface is that of
    :class:`mpc.solvers.sqp.SQP`. Solutions are those of ipopt, which starts from the point and the last multipliers.

    Args:
        program: what is solved.
        task: gives the names of the variables and the sample time.
        iterations: of ipopt, in one solve.
        time_limit: seconds of one solve.

    Attributes:
        point: guess, then solution. lower, upper (N, rows): bounds of the rows before the last stage, which may be
            changed between solves; call :meth:`set_bounds` then.
        mpc: the ``MPC`` of do-mpc.

    Raises:
        DoMPCMissing: see :func:`do_mpc`.
    """

    def __init__(self, program: StagedProgram, task: Task, iterations: int, time_limit: float) -> None:
        N = program.horizon
        self.program, self.point, self._free = program, Point(program), FreeEnd(program)
        self.lower, self.upper = np.tile(program.lower, (N, 1)), np.tile(program.upper, (N, 1))
        options = {"max_iter": iterations, "max_wall_time": time_limit}
        self.mpc = controller(
            self._free.program, task, (self.lower, self.upper), lambda time: np.array(self._free.p), options
        )
        index, parameter = self.mpc.opt_x.f, self.mpc.opt_p.f
        self._x_at = np.array([index["_x", k, 0, -1] for k in range(N + 1)], dtype=int)
        self._v_at = np.array([index["_u", k, 0] for k in range(N)], dtype=int)
        self._p_at = np.array([parameter["_tvp", k] for k in range(N + 1)], dtype=int)
        self._first_at = np.array(parameter["_x0"], dtype=int)
        self._guess, self._given = np.zeros(self.mpc.n_opt_x), np.zeros(self.mpc.n_opt_p)
        self._rows_end = self.mpc.n_opt_lagr - len(self._free.program.terminal_lower)

    def set_bounds(self) -> None:
        """Passes the bounds of the rows to do-mpc."""
        rows = slice(self._rows_end - self.lower.size, self._rows_end)
        for given, bounds in ((self.mpc.nlp_cons_lb, self.lower), (self.mpc.nlp_cons_ub, self.upper)):
            if bounds.size:
                given[rows] = bounds.ravel()

    def prepare(self) -> None:
        """Does nothing: do-mpc has no real-time iterations."""

    def iterate(self, x: np.ndarray) -> Ended:
        """Solves, since do-mpc has no real-time iterations."""
        return self.solve(x)

    def real_time(self, x: np.ndarray) -> Ended:
        """Solves, too."""
        return self.solve(x)

    def solve(self, x: np.ndarray, iterations: int = 0, until: float = np.inf) -> Ended:
        """Solves from the point for the measured state x (n,); never raises because of numbers.

        Args:
            iterations: not used; do-mpc fixes it when the solver is constructed.
            until: time of `perf_counter` after which no solve is begun.
        """
        self.point.x[0] = x
        if perf_counter() >= until:
            return Ended(Status.TIMEOUT, 0, np.inf)
        mpc, free = self.mpc, self._free
        free.read(self.point)
        self._guess[self._x_at], self._guess[self._v_at] = free.x, free.v
        self._given[self._p_at], self._given[self._first_at] = free.p, free.x[0]
        mpc.opt_x_num.master, mpc.opt_p_num.master = ca.DM(self._guess), ca.DM(self._given)
        try:
            mpc.solve()
        except RuntimeError:  # a function cannot be evaluated
            return self._failed(Status.NUMERICAL, 0)
        status, done = status_of(mpc.solver_stats["return_status"]), int(mpc.solver_stats["iter_count"])
        solution = np.array(mpc.opt_x_num.master)[:, 0]
        if status is not Status.SOLVED or not np.isfinite(solution).all():
            return self._failed(Status.NUMERICAL if status is Status.SOLVED else status, done)
        free.x[:], free.v[:] = solution[self._x_at], solution[self._v_at]
        free.write(self.point)
        return Ended(status, done, _residual(mpc.solver_stats))

    def _failed(self, status: Status, iterations: int) -> Ended:
        self.mpc.flags["initial_run"] = False  # do-mpc would start from the multipliers of the failed solve
        return Ended(status, iterations, np.inf)


def _residual(stats: dict[str, Any]) -> float:
    """Largest infeasibility, primal or dual, that ipopt saw at its last iterate; infinite where it does not say."""
    errors = [stats.get("iterations", {}).get(name) for name in ("inf_pr", "inf_du")]
    return max((float(values[-1]) if values else np.inf) for values in errors)
