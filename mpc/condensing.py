"""Linear optimal control of a task as a quadratic program: sparse in all stages, or condensed to the inputs."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np
import scipy.sparse as sp
from scipy.linalg import solve_triangular

from ctrl.controller import NotApplicable
from ctrl.regulator import Gain, LocalModel, local_model, lqr
from ctrl.sets import Polyhedron, SetNotFound, maximal_invariant_set
from mpc.solvers.base import QuadraticProgram
from mpc.transcription import check_horizon, check_input, conditions, is_equilibrium
from systems import Task

__all__ = ["LinearOptimalControl", "ParametricQP", "affine_conditions", "condensed", "linear_optimal_control", "sparse"]


@dataclass(frozen=True, eq=False)
class LinearOptimalControl:
    """min (s - r)'P(s - r) + prices over s = [x0 u0 x1 u1 ... xN], with x+ = A x + B u + c_k from the measured x0.

    ``r`` stacks the references in the same order. Everything is in absolute variables. The c_k come with the
    references: with c_k = F(x_r, u_r) - A x_r - B u_r the model is exact on the reference even where that moves.

    Args:
        model: the linearisation and the stage cost. gain: its regulator, whose P prices the last state.
        P: (d, d). G: (rows, d), with lower <= G s <= upper at the price (rows,) of a violation, infinite where hard.
        state_at, input_at: indices (N + 1, n) and (N, m) into s.
        terminal_set: of x_N - x_r, part of G; None where there is none, for the reason ``terminal``.
    """

    model: LocalModel
    gain: Gain
    P: sp.csc_matrix
    G: sp.csc_matrix
    lower: np.ndarray
    upper: np.ndarray
    price: np.ndarray
    state_at: np.ndarray
    input_at: np.ndarray
    terminal_set: Polyhedron | None
    terminal: str


def linear_optimal_control(task: Task, horizon: int, with_set: bool | None) -> LinearOptimalControl:
    """Linearises the task at its first reference and stacks ``horizon`` stages.

    Args:
        with_set: whether the last state must lie in the maximal invariant set of the regulator under the hard
            constraints; None takes it where there is one.

    Raises:
        NotApplicable: no regulator, a constraint that is not affine, or a set that was asked for and does not exist.
        InvalidValue: the horizon.
    """
    check_horizon(horizon)
    check_input(task)
    model = local_model(task)
    gain = lqr(model.plant, model.Q, model.R, model.N)
    n, m = model.plant.B.shape
    state_at = np.arange(horizon + 1)[:, None] * (n + m) + np.arange(n)
    input_at = np.arange(horizon)[:, None] * (n + m) + n + np.arange(m)
    d = horizon * (n + m) + n
    stage = np.block([[model.Q, model.N], [model.N.T, model.R]])
    cost = sp.block_diag([*[stage] * horizon, gain.P], format="csc")
    rule = conditions(task)
    C, offset = affine_conditions(task)
    least, most = task.input_bounds
    limited = np.flatnonzero(np.isfinite(least) | np.isfinite(most))
    selection = sp.identity(d, format="csr")
    blocks = [selection[input_at[k][limited]] for k in range(horizon)]
    lower, upper = [least[limited]] * horizon, [most[limited]] * horizon
    price = [np.full(len(limited), np.inf)] * horizon
    for k in range(horizon + 1):
        i = rule.at(k, horizon)
        columns = state_at[k] if k == horizon else np.concatenate([state_at[k], input_at[k]])
        blocks.append(sp.csr_matrix(C[i, : len(columns)]) @ selection[columns])
        lower.append(rule.lower[i] - offset[i])
        upper.append(rule.upper[i] - offset[i])
        price.append(rule.price[i])
    terminal_set, said = None, "Riccati cost-to-go"
    if with_set is not False:
        try:
            terminal_set = _terminal_set(task, model, gain, C, offset)
            said = f"Riccati cost-to-go and the maximal invariant set, {len(terminal_set.h)} rows"
        except SetNotFound as reason:
            if with_set:
                raise NotApplicable(f"task '{task.name}' has no terminal set: {reason}") from reason
            said = f"Riccati cost-to-go without a set: {reason}"
    if terminal_set is not None:
        blocks.append(sp.csr_matrix(terminal_set.H) @ selection[state_at[-1]])
        lower.append(np.full(len(terminal_set.h), -np.inf))
        upper.append(terminal_set.h + terminal_set.H @ model.x_ref)
        price.append(np.full(len(terminal_set.h), np.inf))
    G = sp.vstack(blocks, format="csc")
    low, high, prices = (np.concatenate(parts) for parts in (lower, upper, price))
    return LinearOptimalControl(
        model, gain, cost, G, low, high, prices, state_at, input_at, terminal_set, said
    )  # fmt: skip


def affine_conditions(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """C (rows, n + m) and offset (rows,) of the task's conditions, v(x, u) = C (x, u) + offset."""
    rule = conditions(task)
    x, u = rule.value.sx_in()
    value = rule.value(x, u)
    jacobian = ca.jacobian(value, ca.vertcat(x, u))
    bent = {name for i, name in enumerate(rule.names) if ca.symvar(jacobian[i, :])}
    if bent:
        raise NotApplicable(
            f"task '{task.name}': {', '.join(sorted(bent))} is not affine in state and input, as a linear MPC needs; "
            "use a polytope inside it, or the nonlinear MPC"
        )
    return np.array(ca.DM(ca.evalf(jacobian))), np.array(rule.value(0, 0))[:, 0]


