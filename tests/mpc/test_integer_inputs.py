"""Integer inputs: branch and bound against enumeration, discrete actions, and who refuses."""

from __future__ import annotations

import dataclasses
import itertools

import cvxpy as cp
import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from ctrl import LQR, NotApplicable, Status
from ctrl.export.code import NotExportable
from mpc import ExplicitMPC, LinearMPC, MoveBlocking, NonlinearMPC
from mpc.nonlinear.integer_search import IntegerSearch
from mpc.solvers.branch_and_bound import BranchAndBound
from mpc.solvers.qp import QPSolver, Solution
from safe_rl import SAC
from systems import Box, Fixed, InvalidValue, LinearPlant, Quadratic, Signals, Soft, Task, integer, signals
from systems.inputs import limit_changes


def random_task(seed: int, horizon: int, inputs: Signals, most: int) -> Task:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(2, 2))
    A *= rng.uniform(0.5, 1.1) / np.abs(np.linalg.eigvals(A)).max()
    plant = LinearPlant(
        A, rng.normal(size=(2, len(inputs))), dt=1.0, input=inputs, input_limits=((-1, most),) * len(inputs)
    )
    cost = Quadratic(Q=rng.uniform(0.1, 1, 2), R=rng.uniform(0.01, 0.3, len(inputs)))
    wall = Box("wall", {"x1": (-2.5, 2.5)})
    constraints = (wall.soft(3.0),) if seed % 2 else (wall,)
    return Task("random", plant, 1.0, 20, cost, Fixed(rng.uniform(-2, 2, 2)), constraints=constraints)


def cost_of(task: Task, P: np.ndarray, x: np.ndarray, inputs: np.ndarray) -> float:
    """Of a plan; infinite where it breaks a hard constraint."""
    plant, total = task.plant, 0.0
    Q, R, _ = task.cost.matrices(plant)
    weight = getattr(task.constraints[0].requirement, "weight", np.inf)
    for u in inputs:
        total += x @ Q @ x + u @ R @ u
        x = plant.A @ x + plant.B @ u
        outside = max(abs(x[0]) - 2.5, 0.0)
        total += weight * outside if outside > 1e-9 else 0.0
    return float(total + x @ P @ x)


