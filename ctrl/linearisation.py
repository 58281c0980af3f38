"""The second-order expansion of a task, at its operating point and along a moving reference."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from systems import InvalidValue, LinearPlant, Task, linearise
from systems.equilibria import without_derivative
from systems.semidefinite import is_positive_definite, is_positive_semidefinite

__all__ = [
    "LocalModel",
    "LocalModels",
    "expect_differentiable",
    "linear_plant",
    "local_model",
    "local_models",
    "terminal_expansion",
]

_NOISE = 1e-9  # of Hessians, relative to their largest entry


@dataclass(frozen=True)
class LocalModel:
    """A task around its operating point (x_ref, u_ref), with e = x - x_ref and v = u - u_ref:

    e+ = A e + B v, and the stage cost is e'Qe + v'Rv + 2 e'Nv + gradient'(e, v) + multipliers'(e - e+) up to a
    constant, so that the multipliers cancel between one sample and the next.

    Args:
        plant: the linearisation, in absolute variables. Q (n, n), R (m, m), N (n, m): half the Hessian of the
            Lagrangian l + multipliers'(F - x).
        x_ref (n,), u_ref (m,): the operating point: the reference where it is an optimal steady state, else the optimal
            steady state, or the reference where there is none.
        gradient: (n + m,), of the Lagrangian; zero unless bounds or constraints are active at the operating point.
        multipliers: (n,), the gradient of the cost-to-go there.
    """

    plant: LinearPlant
    Q: np.ndarray
    R: np.ndarray
    N: np.ndarray
    x_ref: np.ndarray
    u_ref: np.ndarray
    gradient: np.ndarray
    multipliers: np.ndarray


@dataclass(frozen=True)
class LocalModels:
    """A task to second order along its reference, sample by sample, with e = x - x_ref and v = u - u_ref:

    e+ = A e + B v + drift, and the stage cost is e'Qe + v'Rv + 2 e'Nv + 2 (q'e + r'v) up to a constant.

    Args:
        A (samples, n, n), B (samples, n, m), drift (samples, n): F(x_ref, u_ref) less the next x_ref.
        Q, R, N: half the Hessians of the stage cost. q (samples, n), r (samples, m): half its gradients.
        x_ref (samples + 1, n), u_ref (samples + 1, m).
    """

    A: np.ndarray
    B: np.ndarray
    drift: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    N: np.ndarray
    q: np.ndarray
    r: np.ndarray
    x_ref: np.ndarray
    u_ref: np.ndarray

    @property
    def are_constant(self) -> bool:
        """Whether derivatives of plant and cost are the same at every sample."""
        return all(
            np.allclose(part, part[0], rtol=0.0, atol=1e-9 * (1.0 + np.abs(part[0]).max(initial=0.0)))
            for part in (self.A, self.B, self.Q, self.R, self.N)
        )


def local_model(task: Task, constrained: bool = False) -> LocalModel:
    """Linearises the sampled plant and expands the stage cost at the operating point; for a moving reference, at its
    first sample.

    If the Hessian of the Lagrangian is not convex, that of the cost alone is used.

    Args:
        constrained: whether the operating point keeps the constraints of the task, besides its input bounds.

    Raises:
        NotApplicable: plant or cost have no derivative there, or the Hessian is not convex, so it defines no regulator.
    """
    expect_differentiable(task)
    reading = task.reading
    steady = reading.steady_state if constrained else reading.free_steady_state
    x_ref, u_ref = reading.start if steady is None else (steady.x, steady.u)
    multipliers = np.zeros(len(x_ref)) if steady is None else steady.multipliers
    expand = reading.expansion
    n = len(x_ref)
    reference = reading.start  # what the cost measures from, wherever it is expanded
    after, A, B, gradient, second = map(np.array, expand(x_ref, u_ref, *reference, multipliers))
    _expect_derivatives(task, after, np.hstack([A, B]), np.append(second, gradient), x_ref)
    H = 0.5 * second
    if multipliers.any() and not _is_convex(H, n):
        H = 0.5 * np.array(expand(x_ref, u_ref, *reference, np.zeros(n))[4])
    if not _is_convex(H, n):
        raise NotApplicable(_NOT_CONVEX.format(task.name))
    return LocalModel(
        linearise(task.dynamics, x_ref, u_ref),
        H[:n, :n],
        H[n:, n:],
        H[:n, n:],
        x_ref,
        u_ref,
        gradient[:, 0],
        multipliers,
    )


def linear_plant(task: Task, x: np.ndarray, u: np.ndarray) -> LinearPlant:
    """The sampled plant of a task, linearised at a state (n,) and an input (m,).

    Raises:
        NotApplicable: it has no derivative there.
    """
    try:
        return linearise(task.dynamics, x, u)
    except InvalidValue as reason:
        raise NotApplicable(f"task '{task.name}': {reason}") from reason


def local_models(task: Task, k: int, count: int) -> LocalModels:
    """The task expanded at its reference at the samples k .. k + count - 1.

    Raises:
        NotApplicable: as :func:`local_model`, at any of the samples.
    """
    expect_differentiable(task)
    x_ref, u_ref = task.reading.window(k, count + 1)
    n = x_ref.shape[1]
    points = x_ref[:-1].T, u_ref[:-1].T
    expanded = task.reading.expansion.map(count)(*points, *points, np.zeros((n, count)))
    after, A, B, gradient, second = (
        np.array(part).reshape(part.shape[0], count, -1).transpose(1, 0, 2) for part in expanded
    )
    H = 0.5 * second
    for i in range(count):
        _expect_derivatives(task, after[i], np.hstack([A[i], B[i]]), np.append(second[i], gradient[i]), x_ref[i])
        if not _is_convex(H[i], n):
            raise NotApplicable(_NOT_CONVEX.format(task.name))
    drift = task.reading.state.deviation(after[:, :, 0], x_ref[1:])
    half = 0.5 * gradient[:, :, 0]
    return LocalModels(
        A,
        B,
        drift,
        H[:, :n, :n],
        H[:, n:, n:],
        H[:, :n, n:],
        half[:, :n],
        half[:, n:],
        np.array(x_ref),
        np.array(u_ref),
    )


def terminal_expansion(task: Task, point: np.ndarray, x_ref: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half the Hessian (n, n) and half the gradient (n,) of the task's terminal cost at a point, for its reference.

    Raises:
        NotApplicable: it has none there, or is not convex.
    """
    f = task.terminal_cost
    x, xr = f.sx_in()
    second, gradient = ca.hessian(f(x, xr), x)
    H, g = (np.array(part) for part in ca.Function("expansion", [x, xr], [second, gradient])(point, x_ref))
    if not (np.isfinite(H).all() and np.isfinite(g).all()) or not is_positive_semidefinite(H, _NOISE):
        raise NotApplicable(
            f"task '{task.name}': the terminal cost is not convex at the reference, or has no second derivative there; "
            "a linear-quadratic regulator needs both"
        )
    return 0.5 * H, 0.5 * g[:, 0]


