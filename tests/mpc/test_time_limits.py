"""Every step ends: at its time limit, or refused before it begins; and what converged is called solved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ctrl.controller import Controller, Status
from mpc import MPPI, CrossEntropyMPC, HarmonicMPC, LagrangianMPC, LinearMPC, NonlinearMPC, StochasticMPC, TrackingMPC
from systems import InvalidValue, Task
from systems.library.cartpole import cartpole
from systems.library.double_integrator import double_integrator, effort_budget
from systems.library.pendulum import pendulum
from systems.library.rocket import rocket_landing
from systems.library.segway import segway


def starts(task: Task, count: int) -> np.ndarray:
    return task.initial.sample(task.plant.state, np.random.default_rng(1), (count,))


@pytest.mark.parametrize("kind", [NonlinearMPC, LagrangianMPC])
def test_a_step_past_its_time_limit_says_timeout_and_gives_an_input(kind: Callable[..., Controller]) -> None:
    task = cartpole()
    controller = kind(task, time_limit=1e-9)
    lower, upper = task.input_bounds
    for k, x in enumerate(starts(task, 3)):
        decision = controller.step(x, k)
        assert decision.status is Status.TIMEOUT
        assert (lower <= decision.input).all()
        assert (decision.input <= upper).all()
    assert kind(task).step(x, 0).status is Status.SOLVED


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        (LinearMPC, double_integrator), (StochasticMPC, segway), (HarmonicMPC, double_integrator),
        (TrackingMPC, double_integrator), (NonlinearMPC, pendulum), (LagrangianMPC, pendulum),
        (MPPI, pendulum), (CrossEntropyMPC, pendulum),
    ],
)  # fmt: skip
@pytest.mark.every(4)
def test_a_time_limit_is_a_hundred_samples_and_a_minute_at_least(
    kind: Callable[..., Controller], task: Callable[[], Task]
) -> None:
    posed = task()
    assert kind(posed).time_limit == max(100 * posed.dt, 60.0)
    assert kind(posed, time_limit=0.5).time_limit == 0.5


def test_a_horizon_that_does_not_fit_into_memory_is_refused_with_an_estimate() -> None:
    with pytest.raises(InvalidValue, match=r"horizon = 100000: .* about .* GB of memory.* samples or fewer"):
        NonlinearMPC(pendulum(), horizon=100_000)


@pytest.mark.parametrize("task", [rocket_landing, effort_budget])
def test_what_converged_is_called_solved(task: Callable[[], Task]) -> None:
    posed = task()
    controller = NonlinearMPC(posed)
    for x in starts(posed, 10):
        controller.reset()
        decision = controller.step(x, 0)
        assert decision.status is Status.SOLVED
        assert decision.residual <= 1e-6
