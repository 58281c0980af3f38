"""Controllers by sampling: predictions against sums of their own, optima against other solvers and enumeration."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable

import casadi as ca
import numpy as np
import pytest

from ctrl import NotApplicable, Source, Status, simulate
from ctrl.terminal import terminal
from mpc import MPPI, CrossEntropyMPC, LinearMPC, NonlinearMPC
from mpc.sampling.mppi import path_integral_weights
from mpc.sampling.noise import coloured
from mpc.sampling.rollouts import Prediction, Rollouts
from mpc.sampling.sampling_mpc import Distribution, SamplingMPC, _by_order
from systems import (
    Box,
    Fixed,
    Inequality,
    InvalidValue,
    LinearPlant,
    Nonlinear,
    Quadratic,
    Soft,
    Task,
    integer,
    know_ahead,
    signals,
)
from systems.inputs import limit_changes
from systems.library import cartpole_track, double_integrator, pendulum_swing_up, planar_quadrotor
from tests.mpc.test_integer_inputs import random_task

KINDS = (MPPI, CrossEntropyMPC)


def walled_quadrotor() -> Task:
    """With a hard, a soft and a mixed constraint that random inputs violate."""
    task = planar_quadrotor()
    walls = (
        Box("ceiling", {"z": (-0.4, 0.05)}),
        Box("speed", {"x_rate": (-0.3, 0.3)}).soft(7.0),
        Inequality("power", lambda x, u: [u.right * (1.0 + x.z_rate**2) - 5.0, u.left - 4.0 - x.x]),
    )
    return dataclasses.replace(task, constraints=walls)


def priced() -> Task:
    """With a signal that is known ahead, and charged and limited by it."""
    task = double_integrator()
    known = know_ahead(task, signals("price [-]", "most [-]"), {
        "price": 1.0 + np.sin(np.arange(200.0)), "most": 0.01 * np.arange(200.0),
    }, cost=Nonlinear(lambda x, u, xr, ur: x.price * u[0] ** 2 + x[0] ** 2))  # fmt: skip
    limit = Inequality("most", lambda x, u: x[0] ** 2 - x.most)
    return dataclasses.replace(known, constraints=(*known.constraints, limit))


def expected(task: Task, x: np.ndarray, u: np.ndarray, k: int) -> tuple[float, float]:
    """Cost and violation of inputs (horizon, m), sample by sample from the task's own functions."""
    step, stage, end = task.dynamics.function(), task.stage_cost_function(), terminal(task)
    x_ref, u_ref = task.reading.window(k, len(u) + 1, x)
    known, cost, violation = task.reading.known, 0.0, 0.0
    for i in range(len(u) + 1):
        x[known] = x_ref[i, known]
        for constraint, g in zip(task.constraints, task.constraint_functions, strict=True):
            depends = any(
                bool(ca.which_depends(g(*z), z[1], 1, True)[j]) for z in [g.sx_in()] for j in range(g.size1_out(0))
            )
            if (i == 0 and not depends) or (i == len(u) and depends):
                continue
            worst = np.maximum(np.array(g(x, u[min(i, len(u) - 1)])).ravel(), 0.0).sum()
            if not isinstance(constraint.requirement, Soft):
                violation += worst
            elif i == len(u):
                cost += constraint.requirement.weight * worst
        if i < len(u):
            cost += float(stage(x, u[i], x_ref[i], u_ref[i]))
            x = np.array(step(x, u[i], np.zeros(len(task.plant.disturbance)), []))[:, 0]
    if end.P is not None:
        error = x - (x_ref[-1] if end.centre is None else end.centre)
        cost += error @ end.P @ error + end.p @ error
    return cost + float(task.terminal_cost_function()(x, x_ref[-1])), violation


PREDICTED: dict[str, Callable[[], Task]] = {
    "walled quadrotor": walled_quadrotor,
    "moving cart-pole": cartpole_track,
    "priced": priced,
    "terminal cost": lambda: dataclasses.replace(double_integrator(), cost=Quadratic([1, 1], [1], [3, 4])),
}


