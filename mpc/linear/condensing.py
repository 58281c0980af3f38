"""Linear optimal control of a task as a quadratic program: sparse in all stages, or condensed to the inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import casadi as ca
import numpy as np
import scipy.sparse as sp
from scipy.linalg import null_space, solve_triangular

from ctrl.controller import NotApplicable
from ctrl.linearisation import LocalModel
from mpc.polyhedra import Polyhedron, SetNotFound, maximal_invariant_set
from mpc.solvers.qp import QuadraticProgram
from systems import Budget, Chance, Task
from systems.nonsmooth import penalties

__all__ = [
    "AffineRows",
    "LinearOptimalControl",
    "ParametricQP",
    "affine_conditions",
    "affine_penalties",
    "condensed",
    "linear_optimal_control",
    "sparse",
    "terminal_set",
]


@dataclass(frozen=True, eq=False)
class AffineRows:
    """lower <= C (x, u) <= upper at the weight (rows,) of a violation, infinite where hard.

    Args:
        C: (rows, n + m). on_input: mask (rows,), what depends on the input. always: mask (rows,), what a steady state
            has to keep. names: of the constraints, empty for kinks.
    """

    C: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray
    on_input: np.ndarray
    always: np.ndarray
    names: tuple[str, ...] = ()

    def with_allowed(self, task: Task, weight: float) -> AffineRows:
        """The same with constraints that have an allowance, by chance or budget, at a weight instead of hard."""
        allowed = {c.name for c in task.constraints if isinstance(c.requirement, Budget | Chance)}
        may = np.array([name in allowed for name in self.names], dtype=bool)
        return replace(self, weight=np.where(may, weight, self.weight))


def affine_conditions(task: Task) -> AffineRows:
    """The conditions of a task.

    Raises:
        NotApplicable: one that is not affine in state and input, or soft rows of which only the largest violation
            counts and which may be violated together.
    """
    reading = task.reading
    rule = reading.conditions
    if reading.not_affine:
        raise NotApplicable(
            f"task '{task.name}': {', '.join(sorted(reading.not_affine))} is not affine in state and input, as a "
            "linear MPC needs; use a polytope inside it, or the nonlinear MPC"
        )
    x, u = rule.value.sx_in()
    C = np.array(ca.DM(ca.evalf(ca.jacobian(rule.value(x, u), ca.vertcat(x, u)))))
    offset = np.array(rule.value(0, 0))[:, 0]
    for group in np.unique(rule.group[np.isfinite(rule.weight)]):
        members = C[(rule.group == group) & np.isfinite(rule.weight)]
        if len(members) > 2 or (len(members) == 2 and not np.allclose(members[0], -members[1])):
            name = rule.names[int(np.flatnonzero(rule.group == group)[0])]
            raise NotApplicable(
                f"task '{task.name}': the soft constraint '{name}' charges the largest of several violations, which a "
                "linear MPC cannot; write its rows as constraints of their own, or use the nonlinear MPC"
            )
    return AffineRows(
        C, rule.lower - offset, rule.upper - offset, rule.weight, rule.on_input, np.isinf(rule.weight), rule.names
    )


def affine_penalties(task: Task) -> AffineRows:
    """The kinks of the stage cost as soft rows.

    Raises:
        NotApplicable: kinks that are not weighted maxima of affine functions, or kinks of the terminal cost.
    """
    last = task.reading.terminal
    if last is not None and (last.count or last.left):
        raise NotApplicable(
            f"task '{task.name}': its terminal cost has kinks ({', '.join(task.reading.cost_kinks)}), which a linear "
            "MPC does not take; use the nonlinear MPC"
        )
    stage = task.stage_cost
    found = penalties(stage)
    symbols = stage.sx_in()
    x, u = symbols[:2]
    if found is not None:
        excess = ca.substitute(found.excess(*symbols), ca.vertcat(*symbols[2:]), ca.vertcat(*task.reading.start))
        slopes = ca.jacobian(excess, ca.vertcat(x, u))
        if not ca.symvar(slopes) and (task.reference.is_constant or not len(found.weight)):
            C = np.array(ca.DM(ca.evalf(slopes))).reshape(len(found.weight), x.shape[0] + u.shape[0])
            offset = np.array(ca.Function("offset", [x, u], [excess])(0, 0)).reshape(-1)
            acts = np.abs(C[:, x.shape[0] :]).max(axis=1, initial=0.0) > 0
            return AffineRows(C, np.full(len(C), -np.inf), -offset, found.weight, acts, np.zeros(len(C), dtype=bool))
    raise NotApplicable(
        f"task '{task.name}': its cost has kinks ({', '.join(task.reading.cost_kinks)}) that are not weighted maxima "
        "of affine functions about a constant reference, as a linear MPC needs; use the nonlinear MPC"
    )


@dataclass(frozen=True, eq=False)
class LinearOptimalControl:
    """min s'Ps + q's + weights over s = [x0 u0 x1 u1 ... xN], with x+ = A_k x + B_k u + c_k from the measured x0.

    Everything is in absolute variables. q and the c_k come with every instance.

    Args:
        A (N, n, n), B (N, n, m). K: (N, m, n), a stabilising feedback. P: (d, d).
        G: (rows, d), with lower <= G s <= upper at the weight (rows,) of a violation, infinite where hard.
        state_at, input_at: indices (N + 1, n) and (N, m) into s.
        rest_at: (n + m,) indices of a steady state that is chosen with the plan, behind xN; empty where there is none.
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

    @property
    def horizon(self) -> int:
        return len(self.A)


