"""Converts an optimal control problem of acados to a task."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from mpc.interop.function_plant import function_plant
from systems import Box, Constraint, Fixed, Inequality, InvalidValue, Nonlinear, Plant, SetPoint, Task, signals
from systems.errors import shown

__all__ = ["from_acados"]

INFINITE = 1e9  # a bound of this size or more is none: acados has no infinite bounds
_INTEGRATORS = {1: "euler", 4: "rk4"}  # of explicit Runge-Kutta methods, by their number of stages


def from_acados(ocp: Any, name: str = "") -> Task:
    """The task of an ``AcadosOcp``: its plant, cost, constraints and initial state.

    A run of the task is the horizon of the problem: N samples, each charged the stage cost times its length, as in
    acados, and the terminal cost after the last. Parameters become those of the plant, with the values in
    ``parameter_values``. The reference is a minimiser of a linear least-squares cost; the cost itself is unchanged.
    Constraints apply at the same samples as those of any task: at all samples, and those of the state alone from the
    first prediction on, including the last state.

    Args:
        ocp: an ``AcadosOcp`` with explicit or discrete dynamics, external or linear least-squares costs, and bounds,
            linear or nonlinear constraints, hard or with a linear penalty.
        name: of the task; default: that of the model.

    Raises:
        NotApplicable: a feature that a task cannot represent; the message suggests an alternative.
        InvalidValue: not an ``AcadosOcp``, or one whose parts are inconsistent.
    """
    if not all(hasattr(ocp, part) for part in ("model", "cost", "constraints", "solver_options", "dims")):
        raise InvalidValue(f"ocp = {shown(ocp)}; expected an acados_template.AcadosOcp")
    return _Reader(ocp).task(name)


class _Reader:
    def __init__(self, ocp: Any) -> None:
        self.ocp, self.model, self.cost, self.rules = ocp, ocp.model, ocp.cost, ocp.constraints
        model = ocp.model
        if model.x is None or model.u is None:
            raise InvalidValue("the model of the AcadosOcp has no x or no u; set both")
        if _size(model.z):
            raise _refused("algebraic variables z", "solve for them, and write their expressions into f_expl_expr")
        self.names = _names(model.x, "x"), _names(model.u, "u"), _names(model.p, "p") if _size(model.p) else []
        self.symbols = [model.x, model.u, model.p if _size(model.p) else type(model.x)(0, 1)]
        self.values = np.array(ocp.parameter_values, dtype=float).ravel()
        if len(self.values) != len(self.names[2]):
            raise InvalidValue(
                f"the model has {len(self.names[2])} parameters and parameter_values {len(self.values)}; give one each"
            )
        self.N = int(ocp.dims.N or 0)
        if self.N < 1:
            raise InvalidValue("dims.N is not set; give the number of samples of the horizon")

    def task(self, name: str) -> Task:
        dt = self._sample_time()
        plant, integrator, substeps = self._plant(dt)
        x_ref, u_ref = self._reference()
        return Task(
            name=name or str(self.model.name),
            plant=plant,
            dt=dt,
            steps=self.N,
            cost=self._costs(dt),
            constraints=self._constraints(dt),
            initial=Fixed(self._initial()),
            reference=SetPoint(x_ref, u_ref),
            integrator=integrator,
            substeps=substeps,
        )  # fmt: skip

    def _function(self, expression: Any) -> Callable[[Any, Any], Any]:
        """An expression of the model as a function of columns of states and inputs, with the parameters' values."""
        p, symbols = ca.DM(self.values), self.symbols
        try:
            f = ca.Function("f", symbols, [expression]).expand()
        except RuntimeError as error:
            raise NotApplicable(
                f"an expression of the AcadosOcp cannot be read: {str(error).splitlines()[-1]}"
            ) from error
        return lambda x, u: f(x, u, p)

    def _sample_time(self) -> float:
        options = self.ocp.solver_options
        steps = np.array([] if options.time_steps is None else options.time_steps, dtype=float).ravel()
        nodes = np.array([] if options.shooting_nodes is None else options.shooting_nodes, dtype=float).ravel()
        if not steps.size:
            steps = np.diff(nodes) if nodes.size else np.full(self.N, float(options.tf or np.nan) / self.N)
        scaling = getattr(options, "cost_scaling", None)  # of later versions
        if scaling is not None and np.size(scaling) and not np.allclose(scaling, [*steps, 1.0]):
            raise _refused(
                "a cost_scaling", "leave it unset and scale the cost itself: stages are weighted by their length"
            )
        if not np.isfinite(steps).all():
            raise InvalidValue("solver_options.tf is not set; give the length of the horizon in seconds")
        if not np.allclose(steps, steps[0], rtol=1e-9):
            raise _refused("stages of different length", "set solver_options.tf alone: a task has one sample time")
        return float(steps[0])

    def _plant(self, dt: float) -> tuple[Plant, Any, int]:
        model, options = self.model, self.ocp.solver_options
        is_discrete = options.integrator_type == "DISCRETE"
        expression = model.disc_dyn_expr if is_discrete else model.f_expl_expr
        stages, substeps = (np.unique(getattr(options, f"sim_method_num_{of}")) for of in ("stages", "steps"))
        if not is_discrete and (options.integrator_type != "ERK" or expression is None):
            raise _refused(
                f"dynamics for the integrator {options.integrator_type}",
                "set f_expl_expr and integrator_type = 'ERK', or disc_dyn_expr and 'DISCRETE'",
            )
        if expression is None:
            raise InvalidValue("integrator_type is 'DISCRETE', and model.disc_dyn_expr is not set")
        if not is_discrete and (len(stages) > 1 or len(substeps) > 1 or int(stages[0]) not in _INTEGRATORS):
            raise _refused(
                f"an explicit integrator of {stages.tolist()} stages and {substeps.tolist()} steps",
                "set sim_method_num_stages = 4 (or 1) and one sim_method_num_steps for all stages",
            )
        x, u, w = ca.SX.sym("x", len(self.names[0])), ca.SX.sym("u", len(self.names[1])), ca.SX.sym("w", 0)
        p = ca.SX.sym("p", len(self.names[2]))
        rhs = ca.Function("f", self.symbols, [expression]).expand()(x, u, p)
        plant = function_plant(
            "AcadosModel", ca.Function("equations", [x, u, w, p], [rhs]),
            (signals(*self.names[0]), signals(*self.names[1]), signals()),
            dict(zip(self.names[2], self.values.tolist(), strict=True)), dt if is_discrete else None, {},
        )  # fmt: skip
        return plant, "rk4" if is_discrete else _INTEGRATORS[int(stages[0])], 1 if is_discrete else int(substeps[0])

    # ---- costs ----

    def _costs(self, dt: float) -> Nonlinear:
        first = self.cost.cost_type_0
        if first is not None and not self._starts_alike():
            raise _refused("a cost of its own for the first stage", "leave cost_type_0 and its fields unset")
        stage = self._cost("", self.cost.cost_type)
        end = None if self._is_empty_end() else self._cost("_e", self.cost.cost_type_e)
        no_input = ca.SX.zeros(len(self.names[1]))
        return Nonlinear(
            lambda x, u, xr, ur: dt * stage(x.column, u.column),
            None if end is None else lambda x, xr: end(x.column, no_input),
        )

    def _cost(self, of: str, kind: str) -> Callable[[Any, Any], Any]:
        if kind == "EXTERNAL":
            expression = getattr(self.model, f"cost_expr_ext_cost{of}")
            if expression is None:
                raise InvalidValue(f"cost_type{of} is 'EXTERNAL', and model.cost_expr_ext_cost{of} is not set")
            return self._function(expression)
        if kind != "LINEAR_LS":
            raise _refused(
                f"a cost of type {kind}", f"write it as an expression: cost_type{of} = 'EXTERNAL' and "
                f"model.cost_expr_ext_cost{of} = 0.5 (y - yref)' W (y - yref)"
            )  # fmt: skip
        W, Vx, Vu, yref = self._least_squares(of)

        def cost(x: Any, u: Any) -> Any:
            error = ca.SX(Vx) @ x + ca.SX(Vu) @ u - ca.SX(yref)
            return 0.5 * ca.bilin(ca.SX(W), error, error)

        return cost

    def _least_squares(self, of: str) -> tuple[np.ndarray, ...]:
        W, Vx, yref = (np.array(getattr(self.cost, f"{part}{of}"), dtype=float) for part in ("W", "Vx", "yref"))
        Vu = np.zeros((len(W), len(self.names[1]))) if of == "_e" else np.array(self.cost.Vu, dtype=float)
        rows = len(W)
        if Vx.shape != (rows, len(self.names[0])) or Vu.shape != (rows, len(self.names[1])) or yref.size != rows:
            raise InvalidValue(
                f"W{of} {W.shape}, Vx{of} {Vx.shape}, Vu {Vu.shape} and yref{of} {yref.shape} do not fit "
                f"{len(self.names[0])} states and {len(self.names[1])} inputs"
            )
        return W, Vx, Vu, yref.ravel()

    def _is_empty_end(self) -> bool:
        return self.cost.cost_type_e is None or (self.cost.cost_type_e == "LINEAR_LS" and not np.size(self.cost.W_e))

    def _starts_alike(self) -> bool:
        if self.cost.cost_type_0 != self.cost.cost_type:
            return False
        if self.cost.cost_type == "EXTERNAL":
            first, rest = self.model.cost_expr_ext_cost_0, self.model.cost_expr_ext_cost
            return first is not None and rest is not None and bool(ca.is_equal(first, rest, 10))
        pairs = ((getattr(self.cost, f"{part}_0"), getattr(self.cost, part)) for part in ("W", "Vx", "Vu", "yref"))
        return all(first is None or np.array_equal(first, rest) for first, rest in pairs)

    def _reference(self) -> tuple[np.ndarray, np.ndarray]:
        n, m = len(self.names[0]), len(self.names[1])
        if self.cost.cost_type != "LINEAR_LS" or not np.size(self.cost.W):
            return np.zeros(n), np.zeros(m)
        W, Vx, Vu, yref = self._least_squares("")
        weighed = np.linalg.lstsq(W @ np.hstack([Vx, Vu]), W @ yref, rcond=None)[0]
        return weighed[:n], weighed[n:]

    # ---- constraints ----

    def _initial(self) -> np.ndarray:
        low, high, index = (np.array(getattr(self.rules, f"{part}bx_0"), dtype=float) for part in ("l", "u", "idx"))
        if not np.array_equal(index, np.arange(len(self.names[0]))) or not np.array_equal(low, high):
            raise _refused("an initial state that is not fixed", "set constraints.x0 to one number for each state")
        return low

    def _constraints(self, dt: float) -> tuple[Constraint, ...]:
        rules, model, (states, inputs, _) = self.rules, self.model, self.names
        for expression in ("con_phi_expr", "con_phi_expr_e"):
            if _size(getattr(model, expression)):
                raise _refused(f"convex-over-nonlinear constraints ({expression})", "write them as con_h_expr")
        self._expect_like_ends()
        if (np.size(rules.lbx) and not np.size(rules.lbx_e)) or (
            _size(model.con_h_expr) and not _size(model.con_h_expr_e)
        ):
            warnings.warn("the task holds hard constraints on the state for the last state, too", stacklevel=4)
        made: list[Constraint] = []
        weights = self._weights(dt)
        for kind, names in (("bu", inputs), ("bx", states)):
            at = np.array(getattr(rules, f"idx{kind}"), dtype=int).ravel()
            low, high = (np.array(getattr(rules, f"{side}{kind}"), dtype=float).ravel() for side in ("l", "u"))
            for i, (index, pair) in enumerate(zip(at, zip(_no_less(low), _no_more(high), strict=True), strict=True)):
                if np.isfinite(pair).any():
                    box = Box(f"{names[index]} bounds", {names[index]: pair})
                    made.append(_required(box, weights.get((kind, i))))
        C, D = np.array(rules.C, dtype=float), np.array(rules.D, dtype=float)
        rows: list[tuple[str, Callable[[Any, Any], Any], np.ndarray, np.ndarray]] = []
        if len(C):
            rows.append(("g", lambda x, u: ca.SX(C) @ x + ca.SX(D) @ u, rules.lg, rules.ug))
        if _size(model.con_h_expr):
            rows.append(("h", self._function(model.con_h_expr), rules.lh, rules.uh))
        for kind, value, lower, upper in rows:
            low, high = _no_less(np.ravel(lower)), _no_more(np.ravel(upper))
            for i in range(len(low)):
                rule = _inequality(f"{kind}_{i}", value, i, low[i], high[i])
                if rule is not None:
                    made.append(_required(rule, weights.get((kind, i))))
        return tuple(made)

    def _weights(self, dt: float) -> dict[tuple[str, int], float]:
        """Penalties of the soft rows, by kind and number, as acados orders its slacks."""
        weights: dict[tuple[str, int], float] = {}
        zl, zu, Zl, Zu = (np.array(getattr(self.cost, part), dtype=float).ravel() for part in ("zl", "zu", "Zl", "Zu"))
        for side in ("l", "u"):
            if any(np.any(getattr(self.rules, f"{side}s{kind}")) for kind in ("bu", "bx", "g", "h")):
                raise _refused("bounds of slacks that are not zero", "leave lsbu, usbu, lsbx, ... unset")
        start = 0
        for kind in ("bu", "bx", "g", "h"):
            at = np.array(getattr(self.rules, f"idxs{kind}"), dtype=int).ravel()
            for i in at:
                if start >= len(zl) or start >= len(zu):
                    raise InvalidValue(f"{len(zl)} entries in cost.zl for more soft constraints; give one each")
                if (Zl.size and Zl[start]) or (Zu.size and Zu[start]):
                    raise _refused(
                        "a quadratic penalty (Zl, Zu)", "set Zl and Zu to zero, and zl and zu to the penalty"
                    )
                if zl[start] != zu[start]:
                    raise _refused("different penalties zl and zu of one constraint", "set both to the same number")
                weights[kind, int(i)] = dt * float(zl[start])
                start += 1
        return weights

    def _expect_like_ends(self) -> None:
        """Refuses constraints of the last state that are not those of all states."""
        rules, model = self.rules, self.model
        if np.size(self.cost.zl_e) or np.size(self.cost.zu_e):
            raise _refused("soft constraints of the last state", "write their penalty into the terminal cost")
        pairs = [(getattr(rules, f"{part}_e"), getattr(rules, part)) for part in ("lbx", "ubx", "idxbx")]
        same = all(not np.size(end) or np.array_equal(end, rest) for end, rest in pairs)
        if not same or np.size(rules.lg_e):
            raise _refused(
                "bounds of the last state other than those of all states",
                "set lbx_e, ubx_e, idxbx_e to lbx, ubx, idxbx or leave them out, and write what else shall hold at the "
                "end into the terminal cost",
            )
        end = model.con_h_expr_e
        if _size(end) and not (
            _size(model.con_h_expr)
            and ca.is_equal(end, model.con_h_expr, 10)
            and np.array_equal(rules.lh_e, rules.lh)
            and np.array_equal(rules.uh_e, rules.uh)
        ):
            raise _refused(
                "nonlinear constraints of the last state other than those of all states",
                "leave con_h_expr_e out, and write what else shall hold at the end into the terminal cost",
            )


