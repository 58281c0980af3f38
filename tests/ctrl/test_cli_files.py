"""What the command line writes and reads: nothing is lost, nothing that a file says is imported, and a status is a
verdict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ctrl.cli import main
from tests.ctrl.test_cli import ROOT, Done, home

__all__ = ["home"]
PENDULUM = "systems.library.pendulum:pendulum"
PROVE = ("verify", PENDULUM, "--controller", "ctrl.regulator:LQR", "--seconds", "5")
ENDS = """
import sys
from ctrl import LQR
if "{where}" == "import":
    sys.exit(0)
def made():
    sys.exit(0)
class Controller(LQR):
    def step(self, x, k):
        sys.exit(0)
"""


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A certificate of the library's pendulum and one of a task of the user's own."""
    from ctrl import LQR
    from ctrl.certify import certify
    from ctrl.certify.files.file import save
    from ctrl.discovery import load_task
    from systems.library import pendulum
    from tests.ctrl.test_cli import OWN

    folder = tmp_path_factory.mktemp("proved")
    (folder / "own.py").write_text(OWN)
    found = {}
    for name, task in (("pendulum", pendulum()), ("mass", load_task(str(folder / "own.py:task")))):
        law = LQR(task).law
        certificate = certify(task, law, level=1.0)
        assert certificate.is_proved
        found[name] = json.loads(save(certificate, task, law, name, folder / name).read_text())
    return found


@dataclass(frozen=True)
class CommandLine:
    """The command line in this process, in the folder ``home``."""

    home: Path
    output: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Done:
        self.output.readouterr()
        status = main(list(arguments))
        return Done(status, *self.output.readouterr())

    def refused(self, *arguments: str) -> str:
        done = self(*arguments)
        assert done.returncode == 2, done
        assert done.stderr.startswith("trivium: ")
        return done.stderr

    def checked(self, content: Any, *arguments: str) -> Done:
        (self.home / "c.json").write_text(json.dumps(content))
        return self("verify", "--check", "c.json", *arguments, "--points", "5")


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(home, capsys)


# ---- what a file says is not imported ----


@pytest.mark.parametrize(
    "name", ["os:abort", "sys:exit", "http.server:test", "trap.py", "trap.py:task", "cart", "trap"]
)
@pytest.mark.every(7)
def test_a_file_does_not_say_what_is_imported(cli: CommandLine, home: Path, proved: dict[str, Any], name: str) -> None:
    """Neither modules, nor files, nor entry points of other packages; and it is no verdict."""
    (home / "trap.py").write_text("open('sprung', 'w').close()\n")
    (home / "site" / "trap.py").write_text("open('sprung', 'w').close()\n")
    for content in (
        {**proved["pendulum"], "task": {**proved["pendulum"]["task"], "source": name}},
        {**proved["pendulum"], "stated": {**proved["pendulum"]["stated"], "task": name}},
        {"kind": "certificate of Trivium", "format": 2, "task": {"source": name, "content": {}}},
    ):
        done = cli.checked(content)
        is_label = content["format"] == 3 and content["stated"]["task"] == "pendulum"
        assert done.returncode == (0 if is_label else 2), done
        assert name in ("cart", "trap") or name not in done.stdout
        assert not (home / "sprung").exists()


def test_a_task_of_ones_own_is_given_on_the_command_line(cli: CommandLine, home: Path, proved: dict[str, Any]) -> None:
    said = cli.checked(proved["mass"])
    assert said.returncode == 2
    assert "'mass' is not in Trivium's library; give the task on the command line" in said.stderr
    done = cli.checked(proved["mass"], "own.py:task")
    assert done.returncode == 0, done
    assert f"PROVED: {proved['mass']['claim']}" in done.stdout
    other = cli.checked(proved["mass"], PENDULUM)
    assert other.returncode == 2
    assert "its task 'mass' differs from" in other.stderr
    (home / "heavier.py").write_text((home / "own.py").read_text().replace("mass: float = 1.0", "mass: float = 1.1"))
    other = cli.checked(proved["mass"], "heavier.py:task")
    assert other.returncode == 2
    assert "plant.mass is 1.0, expected 1.1" in other.stderr
    (home / "other.py").write_text((home / "own.py").read_text().replace('"mass"', '"another"'))
    other = cli.checked(proved["mass"], "other.py:task")
    assert "its task 'mass' differs from the given task: name is 'mass', expected 'another'" in other.stderr


def test_a_task_of_the_librarys_name_must_be_that_of_the_library(
    cli: CommandLine, home: Path, proved: dict[str, Any]
) -> None:
    content = json.loads(json.dumps(proved["pendulum"]))
    content["task"]["content"]["plant"]["mass"] = 0.2
    done = cli.checked(content)
    assert done.returncode == 2
    assert "its task 'pendulum' differs from Trivium's own: plant.mass is 0.2, expected 0.15" in done.stderr


