"""acados on the problems of `benchmarks.rti`, in a process of its own.

    python -m benchmarks.rti_acados cartpole

Written as its users write it: least-squares cost with Gauss-Newton Hessians, bounds as bounds, slacks of its own, the
discrete model of the task, partial condensing. The first plan is ipopt's. The process answers lines of JSON that name a
method, a state and the samples to run, by lines of JSON with the state reached and what the samples took and cost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import casadi as ca
import numpy as np

from mpc import NonlinearMPC
from mpc.solvers.acados_install import AcadosMissing, installed
from systems import Task
from systems.library import cartpole_swing_up, planar_quadrotor

METHODS = ("acados real-time iteration", "acados converged")
BLOCKS = 5  # of partial condensing; faster on both problems than none, and than 10


def _cartpole(x: ca.SX, u: ca.SX) -> ca.SX:
    lean = np.sqrt(20.0) * ca.sin(0.5 * x[1])  # its square is 10 (1 - cos(angle))
    return ca.vertcat(x[0], lean, np.sqrt(0.1) * x[2], np.sqrt(0.1) * x[3], 0.1 * u)


def _quadrotor(x: ca.SX, u: ca.SX) -> ca.SX:
    weights = np.sqrt([1.0, 1.0, 0.5, 0.1, 0.1, 0.01]), np.sqrt([0.1, 0.1])
    hover = planar_quadrotor().reading.start[1]
    return ca.vertcat(weights[0] * x, weights[1] * (u - hover))


PROBLEMS: dict[str, tuple[Callable[[], Task], int, Callable[[ca.SX, ca.SX], ca.SX]]] = {
    "cartpole": (cartpole_swing_up, 40, _cartpole),
    "quadrotor": (planar_quadrotor, 30, _quadrotor),
}


Method = Callable[[np.ndarray, int], np.ndarray]
"""The input for a measured state and a sample number."""


def run(
    task: Task, method: Method, x: np.ndarray, samples: range, prepare: Callable[[int], None] | None = None
) -> tuple[np.ndarray, list[float], float]:
    """The undisturbed closed loop over these samples from x: the state reached, the seconds of processor time of each
    call, and the cost. What is prepared for a sample before its state is known is not timed."""
    step, stage, (low, high) = task.dynamics.function(), task.stage_cost_function(), task.input_bounds
    seconds, cost = [], 0.0
    for k in samples:
        if prepare is not None:
            prepare(k)
        began = process_time()
        u = method(x, k)
        seconds.append(process_time() - began)
        u = np.clip(u, low, high)
        cost += float(stage(x, u, *(part[0] for part in task.reading.window(k, 1))))
        x = np.array(step(x, u, 0, []))[:, 0]
    return x, seconds, cost


class Peer:
    """acados in a process of its own.

    Args:
        problem: of :data:`PROBLEMS`.

    Raises:
        AcadosMissing: there is none.
    """

    def __init__(self, problem: str) -> None:
        installed()
        command = [sys.executable, "-m", "benchmarks.rti_acados", problem]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise AcadosMissing(f"the process of acados ended with status {self._process.wait()}")
        self.unsolved = dict.fromkeys(METHODS, 0)

    def run(self, method: str, x: np.ndarray, samples: range) -> tuple[np.ndarray, list[float], float]:
        """As :func:`run`, in that process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"method": method, "x": x.tolist(), "samples": [samples.start, samples.stop]}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        self.unsolved[method] = answer["unsolved"]
        return np.array(answer["x"]), answer["seconds"], answer["cost"]

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def solver(task: Task, horizon: int, residuals: Callable[[ca.SX, ca.SX], ca.SX], real_time: bool, folder: Path) -> Any:
    """An ``AcadosOcpSolver`` for a task whose only constraints are bounds, soft on states."""
    acados = installed()
    with acados.environment():
        ocp = acados.template.AcadosOcp()
    n, m = len(task.plant.state), len(task.plant.input)
    x, u = ca.SX.sym("x", n), ca.SX.sym("u", m)
    model, cost, rules, options = ocp.model, ocp.cost, ocp.constraints, ocp.solver_options
    model.name = f"{'rti' if real_time else 'sqp'}_{task.plant.name.lower()}"
    model.x, model.u, model.disc_dyn_expr = x, u, task.dynamics.function()(x, u, 0, [])
    ocp.dims.N = horizon
    y, size = residuals(x, u), task.reading.cost_size
    _expect_same_cost(task, x, u, y)
    end = NonlinearMPC(task, horizon, solver="ipopt").staged.end
    assert end.P is not None
    assert not end.p.any()
    cost.cost_type, model.cost_y_expr, cost.yref = "NONLINEAR_LS", y, np.zeros(y.shape[0])
    cost.W = 2.0 / size * np.eye(y.shape[0])
    cost.cost_type_e, cost.W_e, cost.Vx_e, cost.yref_e = "LINEAR_LS", 2.0 / size * end.P, np.eye(n), end.centre
    rules.idxbu, (rules.lbu, rules.ubu) = np.arange(m), task.input_bounds
    rules.x0 = np.zeros(n)
    conditions = task.reading.conditions
    if conditions.names:
        position = np.array(ca.DM(ca.jacobian(conditions.value(x, u), x))).argmax(axis=1)
        rules.idxbx = rules.idxbx_e = position
        rules.lbx = rules.lbx_e = conditions.lower
        rules.ubx = rules.ubx_e = conditions.upper
        rules.idxsbx = rules.idxsbx_e = np.arange(len(position))
        cost.zl = cost.zu = cost.zl_e = cost.zu_e = conditions.weight / size
        cost.Zl = cost.Zu = cost.Zl_e = cost.Zu_e = np.zeros(len(position))
    options.tf, options.integrator_type = float(horizon), "DISCRETE"
    options.qp_solver, options.qp_solver_cond_N = "PARTIAL_CONDENSING_HPIPM", BLOCKS
    options.hessian_approx, options.nlp_solver_type = "GAUSS_NEWTON", "SQP_RTI" if real_time else "SQP"
    options.hpipm_mode = "SPEED_ABS" if real_time else "BALANCE"
    options.tol, options.nlp_solver_max_iter, options.ext_fun_compile_flags = 1e-6, 100, "-O2"
    return acados.solver(ocp, folder)


