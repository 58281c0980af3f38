"""A task of a multi-modal plant as matrices: the ego, the modes of each agent, the keep-out sets, the cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import casadi as ca
import numpy as np
from scipy.stats import norm

from ctrl.controller import NotApplicable
from systems import Chance, Discretisation, Hard, Task
from systems.affine import affine_matrices
from systems.multimodal import MultiModalPlant
from systems.semidefinite import is_positive_definite, is_positive_semidefinite

__all__ = ["AgentMode", "KeepOut", "MultiModalModel", "Quadratic", "multimodal_model"]

_ZERO = 1e-9  # relative size below which an entry of a matrix counts as zero


@dataclass(frozen=True, eq=False)
class AgentMode:
    """x+ = A x + c + L w of one agent in one mode, with w standard normal.

    Args:
        A: (n_k, n_k). c: (n_k,). L: (n_k, q_k).
        to_noise: (q_k, n_k), the noise of a sample from x+ - A x - c.
    """

    A: np.ndarray
    c: np.ndarray
    L: np.ndarray
    to_noise: np.ndarray


@dataclass(frozen=True, eq=False)
class KeepOut:
    """g(x) = level - (x - centre)' P (x - centre) <= 0, or g(x) = a'x - b <= 0 where P is zero.

    Args:
        P: (n, n), positive semidefinite. centre: (n,). level: positive.
        a: (n,). b: a number.
        quantile: number of standard deviations by which it must be satisfied.
        name: of the task's constraint.
    """

    P: np.ndarray
    centre: np.ndarray
    level: float
    a: np.ndarray
    b: float
    quantile: float
    name: str

    def half_spaces(self, x: np.ndarray, behind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """n (..., n) and d (...) with n'x >= d inside the set of admissible states, which touches the ellipsoid at the
        projection of the states x (..., n) from its centre; (..., n) because x may have any shape.

        Args:
            behind: (n,), direction that is used in the centre itself.
        """
        if not self.P.any():
            return np.broadcast_to(-self.a, x.shape), np.full(x.shape[:-1], -self.b)
        r = x - self.centre
        size = np.sqrt(np.einsum("...i,ij,...j->...", r, self.P, r))
        at_centre = size < 1e-6 * np.sqrt(self.level)
        if at_centre.any():
            r = np.where(at_centre[..., None], behind, r)
            size = np.sqrt(np.maximum(np.einsum("...i,ij,...j->...", r, self.P, r), 1e-300))
        n = np.einsum("ij,...j->...i", self.P, r) / size[..., None]
        return n, np.sqrt(self.level) + n @ self.centre


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The stage cost z' H z / 2 + g' z of the ego's z = (x, u); g depends on the reference.

    Args:
        H: (n_e + m, n_e + m), positive semidefinite, positive definite in u.
        gradient: function of a reference (x_ref, u_ref) that returns g (n_e + m,).
    """

    H: np.ndarray
    gradient: ca.Function


@dataclass(frozen=True, eq=False)
class MultiModalModel:
    """The parts of a task that the program needs.

    Args:
        ego: (n_e,), indices of the ego's states. A, B, c: its dynamics.
        agents: by agent, the indices (n_k,) of its states.
        modes: by agent and mode.
        prior: by agent, the probabilities (modes,).
        keep_out: the rows of the chance constraints.
        C, d: C z <= d for z = (ego's x, u), the hard constraints; C: (rows, n_e + m).
        cost: of a sample.
        mode_risk: largest probability of joint modes that are left out of a prediction.
    """

    ego: np.ndarray
    A: np.ndarray
    B: np.ndarray
    c: np.ndarray
    agents: tuple[np.ndarray, ...]
    modes: tuple[tuple[AgentMode, ...], ...]
    prior: tuple[np.ndarray, ...]
    keep_out: tuple[KeepOut, ...]
    C: np.ndarray
    d: np.ndarray
    cost: Quadratic
    mode_risk: float


