"""acados behind the same task: the same closed loops, beside CasADi's HPIPM in one process, and its problems as tasks.

Skipped where there is no acados; continuous integration unpacks one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import NotApplicable, Status
from mpc import NonlinearMPC, from_acados
from mpc.solvers.acados import AcadosSolver
from mpc.solvers.acados_install import Acados, AcadosMissing, installed
from mpc.solvers.ipopt import Ipopt
from systems import Box, InvalidValue, Soft, Task
from systems.library import (
    cartpole,
    cartpole_swing_up,
    cartpole_track,
    effort_budget,
    kinematic_car,
    planar_quadrotor,
    quadrotor,
)
from tests.mpc.closed_loops import cost_of, first_state


@pytest.fixture(scope="module")
def acados() -> Acados:
    try:
        return installed()
    except AcadosMissing as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(
    ("make", "horizon", "steps"),
    [
        (cartpole_swing_up, 30, 30),
        (planar_quadrotor, 20, 30),
        (kinematic_car, 15, 20),
        (cartpole_track, 15, 20),
        (quadrotor, 12, 15),
    ],
)
def test_the_closed_loop_costs_what_it_costs_with_our_solver(
    acados: Acados, make: Callable[[], Task], horizon: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, plain, calls = make(), Ipopt.solve, []
    ours, _ = cost_of(NonlinearMPC(task, horizon), task, steps)
    monkeypatch.setattr(Ipopt, "solve", lambda *a: calls.append(1) or plain(*a))
    theirs, decisions = cost_of(NonlinearMPC(task, horizon, solver="acados"), task, steps)
    assert theirs == pytest.approx(ours, rel=1e-5)
    assert all(decision.status is Status.SOLVED for decision in decisions)
    assert len(calls) == 1  # the first plan; all others are acados'


def test_a_budget_of_excess_is_kept(acados: Acados) -> None:
    task = effort_budget()
    ours, _ = cost_of(NonlinearMPC(task, 10), task, 20)
    theirs, _ = cost_of(NonlinearMPC(task, 10, solver="acados"), task, 20)
    assert theirs == pytest.approx(ours, rel=1e-4)


@pytest.mark.parametrize("make", [planar_quadrotor, cartpole])
def test_real_time_iterations_cost_what_ours_cost(acados: Acados, make: Callable[[], Task]) -> None:
    task = make()
    ours, _ = cost_of(NonlinearMPC(task, 20, iterations=1), task, 30)
    theirs, decisions = cost_of(NonlinearMPC(task, 20, solver="acados", iterations=1), task, 30)
    assert theirs == pytest.approx(ours, rel=1e-3)
    assert {decision.status for decision in decisions[1:]} == {Status.MAX_ITERATIONS}
    assert {decision.iterations for decision in decisions[1:]} == {1}


def test_failures_are_a_status_and_a_fallback(acados: Acados) -> None:
    task = cartpole()
    low, high = task.input_bounds
    for iterations in (None, 1, 3):
        controller, x = NonlinearMPC(task, 8, solver="acados", iterations=iterations), first_state(task)
        usual = [controller.step(x, k).input for k in range(3)][-1]
        for bad in (np.full(4, np.nan), np.full(4, 1e200), np.full(4, 1e9)):
            decision = controller.step(bad, 3)
            assert decision.status is not Status.SOLVED
            assert np.isfinite(decision.input).all()
            assert ((low <= decision.input) & (decision.input <= high)).all()
        again = [controller.step(x, k) for k in (4, 5)][-1]
        assert again.input == pytest.approx(usual, abs=1e-3)
        assert again.status in (Status.SOLVED, Status.MAX_ITERATIONS)


def test_no_solve_begins_after_the_time_limit(acados: Acados) -> None:
    task = planar_quadrotor()
    controller = NonlinearMPC(task, 6, solver="acados")
    solver = controller._sequential.sqp  # type: ignore[union-attr]
    assert isinstance(solver, AcadosSolver)
    assert solver.solve(first_state(task), until=0.0).status is Status.TIMEOUT


def test_real_time_iterations_for_one_measurement_converge(acados: Acados) -> None:
    task = planar_quadrotor()
    controller = NonlinearMPC(task, 10, solver="acados", iterations=1)
    solver, x = controller._sequential.sqp, first_state(task)  # type: ignore[union-attr]
    assert isinstance(solver, AcadosSolver)
    controller.step(x, 0)
    solver.prepare()
    solver.iterate(x)  # which leaves acados in its feedback phase
    moved = x + 0.2
    assert solver.solve(moved, 1).status is Status.MAX_ITERATIONS
    ended = solver.solve(moved, 30)
    assert ended.status is Status.SOLVED
    assert 1 < ended.iterations < 30
    ours = NonlinearMPC(task, 10).step(moved, 0)
    assert solver.point.v[0] == pytest.approx(ours.input, abs=1e-4)


_BOTH = """
import json, sys
import numpy as np
from mpc import NonlinearMPC
from systems.library import cartpole_track
from tests.mpc.closed_loops import cost_of, first_state
task = cartpole_track()
def inputs(solver):
    return np.concatenate([d.input for d in cost_of(NonlinearMPC(task, 12, solver=solver), task, 12)[1]])
