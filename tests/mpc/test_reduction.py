"""MPC among agents with modes: the program against CVXPY, the reduced optimum, chances by Monte Carlo, closed loops."""

from __future__ import annotations

import dataclasses
import pickle
from itertools import product
from typing import Any

import casadi as ca
import cvxpy as cp
import numpy as np
import pytest
from scipy.stats import binomtest, norm

from ctrl import NotApplicable, Source, Status, simulate
from mpc import EveryConstraint, LastActiveSet, MultiModalMPC
from mpc.reduction.generation import solve_by_generation, solve_with
from mpc.reduction.mode_filter import ModeFilter
from mpc.reduction.model import multimodal_model
from mpc.reduction.predictors import Situation
from mpc.reduction.program import SampleProgram
from mpc.reduction.responses import responses
from systems import Box, Fixed, Gaussian, Inequality, InvalidValue, Quadratic, Uniform
from systems.library import cartpole, intersection
from systems.library.intersection import USERS

TASK = intersection()
MODEL = multimodal_model(TASK, 0.2)
REFERENCE = np.array(MODEL.cost.gradient(*TASK.reference.at(TASK.plant, 0)))[:, 0]
QUIET = np.zeros(3)
CLOSE = np.array([-20.0, 8.0, -11.0, 9.0, -16.0, 9.0, -5.0, 3.0])
"""A state in which constraints of several road users are active."""


def scene(seed: int) -> np.ndarray:
    """A random state near the intersection."""
    rng = np.random.default_rng(seed)
    return np.array(
        [
            rng.uniform(-30.0, 0.0), rng.uniform(3.0, 10.0), rng.uniform(-30.0, 0.0), rng.uniform(5.0, 10.0),
            rng.uniform(-30.0, 0.0), rng.uniform(5.0, 10.0), rng.uniform(-12.0, 0.0), rng.uniform(1.0, 5.0),
        ]
    )  # fmt: skip


def program(
    x: np.ndarray, horizon: int, probabilities: tuple[np.ndarray, ...] = MODEL.prior, penalty: float = np.inf
) -> SampleProgram:
    gradients = np.tile(REFERENCE, (horizon + 1, 1))
    gradients[-1, 2:] = 0.0
    around = np.array([[x[0] + 0.2 * t * x[1], x[1]] for t in range(horizon + 1)])
    return SampleProgram(MODEL, responses(MODEL, horizon), x, probabilities, gradients, around, penalty)


class ByHand:
    """The same program for CVXPY, from recursions over the plant's own steps, one joint mode after the other."""

    def __init__(self, x: np.ndarray, N: int, probabilities: tuple[np.ndarray, ...]) -> None:
        self.h = cp.Variable(N)
        self.K = {(k, j): cp.Variable((N, 2)) for k, p in enumerate(probabilities) for j in range(len(p)) if p[j] > 0}
        rules, risk = [self.h <= 2.0, self.h >= -5.0], 0.03 * 0.8 / 3
        cost: Any = 0.0
        for joint in product(*(np.flatnonzero(p).tolist() for p in probabilities)):
            weight = float(np.prod([p[j] for p, j in zip(probabilities, joint, strict=True)]))
            values = {f"intention_{user.name}": j + 0.5 for user, j in zip(USERS, joint, strict=True)}
            plant = TASK.plant.with_parameters(values)
            f = dataclasses.replace(TASK.dynamics, plant=plant).function()

            def step(x: np.ndarray, u: float = 0.0, w: np.ndarray = QUIET) -> np.ndarray:
                return np.array(f(x, u, w, []))[:, 0]  # noqa: B023

            zero = step(np.zeros(8))
            A = np.array([step(e) - zero for e in np.eye(8)]).T
            B = step(np.zeros(8), 1.0) - zero
            L = np.array([step(np.zeros(8), 0.0, w) - zero for w in np.eye(3)]).T * [1.0, 1.0, 0.5]
            mean, ego, spread = x, x[:2], np.zeros((8, 3 * N))  # of the agents; of the ego under h
            follow = np.zeros((2, 3 * N))  # deviation of the ego, per noise
            for t in range(N):
                u = sum(self.K[k, j][t] @ spread[2 + 2 * k : 4 + 2 * k] for k, j in enumerate(joint))
                cost += weight * (cp.sum_squares(u) + cp.square(ego[1] - 9.0) + cp.square(self.h[t]))
                cost += weight * cp.sum_squares(follow[1])
                follow = A[:2, :2] @ follow + cp.reshape(B[:2], (2, 1), order="C") @ cp.reshape(
                    u, (1, 3 * N), order="C"
                )
                ego = A[:2, :2] @ ego + B[:2] * self.h[t]
                mean = A @ mean + zero
                spread = A @ spread
                spread[:, 3 * t : 3 * t + 3] += L
                spread[:2] = 0.0
                rules += [ego[1] >= 0.0, ego[1] <= 12.0]
                for k, user in enumerate(USERS):
                    axes = np.array(user.half_axes)
                    place = np.array([x[0] + 0.2 * (t + 1) * x[1] - user.crosses_at, mean[2 + 2 * k]]) / axes
                    n = place / np.linalg.norm(place) / axes
                    clear = n[0] * (ego[0] - user.crosses_at) + n[1] * mean[2 + 2 * k] - 1.0
                    rules.append(norm.isf(risk) * cp.norm(n[0] * follow[0] + n[1] * spread[2 + 2 * k]) <= clear)
            cost += weight * (cp.square(ego[1] - 9.0) + cp.sum_squares(follow[1]))
        self.cost = cost
        self.problem = cp.Problem(cp.Minimize(cost), rules)
        self.problem.solve(solver=cp.CLARABEL)