def multimodal_model(task: Task, risk_of_modes: float) -> MultiModalModel:
    """Reads a task.

    Args:
        task: of a :class:`systems.multimodal.MultiModalPlant`.
        risk_of_modes: share of the chance constraints' risk that is left for modes that are dropped.

    Raises:
        NotApplicable: the task does not have this form.
    """
    plant = task.plant
    if not isinstance(plant, MultiModalPlant):
        raise NotApplicable(
            f"task '{task.name}': {plant.name} declares no agents with modes; derive it from MultiModalPlant, or use "
            "ScenarioMPC"
        )
    names = plant.state.names
    agents = tuple(np.array([names.index(name) for name in agent.state]) for agent in plant.agents)
    taken = np.concatenate(agents) if agents else np.zeros(0, dtype=int)
    ego = np.setdiff1d(np.arange(len(names)), taken)
    A, B, c, _ = _affine(task, {})
    rest = np.setdiff1d(np.arange(len(names)), ego)
    _expect_zero(task, A[np.ix_(ego, rest)], A, "the controlled states depend on those of agents")
    _expect_zero(task, B[rest], B, "agents react to the input")
    modes = tuple(tuple(_mode(task, k, where, ego, values) for values in plant.agents[k].modes)
                  for k, where in enumerate(agents))  # fmt: skip
    C, d = _hard_rows(task, ego)
    keep_out, mode_risk = _keep_out(task, risk_of_modes)
    return MultiModalModel(
        ego,
        A[np.ix_(ego, ego)],
        B[ego],
        c[ego],
        agents,
        modes,
        tuple(np.asarray(agent.probabilities, dtype=float) for agent in plant.agents),
        keep_out,
        C,
        d,
        _cost(task, ego),
        mode_risk,
    )


