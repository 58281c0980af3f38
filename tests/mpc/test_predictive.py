"""What linear, nonlinear and Lagrangian MPC share: refusals, copies, and what a step keeps."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from ctrl.controller import Controller, NotApplicable, Source, Status
from mpc import LagrangianMPC, LinearMPC, NonlinearMPC
from mpc.online import PredictiveController
from systems import Fixed, InvalidValue, LinearPlant, Quadratic, Task
from systems.library.pendulum import pendulum

KINDS = (LinearMPC, NonlinearMPC, LagrangianMPC)


@pytest.mark.parametrize("kind", KINDS)
def test_refuses_what_leaves_nothing_to_decide(kind: Callable[..., PredictiveController]) -> None:
    idle = LinearPlant(np.eye(1) / 2, np.zeros((1, 0)), dt=0.2)
    with pytest.raises(NotApplicable, match="no input"):
        kind(Task("idle", idle, 0.2, 10, Quadratic([1.0], []), Fixed()))
    with pytest.raises(InvalidValue, match="horizon = 0"):
        kind(pendulum(), horizon=0)
    with pytest.raises(InvalidValue, match="max_iterations = 0"):
        kind(pendulum(), max_iterations=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_copy_decides_alike_and_has_no_past(
    kind: Callable[..., PredictiveController], duplicate: Callable[[PredictiveController], PredictiveController]
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
def test_the_plan_begins_where_it_was_made_and_with_what_was_decided(kind: Callable[..., PredictiveController]) -> None:
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