@pytest.mark.parametrize(
    "probabilities",
    [(np.array([0.7, 0.3]), np.array([1.0, 0.0]), np.array([0.2, 0.0, 0.5, 0.3])),
     (np.array([0.1, 0.9]), np.array([0.0, 1.0]), np.array([1.0, 0.0, 0.0, 0.0]))],
)  # fmt: skip
@pytest.mark.every(2)
def test_program_is_the_one_written_out_by_hand(probabilities: tuple[np.ndarray, ...]) -> None:
    N = 9
    judge = ByHand(CLOSE, N, probabilities)
    assert judge.problem.status == "optimal"
    own = program(CLOSE, N, probabilities)
    optimum = solve_by_generation(own, np.zeros(0, dtype=int))
    assert optimum.status is Status.SOLVED
    assert len(optimum.active)
    np.testing.assert_allclose(own.plan(optimum.z)[1][:, 0], judge.h.value, atol=2e-4)
    free = (CLOSE[1] - 9.0) ** 2  # of the first state, which no decision changes
    nothing = np.zeros(own.size)
    judge.h.value = np.zeros(N)
    optimal = judge.problem.value
    for K in judge.K.values():
        K.value = np.zeros((N, 2))
    assert optimal - float(judge.cost.value) == pytest.approx(
        2.0 * 0.5 * (own.objective(optimum.z) - own.objective(nothing)), abs=1e-4 * (1.0 + free)
    )


@pytest.mark.parametrize("seed", range(6))
def test_optimum_is_that_of_the_full_program(seed: int) -> None:
    own = program(scene(seed), 10)
    full = solve_with(own, own.every, 100, 60.0)
    for predicted in (np.zeros(0, dtype=int), np.array([7, 9, 200])):
        reduced = solve_by_generation(own, predicted)
        assert reduced.status is full.status
        if full.status is Status.SOLVED:
            assert len(reduced.imposed) < len(own.every) / 4
            assert own.objective(reduced.z) == pytest.approx(own.objective(full.z), rel=1e-6, abs=1e-5)
            np.testing.assert_allclose(own.plan(reduced.z)[1], own.plan(full.z)[1], atol=1e-4)
            assert own.violations(reduced.z).max() <= 2e-6
            again = solve_by_generation(own, reduced.active)
            assert again.rounds == 1 or set(again.imposed) - set(reduced.active)


