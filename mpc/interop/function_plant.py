"""Plants whose equations are a CasADi function from another program."""

from __future__ import annotations

import dataclasses
import keyword
from collections.abc import Mapping
from typing import Any

import casadi as ca

from systems import InvalidValue, Plant, Signals, Vector

__all__ = ["function_plant"]


def function_plant(
    name: str,
    equations: ca.Function,
    signals: tuple[Signals, Signals, Signals],
    parameters: Mapping[str, float],
    dt: float | None,
    limits: Mapping[str, tuple[float, float]],
) -> Plant:
    """A plant with these equations.

    Args:
        name: of its class.
        equations: (x, u, w, p) -> derivative of the state, or next state.
        signals: state, input and disturbance.
        parameters: the entries of p by name, in order; they become fields of the plant.
        dt: seconds between samples of a discrete plant, None in continuous time.
        limits: of the actuators, by input.

    Raises:
        InvalidValue: the name of a parameter cannot be a field of a plant.
    """
    for parameter in parameters:
        if not parameter.isidentifier() or keyword.iskeyword(parameter) or hasattr(Plant, parameter):
            raise InvalidValue(
                f"{name}: the parameter '{parameter}' needs another name: a plant cannot have this field"
            )
    names, given = tuple(parameters), dict(limits)

    def evaluate(self: Plant, x: Vector, u: Vector, w: Vector) -> Any:
        p = ca.vertcat(ca.SX(0, 1), *[ca.SX(getattr(self, parameter)) for parameter in names])
        return equations(x.column, u.column, w.column, p)

    def bounds(self: Plant) -> Mapping[str, tuple[float, float]]:
        return given

    state, inputs, disturbance = signals
    namespace = {
        "state": state, "input": inputs, "disturbance": disturbance, "limits": bounds,
        "ode" if dt is None else "step": evaluate,
    }  # fmt: skip
    fields: list[Any] = [(parameter, float, dataclasses.field(default=v)) for parameter, v in parameters.items()]
    if dt is not None:
        fields.append(("dt", float, dataclasses.field(default=dt)))
    made = dataclasses.make_dataclass(name, fields, bases=(Plant,), namespace=namespace, frozen=True)
    plant: Plant = made()
    return plant