print(json.dumps({name: inputs(name).tolist() for name in sys.argv[1:]}))
"""


def _in_a_process(*solvers: str) -> dict[str, list[float]]:
    command = [sys.executable, "-c", _BOTH, *solvers]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    answers: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_two_blasfeos_in_one_process_give_the_numbers_that_they_give_alone(acados: Acados) -> None:
    """CasADi's HPIPM and acados' have the same name and different interfaces; whichever comes second must not get the
    first one's."""
    alone = {**_in_a_process("sqp"), **_in_a_process("acados")}
    assert _in_a_process("sqp", "acados") == alone
    assert _in_a_process("acados", "sqp") == alone
    assert alone["sqp"] != alone["acados"]  # two solvers, indeed


def test_controllers_are_made_anew_and_freed(acados: Acados) -> None:
    import copy

    task = cartpole()
    controller = NonlinearMPC(task, 6, solver="acados")
    x = first_state(task)
    first = controller.step(x, 0).input
    second = copy.deepcopy(controller)
    del controller
    assert second.step(x, 0).input == pytest.approx(first)


# ---- problems of acados as tasks ----


@pytest.fixture
def ocp(acados: Acados) -> Iterator[Any]:
    """A cart on a spring, as a user of acados writes it."""
    with acados.environment():
        made = acados.template.AcadosOcp()
        model, cost, rules, options = made.model, made.cost, made.constraints, made.solver_options
        position, speed, force, mass = (ca.SX.sym(name) for name in ("position", "speed", "force", "mass"))
        model.name, model.x, model.u, model.p = "spring", ca.vertcat(position, speed), force, mass
        model.f_expl_expr = ca.vertcat(speed, force / mass - ca.sin(position))
        made.parameter_values, made.dims.N = np.array([2.0]), 20
        cost.Vx, cost.Vu = np.vstack([np.eye(2), np.zeros((1, 2))]), np.array([[0.0], [0.0], [1.0]])
        cost.W, cost.yref = np.diag([2.0, 0.5, 0.1]), np.array([0.3, 0.0, 2.0 * np.sin(0.3)])
        cost.W_e, cost.Vx_e, cost.yref_e = 5.0 * np.eye(2), np.eye(2), np.array([0.3, 0.0])
        rules.idxbu, rules.lbu, rules.ubu = np.array([0]), np.array([-3.0]), np.array([3.0])
        rules.x0 = np.array([1.0, 0.0])
        options.tf, options.sim_method_num_steps = 2.0, 2
        options.nlp_solver_type, options.qp_solver = "SQP", "PARTIAL_CONDENSING_HPIPM"
        options.hessian_approx, options.regularize_method = "GAUSS_NEWTON", "NO_REGULARIZE"
        options.integrator_type, options.nlp_solver_max_iter = "ERK", 200
        options.tol = options.qp_tol = 1e-8
        yield made


def _inputs(acados: Acados, ocp: Any, folder: Path) -> np.ndarray:
    """What acados itself decides."""
    solver = acados.solver(ocp, folder)
    assert solver.solve() == 0
    return np.array([solver.get(k, "u") for k in range(20)])


def _ours(task: Task) -> np.ndarray:
    controller = NonlinearMPC(task, 20, terminal="task")
    assert controller.step(task.initial.mean(task.plant.state), 0).status is Status.SOLVED
    assert controller.plan is not None
    return controller.plan.u


def _external(ocp: Any) -> None:
    model, cost = ocp.model, ocp.cost
    cost.cost_type = cost.cost_type_e = "EXTERNAL"
    model.cost_expr_ext_cost = ca.sumsqr(model.x) + 0.05 * model.u**2 + 0.1 * model.x[0] ** 4
    model.cost_expr_ext_cost_e = 3.0 * ca.sumsqr(model.x)


def _discrete(ocp: Any) -> None:
    model = ocp.model
    model.disc_dyn_expr = model.x + 0.1 * model.f_expl_expr
    ocp.solver_options.integrator_type = "DISCRETE"


def _state_bounds(ocp: Any) -> None:
    rules = ocp.constraints
    rules.idxbx = rules.idxbx_e = np.array([1])
    rules.lbx, rules.ubx = np.array([-0.4]), np.array([50.0])
    rules.lbx_e, rules.ubx_e = rules.lbx, rules.ubx


def _soft_row(ocp: Any) -> None:
    rules, cost = ocp.constraints, ocp.cost
    ocp.model.con_h_expr = ca.vertcat(ocp.model.u**2, ocp.model.x[1] ** 2)
    rules.lh, rules.uh = np.array([-50.0, -50.0]), np.array([4.0, 0.1])
    rules.idxsh = np.array([1])
    cost.zl = cost.zu = np.array([0.8])
    cost.Zl = cost.Zu = np.zeros(1)


