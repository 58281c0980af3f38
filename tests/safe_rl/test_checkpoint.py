"""Files are whole or refused, and a killed run resumes to the last bit."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.checkpoint import MAGIC, VERSION, CheckpointError, read_checkpoint, write_checkpoint
from safe_rl.policy import Policy
from systems.files import FileError, InUse
from tests.safe_rl.tasks import assert_same_run, everything, swing_up

TINY = DSACTSettings(hidden=(16, 16), batch_size=32, warmup=200, environments=4, capacity=500)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("stop", [1, 50, 151])  # 151: the ring of 500 rows has come round
@pytest.mark.every(3)
def test_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, stop: int) -> None:
    whole = DSACT(swing_up(), settings=TINY).learn(180, progress=False)
    DSACT(swing_up(), settings=TINY).learn(stop, progress=False, checkpoint=tmp_path / "run")
    resumed = DSACT.load(tmp_path / "run", swing_up()).learn(180, progress=False)
    assert_same_run(whole, resumed)


@pytest.mark.slow
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
    with pytest.raises(ValueError, match="5 have already been made"):
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
        ("long", "followed by other data"),
        ("bit", "checksum"),
        ("version", "a checkpoint of format 99"),
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


def sealed(payload: bytes, version: int = VERSION) -> bytes:
    """A file with this payload and the checksum that is its own."""
    return struct.pack("<8sIQ32s", MAGIC, version, len(payload), hashlib.sha256(payload).digest()) + payload


@pytest.mark.parametrize("version", [1, VERSION])
def test_code_in_a_file_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """Even behind a valid header and checksum."""
    monkeypatch.chdir(tmp_path)
    archive = io.BytesIO()
    torch.save({"kind": "DSACT", "content": {"learner": Payload()}}, archive)
    evil = tmp_path / "evil"
    for pickled in (archive.getvalue(), pickle.dumps(Payload())):
        for payload in (pickled, struct.pack("<Q", len(pickled)) + pickled, struct.pack("<Q", 2) + b"{}" + pickled):
            evil.write_bytes(sealed(payload, version))
            with pytest.raises(CheckpointError, match="train it again" if version == 1 else "not written by save"):
                read_checkpoint(evil, "DSACT")
    assert not (tmp_path / "executed").exists()
    with pytest.raises(TypeError, match="Payload cannot be stored in a file"):
        write_checkpoint(evil, "DSACT", {"learner": Payload()})


def test_every_kind_of_content_comes_back(tmp_path: Path) -> None:
    numbers = torch.arange(24.0).reshape(2, 3, 4)
    content = {
        "tensors": [
            numbers,
            numbers.mT,
            numbers.double()[0, :, 1],
            torch.tensor(3),
            torch.tensor(True),
            torch.zeros(0, 5),
        ],
        "more": {"bytes": torch.arange(7, dtype=torch.uint8), "truths": numbers > 3, "counts": numbers.to(torch.int32)},
        "numbers": [
            1,
            -(2**40),
            0.1,
            math.inf,
            -math.inf,
            5e-324,
            True,
            None,
            "text \x00 \u00e9",
            np.float64(0.3),
            np.int64(7),
        ],
        "empty": [{}, [], ""],
    }
    write_checkpoint(tmp_path / "all", "x", content)
    found = read_checkpoint(tmp_path / "all", "x")
    for ours, theirs in zip(content["tensors"], found["tensors"], strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
    for name, tensor in content["more"].items():
        assert torch.equal(tensor, found["more"][name])
    assert found["numbers"] == content["numbers"]
    assert found["empty"] == content["empty"]
    write_checkpoint(tmp_path / "nan", "x", {"a": math.nan, "b": (1, (2,))})
    found = read_checkpoint(tmp_path / "nan", "x")
    assert math.isnan(found["a"])
    assert found["b"] == [1, [2]]


HOSTILE: list[tuple[object, bytes]] = [
    ({}, b""),
    ([], b""),
    ({"kind": "x", "tensors": [], "content": []}, b""),
    ({"kind": "x", "tensors": [], "content": {"dict": {"a": {"tensor": 0}}}}, b""),
    ({"kind": "x", "tensors": [], "content": {"dict": {"a": {"float": "1e9"}}}}, b""),
    ({"kind": "x", "tensors": [], "content": {"dict": {}, "tensor": 0}}, b""),
    ({"kind": "x", "tensors": [["float32", [2]]], "content": {"dict": {}}}, bytes(4)),
    ({"kind": "x", "tensors": [["float32", [1]]], "content": {"dict": {}}}, bytes(8)),
    ({"kind": "x", "tensors": [["float32", [10**12]]], "content": {"dict": {}}}, b""),
    ({"kind": "x", "tensors": [["float32", [0, 10**12]]], "content": {"dict": {}}}, b""),
    ({"kind": "x", "tensors": [["float32", [-1, -1]]], "content": {"dict": {}}}, bytes(4)),
    ({"kind": "x", "tensors": [["object", [1]]], "content": {"dict": {}}}, bytes(8)),
    ({"kind": "x", "tensors": [["float32", [1] * 9]], "content": {"dict": {}}}, bytes(4)),
    ({"kind": "x", "tensors": [["float32", [True]]], "content": {"dict": {}}}, bytes(4)),
    ({"kind": "x", "tensors": [["float32"]], "content": {"dict": {}}}, bytes(4)),
    ({"kind": "x", "tensors": {"float32": [1]}, "content": {"dict": {}}}, bytes(4)),
]


@pytest.mark.parametrize("case", range(len(HOSTILE)))
def test_content_that_save_does_not_write_is_refused(tmp_path: Path, case: int) -> None:
    text, tensors = HOSTILE[case]
    data = json.dumps(text).encode()
    (tmp_path / "bad").write_bytes(sealed(struct.pack("<Q", len(data)) + data + tensors))
    with pytest.raises(CheckpointError, match="bad: its content was not written by save"):
        read_checkpoint(tmp_path / "bad", "x")


def test_a_policy_is_no_larger_than_its_tensors(tmp_path: Path) -> None:
    """Biases of a million would make a matrix of a million million."""
    Policy(2, torch.tensor([-1.0]), torch.tensor([1.0]), (4,), torch.Generator()).save(tmp_path / "p")
    good = read_checkpoint(tmp_path / "p", "policy")

    def refused(reason: str, **changes: object) -> None:
        state = {**good["state"], **{k.replace("__", "."): v for k, v in changes.items() if k not in good}}
        write_checkpoint(
            tmp_path / "q", "policy", {**good, "state": state, **{k: changes[k] for k in changes if k in good}}
        )
        with pytest.raises(CheckpointError, match=rf"q: not a valid policy: .*{reason}"):
            Policy.load(tmp_path / "q")

    refused("weights of shapes", network__biases__0=torch.zeros(10**6), hidden=[10**6])
    refused("weights of shapes", hidden=[5])
    refused("weights of shapes", observation_size=3)
    refused("network", hidden=[4, 4])
    refused("expected finite", network__weights__0=torch.full((4, 2), math.nan))
    refused("expected finite", observation_std=torch.ones(2, dtype=torch.float64))
    refused("not positive", observation_std=torch.tensor([1.0, 0.0]))
    refused("Unexpected key", more=torch.zeros(1))
    refused("", hidden=None)
    refused("expected low < high", action_half=torch.tensor([-1.0]))


def test_a_learner_asks_for_no_more_memory_than_its_file_fills(good: Path, tmp_path: Path) -> None:
    content = read_checkpoint(good, "DSACT")
    for name, value in (
        ("hidden", [10**5, 10**5]),
        ("environments", 10**9),
        ("capacity", 10**15),
        ("hidden", [16, -16]),
    ):
        changed = {**content, "settings": {**content["settings"], name: value}}
        write_checkpoint(tmp_path / "huge", "DSACT", changed)
        with pytest.raises(CheckpointError, match="huge: its content does not fit"):
            DSACT.load(tmp_path / "huge", swing_up())


def test_a_checkpoint_contradicts_itself_in_nothing(tmp_path: Path) -> None:
    DSACT(swing_up(), settings=TINY).learn(3, progress=False).save(tmp_path / "run")
    content = read_checkpoint(tmp_path / "run", "DSACT")
    collector, learner = content["collector"], content["learner"]
    others = [
        {**content, "prepared": False},
        {**content, "updates": "x"},
        {**content, "history": [{"updates": 1}]},
        {**content, "collector": {**collector, "observation": torch.zeros(4, 99)}},
        {**content, "collector": {**collector, "steps": 0}},
        {
            **content,
            "collector": {**collector, "environment": {**collector["environment"], "samples": torch.full((4,), -3)}},
        },
        {**content, "learner": {**learner, "buffer": {**learner["buffer"], "position": 10**6}}},
        {**content, "learner": {**learner, "buffer": {**learner["buffer"], "rows": torch.zeros(0, 9)}}},
        {**content, "identity": "mine"},
        {**content, "settings": []},
        {**content, "settings": {**content["settings"], "unknown": 1}},
        {**content, "generator": torch.zeros(3, dtype=torch.uint8)},
    ]
    for other in others:
        write_checkpoint(tmp_path / "other", "DSACT", other)
        with pytest.raises(CheckpointError, match="other: "):
            DSACT.load(tmp_path / "other", swing_up())


# ---- writers ----


def test_many_writers_of_one_policy_all_succeed(tmp_path: Path) -> None:
    path, errors = tmp_path / "one.policy", []

    def write(seed: int) -> None:
        policy = Policy(2, torch.tensor([-1.0]), torch.tensor([1.0]), (4,), torch.Generator().manual_seed(seed))
        try:
            for _ in range(10):
                policy.save(path)
                Policy.load(path)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [file.name for file in tmp_path.iterdir()] == ["one.policy"]


def test_two_learners_do_not_write_one_checkpoint_or_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    iterate, met = DSACT.iterate, []

    def meets(learner: DSACT) -> None:
        iterate(learner)
        if learner.seed == 0:
            for place in ({"checkpoint": tmp_path / "run"}, {"log": tmp_path}):
                with pytest.raises(InUse, match="another process is writing it"):
                    DSACT(swing_up(), seed=1, settings=TINY).learn(2, progress=False, **place)
                met.append(place)

    monkeypatch.setattr(DSACT, "iterate", meets)
    DSACT(swing_up(), settings=TINY).learn(1, progress=False, checkpoint=tmp_path / "run", log=tmp_path)
    assert len(met) == 2
    assert (tmp_path / "progress.csv").read_text().count("\n") == 2
    DSACT(swing_up(), seed=1, settings=TINY).learn(2, progress=False, log=tmp_path)


def test_a_full_disk_costs_neither_the_run_nor_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the run takes nothing any more, from the beginning of learning on."""
    monkeypatch.chdir(tmp_path)
    real = os.replace

    def full(source: str, target: str) -> None:
        if Path(target).parent.name == "disk":
            raise OSError(28, "No space left on device")
        real(source, target)

    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(os, "replace", full)
    learner = DSACT(swing_up(), settings=TINY)
    with pytest.warns(UserWarning, match="No space left on device") as told:
        learner.learn(20, progress=False, checkpoint=tmp_path / "disk" / "run", checkpoint_every=5)
    assert [str(one.message).startswith("no checkpoint was written after") for one in told] == [True, True, True, False]
    assert learner.checkpoint == tmp_path / "run"
    assert f"the last one is {tmp_path / 'run'}" in str(told[-1].message)
    assert DSACT.load(tmp_path / "run", swing_up()).updates == 20


def test_a_log_that_is_none_is_left_alone(tmp_path: Path) -> None:
    for text in ("mine", "a,b\n1,2\n", "updates,x\nmany,2\n", "updates\n\x00", "\xff"):
        (tmp_path / "progress.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(FileError, match=r"progress\.csv: not a training log .* move it"):
            DSACT(swing_up(), settings=TINY).learn(1, progress=False, log=tmp_path)
        assert (tmp_path / "progress.csv").read_bytes() == text.encode("latin-1")


def test_checkpoint_of_another_task_or_kind_is_refused(good: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"discount 0.99 \(this task: 0.9\)"):
        DSACT.load(good, swing_up(discount=0.9))
    with pytest.raises(CheckpointError, match="expected one of policy"):
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
