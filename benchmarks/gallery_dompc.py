"""The tasks of `systems.library.gallery` as do-mpc's own examples pose them, for `benchmarks.gallery`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import casadi as ca
import numpy as np

from systems import Box, Task
from systems.inputs.changes import ChangesCost
from systems.library.gallery import DoublePendulum
from systems.requirements import Soft
from systems.signals import Vector

__all__ = ["Example", "controller"]


@dataclass(frozen=True)
class Example:
    """A task, and the settings of do-mpc's example.

    Args:
        make: of the task, with weights on changes of all its inputs.
        horizon: predicted samples.
        degree: of the collocation polynomials; default: 2, that of do-mpc.
        elements: of the collocation, per sample; default: 1, that of do-mpc.
        scaling: by which states and inputs are divided, by name; default: 1.
    """

    make: Callable[[], Task]
    horizon: int
    degree: int = 2
    elements: int = 1
    scaling: Mapping[str, float] = field(default_factory=dict)


def controller(example: Example, task: Task) -> Callable[[np.ndarray, int], np.ndarray]:
    """do-mpc's step for states of the task, by Radau collocation and ipopt, with its weights on changes of inputs.

    The model is the inner plant of the task; the double pendulum has its accelerations as algebraic states, as in the
    example. Boxes are bounds on states, which do-mpc imposes at all collocation points, other constraints are
    imposed at samples.
    """
    import do_mpc

    plant, changes = task.plant.inner, task.cost  # type: ignore[attr-defined]
    assert isinstance(changes, ChangesCost)
    n, m, moving = len(plant.state), len(plant.input), not task.reference.is_constant
    model = do_mpc.model.Model("discrete" if plant.is_discrete else "continuous", "SX")
    x = ca.vertcat(*[model.set_variable("_x", name) for name in plant.state.names])
    u = ca.vertcat(*[model.set_variable("_u", name) for name in plant.input.names])
    start = task.reference.at(task.plant, 0)[0][:n]
    x_ref = model.set_variable("_tvp", "x_ref", (n, 1)) if moving else ca.SX(start)
    if isinstance(plant, DoublePendulum):
        z = model.set_variable("_z", "accelerations", (3, 1))
        state, given = Vector(plant.state, x, "state"), Vector(plant.input, u, "input")
        model.set_alg("newton", plant.mass_matrix(state) @ z - plant.forces(state, given))
        after = ca.vertcat(x[3:], z)
    else:
        after = plant.casadi()(x, u, [], [])
    for name, rate in zip(plant.state.names, ca.vertsplit(after), strict=True):
        model.set_rhs(name, rate)
    model.setup()
    x, u = model.x.cat, model.u.cat  # which setup() made anew
    x_ref = model.tvp["x_ref"] if moving else x_ref
    mpc = do_mpc.controller.MPC(model)
    settings = mpc.settings
    settings.n_horizon, settings.t_step, settings.n_robust = example.horizon, task.dt, 0
    settings.collocation_deg, settings.collocation_ni = example.degree, example.elements
    settings.store_full_solution = False
    settings.supress_ipopt_output()
    for name, size in example.scaling.items():
        mpc.scaling["_x" if name in plant.state.names else "_u", name] = size
    unchanged = ca.vertcat(x, u)  # the previous input is the present one
    reference = ca.vertcat(x_ref, u)
    mpc.set_objective(
        lterm=task.stage_cost(unchanged, u, reference, task.reference.at(task.plant, 0)[1]),
        mterm=task.terminal_cost(ca.vertcat(x, ca.SX.zeros(m)), ca.vertcat(x_ref, ca.SX.zeros(m))),
    )
    weights = dict(zip(changes.names, np.diag(changes.weight), strict=True))
    mpc.set_rterm(**{name: weight * example.scaling.get(name, 1.0) ** 2 for name, weight in weights.items()})
    for constraint, g in zip(task.constraints, task.constraint_functions, strict=True):
        requirement = constraint.requirement
        if isinstance(constraint, Box) and not isinstance(requirement, Soft):
            for name, (low, high) in constraint.bounds.items():
                mpc.bounds["lower", "_x", name], mpc.bounds["upper", "_x", name] = low, high
            continue
        rows = (
            {"soft_constraint": True, "penalty_term_cons": requirement.weight} if isinstance(requirement, Soft) else {}
        )
        mpc.set_nl_cons(constraint.name.replace(" ", "_"), g(unchanged, u), 0.0, **rows)
    for name, low, high in zip(plant.input.names, *task.input_bounds, strict=True):
        mpc.bounds["lower", "_u", name], mpc.bounds["upper", "_u", name] = low, high
    if moving:
        template = mpc.get_tvp_template()

        def ahead(time: Any) -> Any:
            k = round(float(np.ravel(time)[0]) / task.dt)
            states = task.reference.at(task.plant, np.minimum(k + np.arange(example.horizon + 1), task.steps))[0]
            for i, value in enumerate(states):
                template["_tvp", i, "x_ref"] = value[:n]
            return template

        mpc.set_tvp_fun(ahead)
    mpc.setup()
    new = [True]

    def step(measured: np.ndarray, k: int) -> np.ndarray:
        if new:
            new.clear()
            mpc.x0, mpc.u0 = measured[:n], measured[n:]
            mpc.set_initial_guess()
        return np.asarray(mpc.make_step(measured[:n, None]))[:, 0]

    return step