def _linear_rows(ocp: Any) -> None:
    rules = ocp.constraints
    rules.C, rules.D = np.array([[0.0, 1.0]]), np.array([[0.2]])
    rules.lg, rules.ug = np.array([-0.6]), np.array([0.5])


@pytest.mark.filterwarnings("ignore:the task holds hard constraints")
@pytest.mark.parametrize("change", [None, _external, _discrete, _state_bounds, _soft_row, _linear_rows])
def test_a_problem_of_acados_and_its_task_have_one_solution(
    acados: Acados, ocp: Any, change: Callable[[Any], None] | None, tmp_path: Path
) -> None:
    if change is not None:
        change(ocp)
    ocp.model.name = "spring" if change is None else f"spring{change.__name__}"
    task = from_acados(ocp)
    assert _ours(task) == pytest.approx(_inputs(acados, ocp, tmp_path), abs=2e-5)


def test_the_parts_of_a_task_from_acados(ocp: Any) -> None:
    _soft_row(ocp)
    _state_bounds(ocp)
    ocp.constraints.ubx = ocp.constraints.ubx_e = np.array([1e15])  # which is no bound for acados
    with pytest.warns(UserWarning, match="last state"):
        task = from_acados(ocp)
    assert (task.dt, task.steps, task.substeps, task.integrator, task.name) == (0.1, 20, 2, "rk4", "spring")
    assert task.plant.state.names == ("position", "speed")
    assert task.plant.parameters == {"mass": 2.0}
    x_ref, u_ref = task.reading.start
    assert x_ref == pytest.approx([0.3, 0.0])
    assert u_ref == pytest.approx([2.0 * np.sin(0.3)])
    assert task.initial.mean(task.plant.state).tolist() == [1.0, 0.0]
    by_name = {constraint.name: constraint for constraint in task.constraints}
    assert set(by_name) == {"force bounds", "speed bounds", "h_0", "h_1"}
    speed = by_name["speed bounds"]
    assert isinstance(speed, Box)
    assert tuple(speed.bounds["speed"]) == (-0.4, np.inf)
    soft = by_name["h_1"].requirement
    assert isinstance(soft, Soft)
    assert soft.weight == pytest.approx(0.08)  # for a tenth of a second


def _implicit(ocp: Any) -> None:
    ocp.solver_options.integrator_type = "IRK"


def _nonlinear_squares(ocp: Any) -> None:
    ocp.cost.cost_type = "NONLINEAR_LS"


def _quadratic_penalty(ocp: Any) -> None:
    _soft_row(ocp)
    ocp.cost.Zl = np.ones(1)


def _one_sided_penalty(ocp: Any) -> None:
    _soft_row(ocp)
    ocp.cost.zl = np.ones(1)


def _uneven(ocp: Any) -> None:
    ocp.solver_options.time_steps = np.linspace(0.05, 0.15, 20)


def _free_start(ocp: Any) -> None:
    ocp.constraints.lbx_0 = np.array([0.9, 0.0])


def _other_first_cost(ocp: Any) -> None:
    cost = ocp.cost
    cost.cost_type_0, cost.W_0, cost.yref_0 = "LINEAR_LS", 2.0 * cost.W, cost.yref
    cost.Vx_0, cost.Vu_0 = cost.Vx, cost.Vu


def _end_bound(ocp: Any) -> None:
    rules = ocp.constraints
    rules.idxbx_e, rules.lbx_e, rules.ubx_e = np.array([0]), np.zeros(1), np.zeros(1)


def _end_row(ocp: Any) -> None:
    ocp.model.con_h_expr_e = ocp.model.x[0]
    ocp.constraints.lh_e = ocp.constraints.uh_e = np.zeros(1)


def _algebraic(ocp: Any) -> None:
    ocp.model.z = ca.SX.sym("z")


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (_implicit, "f_expl_expr"),
        (_nonlinear_squares, "EXTERNAL"),
        (_quadratic_penalty, "Zl and Zu to zero"),
        (_one_sided_penalty, "same number"),
        (_uneven, "one sample time"),
        (_free_start, "x0"),
        (_other_first_cost, "cost_type_0"),
        (_end_bound, "terminal cost"),
        (_end_row, "terminal cost"),
        (_algebraic, "solve for them"),
    ],
)
def test_what_a_task_has_not_is_refused_with_how_to_write_it(ocp: Any, change: Callable[[Any], None], how: str) -> None:
    change(ocp)
    with pytest.raises(NotApplicable, match=how):
        from_acados(ocp)


def test_misuse_of_problems_is_refused(ocp: Any) -> None:
    with pytest.raises(InvalidValue, match="AcadosOcp"):
        from_acados(object())
    ocp.parameter_values = np.zeros(3)
    with pytest.raises(InvalidValue, match="parameter_values"):
        from_acados(ocp)
    ocp.parameter_values, ocp.dims.N = np.zeros(1), 20
    ocp.cost.yref = np.zeros(2)
    with pytest.raises(InvalidValue, match="do not fit"):
        from_acados(ocp)
