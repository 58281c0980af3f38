"""The optimal steady state of a task, and a test whether its reference is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from systems.nonsmooth import Epigraph
from systems.reading.conditions import Conditions
from systems.reading.derivatives import cost_size
from systems.reading.reference import STILL, ReferencePath

__all__ = ["SteadyState", "SteadyStates"]

NONE = np.zeros(0)


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


@final
class SteadyStates:
    """The optimal steady states of a task with a constant reference, for any values of some of its plant's parameters.

    CasADi's functions are made once, when they are first needed.

    Args:
        path: the reference.
        stage: the stage cost of (x, u, xr, ur) without its kinks.
        size: of its derivatives.
        parameters: names of the plant's parameters that may change; default: none.
    """

    def __init__(self, path: ReferencePath, stage: Epigraph, size: float, parameters: Sequence[str] = ()) -> None:
        self.path, self._stage, self._size, self._parameters = path, stage, size, tuple(parameters)
        self._curvatures: dict[bool, ca.Function] = {}
        self._last: tuple[bytes, np.ndarray | None] | None = None  # values, and multipliers for them
        self._searches: dict[bool, _Search] = {}

    @cached_property
    def _symbols(self) -> tuple[ca.SX, ca.SX, ca.SX, ca.SX]:
        """x, u, p and the change of the state in a sample."""
        f = self.path.task.dynamics.function(self._parameters)
        x, u, w, p = f.sx_in()
        return x, u, p, f(x, u, ca.DM.zeros(w.shape), p) - x

    @cached_property
    def _cost(self) -> ca.SX:
        x, u, _, _ = self._symbols
        return self.path.task.stage_cost(x, u, *self.path.start)

    @cached_property
    def _first(self) -> ca.Function:
        """Gradient of the cost, and slopes of the change of the state."""
        x, u, p, drift = self._symbols
        z = ca.vertcat(x, u)
        return ca.Function(
            "first", [x, u, p], [ca.densify(ca.gradient(self._cost, z)), ca.densify(ca.jacobian(drift, z))]
        )

    def _second(self, of_lagrangian: bool) -> ca.Function:
        """Hessian of the Lagrangian, or of the cost."""
        if of_lagrangian not in self._curvatures:
            x, u, p, drift = self._symbols
            z, costate = ca.vertcat(x, u), ca.SX.sym("costate", x.shape[0])
            value = self._cost + ca.dot(costate, drift) if of_lagrangian else self._cost
            self._curvatures[of_lagrangian] = ca.Function("second", [x, u, costate, p], [ca.hessian(value, z)[0]])
        return self._curvatures[of_lagrangian]

    def multipliers(self, values: np.ndarray = NONE) -> np.ndarray | None:
        """Multipliers (n,) of F(x, u) - x = 0 at the start of the reference; None if it is not a stationary point of
        the cost over all steady states.

        It is if it is an equilibrium, the gradient of the stage cost is a combination of those of x - F(x, u), and the
        second derivative along the steady states is nowhere negative.

        Args:
            values: (parameters,).
        """
        key = values.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = key, self._multipliers(values)
        return self._last[1]

    def _multipliers(self, values: np.ndarray) -> np.ndarray | None:
        path = self.path
        step = path.task.dynamics.function(self._parameters)
        if not path.is_followed(step, values) or _has_kink_at_reference(self._stage, path):
            return None
        x_ref, u_ref = path.start
        n = len(x_ref)
        gradient, slope = (np.array(part) for part in self._first(x_ref, u_ref, values))
        multipliers = np.zeros(n)
        small = STILL * self._size
        if not np.abs(gradient).max(initial=0.0) <= small:  # also if it is NaN
            if not (np.isfinite(gradient).all() and np.isfinite(slope).all()):
                return None
            multipliers = np.linalg.lstsq(slope.T, -gradient[:, 0], rcond=None)[0]
            # Each entry has its own unit, that of the cost divided by that of its signal.
            terms = np.abs(gradient[:, 0]) + np.abs(slope.T) @ np.abs(multipliers)
            if (np.abs(gradient[:, 0] + slope.T @ multipliers) > small + STILL * terms).any():
                return None
        second = np.array(self._second(bool(multipliers.any()))(x_ref, u_ref, multipliers, values))
        if not np.isfinite(second).all():
            return None
        free = _null_space(slope) if np.isfinite(slope).all() else np.eye(len(second))
        least = -1e-9 * np.abs(second).max(initial=0.0)
        return None if np.linalg.eigvalsh(free @ second @ free.T).min(initial=0.0) < least else multipliers

    def optimum(self, rule: Conditions | None, is_admissible: bool, values: np.ndarray = NONE) -> SteadyState | None:
        """The optimal steady state, which is the reference if that is stationary; None if there is none, or if the
        reference moves.

        Args:
            rule: constraints to satisfy; None for the input bounds alone.
            is_admissible: whether the reference is within the rule and the input bounds.
            values: (parameters,).
        """
        task = self.path.task
        if not task.reference.is_constant:
            return None
        multipliers = self.multipliers(values)
        if multipliers is not None and is_admissible:
            x_ref, u_ref = self.path.start
            return SteadyState(x_ref, u_ref, float(task.stage_cost(x_ref, u_ref, x_ref, u_ref)), multipliers, ())
        is_ruled = rule is not None
        if is_ruled not in self._searches:
            step = task.dynamics.function(self._parameters)
            self._searches[is_ruled] = _Search(self.path, self._stage, rule, step)
        return self._searches[is_ruled].best(values)


@final
class _Search:
    """The search for the best steady state from several guesses.

    The solver uses absolute tolerances, so states, inputs, rows and cost are scaled such that they are not small.

    Args:
        path: the reference; it is constant.
        cost: stage cost of (x, u, xr, ur).
        rule: constraints to satisfy; None for the input bounds alone.
        step: F(x, u, w, p).
    """

    def __init__(self, path: ReferencePath, cost: Epigraph, rule: Conditions | None, step: ca.Function) -> None:
        task, plant = path.task, path.task.plant
        x_ref, u_ref = path.start
        n, m = len(plant.state), len(plant.input)
        units = np.minimum(np.concatenate(path.sizes), 1.0)
        size = cost_size(path, units)
        z_x, z_u, z_t = plant.state.symbol(), plant.input.symbol(), ca.SX.sym("t", cost.count)
        p = step.sx_in()[3]
        x, u, t = ca.DM(units[:n]) * z_x, ca.DM(units[n:]) * z_u, size * z_t
        arguments = (x, u, x_ref, u_ref)
        drift = (step(x, u, 0, p) - x) / ca.DM(units[:n])
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
            "calc_lam_p": False,  # not used, and CasADi prints a warning where it fails
            "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-9, "max_iter": 300, "bound_relax_factor": 0.0},
        }
        self._solver = ca.nlpsol("steady", "ipopt", {"x": z, "p": p, "f": value / size, "g": g}, options)
        self._path, self._names, self._units, self._size = path, tuple(names), units, size
        self._least, self._most, self._extra = least, most, z.shape[0] - n - m
        self._bounds = {
            "lbx": np.concatenate(lower), "ubx": np.concatenate(upper),
            "lbg": np.concatenate(low), "ubg": np.concatenate(high),
        }  # fmt: skip

    def best(self, values: np.ndarray) -> SteadyState | None:
        """The best steady state for these values (parameters,); None if there is none."""
        path, units, size, least, most, names = (
            self._path, self._units, self._size, self._least, self._most, self._names,
        )  # fmt: skip
        task, plant = path.task, path.task.plant
        n, m = len(plant.state), len(plant.input)
        best: SteadyState | None = None
        for guess in _guesses(path):
            guess = guess / units
            started = np.concatenate([guess[:n], np.clip(guess[n:], least, most), np.ones(self._extra)])
            if not np.isfinite(started).all():
                continue
            try:
                solution = self._solver(x0=started, p=values, **self._bounds)
            except RuntimeError:
                continue
            point, cost_there = np.array(solution["x"])[:, 0], size * float(solution["f"])
            if not self._solver.stats()["success"] or not np.isfinite(point).all():
                continue
            if best is not None and cost_there >= best.cost - 1e-9 * (size + abs(best.cost)):
                continue
            of_rows, of_bounds = np.array(solution["lam_g"])[:, 0], np.array(solution["lam_x"])[:, 0]
            scale = 1e-6 * (1.0 + np.abs(of_rows).max(initial=0.0))
            binding = [names[i] for i in np.flatnonzero(np.abs(of_rows) > scale) if names[i]]
            binding += [plant.input.names[i] for i in np.flatnonzero(np.abs(of_bounds[n : n + m]) > scale)]
            active = tuple(dict.fromkeys(binding))
            multipliers, applied = size * of_rows[:n] / units[:n], np.clip(point[n : n + m], least, most) * units[n:]
            best = SteadyState(
                point[:n] * units[:n], np.clip(applied, *task.input_bounds), cost_there, multipliers, active
            )
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
