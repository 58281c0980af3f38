"""The real-time iteration of nonlinear MPC as C code."""

from __future__ import annotations

from copy import copy
from typing import Any, Protocol

import casadi as ca
import numpy as np

from ctrl.controller import Decision, Status
from ctrl.export.code import CodePart, ControllerCode, Member, NotExportable, fragment
from ctrl.export.recording import Recording
from mpc.export.fallback import fallback_part, representative_part
from mpc.export.stage_functions import stage_functions
from mpc.export.staged_interior_point import interior_point
from mpc.fallback import Fallback, Plan
from mpc.nonlinear.sequential import Sequential
from mpc.nonlinear.staged_task import StagedTask
from mpc.solvers.sqp import SQP
from mpc.solvers.staged import is_convex
from systems import Task
from systems.lowering.program import NotLowerable

__all__ = ["RealTimeOriginal", "real_time_iteration"]

ACCURACY = 1e-14  # of the quadratic programs in the recorded steps
TOLERANCE = 1e-6  # of the inputs, as a share of the width of their bounds
RUNS, STEPS = 2, 250  # of the recording, the second from a random initial state
LOST = 17  # every so many samples a measurement is lost


class Iterating(Protocol):
    """The part of :class:`mpc.nonlinear.nonlinear_mpc.NonlinearMPC` that this module uses; a protocol avoids a circular
    import."""

    task: Task
    horizon: int
    iterations: int | None
    staged: StagedTask
    approximations: tuple[str, ...]
    began_anew: bool
    _sequential: Sequential | None
    _fallback: Fallback
    _plan: Any

    @property
    def plan(self) -> Plan | None: ...

    def reset(self) -> None: ...

    def step(self, x: np.ndarray, k: int) -> Decision: ...

    def _values_of_kinks(self, xs: np.ndarray, us: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray) -> np.ndarray: ...


class RealTimeOriginal:
    """The controller that the C code equals: the real-time iteration in Python, from the same first plan, with
    quadratic programs solved as accurately as in C.

    Args:
        controller: with ``iterations=1``; a copy of it is made.

    Attributes:
        x (N + 1, n), v (N, variables), v_last: the first plan, from the mean of the initial states.

    Raises:
        NotExportable: no plan from there converges.
    """

    def __init__(self, controller: Iterating) -> None:
        self.task = controller.task
        self._mpc = mpc = copy(controller)  # made anew
        sqp = SQP(mpc.staged.program, "robust", accuracy=ACCURACY)
        self._sequential = mpc._sequential = Sequential(mpc.staged, sqp)
        start = self.task.initial.mean(self.task.plant.state)
        status = mpc.step(start, 0).status
        plan = mpc.plan
        if status is not Status.SOLVED or plan is None:
            raise NotExportable(
                f"task '{self.task.name}': the first plan, from the mean of the initial states {start.tolist()}, did "
                f"not converge in Python ({status.value}); give the task initial states from which a plan exists"
            )
        sqp.solve(sqp.point.x[0].copy())
        if not sqp.residual() <= TOLERANCE:  # the solution of ipopt remains, with violations and multipliers zero
            window = self.task.reading.window(0, mpc.horizon + 1)
            self._sequential.start(plan.x, plan.u, mpc._values_of_kinks(plan.x, plan.u, *window), 0)
        self.x, self.v, self.v_last = sqp.point.x.copy(), sqp.point.v.copy(), sqp.point.v_last[0].copy()
        self.reset()

    def reset(self) -> None:
        """A new run begins, with the first plan."""
        mpc, sequential = self._mpc, self._sequential
        mpc.reset()
        point, kinks = sequential.sqp.point, sequential.staged.kinks
        n, m = sequential.staged.plant_sizes
        sequential.start(self.x[:, :n], self.v[:, :m], self.v[:, kinks], 0)
        point.v[:], point.v_last[:] = self.v, self.v_last
        mpc._plan = sequential.plan(0)

    def step(self, x: np.ndarray, k: int) -> Decision | None:
        """The decision at sample ``k`` in state ``x`` (n,); None where Python starts anew, which it does in other ways
        than C."""
        self._mpc.began_anew = False
        decision = self._mpc.step(x, k)
        return None if self._mpc.began_anew else decision