@pytest.mark.parametrize(("violation", "is_imposed"), [(0.7e-6, False), (1.4e-6, True)])
def test_a_cone_is_imposed_that_is_violated_by_more_than_a_millionth(violation: float, is_imposed: bool) -> None:
    """A program whose optimum without cones violates one of them by so much, in the half axes' unit, and no other."""
    own, none = program(CLOSE, 6), np.zeros(0, dtype=int)
    free, cone = solve_with(own, none, 100, 60.0), int(own.every[40])
    clear = own._clear.ravel()
    clear += 1e3
    clear[cone] += own.violations(free.z)[cone] - violation
    assert own.violations(free.z)[cone] == pytest.approx(violation, rel=1e-3)
    assert (own.violations(free.z) > 0.0).sum() == 1
    optimum = solve_by_generation(own, none)
    assert optimum.status is Status.SOLVED
    assert optimum.imposed.tolist() == ([cone] if is_imposed else [])
    assert optimum.rounds == 1 + is_imposed


def test_violations_are_those_of_the_solver_for_every_cone() -> None:
    """The vectorised check against the rows that the solver is given, at a random point."""
    own = program(scene(3), 6)
    z = np.random.default_rng(0).normal(size=own.size)
    cones = own.cones(own.every)
    values = cones.right - cones.matrix @ z
    parts = np.split(values, np.cumsum(cones.sizes)[:-1])
    expected = [np.linalg.norm(part[1:]) - part[0] for part in parts]
    np.testing.assert_allclose(own.violations(z)[own.every], expected, rtol=1e-10, atol=1e-10)


def test_chances_are_kept_by_the_plan_with_its_feedback() -> None:
    """The policy of one program on drawn noise, in each of its joint modes: every half-space, and the ellipses."""
    N, runs = 10, 40_000
    likely = np.array([0.6, 0.4]), np.array([1.0, 0.0]), np.array([0.0, 0.0, 0.7, 0.3])
    own = program(CLOSE, N, likely)
    optimum = solve_by_generation(own, np.zeros(0, dtype=int))
    assert optimum.status is Status.SOLVED
    _, h = own.plan(optimum.z)
    risk = 0.03 * 0.8 / 3
    rng, nearest = np.random.default_rng(0), 0.0
    for j in np.unique(np.unravel_index(own.every, (3, len(own.joint), N))[1]):
        modes = own.joint[j]
        values = {f"intention_{user.name}": mode + 0.5 for user, mode in zip(USERS, modes, strict=True)}
        f = dataclasses.replace(TASK.dynamics, plant=TASK.plant.with_parameters(values)).lower("numpy")
        gains = [own.gains(optimum.z, k, int(mode)) for k, mode in enumerate(modes)]
        x = np.repeat(CLOSE[None], runs, axis=0)
        for t in range(N):
            u = np.repeat(h[t][None], runs, axis=0)
            for k, mode in enumerate(modes):
                u = u + (x[:, MODEL.agents[k]] - own.means[k][mode][t]) @ gains[k][t].T
            w = rng.standard_normal((runs, 3)) * [1.0, 1.0, 0.5]
            x = f(x, u, w, np.zeros((runs, 0)))
            for i in range(3):
                outside = own.normals[i, j, t] @ x.T < own._offsets[i, j, t]
                assert binomtest(int(outside.sum()), runs, risk, "greater").pvalue > 1e-5
                nearest = max(nearest, outside.mean() / risk)
            gaps = TASK.margin_function()
            entered = np.array(gaps(x[:2000].T, np.zeros((1, 2000)))[1]).ravel() > 0.0
            assert binomtest(int(entered.sum()), 2000, 3.0 * risk, "greater").pvalue > 1e-5
    assert nearest > 0.75  # the active ones use their risk