def _affine(task: Task, values: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A, B, c and E of the sampled plant with these parameters; c holds the mean of the disturbance."""
    plant = task.plant.with_parameters(values)
    f = Discretisation(plant, task.dt, task.integrator, task.substeps).function()
    matrices = affine_matrices(f, range(3))
    if matrices is None:
        raise NotApplicable(
            f"task '{task.name}': {plant.name} is not affine in state, input and disturbance in every mode; "
            "linearise it"
        )
    A, B, E = matrices
    return A, B, np.array(f(0, 0, task.disturbance.mean(plant.disturbance), []))[:, 0], E


def _mode(task: Task, k: int, where: np.ndarray, ego: np.ndarray, values: Mapping[str, float]) -> AgentMode:
    agent = task.plant.agents[k]  # type: ignore[attr-defined]
    A, _, c, E = _affine(task, values)
    everything, disturbance = np.arange(len(A)), task.plant.disturbance
    others = np.setdiff1d(everything, where)
    own = np.array([disturbance.names.index(name) for name in agent.disturbance], dtype=int)
    foreign = np.setdiff1d(np.arange(len(disturbance)), own)
    _expect_zero(task, A[np.ix_(where, others)], A, f"agent '{agent.name}' depends on states of others")
    _expect_zero(task, E[np.ix_(where, foreign)], E, f"agent '{agent.name}' depends on disturbances of others")
    _expect_zero(task, E[ego], E, "the controlled states are disturbed")
    covariance = task.disturbance.covariance(disturbance)
    _expect_zero(task, covariance[np.ix_(own, foreign)], covariance, f"the noise of agent '{agent.name}' depends on "
                 "that of others")  # fmt: skip
    size, vectors = np.linalg.eigh(covariance[np.ix_(own, own)])
    L = E[np.ix_(where, own)] @ (vectors * np.sqrt(np.maximum(size, 0.0)))
    L = L[:, np.abs(L).max(axis=0, initial=0.0) > 0]
    return AgentMode(A[np.ix_(where, where)], c[where], L, np.linalg.pinv(L))


def _expect_zero(task: Task, part: np.ndarray, whole: np.ndarray, otherwise: str) -> None:
    if np.abs(part).max(initial=0.0) > _ZERO * max(np.abs(whole).max(initial=0.0), 1.0):
        raise NotApplicable(f"task '{task.name}': {otherwise}; this controller needs agents that move by themselves")


def _expressions(task: Task, kind: type) -> list[tuple[int, ca.SX, ca.SX, ca.SX]]:
    """Index, x, u and g(x, u) of the constraints with such a requirement."""
    rows = []
    for i, (constraint, g) in enumerate(zip(task.constraints, task.constraint_functions, strict=True)):
        if isinstance(constraint.requirement, kind):
            x, u = g.sx_in()
            rows.append((i, x, u, ca.densify(g(x, u))))
    return rows


def _hard_rows(task: Task, ego: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """C and d of the hard constraints and of the input's bounds."""
    n, m = len(task.plant.state), len(task.plant.input)
    rows, bounds = [np.zeros((0, n + m))], [np.zeros(0)]
    for i, x, u, g in _expressions(task, Hard):
        function = ca.Function("g", [x, u], [g])
        slopes = affine_matrices(function, range(2))
        if slopes is None:
            raise NotApplicable(
                f"task '{task.name}': the hard constraint '{task.constraints[i].name}' is not affine; use a polytope "
                "inside it"
            )
        rows.append(np.hstack(slopes))
        bounds.append(-np.array(function(0, 0)).ravel())
    lower, upper = task.input_bounds
    identity = np.hstack([np.zeros((m, n)), np.eye(m)])
    C, d = np.vstack([*rows, identity, -identity]), np.concatenate([*bounds, upper, -lower])
    kept = np.concatenate([ego, np.arange(n, n + m)])
    if np.abs(np.delete(C, kept, axis=1)).max(initial=0.0) > 0:
        raise NotApplicable(
            f"task '{task.name}': a hard constraint bounds states of agents, which have unbounded noise; use its "
            ".chance(probability)"
        )
    finite = np.isfinite(d)
    return C[np.ix_(finite, kept)], d[finite]


def _keep_out(task: Task, share: float) -> tuple[tuple[KeepOut, ...], float]:
    n = len(task.plant.state)
    expressions = _expressions(task, Chance)
    chances = [task.constraints[i].requirement for i, *_ in expressions]
    risks = [1.0 - chance.probability for chance in chances if isinstance(chance, Chance)]
    mode_risk = share * min(risks, default=0.0)
    made = []
    for (i, x, u, g), risk in zip(expressions, risks, strict=True):
        name, rows = task.constraints[i].name, g.shape[0]
        quantile = float(norm.isf(min((risk - mode_risk) / rows, 0.5)))
        hessians = [ca.hessian(g[row], ca.vertcat(x, u))[0] for row in range(rows)]
        if any(ca.symvar(h) for h in hessians):
            raise NotApplicable(
                f"task '{task.name}': the chance constraint '{name}' is not quadratic; use an ellipse to be kept out of"
            )
        at_zero = ca.Function("g", [x, u], [g, ca.jacobian(g, ca.vertcat(x, u))])
        values, slopes = (np.array(part) for part in at_zero(0, 0))
        for row, h in enumerate(hessians):
            H, a, b = np.array(ca.DM(ca.evalf(h))).reshape(h.shape), slopes[row], -float(values[row, 0])
            P, centre = -0.5 * H[:n, :n], np.linalg.pinv(-H[:n, :n]) @ a[:n]
            level = -b + 0.5 * float(a[:n] @ centre)
            is_flat = not P.any()
            is_ellipsoid = is_positive_semidefinite(P) and level > 0 and np.allclose(2.0 * P @ centre, a[:n], atol=1e-9)
            if a[n:].any() or H[n:].any() or not (is_flat or is_ellipsoid):
                raise NotApplicable(
                    f"task '{task.name}': the chance constraint '{name}' is not of the form level - (x - c)'P(x - c) "
                    "<= 0 with P >= 0 and level > 0, in states alone; use an ellipse to be kept out of"
                )
            made.append(KeepOut(P, centre, level, a[:n], b, quantile, name))
    return tuple(made), mode_risk


def _cost(task: Task, ego: np.ndarray) -> Quadratic:
    n, m = len(task.plant.state), len(task.plant.input)
    stage = task.stage_cost
    x, u, xr, ur = stage.sx_in()
    z, value = ca.vertcat(x, u), stage(x, u, xr, ur)
    hessian = ca.hessian(value, z)[0]
    kept = np.concatenate([ego, np.arange(n, n + m)])
    slope = ca.Function("slope", [x, u, xr, ur], [ca.gradient(value, z)])
    gradient = ca.Function("gradient", [xr, ur], [slope(0, 0, xr, ur)[kept.tolist()]])
    if ca.symvar(hessian):
        raise NotApplicable(f"task '{task.name}': its stage cost is not quadratic; use Quadratic(Q, R)")
    H = np.array(ca.DM(ca.evalf(hessian))).reshape(hessian.shape)
    agents = np.setdiff1d(np.arange(n), ego)
    if np.abs(H[np.ix_(agents, kept)]).max(initial=0.0) > 0:
        raise NotApplicable(f"task '{task.name}': its stage cost multiplies states of agents with those of the ego")
    own = H[np.ix_(kept, kept)]
    if not is_positive_semidefinite(own) or not is_positive_definite(own[len(ego) :, len(ego) :]):
        raise NotApplicable(
            f"task '{task.name}': its stage cost is not convex with a positive weight on every input; use "
            "Quadratic(Q, R) with R > 0"
        )
    return Quadratic(own, gradient)
