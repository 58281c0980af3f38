"""The command line and what it finds."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from ctrl import LQR
from ctrl.cli import main
from ctrl.discovery import BrokenEntryPoint, UnknownObject, entry_points, load, load_task, place
from systems import Task

ROOT = Path(__file__).parents[2]
UNPROVED = ("--out", "results", "--proof-seconds", "0")
CARTPOLE = "systems.library.cartpole:cartpole"
OWN = '''
from dataclasses import dataclass
import numpy as np
from ctrl import LQR, Decision
from systems import Plant, Quadratic, Task, Uniform, signals

@dataclass(frozen=True)
class Mass(Plant):
    mass: float = 1.0
    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")
    def ode(self, x, u, w):
        return x.speed, u.force / self.mass
    def limits(self):
        return {"force": (-2.0, 2.0)}

@dataclass(frozen=True)
class Wrong(Mass):
    def ode(self, x, u, w):
        return x.speed, u.thrust / self.mass

task = Task("mass", Mass(), 0.1, 60, Quadratic({"position": 1.0, "speed": 0.1}, {"force": 0.1}),
            Uniform({"position": -1.0}, {"position": 1.0}))

class Relay:
    """Full force against the position."""
    def __init__(self, task):
        self.lower, self.upper = task.input_bounds
    def reset(self):
        pass
    def step(self, x, k):
        return Decision(self.lower if x[0] + x[1] > 0 else self.upper)

def comparison():
    """A relay and nothing else."""
    return {"relay, alone": Relay}

@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    hidden: tuple[int, ...] = (8,)

class Learner:
    settings_type = Settings
    def __init__(self, task, seed, settings=Settings()):
        self.made, self.seed, self.settings = 0, seed, settings
    @classmethod
    def load(cls, path, task):
        found = cls(task, 0)
        found.made, found.seed = map(int, open(path).read().split())
        return found
    def learn(self, updates, progress, checkpoint, log):
        self.made, self.before = updates, self.made
        print("learned from", self.before, "to", updates, "with seed", self.seed, self.settings)
        open(checkpoint, "w").write(f"{self.made} {self.seed}")
    @property
    def result(self):
        return self
    def save(self, path):
        open(path, "w").write(f"policy of seed {self.seed}")
'''
ENTRY_POINTS = """
[trivium.controllers]
regulator = ctrl.regulator:LQR
shattered = no_such_module_anywhere:Thing
[trivium.tasks]
cart = systems.library.cartpole:cartpole
[trivium.comparisons]
mass = own:comparison
[trivium.learners]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plant of one's own and an installed package, one of whose entry points is broken."""
    (tmp_path / "own.py").write_text(OWN)
    info = tmp_path / "site" / "guest-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def trivium(home: Path, *arguments: str) -> Done:
    """A command in this process, as in a fresh one started in the folder ``home``."""
    output, errors, path, modules = io.StringIO(), io.StringIO(), list(sys.path), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", ["trivium", *arguments])
        patch.setenv("COLUMNS", "120")
        patch.setenv("MPLBACKEND", "Agg")
        patch.syspath_prepend(str(home))
        try:
            status = main(list(arguments))
        except SystemExit as end:  # of the parser of arguments
            status = end.code if isinstance(end.code, int) else 1
        finally:
            sys.path[:] = path
            for name in set(sys.modules) - modules:
                if str(getattr(sys.modules[name], "__file__", None)).startswith(str(home)):
                    del sys.modules[name]
    return Done(status, output.getvalue(), errors.getvalue())


def process(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    env = os.environ | {"PYTHONPATH": f"{home / 'site'}{os.pathsep}{ROOT}", "MPLBACKEND": "Agg", "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-m", "ctrl.cli", *arguments], cwd=home, env=env, capture_output=True, text=True, check=False
    )