def test_filter_of_modes_is_bayes_rule() -> None:
    own = ModeFilter(MODEL)
    rng = np.random.default_rng(0)
    f = TASK.dynamics.lower("numpy")  # crosses, crosses, rides
    x, expected = CLOSE.copy(), [np.log(p) for p in MODEL.prior]
    own.update(x, 0)
    for k in range(1, 4):
        after = f(x, np.zeros(1), rng.standard_normal(3), np.zeros(0))
        for i, (where, modes) in enumerate(zip(MODEL.agents, MODEL.modes, strict=True)):
            for j, mode in enumerate(modes):
                law = norm(float((mode.A @ x[where] + mode.c)[1]), abs(float(mode.L[1, 0])))  # position adds nothing
                expected[i][j] += float(law.logpdf(after[where][1]))
        x = after
        given = own.update(x, k)
        for p, logs in zip(given, expected, strict=True):
            np.testing.assert_allclose(p, np.exp(logs) / np.exp(logs).sum(), atol=2e-5)
    fresh = ModeFilter(MODEL)
    fresh.update(CLOSE, 0)
    fresh.update(x, 2)  # a sample is missing in between
    assert all(np.array_equal(a, b) for a, b in zip(MODEL.prior, fresh.probabilities, strict=True))


def test_modes_are_left_out_up_to_their_risk() -> None:
    own = ModeFilter(MODEL)
    share = MODEL.mode_risk / 3
    assert pytest.approx(0.2 * 0.03 / 3) == share
    own.probabilities = (
        np.array([1.0 - 0.9 * share, 0.9 * share]),
        np.array([1.0 - 1.1 * share, 1.1 * share]),
        np.array([0.6 * share, 0.5 * share, 1.0 - 1.1 * share, 0.0]),
    )
    likely = own.likely()
    assert [(p > 0).tolist() for p in likely] == [[True, False], [True, True], [True, False, True, False]]
    assert all(p.sum() == pytest.approx(1.0) for p in likely)


def test_last_active_set_is_moved_to_its_times() -> None:
    shape = (3, 16, 5)
    numbers = np.ravel_multi_index(([0, 2, 1], [3, 15, 0], [0, 1, 4]), shape)
    moved = LastActiveSet().predict(Situation(CLOSE, MODEL.prior, shape, numbers, 1))
    assert sorted(moved) == sorted(np.ravel_multi_index(([2, 1], [15, 0], [0, 3]), shape))


def test_full_and_reduced_controllers_drive_alike() -> None:
    rng = np.random.default_rng(5)
    task = dataclasses.replace(TASK, steps=8)
    start = task.initial.sample(task.plant.state, rng, (1,))
    noise = task.disturbance.sample(task.plant.disturbance, rng, (1, 8))
    runs = [
        simulate(task, MultiModalMPC(task, 8, predictor), start, noise, parameters=np.array([[1.5, 0.5, 2.5]]))
        for predictor in (None, EveryConstraint())
    ]
    np.testing.assert_allclose(runs[0].inputs, runs[1].inputs, atol=1e-4)


def test_bad_numbers_give_an_input_and_a_status() -> None:
    controller = MultiModalMPC(TASK, 6)
    x = TASK.initial.sample(TASK.plant.state, np.random.default_rng(0))
    assert controller.step(x, 0).status is Status.SOLVED
    for bad in (np.full(8, np.nan), np.full(8, 1e200), x * np.inf):
        decision = controller.step(bad, 1)
        assert decision.status is not Status.SOLVED
        assert -5.0 <= decision.input[0] <= 2.0
    assert controller.step(x, 2).status is Status.SOLVED


def test_what_cannot_be_kept_is_violated_least() -> None:
    """A car 6 m from the crossing, another on it, at 9 m/s: nothing helps, and the ego brakes fully."""
    controller = MultiModalMPC(TASK, 10)
    x = np.array([-7.0, 9.0, -7.0, 9.0, 20.0, 9.0, 9.0, 3.0])
    decision = controller.step(x, 0)
    assert decision.status is Status.INFEASIBLE
    assert decision.source is Source.SUBOPTIMAL
    assert decision.input[0] in (pytest.approx(-5.0, abs=0.01), pytest.approx(2.0, abs=0.01))
    assert controller.plan is not None


def test_a_first_plan_is_not_bound_to_the_path_of_the_reference() -> None:
    """At constant speed the ego would pass between two cars; linearised there, no plan brakes in front of them."""
    x = np.array([-23.7, 8.9, -25.1, 7.5, -21.5, 8.0, -8.9, 2.9])
    around = program(x, 14)
    assert solve_by_generation(around, np.zeros(0, dtype=int)).status is Status.INFEASIBLE
    assert MultiModalMPC(TASK).step(x, 0).status is Status.SOLVED


