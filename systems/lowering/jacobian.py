"""Jacobians of CasADi functions as CasADi functions, to be lowered like any other."""

from __future__ import annotations

from typing import Any

import casadi as ca

from systems.errors import InvalidValue, expect, shown


def jacobian(function: ca.Function, wrt: str | int = 0, of: str | int = 0) -> ca.Function:
    """Jacobian of one output with respect to one input, by CasADi's own differentiation.

    Args:
        function: any differentiable CasADi function.
        wrt: name or number of the input, n entries.
        of: name or number of the output, m entries.

    Returns:
        A function of the same inputs whose one output is the m x n Jacobian.

    Raises:
        InvalidValue: no such input or output, or not a CasADi function.
    """
    expect(function, ca.Function, "the function of jacobian", "such as plant.casadi()")
    names = [function.name_in(i) for i in range(function.n_in())]
    results = [function.name_out(i) for i in range(function.n_out())]
    which = _find(wrt, names, f"input of {function.name()}")
    output = _find(of, results, f"output of {function.name()}")
    inputs: Any = function.sx_in() if function.is_a("SXFunction") else function.mx_in()
    value = function.call(inputs, True, False)[output]
    derivative = ca.jacobian(value, inputs[which])
    name = f"{function.name()}_jacobian_{names[which]}"
    return ca.Function(name, inputs, [derivative], names, [f"jacobian_{names[which]}"])


def _find(key: str | int, names: list[str], what: str) -> int:
    if isinstance(key, str) and key in names:
        return names.index(key)
    if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(names):
        return key
    raise InvalidValue(f"{shown(key)} names no {what}: choose from {', '.join(names)}")