def _inequality(name: str, value: Callable[[Any, Any], Any], i: int, low: float, high: float) -> Inequality | None:
    if not np.isfinite([low, high]).any():
        return None

    def rows(x: Any, u: Any) -> list[Any]:
        v = value(x.column, u.column)[i]
        return [*([low - v] if np.isfinite(low) else []), *([v - high] if np.isfinite(high) else [])]

    return Inequality(name, rows)


def _required(rule: Any, weight: float | None) -> Any:
    return rule if weight is None else rule.soft(weight)


def _no_less(bounds: np.ndarray) -> np.ndarray:
    return np.where(bounds <= -INFINITE, -np.inf, bounds)


def _no_more(bounds: np.ndarray) -> np.ndarray:
    return np.where(bounds >= INFINITE, np.inf, bounds)


def _size(expression: Any) -> int:
    """Number of entries; acados has [] and None where there is no expression."""
    return int(expression.shape[0]) if isinstance(expression, (ca.SX, ca.MX)) else 0


def _names(column: Any, letter: str) -> list[str]:
    """The names of the symbols in a column, or the letter and their number where they have none of their own."""
    names = [column[i].name() for i in range(column.shape[0])] if isinstance(column, ca.SX) else []
    good = len(set(names)) == len(names) and all(name.isidentifier() for name in names)
    return names if names and good else [f"{letter}_{i}" for i in range(column.shape[0])]


def _refused(what: str, how: str) -> NotApplicable:
    return NotApplicable(f"the AcadosOcp has {what}, which a task has not: {how}")
