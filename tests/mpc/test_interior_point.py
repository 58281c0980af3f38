"""The interior-point method in C against HPIPM and Clarabel, also on programs that are hard to solve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.solvers.hpipm import HPIPM, StageSizes
from tests.mpc.interior_point import InteriorPoint, Stacked
from tests.mpc.test_hpipm import SIZES, random_program

SMALL = StageSizes(horizon=3, states=2, inputs=2, rows=3, last_inputs=1, last_rows=2)
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)


def solved(qp: HPIPM, most: int = 50) -> tuple[InteriorPoint, Stacked, str]:
    solver = InteriorPoint(qp.sizes)
    solver.load(qp)
    return solver, Stacked(qp), solver.solve(most)


def agrees(solver: InteriorPoint, stacked: Stacked, tolerance: float = 1e-7) -> None:
    """Feasible, and as cheap as what Clarabel finds."""
    status, z = stacked.judged()
    assert status == "Solved"
    size = 1.0 + np.abs(z).max()
    assert stacked.violation(solver.z) <= 1e-8 * size
    assert stacked.value(solver.z) == pytest.approx(stacked.value(z), rel=tolerance, abs=tolerance * size)


@pytest.mark.parametrize("seed", range(25))
def test_hpipm_and_clarabel_agree(seed: int) -> None:
    qp = random_program(seed, "robust")
    solver, stacked, status = solved(qp)
    assert status == "SOLVED"
    assert solver.iterations < 25
    agrees(solver, stacked)
    qp.solve()
    z = solver.data["qp_z"].reshape(SIZES.horizon + 1, -1)
    np.testing.assert_allclose(z[:-1, :2], qp.stages.u, atol=1e-5)
    np.testing.assert_allclose(z[1:-1, 2:5], qp.stages.x[1:], atol=1e-5)
    np.testing.assert_allclose(solver.data["qp_pi"].reshape(-1, 3), qp.pi, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_optimality_conditions_hold(seed: int) -> None:
    qp = random_program(seed)
    solver, stacked, _ = solved(qp)
    N, limits = SIZES.horizon, SIZES.inputs + SIZES.rows
    low, high = (solver.data[f"qp_lam_{side}"].reshape(N + 1, -1) for side in ("low", "high"))
    assert min(low.min(), high.min()) >= 0.0
    net = high - low
    lam = np.concatenate([net[:-1].ravel(), net[-1, : SIZES.last_inputs + SIZES.last_rows]])
    assert limits == net.shape[1]
    # Multipliers of x_{k+1} = ..., the first of which, of x_0 = 0, is free.
    rest = stacked.H @ solver.z + stacked.h + stacked.G.T @ lam + stacked.A[3:].T @ solver.data["qp_pi"]
    rest[SIZES.inputs : SIZES.inputs + 3] = 0.0
    assert np.abs(rest).max() <= 1e-8 * np.abs(stacked.h).max()


def drawn(seed: int, size: float, slack: float, scale: float, flat: float) -> HPIPM:
    """A program that is feasible at a random point.

    Args:
        size: of the solution. slack: of limits at that point, where they are tight. scale: of the cost.
        flat: share of directions without curvature.
    """
    rng = np.random.default_rng(seed)
    qp = HPIPM(SMALL, "robust")
    N, n = SMALL.horizon, SMALL.states
    qp.A[:], qp.B[:] = np.eye(n) + 0.3 * rng.normal(size=(N, n, n)), rng.normal(size=qp.B.shape)
    qp.b[:] = size * rng.normal(size=qp.b.shape)
    x, u, u_last = np.zeros((N + 1, n)), size * rng.normal(size=(N, 2)), size * rng.normal(size=(1, 1))
    for k in range(N):
        x[k + 1] = x[k] @ qp.A[k] + u[k] @ qp.B[k] + qp.b[k]
    for part, xs, us in ((qp.stages, x[:-1], u), (qp.last, x[-1:], u_last)):
        m = us.shape[1]
        root = rng.normal(size=(len(xs), n + m, n + m)) * (rng.uniform(size=n + m) >= flat)
        H = scale * root @ root.transpose(0, 2, 1)
        part.Q[:], part.S[:], part.R[:] = H[:, :n, :n], H[:, :n, n:], H[:, n:, n:]
        part.q[:], part.r[:] = scale * rng.normal(size=part.q.shape), scale * rng.normal(size=part.r.shape)
        part.C[:], part.D[:] = rng.normal(size=part.C.shape), rng.normal(size=part.D.shape)
        part.C[:, :, -1], part.D[:, :, -1] = part.C[:, :, 0], part.D[:, :, 0]  # the last row is the first one again
        g = np.einsum("kir,ki->kr", part.C, xs) + np.einsum("kir,ki->kr", part.D, us)
        for low, high, value in ((part.low, part.high, us), (part.lower, part.upper, g)):
            low[:], high[:] = (value + sign * size * rng.uniform(0, 3, value.shape) for sign in (-1, 1))
            tight = rng.uniform(size=low.shape) < 0.3
            low[tight], high[tight] = (value - slack * size)[tight], (value + slack * size)[tight]
    qp.set_bounds()
    return qp


@SETTINGS
@given(
    st.integers(0, 10**6),
    st.sampled_from([1e-3, 1.0, 100.0]),
    st.sampled_from([1.0, 1e-3, 1e-6]),
    st.sampled_from([1e-4, 1.0, 1e5]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_hard_programs(seed: int, size: float, slack: float, scale: float, flat: float) -> None:
    """Badly scaled, degenerate (a row twice), hardly feasible, and without curvature up to linear programs."""
    solver, stacked, status = solved(drawn(seed, size, slack, scale, flat))
    assert status == "SOLVED"
    judge, z = stacked.judged()
    assert stacked.violation(solver.z) <= 1e-7 * (1.0 + np.abs(z).max())
    if judge != "Solved":  # Clarabel's point violates the constraints of some of them by 1e-5 and more
        return
    assert stacked.value(solver.z) == pytest.approx(
        stacked.value(z), rel=1e-5, abs=1e-6 * np.abs(stacked.h).max() * (1.0 + np.abs(z).max())
    )


@SETTINGS
@given(st.integers(0, 10**6), st.sampled_from([1e-2, 1.0, 100.0]), st.sampled_from([1e-4, 1.0, 1e4]))
def test_infeasible_programs_have_the_status_infeasible(seed: int, gap: float, scale: float) -> None:
    qp = drawn(seed, 1.0, 1.0, scale, 0.0)
    row = qp.stages
    row.C[1, :, 1], row.D[1, :, 1] = row.C[1, :, 0], row.D[1, :, 0]
    row.upper[1, 0], row.lower[1, 0] = 1.0, -np.inf
    row.lower[1, 1], row.upper[1, 1] = 1.0 + gap, np.inf
    row.lower[1, 2], row.upper[1, 2] = -np.inf, np.inf
    qp.set_bounds()
    _, stacked, status = solved(qp)
    assert stacked.judged()[0] == "PrimalInfeasible"
    assert status == "INFEASIBLE"


@pytest.mark.parametrize("seed", range(10))
def test_equations_among_the_limits(seed: int) -> None:
    qp = drawn(seed, 1.0, 1.0, 1.0, 0.0)
    qp.last.upper[:] = qp.last.lower = 0.5 * (qp.last.lower + qp.last.upper)
    qp.last.C[:, :, 1] += 1.0  # the rows of the last stage are not the same here
    qp.last.upper[:, 1], qp.last.lower[:, 1] = np.inf, -np.inf
    qp.stages.low[1, 0] = qp.stages.high[1, 0] = 0.25
    qp.set_bounds()
    solver, stacked, status = solved(qp)
    judge, _ = stacked.judged()
    assert (status == "SOLVED") == (judge == "Solved")
    if status == "SOLVED":
        agrees(solver, stacked)


@pytest.mark.parametrize("seed", range(5))
def test_compliant_limits_are_quadratic_penalties(seed: int) -> None:
    qp = drawn(seed, 1.0, 1.0, 1.0, 0.0)
    # One row is to be below -1, and the same row above 1.
    qp.stages.C[:, :, 1], qp.stages.D[:, :, 1] = qp.stages.C[:, :, 0], qp.stages.D[:, :, 0]
    qp.stages.lower[:, 0], qp.stages.upper[:, 0] = -np.inf, -1.0
    qp.stages.lower[:, 1], qp.stages.upper[:, 1] = 1.0, np.inf
    qp.set_bounds()
    solver, stacked, status = solved(qp)
    assert status == "INFEASIBLE"
    solver.data["qp_compliance"][:] = 0.01
    assert solver.solve() == "SOLVED"
    judge, z = stacked.judged(compliance=0.01)
    assert judge == "Solved"
    np.testing.assert_allclose(solver.z, z, atol=1e-6)


def test_work_is_bounded_and_numbers_do_no_harm() -> None:
    qp = random_program(0)
    solver, _, status = solved(qp, most=3)
    assert (status, solver.iterations) == ("MAX_ITERATIONS", 3)
    for name in ("qp_H", "qp_h", "qp_F", "qp_b", "qp_G"):
        for value in (np.nan, np.inf, 1e300):
            solver.load(qp)
            solver.data[name][1] = value
            status = solver.solve()
            assert status in ("NUMERICAL", "INFEASIBLE", "MAX_ITERATIONS", "SOLVED")
            assert (status == "SOLVED") <= bool(np.isfinite(solver.z).all() and np.isfinite(value))
    solver.load(qp)
    assert solver.solve() == "SOLVED"  # nothing remains of it
