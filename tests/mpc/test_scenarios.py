"""MPC over scenarios against ipopt, do-mpc's scenario tree, and the plants of the scenarios themselves."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.controller import Source, Status
from ctrl.loop import simulate
from mpc import NonlinearMPC, Scenario, ScenarioMPC
from systems import (
    Box,
    Fixed,
    InvalidValue,
    LinearPlant,
    Nonlinear,
    Quadratic,
    SetPoint,
    Task,
    TriviumError,
    know_ahead,
    signals,
)
from systems.inputs import limit_changes
from systems.library import CartPole, Pendulum, cartpole, cartpole_track

MASSES = (0.05, 0.1, 0.3)
START = np.array([0.5, 0.1, 0.1, 0.0])


def masses() -> list[Scenario]:
    return [Scenario(CartPole(pole_mass=mass)) for mass in MASSES]


def by_ipopt(task: Task, scenarios: Sequence[Scenario], horizon: int, shared: int, x0: np.ndarray) -> np.ndarray:
    """The inputs (horizon, scenarios) of the program written out with variables of its own, without a terminal cost."""
    opti, (low, high) = ca.Opti(), task.input_bounds
    first, total = [opti.variable() for _ in range(shared)], 0
    weight = sum(s.weight for s in scenarios)
    x_ref, u_ref = task.reading.start
    plans = []
    for s in scenarios:
        step = task.dynamics.replace(s.plant or task.plant).function()
        x, plan = ca.DM(x0), []
        w = task.plant.disturbance.optional(s.disturbance, "w")
        for k in range(horizon):
            plan.append(first[k] if k < shared else opti.variable())
            opti.subject_to(opti.bounded(float(low[0]), plan[-1], float(high[0])))
            total += s.weight / weight * task.stage_cost(x, plan[-1], x_ref, u_ref)
            x = step(x, plan[-1], w, [])
        plans.append(plan)
    opti.minimize(total)
    opti.solver("ipopt", {"print_time": False}, {"print_level": 0, "sb": "yes", "tol": 1e-10})
    solution = opti.solve()
    return np.array([[float(solution.value(u)) for u in plan] for plan in plans]).T


@pytest.mark.parametrize("shared", [1, 3, 8])
def test_the_plan_is_that_of_ipopt(shared: int) -> None:
    task = cartpole()
    scenarios = [Scenario(CartPole(pole_mass=m), weight=w) for m, w in zip(MASSES, (1.0, 2.0, 0.5), strict=True)]
    mpc = ScenarioMPC(task, scenarios, horizon=8, shared=shared, terminal="task")
    decision = mpc.step(START, 0)
    assert decision.status is Status.SOLVED
    expected = by_ipopt(task, scenarios, 8, shared, START)
    plan = mpc.mpc.plan
    assert plan is not None
    np.testing.assert_allclose(decision.input, expected[0, :1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(plan.u[shared:], expected[shared:], rtol=1e-3, atol=1e-3)


def test_disturbances_differ_between_scenarios() -> None:
    task = cartpole()
    scenarios = [Scenario(disturbance=(push,)) for push in (-0.5, 0.0, 0.8)]
    mpc = ScenarioMPC(task, scenarios, horizon=8, terminal="task")
    expected = by_ipopt(task, scenarios, 8, 1, START)
    np.testing.assert_allclose(mpc.step(START, 0).input, expected[0, :1], rtol=1e-4, atol=1e-4)


def test_the_first_input_is_that_of_the_scenario_tree_of_do_mpc() -> None:
    do_mpc: Any = pytest.importorskip("do_mpc")
    task, horizon = cartpole(), 8
    model = do_mpc.model.Model("discrete", "SX")
    x = model.set_variable("_x", "x", (4, 1))
    u = model.set_variable("_u", "u", (1, 1))
    mass = model.set_variable("_p", "pole_mass")
    model.set_rhs("x", task.dynamics.function(["pole_mass"])(x, u, 0, mass))
    model.setup()
    controller = do_mpc.controller.MPC(model)
    controller.settings.n_horizon, controller.settings.t_step, controller.settings.n_robust = horizon, task.dt, 1
    controller.settings.store_full_solution = False
    controller.settings.nlpsol_opts = {"ipopt.print_level": 0, "ipopt.sb": "yes", "print_time": 0, "ipopt.tol": 1e-10}
    x_ref, u_ref = task.reading.start
    controller.set_objective(mterm=ca.DM(0), lterm=task.stage_cost(model.x["x"], model.u["u"], x_ref, u_ref))
    controller.set_rterm(u=0.0)
    low, high = task.input_bounds
    controller.bounds["lower", "_u", "u"], controller.bounds["upper", "_u", "u"] = low, high
    controller.set_uncertainty_values(pole_mass=np.array(MASSES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        controller.setup()
        controller.x0 = START
        controller.set_initial_guess()
        theirs = np.asarray(controller.make_step(START[:, None]))[:, 0]
    ours = ScenarioMPC(task, masses(), horizon=horizon, terminal="task").step(START, 0)
    np.testing.assert_allclose(ours.input, theirs, rtol=1e-4, atol=1e-4)


def test_one_scenario_of_the_nominal_plant_is_nonlinear_mpc() -> None:
    task = cartpole_track()
    one, other = ScenarioMPC(task, [Scenario()], horizon=12), NonlinearMPC(task, 12)
    still = np.zeros((1, 25, len(task.plant.disturbance)))
    runs = [simulate(task, controller, START[None], still) for controller in (one, other)]
    np.testing.assert_allclose(runs[0].inputs, runs[1].inputs, atol=1e-4)


def cart() -> Task:
    """A double integrator driven towards a wall at 1, where its reference stands, with an uncertain gain."""
    return Task(
        "wall", mass(1.0), 0.2, 40, Quadratic({"position": 1.0, "speed": 0.1}, {"force": 0.1}), Fixed((-2.0, 0.0)),
        constraints=(Box("wall", {"position": (-5.0, 1.0)}),), reference=SetPoint({"position": 0.9}),
    )  # fmt: skip


def mass(gain: float) -> LinearPlant:
    A, B = np.array([[1.0, 0.2], [0.0, 1.0]]), gain * np.array([[0.02], [0.2]])
    from systems import signals

    return LinearPlant(
        A, B, dt=0.2, state=signals("position", "speed"), input=signals("force"), input_limits=((-1.0, 1.0),)
    )


@pytest.mark.parametrize("gain", [0.6, 1.0, 1.4])
@pytest.mark.every(3)
def test_constraints_hold_in_every_scenario(gain: float) -> None:
    """The nominal controller hits the wall where brakes are weaker; MPC over the scenarios does not."""
    task = cart()
    scenarios = [Scenario(mass(g)) for g in (0.6, 1.0, 1.4)]
    truth = task.with_truth(mass(gain))
    start = np.array([[-2.0, 0.0]])
    careful = simulate(truth, ScenarioMPC(task, scenarios, horizon=15, shared=15), start)
    assert careful.states[0, :, 0].max() <= 1.0 + 1e-6
    assert careful.states[0, -1, 0] == pytest.approx(0.9, abs=0.02)
    if gain == 0.6:
        nominal = simulate(truth, NonlinearMPC(task, 15), start)
        assert nominal.states[0, :, 0].max() > careful.states[0, :, 0].max()


def test_soft_constraints_are_charged_as_expected() -> None:
    """Two equal scenarios cost what one costs."""
    task = replace(cart(), constraints=(Box("wall", {"position": (-5.0, 0.5)}).soft(3.0),))
    start = np.array([-0.5, 1.0])
    one = ScenarioMPC(task, [Scenario()], horizon=10).step(start, 0)
    two = ScenarioMPC(task, [Scenario(), Scenario(weight=4.0)], horizon=10).step(start, 0)
    np.testing.assert_allclose(two.input, one.input, atol=1e-5)
    dear = ScenarioMPC(
        replace(task, constraints=(Box("wall", {"position": (-5.0, 0.5)}).soft(30.0),)), [Scenario()], horizon=10
    ).step(start, 0)
    assert abs(dear.input - one.input).max() > 1e-3


def test_periodic_states_and_their_turns() -> None:
    from systems.library import pendulum

    task = pendulum()
    scenarios = [Scenario(), Scenario(replace(task.plant, mass=1.2 * task.plant.mass))]  # type: ignore[type-var, attr-defined]
    assert isinstance(task.plant, Pendulum)
    one, other = (ScenarioMPC(task, scenarios, horizon=10) for _ in range(2))
    x = np.array([0.2, 0.0])
    period = task.reading.state.periods
    turned = x + np.where(np.isfinite(period), period, 0.0)
    np.testing.assert_allclose(one.step(x, 0).input, other.step(turned, 0).input, atol=1e-6)


def test_numbers_never_raise() -> None:
    mpc = ScenarioMPC(cartpole_track(), masses(), horizon=6)
    for x in (np.full(4, np.nan), np.full(4, 1e9), np.full(4, np.inf), START):
        decision = mpc.step(x, 0)
        assert np.isfinite(decision.input).all()
    assert decision.source is Source.OPTIMAL


@pytest.mark.slow
def test_copies_and_real_time_iterations() -> None:
    mpc = ScenarioMPC(cartpole(), masses(), horizon=8, iterations=1)
    copy = pickle.loads(pickle.dumps(mpc))
    still = np.zeros((1, 15, len(cartpole().plant.disturbance)))
    runs = [simulate(cartpole(), controller, START[None], still) for controller in (mpc, copy)]
    np.testing.assert_array_equal(runs[0].inputs, runs[1].inputs)
    exact = simulate(cartpole(), ScenarioMPC(cartpole(), masses(), horizon=8), START[None], still)
    assert runs[0].cost[0] == pytest.approx(exact.cost[0], rel=1e-3)


def test_misuse_is_refused() -> None:
    task = cartpole()
    for wrong in ([], None, [CartPole()], [Scenario(Pendulum())]):
        with pytest.raises(TriviumError):
            ScenarioMPC(task, wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="shared"):
        ScenarioMPC(task, masses(), horizon=5, shared=6)
    with pytest.raises(InvalidValue, match="weight"):
        Scenario(weight=0.0)
    with pytest.raises(InvalidValue, match="signals of Pendulum"):
        ScenarioMPC(limit_changes(task, {"force": 1.0}), [Scenario(Pendulum())])


def priced(preview: int = 0) -> Task:
    """The cart-pole with a price of its force that is known ahead, and a limit on the force's change."""
    base = replace(cartpole(), disturbance=Fixed())
    prices = 0.1 + 0.05 * np.sin(np.arange(base.steps + 1))
    task = know_ahead(
        base,
        signals("price [-]"),
        {"price": prices},
        persistence=0.7,
        preview=preview,
        cost=Nonlinear(
            lambda x, u, xr, ur: x.position**2 + 10 * x.angle**2 + 0.1 * x.velocity**2 + x.price * u.force**2
        ),
    )
    return limit_changes(task, {"force": 4.0})