def check_plan(controller: LinearMPC, best: float, x: np.ndarray) -> None:
    decision = controller.step(x, 0)
    if not np.isfinite(best):
        assert decision.status == "infeasible"
        return
    assert decision.status == "solved"
    assert controller.plan is not None
    whole = [i for i, signal in enumerate(controller.task.plant.input) if signal.integer]
    assert np.abs(controller.plan.u[:, whole] - np.round(controller.plan.u[:, whole])).max() < 1e-6
    assert np.array_equal(decision.input[whole], np.round(decision.input[whole]))
    found = cost_of(controller.task, controller._source.P, x, controller.plan.u)
    assert found == pytest.approx(best, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("seed", range(40))
def test_the_optimum_is_that_of_enumeration(seed: int) -> None:
    inputs = signals(integer("a"), integer("b")) if seed % 4 == 3 else signals(integer("a"))
    horizon, most = (3, 0) if len(inputs) == 2 else (4, 1)
    task = random_task(seed, horizon, inputs, most)
    controller = LinearMPC(task, horizon)
    x = task.initial.mean(task.plant.state)
    values = range(-1, most + 1)
    plans = itertools.product(values, repeat=horizon * len(inputs))
    P = controller._source.P
    best = min(cost_of(task, P, x, np.reshape(plan, (horizon, -1))) for plan in plans)
    check_plan(controller, best, x)


@pytest.mark.parametrize("seed", range(40, 50))
def test_the_optimum_is_that_of_enumeration_beside_a_continuous_input(seed: int) -> None:
    task, horizon = random_task(seed, 3, signals(integer("a"), "b"), 1), 3
    controller = LinearMPC(task, horizon)
    x0, best = task.initial.mean(task.plant.state), np.inf
    Q, R, _ = task.cost.matrices(task.plant)
    x, u, whole = cp.Variable((4, 2)), cp.Variable((3, 2)), cp.Parameter(3)
    cost, rows = cp.quad_form(x[3], cp.psd_wrap(controller._source.P)), [x[0] == x0, u[:, 0] == whole, cp.abs(u) <= 1]
    for k in range(3):
        cost += cp.quad_form(x[k], Q) + cp.quad_form(u[k], R)
        rows.append(x[k + 1] == task.plant.A @ x[k] + task.plant.B @ u[k])
        outside = cp.pos(cp.abs(x[k + 1, 0]) - 2.5)
        if seed % 2:
            cost += 3.0 * outside
        else:
            rows.append(outside <= 0)
    problem = cp.Problem(cp.Minimize(cost), rows)
    for values in itertools.product((-1, 0, 1), repeat=3):
        whole.value = np.array(values, dtype=float)
        problem.solve(solver=cp.CLARABEL)
        best = min(best, problem.value if problem.status == "optimal" else np.inf)
    check_plan(controller, best, x0)


SWITCH = Task(
    "switch",
    LinearPlant([[0.9]], [[1.0]], dt=1.0, input=signals(integer("heater [-]")), input_limits=((0.0, 1.0),)),
    1.0,
    20,
    Quadratic(Q=[1.0], R=[0.1]),
    Fixed([-3.2]),
)


def test_a_search_that_is_stopped_states_its_gap() -> None:
    task = dataclasses.replace(SWITCH, cost=Quadratic(Q=[1.0], R=[3.0]))
    controller, x = LinearMPC(task, 12), np.array([-5.5])
    solver = controller.solver
    assert isinstance(solver, BranchAndBound)
    controller.step(x, 0)
    assert solver.gap == 0.0
    assert controller.plan is not None
    P = controller._source.P

    def cost(inputs: np.ndarray) -> float:
        state, total = -5.5, 0.0
        for u in inputs[:, 0]:
            total += state**2 + 3.0 * u**2
            state = 0.9 * state + u
        return float(total + P[0, 0] * state**2)

    best, needed = cost(controller.plan.u), solver.nodes
    gaps = []
    for most in range(13, needed):
        solver._max = most
        decision = controller.step(x, 0)
        assert decision.status == "max_iterations"
        assert decision.source == "suboptimal"
        assert cost(controller.plan.u) - best <= solver.gap + 1e-6
        gaps.append(solver.gap)
    assert min(gaps) >= 0.0
    assert max(gaps) > 1e-3


def test_blocks_and_limits_on_changes_go_with_integers() -> None:
    task = limit_changes(SWITCH, None, [2.0])
    controller = LinearMPC(task, 8, blocking=MoveBlocking((1, 2, 2)))
    controller.step(np.array([-3.3, 0.0]), 0)
    assert controller.plan is not None
    assert len(set(np.round(controller.plan.u[3:, 0], 6))) == 1
    costs = {}
    for moves in itertools.product((0, 1), repeat=3):
        u = np.repeat(moves, (1, 2, 5))
        x, before, cost = -3.3, 0.0, 0.0
        for v in u:
            cost += x**2 + 0.1 * v**2 + 2.0 * (v - before) ** 2
            x, before = 0.9 * x + v, v
        last = np.array([x, before])
        costs[moves] = cost + last @ controller._source.P @ last
    assert tuple(np.round(controller.plan.u[[0, 1, 3], 0]).astype(int)) == min(costs, key=costs.__getitem__)


def test_actions_are_discrete() -> None:
    env = SWITCH.env()
    assert env.action_space == spaces.Discrete(2, start=0)
    check_env(env, skip_render_check=True)
    two = dataclasses.replace(
        SWITCH,
        plant=LinearPlant(
            [[0.9]], [[1.0, 0.5]], dt=1.0, input=signals(integer("a"), integer("b")), input_limits=((-2, 1), (0, 3.5))
        ),
        cost=Quadratic(Q=[1.0], R=[0.1, 0.1]),
    )
    assert two.env().action_space == spaces.MultiDiscrete([4, 4], start=[-2, 0])
    check_env(two.env(), skip_render_check=True)
    _ = env.reset(options={"state": [-3.0]})
    observed, *_ = env.step(1)
    assert np.allclose(observed, [-2.7 + 1.0])
    mixed = dataclasses.replace(two, plant=dataclasses.replace(two.plant, input=signals(integer("a"), "b")))
    with pytest.raises(InvalidValue, match="integer and continuous inputs"):
        mixed.env()
    assert isinstance(env, gymnasium.Env)


def test_who_does_not_take_them_says_so() -> None:
    for make in (LQR, ExplicitMPC):
        with pytest.raises(NotApplicable, match=r"integer|whole numbers"):
            make(SWITCH)
    with pytest.raises(InvalidValue, match="whole numbers"):
        SAC(SWITCH)
    with pytest.raises(InvalidValue, match="whole numbers"):
        SWITCH.vector_env(2)
    with pytest.raises(NotApplicable, match="leave solver out"):
        LinearMPC(SWITCH, 5, solver="piqp")
    with pytest.raises(NotApplicable, match="leave terminal out"):
        LinearMPC(SWITCH, 5, terminal="set")
    with pytest.raises(NotExportable, match="integer"):
        LinearMPC(SWITCH, 5).c_code(5)
    free = dataclasses.replace(SWITCH, plant=LinearPlant([[0.9]], [[1.0]], dt=1.0, input=signals(integer("heater"))))
    with pytest.raises(NotApplicable, match="two limits"):
        LinearMPC(free, 5)


def test_a_state_that_is_not_measured_still_gives_a_whole_number() -> None:
    decision = LinearMPC(SWITCH, 5).step(np.array([np.nan]), 0)
    assert decision.input[0] in (0.0, 1.0)


def test_other_limits_are_searched_after_a_change() -> None:
    controller = LinearMPC(SWITCH, 5)
    assert controller.step(np.array([-3.3]), 0).input == [1.0]
    controller.set_constraints([Box("off", {"heater": (0.0, 0.5)})])
    assert controller.step(np.array([-3.3]), 1).input == [0.0]


@pytest.mark.parametrize("x", [-5.5, -2.0])
def test_local_search_comes_near_the_optimum_and_states_its_gap(x: float) -> None:
    task = dataclasses.replace(SWITCH, cost=Quadratic(Q=[0.01], R=[0.03]))
    exact, local = LinearMPC(task, 5), NonlinearMPC(task, 5)
    P = exact._source.P

    def cost(inputs: np.ndarray) -> float:
        state, total = x, 0.0
        for u in inputs[:, 0]:
            total += 0.01 * state**2 + 0.03 * u**2
            state = 0.9 * state + u
        return float(total + P[0, 0] * state**2)

    exact.step(np.array([x]), 0)
    decision = local.step(np.array([x]), 0)
    assert decision.status == "solved"
    assert decision.input[0] in (0.0, 1.0)
    assert exact.plan is not None
    assert local.plan is not None
    assert np.abs(local.plan.u - np.round(local.plan.u)).max() < 1e-6
    best, found = cost(np.round(exact.plan.u)), cost(np.round(local.plan.u))
    assert best - 1e-6 <= found <= 1.02 * best
    assert isinstance(local.solver, IntegerSearch)
    gap = local.solver.gap
    assert found - best <= gap + 1e-5
    relaxed = dataclasses.replace(task, plant=dataclasses.replace(task.plant, input=signals("heater")))
    free = LinearMPC(relaxed, 5, terminal="cost")
    free.step(np.array([x]), 0)
    assert free.plan is not None
    assert found - cost(free.plan.u) == pytest.approx(gap, abs=1e-4)


@pytest.mark.parametrize(
    ("bounds", "rates", "before", "wished", "expected"),
    [
        ((0.0, 3.6), 9.0, 0.0, 5.0, 3.0),  # and not 4, to which 3.6 is rounded
        ((-3.6, 0.0), 9.0, 0.0, -5.0, -3.0),
        ((0.0, 3.0 - 1e-10), 9.0, 0.0, 5.0, 3.0),
        ((0.0, 4.0), 1.6, 0.0, 4.0, 1.0),
        ((0.0, 4.0), 1.6, 4.0, 0.0, 3.0),
        ((0.0, 4.0), 2.0, 4.0, 0.0, 2.0),
        ((0.0, 4.0), 1.6, 2.0, 2.6, 3.0),
    ],
)
def test_fallbacks_are_whole_numbers_within_all_limits(
    bounds: tuple[float, float], rates: float, before: float, wished: float, expected: float
) -> None:
    plant = LinearPlant([[0.9]], [[1.0]], dt=1.0, input=signals(integer("heater [-]")), input_limits=(bounds,))
    task = limit_changes(dataclasses.replace(SWITCH, plant=plant), {"heater": rates})
    controller = LinearMPC(task, 3)
    source = controller._fallback
    controller._fallback_input = lambda x, k: (np.array([wished]), source)  # type: ignore[method-assign,assignment,return-value]
    assert controller._clipped_fallback(np.array([-3.0, before]), 0)[0] == [expected]


class Failing:
    """A quadratic back-end that finds no point where the whole number is at least one."""

    def __init__(self, solver: QPSolver, row: int) -> None:
        self.solver, self.problem, self._row, self._first = solver, solver.problem, row, np.inf

    def solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Solution:
        solution = self.solver.solve(f, lower, upper)
        self._first = min(self._first, lower[self._row])  # of the root
        if lower[self._row] == self._first:
            return solution
        return dataclasses.replace(solution, status=Status.NUMERICAL, residual=np.inf)


def test_local_search_takes_back_what_rounding_added() -> None:
    task, x = dataclasses.replace(SWITCH, cost=Quadratic(Q=[0.01], R=[0.03])), np.array([-4.02])
    exact, local = LinearMPC(task, 3), NonlinearMPC(task, 3)
    exact.step(x, 0)
    local.step(x, 0)
    assert exact.plan is not None
    assert local.plan is not None
    np.testing.assert_allclose(local.plan.u[:, 0], [1.0, 1.0, 0.0], atol=1e-6)  # the relaxation is 1, 0.93, 0.51
    np.testing.assert_allclose(exact.plan.u, local.plan.u, atol=1e-6)


def test_soft_constraints_decide_between_whole_numbers() -> None:
    weight, x = 15.0, -2.2
    warm = Box("warm", {"x1": (-1.0, 50.0)}, requirement=Soft(weight))
    task = dataclasses.replace(SWITCH, cost=Quadratic(Q=[1.0], R=[20.0]), constraints=(warm,))
    controller = LinearMPC(task, 1)
    P, after = controller._source.P[0, 0], 0.9 * x + np.arange(2.0)
    paid, outside = 20.0 * np.arange(2.0) + P * after**2, np.maximum(-1.0 - after, 0.0)
    assert (paid + 0.6 * weight * outside).argmin() == 0  # so that the whole weight matters
    assert (paid + weight * outside).argmin() == 1
    assert controller.step(np.array([x]), 0).input == [1.0]


def test_a_bound_that_misses_a_whole_number_by_rounding_allows_it() -> None:
    plant = dataclasses.replace(SWITCH.plant, input_limits=((0.0, 1.0 - 1e-10),))
    assert LinearMPC(dataclasses.replace(SWITCH, plant=plant), 5).step(np.array([-3.3]), 0).input == [1.0]


def test_a_part_of_the_search_that_failed_stays_in_the_gap() -> None:
    controller = LinearMPC(SWITCH, 1)
    search = controller.solver
    assert isinstance(search, BranchAndBound)
    x = np.array([-0.9])
    assert controller.step(x, 0).input == [1.0]
    P = controller._source.P[0, 0]
    costs = [v**2 * 0.1 + P * (0.9 * x[0] + v) ** 2 for v in (0.0, 1.0)]
    search.solver = Failing(search.solver, int(search._rows[0]))  # type: ignore[assignment]
    decision = controller.step(x, 0)
    assert decision.status == "numerical"
    assert search.gap >= costs[0] - costs[1] > 0.1
