"""The control step that all online controllers share: refusals, copies, and what a step keeps."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from ctrl.controller import Controller, NotApplicable, Source, Status
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
from mpc.online import OnlineController
from systems import Fixed, InvalidValue, LinearPlant, Quadratic, SetPoint, Task
from systems.library import ball_and_plate_axis, double_integrator, segway
from systems.library.pendulum import pendulum

KINDS = (LinearMPC, NonlinearMPC, LagrangianMPC, MPPI)


@pytest.mark.parametrize("kind", KINDS)
def test_refuses_what_leaves_nothing_to_decide(kind: Callable[..., OnlineController]) -> None:
    idle = LinearPlant(np.eye(1) / 2, np.zeros((1, 0)), dt=0.2)
    with pytest.raises(NotApplicable, match="no input"):
        kind(Task("idle", idle, 0.2, 10, Quadratic([1.0], []), Fixed()))
    with pytest.raises(InvalidValue, match="horizon = 0"):
        kind(pendulum(), horizon=0)
    with pytest.raises(InvalidValue, match="max_iterations = 0"):
        kind(pendulum(), max_iterations=0)


FAMILIES: dict[str, Callable[[], OnlineController]] = {
    "harmonic": lambda: HarmonicMPC(ball_and_plate_axis(), horizon=5, frequency=0.3),
    "tracking": lambda: TrackingMPC(ball_and_plate_axis(), horizon=5, solver="clarabel"),
    "equality": lambda: EqualityMPC(double_integrator(), horizon=30),
    "stochastic": lambda: StochasticMPC(segway(), recondition_every=3),
    "path integral": lambda: MPPI(double_integrator(), 10, 50),
    "cross entropy": lambda: CrossEntropyMPC(double_integrator(), 10, 50),
    "explicit": lambda: ExplicitMPC(double_integrator(), horizon=2),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_copy_of_any_family_decides_alike(
    family: str, duplicate: Callable[[OnlineController], OnlineController]
) -> None:
    original = FAMILIES[family]()
    x = original.task.initial.mean(original.task.plant.state)
    original.step(0.9 * x, 0)
    twin = duplicate(original)
    assert type(twin) is type(original)
    assert twin.approximations == original.approximations
    assert repr(twin) == repr(original)
    original.reset()
    for k in range(3):
        mine, other = original.step(x, k), twin.step(x, k)
        np.testing.assert_allclose(other.input, mine.input, rtol=1e-9, atol=1e-12)
        assert (other.status, other.source) == (mine.status, mine.source)


def test_a_copy_pursues_the_reference_that_was_followed_last() -> None:
    original = FAMILIES["harmonic"]()
    assert isinstance(original, HarmonicMPC)
    original.follow(SetPoint([0.1, 0.0, 0.0, 0.0]))
    twin = copy.deepcopy(original)
    np.testing.assert_array_equal(twin.target.parameters(0), original.target.parameters(0))
    np.testing.assert_array_equal(twin.program.G, original.program.G)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_copy_decides_alike_and_has_no_past(
    kind: Callable[..., OnlineController], duplicate: Callable[[OnlineController], OnlineController]
) -> None:
    original, x = kind(pendulum(), horizon=7, max_iterations=150), np.array([0.1, -0.05])
    original.step(np.array([0.2, 0.0]), 0)
    twin = duplicate(original)
    assert isinstance(twin, Controller)
    assert type(twin) is type(original)
    assert (twin.horizon, twin.terminal, twin.plan) == (7, original.terminal, None)
    original.reset()
    np.testing.assert_array_equal(twin.step(x, 0).input, original.step(x, 0).input)


@pytest.mark.parametrize("kind", KINDS)
def test_the_plan_begins_where_it_was_made_and_with_what_was_decided(kind: Callable[..., OnlineController]) -> None:
    controller, x = kind(pendulum(), horizon=7), np.array([0.1, -0.05])
    decision = controller.step(x, 3)
    x[:] = 9.0  # a measurement may be overwritten by its owner
    assert controller.plan is not None
    assert controller.plan.k == 3
    np.testing.assert_allclose(controller.plan.x[0], [0.1, -0.05], atol=1e-9)
    np.testing.assert_allclose(controller.plan.u[0], decision.input, atol=1e-12)
    kept = controller.plan
    failed = controller.step(np.full(2, np.nan), 4)
    assert (failed.status, failed.source) == (Status.NUMERICAL, Source.SHIFTED_PLAN)
    np.testing.assert_array_equal(failed.input, kept.u[1])
    assert controller.plan is kept
