"""C text of names, comments and tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

import numpy as np

from systems.lowering.c_source import c_number
from systems.signals import Signals

__all__ = ["commented", "identifier", "identifiers", "table"]


def identifier(text: str) -> str:
    """Letters, digits and underscores that stand for a text in C: ``double-integrator`` is ``double_integrator``; a
    letter beyond ASCII is written by its number."""
    ascii_only = "".join(c if c.isascii() else f"u{ord(c):x}" for c in text)
    name = re.sub(r"[^0-9A-Za-z]+", "_", ascii_only).strip("_").lower()
    return name if name[:1].isalpha() else f"c_{name}".rstrip("_")


def identifiers(signals: Signals, prefix: str) -> list[str]:
    """One C name per signal, all different."""
    names: list[str] = []
    for i, signal in enumerate(signals):
        name = f"{prefix}_{identifier(signal.name)}"
        names.append(f"{name}_{i}" if name in names else name)
    return names


def commented(text: str) -> str:
    """A text as it may stand in a C comment: without its marks, trigraphs and continued lines."""
    return " ".join(text.replace("\\", "/").replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").split())


def table(name: str, values: np.ndarray) -> str:
    """A constant array, one row of the last axis per line; an array without entries has one that nobody reads."""
    values = np.asarray(values)
    is_whole = values.dtype.kind in "iub"
    width = values.shape[-1] if values.ndim > 1 else 8
    flat: Sequence[object] = values.ravel().tolist() or [0 if is_whole else 0.0]
    texts = [str(int(v)) if is_whole else c_number(float(v)) for v in flat]  # type: ignore[call-overload, arg-type]
    lines = [", ".join(texts[i : i + width]) for i in range(0, len(texts), max(width, 1))]
    wrapped = [part for line in lines for part in textwrap.wrap(line, 112, break_on_hyphens=False)]
    body = ",\n    ".join(line.rstrip(",") for line in wrapped)
    return f"static const {'int' if is_whole else 'double'} {name}[{len(texts)}] = {{\n    {body}}};\n"
