"""A comparison that was interrupted goes on, with the numbers of one that was not."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, Comparison, Decision, compare
from ctrl.cells import Here, identity
from ctrl.cells.engine import Ended, attempt
from ctrl.comparison.data import ProvedShare
from ctrl.comparison.store import FOLDER
from ctrl.report import page
from systems import Task
from systems.files import OutputError
from systems.library import double_integrator
from systems.library.cartpole import CartPole, cartpole
from tests.ctrl.controllers import Momentum

ROOT = Path(__file__).parents[2]
TASK = dataclasses.replace(cartpole(), steps=15)
LIMIT = {"runs": 0, "allowed": 1 << 30}
MEASURED = ("seconds",)


class Counted(Momentum):
    """Counts the runs that it begins, and is interrupted at one of them."""

    def __init__(self, task: Task, gain: float = 1.0) -> None:
        super().__init__(task)
        self.gain = gain

    def reset(self) -> None:
        if LIMIT["runs"] >= LIMIT["allowed"]:
            raise KeyboardInterrupt
        LIMIT["runs"] += 1
        super().reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        return Decision(self.gain * super().step(x, k).input)


class Brittle(Momentum):
    """Breaks in its sixth run."""

    runs = 0

    def reset(self) -> None:
        type(self).runs += 1
        if type(self).runs == 6:
            raise ZeroDivisionError("sixth run")
        super().reset()


@pytest.fixture(autouse=True)
def fresh() -> None:
    LIMIT.update(runs=0, allowed=1 << 30)
    Brittle.runs = 0
    PROOFS["tried"] = 0


def all_in(folder: Path | None, starts: int = 8, **given: Any) -> Comparison:
    controllers = {"lqr": LQR, "counted": Counted, "soft": partial(Counted, gain=0.9)}
    return compare(TASK, controllers, starts=starts, workers=1, out=folder, **given)


def expect_equal(one: Comparison, two: Comparison) -> None:
    assert list(one.runs) == list(two.runs)
    for name in one.runs:
        for field in dataclasses.fields(one.runs[name]):
            if field.name not in MEASURED:
                a, b = (getattr(c.runs[name], field.name) for c in (one, two))
                assert (a is None) == (b is None)
                assert a is None or a.dtype == b.dtype
                np.testing.assert_array_equal(a, b, err_msg=field.name)
    assert one.proved == two.proved
    assert {n: m.cost for n, m in one.metrics.items()} == {n: m.cost for n, m in two.metrics.items()}


@pytest.mark.parametrize("allowed", [1, 5, 11])
def test_an_interrupted_comparison_goes_on_to_the_same_numbers(tmp_path: Path, allowed: int) -> None:
    whole = all_in(None)
    LIMIT.update(runs=0, allowed=allowed)
    with pytest.raises(KeyboardInterrupt):
        all_in(tmp_path)
    assert LIMIT["runs"] == allowed
    LIMIT.update(runs=0, allowed=1 << 30)
    resumed = all_in(tmp_path)
    expect_equal(whole, resumed)
    assert LIMIT["runs"] == 16 - allowed, "finished runs are read, not run again"
    LIMIT.update(runs=0, allowed=0)
    expect_equal(whole, all_in(tmp_path))


def test_another_controller_joins_and_the_others_are_read(tmp_path: Path) -> None:
    all_in(tmp_path)
    LIMIT.update(runs=0, allowed=0)
    both = compare(TASK, {"counted": Counted, "momentum": Momentum}, starts=8, workers=1, out=tmp_path)
    assert list(both.runs) == ["counted", "momentum"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"starts": 9}, "starts 8, now 9"),
        ({"seeds": 1}, "seeds 0, now 1"),
        ({"proof": lambda task, law: None}, "proof none, now of the caller"),
    ],
)
def test_other_settings_are_refused_in_words(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    all_in(tmp_path)
    LIMIT.update(allowed=0)
    with pytest.raises(OutputError, match=f"holds a comparison with .*{words}.*choose another folder"):
        all_in(tmp_path, **change)


def test_another_task_plant_or_controller_is_refused(tmp_path: Path) -> None:
    all_in(tmp_path)
    LIMIT.update(allowed=0)
    for other, words in (
        (dataclasses.replace(TASK, steps=16), "task cartpole .*now cartpole"),
        (TASK.with_truth(CartPole(pole_mass=0.15)), "plant true plant = nominal, now .*pole_mass 0.1 -> 0.15"),
    ):
        with pytest.raises(OutputError, match=words):
            compare(other, {"lqr": LQR}, starts=8, workers=1, out=tmp_path)
    with pytest.raises(OutputError, match="runs of another controller 'soft'"):
        compare(TASK, {"soft": partial(Counted, gain=0.8)}, starts=8, workers=1, out=tmp_path)


def test_what_nothing_identifies_is_not_kept(tmp_path: Path) -> None:
    made = Counted(TASK)
    for given in (made, lambda task: Counted(task)):
        LIMIT.update(runs=0)
        for _ in range(2):
            compare(TASK, {"own": given}, starts=4, workers=1, out=tmp_path)
        assert LIMIT["runs"] == 8
    assert not (tmp_path / FOLDER).exists()
    assert identity(made) is None
    assert identity(partial(Counted, gain=made)) is None
    assert identity(partial(Counted, gain=0.9)) != identity(partial(Counted, gain=0.8))
    assert identity(Counted) != identity(Momentum)


def test_a_controller_that_fails_keeps_what_it_has(tmp_path: Path) -> None:
    controllers = {"brittle": Brittle, "lqr": LQR}
    compared = compare(TASK, controllers, starts=8, workers=1, out=tmp_path)
    assert "ZeroDivisionError: sixth run" in compared.failed["brittle"]
    assert "after 5 of 8 runs" in compared.failed["brittle"]
    assert list(compared.runs) == ["lqr"]
    again = compare(TASK, controllers, starts=8, workers=1, out=tmp_path)
    assert not again.failed
    assert Brittle.runs == 6 + 3, "the five runs that ended are read"


DAMAGE: list[Callable[[bytes], bytes]] = [
    lambda data: data[: len(data) // 2],
    lambda data: data[:-200] + bytes(100) + data[-100:],
    lambda data: data.replace(b"'<f8'", b"'<f4'", 1),
    lambda data: b"",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_counts_as_none(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    whole = all_in(tmp_path)
    for file in tmp_path.glob(f"{FOLDER}/*/*.npz"):
        file.write_bytes(damage(file.read_bytes()))
    LIMIT.update(runs=0)
    expect_equal(whole, all_in(tmp_path))
    assert LIMIT["runs"] == 16


def test_a_file_with_objects_is_not_executed(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "executed"),))

    whole = all_in(tmp_path)
    file = next(tmp_path.glob(f"{FOLDER}/counted*/*.npz"))
    with np.load(file) as held:
        arrays = dict(held)
    arrays["costs"] = np.array([Bomb()], dtype=object)
    np.savez(file, allow_pickle=True, **arrays)
    expect_equal(whole, all_in(tmp_path))
    assert not (tmp_path / "executed").exists()


def test_runs_twice_in_the_folder_count_once(tmp_path: Path) -> None:
    whole = all_in(tmp_path)
    file = next(tmp_path.glob(f"{FOLDER}/counted*/*.npz"))
    file.with_name("zzz.npz").write_bytes(file.read_bytes())
    expect_equal(whole, all_in(tmp_path))
    (tmp_path / FOLDER / "settings.json").write_text("[]")
    with pytest.raises(OutputError, match="task not stated, now cartpole"):
        all_in(tmp_path)


def test_processes_and_one_process_share_a_folder(tmp_path: Path) -> None:
    whole = compare(TASK, {"m": Momentum}, starts=12, workers=1)
    LIMIT.update(allowed=3)
    with pytest.raises(KeyboardInterrupt):
        compare(TASK, {"m": Momentum, "counted": Counted}, starts=12, workers=1, out=tmp_path)
    expect_equal(whole, compare(TASK, {"m": Momentum}, starts=12, workers=2, out=tmp_path))


CIRCLE = np.stack([np.cos(np.linspace(0, 6, 9)), np.sin(np.linspace(0, 6, 9)) / 3], axis=1)
PROOFS = {"tried": 0}


def outlined(task: Task, controller: Any) -> float | None:
    """Stands for a proof whose region has two outlines."""
    PROOFS["tried"] += 1
    return ProvedShare(1 / 3, [CIRCLE, CIRCLE + 0.1]) if isinstance(controller, LQR) else None


def test_a_report_is_the_same_after_going_on(tmp_path: Path) -> None:
    """Outlines of proved regions among it, to the last digit."""
    plane = dataclasses.replace(double_integrator(), steps=10)

    def both() -> Comparison:
        PROOFS["tried"] = 0
        return compare(plane, {"lqr": LQR, "m": Momentum}, starts=4, workers=1, proof=outlined, out=tmp_path)

    whole = both()
    assert PROOFS["tried"] == 2
    resumed = both()
    assert PROOFS["tried"] == 0
    np.testing.assert_array_equal(np.array(resumed.regions["lqr"]), np.array([CIRCLE, CIRCLE + 0.1]))
    one, two = (re.sub(r"Written [\d :-]+", "", page(each)) for each in (whole, resumed))
    assert one.count('class="region') == 2
    assert one == two


@pytest.mark.parametrize(
    "held",
    [
        "[]", "{}", '{"share": 0.5}', '{"share": true, "outlines": null}', '{"share": 1.5, "outlines": null}',
        '{"share": 0.5, "outlines": [[[1, 2], [3]]]}', '{"share": 0.5, "outlines": [[1, 2]]}',
        '{"share": 0.5, "outlines": [[["inf", 2], [3, 4]]]}', '{"share": 0.5, "outlines": [["ab", "cd"]]}',
        '{"share": 0.5, "outlines": [[]]}', '{"share": 0.5, "outlines": 3}', '{"share": null, "outlines": []}',
        '{"share": "0.5", "outlines": null}', "not JSON",
    ],
)  # fmt: skip
def test_a_damaged_proof_is_made_again(tmp_path: Path, held: str) -> None:
    plane = dataclasses.replace(double_integrator(), steps=2)
    for _ in range(2):
        compared = compare(plane, {"lqr": LQR}, starts=2, workers=1, proof=outlined, out=tmp_path)
        assert compared.proved["lqr"] == 1 / 3
        (file,) = tmp_path.glob(f"{FOLDER}/lqr*/proof.json")
        file.write_text(held)
    assert PROOFS["tried"] >= 2


def test_what_will_be_done_is_said_before_and_an_estimate_after_the_first_runs() -> None:
    lines: list[str] = []
    all_in(None, announce=lines.append)
    assert lines[0] == "comparing lqr, counted, soft on cartpole: 8 runs of 15 steps each, 1 process"
    assert re.match("(about [0-9]|less than 1 s to go)", lines[1])
    assert lines[1].endswith("Ctrl-C stops")


def test_engines_give_what_became_of_each_cell() -> None:
    ended = list(Here().run([lambda: 1, lambda: 1 // 0, lambda: 3]))
    assert [e.value for e in ended] == [1, None, 3]
    assert "ZeroDivisionError" in ended[1].failed
    assert attempt(4, lambda: 5) == Ended(4, 5)


SLOW = """
import time
from ctrl import LQR, Decision
class Slow:
    def __init__(self, task):
        self.law = LQR(task)
    def reset(self):
        pass
    def step(self, x, k):
        time.sleep(0.002)
        return self.law.step(x, k)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_an_interrupt_ends_the_command_and_says_how_to_go_on(tmp_path: Path, workers: str) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from ctrl.cli import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "compare", "systems.library.cartpole:cartpole", "--controllers",
        "slow.py:Slow", "--workers", workers, "--starts", "40", "--proof-seconds", "0", "--out", "results"]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob("results/cells/*/*.npz")) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    output, errors = process.communicate(timeout=60)
    print(time.monotonic() - began)
    assert process.returncode == 130, errors
    assert errors.startswith("interrupted: finished runs are stored in results; to resume: trivium compare ")
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 1
    assert "comparing Slow on cartpole: 40 runs of" in output
    assert "to go (Slow " in output
    if workers == "2":  # that it goes on is tested above, in one process
        return
    again = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "results" / "table.json").read_text())[0]["runs"] == 40


def test_a_store_that_cannot_write_costs_no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ctrl.comparison.store.write_arrays", full)
    expect_equal(all_in(None), all_in(tmp_path))


SWALLOWS = """
import os, signal, time
from ctrl.cells.interrupt import ends_promptly
signal.signal(signal.SIGINT, signal.default_int_handler)
with ends_promptly("go on", patience=0.3):
    for _ in range(600):
        try:
            os.kill(os.getpid(), signal.SIGINT) if not _ else time.sleep(0.1)
        except BaseException:
            pass
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_code_that_swallows_an_interrupt_is_ended() -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SWALLOWS], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted: go on\n")
