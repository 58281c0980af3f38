"""The folder of things that are made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from systems import cache


def test_what_is_chosen_comes_before_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIVIUM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "trivium"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
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
