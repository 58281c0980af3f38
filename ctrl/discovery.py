"""Controllers, tasks and learners by name: entry points of installed packages, or files of the user."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from ctrl.shadows import PACKAGES, shadowing
from systems import Task, TriviumError

__all__ = [
    "BrokenEntryPoint",
    "Group",
    "MissingExtra",
    "UnknownObject",
    "entry_points",
    "library_task",
    "load",
    "load_task",
    "missing_extra",
    "place",
]

Group = Literal[
    "trivium.controllers", "trivium.tasks", "trivium.comparisons", "trivium.learners", "trivium.files", "trivium.doctor"
]


class UnknownObject(TriviumError, ValueError):
    """No installed or given thing has this name."""


class BrokenEntryPoint(TriviumError, ImportError):
    """An entry point of an installed package cannot be loaded."""


class MissingExtra(BrokenEntryPoint):
    """An entry point needs an extra of its package that is not installed; ``command`` installs it."""

    def __init__(self, message: str, command: str) -> None:
        super().__init__(message)
        self.command = command


def entry_points(group: Group) -> dict[str, metadata.EntryPoint]:
    """The entry points of installed packages by name; nothing is imported.

    Args:
        group: of entry points.
    """
    return {point.name: point for point in sorted(metadata.entry_points(group=group))}


def load(group: Group, name: str) -> Any:
    """Loads an entry point by name, ``path/to/file.py:Thing`` or ``module:Thing``.

    A controller may also be a saved file, such as a trained policy: the group ``trivium.files`` maps the file's suffix
    to a function of a task and a path that reads it.

    Args:
        group: of entry points.
        name: of an entry point in the group, or ``path/to/file.py:Thing`` or ``module:Thing``.

    Raises:
        UnknownObject: no such name, file or attribute; lists those that exist.
        MissingExtra: it needs an extra of its package that is not installed.
        BrokenEntryPoint: it exists but importing it fails; names the cause.
    """
    if ":" in name or name.endswith(".py"):
        return place(name)
    ending = Path(name).suffix.removeprefix(".")
    if group == "trivium.controllers" and ending and ending in entry_points("trivium.files"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UnknownObject(f"no file '{name}' in {Path.cwd()}")
        read = load("trivium.files", ending)
        return lambda task: read(task, path)
    known = entry_points(group)
    if name not in known:
        kind = group.removeprefix("trivium.").removesuffix("s")
        close = difflib.get_close_matches(name, known, n=1)
        hint = _other_kind(group, name) or (f" Did you mean '{close[0]}'?" if close else "")
        raise UnknownObject(
            f"unknown {kind} '{name}'; known: {', '.join(known) or 'none (pip install -e . registers them)'}."
            f"{hint} For your own, give path/to/file.py:{kind.capitalize()}"
        )
    point = known[name]
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # the module of another package may do anything on import
        raise _broken(group, point, error) from error


def missing_extra(point: metadata.EntryPoint) -> str | None:
    """The command that installs an extra which the entry point declares and whose packages are not installed; None if
    all are. Nothing is imported.

    Args:
        point: ``module:attribute [extra]`` of an installed package.
    """
    for requirement, extra in _extras(point):
        if extra in point.extras and next(iter(metadata.distributions(name=requirement)), None) is None:
            return _install(point, extra)
    return None


def _broken(group: Group, point: metadata.EntryPoint, error: BaseException) -> BrokenEntryPoint:
    """The error of an entry point that cannot be loaded: a missing extra, a shadowed package, or the package itself."""
    owner = point.dist.name if point.dist else "an unknown package"
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if extra := _extra(point, missing):
        command = _install(point, extra)
        return MissingExtra(f"{group} '{point.name}' needs {command} (no module '{missing}')", command)
    failure = f"{group} '{point.name}' = '{point.value}' of {owner} cannot be loaded: {_message(error)}"
    if point.module.partition(".")[0] in PACKAGES and (shadows := shadowing()):
        return BrokenEntryPoint(f"{failure}. {shadows}")
    install = f"; pip install {missing}" if missing and missing != point.module.partition(".")[0] else ""
    return BrokenEntryPoint(
        f"{failure}{install}. Fix or reinstall {owner}, or uninstall it; everything else keeps working"
    )


def _extra(point: metadata.EntryPoint, module: str) -> str:
    """The extra of the entry point's package that installs a missing module; empty if none does."""
    names = {re.sub(r"[-_.]+", "_", requirement).lower(): extra for requirement, extra in _extras(point)}
    return names.get(module.lower(), "") if module else ""


def _extras(point: metadata.EntryPoint) -> list[tuple[str, str]]:
    """What the extras of the entry point's package require: names of packages, each with its extra."""
    requires = (point.dist.requires if point.dist else None) or ()
    matches = (re.match(r"([\w.-]+).*;.*\bextra\s*==\s*[\"']([\w.-]+)[\"']", requirement) for requirement in requires)
    return [(match[1], match[2]) for match in matches if match]