def test_time_limit_stops_a_step() -> None:
    controller = MultiModalMPC(TASK, 10, time_limit=1e-9)
    decision = controller.step(CLOSE, 0)
    assert decision.status is Status.TIMEOUT
    assert decision.source is Source.BACKUP


def test_insufficient_iterations_are_reported() -> None:
    decision = MultiModalMPC(TASK, 10, max_iterations=2).step(CLOSE, 0)
    assert decision.status is Status.MAX_ITERATIONS


def test_a_copy_has_no_past() -> None:
    controller = MultiModalMPC(TASK, 6)
    controller.step(CLOSE, 0)
    copy = pickle.loads(pickle.dumps(controller))
    assert copy.optimum is None
    assert copy.step(CLOSE, 0).input == pytest.approx(MultiModalMPC(TASK, 6).step(CLOSE, 0).input)
    controller.reset()
    assert controller.optimum is None
    assert all(np.array_equal(a, b) for a, b in zip(controller.probabilities, MODEL.prior, strict=True))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cost": Quadratic(Q={"speed": 1.0}, R={"acceleration": 0.0})}, "positive weight"),
        ({"cost": Quadratic(Q={"speed": 1.0, "along_left": 1.0}, R={"acceleration": 1.0})}, ""),
        ({"constraints": (Box("others", {"along_left": (-99.0, 99.0)}),)}, "states of agents"),
        ({"constraints": (Inequality("inside", lambda x, u: x.position**2 - 1.0).chance(0.9),)}, "not of the form"),
        ({"constraints": (Inequality("cubic", lambda x, u: x.position**3 - 1.0).chance(0.9),)}, "not quadratic"),
        ({"constraints": (Inequality("near", lambda x, u: 1.0 - ca.fabs(x.position)).chance(0.9),)}, "has kinks"),
        ({"constraints": (Box("soft", {"speed": (0.0, 9.0)}).soft(1.0),)}, "soft"),
    ],
)
def test_other_tasks_are_refused_with_a_reason(changes: dict[str, object], why: str) -> None:
    task = dataclasses.replace(TASK, **changes)  # type: ignore[arg-type]
    if not why:  # a cost of agents alone changes nothing
        MultiModalMPC(task, 4)
        return
    with pytest.raises(NotApplicable, match=why):
        MultiModalMPC(task, 4)


def test_a_plant_without_agents_is_refused() -> None:
    with pytest.raises(NotApplicable, match="affine"):
        MultiModalMPC(cartpole())
    with pytest.raises(InvalidValue, match="risk_of_modes"):
        MultiModalMPC(TASK, risk_of_modes=1.0)


def test_noise_that_is_not_normal_is_announced() -> None:
    declared = dict.fromkeys(TASK.plant.disturbance.names, 1.0)
    bounded = Uniform(dict.fromkeys(declared, -1.0), declared)
    task = dataclasses.replace(TASK, disturbance=bounded)
    assert any("normal one" in text for text in MultiModalMPC(task, 4).approximations)
    biased = dataclasses.replace(TASK, disturbance=Gaussian(declared, dict.fromkeys(declared, 0.5)))
    mode = multimodal_model(biased, 0.2).modes[0][0]
    f = TASK.dynamics.function()
    np.testing.assert_allclose(mode.c, np.array(f(0, 0, [0.5] * 3, []))[2:4, 0])


def test_affine_chance_constraints_are_exact() -> None:
    """Certain agents: one stays where it is, and the ego must stop behind it with the given probability."""
    task = dataclasses.replace(
        TASK,
        disturbance=Fixed(),
        constraints=(Inequality("behind", lambda x, u: x.position + 20.0).chance(0.9),),
    )
    controller = MultiModalMPC(task, 10)
    controller.step(np.array([-30.0, 6.0, *CLOSE[2:]]), 0)
    assert controller.plan is not None
    assert controller.plan.x[:, 0].max() == pytest.approx(-20.0, abs=1e-4)
