"""Summaries of docstrings, read from source files without importing them."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

__all__ = ["summary", "summary_of"]

_SENTENCE = re.compile(r".*?[.!?](?=\s+[A-Z])|.*")
"""Up to a full stop before a capital, outside of which a stop is one of an abbreviation or of a number."""


def summary_of(docstring: str | None) -> str:
    """The first sentence of a docstring in one line, without a colon at its end; empty for None."""
    paragraph = " ".join((docstring or "").strip().split("\n\n")[0].split())
    return _SENTENCE.match(paragraph)[0].rstrip(":")  # type: ignore[index]  # matches every text


def summary(module: str, attribute: str) -> str | None:
    """The first sentence of the docstring of ``attribute`` in ``module``, or the expression of a value.

    Args:
        module: dotted name; neither it nor its packages are imported.
        attribute: name in it, also of a member: ``Class.method``.

    Returns:
        None where only an import can tell: no such file or name.
    """
    try:
        return _line_of(module, attribute.split("."))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _line_of(module: str, names: list[str]) -> str | None:
    path = _source(module)
    if path is None:
        return None
    for statement in reversed(_tree(path).body):  # the last one counts
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) and statement.name == names[0]:
            return _line(statement, names[1:])
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == names[0]:
                    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
                    source = "." * statement.level + (statement.module or "")
                    return _line_of(importlib.util.resolve_name(source, package), [alias.name, *names[1:]])
        if isinstance(statement, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == names[0] for t in statement.targets
        ):
            return None if names[1:] else ast.unparse(statement.value)
    return None


def _line(node: ast.ClassDef | ast.FunctionDef, names: list[str]) -> str | None:
    for name in names:
        members = [m for m in node.body if isinstance(m, (ast.ClassDef, ast.FunctionDef)) and m.name == name]
        if not members:
            return None
        node = members[-1]
    return summary_of(ast.get_docstring(node))


def _source(module: str) -> Path | None:
    first, *rest = module.split(".")
    spec = importlib.util.find_spec(first)  # imports nothing for a name without a dot
    if spec is None or not rest:
        return Path(spec.origin) if spec is not None and spec.origin else None
    for location in spec.submodule_search_locations or ():
        path = Path(location, *rest)
        for candidate in (path / "__init__.py", path.with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return None


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
