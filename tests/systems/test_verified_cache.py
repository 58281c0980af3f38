"""A cache of compiled functions that is damaged is made again, and a foreign one is not unpickled."""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

CODE = """
from systems.verified_cache import compiled

@compiled()
def doubled(x):
    return 2.0 * x
"""


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def loaded(folder: Path) -> Any:
    """The function as a new process would find it."""
    spec = importlib.util.spec_from_file_location("user_module", folder / "user_module.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["user_module"] = module
    spec.loader.exec_module(module)
    return module.doubled


def hits(function: Any) -> int:
    assert function(1.5) == 3.0
    return sum(function.stats.cache_hits.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("user")
    (found / "user_module.py").write_text(CODE)
    assert hits(loaded(found)) == 0
    assert hits(loaded(found)) == 1, "the cache is used"
    return found


@pytest.mark.parametrize("damage", ["cut data", "empty index", "foreign index", "foreign data", "bit", "no checksum"])
def test_what_is_damaged_is_compiled_again(folder: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    cache = folder / "__pycache__"
    (index,), (data,), (checksum,) = (list(cache.glob(f"*.{end}")) for end in ("nbi", "1.nbc", "sha256"))
    if damage == "cut data":
        data.write_bytes(data.read_bytes()[:200])
    elif damage == "empty index":
        index.write_bytes(b"")
    elif damage == "bit":
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
    elif damage == "no checksum":
        checksum.unlink()
    else:
        (index if damage == "foreign index" else data).write_bytes(pickle.dumps(Payload()))
    assert hits(loaded(folder)) == 0
    assert not (folder / "executed").exists()
    assert hits(loaded(folder)) == 1, "it was mended"


def test_a_folder_that_takes_no_checksum_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "user_module.py").write_text(CODE)
    monkeypatch.setattr("systems.verified_cache.write", full)
    assert hits(loaded(tmp_path)) == 0
    assert hits(loaded(tmp_path)) == 0
