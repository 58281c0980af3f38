"""Strict JSON in both directions: no NaN, no duplicate keys, and bounded size."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from systems.files.errors import FileError
from systems.files.reading import read_bytes
from systems.files.writing import write

__all__ = ["json_text", "parse_json", "read_json", "write_json"]

_BYTES = 1 << 26
_MARKS = 5_000_000  # opening brackets, commas and colons: each value costs Python some 60 bytes
_DIGITS = 40  # of a whole number


def json_text(content: Any, indent: int | None = 2) -> str:
    """Content as JSON that every parser accepts: infinity and NaN become the texts "inf", "-inf" and "nan"."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False, ensure_ascii=False) + "\n"


def write_json(path: str | Path, content: Any, indent: int | None = 2) -> None:
    """Writes :func:`json_text` of the content; see :func:`systems.files.write`."""
    write(path, json_text(content, indent).encode())


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        FileError: it cannot be read, or is not JSON that :func:`parse_json` accepts.
    """
    return parse_json(read_bytes(path, _BYTES), str(path))


def parse_json(data: bytes | memoryview, where: str) -> Any:
    """The content of JSON text in UTF-8.

    Args:
        where: the file that it comes from, for messages.

    Raises:
        FileError: no JSON, a key twice in one object, numbers that are not finite or have no end, or more values than a
        file of ours holds.
    """
    data = bytes(data)
    if len(data) > _BYTES or sum(map(data.count, (b"[", b"{", b",", b":"))) > _MARKS:
        raise FileError(f"{where}: contains more values than any file of this package")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_float=_number,
            parse_int=_whole,
            parse_constant=_constant,
        )
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FileError(f"{where}: not the JSON that was expected: {reason}") from error


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return str(float(content)) if isinstance(content, float) and not math.isfinite(content) else content


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("an object has a key twice")
    return entries


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("a number is beyond the range of doubles")
    return number


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"a whole number has {len(text)} digits")
    return int(text)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