def _terminal_set(task: Task, model: LocalModel, gain: Gain, C: np.ndarray, offset: np.ndarray) -> Polyhedron:
    """Maximal invariant set of e+ = (A - B K) e under the input bounds and the hard rows, e = x - x_r."""
    if not task.reference.is_constant:
        raise SetNotFound("the reference moves")
    if not is_equilibrium(task):
        raise SetNotFound("the reference is no equilibrium")
    rule, K = conditions(task), gain.K
    n = len(model.x_ref)
    least, most = task.input_bounds
    hard = np.isinf(rule.price)
    at_reference = (C @ np.concatenate([model.x_ref, model.u_ref]) + offset)[hard]
    closed = np.vstack([-K, (C[:, :n] - C[:, n:] @ K)[hard]])
    low = np.concatenate([least - model.u_ref, rule.lower[hard] - at_reference])
    high = np.concatenate([most - model.u_ref, rule.upper[hard] - at_reference])
    H, h = np.vstack([closed, -closed]), np.concatenate([high, -low])
    kept = np.isfinite(h)
    return maximal_invariant_set(model.plant.A - model.plant.B @ K, Polyhedron(H[kept], h[kept]))


@dataclass(frozen=True, eq=False)
class ParametricQP:
    """A quadratic program whose data are affine in the measured state x and the course [r, c_0 .. c_(N-1)].

    r stacks the references and c_k is the affine term of stage k. Then f = f_state x + f_course course + f_constant,
    the bounds are those of the problem + shift_state x + shift_course course, and
    s = expand z + expand_state x + expand_course course + expand_constant. In the least-distance form, H is the
    identity.
    """

    problem: QuadraticProgram
    f_state: np.ndarray
    f_course: sp.csr_matrix
    f_constant: np.ndarray
    shift_state: np.ndarray
    shift_course: sp.csr_matrix
    expand: np.ndarray | sp.csr_matrix
    expand_state: np.ndarray
    expand_course: sp.csr_matrix
    expand_constant: np.ndarray
    is_least_distance: bool

    def along(self, course: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """f, lower, upper and the offset of s for a course, at x = 0; in the least-distance form f is moved into the
        rest, and zero."""
        f = self.f_course @ course + self.f_constant
        shift = self.shift_course @ course
        offset = self.expand_course @ course + self.expand_constant
        if self.is_least_distance:
            shift, offset, f = shift + self.problem.A @ f, offset - self.expand @ f, np.zeros_like(f)
        return f, self.problem.lower + shift, self.problem.upper + shift, offset


def condensed(control: LinearOptimalControl) -> ParametricQP:
    """Only the inputs are variables: u = u_r - K (x - x_r) + v, with the first reference, v = v*(x) + L^-T z.

    K is the regulator's gain where the plant is not stable, since powers of an unstable A would ruin the conditioning
    (Rossiter, Kouvaritakis & Rice, 1998), and zero otherwise. v* is the optimum without constraints and L L' the
    Hessian in v, so what is minimised is |z|^2/2: f is zero, and only bounds depend on what is measured.

    Raises:
        NotApplicable: a Hessian that is not positive definite to working precision.
    """
    model, A, B = control.model, control.model.plant.A, control.model.plant.B
    (horizon, m), n, d = control.input_at.shape, len(A), control.P.shape[0]
    unstable = np.abs(np.linalg.eigvals(A)).max(initial=0.0) > 1.0 + 1e-6
    K = control.gain.K if unstable else np.zeros((m, n))
    # s = T v + Tx x + Tc (c_0 .. c_(N-1)) + t, stage by stage.
    T, Tx, Tc, t = np.zeros((d, horizon * m)), np.zeros((d, n)), np.zeros((d, horizon * n)), np.zeros(d)
    Tx[control.state_at[0]] = np.eye(n)
    for k in range(horizon):
        x, u, ahead = control.state_at[k], control.input_at[k], control.state_at[k + 1]
        for part in (T, Tx, Tc, t):
            part[u] = -K @ part[x]
        T[u, k * m + np.arange(m)] += 1.0
        t[u] += model.u_ref + K @ model.x_ref
        for part in (T, Tx, Tc, t):
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
    Gt, free = control.G @ t, horizon * m
    problem = QuadraticProgram(
        sp.identity(free, format="csc"), sp.csc_matrix(G), control.price, control.lower - Gt, control.upper - Gt
    )
    blank = sp.csr_matrix((d, d))
    return ParametricQP(
        problem,
        f_state=np.zeros((free, n)),
        f_course=sp.csr_matrix(np.hstack([-pull, pull @ Tc])),
        f_constant=pull @ t,
        shift_state=-control.G @ Tx,
        shift_course=-sp.csr_matrix(control.G @ sp.hstack([blank, sp.csr_matrix(Tc)])),
        expand=T,
        expand_state=Tx,
        expand_course=sp.csr_matrix(sp.hstack([blank, sp.csr_matrix(Tc)])),
        expand_constant=t,
        is_least_distance=True,
    )


def sparse(control: LinearOptimalControl) -> ParametricQP:
    """All of s is variable; x0 = x and the dynamics are equality rows."""
    A, B = sp.csr_matrix(control.model.plant.A), sp.csr_matrix(control.model.plant.B)
    horizon, n, d = len(control.input_at), A.shape[0], control.P.shape[0]
    selection = sp.identity(d, format="csr")
    gaps = [selection[control.state_at[0]]]
    for k in range(horizon):
        x, u, ahead = control.state_at[k], control.input_at[k], control.state_at[k + 1]
        gaps.append(selection[ahead] - A @ selection[x] - B @ selection[u])
    equal, others = (horizon + 1) * n, len(control.price)
    zero = np.zeros(equal)
    problem = QuadraticProgram(
        2.0 * control.P,
        sp.vstack([*gaps, control.G], format="csc"),
        np.concatenate([np.full(equal, np.inf), control.price]),
        np.concatenate([zero, control.lower]),
        np.concatenate([zero, control.upper]),
    )
    drift = sp.vstack([sp.csr_matrix((n, horizon * n)), sp.identity(horizon * n), sp.csr_matrix((others, horizon * n))])
    return ParametricQP(
        problem,
        f_state=np.zeros((d, n)),
        f_course=sp.csr_matrix(sp.hstack([-2.0 * control.P, sp.csr_matrix((d, horizon * n))])),
        f_constant=np.zeros(d),
        shift_state=np.eye(equal + others, n),
        shift_course=sp.csr_matrix(sp.hstack([sp.csr_matrix((equal + others, d)), drift])),
        expand=sp.identity(d, format="csr"),
        expand_state=np.zeros((d, n)),
        expand_course=sp.csr_matrix((d, d + horizon * n)),
        expand_constant=np.zeros(d),
        is_least_distance=False,
    )
