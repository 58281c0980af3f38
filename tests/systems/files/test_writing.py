"""Files are whole or as they were, whoever writes at the same time and whatever the disk does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from systems.files import OutputError, free, kept, probe, write

ROOT = Path(__file__).parents[3]


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder of 64 KiB that fills up; skipped where a process may not have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "trivium-test", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_folders_are_made_and_nothing_else_stays(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "file", b"one")
    write(tmp_path / "a" / "b" / "file", [b"t", memoryview(b"wo")])
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"two"
    assert listed(tmp_path / "a" / "b") == ["file"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert listed(tmp_path) == ["file"]

    def broken() -> Iterator[bytes]:
        yield b"n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "file", broken())
    assert (tmp_path / "file").read_bytes() == b"old"
    assert listed(tmp_path) == ["file"]


def test_many_writers_of_one_path_all_succeed_and_none_tears_it(tmp_path: Path) -> None:
    path, errors, contents = tmp_path / "file", [], [bytes([k]) * 50_000 for k in range(8)]

    def work(content: bytes) -> None:
        try:
            for _ in range(15):
                write(path, content)
                assert path.read_bytes() in contents
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert listed(tmp_path) == ["file"]


def test_what_a_killed_writer_left_is_removed_in_time(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".trivium-0.part", tmp_path / ".trivium-1.part"
    for part in (old, fresh):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    write(tmp_path / "file", b"whole")
    assert listed(tmp_path) == [".trivium-1.part", "file"]


def test_devices_and_folders_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", Path(os.devnull)):
        with pytest.raises(OSError, match="give the path of a file"):
            write(path, b"")
        with pytest.raises(OSError, match="give the path of a file"):
            probe(path)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    write(tmp_path / "link", b"through")
    assert (tmp_path / "there" / "file").read_bytes() == b"through"
    assert (tmp_path / "link").is_symlink()


def test_free_names_count_before_the_endings(tmp_path: Path) -> None:
    first = tmp_path / "a.certificate.json"
    assert free(first) == first
    first.touch()
    (tmp_path / "a-2.certificate.json").touch()
    assert free(first) == tmp_path / "a-3.certificate.json"


def test_a_probe_finds_a_full_disk_and_leaves_nothing(small_disk: Path) -> None:
    probe(small_disk / "file")
    assert listed(small_disk) == []
    (small_disk / "rest").write_bytes(bytes(40_000))
    with pytest.raises(OutputError, match=r"disk/file' cannot be written: No space left.*; choose another"):
        probe(small_disk / "file")


def test_a_probe_finds_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "in the way").touch()
    with pytest.raises(OutputError, match="in the way"):
        probe(tmp_path / "in the way" / "file")


def test_what_a_full_disk_does_not_take_is_kept_elsewhere(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    (here / "result.json").write_bytes(b"somebody's")

    def save(path: Path) -> None:
        write(path, bytes(100_000))

    found = kept(small_disk / "result.json", save)
    assert found.path == here / "result-2.json"
    assert found.path.stat().st_size == 100_000
    assert "No space left" in found.trouble
    assert str(small_disk / "result.json") in found.trouble
    assert (here / "result.json").read_bytes() == b"somebody's"
    assert listed(small_disk) == []
    monkeypatch.chdir(small_disk)
    assert kept(small_disk / "result.json", save).path == temporary / "result.json"


def test_where_nothing_can_be_written_every_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def save(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with pytest.raises(OSError, match=r"somewhere.*result.*temporary") as found:
        kept(tmp_path / "somewhere" / "result", save)
    assert str(tmp_path / "result") in str(found.value)
    assert kept(tmp_path / "result", lambda path: None) == (tmp_path / "result", "")