def linear_optimal_control(
    A: np.ndarray,
    B: np.ndarray,
    K: np.ndarray,
    stages: np.ndarray,
    last: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    rules: AffineRows,
    kinks: AffineRows,
    end: Polyhedron | None,
    rest: np.ndarray | None = None,
    is_run_end: bool = False,
) -> LinearOptimalControl:
    """Stacks the stages.

    Args:
        A (N, n, n), B (N, n, m), K (N, m, n): dynamics and a stabilising feedback.
        stages: (N, n + m, n + m), half the Hessian of each stage cost. last: (n, n), of the terminal cost.
        bounds: of the inputs, lower and upper (m,). rules: imposed at every stage but on the measured state.
        kinks: charged at every stage but the last. end: a set for x_N, None for none.
        rest: (n,), what a unit of distance between x_N and a steady state costs, which is chosen with the plan, within
            the rules, and charged as N more stages would be; None for no such state.
        is_run_end: whether the task charges its terminal cost for the last state, and no soft rows.
    """
    horizon, n, m = B.shape
    state_at = np.arange(horizon + 1)[:, None] * (n + m) + np.arange(n)
    input_at = np.arange(horizon)[:, None] * (n + m) + n + np.arange(m)
    d = horizon * (n + m) + n
    rest_at = np.arange(d, d + (0 if rest is None else n + m))
    d += len(rest_at)
    least, most = bounds
    limited = np.flatnonzero(np.isfinite(least) | np.isfinite(most))
    imposed, bounded = _Rows(d), np.eye(m)[limited]
    for k in range(horizon):
        imposed.add(bounded, input_at[k])
    lower, upper = [least[limited]] * horizon, [most[limited]] * horizon
    weight = [np.full(len(limited), np.inf)] * horizon
    for k in range(horizon + 1):
        last_stage = k == horizon
        columns = state_at[k] if last_stage else np.concatenate([state_at[k], input_at[k]])
        for rows in (rules,) if last_stage else (rules, kinks):
            taken = rows.on_input if k == 0 else ~rows.on_input if last_stage else np.ones(len(rows.C), bool)
            if last_stage and (is_run_end or rest is not None):  # a run's last state, or one at rest, is not charged
                taken = taken & np.isinf(rows.weight)
            i = np.flatnonzero(taken)
            imposed.add(rows.C[i, : len(columns)], columns)
            lower.append(rows.lower[i])
            upper.append(rows.upper[i])
            weight.append(rows.weight[i])
    if end is not None:
        imposed.add(end.H, state_at[-1])
        lower.append(np.full(len(end.h), -np.inf))
        upper.append(end.h)
        weight.append(np.full(len(end.h), np.inf))
    if rest is not None:
        imposed.add(bounded, rest_at[n:])
        imposed.add(rules.C, rest_at)
        imposed.add(kinks.C, rest_at)
        imposed.add(np.hstack([np.eye(n), -np.eye(n)]), np.concatenate([state_at[-1], rest_at[:n]]))
        lower += [least[limited], rules.lower, kinks.lower, np.zeros(n)]
        upper += [most[limited], rules.upper, kinks.upper, np.zeros(n)]
        weight += [np.full(len(limited), np.inf), np.where(rules.always, np.inf, horizon * rules.weight)]
        weight += [horizon * kinks.weight, rest]
    cost = _Rows(d)
    for k in range(horizon):
        cost.add(stages[k], np.concatenate([state_at[k], input_at[k]]))
    cost.add(last, state_at[-1])
    if rest is not None:
        cost.add(horizon * stages[-1], rest_at)
    low, high, weights = (np.concatenate(parts) for parts in (lower, upper, weight))
    return LinearOptimalControl(
        A, B, K, cost.matrix(), imposed.matrix(), low, high, weights, state_at, input_at, rest_at
    )  # fmt: skip


