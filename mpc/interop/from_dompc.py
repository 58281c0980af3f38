"""Converts a do-mpc model to a plant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import casadi as ca

from ctrl.controller import NotApplicable
from mpc.interop.function_plant import function_plant
from systems import InvalidValue, Plant, UnknownName, signals
from systems.arguments import expect_name, expect_number, expect_pair
from systems.errors import expect, shown

__all__ = ["dompc_expression", "from_dompc"]


def from_dompc(
    model: Any,
    parameters: Mapping[str, float] | None = None,
    dt: float | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> Plant:
    """The plant of a ``do_mpc.model.Model`` on which ``setup`` was called.

    A variable with several entries becomes as many signals, ``name_0``, ``name_1``, ...; process noise becomes a
    disturbance. Measurement equations are not part of a plant. Expressions: see :func:`dompc_expression`.

    Args:
        model: continuous or discrete, of ``SX`` or ``MX`` variables.
        parameters: values of the model's parameters, which do-mpc does not keep in the model.
        dt: seconds between samples, of a discrete model.
        limits: of the actuators, by input; do-mpc keeps them in its ``MPC``.

    Raises:
        NotApplicable: a model with algebraic states, time-varying parameters or integer inputs.
        InvalidValue: not a do-mpc model, one that is not set up, or a missing value or dt.
        UnknownName: a value or limit of a variable that the model does not have.
    """
    _expect_model(model)
    names = {role: _names(getattr(model, role)) for role in ("x", "u", "w", "p")}
    for what, values in (("parameters", parameters), ("limits", limits)):
        if values is not None:
            expect(values, Mapping, what, "such as {'name': ...}")
    given = dict(parameters or {})
    missing = [name for name in names["p"] if name not in given]
    if missing:
        example = ", ".join(f"'{name}': 1.0" for name in missing)
        raise InvalidValue(f"the model's parameters {', '.join(missing)} have no value; give parameters={{{example}}}")
    for name in given:
        if name not in names["p"]:
            raise UnknownName.among(name, names["p"], "parameter of the do-mpc model")
        expect_number(given[name], f"parameters: {name}")
    for name, limit in (limits or {}).items():
        if name not in names["u"]:
            raise UnknownName.among(name, names["u"], "input of the do-mpc model")
        expect_pair(limit, f"limits: {name}")
    is_discrete = model.model_type == "discrete"
    if is_discrete and dt is None:
        raise InvalidValue("the model is discrete; give dt, the seconds between its samples")
    if dt is not None:
        expect_number(dt, "dt", above=0.0, hint="seconds between samples of a discrete model")
        if not is_discrete:
            raise InvalidValue(f"dt = {dt} for a continuous model; leave it out, and give dt to the task")
    x, u, w, p = (ca.SX.sym(role, len(names[role])) for role in ("x", "u", "w", "p"))
    rhs = _in_sx(model._rhs_fun)(x, u, ca.SX(0, 1), ca.SX(0, 1), p, w)
    equations = ca.Function("equations", [x, u, w, p], [rhs])
    values = {name: float(given[name]) for name in names["p"]}
    state, inputs, disturbance = (signals(*names[role]) for role in ("x", "u", "w"))
    return function_plant("DoMPCModel", equations, (state, inputs, disturbance), values, dt, limits or {})


def dompc_expression(model: Any, name: str, parameters: Mapping[str, float] | None = None) -> ca.Function:
    """An expression that was declared by ``model.set_expression``, for costs and constraints of a task.

    ``kinetic = dompc_expression(model, "E_kin")``, then
    ``Inequality("energy", lambda x, u: kinetic(x.column, u.column) - 5.0)``.

    Args:
        model: see :func:`from_dompc`.
        name: of the expression.
        parameters: values of the model's parameters.

    Returns:
        (x, u) -> expression.

    Raises:
        UnknownName: no expression has this name.
        NotApplicable, InvalidValue: see :func:`from_dompc`.
    """
    expect_name(name, "the name of an expression")
    plant = from_dompc(model, parameters, dt=1.0 if getattr(model, "model_type", "") == "discrete" else None)
    declared = model.aux.keys()
    known = [key for key in declared if key != "default"]
    if name not in known:
        raise UnknownName.among(name, known, "expression of the do-mpc model")
    x, u = plant.state.symbol(), plant.input.symbol()
    p = ca.vertcat(ca.SX(0, 1), *[ca.SX(value) for value in plant.parameters.values()])
    values = _in_sx(model._aux_expression_fun)(x, u, ca.SX(0, 1), ca.SX(0, 1), p)
    return ca.Function(name, [x, u], [values[model.aux.f[name]]], ["x", "u"], [name])


def _expect_model(model: Any) -> None:
    if not all(hasattr(model, part) for part in ("model_type", "set_rhs", "flags")):
        raise InvalidValue(f"model = {shown(model)}; expected a do_mpc.model.Model")
    if not model.flags["setup"]:
        raise InvalidValue("the do-mpc model is not set up; call model.setup() first")
    reasons = (
        (model.n_z, "algebraic states", "solve for them, and write their expressions into the right-hand side"),
        (model.n_tvp, "time-varying parameters", "make them states with equations of their own, or parameters"),
        (len(model.integer), "integer inputs", "no controller here decides whole numbers; declare them as real"),
    )
    for count, what, how in reasons:
        if count:
            raise NotApplicable(f"the do-mpc model has {count} {what}, which a plant has not: {how}")


def _names(structure: Any) -> list[str]:
    """One name for each entry."""
    names, keys = [], structure.keys()
    for key in keys:
        size = len(structure.f[key])
        names += [key] if size == 1 else [f"{key}_{i}" for i in range(size)]
    return names


def _in_sx(function: ca.Function) -> ca.Function:
    """The same function of SX symbols."""
    try:
        return function.expand()
    except RuntimeError as error:
        raise NotApplicable(
            f"the equations of the model cannot be written in SX symbols: {str(error).splitlines()[-1]}"
        ) from error
