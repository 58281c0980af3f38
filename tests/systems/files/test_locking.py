"""One writer at a time, and none after the end of its process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from systems.files import InUse, OutputError, locked, locked_new

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from systems.files import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_refused_and_may_after_the_first(tmp_path: Path) -> None:
    path = tmp_path / "below" / "run"
    with locked(path), pytest.raises(InUse, match=r"run: another process is writing it; .* another path"), locked(path):
        raise AssertionError
    with locked(path), locked(path.with_name("other")):
        assert sorted(p.name for p in path.parent.iterdir()) == [".other.lock", ".run.lock"]
    assert not list(path.parent.iterdir())


def test_a_new_name_is_one_that_nobody_has_or_is_about_to_write(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with locked_new(path) as first, locked_new(path) as second:
        assert (first, second) == (path, tmp_path / "run-2.json")
        (tmp_path / "run-3.json").touch()
        with locked_new(path) as third:
            assert third == tmp_path / "run-4.json"
    with locked_new(path) as again:
        assert again == path
    assert [p.name for p in tmp_path.iterdir()] == ["run-3.json"]


def test_a_folder_without_locks_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"run' cannot be written: .*; choose another place"),
        locked(tmp_path / "file" / "run"),
    ):
        pass


def test_who_waits_goes_on_after_the_first(tmp_path: Path) -> None:
    order, begun = [], threading.Event()

    def first() -> None:
        with locked(tmp_path / "run"):
            begun.set()
            time.sleep(0.5)
            order.append(1)

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait()
    with locked(tmp_path / "run", wait=True):
        order.append(2)
    thread.join()
    assert order == [1, 2]


def test_no_two_hold_it_at_once(tmp_path: Path) -> None:
    """The file of the lock comes and goes all the time."""
    inside, most, errors = 0, 0, []

    def work() -> None:
        nonlocal inside, most
        try:
            for _ in range(200):
                try:
                    with locked(tmp_path / "run"):
                        inside += 1
                        most = max(most, inside)
                        time.sleep(1e-5)
                        inside -= 1
                except InUse:
                    pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert most == 1


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(InUse), locked(tmp_path / "run"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / ".run.lock").exists()
    with locked(tmp_path / "run"):
        pass
    assert not (tmp_path / ".run.lock").exists()
