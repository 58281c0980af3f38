"""Nonlinear MPC: its optimum against a program written by hand for ipopt, its warm start, its references."""

from __future__ import annotations

import dataclasses

import casadi as ca
import numpy as np
import pytest

from ctrl.controller import Controller, NotApplicable, Status
from ctrl.regulator import LQR
from mpc import LinearMPC, NonlinearMPC
from mpc.nonlinear.transcription import transcribe
from mpc.online import COLD_AFTER
from mpc.solvers.fatrop import Fatrop
from mpc.solvers.ipopt import Ipopt
from mpc.solvers.nlp import Bounds, NLPSolver
from mpc.solvers.qp import Solution
from systems import Box, Fixed, Inequality, InvalidValue, LinearPlant, Quadratic, Soft, Task, Trajectory
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum, pendulum_swing_up


def cartpole_by_hand(x0: np.ndarray, horizon: int, P: np.ndarray) -> tuple[float, np.ndarray]:
    """The cart-pole problem typed anew, physics, integrator, weights and all: cost and inputs by ipopt."""
    track = 2.2  # m

    def ode(x: ca.MX, u: ca.MX) -> ca.MX:
        temp = (u + 0.05 * x[3] ** 2 * ca.sin(x[1])) / 1.1
        swing = (9.81 * ca.sin(x[1]) - ca.cos(x[1]) * temp) / (0.5 * (4 / 3 - 0.1 * ca.cos(x[1]) ** 2 / 1.1))
        return ca.vertcat(x[2], x[3], temp - 0.05 * swing * ca.cos(x[1]) / 1.1, swing)

    opti, h = ca.Opti(), 0.05
    x, u, over = opti.variable(4, horizon + 1), opti.variable(1, horizon), opti.variable(1, horizon)
    cost = ca.bilin(P, x[:, -1], x[:, -1]) + 10.0 * ca.sum2(over)
    opti.subject_to(x[:, 0] == x0)
    opti.subject_to(over >= 0)
    opti.subject_to(opti.bounded(-10, u, 10))
    for k in range(horizon):
        k1 = ode(x[:, k], u[k])
        k2 = ode(x[:, k] + h / 2 * k1, u[k])
        k3 = ode(x[:, k] + h / 2 * k2, u[k])
        k4 = ode(x[:, k] + h * k3, u[k])
        opti.subject_to(x[:, k + 1] == x[:, k] + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        opti.subject_to(x[0, k + 1] <= track + over[k])
        opti.subject_to(x[0, k + 1] >= -track - over[k])
        weights = np.diag([1.0, 5.0, 0.1, 0.1])
        cost += ca.bilin(weights, x[:, k], x[:, k]) + 0.01 * u[k] ** 2
    opti.minimize(cost)
    options = {"print_level": 0, "sb": "yes", "tol": 1e-10, "bound_relax_factor": 0.0}
    opti.solver("ipopt", {"print_time": False}, options)
    solution = opti.solve()
    return float(solution.value(cost)), np.atleast_1d(solution.value(u))


def price(task: Task, x: np.ndarray, u: np.ndarray, P: np.ndarray) -> float:
    """What a plan costs: every sample as the task charges it, the first one without its track, and the end."""
    first, rest = task.cost.stage_function(task.plant), task.stage_cost_function()
    xr, ur = task.reference.at(task.plant, 0)
    total = float(first(x[0], u[0], xr, ur)) + sum(float(rest(x[k], u[k], xr, ur)) for k in range(1, len(u)))
    (track,) = task.constraints
    assert isinstance(track.requirement, Soft)
    over = max(0.0, float(ca.mmax(track.function(task.plant)(x[-1], 0))))
    return total + track.requirement.weight * over + float(x[-1] @ P @ x[-1])


def test_its_optimum_is_that_of_an_independent_program() -> None:
    task = cartpole()
    controller, P = NonlinearMPC(task, horizon=20), LQR(task).P
    starts = [[1.0, 0.3, 0.5, 0.5], [-0.4, -0.2, 0.0, 0.3], [2.3, 0.0, 1.5, 0.0], [2.6, 0.1, 0.0, 0.0]]
    for x0 in map(np.array, starts):  # the last two leave the track
        controller.reset()
        controller.step(0.9 * x0, 0)
        decision = controller.step(x0, 0)  # now from a guess
        cost, u = cartpole_by_hand(x0, 20, P)
        assert decision.status is Status.SOLVED
        assert decision.residual < 1e-5
        assert controller.plan is not None
        np.testing.assert_allclose(controller.plan.u[:, 0], u, atol=2e-4)
        np.testing.assert_allclose(decision.input, u[:1], atol=1e-5)
        assert price(task, controller.plan.x, controller.plan.u, P) == pytest.approx(cost, rel=1e-6)


@pytest.mark.parametrize("kind", [Fatrop, Ipopt])
def test_back_ends_find_the_optimum_from_nowhere(kind: type[Fatrop] | type[Ipopt]) -> None:
    task = cartpole()
    problem, x0 = transcribe(task, 20), np.array([1.0, 0.3, 0.5, 0.5])
    found = kind(problem.program).solve(np.zeros(len(problem.program.lower)), x0)
    _, u = cartpole_by_hand(x0, 20, LQR(task).P)
    assert found.status is Status.SOLVED
    np.testing.assert_allclose(found.point[problem.input_at[:, 0]], u, atol=2e-4)
    solver = kind(problem.program, 2)
    short = solver.solve(np.zeros(len(problem.program.lower)), x0)
    assert (short.status, short.is_usable) == (Status.MAX_ITERATIONS, False)
    for guess, p in ((np.nan, x0), (0.0, x0 * np.inf)):
        nothing = solver.solve(np.full(len(problem.program.lower), guess), p)
        assert (nothing.status, nothing.residual) == (Status.NUMERICAL, np.inf)


def test_states_beyond_all_bounds_are_answered() -> None:
    controller = NonlinearMPC(cartpole())
    for scale in (1e2, 1e3, 1e4, 1e6, 1e10, 1e200):
        for sign in (1.0, -1.0):
            decision = controller.step(sign * scale * np.ones(4), 0)
            assert decision.status is not Status.SOLVED
            assert np.isfinite(decision.input).all()
            controller.step(np.zeros(4), 0)  # a plan at rest, so that the next one is a jump
    assert controller.step(np.zeros(4), 1).status is Status.SOLVED


def test_on_a_linear_plant_it_is_the_linear_controller() -> None:
    plant = LinearPlant(np.array([[1.0, 0.2], [0.1, 1.0]]), np.array([[0.02], [0.2]]), dt=0.2, input_limits=((-1, 1),))
    box = Box("speed", {"x2": (-0.5, 0.5)})
    task = Task("linear", plant, 0.2, 30, Quadratic(Q=[1, 1], R=[1]), Fixed(), (box,))
    linear, nonlinear = LinearMPC(task, horizon=10, terminal="cost"), NonlinearMPC(task, horizon=10)
    for x in (np.array([1.5, 0.0]), np.array([-1.0, 0.4]), np.array([0.1, 0.1])):
        np.testing.assert_allclose(nonlinear.step(x, 0).input, linear.step(x, 0).input, atol=1e-5)


def test_ellipsoids_and_keep_out_zones_hold_on_the_prediction() -> None:
    plant = LinearPlant(np.eye(2), 0.1 * np.eye(2), dt=0.1, input_limits=((-2, 2), (-2, 2)))
    disc = Inequality("disc", lambda x, u: 1.0 - x.x1**2 - x.x2**2)
    cost = Quadratic(Q=[1, 1], R=[0.1, 0.1])
    task = Task("around", plant, 0.1, 30, cost, Fixed(), (disc,))
    target = dataclasses.replace(task, reference=Trajectory(np.tile([2.0, 0.0], (2, 1))))
    controller = NonlinearMPC(target, horizon=30)
    x = np.array([-2.0, 0.2])
    for k in range(60):
        decision = controller.step(x, k)
        assert decision.status is Status.SOLVED
        x = plant.A @ x + plant.B @ decision.input
        assert np.hypot(*x) >= 1.0 - 1e-6
    np.testing.assert_allclose(x, [2.0, 0.0], atol=1e-2)


def test_follows_an_admissible_trajectory_exactly() -> None:
    task = pendulum()
    step = task.dynamics.function()
    u = 0.3 * np.sin(0.2 * np.arange(60))[:, None]
    x = np.zeros((60, 2))
    for k in range(59):
        x[k + 1] = np.array(step(x[k], u[k], 0, []))[:, 0]
    moving = dataclasses.replace(task, reference=Trajectory(x, u))
    controller = NonlinearMPC(moving, horizon=8)
    assert "moves" in controller.terminal
    for k in (0, 5, 33, 51):
        controller.reset()
        np.testing.assert_allclose(controller.step(x[k], k).input, u[k], atol=1e-5)
    assert abs(controller.step(x[5], 20).input[0] - u[5, 0]) > 1e-2


def test_swings_the_pendulum_up_from_hanging() -> None:
    task = pendulum_swing_up()
    controller, step = NonlinearMPC(task, horizon=40), task.dynamics.function()
    x = np.array([np.pi - 0.1, 0.0])
    for k in range(140):
        decision = controller.step(x, k)
        assert abs(decision.input[0]) <= 2.0
        x = np.array(step(x, decision.input, 0, []))[:, 0]
    assert abs(np.sin(x[0])) < 0.05
    assert np.cos(x[0]) > 0.99


class Spy(NLPSolver):
    """Passes on to another solver, or fails with garbage, and remembers the guesses."""

    def __init__(self, inner: NLPSolver) -> None:
        self.inner, self.guesses, self.broken = inner, [], False  # type: ignore[var-annotated]

    def _build(self, problem: object) -> object:
        raise NotImplementedError

    def _status(self, stats: object) -> Status:
        raise NotImplementedError

    def solve(self, guess: np.ndarray, p: np.ndarray, bounds: Bounds | None = None) -> Solution:
        self.guesses.append(guess.copy())
        if self.broken:
            return Solution(Status.MAX_ITERATIONS, np.full(len(guess), 1e6), np.zeros(1), 1, 1e3)
        return self.inner.solve(guess, p, bounds)


def test_only_good_points_are_kept_for_the_warm_start() -> None:
    task = cartpole()
    controller = NonlinearMPC(task, horizon=10, solver="ipopt")
    spy = Spy(controller.solver)
    controller.solver = spy  # type: ignore[assignment]
    x = np.array([0.5, 0.1, 0.0, 0.0])
    controller.step(x, 0)
    good = controller.plan
    assert good is not None
    spy.broken = True
    for k in range(1, 6):
        decision = controller.step(good.x[k], k)
        np.testing.assert_allclose(decision.input, good.u[k], atol=1e-9)  # the plan goes on, and so does time
        assert controller.plan is good
        states = spy.guesses[-1][controller.problem.state_at]
        if k <= COLD_AFTER:
            np.testing.assert_allclose(states[: 11 - k], good.x[k:], atol=1e-12)
        else:
            line = np.linspace(good.x[k], np.zeros(4), 11)
            np.testing.assert_allclose(states, line, atol=1e-12)
    spy.broken = False
    assert controller.step(good.x[6], 6).status is Status.SOLVED
    controller.reset()
    assert controller.plan is None


def test_misuse() -> None:
    for horizon in (0, -1, 1.5, True):
        with pytest.raises(InvalidValue, match="horizon"):
            NonlinearMPC(pendulum(), horizon=horizon)  # type: ignore[arg-type]
    idle = LinearPlant(np.eye(1) / 2, np.zeros((1, 0)), dt=0.2)
    with pytest.raises(NotApplicable, match="no input"):
        NonlinearMPC(Task("idle", idle, 0.2, 5, Quadratic(Q=[1], R=[]), Fixed()))
    for solver, reason in (
        ("snopt", "expected 'sqp', 'acados', 'do-mpc' or 'ipopt'"),
        ("fatrop", "cannot be interrupted"),
    ):
        with pytest.raises(InvalidValue, match=reason):
            NonlinearMPC(pendulum(), solver=solver)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="max_iterations"):
        NonlinearMPC(pendulum(), max_iterations=0)
    with pytest.raises(InvalidValue, match=r"iterations = 1 with solver = 'ipopt'; expected solver='sqp'"):
        NonlinearMPC(pendulum(), solver="ipopt", iterations=1)


def test_it_is_a_controller_and_says_what_it_chose() -> None:
    controller = NonlinearMPC(pendulum(), horizon=5)
    assert isinstance(controller, Controller)
    assert "Riccati" in controller.terminal
    assert controller.plan is None