@pytest.mark.parametrize("preview", [0, 2])
def test_the_nominal_scenario_with_forecasts_and_limited_changes(preview: int) -> None:
    """Plans equal those of nonlinear MPC, also if the present price is not as predicted."""
    task = priced(preview)
    x = task.initial.mean(task.plant.state)
    x[:2], x[task.plant.state.where("price")] = [0.3, 0.05], 0.17
    one, plain = ScenarioMPC(task, [Scenario()], 10), NonlinearMPC(task, 10)
    assert one.step(x, 3).status is plain.step(x, 3).status is Status.SOLVED
    assert one.plan is not None
    assert plain.plan is not None
    np.testing.assert_allclose(one.plan.x, plain.plan.x, atol=1e-5)
    np.testing.assert_allclose(one.plan.u, plain.plan.u, atol=1e-5)
    assert np.isclose(np.abs(np.diff(plain.plan.u[:, 0])).max(), 4.0 * task.dt, atol=1e-5)  # the limit acts


def test_every_scenario_keeps_limits_and_forecast() -> None:
    task = priced(preview=1)
    x = task.initial.mean(task.plant.state)
    x[:2], x[task.plant.state.where("price")] = [0.3, 0.05], 0.17
    mpc = ScenarioMPC(task, masses(), 10)
    assert mpc.step(x, 3).status is Status.SOLVED
    plan, n = mpc.mpc.plan, len(task.plant.state)
    assert plan is not None
    forecast = task.plant.forecast
    assert forecast is not None
    for i, mass in enumerate(MASSES):
        step = task.dynamics.replace(task.plant.with_parameters({"pole_mass": mass})).function()  # type: ignore[attr-defined]
        states, inputs = plan.x[:, i * n : (i + 1) * n], plan.u[:, i : i + 1]
        for k, u in enumerate(inputs):
            driving = dict(zip(forecast.disturbances.names, forecast.driving(3 + k), strict=True))
            w = task.plant.disturbance.array(driving, default=0.0)
            np.testing.assert_allclose(step(states[k], u, w, []).full()[:, 0], states[k + 1], atol=1e-5)
        forces = np.concatenate([[x[task.plant.state.where("previous_force")]], inputs[:, 0]])
        assert (np.abs(np.diff(forces)) <= 4.0 * task.dt + 1e-5).all()
