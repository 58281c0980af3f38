"""Sequential quadratic programming: ipopt as the judge, indefinite programs, and real-time iterations."""

from __future__ import annotations

import copy
import ctypes
import dataclasses
import pickle
import shutil
import threading
from pathlib import Path

import casadi as ca
import numpy as np
import pytest

from ctrl import simulate
from ctrl.controller import Source, Status
from mpc import NonlinearMPC
from mpc.solvers import hpipm
from mpc.solvers.hpipm import HPIPMMissing
from mpc.solvers.sqp import SQP
from mpc.solvers.staged import StagedProgram
from systems import InvalidValue, library
from systems.lowering.c_backend import CompilerMissing

EMPTY = np.zeros(0)


def program(next_x: ca.SX, f: ca.SX, x: ca.SX, v: ca.SX, bound: float = np.inf, horizon: int = 10) -> StagedProgram:
    """No rows; every v within the bound; the last state charged ten times its square."""
    p, none = ca.SX.sym("p", 0), ca.SX(0, 1)
    m = v.shape[0]
    return StagedProgram(
        horizon,
        ca.Function("stage", [x, v, p], [f, next_x, none]),
        ca.Function("terminal", [x, ca.SX.sym("w", 0), p], [10 * ca.sumsqr(x), none]),
        np.full(m, -bound), np.full(m, bound), EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY,
    )  # fmt: skip


def by_ipopt(staged: StagedProgram, start: np.ndarray, guess: np.ndarray) -> tuple[float, np.ndarray]:
    """Least cost and inputs, by single shooting from a guess of the inputs."""
    m = len(staged.low)
    V, x, cost = ca.SX.sym("V", m, staged.horizon), ca.SX(start), 0
    for k in range(staged.horizon):
        f, x, _ = staged.stage(x, V[:, k], ca.SX(0, 1))
        cost += f
    cost += staged.terminal(x, ca.SX(0, 1), ca.SX(0, 1))[0]
    options = {"ipopt": {"print_level": 0, "tol": 1e-10}, "print_time": False}
    solver = ca.nlpsol("s", "ipopt", {"x": ca.vec(V), "f": cost}, options)
    bounds = np.tile(staged.low, staged.horizon), np.tile(staged.high, staged.horizon)
    solution = solver(x0=guess.ravel(), lbx=bounds[0], ubx=bounds[1])
    return float(solution["f"]), np.array(solution["x"]).reshape(staged.horizon, m)


@pytest.mark.parametrize("hessian", ["cost", "lagrangian"])
@pytest.mark.parametrize("bound", [np.inf, 0.4])
def test_ipopt_agrees(hessian: str, bound: float) -> None:
    x, v = ca.SX.sym("x", 2), ca.SX.sym("v", 1)
    after = x + 0.2 * ca.vertcat(x[1], ca.sin(x[0]) + v)
    staged = program(after, ca.sumsqr(x) + 0.1 * v**2, x, v, bound)
    sqp = SQP(staged, hessian=hessian)  # type: ignore[arg-type]
    start = np.array([0.6, -0.1])
    ended = sqp.solve(start)
    assert ended.status is Status.SOLVED
    assert 1 <= ended.iterations < 20
    sqp.linearisation.evaluate()
    least, inputs = by_ipopt(staged, start, np.zeros((10, 1)))
    assert sqp.point.f.sum() + sqp.point.F.sum() == pytest.approx(least, rel=1e-6)
    np.testing.assert_allclose(sqp.point.v, inputs, atol=1e-5)


def test_an_indefinite_stage_is_no_hindrance_where_the_whole_is_convex() -> None:
    """-2 x_k^2 and +3 x_{k+1}^2 in every stage: negative curvature of single stages that the dynamics make up for."""
    x, v = ca.SX.sym("x", 1), ca.SX.sym("v", 1)
    after = 0.9 * x + 0.5 * v
    staged = program(after, -2 * x**2 + 3 * after**2 + 0.2 * v**2 + v, x, v)
    sqp = SQP(staged, hessian="lagrangian")
    ended = sqp.solve(np.array([1.0]))
    least, inputs = by_ipopt(staged, np.array([1.0]), np.zeros((10, 1)))
    assert ended.status is Status.SOLVED
    assert ended.iterations <= 2, "it is a quadratic program"
    np.testing.assert_allclose(sqp.point.v, inputs, atol=1e-6)
    assert least < 0