def real_time_iteration(controller: Iterating, samples: int) -> ControllerCode:
    """The C code of a real-time iteration.

    Args:
        controller: with ``iterations=1``.
        samples: reached by the table of a moving reference.

    Raises:
        NotExportable: another number of iterations, a budget of accumulated excess, an operation that C does not have,
            or no first plan.
    """
    task, staged = controller.task, controller.staged
    if controller.iterations != 1:
        raise NotExportable(
            f"iterations = {controller.iterations}: nonlinear MPC can be exported to C as the real-time iteration only;"
            " export NonlinearMPC(task, iterations=1)"
        )
    if staged.tuned:
        raise NotExportable(
            "parameters that change from sample to sample are not in the C code; export NonlinearMPC(task, "
            "iterations=1) without parameters"
        )
    if len(staged.rates):
        raise NotExportable(
            f"task '{task.name}' has a budget of accumulated excess, whose program needs the curvature of the "
            "Lagrangian, which the C code does not have; make the constraint hard or soft"
        )
    try:
        functions = stage_functions(task, staged)
    except NotLowerable as error:
        raise NotExportable(f"task '{task.name}': {error}") from error
    original = RealTimeOriginal(controller)
    convex = is_convex(staged.program.stage) and is_convex(staged.program.terminal)
    sources = (
        fragment("mpc.export", "convex.c" if convex else "convexity.c"),
        *functions,
        fragment("mpc.export", "real_time_iteration.c"),
    )
    rows = samples + controller.horizon + 1 if staged.moving else 1
    x_ref, u_ref = task.reading.window(0, rows)
    program = staged.program
    tables = {
        "STATE_REFERENCE": np.array(x_ref), "INPUT_REFERENCE": np.array(u_ref),
        "FIRST_STATES": original.x, "FIRST_VARIABLES": original.v, "FIRST_LAST": original.v_last,
        "VARIABLES_LOW": program.low, "VARIABLES_HIGH": program.high,
        "LAST_LOW": program.terminal_low, "LAST_HIGH": program.terminal_high,
        "ROWS_LOW": program.lower, "ROWS_HIGH": program.upper,
        "FIRST_ROWS_LOW": staged.first_lower, "FIRST_ROWS_HIGH": staged.first_upper,
        "IS_HARD": _hard(program.stage, staged.inputs),
        "LAST_IS_HARD": _hard(program.terminal, 0),
        "LAST_ROWS_LOW": program.terminal_lower, "LAST_ROWS_HIGH": program.terminal_upper,
    }  # fmt: skip
    sizes = {
        "WINDOW_ROWS": rows,
        "RUN_STEPS": task.steps if staged.ends else 0,
        "IS_MOVING": int(staged.moving),
        "ENDS_AT_REST": int(staged.end.at_edge),
    }
    N, (n, _) = controller.horizon, staged.plant_sizes
    variables, last = len(program.low), len(program.terminal_low)
    memory = (
        Member("int", "is_started"),
        Member("int", "failures", comment="samples in a row without a new plan"),
        Member("int", "is_elastic", comment="whether the plan exceeds hard constraints"),
        Member("long", "plan_begins", comment="sample of the plan's first state"),
        Member("double", "plan_x", (N + 1) * n, "the plan: states"),
        Member("double", "plan_v", N * variables, "inputs, and other variables of the stages"),
        Member("double", "plan_last", last, "variables of the last stage"),
        Member("double", "x", (N + 1) * n, "the point of linearisation"),
        Member("double", "v", N * variables),
        Member("double", "last", last),
    )
    regulator = fallback_part(controller._fallback, samples + N)  # the plan is extended by it
    parts = regulator + representative_part(task, samples) + interior_point(staged.program.sizes)
    return ControllerCode(
        task,
        f"Nonlinear MPC by real-time iterations: one quadratic program per sample over {N} samples, solved by an "
        "interior-point method. The first plan of a run comes from a solve that converged in Python.",
        parts + CodePart(sources, tables, sizes, memory),
        controller.approximations,
        tolerance=TOLERANCE,
        notes=_notes(controller, rows),
        recording=_recorded(original, samples),
    )


def _hard(stage: ca.Function, inputs: int) -> np.ndarray:
    """Which rows of a stage depend on state and input alone: not those of violations and kinks."""
    x, v, p = (ca.SX.sym(name, stage.size1_in(i)) for i, name in enumerate("xvp"))
    dependence = ca.jacobian(stage(x, v, p)[-1], v[inputs:]).sparsity()
    soft = np.zeros(stage.size1_out(stage.n_out() - 1), dtype=int)
    soft[dependence.row()] = 1
    return 1 - soft


def _notes(controller: Iterating, rows: int) -> tuple[str, ...]:
    task = controller.task
    start = ", ".join(f"{signal.name} {value:.6g}" for signal, value in zip(
        task.plant.state, task.initial.mean(task.plant.state), strict=True))  # fmt: skip
    notes: tuple[str, ...] = (
        f"the first plan of a run is a table: it comes from a solve that converged in Python, from the state {start} "
        "at sample 0; the C code iterates from it",
        "where the measured state is further from the plan than 0.5 (1 + |x|), and after three failures in a row, the "
        "iteration starts anew from a straight line to the reference, where Python solves anew; the first inputs "
        "after that may be far from optimal",
        "every decision has the status of an iteration that is not known to have converged, as in Python",
        "the steps of the test come from the Python controller with quadratic programs solved to "
        f"{ACCURACY:g}; by default Python solves them to 1e-8, and may differ by more than the C code does",
    )
    if rows > 1:
        notes += (f"the table of the reference has {rows} samples; afterwards the last row is held",)
    return notes


def _recorded(original: RealTimeOriginal, samples: int, seed: int = 0) -> Recording:
    """Steps in closed loop on the disturbed plant, with lost measurements; a run ends where Python would call ipopt."""
    task, rng = original.task, np.random.default_rng(seed)
    dynamics, (least, most) = task.true_dynamics.function(), task.domain_bounds
    resets, numbers, measured, decisions = [], [], [], []
    for run in range(RUNS):
        original.reset()
        x = task.initial.sample(task.plant.state, rng) if run else task.initial.mean(task.plant.state)
        for k in range(min(samples, STEPS)):
            lost = k % LOST == LOST - 1
            given = np.where(rng.integers(len(x)) == np.arange(len(x)), np.nan, x) if lost else x
            decision = original.step(given, k)
            if decision is None:
                break
            resets.append(k == 0)
            numbers.append(k)
            measured.append(given)
            decisions.append(decision)
            w = task.disturbance.sample(task.plant.disturbance, rng)
            x = np.array(dynamics(x, decision.input, w, [])).ravel()
            if not (np.isfinite(x).all() and (least <= x).all() and (x <= most).all()):
                break
    return Recording(
        np.array(resets, dtype=bool),
        np.array(numbers, dtype=int),
        np.array(measured).reshape(len(numbers), -1),
        np.array([d.input for d in decisions]).reshape(len(numbers), -1),
        tuple(d.status for d in decisions),
        tuple(d.source for d in decisions),
        np.ones(len(numbers), dtype=bool),
    )
