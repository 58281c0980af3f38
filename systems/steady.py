"""The steady state at which a task is cheapest, and whether its reference is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.abstract_task import AbstractTask
from systems.conditions import Conditions
from systems.nonsmooth import Epigraph

__all__ = ["SteadyState", "optimal_steady_state"]


@dataclass(frozen=True, eq=False)
class SteadyState:
    """A minimiser of the stage cost over all (x, u) with x = F(x, u), and its multipliers (Angeli, Amrit & Rawlings,
    2012, section II).

    Args:
        x: (n,). u: (m,). cost: of one sample there.
        multipliers: (n,), of F(x, u) - x = 0: the gradient of the cost-to-go with respect to the state.
        active: names of the constraints, and of the inputs at a bound, that keep the cost from being smaller.
    """

    x: np.ndarray
    u: np.ndarray
    cost: float
    multipliers: np.ndarray
    active: tuple[str, ...]


def optimal_steady_state(
    task: AbstractTask,
    cost: Epigraph,
    size: float,
    rule: Conditions | None,
    guesses: list[np.ndarray],
    x_ref: np.ndarray,
    u_ref: np.ndarray,
) -> SteadyState | None:
    """The cheapest steady state found from several guesses, None where there is none.

    Args:
        cost: stage cost of (x, u, xr, ur).
        size: of its derivatives, by which the solver's objective is divided.
        rule: constraints to keep, None for the input bounds alone.
        guesses: (n + m,) each.
    """
    plant = task.plant
    n, m = len(plant.state), len(plant.input)
    x, u, t = plant.state.symbol(), plant.input.symbol(), ca.SX.sym("t", cost.count)
    arguments = (x, u, x_ref, u_ref)
    drift = task.dynamics.function()(x, u, 0, ca.SX(0, 1)) - x
    rows, low, high = [drift, cost.rows(*arguments, t)], [np.zeros(n)], [np.zeros(n)]
    low.append(np.full(rows[1].shape[0], -np.inf))
    high.append(np.zeros(rows[1].shape[0]))
    value, names = cost.value(*arguments, t), [""] * (n + rows[1].shape[0])
    least, most = task.input_bounds
    variables = [x, u, t]
    lower = [np.full(n, -np.inf), least, cost.lower]
    upper = [np.full(n, np.inf), most, np.full(cost.count, np.inf)]
    if rule is not None and len(rule.names):
        soft = np.isfinite(rule.weight)
        groups = np.unique(rule.group[soft])
        s = ca.SX.sym("s", len(groups))
        place = {int(group): i for i, group in enumerate(groups)}
        v = rule.value(x, u)
        for i, group in enumerate(rule.group):
            slack = s[place[int(group)]] if soft[i] else ca.SX(0)
            for sign, bound in ((1.0, rule.upper[i]), (-1.0, -rule.lower[i])):
                if np.isfinite(bound):
                    rows.append(sign * v[i] - slack)
                    low.append(np.array([-np.inf]))
                    high.append(np.array([bound]))
                    names.append(rule.names[i])
        for group, i in place.items():
            value += float(rule.weight[rule.group == group][0]) * s[i]
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
    for guess in guesses:
        started = np.concatenate([guess[:n], np.clip(guess[n:], least, most), np.ones(extra)])
        if not np.isfinite(started).all():
            continue
        try:
            found = solver(
                x0=started, lbx=np.concatenate(lower), ubx=np.concatenate(upper),
                lbg=np.concatenate(low), ubg=np.concatenate(high),
            )  # fmt: skip
        except RuntimeError:
            continue
        point, cost_there = np.array(found["x"])[:, 0], size * float(found["f"])
        if not solver.stats()["success"] or not np.isfinite(point).all():
            continue
        if best is not None and cost_there >= best.cost - 1e-9 * (size + abs(best.cost)):
            continue
        of_rows, of_bounds = np.array(found["lam_g"])[:, 0], np.array(found["lam_x"])[:, 0]
        scale = 1e-6 * (1.0 + np.abs(of_rows).max(initial=0.0))
        pushing = [names[i] for i in np.flatnonzero(np.abs(of_rows) > scale) if names[i]]
        pushing += [plant.input.names[i] for i in np.flatnonzero(np.abs(of_bounds[n : n + m]) > scale)]
        active = tuple(dict.fromkeys(pushing))
        best = SteadyState(point[:n], np.clip(point[n : n + m], least, most), cost_there, size * of_rows[:n], active)
    return best