def _install(point: metadata.EntryPoint, extra: str) -> str:
    return f"pip install '{point.dist.name if point.dist else 'an unknown package'}[{extra}]'"


def _other_kind(group: Group, name: str) -> str:
    """A hint where a controller is asked for by something that leads to one."""
    if group != "trivium.controllers":
        return ""
    if name in entry_points("trivium.learners"):
        return (
            f" '{name}' is a learner: the file that trivium train TASK --learner {name} writes, {name}.policy, is a "
            "controller."
        )
    endings = [f".{ending}" for ending in entry_points("trivium.files")]
    path = Path(name).expanduser()
    if path.is_dir() and (inside := sorted(str(p) for p in path.iterdir() if p.suffix in endings)):
        return f" Did you mean '{inside[0]}'?"
    return f" A file that is a controller ends in {' or '.join(endings)}." if path.exists() and endings else ""


def load_task(name: str) -> Task:
    """The task called ``name``; see :func:`load`. A function without arguments that returns a task is called, and a
    file alone must hold exactly one task.

    Args:
        name: of an entry point, or a place.

    Raises:
        UnknownObject: it is not a task.
    """
    task = load("trivium.tasks", name)
    if isinstance(task, ModuleType):
        tasks = [attribute for attribute, value in vars(task).items() if isinstance(value, Task)]
        if len(tasks) != 1:
            raise UnknownObject(
                f"'{name}' holds {len(tasks)} tasks ({', '.join(tasks) or 'none'}); say which: {name}:"
                f"{tasks[0] if tasks else 'task'}"
            )
        task = getattr(task, tasks[0])
    if not isinstance(task, Task) and callable(task) and not isinstance(task, type):
        try:
            task = task()
        except (Exception, SystemExit) as error:  # the user's own function may do anything
            raise BrokenEntryPoint(f"task '{name}' cannot be made: {_message(error)}") from error
    if not isinstance(task, Task):
        kind = f"the class {task.__name__}" if isinstance(task, type) else type(task).__name__
        raise UnknownObject(f"'{name}' is {kind}; expected a Task, or a function without arguments that returns one")
    return task


def library_task(name: str) -> Task | None:
    """The task of that name in :mod:`systems.library` alone, or None; for names that come from files, as nothing is
    imported because of them.

    Args:
        name: of the task.
    """
    from systems import library

    makers = (getattr(library, public) for public in library.__all__)
    tasks = (make() for make in makers if not isinstance(make, type))
    return next((task for task in tasks if task.name == name), None)


def place(text: str) -> Any:
    """Imports ``path/to/file.py:Thing`` or ``module:Thing``; without ``:Thing`` the module itself.

    Args:
        text: the place.

    Raises:
        UnknownObject: no such file, module or attribute.
        BrokenEntryPoint: importing it fails.
    """
    source, _, attribute = text.rpartition(":") if ":" in text else (text, "", "")
    try:
        module = _file(Path(source).expanduser()) if source.endswith(".py") else _module(source)
    except UnknownObject:
        raise
    except (Exception, SystemExit) as error:  # the user's own module may do anything
        shadows = shadowing() if isinstance(error, ImportError) else ""
        hint = f". {shadows}" if shadows else ""
        raise BrokenEntryPoint(f"'{source}' cannot be imported: {_message(error)}{hint}") from error
    thing: Any = module
    for part in attribute.split(".") if attribute else ():
        if not hasattr(thing, part):
            known = [name for name in vars(module) if not name.startswith("_")]
            close = difflib.get_close_matches(part, known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise UnknownObject(f"'{source}' has no '{attribute}'.{hint}")
        thing = getattr(thing, part)
    return thing


def _message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ends the program (sys.exit({error.code!r})); put that under if __name__ == '__main__'"
    return f"{type(error).__name__}: {error}"


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UnknownObject(f"no file '{path}' in {Path.cwd()}")
    path = path.resolve()
    name = f"trivium_user_{path.stem}_{abs(hash(str(path))):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UnknownObject(f"'{path}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # its neighbours, as when Python runs the file
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _carry(module)
    return module


def _carry(module: ModuleType) -> None:
    """Lets worker processes receive what the module defines: they cannot import it by its name."""
    import cloudpickle  # what joblib sends work with

    cloudpickle.register_pickle_by_value(module)


def _module(name: str) -> ModuleType:
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise UnknownObject(f"'{name}' is neither a Python file (path/to/file.py) nor a module (package.module)")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    if importlib.util.find_spec(name.split(".")[0]) is None:
        raise UnknownObject(f"no module '{name}'; give path/to/file.py:Thing, or install it")
    return importlib.import_module(name)
