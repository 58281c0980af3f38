"""Workers end with the process that started them, even if that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctrl.cells.lifeline import end_with, lifeline

ROOT = Path(__file__).parents[2]
ENV = os.environ | {"PYTHONPATH": str(ROOT)}
PARENT = "import time\nfrom ctrl.cells.lifeline import lifeline\nprint(lifeline(), flush=True)\ntime.sleep(60)"
WORKER = """
import sys, time
from ctrl.cells.lifeline import end_with
end_with(sys.argv[1])
print("works", flush=True)
time.sleep(60)
"""
SLOW = """
import os, time
from ctrl import Decision, compare
from systems.library import cartpole

class Slow:
    def __init__(self, task):
        self.u = 0.0 * task.input_bounds[0]
    def reset(self):
        open(f"worker-{os.getpid()}", "w").close()
    def step(self, x, k):
        time.sleep(0.05)
        return Decision(self.u)

if __name__ == "__main__":
    compare(cartpole(), {"slow": Slow}, starts=32, workers=2)
"""


def run(*arguments: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_worker_ends_after_its_parent_and_not_before() -> None:
    parent = run("-c", PARENT)
    path = line(parent)
    workers = [run("-c", WORKER, path) for _ in range(2)]
    try:
        assert [line(worker) for worker in workers] == ["works", "works"]
        time.sleep(1.5)
        assert [worker.poll() for worker in workers] == [None, None]
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert [worker.wait(timeout=30) for worker in workers] == [1, 1]
        assert not Path(path).exists()
    finally:
        for process in (parent, *workers):
            process.kill()
            process.wait()


def test_a_parent_that_ends_in_order_leaves_nothing() -> None:
    parent = run("-c", PARENT.replace("60", "0"))
    path = line(parent)
    assert parent.wait() == 0
    assert not Path(path).exists()


def test_without_locks_nobody_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    lifeline.cache_clear()
    monkeypatch.setattr("ctrl.cells.lifeline.try_lock", lambda file: True)
    try:
        assert lifeline() == ""
    finally:
        lifeline.cache_clear()
    end_with("")
    end_with("/there/is/no/such/file")
    time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="looks for processes as POSIX does")
def test_the_workers_of_a_comparison_end_with_it(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    parent = run("slow.py", cwd=tmp_path)

    def working() -> list[int]:
        return [int(path.name.removeprefix("worker-")) for path in tmp_path.glob("worker-*")]

    def alive(number: int) -> bool:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return False
        return True

    try:
        until = time.monotonic() + 60
        while len(set(working()) - {parent.pid}) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        workers = set(working()) - {parent.pid}
        assert len(workers) == 2
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, workers))
