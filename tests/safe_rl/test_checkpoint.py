"""Files are whole or refused, and a killed run resumes to the last bit."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.checkpoint import MAGIC, CheckpointError, read_checkpoint, write_checkpoint
from safe_rl.policy import Policy
from tests.safe_rl.tasks import assert_same_run, everything, swing_up

TINY = DSACTSettings(hidden=(16, 16), batch_size=32, warmup=200, environments=4, capacity=500)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("stop", [1, 50, 151])  # 151: the ring of 500 rows has come round
def test_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, stop: int) -> None:
    whole = DSACT(swing_up(), settings=TINY).learn(180, progress=False)
    DSACT(swing_up(), settings=TINY).learn(stop, progress=False, checkpoint=tmp_path / "run")
    resumed = DSACT.load(tmp_path / "run", swing_up()).learn(180, progress=False)
    assert_same_run(whole, resumed)


def test_saving_and_evaluating_do_not_disturb_the_run(tmp_path: Path) -> None:
    plain = DSACT(swing_up(), settings=TINY).learn(60, progress=False)
    watched = DSACT(swing_up(), settings=TINY)
    watched.learn(60, progress=False, checkpoint=tmp_path / "run", checkpoint_every=7, evaluate_every=20, log=tmp_path)
    for x, y in zip(everything(plain)[:-4], everything(watched)[:-4], strict=True):
        assert torch.equal(x, y)
    assert [record.evaluation is not None for record in watched.history] == [True] * 3
    assert (tmp_path / "progress.csv").read_text().count("\n") == 4


def test_ctrl_c_writes_the_update_in_hand_and_the_run_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: between two reports, and after a crash that left lines of the log which no checkpoint knows."""
    whole = DSACT(swing_up(), settings=TINY).learn(60, progress=False)
    path, iterate = tmp_path / "run", DSACT.iterate

    def interrupted(learner: DSACT) -> None:
        iterate(learner)
        if learner.updates == 33:
            signal.raise_signal(signal.SIGINT)

    (tmp_path / "progress.csv").write_text("updates,charts/steps\n200,1000\n400,2000\n")
    monkeypatch.setattr(DSACT, "iterate", interrupted)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
    with pytest.raises(KeyboardInterrupt, match="33 updates made"):
        DSACT(swing_up(), settings=TINY).learn(60, progress=False, checkpoint=path, evaluate_every=25, log=tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = DSACT.load(path, swing_up())
    assert resumed.updates == 33
    resumed.learn(60, progress=False, checkpoint=path, evaluate_every=25, log=tmp_path)
    lines = (tmp_path / "progress.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["updates", "25", "50", "60"]
    for x, y in zip(everything(whole)[:-4], everything(resumed)[:-4], strict=True):
        assert torch.equal(x, y)


def test_killed_run_resumes_to_the_last_bit(tmp_path: Path) -> None:
    """SIGKILL at an arbitrary moment, here a few checkpoints in, then resume from the last one."""
    path = tmp_path / "run"
    code = (
        "from tests.safe_rl.test_checkpoint import *\n"
        "learner = DSACT(swing_up(), settings=TINY)\n"
        f"learner.learn(10**9, progress=False, checkpoint={str(path)!r}, checkpoint_every=20)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + 120
        while not path.exists():
            assert process.poll() is None, "the run ended before it wrote a checkpoint"
            assert time.monotonic() < deadline, "no checkpoint appeared"
            time.sleep(0.005)
        time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = DSACT.load(path, swing_up())
    assert resumed.updates % 20 == 0
    target = resumed.updates + 30
    resumed.learn(target, progress=False)
    assert_same_run(DSACT(swing_up(), settings=TINY).learn(target, progress=False), resumed)


def test_fresh_learner_does_not_write_over_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"resume with DSACT\.load"):
        DSACT(swing_up(), settings=TINY).learn(10, progress=False, checkpoint=tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == b"precious"


def test_fewer_updates_than_made_is_refused() -> None:
    learner = DSACT(swing_up(), settings=TINY).learn(5, progress=False)
    assert learner.learn(5, progress=False) is learner
    with pytest.raises(ValueError, match="5 are already made"):
        learner.learn(4, progress=False)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "run"
    DSACT(swing_up(), settings=TINY).save(path)
    return path


def damaged(good: Path, tmp_path: Path, what: str) -> Path:
    data = bytearray(good.read_bytes())
    if what == "empty":
        data = bytearray()
    elif what == "header":
        data = data[:20]
    elif what == "cut":
        data = data[:-1]
    elif what == "long":
        data += b"x"
    elif what == "bit":
        data[len(data) // 2] ^= 1
    elif what == "version":
        data[8] = 99
    elif what == "foreign":
        stream = io.BytesIO()
        torch.save({"a": 1}, stream)
        data = bytearray(stream.getvalue())
    path = tmp_path / "bad"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("empty", "an empty file"),
        ("header", "cut off inside its header"),
        ("cut", "cut off"),
        ("long", "followed by foreign bytes"),
        ("bit", "checksum"),
        ("version", "written in format 99"),
        ("foreign", "not a checkpoint of this package"),
    ],
)
def test_damaged_file_is_refused_with_its_reason(good: Path, tmp_path: Path, what: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        DSACT.load(damaged(good, tmp_path, what), swing_up())


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        DSACT.load(tmp_path / "none", swing_up())


class Payload:
    """Runs a command when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_code_in_a_file_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even behind a valid header and checksum."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "evil", "DSACT", {"learner": Payload()})
    assert (tmp_path / "evil").read_bytes().startswith(MAGIC)
    with pytest.raises(CheckpointError, match="other than tensors"):
        read_checkpoint(tmp_path / "evil", "DSACT")
    assert not (tmp_path / "executed").exists()


def test_checkpoint_of_another_task_or_kind_is_refused(good: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"discount 0.99 \(this task: 0.9\)"):
        DSACT.load(good, swing_up(discount=0.9))
    with pytest.raises(CheckpointError, match="one of policy was expected"):
        Policy.load(good)
    write_checkpoint(tmp_path / "hollow", "DSACT", {"settings": dataclasses.asdict(TINY), "seed": 0})
    with pytest.raises(CheckpointError, match="does not fit"):
        DSACT.load(tmp_path / "hollow", swing_up())


def test_write_that_fails_leaves_the_old_file(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    path.write_bytes(good.read_bytes())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        DSACT.load(path, swing_up()).save(path)
    assert path.read_bytes() == good.read_bytes()