def refused(home: Path, *arguments: str) -> str:
    """What a misuse prints: one message, no traceback, exit code 2."""
    done = trivium(home, *arguments)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("trivium: ")
    return done.stderr


def test_compare_a_plant_of_ones_own_with_a_law_of_ones_own(home: Path) -> None:
    done = process(
        home, "compare", "own.py:task", "--controllers", "regulator", "own.py:Relay", "--starts", "8", "--seed", "4",
        "--workers", "2", "--out", "results", "--true", "mass=1.5", "--proof-seconds", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mass 1 -> 1.5" in done.stdout
    table = json.loads((home / "results" / "table.json").read_text())
    assert [row["controller"] for row in table] == ["regulator", "Relay"]
    assert table[0]["runs"] == 8
    versions = json.loads((home / "results" / "versions.json").read_text())
    assert versions["seeds"] == [4]
    assert versions["command"][:3] == ["trivium", "compare", "own.py:task"]


@pytest.mark.slow
def test_a_broken_entry_point_is_named_and_the_rest_goes_on(home: Path) -> None:
    done = trivium(home, "compare", "cart", "--starts", "4", *UNPROVED, "--controllers", "regulator")
    assert done.returncode == 0, done.stderr
    said = refused(home, "compare", "cart", "--controllers", "regulator", "shattered")
    assert "'shattered' = 'no_such_module_anywhere:Thing' of guest cannot be loaded" in said
    assert "No module named 'no_such_module_anywhere'" in said
    listed = trivium(home, "list")
    assert listed.returncode == 1
    assert "BROKEN" in listed.stdout
    assert "regulator" in listed.stdout
    assert "Balance the pole" in listed.stdout


def test_an_empty_list_says_how_to_fill_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("ctrl.discovery.entry_points", lambda group: {})
    assert main(["list"]) == 0
    assert "learners\n  none is installed" in capsys.readouterr().out


def test_what_does_not_exist_is_answered_with_what_does(home: Path) -> None:
    said = refused(home, "compare", "carrt")
    assert "unknown task 'carrt'; known:" in said
    assert "Did you mean 'cart'?" in said
    assert "Did you mean 'regulator'?" in refused(home, "compare", "cart", "--controllers", "regulater")
    assert "no file 'nowhere.py'" in refused(home, "compare", "nowhere.py:task")
    assert "Did you mean 'task'?" in refused(home, "compare", "own.py:taks")
    assert "expected a Task" in refused(home, "compare", "own.py:Mass")
    assert "unknown learner 'dsacct'" in refused(home, "train", "cart", "--learner", "dsacct")
    assert "Did you mean 'mass'?" in refused(home, "compare", "own.py:task", "--true", "maas=2")
    assert "expected name=value" in refused(home, "compare", "own.py:task", "--true", "mass=heavy")
    assert "'own.py:Mass' is not a learner" in refused(home, "train", "own.py:task", "--learner", "own.py:Mass")
    assert "needs 2 or more" in refused(home, "verify", "own.py:task", "--degree", "0")
    assert "--seconds -1" in refused(home, "verify", "own.py:task", "--seconds", "-1")


def test_a_name_close_to_that_of_a_controller_is_explained(home: Path) -> None:
    entries = home / "site" / "guest-0.1.dist-info" / "entry_points.txt"
    entries.write_text(ENTRY_POINTS + "apprentice = own:Learner\n[trivium.files]\npolicy = own:read\n")
    (home / "trained").mkdir()
    for name in ("checkpoint.pt", "apprentice.policy"):
        (home / "trained" / name).write_text("")
    compare = ("compare", "own.py:task", "--controllers")
    assert "--learner apprentice writes, apprentice.policy" in refused(home, *compare, "apprentice")
    assert "Did you mean 'trained/apprentice.policy'?" in refused(home, *compare, "trained")
    assert "a controller ends in .policy" in refused(home, *compare, "trained/checkpoint.pt")


@pytest.mark.slow
def test_controllers_of_the_same_name_from_two_places_are_two(home: Path) -> None:
    (home / "other.py").write_text(OWN)
    places = ["own.py:Relay", "other.py:Relay"]
    done = trivium(home, "compare", "own.py:task", "--controllers", *places, "--starts", "2", *UNPROVED)
    assert done.returncode == 0, done.stderr
    assert [row["controller"] for row in json.loads((home / "results" / "table.json").read_text())] == places


def test_an_output_folder_that_cannot_be_written_stops_before_the_work(home: Path) -> None:
    (home / "file").write_text("in the way")
    said = refused(home, "compare", "cart", "--controllers", "regulator", "--out", "file/results")
    assert "'file/results' cannot be written: " in said
    assert "choose another place" in said


def test_results_of_another_task_are_safe(home: Path) -> None:
    (home / "results").mkdir()
    (home / "results" / "task.json").write_text('{"name": "mass"}')
    said = refused(home, "compare", "cart", "--controllers", "regulator", "--out", "results")
    assert "'results' contains results of task 'mass'" in said
    assert "--out DIR" in said
    assert [path.name for path in (home / "results").iterdir()] == ["task.json"]


def test_an_interrupt_is_reported_once_and_leaves_no_folder(home: Path) -> None:
    (home / "impatient.py").write_text(
        "import os, signal\nfrom ctrl import LQR\n"
        "def law(task):\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    return LQR(task)\n"
    )
    done = process(home, "compare", "own.py:task", "--controllers", "impatient.py:law", "--starts", "2")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert not (home / "runs").exists()


@pytest.mark.parametrize(("command", "unbuffered"), [("list", ""), ("list", "1"), ("train --help", "")])
def test_output_that_nobody_reads_ends_quietly(home: Path, command: str, unbuffered: str) -> None:
    """As with `| head`, once it has seen enough."""
    read, write = os.pipe()
    os.close(read)
    env = os.environ | {"PYTHONPATH": f"{home / 'site'}{os.pathsep}{ROOT}", "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        [sys.executable, "-m", "ctrl.cli", *command.split()],
        cwd=home, env=env, stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.slow
def test_results_are_written_though_nobody_reads_the_table(home: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    env = os.environ | {"PYTHONPATH": f"{home / 'site'}{os.pathsep}{ROOT}", "MPLBACKEND": "Agg"}
    code = "compare own.py:task --controllers regulator --starts 2"
    command = [sys.executable, "-m", "ctrl.cli", *code.split(), *UNPROVED]
    subprocess.run(command, cwd=home, env=env, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (home / "results" / "table.json").exists()


def test_check_says_what_is_wrong(home: Path) -> None:
    good = trivium(home, "check", "own.py:Mass")
    assert good.returncode == 0, good
    assert "Mass: 12 checks, 0 failed" in good.stdout or "Mass: 11 checks, 0 failed" in good.stdout
    bad = trivium(home, "check", "own.py:Wrong")
    assert bad.returncode == 1
    assert "thrust" in bad.stdout
    law = trivium(home, "check", "own.py:Relay", "--task", "own.py:task")
    assert law.returncode == 0, law.stdout
    assert "Relay on task 'mass'" in law.stdout
    assert "--task" in refused(home, "check", "own.py:Relay")


def test_train_saves_and_goes_on(home: Path) -> None:
    command = ["train", "own.py:task", "--learner", "own.py:Learner", "--seed", "7", "--out", "trained"]
    first = trivium(home, *command, "--updates", "10")
    assert "learned from 0 to 10 with seed 7" in first.stdout, first
    assert json.loads((home / "trained" / "task.json").read_text())["name"] == "mass"
    again = trivium(home, *command, "--updates", "30")
    assert "learned from 10 to 30 with seed 7" in again.stdout, again
    assert "expected at least 1" in refused(home, *command, "--updates", "0")
    assert "ends by one of them" in refused(home, *command, "--updates", "5", "--steps", "5")
    assert "a training with seed 7, not 0" in refused(home, *command[:4], "--out", "trained", "--updates", "40")
    assert (home / "trained" / "learner.policy").read_text() == "policy of seed 7"
    assert "trivium compare own.py:task --controllers lqr trained/learner.policy" in again.stdout


def test_train_takes_settings(home: Path) -> None:
    command = ["train", "own.py:task", "--learner", "own.py:Learner", "--out", "trained", "--updates", "10"]
    done = trivium(home, *command, "--settings", "rate=0.5", "hidden=16,32")
    assert "Settings(rate=0.5, hidden=(16, 32))" in done.stdout, done
    said = refused(home, *command, "--settings", "rat=0.5")
    assert "unknown setting of own.py:Learner 'rat'; known: rate, hidden. Did you mean 'rate'?" in said
    assert "expected name=value" in refused(home, *command, "--settings", "rate")
    assert "contains a training with Settings(rate=0.1" in refused(home, *command, "--settings", "rate=0.7")
    assert trivium(home, *command, "--settings", "rate=fast").returncode == 2


@pytest.mark.slow
def test_a_task_with_a_comparison_of_its_own_runs_that(home: Path) -> None:
    done = trivium(home, "compare", "own.py:task", "--starts", "4", *UNPROVED)
    assert done.returncode == 0, done.stderr
    table = json.loads((home / "results" / "table.json").read_text())
    assert [row["controller"] for row in table] == ["relay, alone"]


def test_verify_proves_and_shows_again(home: Path) -> None:
    lqr = ["--controller", "ctrl.regulator:LQR"]
    proved = trivium(home, "verify", "systems.library.pendulum:pendulum", *lqr, "--out", "p.json")
    assert proved.returncode == 0, proved.stderr
    assert "PROVED" in proved.stdout
    shown = trivium(home, "verify", "--check", "p.json")
    assert shown.returncode == 0, shown.stderr
    assert "RE-VERIFIED" in shown.stdout
    disturbed = trivium(home, "verify", "systems.library.pendulum:pendulum", *lqr, "--disturbed")
    assert "any push in [-0.02, 0.02] in any sample" in disturbed.stdout
    assert trivium(home, "verify", "--check", "runs/pendulum-LQR-disturbed.certificate.json").returncode == 0
    assert not (home / "runs" / "pendulum-LQR.certificate.json").exists(), "another claim, another file"
    content = json.loads((home / "p.json").read_text())
    assert content["claim"].split(" under ")[0] in shown.stdout, "what was shown is said, not what the file says"
    content["stated"]["level"] *= 1.1
    (home / "p.json").write_text(json.dumps(content))
    again = trivium(home, "verify", "--check", "p.json")
    assert again.returncode == 1
    assert "NOT RE-VERIFIED" in again.stdout
    assert trivium(home, "verify").returncode == 2


def test_help_is_enough_and_imports_nothing_slow(home: Path) -> None:
    for command in ((), ("compare",), ("list",), ("check",), ("train",), ("verify",), ("loop",), ("doctor",)):
        done = trivium(home, *command, "--help")
        assert done.returncode == 0
        assert "usage: trivium" in done.stdout
        if command not in ((), ("list",)):
            assert f"For example:\n  trivium {command[0]} " in done.stdout
    slow = ("matplotlib", "torch", "joblib", "scipy.stats")
    code = f"import sys, ctrl.cli; sys.exit(any(m in sys.modules for m in {slow}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    assert trivium(home, "compar").returncode == 2


def test_names_and_places(home: Path) -> None:
    assert {"regulator", "shattered"} <= set(entry_points("trivium.controllers"))
    assert load("trivium.controllers", "regulator") is LQR
    assert isinstance(load_task("cart"), Task)
    assert load_task("own.py").name == "mass", "a file with one task needs no name behind it"
    assert load_task("own.py:task") is load_task("own.py:task")
    assert load_task(CARTPOLE).name == "cartpole"
    assert place("ctrl.regulator:LQR") is LQR
    with pytest.raises(BrokenEntryPoint, match="of guest cannot be loaded"):
        load("trivium.controllers", "shattered")
    for wrong in ("own.py:Nothing", "no-module:x", "no_module_here:x", "ctrl.regulator:Nothing"):
        with pytest.raises(UnknownObject):
            place(wrong)
    (home / "broken.py").write_text("import nothing_of_the_kind\n")
    with pytest.raises(BrokenEntryPoint, match="nothing_of_the_kind"):
        place("broken.py:task")
    (home / "two.py").write_text("from systems.library.cartpole import cartpole\na, b = cartpole(), cartpole()\n")
    with pytest.raises(UnknownObject, match=r"2 tasks \(a, b\)"):
        load_task("two.py")


@pytest.mark.slow
def test_a_saved_policy_is_a_controller(home: Path) -> None:
    (home / "saved.gain").write_text("0.5")
    code = "from ctrl import LQR\ndef read(task, path):\n    print('gain', path.read_text())\n    return LQR(task)\n"
    (home / "site" / "reader.py").write_text(code)
    (home / "site" / "guest-0.1.dist-info" / "entry_points.txt").write_text(
        ENTRY_POINTS + "[trivium.files]\ngain = reader:read\n"
    )
    done = trivium(home, "compare", "cart", "--controllers", "saved.gain", "--starts", "2", *UNPROVED)
    assert done.returncode == 0, done
    assert "gain 0.5" in done.stdout
    assert "no file 'absent.gain'" in refused(home, "compare", "cart", "--controllers", "absent.gain")


GUEST = """Metadata-Version: 2.1
Name: guest
Version: 0.1
Requires-Dist: numpy
Requires-Dist: no-such-module>=1; extra == "learning"
Provides-Extra: learning
"""


def test_an_extra_that_is_missing_is_named_and_is_no_fault(home: Path) -> None:
    info = home / "site" / "guest-0.1.dist-info"
    (info / "METADATA").write_text(GUEST)
    # The one fails when it is imported; the other, which the list must not import, declares its extra.
    (home / "site" / "declared.py").write_text("raise SystemExit('imported')\n")
    (info / "entry_points.txt").write_text(
        "[trivium.controllers]\nlearned = no_such_module:it\ndeclared = declared:it [learning]\n"
        f"[trivium.tasks]\ncart = {CARTPOLE}\n"
    )
    listed = trivium(home, "list")
    assert listed.returncode == 0, listed
    for name in ("learned", "declared"):
        line = next(line for line in listed.stdout.splitlines() if line.strip().startswith(name))
        assert line.endswith("needs pip install 'guest[learning]'")
    assert ":class:" not in listed.stdout
    said = refused(home, "compare", "cart", "--controllers", "learned")
    assert "'learned' needs pip install 'guest[learning]' (no module 'no_such_module')" in said


SHADOWED = """
from ctrl.discovery import BrokenEntryPoint, load
try:
    load("trivium.controllers", "linear-mpc")
except BrokenEntryPoint as error:
    print(error)
"""


@pytest.mark.parametrize("package", ["mpc", "systems"])
def test_a_file_that_shadows_a_package_of_ours_is_named(home: Path, package: str) -> None:
    (home / "site" / "guest-0.1.dist-info" / "entry_points.txt").write_text(
        "[trivium.controllers]\nlinear-mpc = mpc:LinearMPC\n"
    )
    (home / f"{package}.py").write_text("import numpy as np\n")
    (home / "script.py").write_text(SHADOWED)
    env = os.environ | {"PYTHONPATH": f"{home / 'site'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert f"Python imports '{home / package}.py' in place of the package of that name in {ROOT}: rename" in said, done
