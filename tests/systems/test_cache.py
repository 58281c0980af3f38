"""The folder of things that are made once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from systems import InvalidValue, cache


def test_what_is_chosen_comes_before_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIVIUM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "trivium"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    if sys.platform == "linux":  # platformdirs knows where it is elsewhere
        assert cache.cache_folder() == tmp_path / "home" / ".cache" / "trivium"
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "chosen" / "here"))
    assert cache.cache_folder() == tmp_path / "chosen" / "here"
    assert cache.cache_folder().is_dir()


def test_without_a_folder_to_write_to_the_process_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("TRIVIUM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    cache._temporary.cache_clear()
    try:
        with pytest.warns(UserWarning, match="set TRIVIUM_CACHE"):
            folder = cache.cache_folder()
        assert folder.is_dir()
        assert folder.parent == tmp_path
        assert cache.cache_folder() == folder
    finally:
        cache._temporary.cache_clear()
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match="file"):
        cache.cache_folder()


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_the_folder_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in it is executed."""
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    assert cache.cache_folder().stat().st_mode & 0o777 == 0o700
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(InvalidValue, match=r"others may write to.*chmod 700"):
        cache.cache_folder()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (tmp_path / "cache").chmod(0o700)
    if (tmp_path / "cache").stat().st_uid != 0:
        with pytest.raises(InvalidValue, match="others may write to"):
            cache.cache_folder()
    monkeypatch.delenv("TRIVIUM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "trivium").mkdir()
    (tmp_path / "trivium").chmod(0o777)
    cache._temporary.cache_clear()
    try:
        with pytest.warns(UserWarning, match="others may write to it"):
            assert cache.cache_folder().parent != tmp_path
    finally:
        cache._temporary.cache_clear()
