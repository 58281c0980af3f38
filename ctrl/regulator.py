"""Linear-quadratic regulators: the gains, and the saturated regulator of a task."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import casadi as ca
import numpy as np
from scipy import linalg

from ctrl.controller import (
    Decision,
    NotApplicable,
    Source,
    Status,
    measured_state,
    measured_states,
    sample_index,
)
from ctrl.laws.saturated_linear import SaturatedLinear, saturated_linear
from systems import InvalidValue, LinearPlant, Task, linearise
from systems.arguments import expect_array
from systems.errors import expect
from systems.references import Schedule

__all__ = ["LQR", "Gain", "NotStabilisable", "local_model", "lqr"]


class NotStabilisable(NotApplicable):
    """The Riccati equation has no stabilising solution."""


@dataclass(frozen=True)
class Gain:
    """u = -K x minimises the cost x'Qx + u'Ru + 2x'Nu (integrated or summed), which is then x(0)'P x(0).

    K is (m, n), P (n, n) and symmetric.
    """

    K: np.ndarray
    P: np.ndarray


def lqr(plant: LinearPlant, Q: np.ndarray, R: np.ndarray, N: np.ndarray | None = None) -> Gain:
    """Infinite-horizon regulator by the algebraic Riccati equation (Kalman, 1960), of the plant's own kind of time.

    Args:
        plant: continuous or discrete; its affine term c is ignored (shift the origin to an equilibrium first).
        Q: (n, n). R: (m, m), positive definite. N: (n, m), zero where left out.

    Raises:
        NotStabilisable: no gain stabilises the plant, or the cost does not see an unstable mode.
        DimensionMismatch: a weight of another shape.
        InvalidValue: the plant is not linear, or R is not positive definite.
    """
    expect(plant, LinearPlant, "the plant of lqr", "such as linearise(plant, x, u): linearise it first")
    A, B = plant.A, plant.B
    n, m = B.shape
    Q, R = expect_array(Q, "Q", (n, n)), expect_array(R, "R", (m, m))
    N = np.zeros((n, m)) if N is None else expect_array(N, "N", (n, m))
    for name, matrix in (("Q", Q), ("R", R)):
        if not np.allclose(matrix, matrix.T, rtol=1e-9, atol=1e-12):
            raise InvalidValue(f"{name} must be symmetric; symmetrise it as ({name} + {name}.T) / 2")
    if np.linalg.eigvalsh(R).min(initial=np.inf) <= 0:
        raise InvalidValue("R must be positive definite: give every input a positive weight")
    try:
        if plant.is_discrete:
            P = linalg.solve_discrete_are(A, B, Q, R, s=N)
            K = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A + N.T)
            stable = np.abs(np.linalg.eigvals(A - B @ K)).max(initial=0.0) < 1
        else:
            P = linalg.solve_continuous_are(A, B, Q, R, s=N)
            K = np.linalg.solve(R, B.T @ P + N.T)
            stable = np.linalg.eigvals(A - B @ K).real.max(initial=-1.0) < 0
    except (np.linalg.LinAlgError, ValueError) as error:
        raise NotStabilisable(_why(plant, str(error))) from error
    if not stable:
        raise NotStabilisable(_why(plant, "the closed loop is not stable"))
    return Gain(K, 0.5 * (P + P.T))


def _why(plant: LinearPlant, said: str) -> str:
    """Names the modes no input reaches (Hautus test), the usual reason."""
    values = np.linalg.eigvals(plant.A)
    unstable = values[np.abs(values) >= 1 if plant.is_discrete else values.real >= 0]
    n = len(plant.A)
    lost = [v for v in unstable if np.linalg.matrix_rank(np.hstack([v * np.eye(n) - plant.A, plant.B]), tol=1e-9) < n]
    if lost:
        shown = ", ".join(f"{v:.4g}" for v in lost)
        return (
            f"the plant is not stabilisable: no input reaches its unstable modes {shown}; add an actuator, or drop them"
        )
    return f"no stabilising regulator found ({said}); every unstable mode must appear in the cost: check Q"


@dataclass(frozen=True)
class LocalModel:
    """What a task looks like around its reference: x+ - x_r = A (x - x_r) + B (u - u_r), cost x'Qx + u'Ru + 2x'Nu."""

    plant: LinearPlant
    Q: np.ndarray
    R: np.ndarray
    N: np.ndarray
    x_ref: np.ndarray
    u_ref: np.ndarray


