"""The functions of a staged program as C code, with the derivatives that a real-time iteration needs."""

from __future__ import annotations

import casadi as ca

from mpc.nonlinear.staged_task import StagedTask
from systems import Task
from systems.lowering.c_source import c_function

__all__ = ["stage_functions"]


def stage_functions(task: Task, staged: StagedTask) -> tuple[str, ...]:
    """C functions of one stage; matrices are as wide as the widest stage, and filled with zeros.

    * ``stage(x, v, p, H, h, F, G, next, rows)``: Hessian and gradient of the cost, Jacobian of the next state, Jacobian
      of the constraints, all over (v, x); values.
    * ``last_stage(x, v, p, H, h, G, rows)``.
    * ``predict(x, u, after)``: the undisturbed plant.
    * ``kinks(x, u, x_ref, u_ref, t)``: values of the variables that stand for kinks of the cost.

    Raises:
        NotLowerable: the task uses an operation that C99 does not have.
    """
    program = staged.program
    width = program.states + max(len(program.low), len(program.terminal_low))
    most_rows = max(len(program.lower), len(program.terminal_lower), 1)
    n, m = staged.plant_sizes
    x, u = ca.SX.sym("x", n), ca.SX.sym("u", m)
    reached = task.dynamics.function()(x, u, 0, [])
    predict = ca.Function("predict", [x, u], [ca.densify(reached)], ["x", "u"], ["after"])
    x_ref, u_ref = ca.SX.sym("x_ref", n), ca.SX.sym("u_ref", m)
    starts = ca.densify(task.reading.stage.start(x, u, x_ref, u_ref))
    kinks = ca.Function("kinks", [x, u, x_ref, u_ref], [starts], ["x", "u", "x_ref", "u_ref"], ["t"])
    return (
        c_function(_derivatives(program.stage, width, most_rows, dynamics=True), "stage"),
        c_function(_derivatives(program.terminal, width, most_rows, dynamics=False), "last_stage"),
        c_function(predict, "predict"),
        c_function(kinks, "kinks"),
    )


def _derivatives(function: ca.Function, width: int, most_rows: int, dynamics: bool) -> ca.Function:
    x, v, p = (ca.SX.sym(name, function.size1_in(i)) for i, name in enumerate("xvp"))
    results = function(x, v, p)
    cost, rows = results[0], results[-1]
    z = ca.vertcat(v, x)
    hessian, gradient = ca.hessian(cost, z)
    outputs = {"H": _padded(hessian, width, width), "h": _padded(gradient, width, 1)}
    if dynamics:
        outputs["F"] = ca.densify(ca.jacobian(results[1], z))
    outputs["G"] = _padded(ca.jacobian(rows, z), most_rows, width)
    if dynamics:
        outputs["next"] = ca.densify(results[1])
    outputs["rows"] = ca.densify(rows)
    return ca.Function("derivatives", [x, v, p], list(outputs.values()), ["x", "v", "p"], list(outputs))


def _padded(matrix: ca.SX, rows: int, columns: int) -> ca.SX:
    padded = ca.SX.zeros(rows, columns)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    return padded
