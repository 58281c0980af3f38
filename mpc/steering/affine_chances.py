"""A task in the form of covariance steering: an affine plant with noise, a quadratic cost, chance constraints."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np
from scipy.stats import chi2, norm

from ctrl.controller import NotApplicable
from systems import Budget, Chance, Ellipsoid, Task
from systems.affine import affine_matrices
from systems.semidefinite import is_positive_semidefinite

__all__ = ["AffinePlant", "ChanceConstraint", "QuadraticCost", "affine_plant", "chance_constraints", "quadratic_cost"]


@dataclass(frozen=True, eq=False)
class AffinePlant:
    """x+ = A x + B u + c + noise.

    Args:
        A: (n, n). B: (n, m). c: (n,), with the mean of the disturbance.
        noise: (n, n), covariance of the noise of one sample.
    """

    A: np.ndarray
    B: np.ndarray
    c: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True, eq=False)
class QuadraticCost:
    """z' H z / 2 + g_k' z + d_k of z = (x, u) at the samples of a run.

    Args:
        H: (n + m, n + m), positive semidefinite. g: (steps, n + m). d: (steps,).
    """

    H: np.ndarray
    g: np.ndarray
    d: np.ndarray


@dataclass(frozen=True, eq=False)
class ChanceConstraint:
    """|C z - d| <= 1 for a vector, or C z <= d for one row, with z = (x, u), at every sample with some probability.

    Args:
        C: (rows, n + m). d: (rows,).
        quantile: number of standard deviations within which it must be satisfied.
        is_norm: whether it is a norm constraint.
        on_input: whether it depends on the input, and is therefore not imposed on the last state; rows that depend on
            the state alone are not imposed on the first one.
        name: of the task's constraint.
    """

    C: np.ndarray
    d: np.ndarray
    quantile: float
    is_norm: bool
    on_input: bool
    name: str

    def is_imposed(self, k: int, steps: int) -> bool:
        """Whether it is imposed at sample k of 0 .. steps."""
        return k < steps if self.on_input else k > 0


def affine_plant(task: Task) -> AffinePlant:
    """The sampled plant.

    Raises:
        NotApplicable: it is not affine in state, input and disturbance.
    """
    f = task.dynamics.function()
    matrices = affine_matrices(f, range(3))
    if matrices is None:
        raise NotApplicable(
            f"task '{task.name}': {task.plant.name} is not affine in state, input and disturbance, as covariance "
            "steering needs; linearise it, see systems.linearise"
        )
    A, B, E = matrices
    declared = task.plant.disturbance
    c = np.array(f(0, 0, task.disturbance.mean(declared), []))[:, 0]
    return AffinePlant(A, B, c, E @ task.disturbance.covariance(declared) @ E.T)


def quadratic_cost(task: Task) -> QuadraticCost:
    """The stage cost about the reference of each sample.

    Raises:
        NotApplicable: it is not quadratic, or not convex.
    """
    stage = task.stage_cost
    x, u, xr, ur = stage.sx_in()
    z = ca.vertcat(x, u)
    value = stage(x, u, xr, ur)
    H = ca.hessian(value, z)[0]
    if ca.symvar(H):
        raise NotApplicable(
            f"task '{task.name}': its stage cost is not quadratic, as covariance steering needs; use Quadratic(Q, R)"
        )
    hessian = np.array(ca.DM(ca.evalf(H)))
    if not is_positive_semidefinite(hessian):
        raise NotApplicable(f"task '{task.name}': its stage cost is not convex, as covariance steering needs")
    at_zero = ca.Function("at_zero", [x, u, xr, ur], [ca.gradient(value, z), value])
    reference = zip(*task.reading.window(0, task.steps), strict=True)
    values = [at_zero(0, 0, *sample) for sample in reference]
    g = np.array([np.array(gradient)[:, 0] for gradient, _ in values])
    return QuadraticCost(hessian, g, np.array([float(constant) for _, constant in values]))


def chance_constraints(task: Task, input_probability: float) -> tuple[ChanceConstraint, ...]:
    """The chance constraints of a task, and its input bounds as chance constraints.

    The rows of a constraint are satisfied jointly with its probability (Boole's inequality). An ellipsoid becomes one
    norm constraint.

    Raises:
        NotApplicable: a chance constraint that is neither affine nor an ellipsoid, or one with a probability below one
            half.
    """
    n, m = len(task.plant.state), len(task.plant.input)
    made: list[ChanceConstraint] = []
    for constraint, g in zip(task.constraints, task.constraint_functions, strict=True):
        requirement = constraint.requirement
        if not isinstance(requirement, Chance):
            assert not isinstance(requirement, Budget)  # refused before, as all others are
            continue
        if isinstance(constraint, Ellipsoid):
            made.append(_ellipsoid(task, constraint, requirement.probability))
            continue
        x, u = g.sx_in()
        value = ca.densify(g(x, u))
        C = ca.jacobian(value, ca.vertcat(x, u))
        if ca.symvar(C):
            raise NotApplicable(
                f"task '{task.name}': the chance constraint '{constraint.name}' is neither affine nor an Ellipsoid, as "
                "covariance steering needs; use a polytope or an ellipsoid inside it"
            )
        rows, bounds = np.array(ca.DM(ca.evalf(C))).reshape(C.shape), -np.array(g(0, 0)).ravel()
        made += _rows(rows, bounds, requirement.probability, n, constraint.name)
    lower, upper = task.input_bounds
    identity = np.hstack([np.zeros((m, n)), np.eye(m)])
    made += _rows(np.vstack([identity, -identity]), np.concatenate([upper, -lower]), input_probability, n, "inputs")
    return tuple(made)


def _rows(C: np.ndarray, d: np.ndarray, probability: float, n: int, name: str) -> list[ChanceConstraint]:
    bounded = np.flatnonzero(np.isfinite(d))
    quantile = float(norm.isf(min((1.0 - probability) / max(len(bounded), 1), 0.5)))
    return [ChanceConstraint(C[i : i + 1], d[i : i + 1], quantile, False, bool(C[i, n:].any()), name) for i in bounded]


def _ellipsoid(task: Task, constraint: Ellipsoid, probability: float) -> ChanceConstraint:
    n, names = len(task.plant.state), (*task.plant.state.names, *task.plant.input.names)
    select = np.zeros((len(constraint.signals), len(names)))
    for row, name in zip(select, constraint.signals, strict=True):
        row[names.index(name)] = 1.0
    centre = np.asarray(constraint.centre, dtype=float)
    root = np.linalg.cholesky(np.asarray(constraint.P, dtype=float) / constraint.level).T
    centre = root @ (centre if centre.size else np.zeros(len(select)))
    quantile = float(np.sqrt(chi2.ppf(probability, len(select))))
    return ChanceConstraint(root @ select, centre, quantile, True, bool(select[:, n:].any()), constraint.name)