class _Rows:
    """Rows of a sparse matrix of this width, added as dense blocks on some of its columns."""

    def __init__(self, width: int) -> None:
        self._width, self._count = width, 0
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, block: np.ndarray, columns: np.ndarray) -> None:
        i, j = np.nonzero(block)
        self._parts.append((block[i, j], i + self._count, columns[j]))
        self._count += len(block)

    def matrix(self) -> sp.csc_matrix:
        if not self._parts:
            return sp.csc_matrix((0, self._width))
        values, rows, columns = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return sp.csc_matrix((values, (rows, columns)), shape=(self._count, self._width))


def terminal_set(task: Task, model: LocalModel, K: np.ndarray, rules: AffineRows) -> Polyhedron:
    """Maximal invariant set {x: H x <= h} of e+ = (A - B K) e, e = x - x_ref, under input bounds and hard rows.

    Raises:
        SetNotFound: the reference moves, or the operating point is no equilibrium inside the constraints.
    """
    if not task.reference.is_constant:
        raise SetNotFound("the reference moves")
    if task.reading.steady_state is None:
        raise SetNotFound("the reference is no equilibrium")
    n = len(model.x_ref)
    least, most = task.input_bounds
    hard = np.isinf(rules.weight)
    at_rest = (rules.C @ np.concatenate([model.x_ref, model.u_ref]))[hard]
    closed = np.vstack([-K, (rules.C[:, :n] - rules.C[:, n:] @ K)[hard]])
    low = np.concatenate([least - model.u_ref, rules.lower[hard] - at_rest])
    high = np.concatenate([most - model.u_ref, rules.upper[hard] - at_rest])
    H, h = np.vstack([closed, -closed]), np.concatenate([high, -low])
    kept = np.isfinite(h)
    found = maximal_invariant_set(model.plant.A - model.plant.B @ K, Polyhedron(H[kept], h[kept]))
    return Polyhedron(found.H, found.h + found.H @ model.x_ref)


