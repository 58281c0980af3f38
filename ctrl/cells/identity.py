"""The identity of a controller, the same in every process, by which finished work is recognised."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, final

from systems import InvalidValue, Task
from systems.describe import describe
from systems.errors import shown
from systems.files import read_bytes

__all__ = ["Identified", "digest", "file_digest", "identified", "identity"]

_BYTES = 1 << 28


@final
@dataclass(frozen=True)
class Identified:
    """A factory of controllers with its identity and its settings.

    Args:
        factory: constructs a controller for a task.
        source: a description of its origin that is the same in every process.
        settings: keyword arguments of the factory; default: none.
    """

    factory: Callable[..., Any]
    source: str
    settings: tuple[tuple[str, Any], ...] = ()

    def __call__(self, task: Task) -> Any:
        return self.factory(task, **dict(self.settings))


def identity(given: Any) -> str | None:
    """The identity of a controller: file, name, digest of the file's content, and arguments; None if it has none, like
    a constructed controller or a lambda function.

    Files that its own file imports are not considered.

    Args:
        given: a controller or its factory.
    """
    data = _identity_data(given)
    return None if data is None else json.dumps(data, sort_keys=True)


def identified(name: str, given: Any) -> Identified:
    """A factory of controllers with what identifies it; one that nothing identifies in another process is recognised
    nowhere.

    Args:
        name: that it is shown under.
        given: the factory.

    Raises:
        InvalidValue: it is a controller that is made already, or no factory at all.
    """
    if isinstance(given, Identified):
        return given
    if not callable(given) or (hasattr(given, "step") and not isinstance(given, type)):
        raise InvalidValue(f"controller '{name}' is {shown(given)}; expected its factory, such as LQR")
    return Identified(given, identity(given) or f"{name} {uuid.uuid4().hex}")


def digest(content: Any) -> str:
    """SHA-256 of plain data as JSON, or of bytes."""
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    return digest(read_bytes(path, _BYTES))


def _identity_data(given: Any) -> Any:
    if isinstance(given, Identified):
        return None if (value := _value(given.settings)) is None else [given.source, value]
    if isinstance(given, functools.partial):
        parts = [_identity_data(given.func), [_value(a) for a in given.args], _value(given.keywords)]
        return None if None in parts or None in parts[1] else parts
    if isinstance(given, (type, FunctionType)):
        return _definition(given)
    return None


def _definition(given: type | FunctionType) -> str | None:
    """A class or function at the top of a module, by the module's file; None for one that is defined inside another."""
    module = sys.modules.get(given.__module__)
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file() or getattr(module, given.__qualname__, None) is not given:
        return None
    return f"{Path(file).name}:{given.__qualname__} {file_digest(file)[:16]}"


def _value(argument: Any) -> Any:
    """An argument in plain data, in a list so that None of it is not taken for what cannot be said."""
    if isinstance(argument, Mapping):
        values = {str(key): _value(value) for key, value in argument.items()}
        return None if None in values.values() else values
    if callable(argument) and not hasattr(argument, "__dataclass_fields__"):
        return _identity_data(argument)
    data = describe(argument)
    return None if " at 0x" in json.dumps(data) else [data]
