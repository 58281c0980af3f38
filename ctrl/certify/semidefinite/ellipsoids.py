"""Ellipsoids of the largest volume for linear feedback that saturates, by linear matrix inequalities.

On {x'Px <= 1} the saturated feedback sat(Fx) lies between Fx and any linear Hx that respects the bounds there, input by
input, so x+ = Ax + B sat(Fx) lies in the convex hull of the x+ that take each input from F or from H (Hu & Lin 2001,
"Control Systems with Actuator Saturation"; Tarbouriech, Garcia, Gomes da Silva & Queinnec 2011, "Stability and
Stabilization of Linear Systems with Saturating Actuators"). With Q = inv(P) and Z = HQ the decrease at the 2^m corners,
|h_i x| <= bound_i and the domain of the task are linear in Q and Z, and log det Q is concave.

The plant is linearised for this. The result is a candidate; :func:`ellipsoid_region` proves a level of it for the
actual loop, which may be higher or lower than that of the linear model.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.search.levels import largest_level
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.semidefinite.solver import solve
from ctrl.controller import NotApplicable
from ctrl.laws.law import Law
from ctrl.laws.saturated_linear import SaturatedLinear
from ctrl.regulator import lqr
from systems import InvalidValue, LinearPlant, Task, linearise
from systems.arithmetic.interval import Interval

__all__ = ["ellipsoid_region", "largest_ellipsoid", "widest_regulator"]

_MOST_INPUTS = 8  # 2^m inequalities
_FAR = 1e3  # a bound further away than this, in units of the ellipsoid, is beyond a solver's precision
_RATE = 0.02  # the linear model alone would be content with less; the plant that runs is not linear


def largest_ellipsoid(loop: ClosedLoop, rate: float = _RATE) -> QuadraticLyapunov:
    """V of which {V <= 1} is the largest ellipsoid that the linearised plant stays in under the loop's saturated law.

    Args:
        loop: in discrete or continuous time, its law a SaturatedLinear.
        rate: of V, the least relative decrease per sample (in continuous time: per second) on the ellipsoid.

    Raises:
        NotApplicable: another law; one that does not stabilise the linearised plant at this rate; or no bound of inputs
            or domain that ends the growth.
        InvalidValue: a rate that is not positive, or 1 and above in discrete time.
    """
    law = loop.law
    if not isinstance(law, SaturatedLinear):
        raise NotApplicable(
            f"the law is a {type(law).__name__}; an ellipsoid by linear matrix inequalities needs a SaturatedLinear law"
        )
    model = _model(loop.task, loop.continuous, rate, law)
    Q, _ = _solved(model, law.K, _start(model, law.K))
    return _lyapunov(Q, loop.reference)


def widest_regulator(
    task: Task, rate: float = _RATE, continuous: bool = False
) -> tuple[SaturatedLinear, QuadraticLyapunov]:
    """The linear feedback with the largest ellipsoid that the linearised plant stays in, and V of which it is {V <= 1}.

    No gain that saturates there has a larger one: with it the H of its ellipsoid would serve, too (Hu & Lin 2001).

    Raises:
        NotApplicable: the linearised plant cannot be stabilised, or nothing bounds the growth. InvalidValue: the rate.
    """
    x_ref, u_ref = task.reading.start
    model = _model(task, continuous, rate, None)
    A, B = _hastened(model.A, model), _hastened(model.B, model) if model.plant.is_discrete else model.B
    gain = lqr(LinearPlant(A, B, dt=model.plant.dt), np.eye(len(x_ref)), np.eye(len(u_ref))).K
    Q, Z = _solved(model, None, _start(model, gain))
    law = SaturatedLinear(-np.linalg.solve(Q, Z.T).T, x_ref, u_ref, *task.input_bounds)
    return law, _lyapunov(Q, x_ref)


def ellipsoid_region(
    task: Task,
    law: Law,
    kappa: float = 0.0,
    rate: float = _RATE,
    budget: SearchLimits | None = None,
    continuous: bool = False,
) -> Certificate:
    """The shape of :func:`largest_ellipsoid`, at the highest level that branch and bound proves on the loop that runs.

    Args:
        task: what is controlled.
        law: a SaturatedLinear law.
        kappa: as :func:`ctrl.certify.certify`; default: 0, any decrease.
        rate: required relative decrease of V per sample (in continuous time: per second) of the linear model, raised to
            kappa if it is less; default: 0.02.
        budget: limits of the search; default: 2,000,000 boxes and 60 seconds.
        continuous: whether the law is evaluated continuously; default: once per sample.

    Raises:
        NotApplicable, InvalidValue: as :func:`largest_ellipsoid`.
    """
    V = largest_ellipsoid(ClosedLoop(task, law, continuous), max(rate, kappa))
    return largest_level(task, law, V, kappa, budget=budget, continuous=continuous)


@dataclass(frozen=True, eq=False)
class _Model:
    """The plant around the reference: input deviations within +-room (m,), state deviations within +-half (n,)."""

    plant: LinearPlant
    room: np.ndarray
    half: np.ndarray
    rate: float

    @property
    def A(self) -> np.ndarray:
        return np.asarray(self.plant.A)

    @property
    def B(self) -> np.ndarray:
        return np.asarray(self.plant.B)


def _model(task: Task, continuous: bool, rate: float, law: SaturatedLinear | None) -> _Model:
    if not 0 < rate < (np.inf if continuous else 1):
        raise InvalidValue(f"rate = {rate}; expected a positive number" + ("" if continuous else " below 1"))
    x_ref, u_ref = task.reading.start
    lower, upper = task.applied_bounds
    if law is not None:
        u_ref = law.u_ref - law.K @ (x_ref - law.x_ref)
        lower, upper = np.maximum(lower, law.lower), np.minimum(upper, law.upper)
    if len(u_ref) > _MOST_INPUTS:
        raise NotApplicable(
            f"task '{task.name}' has {len(u_ref)} inputs, which need 2^m inequalities; expected at most {_MOST_INPUTS}"
        )
    room = np.minimum(upper - u_ref, u_ref - lower)
    if not (room > 0).all():
        raise NotApplicable(
            f"task '{task.name}': an input is at its bound at the reference, so no feedback can act around it"
        )
    low, high = task.domain_bounds
    half = np.minimum(high - x_ref, x_ref - low)
    truth = task.true_dynamics
    return _Model(linearise(truth.plant if continuous else truth, x_ref, u_ref), room, half, rate)


def _hastened(A: np.ndarray, model: _Model) -> np.ndarray:
    """A matrix that is stable if and only if A decays at the required rate."""
    return A / np.sqrt(1.0 - model.rate) if model.plant.is_discrete else A + 0.5 * model.rate * np.eye(len(A))


def _start(model: _Model, K: np.ndarray) -> np.ndarray:
    """Widths (n,) to scale the states by: of an ellipsoid of the unsaturated loop that touches a bound."""
    n, discrete = len(model.A), model.plant.is_discrete
    shifted = _hastened(model.A - model.B @ K, model)
    values = np.linalg.eigvals(shifted)
    if (np.abs(values).max() >= 1) if discrete else (values.real.max() >= 0):
        raise NotApplicable(
            f"the feedback does not stabilise the linearised plant at rate {model.rate:g}; give a law that does, such "
            "as LQR(task).law, or a lower rate"
        )
    equation = linalg.solve_discrete_lyapunov if discrete else linalg.solve_continuous_lyapunov
    Q = equation(shifted, np.eye(n) if discrete else -np.eye(n))
    touched = max(_use(model, K, Q), 1e-12)
    return np.asarray(np.sqrt(np.diag(Q)) / touched)


def _use(model: _Model, H: np.ndarray, Q: np.ndarray) -> float:
    """The largest ratio of the inputs H x and the states x to their bounds over {x'inv(Q)x <= 1}."""
    inputs, states = np.sqrt(np.diag(H @ Q @ H.T)), np.sqrt(np.diag(Q))
    return float(max((inputs / model.room).max(initial=0.0), (states / model.half).max(initial=0.0)))


def _solved(model: _Model, K: np.ndarray | None, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q and Z; where K is None, for feedback that is free."""
    import cvxpy as cp  # slow to import and only needed here

    n, m = model.B.shape
    result = np.eye(n), np.zeros((m, n))
    for _ in range(2):  # once more in units of the ellipsoid itself
        A, B = model.A * scale / scale[:, None], model.B / scale[:, None]
        Q, Z = cp.Variable((n, n), symmetric=True), cp.Variable((m, n))
        constraints = []
        bounded = [i for i in range(m) if np.isfinite(model.room[i])]
        corners = [()] if K is None else itertools.product((False, True), repeat=len(bounded))
        for corner in corners:
            taken = np.zeros(m) if K is None else np.ones(m)
            taken[[i for i, saturated in zip(bounded, corner, strict=False) if saturated]] = 0.0
            M = A @ Q + B @ (np.diag(1.0 - taken) @ Z)
            if K is not None:
                M = M - B @ np.diag(taken) @ (K * scale) @ Q
            if model.plant.is_discrete:
                constraints.append(cp.bmat([[(1.0 - model.rate) * Q, M.T], [M, Q]]) >> 0)
            else:
                constraints.append(M + M.T + model.rate * Q << 0)
        for i in bounded:
            row = Z[i : i + 1, :]
            constraints.append(cp.bmat([[np.array([[model.room[i] ** 2]]), row], [row.T, Q]]) >> 0)
        constraints += [Q[i, i] <= min(h / scale[i], _FAR) ** 2 for i, h in enumerate(model.half) if np.isfinite(h)]
        status = solve(cp.Maximize(cp.log_det(Q)), constraints)
        solution = None
        if status.startswith("optimal") and np.linalg.eigvalsh(Q.value).min() > 0:
            solution = Q.value * np.outer(scale, scale), (np.zeros((m, n)) if Z.value is None else Z.value) * scale
        if solution is None or _use(model, np.linalg.solve(solution[0], solution[1].T).T, solution[0]) < 0.5:
            raise NotApplicable(
                f"no largest ellipsoid was found (status of the solver: {status}); if neither the inputs nor the "
                "domain bound it, give the task a domain"
            )
        result, scale = solution, np.sqrt(np.diag(solution[0]))
    return result


def _lyapunov(Q: np.ndarray, centre: np.ndarray) -> QuadraticLyapunov:
    P = np.linalg.inv(Q)
    return QuadraticLyapunov(0.5 * (P + P.T), Interval.of(centre))
