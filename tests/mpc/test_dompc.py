"""do-mpc behind the same task: the same closed loops, its own objects, and its models as plants."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR, NotApplicable, Status
from mpc import NonlinearMPC, dompc_expression, from_dompc, to_dompc
from mpc.nonlinear.staged_task import ahead, staged
from mpc.solvers.dompc import DoMPCSolver
from mpc.solvers.free_end import FreeEnd
from mpc.solvers.ipopt import Ipopt
from mpc.solvers.sqp import SQP
from systems import Box, Fixed, InvalidValue, Plant, Quadratic, SetPoint, Sinusoid, Task, Uniform, UnknownName, lower
from systems.library import (
    CartPole,
    braking,
    cartpole,
    cartpole_swing_up,
    cartpole_track,
    double_integrator,
    effort_budget,
    kinematic_car,
    oscillating_masses,
    planar_quadrotor,
)
from tests.mpc.closed_loops import cost_of, first_state

do_mpc = pytest.importorskip("do_mpc")


@pytest.mark.parametrize(
    ("make", "horizon", "steps"),
    [(cartpole_swing_up, 20, 20), (planar_quadrotor, 15, 15), (kinematic_car, 12, 10), (effort_budget, 10, 20)],
)
@pytest.mark.every(2)
def test_the_closed_loop_costs_what_it_costs_with_our_solver(
    make: Callable[[], Task], horizon: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, plain = make(), Ipopt.solve
    ours, _ = cost_of(NonlinearMPC(task, horizon), task, steps)
    controller, calls = NonlinearMPC(task, horizon, solver="do-mpc"), []
    monkeypatch.setattr(Ipopt, "solve", lambda *a: calls.append(1) or plain(*a))
    theirs, decisions = cost_of(controller, task, steps)
    assert theirs == pytest.approx(ours, rel=1e-5)
    assert all(decision.status is Status.SOLVED for decision in decisions)
    assert max(decision.residual for decision in decisions) < 1e-4
    assert len(calls) == 1  # the first plan; all others are do-mpc's


def test_states_and_signals_are_those_of_the_plant() -> None:
    made = to_dompc(oscillating_masses(), 8)
    task = oscillating_masses()
    assert tuple(made.model.x.keys()) == task.plant.state.names
    assert tuple(made.model.u.keys())[1:] == task.plant.input.names


@pytest.mark.parametrize("make", [cartpole, kinematic_car, braking])
def test_the_objects_of_dompc_run_as_its_users_run_them(make: Callable[[], Task]) -> None:
    task = dataclasses.replace(make(), disturbance=Fixed())
    made, ours = to_dompc(task, 12), NonlinearMPC(task, 12)
    n, m = len(task.plant.state), len(task.plant.input)
    x = np.concatenate([first_state(task), np.zeros(made.model.n_x - n)])[:, None]
    made.mpc.x0 = made.simulator.x0 = x
    made.mpc.set_initial_guess()
    step = lower(task.dynamics.function(), "numpy")
    for k in range(4):
        u = made.mpc.make_step(x)
        assert u[:m, 0] == pytest.approx(ours.step(x[:n, 0], k).input, abs=1e-4)
        applied = np.clip(u[:m, 0], *task.input_bounds)  # ipopt relaxes bounds by 1e-8
        expected = step(x[:n, 0], applied, np.zeros(len(task.plant.disturbance)), np.zeros(0))
        x = made.simulator.make_step(u)
        assert x[:n, 0] == pytest.approx(expected, abs=1e-9)
    assert made.approximations == ours.approximations


def test_the_simulator_is_the_true_plant_with_its_actuators_and_disturbances() -> None:
    truth = CartPole(pole_mass=0.3, max_force=4.0)
    task = dataclasses.replace(cartpole(), truth=truth, disturbance=Uniform({"push": 0.4}, {"push": 0.5}))
    first, second = (to_dompc(task, 5, seed=seed) for seed in (3, 3))
    u = np.concatenate([[9.0], np.zeros(first.model.n_u - 1)])[:, None]
    x = np.concatenate([[0.1, 0.1, 0.0, 0.0], np.zeros(first.model.n_x - 4)])[:, None]
    first.simulator.x0 = second.simulator.x0 = x
    after = first.simulator.make_step(u)
    assert after == pytest.approx(second.simulator.make_step(u))
    step = task.true_dynamics.function()
    reached = [np.array(step(x[:4], 4.0, push, [])) for push in (0.4, 0.5)]
    assert (np.minimum(*reached) <= after[:4]).all()
    assert (after[:4] <= np.maximum(*reached)).all()
    again = first.simulator.make_step(u)
    pushes = [(after, x), (again, after)]
    drawn = [np.linalg.lstsq(*_push(step, start, end), rcond=None)[0].item() for end, start in pushes]
    assert abs(drawn[0] - drawn[1]) > 1e-3  # a new one for each sample


def _push(step: ca.Function, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    calm, pushed = (np.array(step(start[:4], 4.0, push, [])) for push in (0.0, 1.0))
    return pushed - calm, (end[:4] - calm)[:, 0]


def test_what_dompc_cannot_keep_account_of_is_refused() -> None:
    with pytest.raises(NotApplicable, match="NonlinearMPC"):
        to_dompc(effort_budget())


def test_the_measured_state_may_violate_a_constraint() -> None:
    fence = Box("fence", {"speed": (-0.5, 0.5)})
    task = dataclasses.replace(double_integrator(), constraints=(fence,), initial=Fixed([1.0, -0.55]))
    made, x = to_dompc(task, 10), np.array([1.0, -0.55])
    made.mpc.x0 = x
    made.mpc.set_initial_guess()
    u = made.mpc.make_step(x[:, None])
    assert made.mpc.solver_stats["success"]
    assert u[:, 0] == pytest.approx(NonlinearMPC(task, 10).step(x, 0).input, abs=1e-4)


def test_the_reference_beyond_the_end_of_a_run_is_not_read() -> None:
    task = dataclasses.replace(
        double_integrator(), cost=Quadratic([1.0, 1.0], [1.0], P=[1.0, 1.0]), steps=20,
        reference=Sinusoid(0.5, x_sine={"position": 1.0}),
    )  # fmt: skip
    plain, _ = task.reading.window(16, 11)
    x_ref, u_ref, going = ahead(task, 10, 16, ends=True)
    assert (going, x_ref.shape, u_ref.shape) == (4, (11, 2), (11, 1))
    assert (x_ref[:5] == plain[:5]).all()
    assert (x_ref[5:] == plain[4]).all()
    assert (ahead(task, 10, 16, ends=False)[0] == plain).all()


def test_failures_are_a_status_and_a_fallback() -> None:
    task = cartpole()
    controller = NonlinearMPC(task, 8, solver="do-mpc")
    x = first_state(task)
    assert controller.step(x, 0).status is Status.SOLVED
    low, high = task.input_bounds
    for bad in (np.full(4, np.nan), np.full(4, 1e200)):
        decision = controller.step(bad, 1)
        assert decision.status is not Status.SOLVED
        assert np.isfinite(decision.input).all()
        assert ((low <= decision.input) & (decision.input <= high)).all()
    assert controller.step(x, 2).status is Status.SOLVED
    assert copy.deepcopy(controller).step(x, 0).status is Status.SOLVED


def test_a_failed_solve_leaves_the_point_and_its_multipliers_are_not_used_again() -> None:
    solver, x = _solver(planar_quadrotor(), 6)
    before = solver.point.v.copy()
    assert solver.solve(x, 1, until=0.0).status is Status.TIMEOUT
    assert solver.solve(np.full(6, np.nan)).status is not Status.SOLVED
    assert (solver.point.v == before).all()
    assert solver.mpc.flags["initial_run"] is False
    ended = solver.solve(x)
    assert ended.status is Status.SOLVED
    assert ended.residual < 1e-6


def _solver(task: Task, horizon: int) -> tuple[DoMPCSolver, np.ndarray]:
    program = staged(task, horizon).program
    solver = DoMPCSolver(program, task, 100, 60.0)
    x = first_state(task)
    solver.point.x[:] = x
    return solver, x


def test_changed_bounds_of_rows_reach_dompc() -> None:
    solver, x = _solver(cartpole(), 6)
    assert solver.lower.size  # else this tests nothing
    assert solver.solve(x).status is Status.SOLVED
    rows = np.array(solver.program.stage(solver.point.x[2], solver.point.v[2], solver.point.p[2])[2])[:, 0]
    solver.lower[2], solver.upper[2] = rows + 0.01, np.inf
    solver.set_bounds()
    assert solver.solve(x).status is Status.SOLVED
    moved = np.array(solver.program.stage(solver.point.x[2], solver.point.v[2], solver.point.p[2])[2])[:, 0]
    assert (moved >= rows + 0.01 - 1e-6).all()


@pytest.mark.parametrize("make", [cartpole, kinematic_car, cartpole_track])
def test_variables_of_the_last_stage_can_be_carried_into_it(make: Callable[[], Task]) -> None:
    task = make()
    posed = staged(task, 6)
    assert len(posed.program.terminal_low)  # else this tests nothing
    free = FreeEnd(posed.program)
    x = first_state(task)
    direct, carried = SQP(posed.program), SQP(free.program)
    posed.fill(direct.point.p, *task.reading.window(0, 7), 99, np.zeros(0))
    direct.point.x[:] = x
    free.read(direct.point)
    carried.point.x[:], carried.point.v[:], carried.point.p[:] = free.x, free.v, free.p
    start = np.concatenate([x, np.zeros(free.program.states - len(x))])
    assert direct.solve(x).status is carried.solve(start).status is Status.SOLVED
    m = len(posed.program.low)
    assert carried.point.v[:, :m] == pytest.approx(direct.point.v, abs=1e-5)
    assert carried.point.x[-1, len(x) :] == pytest.approx(direct.point.v_last[0], abs=1e-5)
    free.x[:], free.v[:] = carried.point.x + 1.0, carried.point.v
    free.write(direct.point)
    assert direct.point.v_last[0] == pytest.approx(carried.point.x[-1, len(x) :] + 1.0)


# ---- models of do-mpc as plants ----


def _tank(kind: str = "continuous", symbols: str = "SX") -> Any:
    """Two levels and a temperature, with parameters, noise and an expression."""
    model = do_mpc.model.Model(kind, symbols)
    level = model.set_variable("_x", "level", (2, 1))
    temperature = model.set_variable("_x", "temperature")
    inflow = model.set_variable("_u", "inflow")
    area = model.set_variable("_p", "area")
    model.set_expression("heat", level[1] * temperature)
    rate = ca.vertcat(inflow - level[0], level[0] - level[1]) / area
    model.set_rhs("level", level + 0.1 * rate if kind == "discrete" else rate, process_noise=True)
    model.set_rhs("temperature", -temperature * inflow)
    model.setup()
    return model


@pytest.mark.parametrize("symbols", ["SX", "MX"])
@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_a_dompc_model_is_a_plant_with_its_names_and_equations(kind: str, symbols: str) -> None:
    model = _tank(kind, symbols)
    plant = from_dompc(model, {"area": 2.0}, dt=0.5 if kind == "discrete" else None, limits={"inflow": (0.0, 3.0)})
    assert plant.state.names == ("level_0", "level_1", "temperature")
    assert plant.input.names == ("inflow",)
    assert len(plant.disturbance) == 2
    assert plant.parameters == {"area": 2.0}
    assert plant.is_discrete == (kind == "discrete")
    assert [bound.tolist() for bound in plant.bounds] == [[0.0], [3.0]]
    x, u, w = np.array([1.0, 0.4, 20.0]), np.array([1.5]), np.array([0.01, -0.02])
    given = np.array(plant.casadi()(x, u, w, []))
    assert given == pytest.approx(np.array(model._rhs_fun(x, u, [], [], 2.0, w)))
    other = dataclasses.replace(plant, area=4.0)
    assert np.array(other.casadi()(x, u, w, [])) == pytest.approx(np.array(model._rhs_fun(x, u, [], [], 4.0, w)))
    varied = np.array(plant.casadi(["area"])(x, u, w, 4.0))
    assert varied == pytest.approx(np.array(other.casadi()(x, u, w, [])))


def test_a_dompc_model_and_the_task_made_of_it_agree_in_closed_loop() -> None:
    task = oscillating_masses()
    model = to_dompc(task, 3).model
    plant = from_dompc(model, dt=task.dt, limits=dict(zip(task.plant.input.names, zip(*task.plant.bounds, strict=True),
                                                          strict=True)))  # fmt: skip
    copied = dataclasses.replace(task, plant=plant, disturbance=Fixed())
    ours, _ = cost_of(NonlinearMPC(task, 8), task, 5)
    theirs, _ = cost_of(NonlinearMPC(copied, 8), copied, 5)
    assert theirs == pytest.approx(ours, rel=1e-6)


def test_a_plant_from_dompc_serves_every_controller() -> None:
    plant = from_dompc(_tank(), {"area": 2.0})
    task = Task(
        "tank", plant, dt=0.1, steps=60, cost=Quadratic({"level_1": 1.0}, {"inflow": 0.1}), initial=Fixed(),
        reference=SetPoint({"level_0": 1.0, "level_1": 1.0}, {"inflow": 1.0}),
    )  # fmt: skip
    for controller in (LQR(task), NonlinearMPC(task, 10)):
        total, _ = cost_of(controller, task, 60)
        assert total < 20.0  # 60 without control


def test_expressions_of_a_dompc_model_can_be_used_in_costs_and_constraints() -> None:
    heat = dompc_expression(_tank(), "heat", {"area": 2.0})
    assert float(heat([1.0, 0.4, 20.0], 0.0)) == pytest.approx(8.0)
    with pytest.raises(UnknownName, match="heat"):
        dompc_expression(_tank(), "heet", {"area": 2.0})


def _with(change: Callable[[Any], Any], symbols: str = "SX") -> Any:
    model = do_mpc.model.Model("continuous", symbols)
    x = model.set_variable("_x", "x")
    u = model.set_variable("_u", "u")
    extra = change(model)
    model.set_rhs("x", u - x + (0 if extra is None else extra))
    model.setup()
    return model


def _algebraic(model: Any) -> Any:
    z = model.set_variable("_z", "z")
    model.set_alg("balance", z - 1.0)
    return z


def test_what_a_plant_has_not_is_refused_with_how_to_write_it() -> None:
    plain = _with(lambda model: None)
    assert isinstance(from_dompc(plain), Plant)
    with pytest.raises(NotApplicable, match="algebraic"):
        from_dompc(_with(_algebraic))
    with pytest.raises(NotApplicable, match="time-varying"):
        from_dompc(_with(lambda model: model.set_variable("_tvp", "load")))
    with pytest.raises(NotApplicable, match="integer"):
        from_dompc(_with(lambda model: model.set_variable("_u", "valve", input_type_integer=True)))
    with pytest.raises(InvalidValue, match="another name"):
        from_dompc(_with(lambda model: model.set_variable("_p", "limits")), {"limits": 1.0})


def test_misuse_of_dompc_models_is_refused() -> None:
    with pytest.raises(InvalidValue, match="expected a do_mpc"):
        from_dompc(object())
    with pytest.raises(InvalidValue, match="setup"):
        from_dompc(do_mpc.model.Model("continuous"))
    with pytest.raises(InvalidValue, match="area have no value"):
        from_dompc(_tank())
    with pytest.raises(UnknownName, match="area"):
        from_dompc(_tank(), {"area": 1.0, "aera": 2.0})
    with pytest.raises(UnknownName, match="inflow"):
        from_dompc(_tank(), {"area": 1.0}, limits={"inflo": (0.0, 1.0)})
    with pytest.raises(InvalidValue, match="give dt"):
        from_dompc(_tank("discrete"), {"area": 1.0})
    with pytest.raises(InvalidValue, match="continuous"):
        from_dompc(_tank(), {"area": 1.0}, dt=0.1)
