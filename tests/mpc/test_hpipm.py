"""HPIPM in place: against an independent solver, and its multipliers against the optimality conditions."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from ctrl.controller import Status
from mpc.solvers.hpipm import HPIPM, Origin, StageSizes

SIZES = StageSizes(horizon=8, states=3, inputs=2, rows=2, last_inputs=1, last_rows=2)


def random_program(seed: int, mode: str = "balance", origin: Origin = "casadi") -> HPIPM:
    """Convex, feasible at a random trajectory, with one-sided and missing bounds."""
    rng = np.random.default_rng(seed)
    qp = HPIPM(SIZES, mode, origin=origin)  # type: ignore[arg-type]
    N, n = SIZES.horizon, SIZES.states
    qp.A[:] = np.eye(n) + 0.3 * rng.normal(size=(N, n, n))
    qp.B[:], qp.b[:] = rng.normal(size=qp.B.shape), rng.normal(size=qp.b.shape)
    x = np.zeros((N + 1, n))
    u, u_last = rng.normal(size=(N, 2)), rng.normal(size=(1, 1))
    for k in range(N):
        x[k + 1] = x[k] @ qp.A[k] + u[k] @ qp.B[k] + qp.b[k]
    for part, xs, us in ((qp.stages, x[:-1], u), (qp.last, x[-1:], u_last)):
        m = us.shape[1]
        root = rng.normal(size=(len(xs), n + m, n + m))
        H = root @ root.transpose(0, 2, 1)
        part.Q[:], part.S[:], part.R[:] = H[:, :n, :n], H[:, :n, n:], H[:, n:, n:]
        part.q[:], part.r[:] = rng.normal(size=part.q.shape), 10 * rng.normal(size=part.r.shape)
        part.C[:], part.D[:] = rng.normal(size=part.C.shape), rng.normal(size=part.D.shape)
        g = np.einsum("kir,ki->kr", part.C, xs) + np.einsum("kir,ki->kr", part.D, us)
        for low, high, value in ((part.low, part.high, us), (part.lower, part.upper, g)):
            low[:], high[:] = value - rng.uniform(0, 1, value.shape), value + rng.uniform(0, 1, value.shape)
            low[rng.uniform(size=low.shape) < 0.3] = -np.inf
            high[rng.uniform(size=high.shape) < 0.3] = np.inf
    qp.set_bounds()
    return qp


def judged(qp: HPIPM) -> tuple[float, np.ndarray]:
    """Value and first input by Clarabel."""
    N = SIZES.horizon
    x, u = cp.Variable((N + 1, 3)), [cp.Variable(2) for _ in range(N)] + [cp.Variable(1)]
    conditions, cost = [x[0] == 0], 0
    for k in range(N + 1):
        part, i = (qp.stages, k) if k < N else (qp.last, 0)
        z = cp.hstack([x[k], u[k]])
        H = np.block([[part.Q[i], part.S[i]], [part.S[i].T, part.R[i]]])
        cost += 0.5 * cp.quad_form(z, cp.psd_wrap(H)) + part.q[i] @ x[k] + part.r[i] @ u[k]
        if k < N:
            conditions.append(x[k + 1] == qp.A[k].T @ x[k] + qp.B[k].T @ u[k] + qp.b[k])
        for low, high, value in (
            (part.low[i], part.high[i], u[k]),
            (part.lower[i], part.upper[i], part.C[i].T @ x[k] + part.D[i].T @ u[k]),
        ):
            for j in range(len(low)):
                conditions += [value[j] >= low[j]] if np.isfinite(low[j]) else []
                conditions += [value[j] <= high[j]] if np.isfinite(high[j]) else []
    problem = cp.Problem(cp.Minimize(cost), conditions)
    problem.solve(solver=cp.CLARABEL)
    assert problem.status == cp.OPTIMAL
    return float(problem.value), np.asarray(u[0].value)


def value(qp: HPIPM) -> float:
    total = 0.0
    for part in (qp.stages, qp.last):
        x, u = part.x, part.u
        total += float(0.5 * np.einsum("ki,kij,kj", x, part.Q, x) + np.einsum("ki,kij,kj", x, part.S, u))
        total += float(0.5 * np.einsum("ki,kij,kj", u, part.R, u) + (part.q * x).sum() + (part.r * u).sum())
    return total


@pytest.mark.parametrize("mode", ["speed_abs", "balance", "robust"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.every(3)
def test_another_solver_agrees(seed: int, mode: str) -> None:
    qp = random_program(seed, mode)
    least, first = judged(qp)
    assert qp.solve() is Status.SOLVED
    assert value(qp) == pytest.approx(least, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(qp.stages.u[0], first, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_multipliers_make_the_lagrangian_stationary(seed: int) -> None:
    qp = random_program(seed)
    assert qp.solve() is Status.SOLVED
    s, last = qp.stages, qp.last
    lam, mu = s.lam_upper - s.lam_lower, s.lam_high - s.lam_low
    for k in range(1, SIZES.horizon):
        x, u = s.x[k], s.u[k]
        of_x = s.Q[k] @ x + s.S[k] @ u + s.q[k] + qp.A[k] @ qp.pi[k] - qp.pi[k - 1] + s.C[k] @ lam[k]
        of_u = s.S[k].T @ x + s.R[k] @ u + s.r[k] + qp.B[k] @ qp.pi[k] + s.D[k] @ lam[k] + mu[k]
        np.testing.assert_allclose(np.concatenate([of_x, of_u]), 0.0, atol=1e-6)
    of_end = last.Q[0] @ last.x[0] + last.S[0] @ last.u[0] + last.q[0] - qp.pi[-1]
    np.testing.assert_allclose(of_end + last.C[0] @ (last.lam_upper - last.lam_lower)[0], 0.0, atol=1e-6)
    assert min(a.min() for a in (s.lam_low, s.lam_high, s.lam_lower, s.lam_upper)) >= 0.0


def test_bounds_may_come_and_go() -> None:
    qp = random_program(0)
    bounds = [a.copy() for part in (qp.stages, qp.last) for a in (part.low, part.high, part.lower, part.upper)]
    qp.solve()
    first = qp.stages.u.copy()
    for part in (qp.stages, qp.last):
        part.low[:], part.lower[:], part.high[:], part.upper[:] = -np.inf, -np.inf, np.inf, np.inf
    qp.set_bounds()
    assert qp.solve() is Status.SOLVED
    least, _ = judged(qp)
    assert value(qp) == pytest.approx(least, rel=1e-6)
    assert np.abs(qp.stages.u - first).max() > 1e-3
    arrays = [a for part in (qp.stages, qp.last) for a in (part.low, part.high, part.lower, part.upper)]
    for array, bound in zip(arrays, bounds, strict=True):
        array[:] = bound
    qp.set_bounds()
    qp.solve()
    np.testing.assert_allclose(qp.stages.u, first, atol=1e-7)


def test_an_infeasible_program_is_not_solved() -> None:
    qp = random_program(1)
    qp.last.lower[:], qp.last.upper[:], qp.last.D[:] = 1e3, 2e3, 0.0
    qp.stages.low[:], qp.stages.high[:] = -1e-3, 1e-3
    qp.set_bounds()
    assert qp.solve() is not Status.SOLVED


def test_numbers_that_are_not_finite_are_not_solved() -> None:
    qp = random_program(2)
    qp.stages.q[3] = np.nan
    assert qp.solve() is not Status.SOLVED


def test_two_solvers_do_not_share_anything() -> None:
    one, other = random_program(3), random_program(4)
    one.solve()
    first = one.stages.u.copy()
    other.solve()
    one.solve()
    np.testing.assert_array_equal(one.stages.u, first)