def test_curvature_that_bounds_alone_make_up_for() -> None:
    """A cost that is concave in the input: the solution is at the bounds, where Newton's method still converges."""
    x, v = ca.SX.sym("x", 1), ca.SX.sym("v", 1)
    staged = program(0.8 * x + v + 0.1 * ca.sin(x), x**2 - 0.6 * v**2, x, v, bound=0.3)
    sqp = SQP(staged, hessian="lagrangian")
    sqp.point.v[:] = -0.1
    ended = sqp.solve(np.array([2.0]))
    assert ended.status is Status.SOLVED
    assert ended.iterations < 15
    assert sqp.residual() <= 1e-7
    sqp.linearisation.evaluate()
    least, inputs = by_ipopt(staged, np.array([2.0]), sqp.point.v)
    assert sqp.point.f.sum() + sqp.point.F.sum() == pytest.approx(least, rel=1e-6)
    np.testing.assert_allclose(sqp.point.v, inputs, atol=1e-5)
    assert (np.abs(np.abs(inputs) - 0.3) < 1e-5).any(), "bounds take part"


def test_a_point_where_the_plant_is_undefined_ends_the_solve() -> None:
    x, v = ca.SX.sym("x", 1), ca.SX.sym("v", 1)
    sqp = SQP(program(ca.sqrt(x) + v, x**2 + v**2, x, v))
    ended = sqp.solve(np.array([-1.0]))
    assert ended.status is Status.NUMERICAL
    assert not np.isfinite(ended.residual)


def test_the_clock_ends_it() -> None:
    x, v = ca.SX.sym("x", 1), ca.SX.sym("v", 1)
    sqp = SQP(program(x + v + 0.3 * ca.sin(x), x**2 + v**2, x, v))
    assert sqp.solve(np.array([1.0]), until=0.0).status is Status.TIMEOUT
    assert sqp.solve(np.array([1.0]), iterations=1).status is Status.MAX_ITERATIONS


