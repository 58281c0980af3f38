"""The dedicated solver against Clarabel and CVXPY, on random systems and on the steps where first-order methods
fail."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.exact import ExactSolver
from ctrl.controller import NotApplicable, Status
from mpc import HarmonicMPC
from mpc.harmonic.artificial_reference import (
    OffsetWeights,
    TrackingModel,
    equality_program,
    harmonic_program,
    tracking_program,
)
from mpc.harmonic.conic_program import ConicProgram, reduce
from mpc.harmonic.outputs import Outputs
from mpc.solvers.clarabel_socp import ClarabelSolver
from mpc.solvers.harmonic.solver import CompiledSolver
from systems import exact
from tests.mpc.harmonic_problems import (
    START,
    axis,
    axis_controller,
    masses,
    masses_controller,
    resting,
)


def random_model(rng: np.random.Generator, n: int, m: int, radius: float) -> TrackingModel:
    """A random system of this spectral radius; bounds on states, inputs and a mixed output, some of them one-sided."""
    A = rng.normal(size=(n, n))
    A *= radius / np.abs(np.linalg.eigvals(A)).max()
    E = np.vstack([np.eye(n), np.zeros((m, n)), rng.normal(size=(1, n))])
    F = np.vstack([np.zeros((n, m)), np.eye(m), rng.normal(size=(1, m))])
    lower, upper = -rng.uniform(0.5, 2.0, n + m + 1), rng.uniform(0.5, 2.0, n + m + 1)
    upper[rng.random(n + m + 1) < 0.2] = np.inf
    Q, R = np.diag(rng.uniform(0.1, 10.0, n)), np.diag(rng.uniform(0.01, 1.0, m))
    return TrackingModel(A, rng.normal(size=(n, m)), 0.01 * rng.normal(size=n), Outputs(E, F, lower, upper), Q, R)


def random_program(rng: np.random.Generator, n: int, m: int, radius: float) -> tuple[ConicProgram, np.ndarray, float]:
    system = random_model(rng, n, m, radius)
    horizon = max(-(-n // m), 2) + int(rng.integers(0, 6))
    frequency = rng.uniform(0.1, 2.0)
    weights = OffsetWeights(10 * horizon * system.Q, 10 * horizon * system.Q, system.R, system.R / 2)
    bounds = np.array([system.outputs.lower[n : n + m], system.outputs.upper[n : n + m]])
    return harmonic_program(system, horizon, frequency, weights, 1e-4), bounds, frequency


def random_parameter(rng: np.random.Generator, program: ConicProgram, n: int) -> np.ndarray:
    parameter = rng.choice([0.0, 1.0, 3.0]) * rng.normal(size=program.T.shape[1])
    parameter[:n] = rng.choice([0.05, 0.2, 0.5]) * rng.normal(size=n)
    return parameter


def violation(program: ConicProgram, z: np.ndarray) -> float:
    """Largest violation of the inequality constraints, at least 0."""
    mean, sine, cosine = (program.D[j::3] @ z for j in range(3))
    amplitude = np.hypot(sine, cosine) - np.minimum(program.high - mean, mean - program.low)
    rows = np.maximum(program.C @ z - program.upper, program.lower - program.C @ z)
    return float(max(0.0, rows.max(initial=0.0), amplitude.max(initial=0.0)))


def onto_equalities(program: ConicProgram, z: np.ndarray, parameter: np.ndarray) -> np.ndarray:
    """The nearest point that meets the equality constraints."""
    error = program.G @ z - program.B @ parameter - program.b
    return z - np.linalg.lstsq(program.G, error, rcond=None)[0]


@settings(max_examples=60)
@given(
    n=st.integers(1, 12),
    m=st.integers(1, 4),
    radius=st.sampled_from([0.6, 0.95, 1.0, 1.2, 1.5]),
    quick=st.sampled_from([0, 30]),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.slow
def test_never_a_silent_wrong_answer(n: int, m: int, radius: float, quick: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    program, bounds, frequency = random_program(rng, n, m, radius)
    try:
        solver = CompiledSolver(program, (bounds[0], bounds[1]), frequency, quick=quick)
    except NotApplicable:  # some random plants are as good as uncontrollable
        return
    reference = ClarabelSolver(program, (bounds[0], bounds[1]), tolerance=1e-9)
    for i in range(4):
        parameter = random_parameter(rng, program, n)
        status, expected = solver.solve(parameter, min(i, 1)), reference.solve(parameter, 0)
        if status is not Status.SOLVED:
            continue
        assert expected is not Status.INFEASIBLE
        z = solver.point()
        size = 1.0 + np.abs(z).max()
        # Feasible, by the program itself.
        np.testing.assert_allclose(program.G @ z, program.B @ parameter + program.b, atol=1e-8 * size)
        assert violation(program, z) <= 1e-7
        if expected is Status.SOLVED:
            # As good as the reference. A plant that is nearly uncontrollable makes its cost depend so strongly on the
            # equality constraints that the point of the reference must be moved onto them first.
            cost, met = program.cost(z, parameter), onto_equalities(program, reference.point(), parameter)
            if violation(program, met) <= 1e-8:
                assert cost <= program.cost(met, parameter) + 1e-6 * (1.0 + cost)
            if np.abs(met - reference.point()).max() < 1e-7 and np.abs(solver.input - reference.input).max() > 1e-4:
                # By strong convexity it is the same point too; where it is not, the reference is to blame.
                truth = ExactSolver(program).solve(parameter)[program.input_at[0]]
                np.testing.assert_allclose(solver.input, np.clip(truth, *bounds), atol=1e-4)


@pytest.mark.parametrize("radius", [0.6, 1.0, 1.5])
@pytest.mark.every(3)
def test_it_hardly_ever_gives_up(radius: float) -> None:
    rng = np.random.default_rng(7)
    solved = agreed = missed = 0
    for _ in range(25):
        n, m = int(rng.integers(1, 13)), int(rng.integers(1, 5))
        program, bounds, frequency = random_program(rng, n, m, radius)
        try:
            solver = CompiledSolver(program, (bounds[0], bounds[1]), frequency)
        except NotApplicable:
            continue
        reference = ClarabelSolver(program, (bounds[0], bounds[1]), tolerance=1e-9)
        for _ in range(8):
            parameter = random_parameter(rng, program, n)
            status, expected = solver.solve(parameter, 0), reference.solve(parameter, 0)
            if expected is Status.SOLVED:
                solved += 1
                missed += status is not Status.SOLVED
            if expected is Status.INFEASIBLE:
                agreed += status is Status.INFEASIBLE
                assert status is not Status.SOLVED
    assert solved > 100
    assert missed <= 0.02 * solved


def oracle(program: ConicProgram, parameter: np.ndarray) -> tuple[np.ndarray, float]:
    """The same program written in CVXPY."""
    z = cp.Variable(program.S.shape[1])
    constraints = [program.G @ z == program.B @ parameter + program.b]
    up, down = np.isfinite(program.upper), np.isfinite(program.lower)
    constraints += [program.C[up] @ z <= program.upper[up], program.C[down] @ z >= program.lower[down]]
    for i in range(len(program.high)):
        e, s, c = program.D[3 * i : 3 * i + 3]
        amplitude = cp.norm(cp.hstack([s @ z, c @ z]))
        constraints += [amplitude <= program.high[i] - e @ z] if np.isfinite(program.high[i]) else []
        constraints += [amplitude <= e @ z - program.low[i]] if np.isfinite(program.low[i]) else []
    target = program.T @ parameter + program.t
    problem = cp.Problem(cp.Minimize(cp.sum_squares(program.S @ z - target)), constraints)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert problem.status == "optimal"
    return np.array(z.value), float(problem.value)


@pytest.mark.parametrize("kind", ["harmonic", "tracking", "equality"])
def test_against_cvxpy(kind: str) -> None:
    rng = np.random.default_rng(3)
    compared = 0
    for _ in range(12):
        system = random_model(rng, 3, 2, 1.1)
        weights = OffsetWeights(50 * system.Q, 50 * system.Q, system.R, system.R / 2)
        if kind == "harmonic":
            program = harmonic_program(system, 5, 0.4, weights, 1e-4)
        elif kind == "tracking":
            program = tracking_program(system, 5, weights, 1e-4)
        else:
            program = equality_program(system, 5)
        parameter = 0.1 * rng.normal(size=program.T.shape[1])
        solver = CompiledSolver(program, (np.full(2, -np.inf), np.full(2, np.inf)))
        if solver.solve(parameter, 0) is Status.SOLVED:
            z, cost = oracle(program, parameter)
            assert program.cost(solver.point(), parameter) == pytest.approx(cost, rel=1e-7, abs=1e-8)
            np.testing.assert_allclose(solver.input, z[program.input_at[0]], atol=1e-5)
            compared += 1
    assert compared >= 6


@pytest.mark.parametrize("radius", [1.0, 1.5])
def test_long_horizons_of_unstable_plants(radius: float) -> None:
    rng = np.random.default_rng(54)
    system = random_model(rng, 4, 2, radius)
    weights = OffsetWeights(500 * system.Q, 500 * system.Q, system.R, system.R / 2)
    program = harmonic_program(system, 50, 0.4, weights, 1e-4)
    bounds = system.outputs.lower[4:6], system.outputs.upper[4:6]
    solver, reference = CompiledSolver(program, bounds), ClarabelSolver(program, bounds)
    compared = 0
    for _ in range(20):
        parameter = np.concatenate([0.1 * rng.normal(size=4), 0.3 * rng.normal(size=program.T.shape[1] - 4)])
        status, expected = solver.solve(parameter, 0), reference.solve(parameter, 0)
        assert (status is Status.INFEASIBLE) == (expected is Status.INFEASIBLE)
        if status is Status.SOLVED and expected is Status.SOLVED:
            np.testing.assert_allclose(solver.input, reference.input, atol=1e-6)
            z = solver.point()
            np.testing.assert_allclose(program.G @ z, program.B @ parameter + program.b, atol=1e-12)
            compared += 1
    assert compared >= 12


def test_the_default_solver_changes_with_the_size() -> None:
    assert isinstance(HarmonicMPC(masses(), 10, 0.9).solver, CompiledSolver)
    long = HarmonicMPC(masses(), 160, 0.9)
    assert isinstance(long.solver, ClarabelSolver)
    assert long.step(START, 0).status is Status.SOLVED


def test_condensing_an_unstable_plant_over_a_long_horizon_keeps_its_accuracy() -> None:
    rng = np.random.default_rng(0)
    system = random_model(rng, 4, 2, 2.0)  # 2^40 over the horizon
    weights = OffsetWeights(10 * system.Q, 10 * system.Q, system.R, system.R / 2)
    program = harmonic_program(system, 40, 0.3, weights, 1e-4)
    reduced = reduce(program)
    parameter = rng.normal(size=program.T.shape[1])
    z = reduced.Z @ rng.normal(size=reduced.Z.shape[1]) + reduced.Y @ parameter + reduced.y
    np.testing.assert_allclose(program.G @ z, program.B @ parameter + program.b, atol=1e-9)
    hessian = 2.0 * (program.S @ reduced.Z).T @ (program.S @ reduced.Z)
    np.testing.assert_allclose(hessian, np.eye(len(hessian)), atol=1e-9)


def switching(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """200 steps of the masses, a new set-point every 20, some of them inadmissible: parameters and inputs applied."""
    task = masses()
    plant = exact(task.plant, task.dt)
    controller = masses_controller()
    rng, x = np.random.default_rng(seed), START
    parameters, inputs = [], []
    for k in range(200):
        if k % 20 == 0:
            controller.follow(resting(task, rng.uniform(-0.9, 0.9, 2)))
        decision = controller.step(x, k)
        assert decision.status is Status.SOLVED, f"sample {k}"
        parameters.append(controller._parameter.copy())
        inputs.append(decision.input)
        x = plant.A @ x + plant.B @ decision.input
    return parameters, inputs


@pytest.mark.slow
def test_no_unconverged_step_where_set_points_switch() -> None:
    parameters, inputs = switching(0)
    reference = ClarabelSolver(masses_controller().program, masses().input_bounds)
    errors, apex = [], 0
    for parameter, u in zip(parameters, inputs, strict=True):
        assert reference.solve(parameter, 0) is Status.SOLVED
        errors.append(np.abs(reference.input - u).max())
        z = reference.point()
        apex += np.hypot(z[reference.program.sine_at], z[reference.program.cosine_at]).max() < 1e-4
    # The reference itself is good to some 3e-5 where a cone sits at its apex.
    assert max(errors) < 1e-4
    assert np.median(errors) < 1e-7
    assert apex > 20, "the run should visit the case it is about"
    # The steps at which double precision disagrees most.
    truth, first = ExactSolver(reference.program), reference.program.input_at[0]
    for k in [*np.argsort(errors)[-3:], 36, 52, 118]:
        np.testing.assert_allclose(inputs[k], truth.solve(parameters[k])[first], atol=1e-6)


def test_the_slow_solver_agrees_with_the_tables() -> None:
    controller = masses_controller()
    parameter = np.concatenate([START, controller.target.parameters(0).ravel()])
    z = ExactSolver(controller.program).solve(parameter)
    assert controller.program.cost(z, parameter) == pytest.approx(9.39594940, abs=1e-8)
    np.testing.assert_allclose(z[controller.program.input_at[1]], 0.58251565, atol=1e-8)


def test_fast_path_agrees_with_the_interior_point() -> None:
    parameters, inputs = switching(1)
    controller = masses_controller("admm")
    for i, (parameter, u) in enumerate(zip(parameters, inputs, strict=True)):
        assert controller.solver.solve(parameter, min(i, 1)) is Status.SOLVED
        np.testing.assert_allclose(controller.solver.input, u, atol=1e-6)


def test_fast_path_is_immediate_where_no_constraint_binds() -> None:
    task, controller = axis(0.2), axis_controller(axis(0.2), solver="admm")
    plant, x = exact(task.plant, task.dt), np.zeros(4)
    iterations = []
    for k in range(80):
        decision = controller.step(x, k)
        assert decision.status is Status.SOLVED
        iterations.append(decision.iterations)
        x = plant.A @ x + plant.B @ decision.input
    assert max(iterations[-10:]) == 1


def test_no_unconverged_step_of_the_ball_and_plate() -> None:
    task, controller = axis(), axis_controller(axis())
    plant, x = exact(task.plant, task.dt), np.zeros(4)
    reference = ClarabelSolver(controller.program, task.input_bounds)
    for k in range(200):
        decision = controller.step(x, k)
        assert decision.status is Status.SOLVED
        reference.solve(controller._parameter, 0)
        np.testing.assert_allclose(decision.input, reference.input, atol=1e-6)
        x = plant.A @ x + plant.B @ decision.input


def test_a_failed_solve_leaves_nothing_behind() -> None:
    for solver in ("interior-point", "admm"):
        controller = masses_controller(solver)  # type: ignore[arg-type]
        parameter = np.concatenate([START, controller.target.parameters(0).ravel()])
        assert controller.solver.solve(parameter, 0) is Status.SOLVED
        before = controller.solver.input.copy()
        for bad in (np.nan, np.inf, 1e300):
            wrong = parameter.copy()
            wrong[0] = bad
            assert controller.solver.solve(wrong, 1) is not Status.SOLVED
            assert controller.solver.solve(parameter, 1) is Status.SOLVED
            np.testing.assert_allclose(controller.solver.input, before, atol=1e-9)


def test_uncontrollable_plants_and_missing_weights_are_refused() -> None:
    outputs = Outputs(np.zeros((1, 2)), np.ones((1, 1)), np.array([-1.0]), np.array([1.0]))
    A, Q, R = np.diag([0.5, 0.9]), np.eye(2), np.eye(1)
    weights = OffsetWeights(Q, Q, R, R)
    lost = TrackingModel(A, np.array([[1.0], [0.0]]), np.zeros(2), outputs, Q, R)
    with pytest.raises(NotApplicable, match="controllable"):
        reduce(harmonic_program(lost, 5, 0.3, weights, 1e-4))
    idle = Outputs(np.zeros((2, 1)), np.eye(2), np.full(2, -1.0), np.full(2, 1.0))
    twice = TrackingModel(np.eye(1), np.ones((1, 2)), np.zeros(1), idle, np.eye(1), np.zeros((2, 2)))
    with pytest.raises(NotApplicable, match="not unique"):
        reduce(harmonic_program(twice, 5, 0.3, OffsetWeights(np.eye(1), np.eye(1), twice.R, twice.R), 1e-4))


def test_a_short_predictor_does_not_make_it_run_in_circles() -> None:
    # A state at the edge of the feasible set, found by random changes of a sinusoidal reference.
    controller = axis_controller(axis())
    parameter = np.array(
        [
            0.0695606635,
            -0.0501993449,
            0.0170869382,
            0.0696089105,
            0.0274898314,
            0.0697391326,
            0.0414051872,
            0.18035929,
            0.0,
            -0.0135579724,
            0.0553800626,
            0.0070060514,
            -0.0364317233,
            0.0,
            0.0772094432,
            0.0632614679,
            0.0374812827,
            -0.0725633908,
            0.0,
        ]
    )
    reference = ClarabelSolver(controller.program, axis().input_bounds)
    assert reference.solve(parameter, 0) is Status.SOLVED
    assert controller.solver.solve(parameter, 0) is Status.SOLVED
    np.testing.assert_allclose(controller.solver.input, reference.input, atol=1e-6)
