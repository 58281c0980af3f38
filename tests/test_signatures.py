"""Every public function and constructor refuses a misspelt keyword and documents each of its arguments."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import ctrl
import ctrl.certify
import ctrl.realtime
import mpc
import safe_rl
import systems

OURS = ("systems", "ctrl", "mpc", "safe_rl")


def is_called(thing: Any) -> bool:
    """Functions and classes that a user calls: no exceptions, enumerations, protocols or types."""
    if not inspect.isclass(thing):
        return inspect.isfunction(thing)
    return not issubclass(thing, Exception | enum.Enum) and not getattr(thing, "_is_protocol", False)


def public() -> dict[str, Any]:
    """What the packages export: functions, classes, and the call of objects that are called like them."""
    exported = {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in (systems, ctrl, ctrl.certify, ctrl.realtime, mpc, safe_rl)
        for name in module.__all__
    }
    made = {
        name: type(thing).__call__
        for name, thing in exported.items()
        if not inspect.isclass(thing) and not inspect.isfunction(thing) and type(thing).__module__.split(".")[0] in OURS
    }
    return {name: thing for name, thing in exported.items() if is_called(thing)} | made


PUBLIC = public()


def parameters(thing: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(thing).parameters if name not in ("self", "owner")]


def documented(thing: Any) -> str:
    """The docstrings that may describe its arguments: for a class also those of what it derives from."""
    if inspect.isclass(thing):
        ours = [c for c in thing.__mro__ if c.__module__.split(".")[0] in OURS]
        texts = [
            text for c in ours for text in (vars(c).get("__doc__"), getattr(vars(c).get("__init__"), "__doc__", ""))
        ]
        fields = [inspect.getsource(c) for c in ours if "__dataclass_fields__" in vars(c)]
        return "\n".join(filter(None, [*texts, *map(_field_docstrings, fields)]))
    return thing.__doc__ or ""


def _field_docstrings(source: str) -> str:
    """A string below a field of a dataclass documents it, as that of an argument."""
    pairs = re.findall(r'^    (\w+): [^\n]*\n    """(.*?)"""', source, flags=re.DOTALL | re.MULTILINE)
    return "Args:\n" + "\n".join(f"    {name}: {text}" for name, text in pairs) if pairs else ""


def missing(thing: Any) -> list[str]:
    text = documented(thing)
    listed = text[text.index("Args:") :] if "Args:" in text else ""
    names = re.findall(r"(?:^|[\s(])((?:\*{0,2}\w+, )*\*{0,2}\w+):\s", listed)
    known = {name.strip("* ") for group in names for name in group.split(",")}
    return [name for name in parameters(thing) if name not in known]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_misspelt_keyword_is_refused(name: str) -> None:
    thing = PUBLIC[name]
    kinds = [parameter.kind for parameter in inspect.signature(thing).parameters.values()]
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    with pytest.raises(TypeError, match=r"misspelt|abstract|required|argument"):
        thing(misspelt=1)


@pytest.mark.parametrize("name", [name for name, thing in PUBLIC.items() if inspect.isclass(thing)])
def test_no_method_takes_keywords_that_it_does_not_know(name: str) -> None:
    for method, function in inspect.getmembers(PUBLIC[name], inspect.isfunction):
        ours = function.__module__.split(".")[0] in OURS
        if ours and not method.startswith("_"):
            kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
            assert inspect.Parameter.VAR_KEYWORD not in kinds, method


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_documented(name: str) -> None:
    assert not missing(PUBLIC[name]), "document each under Args:, one per line"


def test_arguments_without_a_line_are_found() -> None:
    def made(first: int, second: int, third: int) -> None:
        """Adds.

        Args:
            first, second: whole numbers.
        """

    assert missing(made) == ["third"]


if __name__ == "__main__":
    for name, thing in PUBLIC.items():
        if gaps := missing(thing):
            print(name, gaps)