# ---- the status is a verdict on the sentence that is printed ----


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("level", 1.5), ("inner", 0.1), ("kappa", 0.9), ("dt", 0.0), ("dt", 0.01), ("domain", [[-1, -1], [1, 1]]),
        ("uncertain", {"mass": [0.1, 0.2]}), ("disturbance", {"push": [-0.01, 0.01]}), ("dynamics", "exact, 0.05 s"),
        ("law", "the network law"), ("reference", [0.1, 0.0]), ("state", ["angle [deg]", "rate [rad/s]"]),
        ("kind", "proved"), ("level", None), ("level", 10**39), ("uncertain", "x"), ("domain", "everywhere"),
    ],
)  # fmt: skip
@pytest.mark.every(6)
def test_what_is_stated_beyond_what_is_shown_is_not_shown(
    cli: CommandLine, home: Path, proved: dict[str, Any], part: str, said: Any
) -> None:
    good = proved["pendulum"]
    done = cli.checked({**good, "stated": {**good["stated"], part: said}})
    assert done.returncode == 1, done
    assert done.stdout.startswith("NOT RE-VERIFIED: c.json: ")


def test_words_that_say_more_than_the_numbers_are_not_shown(
    cli: CommandLine, home: Path, proved: dict[str, Any]
) -> None:
    good = proved["pendulum"]
    for claim in (
        "every start converges",
        good["claim"].replace("V <= 1", "V <= 2"),
        good["claim"] + ", for every mass",
    ):
        assert claim != good["claim"]
        done = cli.checked({**good, "claim": claim})
        assert done.returncode == 1
        assert "the sentence does not match the numbers" in done.stdout
        assert done.stdout.count(good["claim"]) == 1, "what its numbers say is told"
    wider = good["claim"].replace("without disturbance", "under any disturbance")
    assert "under any disturbance'" in cli.checked({**good, "claim": wider}).stdout, "so is where the words differ"


# ---- every exit is a status ----


def test_status_of_what_is_not_shown_and_of_misuse(cli: CommandLine, home: Path, proved: dict[str, Any]) -> None:
    unstable = (home / "own.py").read_text() + (
        "\nclass Push(LQR):\n    @property\n    def law(self):\n        from ctrl.laws import SaturatedLinear\n"
        "        return SaturatedLinear(-self.K, [0.0, 0.0], [0.0], [-2.0], [2.0])\n"
    )
    (home / "own.py").write_text(unstable)
    wrong = cli("verify", "own.py:task", "--controller", "own.py:Push", "--seconds", "1")
    assert wrong.returncode == 1, wrong
    assert "REFUSED" in wrong.stdout
    assert not list(home.glob("runs/*.json"))
    assert "no law in closed form" in cli.refused("verify", "own.py:task", "--controller", "own.py:Relay")
    assert "cannot be read: No such file" in cli.refused("verify", "--check", "none.json")
    for text, reason in (
        ("{}", "expected a certificate"),
        ("[1", "not the JSON"),
        ("\0", "not the JSON"),
        ("7", "expected"),
    ):
        (home / "c.json").write_text(text)
        assert reason in cli.refused("verify", "--check", "c.json")
    old = {"format": 2, "claim": "every start", "level": 1.0}
    (home / "c.json").write_text(json.dumps(old))
    said = cli.refused("verify", "--check", "c.json")
    assert "c.json: a certificate of format 2; this release reads format 3; re-create it with trivium verify" in said
    (home / "c.json").write_text(json.dumps({**proved["pendulum"], "format": 4}))
    assert "read it with the release that wrote it" in cli.refused("verify", "--check", "c.json")


def test_a_check_gives_up_in_time(cli: CommandLine, home: Path, proved: dict[str, Any]) -> None:
    done = cli.checked(proved["pendulum"], "--seconds", "1e-9")
    assert done.returncode == 1
    assert "time limit reached with 0 of" in done.stdout


@pytest.mark.parametrize("where", ["made", "import", "Controller", "check"])
@pytest.mark.every(4)
def test_code_that_ends_the_program_is_no_verdict(cli: CommandLine, home: Path, where: str) -> None:
    """A task file that calls sys.exit(0) must not look like a proof to a script."""
    (home / "ends.py").write_text(ENDS.format(where=where))
    if where == "Controller":
        done = cli("compare", "own.py:task", "--controllers", "ends.py:Controller", "regulator", "--starts", "2",
            "--workers", "1", "--out", "results",
        )  # fmt: skip
        assert done.returncode == 1, done
        assert "regulator" in done.stdout
        assert (home / "results" / "table.json").exists(), "the other controller's results are kept"
    elif where == "check":
        assert "ended the program" in cli.refused("check", "ends.py:Controller", "--task", "own.py:task")
    else:
        for command in ("verify", "compare", "train", "check"):
            said = cli.refused(command, "ends.py:made" if where == "made" else "ends.py:task")
            assert "ends the program (sys.exit(0))" in said


