"""A task as a stabilised linear loop under additive noise, and its constraints as rows of that loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

from ctrl.controller import NotApplicable
from ctrl.linearisation import LocalModel, local_model
from ctrl.regulator import lqr
from mpc.affine_task import AffineTask
from mpc.stochastic.reachable import AdditiveNoise, additive_noise
from systems import Budget, Chance, Task
from systems.arguments import expect_array

__all__ = ["DisturbedLoop", "LoopRows", "disturbed_loop", "loop_rows"]


@dataclass(frozen=True, eq=False)
class DisturbedLoop:
    """The plant under u = u_r - K (x - x_r) + nu: (x - x_r)+ = A (x - x_r) + B nu + drift + noise of zero mean.

    Args:
        model: linearisation (exact) and stage cost.
        noise: of one sample; its mean is part of the drift.
        K: (m, n).
        A: (n, n), the closed loop.
        B: (n, m).
        drift: (n,), zero where the reference is an equilibrium.
        P: (n, n), cost-to-go of this loop without noise.
    """

    model: LocalModel
    noise: AdditiveNoise
    K: np.ndarray
    A: np.ndarray
    B: np.ndarray
    drift: np.ndarray
    P: np.ndarray

    @property
    def rest(self) -> np.ndarray:
        """The equilibrium of x - x_r with nu = 0."""
        return np.linalg.solve(np.eye(len(self.A)) - self.A, self.drift)


def disturbed_loop(task: Task, K: np.ndarray | None) -> DisturbedLoop:
    """The task's plant under a gain K (m, n); default: that of its regulator.

    Raises:
        NotApplicable: a plant that is not affine, a reference that moves, no regulator, a gain that does not stabilise.
        InvalidValue: the shape of the gain.
    """
    if not task.reference.is_constant:
        raise NotApplicable(f"task '{task.name}': its reference moves; stochastic MPC regulates to a set-point")
    model = local_model(task, constrained=True)
    noise = additive_noise(task, model.plant)
    n, m = model.plant.B.shape
    K = lqr(model.plant, model.Q, model.R, model.N).K if K is None else expect_array(K, "gain K", (m, n))
    A = model.plant.A - model.plant.B @ K
    radius = np.abs(np.linalg.eigvals(A)).max(initial=0.0)
    if not radius < 1.0:
        raise NotApplicable(f"the gain does not stabilise the plant: A - B K has an eigenvalue of modulus {radius:.4g}")
    drift = model.plant.A @ model.x_ref + model.plant.B @ model.u_ref + model.plant.c + noise.mean - model.x_ref
    stage = model.Q + K.T @ model.R @ K - model.N @ K - K.T @ model.N.T
    P = np.asarray(solve_discrete_lyapunov(A.T, stage))
    return DisturbedLoop(model, noise, K, A, model.plant.B, drift, 0.5 * (P + P.T))


@dataclass(frozen=True, eq=False)
class LoopRows:
    """lower <= D (x - x_r) + F nu <= upper, each side to be satisfied with ``probability``, or penalised with a weight.

    Args:
        D: (rows, n).
        F: (rows, m).
        lower: (rows,).
        upper: (rows,).
        is_state_row: (rows,), whether the row depends on the state alone before the feedback.
        probability: (rows,), 1 for a hard row.
        weight: (rows,), of a violation, finite for a soft row.
        names: of the constraints.
    """

    D: np.ndarray
    F: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    is_state_row: np.ndarray
    probability: np.ndarray
    weight: np.ndarray
    names: tuple[str, ...]

    def where(self, chosen: np.ndarray) -> LoopRows:
        """Some of the rows."""
        return LoopRows(
            self.D[chosen],
            self.F[chosen],
            self.lower[chosen],
            self.upper[chosen],
            self.is_state_row[chosen],
            self.probability[chosen],
            self.weight[chosen],
            tuple(name for name, take in zip(self.names, chosen, strict=True) if take),
        )


def loop_rows(
    task: Task, affine: AffineTask, loop: DisturbedLoop, joint: bool, input_probability: float | None
) -> LoopRows:
    """The input bounds and the constraints of a task as rows in x - x_r and nu.

    A budget of violations per episode is a chance constraint on every step, with its risk split among the half-spaces
    (Boole's inequality), as ``joint`` requires for chance constraints, too.
    """
    inputs, constraints = affine.inputs, affine.constraints
    n = len(loop.B)
    sides = np.isfinite(constraints.lower).astype(int) + np.isfinite(constraints.upper)
    probability = np.ones(len(constraints.names))
    for constraint in task.constraints:
        own = np.array([name == constraint.name for name in constraints.names], dtype=bool)
        requirement = constraint.requirement
        risk = 0.0
        if isinstance(requirement, Chance):
            risk = (1.0 - requirement.probability) / (max(1, sides[own].sum()) if joint else 1)
        elif isinstance(requirement, Budget):
            count = task.steps if requirement.per == "episode" else 1.0 / (1.0 - min(task.discount, 1.0 - 1e-9))
            risk = requirement.limit / count / max(1, sides[own].sum())
        probability[own] = 1.0 - risk
    if input_probability is None:
        chances = [c.requirement.probability for c in task.constraints if isinstance(c.requirement, Chance)]
        input_probability = 1.0 if loop.noise.is_bounded else max(chances, default=1.0)
    C = np.vstack([inputs.C, constraints.C])
    at_reference = C @ np.concatenate([loop.model.x_ref, loop.model.u_ref])
    count = len(inputs.C)
    return LoopRows(
        C[:, :n] - C[:, n:] @ loop.K,
        C[:, n:],
        np.concatenate([inputs.lower, constraints.lower]) - at_reference,
        np.concatenate([inputs.upper, constraints.upper]) - at_reference,
        ~np.concatenate([inputs.on_input, constraints.on_input]),
        np.concatenate([np.full(count, input_probability), probability]),
        np.concatenate([inputs.weight, constraints.weight]),
        inputs.names + constraints.names,
    ).where(np.concatenate([np.ones(count, dtype=bool), probability > 0]))