def local_model(task: Task) -> LocalModel:
    """Linearises the sampled plant and takes half the Hessian of the stage cost, both at the task's first reference.

    Raises:
        NotApplicable: the Hessian there is not convex, so it defines no regulator.
    """
    x_ref, u_ref = task.reference.at(task.plant, 0)
    plant = linearise(task.dynamics, x_ref, u_ref)
    stage = task.cost.stage_function(task.plant)
    x, u = task.plant.state.symbol(), task.plant.input.symbol()
    z = ca.vertcat(x, u)
    hessian, _ = ca.hessian(stage(x, u, x_ref, u_ref), z)
    H = 0.5 * np.array(ca.Function("hessian", [x, u], [hessian])(x_ref, u_ref))
    n = len(x_ref)
    smallest = np.linalg.eigvalsh(H).min(initial=0.0) if np.isfinite(H).all() else -np.inf
    if smallest < -1e-9 or np.linalg.eigvalsh(H[n:, n:]).min(initial=np.inf) <= 0:
        raise NotApplicable(
            f"task '{task.name}': the stage cost is not convex at the reference, or an input there costs nothing; "
            "a linear-quadratic regulator needs both"
        )
    return LocalModel(plant, H[:n, :n], H[n:, n:], H[:n, n:], x_ref, u_ref)


class LQR:
    """The regulator of a task: u = clip(u_r - K (x - x_r)) with the input bounds of the task.

    Args:
        task: linearised, and its cost expanded, at its first reference.

    Attributes:
        K: (m, n). P: (n, n), the cost-to-go of the linearised, unsaturated loop.

    Raises:
        NotApplicable: no regulator exists for this task.
        InvalidValue: it is no task.
    """

    def __init__(self, task: Task) -> None:
        expect(task, Task, "the task of LQR", "or use lqr(linear_plant, Q, R) for the gain of a plant alone")
        model = local_model(task)
        gain = lqr(model.plant, model.Q, model.R, model.N)
        self.K, self.P = gain.K, gain.P
        self.task = task
        self._lower, self._upper = task.input_bounds
        self._reference = Schedule(task.reference, task.plant, task.steps + 1)

    def reset(self) -> None:
        """Nothing to forget."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample k; a state that is not finite, or too large to be multiplied, gives the reference input and
        says so.

        Raises:
            DimensionMismatch: x has another shape than (n,).
            InvalidValue: x holds no numbers, or k is no sample number.
        """
        began = perf_counter()
        x, k = measured_state(x, self.task.plant.state), sample_index(k)
        if np.isfinite(x).all():
            u = self.batch(x, k)
            if np.isfinite(u).all():
                return Decision(u, seconds=perf_counter() - began)
        backup = np.clip(self._reference(k)[1], self._lower, self._upper)
        return Decision(backup, Status.NUMERICAL, Source.BACKUP, seconds=perf_counter() - began)

    @np.errstate(over="ignore", invalid="ignore")  # :meth:`step`, and the closed loop, look at what comes of it
    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        """Inputs (..., m) for states (..., n); NaN where a state is, or where infinities of both signs meet."""
        x = measured_states(x, self.task.plant.state)
        return saturated_linear(x, self.K, *self._reference(sample_index(k)), self._lower, self._upper)

    @property
    def law(self) -> SaturatedLinear:
        """The regulator in closed form, of which something can be proved; for a moving reference, its first sample."""
        return SaturatedLinear(self.K, *self._reference(0), self._lower, self._upper)