NAMES = [
    "cartpole",
    "cartpole_track",
    "planar_quadrotor",
    "stirred_tank",
    "effort_budget",
    "ball_and_plate",
    "pendulum",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.every(3)
def test_both_solvers_cost_the_same_in_closed_loop(name: str) -> None:
    task = getattr(library, name)()
    starts = task.initial.sample(task.plant.state, np.random.default_rng(5), (2,))
    still = np.zeros((2, 15, len(task.plant.disturbance)))
    one, other = (simulate(task, NonlinearMPC(task, 12, solver=s), starts, still) for s in ("sqp", "ipopt"))
    np.testing.assert_allclose(one.cost, other.cost, rtol=1e-5)
    assert (one.statuses == list(Status).index(Status.SOLVED)).all()


@pytest.mark.parametrize(
    ("name", "horizon", "within"), [("planar_quadrotor", 20, 1e-3), ("cartpole_swing_up", 40, 1e-2)]
)
def test_the_real_time_iteration_costs_hardly_more(name: str, horizon: int, within: float) -> None:
    task = getattr(library, name)()
    starts = task.initial.sample(task.plant.state, np.random.default_rng(0), (1,))
    still = np.zeros((1, 60, len(task.plant.disturbance)))
    converged = simulate(task, NonlinearMPC(task, horizon), starts, still).cost[0]
    real_time = simulate(task, NonlinearMPC(task, horizon, iterations=1), starts, still)
    assert real_time.cost[0] == pytest.approx(converged, rel=within)
    assert (real_time.sources[0, 1:] == list(Source).index(Source.SUBOPTIMAL)).all(), "one iteration is not a solution"


def test_without_hpipm_ipopt_solves_and_real_time_iterations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise HPIPMMissing("CasADi 0 brings no HPIPM that can be called")

    monkeypatch.setattr("mpc.solvers.hpipm.library", missing)
    task = library.cartpole()
    x = np.array([0.2, 0.1, 0.0, 0.0])
    with_it_alone = NonlinearMPC(task, 10, solver="ipopt")
    for k in range(2):
        decision = NonlinearMPC(task, 10).step(x, k)
        assert decision.status is Status.SOLVED
        np.testing.assert_allclose(decision.input, with_it_alone.step(x, k).input, atol=1e-6)
    with pytest.raises(HPIPMMissing, match="brings no HPIPM"):
        NonlinearMPC(task, 10, iterations=1)


def test_another_version_of_hpipm_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    hpipm.library.cache_clear()
    monkeypatch.setitem(hpipm._SIZES, "qp_sol", 57)
    with pytest.raises(HPIPMMissing, match=r"d_ocp_qp_sol has 56 bytes; expected 57"):
        hpipm.library()
    monkeypatch.undo()
    hpipm.library.cache_clear()
    assert hpipm.library() is not None


def test_a_copy_starts_anew() -> None:
    task = library.cartpole()
    mpc = NonlinearMPC(task, 10)
    x = np.array([0.2, 0.1, 0.0, 0.0])
    first = mpc.step(x, 0)
    mpc.step(0.9 * x, 1)
    for other in (copy.deepcopy(mpc), pickle.loads(pickle.dumps(mpc))):
        np.testing.assert_array_equal(other.step(x, 0).input, first.input)


def test_a_run_can_be_repeated_after_reset() -> None:
    task = library.planar_quadrotor()
    mpc = NonlinearMPC(task, 10)
    start = task.initial.sample(task.plant.state, np.random.default_rng(2), (1,))
    still = np.zeros((1, 10, len(task.plant.disturbance)))
    one, again = simulate(task, mpc, start, still), simulate(task, mpc, start, still)
    np.testing.assert_array_equal(one.inputs, again.inputs)


@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="compiled C needs a C compiler")
def test_compiled_functions_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))
    monkeypatch.setattr("mpc.solvers.staged._HOT", 3)
    task = library.cartpole_track()
    x = np.array([0.5, 0.3, 0.2, 0.0])
    interpreted, compiled = NonlinearMPC(task, 8), NonlinearMPC(task, 8)
    compiled.compile()
    assert list(tmp_path.glob("stage_values-*"))
    for k in range(6):
        one, other = interpreted.step(0.9**k * x, k), compiled.step(0.9**k * x, k)
        np.testing.assert_array_equal(one.input, other.input)
        assert one.residual == pytest.approx(other.residual, rel=1e-12)  # sums are rounded in another order
    # Meanwhile the first has had itself compiled, too, in the background.
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and "compile" in thread.name:
            thread.join(60)
    assert interpreted._sequential is not None
    linearisation = interpreted._sequential.sqp.linearisation
    assert linearisation.is_compiled
    np.testing.assert_array_equal(interpreted.step(x, 6).input, compiled.step(x, 6).input)


HAS_COMPILER = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="needs a C compiler")


def soft_program() -> StagedProgram:
    """A pendulum with soft and hard rows, a variable at the end, and a stage cost that is concave far from rest."""
    x, v, p, e = ca.SX.sym("x", 2), ca.SX.sym("v", 2), ca.SX.sym("p", 1), ca.SX.sym("e", 1)
    after = x + 0.2 * ca.vertcat(x[1], ca.sin(x[0]) + v[0])
    f = 1 - ca.cos(x[0] - p) + 0.1 * x[1] ** 2 + 0.1 * v[0] ** 2 + 5 * v[1]
    infinite = np.full(1, np.inf)
    return StagedProgram(
        10,
        ca.Function("stage", [x, v, p], [f, after, ca.vertcat(x[1] ** 2 - v[1], x[0] * x[1])]),
        ca.Function("terminal", [x, e, p], [10 * ca.sumsqr(x) + 3 * e, x[1] - e]),
        np.array([-0.6, 0.0]), np.array([0.6, np.inf]), np.array([-np.inf, -0.5]), np.array([0.04, 9.0]),
        np.zeros(1), infinite, -infinite, np.full(1, 0.05),
    )  # fmt: skip


def beside_each_other(staged: StagedProgram, hessian: str) -> tuple[SQP, SQP]:
    """The iteration in Python and in C."""
    pair = SQP(staged, hessian=hessian), SQP(staged, hessian=hessian)  # type: ignore[arg-type]
    for sqp in pair:
        sqp.linearisation.compile()
        sqp.point.p[:] = 0.1
    pair[0].compiled = None
    assert pair[1].compiled is not None
    return pair


