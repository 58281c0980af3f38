"""Linear MPC: against LQR where nothing binds, against CVXPY where something does, and its guarantees."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import casadi as ca
import cvxpy as cp
import numpy as np
import pytest

from benchmarks.explicit import optimum, random_problem
from benchmarks.rational import RationalSolver
from ctrl.controller import Controller, NotApplicable, Source, Status
from ctrl.regulator import LQR, NotStabilisable, local_model, lqr
from mpc import LinearMPC, StochasticMPC
from mpc.linear.condensing import condensed
from mpc.solvers.daqp import DAQP
from systems import (
    Box,
    Fixed,
    Inequality,
    InvalidValue,
    LinearPlant,
    Nonlinear,
    Polytope,
    Quadratic,
    SetPoint,
    Task,
    Trajectory,
)
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum

SOLVERS: tuple[Literal["daqp", "hpipm", "piqp"], ...] = ("daqp", "hpipm", "piqp")
MASS = LinearPlant(np.array([[1.0, 0.2], [0.0, 1.0]]), np.array([[0.02], [0.2]]), dt=0.2, input_limits=((-1.0, 1.0),))


def task(plant: LinearPlant, *constraints: Box | Inequality | Polytope, **changes: object) -> Task:
    """A quadratic task with unit weights."""
    n, m = plant.B.shape
    cost = Quadratic(Q=np.eye(n), R=np.eye(m))
    made = Task("linear", plant, plant.dt or 0.1, 60, cost, Fixed(), constraints)
    return dataclasses.replace(made, **changes)


def random_plant(rng: np.random.Generator, n: int, m: int, limit: float = np.inf) -> LinearPlant:
    """Stable and unstable alike."""
    A = rng.normal(size=(n, n))
    A *= rng.uniform(0.5, 1.3) / np.abs(np.linalg.eigvals(A)).max()
    return LinearPlant(A, rng.normal(size=(n, m)), dt=0.1, input_limits=((-limit, limit),) * m)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("growth", [0.7, 1.0, 1.4])
def test_without_constraints_it_is_the_regulator(solver: Literal["daqp", "hpipm", "piqp"], growth: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        A = rng.normal(size=(4, 4))
        A *= growth / np.abs(np.linalg.eigvals(A)).max()
        free = task(LinearPlant(A, rng.normal(size=(4, 2)), dt=0.1))
        controller, regulator = LinearMPC(free, horizon=12, solver=solver), LQR(free)
        for x in rng.normal(size=(5, 4)):
            decision = controller.step(x, 0)
            assert decision.status is Status.SOLVED
            np.testing.assert_allclose(decision.input, regulator.step(x, 0).input, atol=1e-9, rtol=0)


class Oracle:
    """The same optimal control problem written from the matrices in CVXPY, compiled once per size."""

    def __init__(self, n: int, m: int, horizon: int, price: float) -> None:
        self.A, self.B = cp.Parameter((n, n)), cp.Parameter((n, m))
        self.root, self.x0 = cp.Parameter((n, n)), cp.Parameter(n)
        x, self.u = cp.Variable((horizon + 1, n)), cp.Variable((horizon, m))
        over = cp.Variable((horizon, n), nonneg=True)
        limits = [x[0] == self.x0, cp.abs(self.u) <= 1.0, cp.abs(x[1:]) <= 2.0 + over]
        limits += [x[k + 1] == self.A @ x[k] + self.B @ self.u[k] for k in range(horizon)]
        cost = cp.sum_squares(x[:horizon]) + cp.sum_squares(self.u) + cp.sum_squares(self.root @ x[horizon])
        if np.isfinite(price):
            cost += price * cp.sum(over)
        else:
            limits.append(over == 0)
        self.problem = cp.Problem(cp.Minimize(cost), limits)

    def solve(self, plant: LinearPlant, P: np.ndarray, x0: np.ndarray) -> str:
        self.A.value, self.B.value, self.x0.value = plant.A, plant.B, x0
        self.root.value = np.linalg.cholesky(P).T
        self.problem.solve(cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        return str(self.problem.status)


@pytest.mark.parametrize("price", [np.inf, pytest.param(20.0, marks=pytest.mark.slow)])
def test_agrees_with_cvxpy_on_random_problems(price: float) -> None:
    rng = np.random.default_rng(11)
    seen = {"optimal": 0, "infeasible": 0}
    for n, m, horizon in ((2, 1, 8), (3, 2, 6), (4, 2, 10)):
        oracle = Oracle(n, m, horizon, price)
        assert oracle.problem.is_dpp()
        box = Box("box", {f"x{i + 1}": (-2.0, 2.0) for i in range(n)})
        for _ in range(14):
            posed = task(random_plant(rng, n, m, 1.0), box if np.isinf(price) else box.soft(price))
            controllers = [LinearMPC(posed, horizon=horizon, terminal="cost", solver=solver) for solver in SOLVERS]
            P = LQR(posed).P
            for x0 in rng.uniform(-2.5, 2.5, size=(6, n)):
                truth = oracle.solve(posed.plant, P, x0)  # type: ignore[arg-type]
                seen[truth] += 1
                for controller in controllers:
                    controller.reset()
                    decision = controller.step(x0, 0)
                    if truth == "infeasible":
                        assert decision.status is Status.INFEASIBLE
                        assert decision.source is Source.BACKUP
                        continue
                    assert decision.status is Status.SOLVED
                    assert controller.plan is not None
                    np.testing.assert_allclose(decision.input, oracle.u.value[0], atol=2e-5)
                    x, u = controller.plan.x, controller.plan.u
                    cost = np.sum(x[:-1] ** 2) + np.sum(u**2) + x[-1] @ P @ x[-1]
                    if np.isfinite(price):
                        cost += price * np.maximum(np.abs(x[1:]) - 2.0, 0.0).sum()
                    assert cost == pytest.approx(oracle.problem.value, rel=1e-6)
    assert seen["optimal"] >= 200
    assert np.isfinite(price) or seen["infeasible"] >= 20


@pytest.mark.parametrize("solver", SOLVERS)
def test_recursively_feasible_with_the_terminal_set(solver: Literal["daqp", "hpipm", "piqp"]) -> None:
    posed = task(MASS, Box("box", {"x1": (-2.0, 2.0), "x2": (-1.0, 1.0)}))
    controller = LinearMPC(posed, horizon=4, terminal="set", solver=solver)
    assert "invariant set" in controller.terminal
    rng, kept = np.random.default_rng(0), 0
    for x in rng.uniform([-2, -1], [2, 1], size=(40, 2)):
        controller.reset()
        statuses, z = [], x
        for k in range(20):
            statuses.append(controller.step(z, k).status)
            if statuses[0] is not Status.SOLVED:
                break
            z = MASS.A @ z + MASS.B @ controller.step(z, k).input
            assert (np.abs(z) <= [2.0 + 1e-6, 1.0 + 1e-6]).all()
        if statuses[0] is Status.SOLVED:
            kept += 1
            assert set(statuses) == {Status.SOLVED}
    assert kept > 10


def test_the_forms_and_the_back_ends_agree_on_the_cartpole() -> None:
    posed = cartpole()
    controllers = [LinearMPC(posed, solver=solver) for solver in SOLVERS]
    assert controllers[0].form.problem.H.shape != controllers[1].form.problem.H.shape
    for x in posed.initial.sample(posed.plant.state, np.random.default_rng(0), (30,)):
        a, *others = (controller.step(x, 0) for controller in controllers)
        assert a.status is Status.SOLVED
        for b in others:
            assert b.status is Status.SOLVED
            np.testing.assert_allclose(a.input, b.input, atol=1e-5)


@pytest.mark.parametrize("price", [np.inf, 3.0])
@pytest.mark.parametrize("is_moving", [False, True])
def test_the_forms_agree_on_references_away_from_the_origin(price: float, is_moving: bool) -> None:
    rng, box = np.random.default_rng(5), Box("box", {"x1": (-1.0, 1.0), "x2": (-0.6, 0.5)})
    x_ref = np.stack([np.linspace(0.2, 1.4, 30), np.full(30, 0.3)], axis=1)  # not a motion of the plant, partly outside
    reference = Trajectory(x_ref, np.full((30, 1), 0.2)) if is_moving else SetPoint({"x1": 0.7}, {"u1": 0.3})
    posed = task(MASS, box if np.isinf(price) else box.soft(price), reference=reference)
    controllers = [LinearMPC(posed, horizon=9, terminal="cost", solver=solver) for solver in SOLVERS]
    touched = 0
    for x in rng.uniform([-1, -0.5], [0.9, 0.4], size=(25, 2)):
        a, *others = (controller.step(x, 4) for controller in controllers)
        assert all(b.status is a.status for b in others)
        if a.status is Status.SOLVED:
            plans = [controller.plan for controller in controllers]
            for b, plan in zip(others, plans[1:], strict=True):
                np.testing.assert_allclose(a.input, b.input, atol=1e-5)
                np.testing.assert_allclose(plans[0].x, plan.x, atol=1e-5)
            touched += plans[0].x[1:, 1].max() > 0.5 - 1e-6
    assert touched > 5


def test_the_default_horizon_takes_every_start_of_the_cartpole() -> None:
    posed = cartpole()
    controller = LinearMPC(posed)
    assert "invariant set" in controller.terminal
    lower, upper = posed.initial.support(posed.plant.state)
    for corner in np.ndindex(2, 2, 2, 2):
        assert controller.step(np.where(corner, upper, lower), 0).status is Status.SOLVED


def test_soft_equals_hard_above_the_multiplier_and_pays_below() -> None:
    box = Box("speed", {"x2": (-0.4, 0.4)})
    x = np.array([2.0, 0.3])
    plans = {}
    for price in (np.inf, 1e3, 0.5):
        limit = box if np.isinf(price) else box.soft(price)
        controller = LinearMPC(task(MASS, limit), horizon=15, terminal="cost")
        assert controller.step(x, 0).status is Status.SOLVED
        plans[price] = controller.plan
    assert np.abs(plans[1e3].x[1:, 1]).max() <= 0.4 + 1e-6
    np.testing.assert_allclose(plans[1e3].u, plans[np.inf].u, atol=1e-5)
    assert np.abs(plans[0.5].x[1:, 1]).max() > 0.45


def test_a_soft_limit_leaves_a_start_outside_feasible() -> None:
    box = Box("speed", {"x2": (-0.4, 0.4)})
    far = np.array([0.0, 3.0])
    assert LinearMPC(task(MASS, box)).step(far, 0).status is Status.INFEASIBLE
    soft = LinearMPC(task(MASS, box.soft(100.0)))
    assert soft.step(far, 0).status is Status.SOLVED
    assert soft.step(far, 0).input == pytest.approx(-1.0)


def test_follows_an_admissible_trajectory_exactly() -> None:
    u = 0.5 * np.sin(0.3 * np.arange(40))[:, None]
    x = np.zeros((40, 2))
    for k in range(39):
        x[k + 1] = MASS.A @ x[k] + MASS.B @ u[k]
    x_ref, u_ref = x[:30], u[:30].copy()
    for solver in SOLVERS:
        controller = LinearMPC(task(MASS, reference=Trajectory(x_ref, u_ref), steps=24), horizon=6, solver=solver)
        assert "reference moves" in controller.terminal
        for k in (0, 3, 17, 22):
            np.testing.assert_allclose(controller.step(x_ref[k], k).input, u_ref[k], atol=1e-6)
        assert abs(controller.step(x_ref[3], 9).input - u_ref[3]) > 1e-2  # the window moves with k


def test_the_model_is_exact_on_a_moving_reference_of_a_nonlinear_plant() -> None:
    posed = pendulum()
    step, u = posed.dynamics.function(), 0.3 * np.sin(0.2 * np.arange(60))[:, None]
    x = np.zeros((60, 2))
    for k in range(59):
        x[k + 1] = np.array(step(x[k], u[k], 0, []))[:, 0]
    assert np.abs(x[:, 0]).max() > 0.5  # far enough to be nonlinear
    moving = dataclasses.replace(posed, reference=Trajectory(x, u), steps=52)
    for solver in SOLVERS:
        controller = LinearMPC(moving, horizon=8, solver=solver)
        for k in (0, 12, 33, 51):
            np.testing.assert_allclose(controller.step(x[k], k).input, u[k], atol=1e-6)


def test_a_set_point_away_from_the_origin_and_an_affine_term() -> None:
    hover = LinearPlant(MASS.A, MASS.B, c=-0.5 * MASS.B[:, 0], dt=0.2, input_limits=((-1.0, 1.0),))
    controller = LinearMPC(task(hover, reference=SetPoint({"x1": 0.7}, {"u1": 0.5})))
    assert "invariant set" in controller.terminal
    x = np.array([-1.0, 0.0])
    for k in range(60):
        x = hover.A @ x + hover.B @ controller.step(x, k).input + hover.c
    np.testing.assert_allclose(x, [0.7, 0.0], atol=1e-3)


def test_linearises_the_very_step_that_is_simulated() -> None:
    posed = pendulum()
    model = local_model(posed)
    gain = lqr(model.plant, model.Q, model.R, model.N)
    decision = LinearMPC(posed).step(np.array([1e-3, 0.0]), 0)
    np.testing.assert_allclose(decision.input, -gain.K @ [1e-3, 0.0], atol=1e-9)


def test_mixed_rows_hold_from_the_first_input_on() -> None:
    limit = Polytope("slope", ("x2", "u1"), np.array([[1.0, 1.0]]), np.array([0.3]))
    controller = LinearMPC(task(MASS, limit), horizon=10, terminal="cost")
    decision = controller.step(np.array([-3.0, 0.0]), 0)
    assert decision.status is Status.SOLVED
    assert decision.input == pytest.approx(0.3, abs=1e-6)  # 1 without the row


def test_misuse_and_tasks_that_do_not_fit() -> None:
    with pytest.raises(InvalidValue, match="horizon = 0"):
        LinearMPC(task(MASS), horizon=0)
    with pytest.raises(InvalidValue, match="horizon = -3"):
        LinearMPC(task(MASS), horizon=-3)
    with pytest.raises(InvalidValue, match=r"horizon = 2\.5"):
        LinearMPC(task(MASS), horizon=2.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="solver = 'osqp'; expected 'daqp', 'hpipm' or 'piqp'"):
        LinearMPC(task(MASS), solver="osqp")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="terminal = 'none'"):
        LinearMPC(task(MASS), terminal="none")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="max_iterations"):
        LinearMPC(task(MASS), max_iterations=0)
    disc = Inequality("disc", lambda x, u: x.x1**2 + x.x2**2 - 1.0)
    with pytest.raises(NotApplicable, match="disc is not affine"):
        LinearMPC(task(MASS, disc))
    with pytest.raises(NotApplicable, match="interior"):
        LinearMPC(task(MASS, Box("edge", {"x1": (0.0, 1.0)})), terminal="set")
    assert "interior" in LinearMPC(task(MASS, Box("edge", {"x1": (0.0, 1.0)}))).terminal
    idle = LinearPlant(np.eye(1) / 2, np.zeros((1, 0)), dt=0.2)
    with pytest.raises(NotApplicable, match="no input"):
        LinearMPC(task(idle))
    control = LinearMPC(task(MASS), 5, terminal="cost").problem
    with pytest.raises(NotApplicable, match="larger weight"):
        condensed(dataclasses.replace(control, P=0.0 * control.P))
    stuck = LinearPlant(np.diag([1.2, 0.5]), np.array([[0.0], [1.0]]), dt=0.2)
    with pytest.raises(NotStabilisable):
        LinearMPC(task(stuck))


def test_it_is_a_controller() -> None:
    assert isinstance(LinearMPC(task(MASS)), Controller)


@pytest.mark.parametrize("kind", [LinearMPC, StochasticMPC])
def test_a_terminal_cost_that_is_not_quadratic_is_refused(kind: Any) -> None:
    """Its second-order expansion at the reference is zero, so another problem would be solved."""
    plant = LinearPlant(np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]]), dt=0.1, input_limits=((-1, 1),))

    def stage(x: Any, u: Any, xr: Any, ur: Any) -> Any:
        return 0.01 * (x.x1**2 + x.x2**2) + 0.1 * u.u1**2

    def ending(power: int) -> Task:
        cost = Nonlinear(stage, lambda x, xr: 10.0 * x.x1**power)
        bounds = Box("d", {"x1": (-5.0, 5.0), "x2": (-5.0, 5.0)})
        return Task("ending", plant, 0.1, 10, cost, Fixed([1.0, 0.0]), domain=bounds)

    with pytest.raises(NotApplicable, match=r"terminal cost is not quadratic .* use the nonlinear MPC"):
        kind(ending(4))
    assert kind(ending(2), 3)


def test_no_terminal_set_about_a_steady_state_on_a_bound() -> None:
    """It was as thin as the error of the steady state, 1e-10, and nothing could be computed with it."""
    task, horizon, _ = random_problem(247)
    controller = LinearMPC(task, horizon)
    assert controller.terminal_set is None
    assert "on a bound of 'u2'" in controller.terminal
    with pytest.raises(NotApplicable, match="on a bound of 'u2'"):
        LinearMPC(task, horizon, "set")


# Corners of critical regions: states on the edge of the feasible ones, solved one after another from a warm start.
CORNERS = [
    [-36.116081469196445, 6.1147020290848335, -1.61152704360244, -0.005217231784179156],
    [21.66124156855934, 5.040789964478557, -4.0, -0.003387046218465209],
    [-139.99273156380144, -8.355275914840751, 3.9960518609883016, 0.017659911867932834],
    [-137.4025079024464, 4.37302390678417, -3.996433632852251, -0.00929835331068602],
    [-98.11016774810497, -4.048302817743378, 3.9966964094335458, 0.007088313755530927],
    [-2.792673144494998, 2.885393975295186, -3.9953502165791623, -0.007463494599429116],
    [-106.09646737818355, -4.22667659104581, 3.9966964094335458, 0.007635264105024226],
    [-107.49278847076295, -4.088783247593315, 3.9966497834208377, 0.008336554372705036],
]


def test_small_units_of_the_states_do_not_loosen_their_bounds() -> None:
    """Its rows are 4e-4 to 70 long in the variables. A bound on a state in a small unit was kept up to 1e-7 of that
    unit, which moved the input by 2e-3 of its range."""
    task, horizon, _ = random_problem(271)
    controller = LinearMPC(task, horizon, solver="daqp")
    referee, (low, high) = RationalSolver(controller.form.problem), task.input_bounds
    for x in np.array(CORNERS):
        decision = controller.step(x, 0)
        right = optimum(controller, referee, x)
        assert right is not None
        assert decision.status is Status.SOLVED
        np.testing.assert_allclose(decision.input, np.clip(right, low, high), atol=2e-6 * (high - low).min())


@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_the_largest_of_several_violations_is_refused_in_any_unit(unit: float) -> None:
    """Rows of 1e-9 were taken for opposite ones, and both were charged."""
    larger = Inequality("larger", lambda x, u: unit * (ca.fmax(x.x1 + x.x2, 2.0 * x.x2 - x.x1) - 1.0)).soft(1.0 / unit)
    with pytest.raises(NotApplicable, match="'larger' charges the largest of several violations"):
        LinearMPC(task(MASS, larger))
    both = Inequality("both", lambda x, u: unit * (ca.fabs(x.x1) - 1.0)).soft(1.0 / unit)
    assert len(LinearMPC(task(MASS, both), 3).problem.weight) > 3


# By problem of benchmarks.explicit: states one after the other. In the last one, soft rows are next to the point where
# their multipliers reach their weights, or beside a parallel hard row. Its input was off by 5e-8 to 1e-5 of the range.
TIED = {
    80: [
        [4.0, 1.445326883205297, -0.4999126842030296, 4.0],
        [-4.0, 4.0, -4.0, 0.08162144053268183],
        [-3.3958639380663866, 4.0, -3.6765606782115, 2.1340789736541192],
    ],
    96: [[-5.959214353714747, 0.3753331956928841, -3308.1989859868554, 399.89770857205895]],
    122: [
        [-0.04, 0.0027213852938730927, -400.0, -0.04],
        [-0.04, 0.003100869691785552, -400.0, -0.03848179962772439],
        [-0.03915749411930361, 0.002662051905427457, -400.0, -0.04],
    ],
    136: [
        [-2.191539404590191, 2.544443468302916, 1.6504242279100239, 0.31161296982299647],
        [1.4041034858077044, -1.1099980210589073, -3.18230352791379, -3.9997439749244026],
    ],
    244: [
        [-0.05801935334230446, 3.999568560027857, 1.321316982264051, -3.999855675990036],
        [3.5670441296884206, -0.3446368340859919, 3.999057477275183, -0.23820977291758527],
    ],
    262: [
        [3.6635824094004676, 0.3137058277137196, 3.9998389004787125],
        [3.4090196102761428, -1.7652286330278284, 1.5826554537908935],
    ],
}


@pytest.mark.parametrize("seed", TIED)
def test_soft_rows_with_tied_multipliers_are_distinguished(seed: int) -> None:
    task, horizon, with_set = random_problem(seed)
    controller = LinearMPC(task, horizon, None if with_set else "cost", solver="daqp")
    referee, (low, high) = RationalSolver(controller.form.problem), task.input_bounds
    for x in np.array(TIED[seed]):
        decision = controller.step(x, 0)
    right = optimum(controller, referee, x)
    assert right is not None
    assert decision.status is Status.SOLVED
    np.testing.assert_allclose(decision.input, np.clip(right, low, high), atol=1e-8 * (high - low).min())
    solver = controller.solver
    assert isinstance(solver, DAQP)
    assert solver._model.settings["primal_tol"] == DAQP.TOLERANCES[0]  # in later solves