@pytest.mark.parametrize("name", PREDICTED)
def test_predictions_are_the_sums_of_the_task(name: str) -> None:
    task = PREDICTED[name]()
    rollouts, rng = Rollouts(task), np.random.default_rng(0)
    (low, high), k, horizon, count = task.input_bounds, 3, 7, 12
    u = rng.uniform(low, high, (count, horizon, len(low)))
    x = task.initial.mean(task.plant.state) + 0.3 + 0.1 * rng.standard_normal(len(task.plant.state))
    x_ref, u_ref = task.reading.window(k, horizon + 1, x)
    many = rollouts.many(x, np.moveaxis(u, 0, -1), x_ref, u_ref)
    rollouts.compile()
    compiled = rollouts.many(x, np.moveaxis(u, 0, -1), x_ref, u_ref)
    for i in range(count):
        cost, violation = expected(task, x.copy(), u[i], k)
        one = rollouts.one(x, u[i], x_ref, u_ref)
        np.testing.assert_allclose(one.u, u[i], atol=1e-15)
        known = task.reading.known
        np.testing.assert_array_equal(one.x[1:, known], x_ref[1:, known])
        for given in ((one.cost, one.violation), *((p.cost[i], p.violation[i]) for p in (many, compiled))):
            np.testing.assert_allclose(given, (cost, violation), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(compiled.u[..., i], u[i], atol=1e-15)
    assert (many.violation.max() > 0.0) == (name in ("walled quadrotor", "priced"))


def test_inputs_are_predicted_as_they_can_be_applied() -> None:
    """Bounds, limits of change from the input before, and whole numbers."""
    plant = LinearPlant(
        [[1.0]], [[1.0, 1.0]], dt=1.0, input=signals("u", integer("n [-]")), input_limits=((-1.0, 1.0), (-3, 3))
    )
    task = limit_changes(Task("t", plant, 1.0, 20, Quadratic([1], [1, 1]), Fixed()), {"u": 0.25, "n": 1.5})
    rollouts = Rollouts(task)
    u = np.array([[0.9, 2.4], [-0.9, 2.6], [0.1, -9.0]])
    reference = task.reading.window(0, 4)
    one = rollouts.one(np.zeros(3), u, *reference)
    np.testing.assert_allclose(one.u, [[0.25, 1.0], [0.0, 2.0], [0.1, 1.0]], atol=1e-12)
    many = rollouts.many(np.zeros(3), u[..., None], *reference)
    rollouts.compile()
    for predictions in (many, rollouts.many(np.zeros(3), u[..., None], *reference)):
        np.testing.assert_allclose(predictions.u[..., 0], one.u, atol=1e-12)
        assert predictions.violation[0] < 1e-9


def test_what_is_no_number_costs_infinitely_much() -> None:
    task = dataclasses.replace(
        double_integrator(), constraints=(Inequality("root", lambda x, u: ca.sqrt(x[0]) - 10.0),)
    )
    rollouts = Rollouts(task, "task")
    reference = task.reading.window(0, 3)
    u = np.zeros((2, 1, 2))
    for compiled in (False, True):
        if compiled:
            rollouts.compile()
        assert np.isinf(rollouts.many(np.array([-1.0, 0.0]), u, *reference).cost).all()
        assert np.isinf(rollouts.many(np.array([1e200, 1e200]), u, *reference).cost).all()
        assert np.isfinite(rollouts.many(np.array([1.0, 0.0]), u, *reference).cost).all()
    assert np.isinf(rollouts.one(np.array([-1.0, 0.0]), u[..., 0], *reference).cost)


def test_weights_are_those_of_the_exponential() -> None:
    cost = np.array([3.0, 1.0, np.inf, 2.0])
    weights = np.exp(-cost / 0.7)
    np.testing.assert_allclose(path_integral_weights(cost, 0.7), weights / weights.sum(), rtol=1e-12)
    many = np.random.default_rng(0).exponential(size=1000) * 1e7 - 5e6
    weights = path_integral_weights(many)
    assert weights.sum() ** 2 / (weights**2).sum() == pytest.approx(20.0, rel=1e-4)
    np.testing.assert_allclose(path_integral_weights(1e-9 * many - 3.0), weights, rtol=1e-5)  # whatever the unit
    np.testing.assert_allclose(path_integral_weights(np.array([5.0, np.inf])), [1.0, 0.0])
    np.testing.assert_allclose(path_integral_weights(np.array([5.0, 5.0])), [0.5, 0.5])


@pytest.mark.parametrize("length", [1, 2, 9, 30])
def test_coloured_noise_has_the_power_that_is_asked_for(length: int) -> None:
    np.testing.assert_allclose(coloured(length, 0.0), np.eye(length), atol=1e-12)
    M = coloured(length, 1.5)
    np.testing.assert_allclose(np.diag(M @ M.T), 1.0, rtol=1e-12)
    power = np.abs(np.fft.rfft(M[:, 0])) ** 2
    f = np.fft.rfftfreq(length)[1:]
    np.testing.assert_allclose(power[1:] / power[1:2], (f / f[:1]) ** -1.5 if len(f) else [], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_costs_little_more_than_the_optimum_and_never_less(kind: Callable[..., SamplingMPC]) -> None:
    """From where the regulator, with which the search begins, saturates or breaks a limit."""
    task = dataclasses.replace(
        double_integrator(), constraints=(Box("slow", {double_integrator().plant.state.names[1]: (-0.4, 0.4)}),)
    )
    x, reference = np.array([1.5, 0.0]), task.reading.window(0, 21)
    exact = NonlinearMPC(task, 20)
    assert exact.step(x, 0).status is Status.SOLVED
    sampled = kind(task, 20)
    rollouts = sampled.rollouts
    optimum = rollouts.one(x, exact.plan.u, *reference)  # type: ignore[union-attr]
    first = rollouts.one(x, sampled._prolonged(x, np.zeros((0, 1)), 0, reference[0]), *reference)
    assert first.violation > 0.1
    decision = sampled.step(x, 0)
    assert decision.source in (Source.SUBOPTIMAL, Source.OPTIMAL)
    for _ in range(8):  # the same sample, whose search goes on from the last plan
        sampled.step(x, 0)
    assert sampled.plan is not None
    found: Prediction = rollouts.one(x, sampled.plan.u, *reference)
    assert found.violation <= 1e-9
    assert optimum.cost - 1e-6 <= found.cost <= 1.05 * optimum.cost
    np.testing.assert_allclose(found.x, sampled.plan.x, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_integers_are_those_of_the_enumeration(seed: int) -> None:
    task = random_task(seed, 4, signals(integer("n [-]")), 2)
    x, reference = np.array(task.initial.mean(task.plant.state)), task.reading.window(0, 5)
    controller = CrossEntropyMPC(task, 4, samples=200, colour=0.0)
    all_of_them = (np.array(u, dtype=float)[:, None] for u in itertools.product(range(-1, 3), repeat=4))
    best = min((controller.rollouts.one(x, u, *reference) for u in all_of_them), key=_by_order)
    decision = controller.step(x, 0)
    assert controller.plan is not None
    np.testing.assert_array_equal(controller.plan.u, np.round(controller.plan.u))
    found = controller.rollouts.one(x, controller.plan.u, *reference)
    assert _by_order(found) == pytest.approx(_by_order(best), rel=1e-9, abs=1e-9)
    assert (decision.status is Status.INFEASIBLE) == (best.violation > 1e-9)


def discontinuous() -> Task:
    """Each sample outside of the goal costs 1, wherever it is: no derivative says which way to go."""
    plant = LinearPlant([[1.0]], [[1.0]], dt=1.0, input_limits=((-0.32, 0.32),))
    cost = Nonlinear(lambda x, u, xr, ur: ca.if_else(ca.fabs(x.x1) <= 0.1, 0.0, 1.0) + 0.01 * u.u1**2)
    return Task("discontinuous", plant, 1.0, 12, cost, Fixed([1.0]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cost_without_derivatives_is_minimised(kind: Callable[..., SamplingMPC]) -> None:
    """The goal is three inputs of the largest size away; a solver that follows gradients does not move."""
    task = discontinuous()
    controller = kind(task, 6, terminal="task")
    run = simulate(task, controller, np.array([[1.0]]))
    stays = simulate(task, NonlinearMPC(task, 6, terminal="task"), np.array([[1.0]]))
    assert stays.cost[0] > 11.0
    assert 3.0 + 0.01 * 0.27 - 1e-9 <= run.cost[0] < 3.05  # three samples outside, three inputs of 0.3 at least


def around_a_disc() -> Task:
    """A point that is to reach the origin behind a disc."""
    A, B = np.kron([[1.0, 0.2], [0.0, 1.0]], np.eye(2)), np.kron([[0.02], [0.2]], np.eye(2))
    plant = LinearPlant(A, B, dt=0.2, input_limits=((-2.0, 2.0),) * 2)
    disc = Inequality("disc", lambda x, u: 0.25 - (x.x1 - 1.0) ** 2 - x.x2**2)
    return Task("disc", plant, 0.2, 40, Quadratic([1, 1, 0.2, 0.2], [0.1, 0.1]), Fixed([2.0, 0.02, 0.0, 0.0]), (disc,))


@pytest.mark.parametrize("kind", KINDS)
def test_an_obstacle_in_the_way_is_avoided(kind: Callable[..., SamplingMPC]) -> None:
    task = around_a_disc()
    controller = kind(task, 20, 300)
    run = simulate(task, controller, task.initial.mean(task.plant.state)[None])
    assert run.margins.max() <= 1e-9
    assert np.abs(run.states[0, -1, :2]).max() < 0.1
    inside = controller.step(np.array([1.0, 0.1, 0.0, 0.0]), 0)
    assert (inside.status, inside.source) == (Status.INFEASIBLE, Source.SUBOPTIMAL)
    assert inside.input[1] > 1.0  # the nearest way out


@pytest.mark.parametrize("kind", KINDS)
def test_a_decision_depends_on_seed_and_sample_alone(kind: Callable[..., SamplingMPC]) -> None:
    task = pendulum_swing_up()
    controller, other, x = kind(task, 20, 60), kind(task, 20, 60, seed=1), np.array([0.8, 0.3])

    def plans(c: SamplingMPC, samples: range) -> list[np.ndarray]:
        c.reset()
        return [c.plan.u for k in samples if c.step(x, k) and c.plan is not None]

    given = plans(controller, range(3))
    np.testing.assert_array_equal(plans(controller, range(3)), given)
    np.testing.assert_array_equal(plans(copy.deepcopy(controller), range(3)), given)
    assert not np.array_equal(plans(other, range(1))[0], given[0])
    assert not np.array_equal(plans(controller, range(1, 2))[0], given[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_step_starts_from_the_shifted_plan(kind: Callable[..., SamplingMPC]) -> None:
    """So that its plan costs no more than that one, whatever is drawn."""
    task = pendulum_swing_up()
    controller = kind(task, 15, 40, max_iterations=1)
    x = task.initial.mean(task.plant.state)
    for k in range(5):
        controller.step(x, k)
        plan = controller.plan
        assert plan is not None
        x = plan.x[1]
        reference = task.reading.window(k + 1, 16)
        shifted = controller.rollouts.one(x, controller._prolonged(x, plan.u[1:], k + 1, reference[0]), *reference)
        controller.step(x, k + 1)
        now = controller.rollouts.one(x, controller.plan.u, *task.reading.window(k + 1, 16))  # type: ignore[union-attr]
        assert now.cost <= shifted.cost * (1.0 + 1e-12)


def test_the_mean_and_what_is_kept_are_drawn_again() -> None:
    controller, rng = CrossEntropyMPC(double_integrator(), 4, 1000), np.random.default_rng(0)
    mean, kept = rng.standard_normal((4, 1)), rng.standard_normal((4, 1, 3))
    u = controller._draw(Distribution(mean, np.array([[0.1], [0.2], [0.3], [0.0]]), kept), rng)
    np.testing.assert_array_equal(u[..., 0], mean)
    np.testing.assert_array_equal(u[..., 1:4], kept)
    np.testing.assert_allclose(u[..., 4:].mean(axis=-1), mean, atol=0.06)
    np.testing.assert_allclose(u[..., 4:].std(axis=-1), [[0.1], [0.2], [0.3], [0.0]], atol=0.04)


def test_the_horizon_shrinks_to_what_is_left_of_a_run_with_a_terminal_cost() -> None:
    task = PREDICTED["terminal cost"]()
    controller, x = MPPI(task, 10, 50), np.array([0.5, 0.0])
    for k, length in ((0, 10), (task.steps - 4, 4), (task.steps - 1, 1), (task.steps, 10)):
        controller.step(x, k)
        assert controller.plan is not None
        assert controller.plan.u.shape == (length, 1)
    exact = LinearMPC(task, 10)
    exact.step(x, task.steps - 1)
    controller.step(x, task.steps - 1)
    assert controller.plan.u[0] == pytest.approx(exact.plan.u[0], abs=0.02)  # type: ignore[union-attr]


def test_states_beyond_numbers_fall_back_and_pass() -> None:
    task = planar_quadrotor()
    controller, (low, high) = MPPI(task, 5, 20), task.input_bounds
    for bad in (np.full(6, np.nan), np.full(6, 1e300), np.full(6, np.inf)):
        decision = controller.step(bad, 0)
        assert decision.status is Status.NUMERICAL
        assert ((low <= decision.input) & (decision.input <= high)).all()
    assert controller.step(np.zeros(6), 1).source is Source.SUBOPTIMAL


def test_time_ends_the_rounds() -> None:
    task = pendulum_swing_up()
    decision = MPPI(task, 10, 20, max_iterations=50, time_limit=1e-9).step(task.initial.mean(task.plant.state), 0)
    assert (decision.status, decision.iterations) == (Status.TIMEOUT, 1)
    settled = CrossEntropyMPC(double_integrator(), 5, 100, max_iterations=100).step(np.array([1.0, 0.0]), 0)
    assert (settled.status, settled.source) == (Status.SOLVED, Source.OPTIMAL)
    assert settled.iterations < 30


def test_what_does_not_fit_is_refused() -> None:
    task = double_integrator()
    with pytest.raises(InvalidValue, match="elites = 60 of 50 samples"):
        CrossEntropyMPC(task, 5, 50, elites=60)
    with pytest.raises(InvalidValue, match=r"deviation = \[0.0\]; expected a positive number"):
        MPPI(task, 5, 50, deviation=[0.0])
    budget = Box("b", {task.plant.state.names[0]: (-1.0, 1.0)}).budget(2.0, of="excess")
    with pytest.raises(NotApplicable, match="limits the accumulated excess"):
        MPPI(dataclasses.replace(task, constraints=(budget,)), 5, 50)
