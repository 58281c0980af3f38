"""CasADi symbols that refuse to be read as numbers, while a user's equations are evaluated on them.

``float()`` of a CasADi symbol is NaN instead of an error, so ``max(1.0, math.sqrt(self.mass))`` would be 1, an
``isclose`` false and a dictionary of masses give its default: another function than the one that is written, without a
word.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import casadi as ca

__all__ = ["SymbolRead", "Unread", "noted", "unreadable"]


class SymbolRead(TypeError):
    """An equation used the number of a symbol."""


_READS = {
    "__float__": "contains a NaN: functions of the module math, and float(), cannot read {}; use casadi's: "
    "casadi.fabs, casadi.sqrt, casadi.sin, casadi.fmax",
    "__int__": "rounds {} by int(); use casadi.floor",
    "__bool__": "decides by the value of {}, with if, and, or, min or max; write casadi.if_else(condition, a, b), "
    "casadi.fmin or casadi.fmax",
    "__hash__": "looks {} up in a dictionary or a set; write it as an expression, such as "
    "casadi.if_else(condition, a, b)",
    "is_integer": "asks whether {} is a whole number, which it cannot know of a symbol",
}
_state = threading.local()


@contextmanager
def unreadable(parameters: Sequence[str] = ()) -> Iterator[None]:
    """Within, in this thread, whatever needs the number of an expression that holds symbols raises :class:`SymbolRead`.

    Args:
        parameters: names of the symbols that stand for parameters of a plant; all others are called signals.
    """
    _install()
    before = getattr(_state, "parameters", None)
    _state.parameters = frozenset(parameters)
    try:
        yield
    except (TypeError, ValueError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, SymbolRead):  # numpy puts an error of its own in front
            cause = cause.__cause__
        if cause is None or cause is error:
            raise
        raise cause from error
    finally:
        _state.parameters = before


@contextmanager
def noted() -> Iterator[list[str]]:
    """Names of the operations that, within, in this thread, were refused to parameters: an equation may catch what is
    raised, and go on as another function than it is of numbers."""
    reads: list[str] = []
    _state.noted = reads
    try:
        yield reads
    finally:
        _state.noted = None


def _note(name: str) -> None:
    if (reads := getattr(_state, "noted", None)) is not None:
        reads.append(name)


@functools.cache
def _install() -> None:
    """Has the methods of CasADi's expressions that read numbers look first whether they may; once.

    Expressions are made of expressions, so symbols of a class of our own would not do. Outside of :func:`unreadable`
    nothing changes.
    """
    for name, text in _READS.items():
        setattr(ca.SX, name, _guarded(name, getattr(ca.SX, name), text))


def _guarded(name: str, original: Callable[..., Any], text: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: Any, *args: Any) -> Any:
        parameters = getattr(_state, "parameters", None)
        if parameters is not None and not self.is_constant():
            names = dict.fromkeys(str(symbol) for symbol in ca.symvar(self))
            # A cache of a function of signals looks them up, too, and does no harm.
            if name != "__hash__" or not parameters.isdisjoint(names):
                if not parameters.isdisjoint(names):
                    _note(name)
                raise SymbolRead(text.format(_described(list(names), parameters)))
        return original(self, *args)

    return method


class Unread(float):
    """A parameter's number that equations may compute with and not look at.

    Equations that hold for any value do not ask for one: within :func:`unreadable`, comparisons, roundings and texts of
    it raise :class:`SymbolRead`, also of what was computed from it. float() is left as it is: numpy converts by it.
    """


def _computed(name: str) -> Callable[..., Any]:
    original = getattr(float, name)

    def method(self: Unread, *args: Any) -> Any:
        result = original(self, *args)
        return Unread(result) if isinstance(result, float) else result

    return method


def _looked_at(name: str) -> Callable[..., Any]:
    original = getattr(float, name)

    def method(self: Unread, *args: Any) -> Any:
        if getattr(_state, "parameters", None) is not None:
            _note(name)
            raise SymbolRead(f"looks at the number of a parameter, by {name}")
        return original(self, *args)

    return method


for _name in ("add", "sub", "mul", "truediv", "pow"):
    for _side in ("", "r"):
        setattr(Unread, f"__{_side}{_name}__", _computed(f"__{_side}{_name}__"))
for _name in ("neg", "pos", "abs"):
    setattr(Unread, f"__{_name}__", _computed(f"__{_name}__"))
for _name in (
    *("lt", "le", "gt", "ge", "eq", "ne", "bool", "int", "round", "floor", "ceil", "trunc", "floordiv", "mod"),
    *("divmod", "hash", "str", "repr", "format"),
):
    setattr(Unread, f"__{_name}__", _looked_at(f"__{_name}__"))
for _name in ("is_integer", "as_integer_ratio", "hex"):
    setattr(Unread, _name, _looked_at(_name))


def _described(names: list[str], parameters: frozenset[str]) -> str:
    varying = [name for name in names if name in parameters]
    if not varying:
        return f"signals ({', '.join(names)}), which are symbols here"
    what = "parameters {}, which are symbols" if len(varying) > 1 else "parameter {}, which is a symbol"
    return f"the {what.format(', '.join(varying))} here because any value is meant"
