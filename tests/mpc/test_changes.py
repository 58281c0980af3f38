"""What changes while a controller runs: afterwards it decides as one made for the changed task."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from ctrl.controller import NotApplicable, Source, Status
from mpc import (
    MPPI,
    CrossEntropyMPC,
    EqualityMPC,
    ExplicitMPC,
    HarmonicMPC,
    LagrangianMPC,
    LinearMPC,
    NonlinearMPC,
    StochasticMPC,
    TrackingMPC,
)
from mpc.harmonic.artificial_reference import tracking_model
from mpc.online import OnlineController
from systems import Box, InvalidValue, Quadratic, SetPoint, Sinusoid, Task
from systems.library import cartpole, double_integrator, oscillating_masses, pendulum, segway

Change = Callable[[OnlineController], None]


def heavier(controller: OnlineController) -> None:
    controller.set_plant(dataclasses.replace(controller.task.plant, pole_mass=0.3, max_force=6.0))


def reweighted(controller: OnlineController) -> None:
    plant = controller.task.plant
    n, m = len(plant.state), len(plant.input)
    controller.set_cost(Quadratic(np.arange(1.0, n + 1.0), np.full(m, 0.3)))


def narrowed(controller: OnlineController) -> None:
    name = controller.task.plant.state.names[0]
    controller.set_constraints((*controller.task.constraints, Box("narrow", {name: (-0.6, 0.45)}).soft(50.0)))


def limited(controller: OnlineController) -> None:
    name = controller.task.plant.state.names[0]
    controller.set_constraints((Box("limit", {name: (-1.9, 1.7)}),))


def weaker(controller: OnlineController) -> None:
    controller.set_plant(dataclasses.replace(controller.task.plant, mass_2=0.7, max_force=0.5))


def moved(controller: OnlineController) -> None:
    controller.follow(resting(controller.task, 0.2))


def swinging(controller: OnlineController) -> None:
    controller.follow(Sinusoid(0.2, x_sine={controller.task.plant.state.names[0]: 0.1}))


def resting(task: Task, u: float) -> SetPoint:
    """A steady state that an input holds, or a position that needs none."""
    model = tracking_model(task)
    gap = np.eye(len(model.A)) - model.A
    if np.linalg.cond(gap) > 1e10:
        return SetPoint({task.plant.state.names[0]: u})
    inputs = np.full(model.B.shape[1], u)
    return SetPoint(np.linalg.solve(gap, model.B @ inputs), inputs)


MASSES, LINEAR = oscillating_masses(), double_integrator()
CASES: dict[str, tuple[Callable[[Task], OnlineController], Task, tuple[Change, ...]]] = {
    "linear": (lambda task: LinearMPC(task, 12), cartpole(), (heavier, reweighted, narrowed, moved, swinging)),
    "linear, cost": (lambda task: LinearMPC(task, 12, "cost"), MASSES, (weaker, reweighted, narrowed, limited, moved)),
    "linear, PIQP": (lambda task: LinearMPC(task, 12, solver="piqp"), cartpole(), (heavier, narrowed, moved)),
    "nonlinear": (lambda task: NonlinearMPC(task, 12), cartpole(), (heavier, reweighted, narrowed, moved)),
    "Lagrangian": (lambda task: LagrangianMPC(task, 8), pendulum(), (reweighted, moved)),
    "path integral": (lambda task: MPPI(task, 12, 50), cartpole(), (heavier, reweighted, moved)),
    "cross entropy": (lambda task: CrossEntropyMPC(task, 12, 50), cartpole(), (narrowed, swinging)),
    "harmonic": (lambda task: HarmonicMPC(task, 10, 0.3), MASSES, (weaker, reweighted, limited, moved)),
    "tracking": (lambda task: TrackingMPC(task, 10), MASSES, (weaker, reweighted, limited, moved)),
    "equality": (lambda task: EqualityMPC(task, 20, solver="clarabel"), MASSES, (weaker, reweighted, moved)),
    "stochastic": (lambda task: StochasticMPC(task, recondition_every=3), segway(), (reweighted,)),
    "explicit": (lambda task: ExplicitMPC(task, 2), LINEAR, (reweighted, moved)),
}
PAIRS = [(name, change) for name, (_, _, changes) in CASES.items() for change in changes]


@pytest.mark.parametrize(("name", "change"), PAIRS, ids=[f"{name}, {change.__name__}" for name, change in PAIRS])
@pytest.mark.every(4)
def test_a_changed_controller_decides_as_one_made_anew(name: str, change: Change) -> None:
    make, task, _ = CASES[name]
    controller, x = make(task), 0.5 * task.initial.mean(task.plant.state) + 0.1
    for k in range(3):
        controller.step(0.98**k * x, k)
    before = controller.step(x, 3).input
    change(controller)
    assert controller.task != task
    if name not in ("stochastic", "explicit"):  # whose nominal state begins anew, and which has no plan
        assert controller.plan is not None
    anew = make(controller.task)
    assert controller.approximations == anew.approximations
    assert controller.terminal == anew.terminal
    differs = False
    for k in range(4, 9):
        mine, other = controller.step(0.97**k * x, k), anew.step(0.97**k * x, k)
        assert (mine.status, mine.source) == (other.status, other.source)
        np.testing.assert_allclose(mine.input, other.input, rtol=1e-6, atol=2e-7)
        differs = differs or bool(np.abs(mine.input - before).max() > 1e-3)
    assert differs
    twin = copy.deepcopy(controller)
    assert twin.task == controller.task
    anew.reset()
    np.testing.assert_allclose(twin.step(x, 0).input, anew.step(x, 0).input, rtol=1e-6, atol=2e-7)


def test_a_reference_of_a_linear_plant_keeps_the_factorised_program() -> None:
    controller = LinearMPC(MASSES, 12, "cost")
    solver = controller.solver
    moved(controller)
    limited(controller)
    assert controller.solver is not solver  # other rows
    solver = controller.solver
    controller.set_constraints((Box("limit", {MASSES.plant.state.names[0]: (-0.02, 0.02)}),))
    assert controller.solver is solver  # other bounds
    x = np.array([0.0, 0.1, 0.2, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(controller.step(x, 0).input, LinearMPC(controller.task, 12, "cost").step(x, 0).input)
    reweighted(controller)
    assert controller.solver is not solver


def test_what_is_refused_changes_nothing() -> None:
    controller, x = LinearMPC(cartpole(), 12), np.array([0.3, 0.1, 0.0, 0.0])
    task, before = controller.task, controller.step(x, 0).input
    with pytest.raises(NotApplicable):
        controller.set_constraints((Box("out of reach", {"angle": (-0.1, 0.1)}).budget(0.1, of="excess"),))
    with pytest.raises(InvalidValue, match="other signals"):
        controller.set_plant(pendulum().plant)
    with pytest.raises(InvalidValue, match="reference"):
        controller.follow("north")  # type: ignore[arg-type]
    assert controller.task is task
    controller.reset()
    np.testing.assert_array_equal(controller.step(x, 0).input, before)


def test_the_last_plan_is_there_for_a_solve_that_fails_after_a_change() -> None:
    controller, x = LinearMPC(cartpole(), 12), np.array([0.3, 0.1, 0.0, 0.0])
    controller.step(x, 0)
    plan = controller.plan
    assert plan is not None
    reweighted(controller)
    failed = controller.step(np.full(4, np.nan), 1)
    assert (failed.status, failed.source) == (Status.NUMERICAL, Source.SHIFTED_PLAN)
    np.testing.assert_array_equal(failed.input, plan.u[1])


def test_a_reference_refused_late_leaves_harmonic_mpc_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = HarmonicMPC(MASSES, 8, 0.3)
    before = dict(vars(controller))

    def refuse(self: HarmonicMPC) -> None:
        raise NotApplicable("no")

    monkeypatch.setattr(HarmonicMPC, "_made_without_end", refuse)
    with pytest.raises(NotApplicable):
        moved(controller)
    assert all(vars(controller)[name] is value for name, value in before.items())
