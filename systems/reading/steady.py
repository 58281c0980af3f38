"""The optimal steady state of a task, and a test whether its reference is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.nonsmooth import Epigraph
from systems.reading.conditions import Conditions
from systems.reading.derivatives import cost_size
from systems.reading.reference import STILL, ReferencePath

__all__ = ["SteadyState", "optimal_steady_state", "stationary_multipliers"]


@dataclass(frozen=True, eq=False)
class SteadyState:
    """A minimiser of the stage cost over all (x, u) with x = F(x, u), and its multipliers (Angeli, Amrit & Rawlings,
    2012, section II).

    Args:
        x: (n,). u: (m,). cost: of one sample there.
        multipliers: (n,), of F(x, u) - x = 0: the gradient of the cost-to-go with respect to the state.
        active: names of the constraints, and of the inputs at a bound, that prevent a lower cost.
    """

    x: np.ndarray
    u: np.ndarray
    cost: float
    multipliers: np.ndarray
    active: tuple[str, ...]


def optimal_steady_state(path: ReferencePath, cost: Epigraph, rule: Conditions | None) -> SteadyState | None:
    """The best steady state obtained from several guesses; None if there is none.

    The solver uses absolute tolerances, so states, inputs, rows and cost are scaled such that they are not small.

    Args:
        path: the reference; it is constant.
        cost: stage cost of (x, u, xr, ur).
        rule: constraints to satisfy; None for the input bounds alone.
    """
    task, plant = path.task, path.task.plant
    x_ref, u_ref = path.start
    n, m = len(plant.state), len(plant.input)
    units = np.minimum(np.concatenate(path.sizes), 1.0)
    size = cost_size(path, units)
    z_x, z_u, z_t = plant.state.symbol(), plant.input.symbol(), ca.SX.sym("t", cost.count)
    x, u, t = ca.DM(units[:n]) * z_x, ca.DM(units[n:]) * z_u, size * z_t
    arguments = (x, u, x_ref, u_ref)
    drift = (task.dynamics.function()(x, u, 0, ca.SX(0, 1)) - x) / ca.DM(units[:n])
    rows, low, high = [drift, cost.rows(*arguments, t) / size], [np.zeros(n)], [np.zeros(n)]
    low.append(np.full(rows[1].shape[0], -np.inf))
    high.append(np.zeros(rows[1].shape[0]))
    value, names = cost.value(*arguments, t), [""] * (n + rows[1].shape[0])
    least, most = task.input_bounds
    least, most = least / units[n:], most / units[n:]
    variables = [z_x, z_u, z_t]
    lower = [np.full(n, -np.inf), least, cost.lower / size]
    upper = [np.full(n, np.inf), most, np.full(cost.count, np.inf)]
    if rule is not None and len(rule.names):
        soft = np.isfinite(rule.weight)
        groups = np.unique(rule.group[soft])
        s = ca.SX.sym("s", len(groups))
        place = {int(group): i for i, group in enumerate(groups)}
        v, sizes = rule.value(x, u), _row_sizes(rule, path, units)
        largest = {group: float(sizes[rule.group == group].max()) for group in place}  # the unit of each slack
        for i, group in enumerate(rule.group):
            slack = largest[int(group)] * s[place[int(group)]] if soft[i] else ca.SX(0)
            for sign, bound in ((1.0, rule.upper[i]), (-1.0, -rule.lower[i])):
                if np.isfinite(bound):
                    rows.append((sign * v[i] - slack) / sizes[i])
                    low.append(np.array([-np.inf]))
                    high.append(np.array([bound / sizes[i]]))
                    names.append(rule.names[i])
        for group, i in place.items():
            value += float(rule.weight[rule.group == group][0]) * largest[group] * s[i]
        variables.append(s)
        lower.append(np.zeros(len(groups)))
        upper.append(np.full(len(groups), np.inf))
    z, g = ca.vertcat(*variables), ca.vertcat(*rows)
    options: dict[str, Any] = {
        "print_time": False,
        "show_eval_warnings": False,
        "error_on_fail": False,
        "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-9, "max_iter": 300, "bound_relax_factor": 0.0},
    }
    solver = ca.nlpsol("steady", "ipopt", {"x": z, "f": value / size, "g": g}, options)
    extra = z.shape[0] - n - m
    best: SteadyState | None = None
    for guess in _guesses(path):
        guess = guess / units
        started = np.concatenate([guess[:n], np.clip(guess[n:], least, most), np.ones(extra)])
        if not np.isfinite(started).all():
            continue
        try:
            solution = solver(
                x0=started, lbx=np.concatenate(lower), ubx=np.concatenate(upper),
                lbg=np.concatenate(low), ubg=np.concatenate(high),
            )  # fmt: skip
        except RuntimeError:
            continue
        point, cost_there = np.array(solution["x"])[:, 0], size * float(solution["f"])
        if not solver.stats()["success"] or not np.isfinite(point).all():
            continue
        if best is not None and cost_there >= best.cost - 1e-9 * (size + abs(best.cost)):
            continue
        of_rows, of_bounds = np.array(solution["lam_g"])[:, 0], np.array(solution["lam_x"])[:, 0]
        scale = 1e-6 * (1.0 + np.abs(of_rows).max(initial=0.0))
        binding = [names[i] for i in np.flatnonzero(np.abs(of_rows) > scale) if names[i]]
        binding += [plant.input.names[i] for i in np.flatnonzero(np.abs(of_bounds[n : n + m]) > scale)]
        active = tuple(dict.fromkeys(binding))
        multipliers, applied = size * of_rows[:n] / units[:n], np.clip(point[n : n + m], least, most) * units[n:]
        best = SteadyState(point[:n] * units[:n], np.clip(applied, *task.input_bounds), cost_there, multipliers, active)
    return best


def _row_sizes(rule: Conditions, path: ReferencePath, units: np.ndarray) -> np.ndarray:
    """The change, at most 1, of rows of constraints (rows,) at the reference for one unit of each signal."""
    x, u = rule.value.sx_in()
    slopes = ca.Function("slopes", [x, u], [ca.densify(ca.jacobian(rule.value(x, u), ca.vertcat(x, u)))])
    sizes = np.abs(np.array(slopes(*path.start))) @ units
    return np.where(np.isfinite(sizes) & (sizes > 0.0), np.minimum(sizes, 1.0), 1.0)


def _guesses(path: ReferencePath) -> list[np.ndarray]:
    """Initial guesses of the search for a steady state, (n + m,) each."""
    task = path.task
    x_ref, u_ref = path.start
    least, most = task.input_bounds
    mean = task.initial.mean(task.plant.state)
    guesses = [np.concatenate([x_ref, u_ref]), np.concatenate([mean, np.clip(u_ref, least, most)])]
    middle = np.clip(u_ref, least, most)
    bounded = np.isfinite(least) & np.isfinite(most)
    middle[bounded] = 0.5 * (least[bounded] + most[bounded])
    return [*guesses, np.concatenate([mean, middle])]


def stationary_multipliers(path: ReferencePath, stage: Epigraph, size: float) -> np.ndarray | None:
    """Multipliers (n,) of F(x, u) - x = 0 at the start of the reference; None if it is not a stationary point of the
    cost over all steady states.

    Args:
        path: the reference.
        stage: the stage cost without its kinks.
        size: of its derivatives.
    """
    if not path.follows or _has_kink_at_reference(stage, path):
        return None
    x_ref, u_ref = path.start
    n = len(x_ref)
    f, stage_cost = path.task.dynamics.function(), path.task.stage_cost
    x, u, w, p = f.sx_in()
    z, costate = ca.vertcat(x, u), ca.SX.sym("costate", n)
    drift = f(x, u, ca.DM.zeros(w.shape), p) - x
    cost = stage_cost(x, u, x_ref, u_ref)
    first = ca.Function("first", [x, u], [ca.densify(ca.gradient(cost, z)), ca.densify(ca.jacobian(drift, z))])
    gradient, slope = (np.array(part) for part in first(x_ref, u_ref))
    multipliers = np.zeros(n)
    small = STILL * size
    if not np.abs(gradient).max(initial=0.0) <= small:  # also if it is NaN
        if not (np.isfinite(gradient).all() and np.isfinite(slope).all()):
            return None
        multipliers = np.linalg.lstsq(slope.T, -gradient[:, 0], rcond=None)[0]
        # Each entry has its own unit, that of the cost divided by that of its signal.
        terms = np.abs(gradient[:, 0]) + np.abs(slope.T) @ np.abs(multipliers)
        if (np.abs(gradient[:, 0] + slope.T @ multipliers) > small + STILL * terms).any():
            return None
    lagrangian = cost + ca.dot(costate, drift) if multipliers.any() else cost
    second = np.array(ca.Function("second", [x, u, costate], [ca.hessian(lagrangian, z)[0]])(x_ref, u_ref, multipliers))
    if not np.isfinite(second).all():
        return None
    free = _null_space(slope) if np.isfinite(slope).all() else np.eye(len(second))
    least = -1e-9 * np.abs(second).max(initial=0.0)
    return None if np.linalg.eigvalsh(free @ second @ free.T).min(initial=0.0) < least else multipliers


def _has_kink_at_reference(stage: Epigraph, path: ReferencePath) -> bool:
    """Whether pieces of a maximum in the stage cost meet at the reference."""
    if not stage.count and not stage.left:
        return False
    x, u = path.start
    if stage.left:
        return True
    t = np.array(stage.start(x, u, x, u))[:, 0]
    rows = np.array(stage.rows(x, u, x, u, t))[:, 0]
    return bool((np.abs(rows) <= 1e-9).sum() > len(t))


def _null_space(matrix: np.ndarray) -> np.ndarray:
    """Rows (k, columns) that span the directions the matrix maps to zero."""
    _, sizes, rows = np.linalg.svd(matrix)
    return np.asarray(
        rows[np.append(sizes, np.zeros(len(rows) - len(sizes))) <= 1e-9 * max(1.0, sizes.max(initial=0.0))]
    )
