"""JSON that any reader takes, and of a stranger's JSON no more than is good."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.files import FileError, json_text, parse_json, read_bytes, read_json, shown, write_json

FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | FINITE | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_is_written_is_read(content: object) -> None:
    assert parse_json(json_text(content).encode("utf-8", "surrogatepass"), "here") == content


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(FileError):
        parse_json(data, "here")


def test_what_is_not_finite_becomes_text() -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    written = json_text({"a": [math.inf, -math.inf], "b": {"c": (math.nan, 1.5)}})
    assert json.loads(written, parse_constant=refuse) == {"a": ["inf", "-inf"], "b": {"c": ["nan", 1.5]}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "a key twice"),
        ("[NaN]", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[1e999]", "beyond the range of doubles"),
        (f"[{'9' * 41}]", "41 digits"),
        (f"[{'9' * 5000}]", "5000 digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[1,", "Expecting value"),
        ("", "Expecting value"),
        ("[" + "1," * 5_000_001 + "1]", "contains more values"),
    ],
)
def test_what_is_no_json_of_ours_is_refused(text: str, reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        parse_json(text.encode(), "file.json")
    with pytest.raises(FileError, match=r"^file\.json: "):
        parse_json(text.encode(), "file.json")


def test_files_are_read_within_bounds(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1.0})
    assert read_json(tmp_path / "a.json") == {"b": 1.0}
    with pytest.raises(FileError, match=r"none\.json: cannot be read: No such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(FileError, match="it is a folder"):
        read_json(tmp_path)
    with pytest.raises(FileError, match="null"):
        read_json("a\0b")
    (tmp_path / "large").write_bytes(bytes(2 << 20))
    with pytest.raises(FileError, match="larger than 1 MiB"):
        read_bytes(tmp_path / "large", 1 << 20)
    with pytest.raises(FileError, match="no regular file"):
        read_json(os.devnull)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FileError, match="no regular file"):
            read_json(tmp_path / "pipe")


def test_what_is_shown_of_a_file_moves_no_cursor() -> None:
    said = shown({"\x1b[2J\u202e": ["x" * 10_000] * 100})
    assert said.isprintable()
    assert len(said) < 250


def test_a_message_is_one_line_for_a_terminal() -> None:
    error = FileError("a.json: unknown parameter '\x1b[2J\u202e\n\tö'; known: mass")
    assert str(error) == r"a.json: unknown parameter '\x1b[2J\u202e ö'; known: mass"
    assert str(error).isprintable()
