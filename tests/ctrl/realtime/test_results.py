"""What is left of a loop: table, folder, live view; and the commands."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ctrl import LQR
from ctrl.cli import main
from ctrl.realtime import Loop, LoopRun, LoopSettings, SimulatedClock, SimulatedPlant
from ctrl.realtime import doctor as doctor_module
from ctrl.realtime.doctor import Finding, findings, jitter
from ctrl.realtime.view import View
from mpc.doctor import Solvers
from systems.library import double_integrator
from tests.ctrl.realtime.plants import TASK, Slow, Wrapped, plant

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def run() -> LoopRun:
    """With a late sample, a skipped one, and a measurement that is missing."""
    clock = SimulatedClock()
    connection = Wrapped(plant(clock), lambda m, k: None if k == 5 else m)
    controller = Slow(clock, dict.fromkeys(range(40), 0.001) | {10: 0.12})
    return Loop(TASK, controller, connection, LoopSettings(seconds=2.0, in_process=True), clock=clock).run()


@pytest.fixture(scope="module")
def folder(run: LoopRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run.save(tmp_path_factory.mktemp("run") / "new" / "run", ["trivium", "loop"])


def test_the_folder(run: LoopRun, folder: Path) -> None:
    names = {"samples.csv", "summary.json", "trace.json", "figure.png", "figure.pdf", "task.json"}
    assert {path.name for path in folder.iterdir()} == names
    lines = list(csv.DictReader(io.StringIO((folder / "samples.csv").read_text())))
    assert [int(line["k"]) for line in lines] == run.columns.k.tolist() == [*range(11), *range(12, 40)]
    assert [float(line["position [m]"]) for line in lines] == run.columns.x[:, 0].tolist()
    assert [float(line["force [N]"]) for line in lines] == run.columns.u[:, 0].tolist()
    assert lines[5]["measurement"] == "missing"
    assert (lines[10]["input from"], lines[10]["fallback"], lines[10]["missed"]) == ("fallback", "lqr", "1")
    assert (lines[11]["input from"], lines[11]["skipped"], lines[11]["status"]) == ("controller", "1", "solved")
    assert float(lines[10]["answered [us]"]) == 120_000.0
    numbers = json.loads((folder / "summary.json").read_text())
    assert numbers["summary"]["missed"] == 2
    assert numbers["summary"]["inputs"] == {"controller": 38, "fallback": 1}
    assert numbers["settings"]["overrun"] == "fallback"
    assert numbers["command"] == ["trivium", "loop"]


def test_the_trace_is_one_that_viewers_read(run: LoopRun, folder: Path) -> None:
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert all({"name", "ts", "dur", "pid", "tid"} <= set(event) and event["dur"] >= 0 for event in spans)
    samples = [event for event in spans if event["name"].startswith("sample")]
    assert [event["name"] for event in samples] == [f"sample {k}" for k in run.columns.k]
    assert samples[-1]["ts"] == pytest.approx(39 * 50_000.0)
    assert [event["name"] for event in events if event["ph"] == "i"] == ["deadline missed"]
    counters = [event["args"]["value"] for event in events if event["ph"] == "C"]
    assert counters == run.columns.u[:, 0].tolist()


@pytest.mark.slow
def test_a_run_without_samples_is_saved(tmp_path: Path) -> None:
    clock = SimulatedClock()
    loop = Loop(TASK, LQR, plant(clock), LoopSettings(in_process=True), clock=clock)
    loop.stop()
    run = loop.run()
    assert run.summary.samples == 0
    assert run.summary.worst_second is None
    assert "0 samples" in str(run)
    assert json.loads((run.save(tmp_path) / "summary.json").read_text())["summary"]["latency"]["p50"] is None


def test_the_table(run: LoopRun) -> None:
    text = str(run)
    assert "deadlines missed  2 of 40 at 20 Hz, 1 of them skipped samples" in text
    assert re.search(r"step: request to answer\s*│\s*1\.000 │ 120\.000", text)
    assert "fresh 38, missing 1" in text
    assert "times [ms]" in text


@pytest.mark.slow
def test_violated_constraints_are_counted(tmp_path: Path) -> None:
    """The regulator, as the fallback of a controller that is always late, drives faster than the task permits."""
    task, clock = double_integrator(), SimulatedClock()
    settings = LoopSettings(seconds=3.0, in_process=True)
    simulated = SimulatedPlant(task, clock, np.array([4.0, 0.0]), None)
    run = Loop(task, LQR, simulated, settings, clock=clock).run()
    speeds = np.abs(run.columns.x[:, 1])
    count, beyond = int((speeds > 1 + 1e-6).sum()), speeds.max() - 1
    assert 0 < count < len(speeds)
    named = [c.name for c in task.constraints]
    at = int(np.flatnonzero(run.margins.max(axis=0) > 1e-6)[0])
    assert f"'{named[at]}' violated at {count} of {len(speeds)} samples, by up to {beyond:.3g}" in str(run)
    numbers = json.loads((run.save(tmp_path) / "summary.json").read_text())
    assert numbers["violated_samples"][named[at]] == count
    assert numbers["worst_margins"][named[at]] == pytest.approx(beyond)
    slow = SimulatedPlant(task, SimulatedClock(), np.array([0.1, 0.0]), None)
    assert "no sample violates" in str(Loop(task, LQR, slow, settings, clock=SimulatedClock()).run())


def test_the_view_draws_what_the_log_says() -> None:
    clock = SimulatedClock()
    drawn: list[str] = []

    def change(measured: Any, k: int) -> Any:
        if k in (-1, 30):
            out = io.StringIO()
            Console(file=out, width=100).print(View(loop).content())
            drawn.append(out.getvalue())
        return measured

    loop = Loop(TASK, LQR, Wrapped(plant(clock), change), LoopSettings(seconds=2.0, in_process=True), clock=clock)
    with View(loop):  # not a terminal: draws nothing
        loop.run()
    assert "sample 30" in drawn[1]
    assert "controller 30" in drawn[1]
    assert f"force [N]            {loop.log.columns().u[29, 0]:10.4g}" in drawn[1]


def test_the_command_and_its_end_by_a_signal(tmp_path: Path) -> None:
    """The plant tells when the loop has begun, and what was written last."""
    (tmp_path / "rig.py").write_text(
        "import numpy as np\n"
        "from pathlib import Path\n"
        "class Rig:\n"
        "    def __init__(self, task): self.count = 0\n"
        "    def read(self): return np.array([0.1, 0.0, 0.0, 0.0])\n"
        "    def write(self, u):\n"
        "        self.count += 1\n"
        "        Path('last').write_text(f'{self.count} {u[0]}')\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ctrl.cli", "loop", "systems.library.cartpole:cartpole", "--controller"]
    command += ["ctrl.regulator:LQR", "--out", "run", "--plant", "rig.py:Rig", "--safe-input", "0.25"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "last").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "stopped by        SIGINT" in out
    assert (tmp_path / "run" / "samples.csv").exists()
    count, last = (tmp_path / "last").read_text().split()
    assert int(count) >= 2
    assert float(last) == 0.25


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rig.py").write_text(
        "import numpy as np\n"
        "class Rig:\n"
        "    def __init__(self, task): self.u = []\n"
        "    def read(self): return np.array([0.1, 0.0, 0.0, 0.0])\n"
        "    def write(self, u): self.u.append(u)\n"
    )
    common = ["loop", "systems.library.cartpole:cartpole", "--controller", "ctrl.regulator:LQR", "--in-process"]
    assert main([*common, "--seconds", "0.2", "--rate", "100", "--plant", "rig.py:Rig", "--out", "run"]) == 0
    assert "cartpole · 20 samples of 10 ms" in capsys.readouterr().out
    for wrong, word in (
        (["--plant", "udp://nowhere"], "udp://HOST:PORT"),
        (["--plant", "simulation"], "simulator"),
        (["--rate", "-5"], "more than 0"),
        (["--seconds", "0"], "seconds"),
        (["--fallbacks", "no-such"], "no-such"),
        (["--safe-input", "20"], "safe_input"),
    ):
        assert main([*common, *wrong]) == 2, wrong
        assert word in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "controller", "told"),
    [
        (f"{ROOT}/examples/measured_pendulum.py:task", "ctrl.regulator:LQR", "ExtendedKalmanFilter, for controller"),
        ("systems.library.battery:battery", "mpc:LinearMPC", "4 samples of 3.6e+06 ms"),
    ],
)
def test_the_command_on_tasks_with_outputs_and_prices(
    task: str, controller: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = "14400" if "battery" in task else "0.2"
    common = ["loop", task, "--controller", controller, "--in-process", "--simulated-time"]
    assert main([*common, "--seconds", seconds, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert told in said
    assert "controller 4" in said
    assert main([*common, "--plant", "udp://127.0.0.1:9"]) == 2
    assert "only the simulator" in capsys.readouterr().err


def test_doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def load(self) -> Any:
            raise ImportError("no such package")

    points = {"solvers": Solvers}
    monkeypatch.setattr(doctor_module, "entry_points", lambda group: points)
    monkeypatch.setattr(doctor_module, "load", lambda group, name: points[name])
    found = {finding.name: finding for finding in findings(500.0, 0.1)}
    assert "HPIPM" in found
    assert "casadi" in found["HPIPM"].value.lower()
    assert re.search(r"p50 \d+ us.*worst \d+ us", found["jitter of an empty loop at 500 Hz"].value)
    assert {"scheduler", "SCHED_FIFO permitted", "CPU governor", "cores", "C compiler"} <= set(found)
    assert main(["doctor", "--seconds", "0.1"]) == 0
    assert "jitter of an empty" in capsys.readouterr().out
    assert main(["doctor", "--rate", "0"]) == 2


def test_doctor_compiles_what_packages_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Own:
        def findings(self) -> list[Finding]:
            return [Finding("own", "value", "advice")]

        def compile(self) -> list[tuple[str, float]]:
            return [("thing", 1.25)]

    monkeypatch.setattr(doctor_module, "entry_points", lambda group: {"own": None})
    monkeypatch.setattr(doctor_module, "load", lambda group, name: Own)
    assert main(["doctor", "--seconds", "0.1", "--compile"]) == 0
    out = capsys.readouterr().out
    assert "advice" in out
    assert "compiled: thing, 1.2 s" in out


def test_the_solvers_that_are_compiled_on_first_use() -> None:
    done = dict(Solvers().compile())
    assert set(done) == {"LinearMPC", "HarmonicMPC"}
    assert all(seconds > 0 for seconds in done.values())


def test_jitter_is_never_negative() -> None:
    late = jitter(1000.0, 0.05)
    assert late.shape == (50,)
    assert (late >= 0).all()


def test_the_example_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    text = (ROOT / "docs" / "realtime.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len([line for line in block.splitlines() if line.strip()]) <= 15
    (tmp_path / "rig.py").write_text(block)
    page = runpy.run_path(str(tmp_path / "rig.py"), run_name="page")
    clock = SimulatedClock()
    settings = LoopSettings(seconds=0.2, in_process=True)
    run = Loop(page["cartpole"](), page["NonlinearMPC"], page["Rig"](), settings, clock=clock).run()
    assert run.summary.inputs == {"controller": 4}
    assert np.abs(run.columns.u).max() < 1e-6
