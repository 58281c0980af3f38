"""The candidate terms of a sparse regression."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

import casadi as ca

from systems.arguments import expect_whole
from systems.errors import InvalidValue
from systems.expressions import column, evaluated, expect_arguments, without_nan
from systems.signals import Signals, Vector

__all__ = ["Terms", "named_terms", "polynomials"]

Terms = Callable[[Vector, Vector], Any]
"""A function of state and input that returns the candidate terms: expressions, or a mapping from names to them."""


def polynomials(degree: int) -> Terms:
    """All products of states and inputs up to a total degree, the constant 1 among them.

    Args:
        degree: at least 1.
    """
    expect_whole(degree, "degree of the polynomials", least=1, most=10)

    def terms(x: Vector, u: Vector) -> Mapping[str, Any]:
        factors = dict(zip((*x.names, *u.names), (*x, *u), strict=True))
        products: dict[str, Any] = {"1": ca.SX(1)}
        for power in range(1, degree + 1):
            for chosen in itertools.combinations_with_replacement(factors, power):
                counts = {name: chosen.count(name) for name in chosen}
                name = " ".join(name if count == 1 else f"{name}^{count}" for name, count in counts.items())
                product = ca.SX(1)
                for factor in chosen:
                    product = product * factors[factor]
                products[name] = product
        return products

    return terms


def named_terms(terms: Terms, state: Signals, inputs: Signals) -> tuple[tuple[str, ...], ca.Function]:
    """Names of the terms, and the terms as one function of state and input with one column of results.

    Args:
        terms: of the user.
        state, inputs: signals.

    Raises:
        InvalidValue: no terms, terms that are not expressions of state and input, or one that is there twice.
    """
    where = "the function of the candidate terms"
    expect_arguments(terms, "x, u", where)
    x, u = state.symbol(), inputs.symbol()
    result = evaluated(terms, where, Vector(state, x, "state"), Vector(inputs, u, "input"))
    if isinstance(result, Mapping):
        names, expressions = (
            tuple(map(str, result)),
            column(list(result.values()), where, "an expression per name"),
        )
    else:
        expressions = column(result, where, "a sequence of expressions, or a mapping from names to them")
        names = tuple(_readable(str(entry)) for entry in ca.vertsplit(expressions))
    if not names:
        raise InvalidValue(f"{where} returned none; return some, such as polynomials(2)")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidValue(f"{where} returned {', '.join(twice)} twice; return every term once")
    try:
        f = ca.Function("terms", [x, u], [expressions], ["x", "u"], ["terms"])
    except RuntimeError as error:
        raise InvalidValue(f"{where} contains symbols that are neither state nor input") from error
    return names, without_nan(f, where)


def _readable(text: str) -> str:
    """An expression of CasADi as it would be written."""
    text = re.sub(r"\bsq\((\w+)\)", r"\1^2", text)
    return text[1:-1] if re.fullmatch(r"\([^()]*\)", text) else text