def expect_differentiable(task: Task) -> None:
    """Raises NotApplicable where the equations of the plant call something that CasADi cannot differentiate."""
    if task.reading.not_differentiable:
        raise NotApplicable(
            f"task '{task.name}': the equations of {task.plant.name} call {task.reading.not_differentiable}, which has "
            "no derivatives, and controllers need them; write it in CasADi's operations, or give the callback the "
            "option enable_fd"
        )


_NOT_CONVEX = (
    "task '{}': the stage cost is not convex at the reference, or an input there costs nothing; a linear-quadratic "
    "regulator needs both"
)


def _is_convex(H: np.ndarray, n: int) -> bool:
    if not np.isfinite(H).all() or not is_positive_semidefinite(H, _NOISE):
        return False
    return is_positive_definite(H[n:, n:])


def _expect_derivatives(task: Task, after: np.ndarray, slopes: np.ndarray, cost: np.ndarray, x_ref: np.ndarray) -> None:
    """Raises NotApplicable where a derivative at the reference is not finite, with the names of what lacks it."""
    undefined = without_derivative(task.plant, x_ref, after[:, 0], slopes)
    if undefined is not None:
        raise NotApplicable(f"task '{task.name}': {undefined}")
    if not np.isfinite(cost).all():
        at = ", ".join(f"{name} = {value:.4g}" for name, value in zip(task.plant.state.names, x_ref, strict=True))
        raise NotApplicable(
            f"task '{task.name}': the stage cost has no second derivative at the reference ({at}), such as that of a "
            "norm at 0; square it, or use a controller that handles kinks, such as NonlinearMPC"
        )