def _expect_same_cost(task: Task, x: ca.SX, u: ca.SX, y: ca.SX) -> None:
    """Stops unless the squares are the stage cost of the task."""
    x_ref, u_ref = task.reading.start
    gap = ca.Function("gap", [x, u], [ca.sumsqr(y) - task.stage_cost(x, u, x_ref, u_ref)])
    for point in np.random.default_rng(0).normal(size=(20, x.shape[0] + u.shape[0])):
        error = abs(float(gap(point[: x.shape[0]], point[x.shape[0] :])))
        if error > 1e-9:
            raise SystemExit(f"the least squares differ from the task's stage cost by {error}")


def main(problem: str) -> None:
    make, horizon, residuals = PROBLEMS[problem]
    task = make()
    with tempfile.TemporaryDirectory() as folder:
        solvers = {
            method: solver(task, horizon, residuals, real_time, Path(folder) / method.replace(" ", "_"))
            for method, real_time in zip(METHODS, (True, False), strict=True)
        }
    methods: dict[str, _Acados] = {}
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        name, x = request["method"], np.array(request["x"])
        if name not in methods:
            _start(solvers[name], task, horizon, x)
            methods[name] = _Acados(solvers[name])
        x, seconds, cost = run(task, methods[name], x, range(*request["samples"]))
        answer = {"x": x.tolist(), "seconds": seconds, "cost": cost, "unsolved": methods[name].unsolved}
        print(json.dumps(answer), flush=True)


class _Acados:
    """A step of an ``AcadosOcpSolver``, and how many of them did not succeed."""

    def __init__(self, solver: Any) -> None:
        self._solver, self.unsolved = solver, 0

    def __call__(self, x: np.ndarray, k: int) -> np.ndarray:
        self._solver.set(0, "lbx", x)
        self._solver.set(0, "ubx", x)
        self.unsolved += self._solver.solve() != 0
        return np.asarray(self._solver.get(0, "u"))


def _start(acados: Any, task: Task, horizon: int, x: np.ndarray) -> None:
    controller = NonlinearMPC(task, horizon, solver="ipopt")
    controller.step(x, 0)
    plan = controller.plan
    assert plan is not None
    for k in range(horizon + 1):
        acados.set(k, "x", plan.x[k])
    for k in range(horizon):
        acados.set(k, "u", plan.u[k])


if __name__ == "__main__":
    main(sys.argv[1])
