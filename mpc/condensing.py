"""Linear optimal control of a task as a quadratic program: sparse in all stages, or condensed to the inputs."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np
import scipy.sparse as sp

from ctrl.controller import NotApplicable
from ctrl.lqr import Gain, LocalModel, local_model, lqr
from ctrl.sets import Polyhedron, SetNotFound, maximal_invariant_set
from mpc.solvers.base import QuadraticProgram
from mpc.transcription import check_horizon, conditions, is_equilibrium
from systems import Task

__all__ = ["LinearOptimalControl", "ParametricQP", "condensed", "linear_optimal_control", "sparse"]


@dataclass(frozen=True, eq=False)
class LinearOptimalControl:
    """min (s - r)'P(s - r) + prices over s = [x0 u0 x1 u1 ... xN], with x+ = A x + B u + c from the measured x0.

    ``r`` stacks the references in the same order. Everything is in absolute variables.

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
    model = local_model(task)
    gain = lqr(model.plant, model.Q, model.R, model.N)
    n, m = model.plant.B.shape
    state_at = np.arange(horizon + 1)[:, None] * (n + m) + np.arange(n)
    input_at = np.arange(horizon)[:, None] * (n + m) + n + np.arange(m)
    d = horizon * (n + m) + n
    stage = np.block([[model.Q, model.N], [model.N.T, model.R]])
    cost = sp.block_diag([*[stage] * horizon, gain.P], format="csc")
    rule = conditions(task)
    C, offset = _affine(task)
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


def _affine(task: Task) -> tuple[np.ndarray, np.ndarray]:
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
    """A quadratic program whose data are affine in the measured state x and the stacked references r.

    f = f_state x + f_reference r + f_constant; bounds = bounds of the problem + shift x;
    s = expand z + expand_state x + expand_constant.
    """

    problem: QuadraticProgram
    f_state: np.ndarray
    f_reference: sp.csr_matrix
    f_constant: np.ndarray
    shift: np.ndarray
    expand: np.ndarray | sp.csr_matrix
    expand_state: np.ndarray
    expand_constant: np.ndarray


def condensed(control: LinearOptimalControl) -> ParametricQP:
    """Only the inputs are variables: u = u_r - K (x - x_r) + z.

    K is the regulator's gain where the plant is not stable, since powers of an unstable A would ruin the conditioning
    (Rossiter, Kouvaritakis & Rice, 1998), and zero otherwise, which leaves input bounds as bounds on variables.
    """
    model, plant = control.model, control.model.plant
    (A, B, c), (horizon, m) = (plant.A, plant.B, plant.c), control.input_at.shape
    n, d = len(A), control.P.shape[0]
    unstable = np.abs(np.linalg.eigvals(A)).max(initial=0.0) > 1.0 + 1e-6
    K = control.gain.K if unstable else np.zeros((m, n))
    # s = T z + Tx x + t, stage by stage.
    T, Tx, t = np.zeros((d, horizon * m)), np.zeros((d, n)), np.zeros(d)
    Tx[control.state_at[0]] = np.eye(n)
    for k in range(horizon):
        x, u, ahead = control.state_at[k], control.input_at[k], control.state_at[k + 1]
        T[u], Tx[u], t[u] = -K @ T[x], -K @ Tx[x], model.u_ref - K @ (t[x] - model.x_ref)
        T[u, k * m + np.arange(m)] += 1.0
        T[ahead], Tx[ahead], t[ahead] = A @ T[x] + B @ T[u], A @ Tx[x] + B @ Tx[u], A @ t[x] + B @ t[u] + c
    PT = control.P @ T
    H, GTx, Gt = 2.0 * T.T @ PT, control.G @ Tx, control.G @ t
    G = control.G @ T
    G[np.abs(G) < 1e-14 * np.abs(G).max(initial=0.0)] = 0.0
    problem = QuadraticProgram(
        sp.csc_matrix(0.5 * (H + H.T)), sp.csc_matrix(G), control.price, control.lower - Gt, control.upper - Gt
    )
    return ParametricQP(problem, 2.0 * PT.T @ Tx, sp.csr_matrix(-2.0 * PT.T), 2.0 * PT.T @ t, -GTx, T, Tx, t)


def sparse(control: LinearOptimalControl) -> ParametricQP:
    """All of s is variable; x0 = x and the dynamics are equality rows."""
    plant = control.model.plant
    horizon, n, d = len(control.input_at), len(plant.A), control.P.shape[0]
    selection = sp.identity(d, format="csr")
    rows = [selection[control.state_at[0]]]
    for k in range(horizon):
        x, u, ahead = control.state_at[k], control.input_at[k], control.state_at[k + 1]
        rows.append(selection[ahead] - sp.csr_matrix(plant.A) @ selection[x] - sp.csr_matrix(plant.B) @ selection[u])
    equal = np.concatenate([np.zeros(n), np.tile(plant.c, horizon)])
    shift = np.zeros((len(equal) + len(control.lower), n))
    shift[:n] = np.eye(n)
    problem = QuadraticProgram(
        2.0 * control.P,
        sp.vstack([*rows, control.G], format="csc"),
        np.concatenate([np.full(len(equal), np.inf), control.price]),
        np.concatenate([equal, control.lower]),
        np.concatenate([equal, control.upper]),
    )
    identity = sp.identity(d, format="csr")
    nothing = np.zeros((d, n))
    return ParametricQP(
        problem, nothing, sp.csr_matrix(-2.0 * control.P), np.zeros(d), shift, identity, nothing, np.zeros(d)
    )  # fmt: skip
