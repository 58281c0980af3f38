"""Stochastic MPC: laws, probabilities, re-conditioning, gains, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.controller import NotApplicable, Status
from ctrl.loop import simulate
from mpc import StochasticMPC, indirect_feedback_mpc, robust_mpc, robust_stochastic_mpc, tube_gain
from systems import (
    Box,
    DimensionMismatch,
    Fixed,
    Gaussian,
    InvalidValue,
    LinearPlant,
    Plant,
    Quadratic,
    SetPoint,
    Sinusoid,
    Task,
    Uniform,
    Vector,
    signals,
)
from systems.library.pendulum import pendulum
from systems.library.segway import segway

START = np.deg2rad([25.0, -20.0])


def unstable(**changes: object) -> Task:
    """A double integrator with friction, two inputs, noise of mean zero."""
    plant = LinearPlant(
        np.array([[1.0, 0.2], [0.0, 1.1]]),
        np.array([[0.02, 0.1], [0.2, 0.0]]),
        E=np.eye(2),
        dt=0.2,
        input_limits=((-3.0, 3.0), (-3.0, 3.0)),
    )
    box = Box("box", {"x1": (-1.0, 1.0), "x2": (-1.0, 1.0)}).chance(0.9)
    noise = Gaussian([0.03, 0.05])
    made = Task(
        "unstable", plant, 0.2, 30, Quadratic(Q=np.eye(2), R=np.eye(2)), Fixed([0.8, -0.5]), (box,), disturbance=noise
    )
    return dataclasses.replace(made, **changes)


def test_normal_noise_needs_indirect_feedback() -> None:
    posed = unstable()
    with pytest.raises(NotApplicable, match=r"recondition_every = math\.inf"):
        StochasticMPC(posed)
    controller = indirect_feedback_mpc(posed)
    runs = 150
    noise = posed.disturbance.sample(posed.plant.disturbance, np.random.default_rng(0), (runs, 12))
    run = simulate(posed, controller, np.tile([0.9, -0.9], (runs, 1)), noise)
    assert (run.statuses == 0).all()
    after = run.states[:, 1:]
    assert max((after > 1).mean(axis=0).max(), (after < -1).mean(axis=0).max()) <= 0.1 + 3 * np.sqrt(0.09 / runs)


def test_a_hard_state_constraint_under_normal_noise_is_refused() -> None:
    with pytest.raises(NotApplicable, match=r"state a probability by \.chance"):
        indirect_feedback_mpc(unstable(constraints=(Box("box", {"x1": (-1.0, 1.0)}),)))


def test_probabilities_of_rows() -> None:
    box = Box("box", {"x1": (-1.0, 1.0), "x2": (-1.0, math.inf)})
    noise = Uniform([-0.01, -0.01], [0.01, 0.01])

    def of(constraint: Box, joint: bool = False, law: object = noise) -> list[float]:
        every = math.inf if isinstance(law, Gaussian) else 1
        it = StochasticMPC(unstable(constraints=(constraint,), disturbance=law), recondition_every=every, joint=joint)
        return it.rows.probability.tolist()

    assert of(box.chance(0.7)) == pytest.approx([1.0, 1.0, 0.7, 0.7])
    # Three half-spaces share the risk of 0.3.
    assert of(box.chance(0.7), joint=True) == pytest.approx([1.0, 1.0, 0.9, 0.9])
    assert of(box) == [1.0] * 4
    # 3 of 30 steps may be violated; 1 per discounted episode is a risk of 1 - 0.99 per step.
    assert of(box.budget(3.0)) == pytest.approx([1.0, 1.0, 1 - 0.1 / 3, 1 - 0.1 / 3])
    assert of(box.budget(1.0, per="discounted")) == pytest.approx([1.0, 1.0, 1 - 0.01 / 3, 1 - 0.01 / 3])
    assert of(box.budget(100.0)) == [1.0, 1.0]
    assert of(box.chance(0.7), law=Gaussian([0.01, 0.01])) == pytest.approx([0.7] * 4)


def test_the_nominal_state_goes_on_between_reconditionings() -> None:
    posed = segway()
    rng, step = np.random.default_rng(3), posed.dynamics.function()
    low, high = posed.disturbance.support(posed.plant.disturbance)
    controller = StochasticMPC(posed, recondition_every=3)
    x, ahead = START, None
    for k in range(9):
        controller.step(x, k)
        again = controller.step(x, k)  # asking twice changes nothing
        assert controller.nominal is not None
        np.testing.assert_allclose(controller.nominal, x if k % 3 == 0 else ahead, atol=1e-12)
        plan = controller.plan
        assert plan is not None
        ahead = plan.x[1]
        x = np.array(step(x, again.input, rng.uniform(low, high), []))[:, 0]
    controller.reset()
    assert controller.nominal is None
    assert controller.plan is None
    controller.step(x, 4)  # a run may begin at any sample
    np.testing.assert_allclose(controller.nominal, x, atol=1e-12)


def test_recovery_starts_at_the_measured_state_where_it_can() -> None:
    posed = segway()
    noise = posed.disturbance.sample(posed.plant.disturbance, np.random.default_rng(0), (100, 8))
    starts = np.tile(START, (100, 1))
    recovering = StochasticMPC(posed, recondition_every=math.inf, recovery=True)
    run = simulate(posed, recovering, starts, noise)
    assert (run.statuses == 0).all()
    assert np.allclose(recovering.nominal, run.states[-1, -2])  # type: ignore[arg-type]
    recovering.reset()
    recovering.step(START, 0)
    far = np.deg2rad([60.0, 60.0])
    assert recovering.step(far, 1).status is Status.SOLVED
    assert not np.allclose(recovering.nominal, far)  # type: ignore[arg-type]


def test_tube_gain_instead_of_the_regulator() -> None:
    plain = robust_stochastic_mpc(segway())
    model = plain.loop.model.plant
    tight = StochasticMPC(segway(), K=tube_gain(model.A, model.B, plain.loop.noise.covariance), input_probability=0.99)
    own = plain.rows.names.index("lean rate")
    assert np.trace(tight.error.stationary_covariance()) < np.trace(plain.error.stationary_covariance())
    assert tight.margins.after(np.array([1]))[0, own] == pytest.approx(plain.margins.after(np.array([1]))[0, own])
    assert tight.step(np.deg2rad([5.0, 0.0]), 0).status is Status.SOLVED


@dataclass(frozen=True)
class Stepping(Plant):
    """A mass with a step in one of its signals, whose slopes are constant wherever they exist."""

    kind: str = "friction"
    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")
    disturbance = signals("wind [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        step = {"friction": ca.sign(x.speed - 1.0), "valve": ca.floor(u.force), "gust": ca.sign(w.wind - 0.05)}
        return x.speed, u.force + w.wind - 0.3 * step[self.kind]


@pytest.mark.parametrize(("kind", "signal"), [("friction", "speed"), ("valve", "force"), ("gust", "wind")])
def test_a_step_of_the_plant_is_no_additive_noise(kind: str, signal: str) -> None:
    task = Task("stepping", Stepping(kind), 0.1, 50, Quadratic([1.0, 0.1], [0.1]), Fixed([0.0, 0.0]),
                disturbance=Uniform([-0.1], [0.1]))  # fmt: skip
    with pytest.raises(NotApplicable, match=f"not affine in .*{signal}"):
        StochasticMPC(task)


def test_what_does_not_fit_is_refused_with_the_reason() -> None:
    with pytest.raises(NotApplicable, match="not affine in angle"):
        robust_stochastic_mpc(pendulum())
    with pytest.raises(NotApplicable, match="its reference moves"):
        robust_stochastic_mpc(dataclasses.replace(segway(), reference=Sinusoid(1.0, x_sine={"angle": 0.1})))
    big = Uniform([-0.3, -0.3], [0.3, 0.3])
    with pytest.raises(NotApplicable, match="too large for"):
        robust_mpc(dataclasses.replace(segway(), disturbance=big))
    for wrong in ({"horizon": 0}, {"recondition_every": 0.5}, {"tightening": "some"}, {"terminal_steps": -1},
                  {"K": np.eye(2)}, {"input_probability": 0.0}, {"max_iterations": 0}):  # fmt: skip
        with pytest.raises((InvalidValue, DimensionMismatch)):
            StochasticMPC(segway(), **wrong)  # type: ignore[arg-type]
    with pytest.raises(NotApplicable, match="does not stabilise"):
        StochasticMPC(segway(), K=np.zeros((1, 2)))


def test_a_loop_at_rest_outside_the_constraints_is_named() -> None:
    carried = unstable(disturbance=Uniform([0.9, 0.9], [1.0, 1.0]))
    with pytest.raises(NotApplicable, match=r"comes to rest .* outside 'box'"):
        StochasticMPC(carried)


def test_a_set_point_that_costs_torque_is_left_for_the_optimal_steady_state() -> None:
    task = dataclasses.replace(segway(), reference=SetPoint({"angle": 1.0}))
    # The least of (angle - 1)^2 + 1000 torque^2 where the torque is that which holds the angle.
    best = 1.0 / (1.0 + 1000.0 * (9.81 / 1.3) ** 2)
    np.testing.assert_allclose(StochasticMPC(task).loop.model.x_ref, [best, 0.0], atol=1e-9)
