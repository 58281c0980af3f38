"""Converts a task to objects of do-mpc."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, final, get_args

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from ctrl.terminal import Kind
from mpc.approximations import SMOOTHED_ROOTS
from mpc.nonlinear.nonlinear_mpc import ANSWERS
from mpc.nonlinear.staged_task import StagedTask, ahead, staged
from mpc.online import check_horizon, check_input
from mpc.solvers.dompc import Variables, controller, do_mpc
from mpc.solvers.free_end import FreeEnd
from mpc.solvers.staged import Point, StagedProgram
from systems import Task
from systems.arguments import expect_choice, expect_whole

__all__ = ["DoMPC", "to_dompc"]


@final
@dataclass(frozen=True, eq=False)
class DoMPC:
    """The objects of do-mpc for one task.

    States and inputs have the names of the plant. Kinks of the cost and violations of soft constraints are entries of
    an input ``auxiliary``, and those at the end of the horizon of a state ``auxiliary_state``; a task without them has
    no such variables.

    Args:
        model: discrete-time: the plant's map from one sample to the next by the integrator of the task, so that no
            second discretisation is involved.
        mpc: minimises the same objective as :class:`mpc.NonlinearMPC`.
        simulator: of the true plant, ``task.truth`` if it is given, with inputs clipped by its actuator limits and
            disturbances drawn for each sample.
        approximations: of the task, in words.
    """

    model: Any
    mpc: Any
    simulator: Any
    approximations: tuple[str, ...]


def to_dompc(task: Task, horizon: int = 25, terminal: Kind = "cost-to-go", seed: int = 0) -> DoMPC:
    """A task as a ``Model``, an ``MPC`` and a ``Simulator`` of do-mpc, set up and ready to run.

    ::

        made = to_dompc(task)
        made.mpc.x0 = made.simulator.x0 = x
        made.mpc.set_initial_guess()
        x = made.simulator.make_step(made.mpc.make_step(x))

    If the task has auxiliary states, append zeros for them to the states of the plant in the initial x.

    Args:
        task: defines plant, cost, constraints, bounds, reference.
        horizon: number of predicted samples.
        terminal: see :class:`mpc.NonlinearMPC`.
        seed: of the disturbances.

    Raises:
        DoMPCMissing: do-mpc is not installed.
        NotApplicable: a task without input, or with a budget of accumulated excess.
        InvalidValue: a horizon below 1, an unknown terminal, a negative seed.
    """
    check_horizon(horizon)
    check_input(task)
    expect_choice(terminal, "terminal", get_args(Kind))
    expect_whole(seed, "seed", least=0)
    if task.reading.excess_budgets:
        raise NotApplicable(
            f"task '{task.name}' budgets an accumulated excess, and do-mpc does not keep account of what a run has "
            "spent; use NonlinearMPC(task, solver='do-mpc'), which does"
        )
    posed, approximations = staged(task, horizon, terminal), ANSWERS.read(task)
    if posed.known.size:
        raise NotApplicable(
            f"task '{task.name}' has signals that are known ahead, which are predicted from the measured ones; "
            "NonlinearMPC(task, solver='do-mpc') solves it with do-mpc"
        )
    if posed.smoothed:
        approximations += (SMOOTHED_ROOTS,)
    free = FreeEnd(posed.program)
    bounds = [np.tile(bound, (horizon, 1)) for bound in (posed.program.lower, posed.program.upper)]
    bounds[0][0], bounds[1][0] = posed.first_lower, posed.first_upper
    stages = _Stages(task, posed, free)
    mpc = controller(free.program, task, (bounds[0], bounds[1]), stages, {})
    simulator = _simulator(task, free.program, stages, seed)
    return DoMPC(mpc.model, mpc, simulator, approximations)


class _Stages:
    """The parameters of all stages at a time: the reference ahead, and what remains of the run."""

    def __init__(self, task: Task, posed: StagedTask, free: FreeEnd) -> None:
        self._task, self._posed, self._free, self._point = task, posed, free, Point(posed.program)

    def __call__(self, time: float) -> np.ndarray:
        horizon = self._posed.program.horizon
        x_ref, u_ref, going = ahead(self._task, horizon, _sample(time, self._task.dt), self._posed.ends)
        self._posed.fill(self._point.p, x_ref, u_ref, going, np.zeros(0))
        self._free.read(self._point)
        return self._free.p


def _simulator(task: Task, program: StagedProgram, stages: _Stages, seed: int) -> Any:
    package, variables = do_mpc(), Variables(program, task)
    model = package.model.Model("discrete", "SX")
    x, v, p = variables.declare(model)
    names, n, m = task.plant.disturbance.names, len(task.plant.state), len(task.plant.input)
    w = ca.vertcat(ca.SX(0, 1), *[model.set_variable("_p", name) for name in names])
    low, high = task.applied_bounds
    truth = task.true_dynamics.function()(x[:n], ca.fmin(ca.fmax(v[:m], low), high), w, [])
    variables.set_rhs(model, ca.vertcat(truth, program.stage(x, v, p)[1][n:]))
    simulator = package.simulator.Simulator(model)
    simulator.settings.t_step = task.dt
    drawn, parameters = simulator.get_p_template(), simulator.get_tvp_template()

    def disturbance(time: float) -> Any:
        rng = np.random.default_rng((seed, _sample(time, task.dt)))
        for name, value in zip(names, task.disturbance.sample(task.plant.disturbance, rng), strict=True):
            drawn[name] = value
        return drawn

    def stage(time: float) -> Any:
        if variables.parameters:
            parameters["stage"] = stages(time)[0]
        return parameters

    simulator.set_p_fun(disturbance)
    simulator.set_tvp_fun(stage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of CasADi, on the way that do-mpc compares
        simulator.setup()
    return simulator


def _sample(time: Any, dt: float) -> int:
    """The number of the sample that begins at a time, which do-mpc sums up step by step."""
    return math.floor(float(np.ravel(time)[0]) / dt + 0.5)
