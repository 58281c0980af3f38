"""Linear optimal control of a task as a quadratic program: sparse in all stages, or condensed to the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.linalg import null_space, solve_triangular

from ctrl.controller import NotApplicable
from mpc.affine_task import AffineRows, AffineTask
from mpc.linear.rollout import Rollout
from mpc.linear.stages import Stages
from mpc.polyhedra import Polyhedron
from mpc.solvers.qp import QuadraticProgram

ROLLED = 80_000  # entries of the condensed rows from which a prediction is faster than the product with them

__all__ = ["LinearOptimalControl", "ParametricQP", "condensed", "linear_optimal_control", "sparse"]


@dataclass(frozen=True, eq=False)
class LinearOptimalControl:
    """min s'Ps + q's + weights over s = [x0 u0 x1 u1 ... xN], with x+ = A_k x + B_k u + c_k from the measured x0.

    All variables are absolute. Each instance of the problem has its own q and c_k.

    Args:
        A (N, n, n), B (N, n, m).
        K: (N, m, n), a stabilising feedback.
        P: (d, d).
        G: (rows, d), with lower <= G s <= upper at the weight (rows,) of a violation, infinite where hard.
        state_at, input_at: indices (N + 1, n) and (N, m) into s.
        rest_at: (n + m,) indices of a steady state that is chosen with the plan, behind xN; empty where there is none.
        block_at: (N,), the block of each stage; inputs of a block are equal.
    """

    A: np.ndarray
    B: np.ndarray
    K: np.ndarray
    P: sp.csc_matrix
    G: sp.csc_matrix
    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray
    state_at: np.ndarray
    input_at: np.ndarray
    rest_at: np.ndarray
    block_at: np.ndarray

    @property
    def horizon(self) -> int:
        return len(self.A)

    @property
    def blocks(self) -> int:
        """Number of blocks of equal inputs."""
        return int(self.block_at[-1]) + 1

    def has_matrices_of(self, other: LinearOptimalControl) -> bool:
        """Whether the other differs in nothing but finite bounds."""
        same = (np.array_equal(getattr(self, name), getattr(other, name)) for name in ("A", "B", "K", "weight"))
        sides = (
            np.array_equal(np.isfinite(getattr(self, name)), np.isfinite(getattr(other, name)))
            for name in ("lower", "upper")
        )
        equal = np.array_equal(self.lower == self.upper, other.lower == other.upper)
        shape = self.G.shape == other.G.shape and np.array_equal(self.rest_at, other.rest_at)
        shape = shape and np.array_equal(self.block_at, other.block_at)
        return all(same) and all(sides) and equal and shape and not any(
            (getattr(self, name) != getattr(other, name)).nnz for name in ("P", "G")
        )  # fmt: skip


def linear_optimal_control(
    stages: Stages,
    affine: AffineTask,
    kinks: AffineRows,
    end: Polyhedron | None,
    rest: np.ndarray | None = None,
    is_run_end: bool = False,
    block_at: np.ndarray | None = None,
) -> LinearOptimalControl:
    """Stacks the stages.

    Args:
        stages: dynamics, a stabilising feedback and costs.
        affine: input bounds, and constraints imposed at every stage but on the measured state.
        kinks: charged at every stage but the last.
        end: a set for x_N, None for none.
        rest: (n,), cost of a unit of distance between x_N and a steady state that is optimised with the plan, within
            the constraints, and charged like N more stages; None for no such state.
        is_run_end: whether the task charges its terminal cost for the last state, and no soft rows.
        block_at: see :class:`LinearOptimalControl`; default: every stage is a block.
    """
    horizon, n, m = stages.B.shape
    state_at = np.arange(horizon + 1)[:, None] * (n + m) + np.arange(n)
    input_at = np.arange(horizon)[:, None] * (n + m) + n + np.arange(m)
    d = horizon * (n + m) + n
    rest_at = np.arange(d, d + (0 if rest is None else n + m))
    d += len(rest_at)
    inputs, constraints = affine.inputs, affine.constraints
    imposed, bounded = _SparseRows(d), inputs.C[:, n:]
    imposed.repeat(bounded, input_at)
    lower, upper, weight = [inputs.lower] * horizon, [inputs.upper] * horizon, [inputs.weight] * horizon
    stage_at = np.hstack([state_at[:-1], input_at])
    both = (constraints, kinks)

    def impose(taken: Sequence[np.ndarray], columns: np.ndarray) -> None:
        """Some rows of the constraints, and of the kinks where they are given, in stages with these columns."""
        parts = list(zip(both, taken, strict=False))
        imposed.repeat(np.vstack([rows.C[mask][:, : columns.shape[1]] for rows, mask in parts]), columns)
        for bounds, name in ((lower, "lower"), (upper, "upper"), (weight, "weight")):
            bounds += [np.concatenate([getattr(rows, name)[mask] for rows, mask in parts])] * len(columns)

    impose([rows.on_input for rows in both], stage_at[:1])
    impose([np.ones(len(rows.C), dtype=bool) for rows in both], stage_at[1:])
    last = ~constraints.on_input
    if is_run_end or rest is not None:  # a run's last state, or one at rest, is not charged
        last = last & constraints.hard
    impose([last], state_at[-1:])
    if end is not None:
        imposed.add(end.H, state_at[-1])
        lower.append(np.full(len(end.h), -np.inf))
        upper.append(end.h)
        weight.append(np.full(len(end.h), np.inf))
    if rest is not None:
        imposed.add(bounded, rest_at[n:])
        imposed.add(constraints.C, rest_at)
        imposed.add(kinks.C, rest_at)
        imposed.add(np.hstack([np.eye(n), -np.eye(n)]), np.concatenate([state_at[-1], rest_at[:n]]))
        lower += [inputs.lower, constraints.lower, kinks.lower, np.zeros(n)]
        upper += [inputs.upper, constraints.upper, kinks.upper, np.zeros(n)]
        weight += [inputs.weight, np.where(constraints.always, np.inf, horizon * constraints.weight)]
        weight += [horizon * kinks.weight, rest]
    cost = _SparseRows(d)
    if (stages.H[0] == stages.H).all():
        cost.repeat(stages.H[0], stage_at)
    else:
        for H, columns in zip(stages.H, stage_at, strict=True):
            cost.add(H, columns)
    cost.add(stages.P, state_at[-1])
    if rest is not None:
        cost.add(horizon * stages.H[-1], rest_at)
    low, high, weights = (np.concatenate(parts) for parts in (lower, upper, weight))
    return LinearOptimalControl(
        stages.A, stages.B, stages.K, cost.matrix(), imposed.matrix(), low, high, weights, state_at, input_at, rest_at,
        np.arange(horizon) if block_at is None else block_at,
    )  # fmt: skip


class _SparseRows:
    """Rows of a sparse matrix of this width, added as dense blocks on some of its columns."""

    def __init__(self, width: int) -> None:
        self._width, self._count = width, 0
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, block: np.ndarray, columns: np.ndarray) -> None:
        self.repeat(block, columns[None])

    def repeat(self, block: np.ndarray, columns: np.ndarray) -> None:
        """The same block once for each row of the columns (times, width of the block)."""
        i, j = np.nonzero(block)
        times = len(columns)
        rows = i + self._count + len(block) * np.arange(times)[:, None]
        self._parts.append((np.tile(block[i, j], times), rows.ravel(), columns[:, j].ravel()))
        self._count += times * len(block)

    def matrix(self) -> sp.csc_matrix:
        if not self._parts:
            return sp.csc_matrix((0, self._width))
        values, rows, columns = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return sp.csc_matrix((values, (rows, columns)), shape=(self._count, self._width))


@dataclass(frozen=True, eq=False)
class ParametricQP:
    """A quadratic program whose data are affine in the measured state x and the stage data [q, c_0 .. c_(N-1)].

    q is the linear part of the cost of s and c_k the affine term of stage k. Then f = f_data data,
    the bounds are those of the problem + shift_state x + shift_data data, and
    s = expand z + expand_state x + expand_data data. In the least-distance form, H is the identity. Each row of G is
    multiplied by its entry of ``scale``.
    """

    problem: QuadraticProgram
    f_data: sp.csr_matrix
    shift_state: np.ndarray
    shift_data: sp.csr_matrix
    expand: np.ndarray | sp.csr_matrix
    expand_state: np.ndarray
    expand_data: sp.csr_matrix
    is_least_distance: bool
    scale: np.ndarray

    def with_bounds(self, control: LinearOptimalControl) -> ParametricQP:
        """The same program with the bounds of a problem that has the same matrices."""
        lower, upper = self.problem.lower.copy(), self.problem.upper.copy()
        own = len(lower) - len(control.lower)  # rows of the program itself come first
        lower[own:], upper[own:] = self.scale * control.lower, self.scale * control.upper
        return replace(self, problem=replace(self.problem, lower=lower, upper=upper))

    def instance(self, data: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """f, lower, upper and the offset of s for these stage data, at x = 0; in the least-distance form f is zero, and
        its effect is in the others."""
        f = self.f_data @ data
        shift = self.shift_data @ data
        offset = self.expand_data @ data
        if self.is_least_distance:
            shift, offset, f = shift + self.problem.A @ f, offset - self.expand @ f, np.zeros_like(f)
        return f, self.problem.lower + shift, self.problem.upper + shift, offset


def condensed(control: LinearOptimalControl) -> ParametricQP:
    """Only the inputs are variables: u = -K x + v, v = v*(x) + L^-T z.

    K is the stabilising feedback where the plant is not stable, since powers of an unstable A would ruin the
    conditioning (Rossiter, Kouvaritakis & Rice, 1998), and zero otherwise. v* is the optimum without constraints and
    L L' the Hessian in v, so what is minimised is |z|^2/2: f is zero, and only bounds depend on what is measured.

    Raises:
        NotApplicable: a Hessian that is not positive definite to working precision.
    """
    (horizon, n, m), d = control.B.shape, control.P.shape[0]
    free, is_blocked = control.blocks, control.blocks < horizon
    # Feedback would vary the inputs of a block.
    unstable = (
        not is_blocked and max(np.abs(np.linalg.eigvals(A)).max(initial=0.0) for A in _distinct(control.A)) > 1.0 + 1e-6
    )
    steady, fixed = _steady_states(control)
    # s = T v + Tx x + Tc (c_0 .. c_(N-1)), stage by stage; the last of v are coordinates of the steady states.
    T, Tx = np.zeros((d, free * m + steady.shape[1])), np.zeros((d, n))
    Tc = np.zeros((d, horizon * n))
    T[control.rest_at, free * m :], Tc[control.rest_at, -n:] = steady, fixed
    Tx[control.state_at[0]] = np.eye(n)
    for k in range(horizon):
        x, u, ahead = control.state_at[k], control.input_at[k], control.state_at[k + 1]
        A, B = control.A[k], control.B[k]
        for part in (T, Tx, Tc):
            if unstable:
                part[u] = -control.K[k] @ part[x]
            if part is T:
                T[u, control.block_at[k] * m + np.arange(m)] += 1.0
            part[ahead] = A @ part[x] + B @ part[u]
        Tc[ahead, k * n + np.arange(n)] += 1.0
    pull = 2.0 * (control.P @ T).T
    H = pull @ T
    try:
        root = np.linalg.cholesky(0.5 * (H + H.T))
    except np.linalg.LinAlgError:
        least, most = np.linalg.eigvalsh(0.5 * (H + H.T))[[0, -1]]
        raise NotApplicable(
            f"the Hessian in the inputs has eigenvalues from {least:.2g} to {most:.2g}, too far apart for the "
            "condensed form; give every input a larger weight, or take solver='piqp'"
        ) from None
    # T = T L^-T makes the Hessian the identity; then v* is taken out.
    T = solve_triangular(root, T.T, lower=True).T
    pull = 2.0 * (control.P @ T).T
    Tx -= T @ (pull @ Tx)
    G = control.G @ T
    terms = abs(control.G) @ np.abs(T)
    G[np.abs(G) < 1e-14 * terms.max(axis=1, keepdims=True, initial=0.0)] = 0.0
    # Solvers measure how a row is violated in the row's own unit. In z all directions cost the same, so a short row is
    # one in a large unit, and what is nothing in that unit can be much in z.
    length = np.linalg.norm(G, axis=1)
    scale = 1.0 / np.where(length > 0.0, np.minimum(length, 1.0), 1.0)
    variables, rescaled = T.shape[1], sp.diags_array(scale)
    product = None
    if G.size > ROLLED and not is_blocked:
        K = _distinct(control.K) if unstable else np.zeros((1, m, n))
        rows = rescaled @ control.G
        product = Rollout(_distinct(control.A), _distinct(control.B), K, root, rows, steady, horizon)
    problem = QuadraticProgram(
        sp.identity(variables, format="csc"),
        sp.csc_matrix(scale[:, None] * G),
        control.weight / scale,
        scale * control.lower,
        scale * control.upper,
        product,
    )
    blank = sp.csr_matrix((d, d))
    return ParametricQP(
        problem,
        f_data=sp.csr_matrix(np.hstack([T.T, pull @ Tc])),
        shift_state=-scale[:, None] * (control.G @ Tx),
        shift_data=-sp.csr_matrix(rescaled @ control.G @ sp.hstack([blank, sp.csr_matrix(Tc)])),
        expand=T,
        expand_state=Tx,
        expand_data=sp.csr_matrix(sp.hstack([blank, sp.csr_matrix(Tc)])),
        is_least_distance=True,
        scale=scale,
    )


def _steady_states(control: LinearOptimalControl) -> tuple[np.ndarray, np.ndarray]:
    """Matrices M (n + m, p) and F (n + m, n): all (x, u) with x = A x + B u + c are M theta + F c; empty where the
    problem has no steady state."""
    n, size = control.B.shape[1], len(control.rest_at)
    if not size:
        return np.zeros((0, 0)), np.zeros((0, n))
    drift = np.hstack([np.eye(n) - control.A[-1], -control.B[-1]])
    return null_space(drift), np.linalg.pinv(drift)


def _distinct(matrices: np.ndarray) -> np.ndarray:
    """One where all are equal, else all of them."""
    return matrices[:1] if (matrices == matrices[0]).all() else matrices


def sparse(control: LinearOptimalControl) -> ParametricQP:
    """All of s is variable; x0 = x and the dynamics are equality rows."""
    horizon, n, d = control.horizon, control.A.shape[1], control.P.shape[0]
    selection = sp.identity(d, format="csr")
    gaps = [selection[control.state_at[0]]]
    for k in range(horizon):
        x, u, ahead = control.state_at[k], control.input_at[k], control.state_at[k + 1]
        A, B = sp.csr_matrix(control.A[k]), sp.csr_matrix(control.B[k])
        gaps.append(selection[ahead] - A @ selection[x] - B @ selection[u])
    resting = 0
    if len(control.rest_at):
        rest, hold = selection[control.rest_at[:n]], selection[control.rest_at[n:]]
        gaps.append(rest - sp.csr_matrix(control.A[-1]) @ rest - sp.csr_matrix(control.B[-1]) @ hold)
        resting = n
    for k in range(1, horizon):
        if control.block_at[k] == control.block_at[k - 1]:
            gaps.append(selection[control.input_at[k]] - selection[control.input_at[k - 1]])
    held = (horizon - control.blocks) * control.B.shape[2]
    equal, others = (horizon + 1) * n + resting + held, len(control.weight)
    zero = np.zeros(equal)
    problem = QuadraticProgram(
        2.0 * control.P,
        sp.vstack([*gaps, control.G], format="csc"),
        np.concatenate([np.full(equal, np.inf), control.weight]),
        np.concatenate([zero, control.lower]),
        np.concatenate([zero, control.upper]),
    )
    steps = sp.identity(horizon * n, format="csr")
    first, last = sp.csr_matrix((n, horizon * n)), steps[-n:] if resting else sp.csr_matrix((0, horizon * n))
    drift = sp.vstack([first, steps, last, sp.csr_matrix((held + others, horizon * n))])
    return ParametricQP(
        problem,
        f_data=sp.csr_matrix(sp.hstack([sp.identity(d), sp.csr_matrix((d, horizon * n))])),
        shift_state=np.eye(equal + others, n),
        shift_data=sp.csr_matrix(sp.hstack([sp.csr_matrix((equal + others, d)), drift])),
        expand=sp.identity(d, format="csr"),
        expand_state=np.zeros((d, n)),
        expand_data=sp.csr_matrix((d, d + horizon * n)),
        is_least_distance=False,
        scale=np.ones(others),
    )