@HAS_COMPILER
@pytest.mark.parametrize("hessian", ["cost", "lagrangian"])
@pytest.mark.parametrize("start", [(0.6, -0.1), (1.8, 0.0)], ids=["convex", "concave"])
def test_the_compiled_iteration_is_that_of_python(
    hessian: str, start: tuple[float, float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each step of the converged solve and of the real-time iteration, in two parts with another measurement, too."""
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))
    one, other = beside_each_other(soft_program(), hessian)
    x = np.array(start)
    ended = [sqp.solve(x, iterations=30) for sqp in (one, other)]
    assert ended[0].iterations == ended[1].iterations >= 3
    assert ended[0].status is ended[1].status is Status.SOLVED
    assert ended[0].residual == pytest.approx(ended[1].residual, rel=1e-6, abs=1e-12)

    def expect_same() -> None:
        for part in ("variables", "bounded", "multipliers", "pi"):
            np.testing.assert_allclose(getattr(one.point, part), getattr(other.point, part), rtol=1e-9, atol=1e-11)

    expect_same()
    assert np.abs(other.point.lam).max() > 1e-2, "rows take part"
    for i in range(3):
        for sqp in (one, other):
            sqp.point.x[1] += 0.01  # so that there is something to do
            if i < 2:
                sqp.prepare()
                assert np.isfinite(sqp.residual())
                ended[0] = sqp.iterate(x + np.array([0.02 * i, -0.01]))
            else:
                ended[0] = sqp.real_time(x)
            assert ended[0].status is Status.SOLVED
        expect_same()


@HAS_COMPILER
def test_the_compiled_residual_is_that_of_python() -> None:
    """At random points of very different magnitudes, so that each term is the largest somewhere, and is scaled."""
    staged, rng = soft_program(), np.random.default_rng(0)
    x, e, p = (ca.SX.sym(name, size) for name, size in (("x", 2), ("e", 1), ("p", 1)))
    last = ca.Function("terminal", [x, e, p], [1 - ca.cos(x[0]) + x[1] ** 2 + 3 * e, x[1] - e])
    one, other = beside_each_other(dataclasses.replace(staged, terminal=last), "cost")
    assert other.compiled is not None
    convex = set()
    for draw in range(60):
        for part in ("variables", "pi", "multipliers"):
            block = getattr(one.point, part)
            block[:] = 10.0 ** rng.uniform(-3, 5 if part != "variables" else 1) * rng.standard_normal(block.shape)
            if part == "variables" and draw % 2:  # only the last Hessian may be indefinite
                one.point.x[:-1] *= 0.1
            getattr(other.point, part)[:] = block
        for sqp in (one, other):
            sqp.prepare()
        assert other.residual() == pytest.approx(one.residual(), rel=1e-9)
        is_convex = other.compiled.linearise("cost")
        assert is_convex == one.linearisation.is_convex
        convex.add((is_convex, bool(one.linearisation.pivots[:-1].min() > 0)))
    assert convex >= {(True, True), (False, True), (False, False)}


@HAS_COMPILER
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_compiled_residual_holds_violations_of_bounds(side: float) -> None:
    """A solution whose inputs end outside of bounds that have changed: nothing else is violated."""
    for sqp in beside_each_other(soft_program(), "cost"):
        assert sqp.solve(side * np.array([0.3, -0.1])).status is Status.SOLVED
        inputs = sqp.point.v[:, 0]
        i = int(np.argmax(side * inputs * (np.abs(inputs) < 0.59)))
        (sqp.high if side > 0 else sqp.low)[i, 0] = inputs[i] - 0.1 * side
        sqp.set_bounds()
        sqp.prepare()
        assert sqp.residual() == pytest.approx(0.1 / (1 + abs(inputs[i])), rel=1e-5)


@HAS_COMPILER
@pytest.mark.parametrize(("armijo", "inexact"), [(1e-4, 1e-8), (0.4, 1e-8), (1e-4, 0.05)])
@pytest.mark.parametrize("hessian", ["cost", "lagrangian"])
def test_the_compiled_line_search_is_that_of_python(
    hessian: str, armijo: float, inexact: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From random points along random steps, of which some are taken whole, some in part, and some not at all; also
    with other constants, since the usual ones are too small to matter at most points."""
    monkeypatch.setattr("mpc.solvers.sqp._ARMIJO", armijo)
    monkeypatch.setattr("mpc.solvers.sqp._INEXACT", inexact)
    rng, lengths, clipped = np.random.default_rng(1), set(), 0
    one, other = beside_each_other(soft_program(), hessian)
    for _ in range(100):
        parts = ((sqp.point, sqp.qp) for sqp in (one, other))
        (point, qp), (point_too, qp_too) = parts
        size = 10.0 ** rng.uniform(-1, 2)
        for part, scale in (("variables", 0.5), ("pi", size), ("multipliers", size)):
            block = getattr(point, part)
            block[:] = scale * rng.standard_normal(block.shape)
            getattr(point_too, part)[:] = block
        one.prepare()
        other.prepare()
        for part in ("step", "pi", "lam_lower", "lam_upper"):
            block = getattr(qp, part)
            block[:] = size * rng.standard_normal(block.shape)
            if part.startswith("lam"):
                np.abs(block, out=block)
            if part == "step":
                block[:] = 10.0 ** rng.uniform(-2, 1) * (0.2 * block / size - qp.gradient)
            getattr(qp_too, part)[:] = block
        taken = [sqp._search() for sqp in (one, other)]
        assert taken[0] == taken[1]
        assert other._weight[0] == pytest.approx(one._weight[0], rel=1e-9)
        for part in ("variables", "multipliers", "pi"):
            np.testing.assert_allclose(getattr(point_too, part), getattr(point, part), rtol=1e-9, atol=1e-12)
        lengths.add(taken[0])
        clipped += bool((np.abs(point.v[:, 0]) == 0.6).any())
    assert {0.5, 0.25, 0.0} <= lengths
    assert 1.0 in lengths or armijo > 0.1
    assert clipped


@HAS_COMPILER
def test_the_compiled_iteration_looks_at_each_number_of_a_step() -> None:
    _, sqp = beside_each_other(soft_program(), "cost")
    assert sqp.compiled is not None
    assert sqp.compiled.is_finite()
    for array in (sqp.qp.step, sqp.qp.pi.ravel()):
        for i in (0, len(array) - 1):
            for number in (np.nan, np.inf):
                array[i] = number
                assert not sqp.compiled.is_finite()
            array[i] = 0.0
            assert sqp.compiled.is_finite()


@HAS_COMPILER
@np.errstate(invalid="ignore")
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_the_compiled_iteration_notices_numbers_that_are_not_finite(number: float) -> None:
    for sqp in beside_each_other(soft_program(), "cost"):
        sqp.point.pi[3, 1] = number
        sqp.prepare()
        assert sqp.residual() == np.inf
        sqp.point.pi[:] = 0.0
        before = sqp.point.variables.copy()
        sqp.qp.A[:] = 0.0
        assert sqp.real_time(np.array([number, 0.0])).status is Status.NUMERICAL
        np.testing.assert_array_equal(sqp.point.variables[2:], before[2:])
        assert sqp.solve(np.array([number, 0.0])).status is Status.NUMERICAL


@HAS_COMPILER
def test_a_step_of_a_program_that_is_not_solved_to_the_end_is_taken() -> None:
    ends = []
    for sqp in beside_each_other(soft_program(), "cost"):
        most = ctypes.c_int(2)
        sqp.qp._library.d_ocp_qp_ipm_arg_set(b"iter_max", ctypes.byref(most), sqp.qp._arg)
        assert sqp.real_time(np.array([0.6, -0.1])).status is Status.MAX_ITERATIONS
        ends.append(sqp.point.variables.copy())
    assert np.abs(ends[0][2:]).max() > 0.01
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-9, atol=1e-11)


@HAS_COMPILER
def test_an_infeasible_program_is_reported_by_the_compiled_iteration() -> None:
    for sqp in beside_each_other(soft_program(), "cost"):
        sqp.lower[5:], sqp.upper[5:] = 2e3, 3e3
        sqp.set_bounds()
        before = sqp.point.v.copy()
        ended = sqp.real_time(np.array([0.1, 0.0]))
        assert ended.status in (Status.INFEASIBLE, Status.NUMERICAL, Status.MAX_ITERATIONS)
        if ended.status is not Status.MAX_ITERATIONS:
            np.testing.assert_array_equal(sqp.point.v, before)


def test_without_a_compiler_it_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr("mpc.solvers.staged._HOT", 1)
    mpc = NonlinearMPC(library.cartpole(), 5)
    with pytest.raises(CompilerMissing, match="no-such-compiler"):
        mpc.compile()
    assert all(mpc.step(np.array([0.1, 0.0, 0.0, 0.0]), k).status is Status.SOLVED for k in range(3))


def test_preparation_and_feedback_are_the_iteration_in_two_parts() -> None:
    """A prepared step takes the measurement to first order, and where the prediction was exact, as it is. The gain is
    about 50 N per unit of the state, so that a measurement that is not taken, or twice, would be noticed."""
    task = library.cartpole()
    x, f = np.array([0.4, 0.2, 0.1, 0.0]), task.dynamics.function()
    for scale in (0.0, 1e-3):
        split, whole = NonlinearMPC(task, 12, iterations=1), NonlinearMPC(task, 12, iterations=1)
        state = x
        for k in range(8):
            split.prepare(k)
            assert (split._prepared == k) == (k > 0), "there is no plan at first"
            one, other = split.step(state, k), whole.step(state, k)
            assert split._prepared is None
            if k == 1:  # later, the controllers have different plans
                np.testing.assert_allclose(one.input, other.input, atol=1e-9 + 10.0 * scale)
            state = np.array(f(state, one.input, 0, []))[:, 0] + scale * np.array([1.0, -1.0, 1.0, 1.0])
        assert split.step(np.full(4, np.nan), 8).source is Source.SHIFTED_PLAN


def test_a_preparation_for_another_sample_or_state_is_not_used() -> None:
    task = library.cartpole()
    x = np.array([0.4, 0.2, 0.1, 0.0])
    used, fresh = NonlinearMPC(task, 12, iterations=1), NonlinearMPC(task, 12, iterations=1)
    for mpc in (used, fresh):
        mpc.step(x, 0)
        mpc.step(0.9 * x, 1)
    used.prepare(3)
    np.testing.assert_array_equal(used.step(0.8 * x, 2).input, fresh.step(0.8 * x, 2).input)
    used.prepare(3)
    far = np.array([-1.0, -1.0, -0.2, 0.4])
    np.testing.assert_array_equal(used.step(far, 3).input, fresh.step(far, 3).input)
    used.prepare(4)
    used.reset()
    fresh.reset()
    np.testing.assert_array_equal(used.step(x, 4).input, fresh.step(x, 4).input)
    with pytest.raises(InvalidValue):
        used.prepare(1.5)  # type: ignore[arg-type]


def test_feedback_is_exact_where_the_program_is_quadratic() -> None:
    """Cross terms of state and input in the cost, and a row on both, also at the stage of the measurement."""
    x, v, p = ca.SX.sym("x", 1), ca.SX.sym("v", 1), ca.SX.sym("p", 0)
    staged = StagedProgram(
        6,
        ca.Function("stage", [x, v, p], [x**2 + v**2 + 0.8 * x * v, 0.9 * x + 0.5 * v, x + v]),
        ca.Function("terminal", [x, ca.SX.sym("w", 0), p], [3 * x**2, ca.SX(0, 1)]),
        np.array([-5.0]), np.array([5.0]), np.array([0.2]), np.array([np.inf]), EMPTY, EMPTY, EMPTY, EMPTY,
    )  # fmt: skip
    for start in (-0.7, 0.9):  # the row is active in the first stage, and is not
        split, whole = SQP(staged), SQP(staged)
        split.point.x[:] = 0.4
        split.prepare()
        assert split.iterate(np.array([start])).status is Status.SOLVED
        assert whole.solve(np.array([start])).status is Status.SOLVED
        np.testing.assert_allclose(split.point.v, whole.point.v, atol=1e-6)
        assert (abs(start + split.point.v[0, 0] - 0.2) < 1e-6) == (start < 0)


def test_a_linear_quadratic_task_takes_one_program_per_sample() -> None:
    """Also near the reference, where the cost is as small as what the solver of the programs leaves of it."""
    task = library.braking()
    mpc, f = NonlinearMPC(task, 20), task.dynamics.function()
    x = task.initial.sample(task.plant.state, np.random.default_rng(0))
    for k in range(40):
        decision = mpc.step(x, k)
        assert decision.status is Status.SOLVED
        assert decision.iterations == 1 or k == 0
        x = np.array(f(x, decision.input, np.zeros(len(task.plant.disturbance)), []))[:, 0]
