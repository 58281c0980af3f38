"""Barrier conditions of a task: constraints differentiated up to the relative degree at which an input appears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.controller import NotApplicable
from systems import Constraint, Inequality, Task, Vector
from systems.affine import steps_in
from systems.errors import expect

__all__ = ["BarrierRows", "barrier_rows", "high_order", "sublevel_barrier"]


@final
@dataclass(frozen=True, eq=False)
class BarrierRows:
    """Barrier conditions of the sampled plant, c(x, u) >= 0, with the functions from which they are derived.

    Args:
        names: of the constraint of each row.
        degrees: relative degree of each row: number of derivatives until an input appears, 0 if the constraint itself
            depends on the input.
        conditions: ``(x, u) -> (c (rows, 1), dc/du (rows, m))``.
        levels: ``x -> (k, 1)``, all functions that must be at least 0 for a state to lie in the safe set.
    """

    names: tuple[str, ...]
    degrees: tuple[int, ...]
    conditions: ca.Function
    levels: ca.Function


def barrier_rows(
    task: Task, barriers: Sequence[Constraint], rate: float, low: np.ndarray, high: np.ndarray
) -> BarrierRows:
    """The conditions h(F(x, u, w)) >= (1 - gamma) h(x) for all w, gamma = 1 - exp(-rate dt).

    h is the last function of :func:`high_order`. The least value over the disturbances is computed to first order about
    the middle of their intervals.

    Args:
        task: whose nominal plant, sampled as it is simulated, is F.
        barriers: constraints g(x, u) <= 0.
        rate: at which h may approach 0, 1/s.
        low: (q,), of the disturbances.
        high: (q,), of the disturbances.
    """
    plant, gamma = task.plant, -np.expm1(-rate * task.dt)
    x, u, w = plant.state.symbol(), plant.input.symbol(), plant.disturbance.symbol()
    middle, radius = 0.5 * (low + high), 0.5 * (high - low)
    after = task.dynamics.function()(x, u, w, ca.SX(0, 1))
    names, degrees, rows, levels = [], [], [], []
    for barrier in barriers:
        for g in ca.vertsplit(barrier.function(plant)(x, u)):
            names.append(barrier.name)
            if _reads(g, u, barrier.name):
                degrees.append(0)
                rows.append(-g)
                continue
            ladder = high_order(task, -g, x, rate, middle, radius, barrier.name)
            degrees.append(len(ladder))
            levels += ladder
            h = ladder[-1]
            change = ca.substitute(h, x, after) - (1.0 - gamma) * h
            worst = ca.fabs(ca.jacobian(change, w)) @ ca.DM(radius)
            rows.append(ca.substitute(change - worst, w, ca.DM(middle)))
    c = ca.vertcat(*rows)
    conditions = ca.Function("conditions", [x, u], [c, ca.densify(ca.jacobian(c, u).T)], ["x", "u"], ["c", "slopes"])
    all_levels = ca.densify(ca.vertcat(*levels)) if levels else ca.DM.zeros(0, 1)
    return BarrierRows(tuple(names), tuple(degrees), conditions, ca.Function("levels", [x], [all_levels]))


def high_order(
    task: Task, h: ca.SX, x: ca.SX, rate: float, middle: np.ndarray, radius: np.ndarray, name: str
) -> list[ca.SX]:
    """psi_0 = h, psi_i = psi_(i-1)' + rate psi_(i-1), up to the last without an input; safe if all are at least 0.

    A high-order barrier function (Xiao & Belta, 2019; with a single rate, the exponential one of Nguyen & Sreenath,
    2016). For a plant in discrete time, the derivative is the difference over a sample divided by its length.
    A disturbance that appears before an input takes its worst value.

    Args:
        task: whose plant is meant.
        h: an expression of x, at least 0 in safe states.
        x: the state's symbol (n, 1).
        rate: 1/s.
        middle: (q,), of the disturbances.
        radius: (q,), of the disturbances.
        name: of the constraint, for messages.

    Raises:
        NotApplicable: no input ever appears, or only in steps.
    """
    plant = task.plant
    u, w = plant.input.symbol(), plant.disturbance.symbol()
    f = plant.casadi()(x, u, w, ca.SX(0, 1))
    ladder, psi = [h], h
    for _ in range(len(plant.state)):
        derivative = (ca.substitute(psi, x, f) - psi) / task.dt if plant.is_discrete else ca.jacobian(psi, x) @ f
        if _reads(derivative, u, name):
            return ladder
        worst = ca.fabs(ca.jacobian(derivative, w)) @ ca.DM(radius)
        psi = ca.simplify(ca.substitute(derivative - worst, w, ca.DM(middle)) + rate * psi)
        ladder.append(psi)
    raise NotApplicable(
        f"task '{task.name}': no input appears in the derivatives of '{name}', so no input can enforce it; omit this "
        "constraint"
    )


def _reads(expression: ca.SX, u: ca.SX, name: str) -> bool:
    """Whether an expression depends on the input.

    Raises:
        NotApplicable: it does, but its derivative does not show how.
    """
    if not ca.simplify(ca.jacobian(expression, u)).is_zero():
        return True
    others = [s for s in ca.symvar(expression) if not ca.depends_on(s, u)]
    if steps_in(ca.Function("condition", [u, *others], [expression]), 0):
        raise NotApplicable(
            f"the condition of '{name}' changes with the input in steps only (sign, floor, if_else between constants), "
            "and a filter corrects inputs along derivatives; use a smooth function, or omit the constraint"
        )
    return False


def sublevel_barrier(certificate: Certificate) -> Inequality:
    """V(x) - level <= 0 of a certificate as a barrier, whose condition the certified law provably satisfies.

    Args:
        certificate: with a quadratic V and a level set that is not cut off by its box.

    Raises:
        NotApplicable: another kind of V, or a set that is cut off by its box.
    """
    expect(certificate, Certificate, "the certificate", "such as largest_level(task, LQR(task).law)")
    V, level, names = certificate.V, certificate.level, certificate.state.names
    if not isinstance(V, QuadraticLyapunov):
        raise NotApplicable(f"V is a {type(V).__name__}; expected a QuadraticLyapunov, whose level sets are ellipsoids")
    if certificate.domain is not None:
        raise NotApplicable("the certified set is cut off by its box, so V does not describe it; certify a lower level")

    def g(x: Vector, u: Vector) -> ca.SX:
        away = ca.vertcat(*(x[name] for name in names)) - ca.SX(V.middle)
        return away.T @ ca.SX(V.P) @ away - level

    return Inequality("certified set", g)