@dataclass(frozen=True, eq=False)
class ParametricQP:
    """A quadratic program whose data are affine in the measured state x and the course [q, c_0 .. c_(N-1)].

    q is the linear part of the cost of s and c_k the affine term of stage k. Then f = f_state x + f_course course,
    the bounds are those of the problem + shift_state x + shift_course course, and
    s = expand z + expand_state x + expand_course course. In the least-distance form, H is the identity.
    """

    problem: QuadraticProgram
    f_state: np.ndarray
    f_course: sp.csr_matrix
    shift_state: np.ndarray
    shift_course: sp.csr_matrix
    expand: np.ndarray | sp.csr_matrix
    expand_state: np.ndarray
    expand_course: sp.csr_matrix
    is_least_distance: bool

    def along(self, course: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """f, lower, upper and the offset of s for a course, at x = 0; in the least-distance form f is moved into the
        rest, and zero."""
        f = self.f_course @ course
        shift = self.shift_course @ course
        offset = self.expand_course @ course
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
    unstable = max(np.abs(np.linalg.eigvals(A)).max(initial=0.0) for A in _distinct(control.A)) > 1.0 + 1e-6
    steady, fixed = _steady_states(control)
    # s = T v + Tx x + Tc (c_0 .. c_(N-1)), stage by stage; the last of v are coordinates of the steady states.
    T, Tx = np.zeros((d, horizon * m + steady.shape[1])), np.zeros((d, n))
    Tc = np.zeros((d, horizon * n))
    T[control.rest_at, horizon * m :], Tc[control.rest_at, -n:] = steady, fixed
    Tx[control.state_at[0]] = np.eye(n)
    for k in range(horizon):
        x, u, ahead = control.state_at[k], control.input_at[k], control.state_at[k + 1]
        A, B = control.A[k], control.B[k]
        for part in (T, Tx, Tc):
            if unstable:
                part[u] = -control.K[k] @ part[x]
            if part is T:
                T[u, k * m + np.arange(m)] += 1.0
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
    G[np.abs(G) < 1e-14 * np.abs(G).max(initial=0.0)] = 0.0
    free = T.shape[1]
    problem = QuadraticProgram(
        sp.identity(free, format="csc"), sp.csc_matrix(G), control.weight, control.lower, control.upper
    )
    blank = sp.csr_matrix((d, d))
    return ParametricQP(
        problem,
        f_state=np.zeros((free, n)),
        f_course=sp.csr_matrix(np.hstack([T.T, pull @ Tc])),
        shift_state=-control.G @ Tx,
        shift_course=-sp.csr_matrix(control.G @ sp.hstack([blank, sp.csr_matrix(Tc)])),
        expand=T,
        expand_state=Tx,
        expand_course=sp.csr_matrix(sp.hstack([blank, sp.csr_matrix(Tc)])),
        is_least_distance=True,
    )


def _steady_states(control: LinearOptimalControl) -> tuple[np.ndarray, np.ndarray]:
    """Matrices M (n + m, p) and F (n + m, n): all (x, u) with x = A x + B u + c are M theta + F c; empty where the
    problem has no steady state."""
    n, size = control.B.shape[1], len(control.rest_at)
    if not size:
        return np.zeros((0, 0)), np.zeros((0, n))
    still = np.hstack([np.eye(n) - control.A[-1], -control.B[-1]])
    return null_space(still), np.linalg.pinv(still)


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
    equal, others = (horizon + 1) * n + resting, len(control.weight)
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
    drift = sp.vstack([first, steps, last, sp.csr_matrix((others, horizon * n))])
    return ParametricQP(
        problem,
        f_state=np.zeros((d, n)),
        f_course=sp.csr_matrix(sp.hstack([sp.identity(d), sp.csr_matrix((d, horizon * n))])),
        shift_state=np.eye(equal + others, n),
        shift_course=sp.csr_matrix(sp.hstack([sp.csr_matrix((equal + others, d)), drift])),
        expand=sp.identity(d, format="csr"),
        expand_state=np.zeros((d, n)),
        expand_course=sp.csr_matrix((d, d + horizon * n)),
        is_least_distance=False,
    )
