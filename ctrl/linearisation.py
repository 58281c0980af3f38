"""The second-order expansion of a task, at its operating point and along a moving reference."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, final

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from systems import InvalidValue, LinearPlant, Task, linearise
from systems.equilibria import without_derivative
from systems.reading import SteadyState
from systems.semidefinite import is_positive_definite, is_positive_semidefinite

__all__ = [
    "Expansions",
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


@final
class Expansions:
    """The second-order expansions of a task, for any values of some of its plant's parameters.

    The expansions for other values, see :meth:`at`, share the CasADi functions of these. Where parameters may change,
    the linearised plants have no disturbance.

    Args:
        task: whose plant and stage cost are expanded.
        parameters: names of the plant's parameters that may change; default: none.

    Attributes:
        values: (parameters,), of these expansions; at first those of the task.

    Raises:
        NotApplicable: the equations of the plant have no derivatives.
        UnknownName: a parameter that the plant does not have.
        InvalidValue: the plant has no symbols for parameters, as with the integrator ``exact``.
    """

    def __init__(self, task: Task, parameters: Sequence[str] = ()) -> None:
        expect_differentiable(task)
        reading = task.reading
        self.task, self._names = task, tuple(parameters)
        self._expand = reading.expansion if not parameters else reading.expansion_of(parameters)
        self._steady_states = None if not parameters else reading.steady_states(parameters)
        self.values = np.array([float(task.plant.parameters[name]) for name in parameters])
        self._rests: dict[bool, SteadyState | None] = {}
        self._models: dict[bool, LocalModel] = {}

    def at(self, values: np.ndarray) -> Self:
        """The expansions for these values (parameters,)."""
        other = copy.copy(self)
        other.values, other._rests, other._models = values, {}, {}
        return other

    def steady_state(self, constrained: bool = False) -> SteadyState | None:
        """The optimal steady state; None if there is none, or if the reference moves.

        Args:
            constrained: whether it keeps the constraints of the task, besides its input bounds.
        """
        reading = self.task.reading
        if self._steady_states is None:
            return reading.steady_state if constrained else reading.free_steady_state
        if constrained not in self._rests:
            self._rests[constrained] = reading.steadied(self._steady_states, constrained, self.values)
        return self._rests[constrained]

    def model(self, constrained: bool = False) -> LocalModel:
        """The expansion at the operating point; see :func:`local_model`."""
        if constrained not in self._models:
            other = self._models.get(not constrained)
            is_shared = other is not None and self._rest(True) == self._rest(False)
            self._models[constrained] = other if is_shared and other is not None else self._made(constrained)
        return self._models[constrained]

    def _rest(self, constrained: bool) -> tuple[bytes, ...] | None:
        """The numbers that the expansion depends on."""
        steady = self.steady_state(constrained)
        return None if steady is None else tuple(part.tobytes() for part in (steady.x, steady.u, steady.multipliers))

    def _made(self, constrained: bool) -> LocalModel:
        task, reading = self.task, self.task.reading
        steady = self.steady_state(constrained)
        x_ref, u_ref = reading.start if steady is None else (steady.x, steady.u)
        multipliers = np.zeros(len(x_ref)) if steady is None else steady.multipliers
        n, reference = len(x_ref), reading.start  # what the cost measures from, wherever it is expanded
        known = [self.values] if self._names else []
        after, A, B, gradient, second = map(np.array, self._expand(x_ref, u_ref, *reference, multipliers, *known))
        _expect_derivatives(task, after, np.hstack([A, B]), np.append(second, gradient), x_ref)
        H = 0.5 * second
        if multipliers.any() and not _is_convex(H, n):
            H = 0.5 * np.array(self._expand(x_ref, u_ref, *reference, np.zeros(n), *known)[4])
        if not _is_convex(H, n):
            raise NotApplicable(_NOT_CONVEX.format(task.name))
        if self._names:
            c = after[:, 0] - A @ x_ref - B @ u_ref
            plant = LinearPlant(A, B, None, c, task.dt, task.plant.state, task.plant.input)  # type: ignore[arg-type]
        else:
            plant = linearise(task.dynamics, x_ref, u_ref)
        return LocalModel(plant, H[:n, :n], H[n:, n:], H[:n, n:], x_ref, u_ref, gradient[:, 0], multipliers)

    def models(self, k: int, count: int) -> LocalModels:
        """The expansions along the reference; see :func:`local_models`."""
        task = self.task
        x_ref, u_ref = task.reading.window(k, count + 1)
        n = x_ref.shape[1]
        points = x_ref[:-1].T, u_ref[:-1].T
        known = [np.repeat(self.values[:, None], count, axis=1)] if self._names else []
        expanded = self._expand.map(count)(*points, *points, np.zeros((n, count)), *known)
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


def local_model(task: Task, constrained: bool = False) -> LocalModel:
    """Linearises the sampled plant and expands the stage cost at the operating point; for a moving reference, at its
    first sample.

    If the Hessian of the Lagrangian is not convex, that of the cost alone is used.

    Args:
        constrained: whether the operating point keeps the constraints of the task, besides its input bounds.

    Raises:
        NotApplicable: plant or cost have no derivative there, or the Hessian is not convex, so it defines no regulator.
    """
    return Expansions(task).model(constrained)


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
    return Expansions(task).models(k, count)


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