# ---- nothing is lost ----


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder of 256 KiB that fills up; skipped where a process may not have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "trivium-test", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> None:
    with open(disk / "fill", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


FILLER = """
from ctrl import LQR
import os, pathlib
class Filler(LQR):
    @property
    def law(self):
        with open({path!r}, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        return super().law
    def step(self, x, k):
        self.law
        return super().step(x, k)
"""


def test_an_unwritable_place_is_reported_before_the_work(cli: CommandLine, home: Path, disk: Path) -> None:
    fill(disk)
    (home / "file").touch()
    (home / "folder.json").mkdir()
    for out in (disk / "p.json", home / "file" / "p.json", home / "folder.json", Path("/proc/p.json")):
        said = cli.refused(*PROVE, "--out", str(out))
        assert f"'{out}' cannot be written: " in said
        assert "choose another place" in said
    for command in (
        ("compare", "own.py:task", "--controllers", "regulator"),
        ("train", "own.py:task", "--learner", "own.py:Learner"),
    ):
        said = cli.refused(*command, "--out", str(disk / "results"))
        assert "cannot be written: No space left on device" in said


def test_a_proof_is_printed_and_kept_though_the_disk_fills_up(
    cli: CommandLine, home: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ctrl.commands import proofs as command

    prove = command.best_certificate

    def then_full(*given: Any) -> Any:
        done = prove(*given)
        fill(disk)
        return done

    monkeypatch.setattr(command, "best_certificate", then_full)
    done = cli(*PROVE, "--out", str(disk / "p.json"))
    assert done.returncode == 0, done
    assert done.stdout.startswith("PROVED: ")
    assert f"trivium: '{disk / 'p.json'}' cannot be written: No space left on device" in done.stderr
    assert f"saved: {home / 'p.json'}" in done.stdout
    assert cli("verify", "--check", "p.json").returncode == 0


@pytest.mark.slow
def test_a_comparison_is_printed_and_kept_though_the_disk_fills_up(cli: CommandLine, home: Path, disk: Path) -> None:
    (home / "filler.py").write_text(FILLER.format(path=str(disk / "fill")))
    done = cli(
        "compare", "own.py:task", "--controllers", "filler.py:Filler", "--starts", "2", "--workers", "1", "--out",
        str(disk / "results"),
    )  # fmt: skip
    assert done.returncode == 0, done
    assert "Filler" in done.stdout
    assert "No space left on device" in done.stderr
    assert f"saved: {home / 'results'}" in done.stdout
    assert {path.name for path in (home / "results").iterdir()} >= {
        "table.json",
        "table.csv",
        "figure.png",
        "task.json",
    }


def test_names_that_nobody_gave_are_new(cli: CommandLine, home: Path) -> None:
    for _ in range(2):
        assert cli(*PROVE).returncode == 0
    assert sorted(path.name for path in (home / "runs").iterdir()) == [
        "pendulum-LQR-2.certificate.json",
        "pendulum-LQR.certificate.json",
    ]


@pytest.mark.slow
def test_two_trainings_in_one_folder_do_not_mix(cli: CommandLine, home: Path) -> None:
    (home / "slow.py").write_text(
        "import own, time\nclass Learner(own.Learner):\n"
        "    def learn(self, **given):\n        open('begun', 'w').close()\n        time.sleep(4)\n"
        "        super().learn(**given)\n"
    )
    command = ["train", "own.py:task", "--learner", "slow.py:Learner", "--out", "trained", "--updates", "10"]
    env = os.environ | {"PYTHONPATH": f"{home / 'site'}{os.pathsep}{ROOT}"}
    first = subprocess.Popen([sys.executable, "-m", "ctrl.cli", *command], cwd=home, env=env, stdout=subprocess.PIPE)
    try:
        until = time.monotonic() + 60
        while not (home / "begun").exists() and time.monotonic() < until:
            time.sleep(0.05)
        said = cli.refused(*command, "--seed", "1")
        assert "trained: another process is writing it; wait for its end, or choose another path" in said
    finally:
        first.wait()
    assert first.returncode == 0
    assert (home / "trained" / "learner.policy").read_text() == "policy of seed 0"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_command_blocks_no_later_one(cli: CommandLine, home: Path) -> None:
    (home / "slow.py").write_text(
        "import own, time\nclass Learner(own.Learner):\n"
        "    def learn(self, **given):\n        open('begun', 'w').close()\n        time.sleep(60)\n"
    )
    command = ["train", "own.py:task", "--out", "trained", "--updates", "10", "--learner"]
    env = os.environ | {"PYTHONPATH": f"{home / 'site'}{os.pathsep}{ROOT}"}
    first = subprocess.Popen([sys.executable, "-m", "ctrl.cli", *command, "slow.py:Learner"], cwd=home, env=env)
    until = time.monotonic() + 60
    while not (home / "begun").exists() and time.monotonic() < until:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert cli(*command, "own.py:Learner").returncode == 0
    assert not list(home.glob(".*.lock"))
