"""Sweeps: every combination once, resumed to the same numbers, in one process, in several and on Ray."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, compare
from ctrl.cells import Here, Identified, Processes
from ctrl.cells.engine import Engine
from ctrl.cli import main
from ctrl.sweep import Sweep, grid, sweep
from systems import Fixed, InvalidValue, Task, UnknownName
from systems.files import OutputError
from systems.library.cartpole import cartpole
from systems.library.double_integrator import double_integrator
from tests.ctrl.controllers import Momentum, faulty, not_applicable

TASKS = [dataclasses.replace(cartpole(), steps=10), dataclasses.replace(double_integrator(), steps=10)]
MEASURED = {"step_p50_ms", "step_p99_ms", "missed", "seconds"}


class Tuned(Momentum):
    """Counts the controllers that are made."""

    made = 0
    allowed = 1 << 30

    def __init__(self, task: Task, inertia: float = 0.2) -> None:
        if Tuned.made >= Tuned.allowed:
            raise KeyboardInterrupt
        Tuned.made += 1
        super().__init__(task)
        self.inertia = inertia

    def step(self, x: np.ndarray, k: int) -> Any:
        u = self.law.step(x, k)
        self.memory = (1 - self.inertia) * u.input + self.inertia * self.memory
        return dataclasses.replace(u, input=self.memory.copy())


@pytest.fixture(autouse=True)
def fresh() -> None:
    Tuned.made, Tuned.allowed = 0, 1 << 30


LOADED = {"lqr": Identified(LQR, "lqr"), "tuned": Identified(Tuned, "tuned")}


def cells(**change: Any) -> Any:
    given: dict[str, Any] = {
        "tasks": TASKS, "controllers": LOADED, "starts": 3, "seeds": (0, 1),
        "settings": {"tuned": {"inertia": [0.2, 0.5]}},
    }  # fmt: skip
    return grid(**(given | change))


def expect_equal(one: Sweep, two: Sweep) -> None:
    for a, b in zip(one.results, two.results, strict=True):
        assert a is not None
        assert b is not None
        assert {k: v for k, v in a.items() if k not in MEASURED} == {k: v for k, v in b.items() if k not in MEASURED}


def test_every_combination_is_a_cell_and_equals_a_comparison() -> None:
    done = sweep(cells())
    assert len(done.cells) == 2 * (1 + 2) * 2
    assert len({cell.key for cell in done.cells}) == 12
    assert [line["controller"] for line in done.lines] == ["lqr", "tuned", "tuned"] * 2
    assert done.lines[0]["seeds"] == [0, 1]
    compared = compare(TASKS[0], {"lqr": LQR}, starts=3, seeds=(0, 1))
    assert done.lines[0]["cost"] == pytest.approx(compared.metrics["lqr"].cost.value, rel=1e-12)
    assert done.lines[0]["cost_high"] == pytest.approx(compared.metrics["lqr"].cost.high, rel=1e-12)
    costs = [line["cost"] for line in done.lines]
    assert costs[1] != costs[2], "settings arrive"


def test_true_plants_change_the_numbers_and_unknown_names_are_refused() -> None:
    done = sweep(cells(tasks=TASKS[:1], true={"pole_mass": [0.1, 0.3]}, seeds=(0,), settings=None))
    assert [line["true"] for line in done.lines] == ["pole_mass = 0.1"] * 2 + ["pole_mass = 0.3"] * 2
    assert done.lines[0]["cost"] != done.lines[2]["cost"]
    for change, words in (
        ({"true": {"pole_mas": [1.0]}}, "pole_mass"),
        ({"settings": {"tuned": {"inertja": [1]}}}, "inertia"),
        ({"settings": {"tunde": {"inertia": [1]}}}, "tuned"),
    ):
        with pytest.raises(UnknownName, match=words):
            cells(**({"tasks": TASKS[:1]} | change))
    with pytest.raises(InvalidValue, match="nothing to run"):
        cells(seeds=())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": (0, 1, 0)}, "seed 0 is given twice"),
        ({"tasks": [TASKS[0], dataclasses.replace(TASKS[0], steps=11)]}, "task cartpole is given twice"),
        ({"tasks": TASKS[:1], "true": {"pole_mass": [0.1, 0.2, 0.1]}}, "value of pole_mass 0.1 is given twice"),
        ({"settings": {"tuned": {"inertia": [0.2, 0.2]}}}, "value of tuned:inertia 0.2 is given twice"),
    ],
)
def test_the_same_twice_is_refused(change: dict[str, Any], words: str) -> None:
    """Runs that count twice would make intervals too narrow, and lines of tasks of one name would be one."""
    with pytest.raises(InvalidValue, match=words):
        cells(**change)


def test_copies_of_a_run_are_no_evidence() -> None:
    """Of a task in which nothing is drawn all seeds give one run, which has no interval."""
    still = dataclasses.replace(TASKS[1], initial=Fixed({"position": 1.0}))
    made = grid([still], {"lqr": LOADED["lqr"]}, starts=5, seeds=(0, 1, 2))
    assert [cell.seed for cell in made] == [0]
    (line,) = sweep(made).lines
    assert line["runs"] == 1
    assert line["cost_low"] is None


@pytest.mark.parametrize("allowed", [0, 7])
def test_an_interrupted_sweep_goes_on_to_the_same_numbers(tmp_path: Path, allowed: int) -> None:
    whole = sweep(cells())
    Tuned.made, Tuned.allowed = 0, allowed
    with pytest.raises(KeyboardInterrupt):
        sweep(cells(), out=tmp_path)
    Tuned.made, Tuned.allowed = 0, 1 << 30
    expect_equal(whole, sweep(cells(), out=tmp_path))
    assert Tuned.made == 8 - allowed
    Tuned.made, Tuned.allowed = 0, 0
    expect_equal(whole, sweep(cells(), out=tmp_path))
    assert (
        len(sweep(cells(controllers={"lqr": LOADED["lqr"]}, settings=None, seeds=(0, 1, 2)), out=tmp_path).cells) == 6
    )
    with pytest.raises(OutputError, match="holds a sweep with starts 3, now 4"):
        sweep(cells(starts=4), out=tmp_path)


def test_a_damaged_cell_is_run_again(tmp_path: Path) -> None:
    whole = sweep(cells(seeds=(0,)), out=tmp_path)
    files = sorted((tmp_path / "cells").glob("*.json"))
    for i, file in enumerate(f for f in files if f.name != "settings.json"):
        held = json.loads(file.read_text())
        if i % 3 == 0:
            file.write_text(file.read_text()[:-30])
        elif i % 3 == 1:
            file.write_text(json.dumps(held | {"description": {}}))
        else:
            held["result"]["cost"] = held["result"]["cost"][:-1]
            file.write_text(json.dumps(held))
    Tuned.made = 0
    expect_equal(whole, sweep(cells(seeds=(0,)), out=tmp_path))
    assert Tuned.made == 4


def test_a_cell_that_fails_costs_no_other(tmp_path: Path) -> None:
    loaded = {"bad": Identified(faulty, "bad"), "no": Identified(not_applicable, "no"), "lqr": Identified(LQR, "lqr")}
    done = sweep(cells(controllers=loaded, settings=None, tasks=TASKS[:1]), out=tmp_path)
    assert len(done.failed) == 2
    assert len(done.skipped) == 2
    assert "ZeroDivisionError" in " ".join(str(done).split())
    assert "needs a linear plant" in str(done)
    done.save(tmp_path)
    held = json.loads((tmp_path / "sweep.json").read_text(), parse_constant=pytest.fail)
    assert [line["controller"] for line in held["lines"]] == ["bad", "no", "lqr"]
    with open(tmp_path / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["cost"] != "" for row in rows] == [False] * 4 + [True] * 2
    assert float(rows[-1]["cost"]) == np.mean(held["cells"][-1]["result"]["cost"])


def test_the_command_writes_one_table(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    place = "systems.library.double_integrator:double_integrator"
    command = ["sweep", place, "--controllers", "ctrl.regulator:LQR", "--seeds", "0", "1", "--starts", "2", "--workers",
        "1", "--true", "max_acceleration=0.5,1", "--out", "o"]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "sweep of 4 cells with 2 runs each" in said
    assert "max_acceleration = 0.5" in said
    assert max(map(len, said.splitlines())) <= 80
    assert main(command) == 0
    assert "; 0 to run" in capsys.readouterr().out
    for wrong, words in (
        (["--address", "ray://x"], "--engine ray"),
        (["--tune", "LQR=3"], "expected controller:name=value"),
        (["--training-seeds", "1"], "no controller of the sweep"),
        (["--true", "max_acceleration=a"], "name=value,value"),
    ):
        assert main([*command, *wrong]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.slow
def test_processes_give_the_same_numbers() -> None:
    expect_equal(sweep(cells()), sweep(cells(), Processes(2)))


def said(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def descendants() -> list[int]:
    """Processes that this one started, and those that they started."""
    parents: dict[int, int] = {}
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sorted(ours - {os.getpid()})


@pytest.fixture
def cluster() -> Any:
    ray = pytest.importorskip("ray")
    from ctrl.cells.ray_engine import RayEngine

    yield RayEngine(workers=2)
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes as Linux does")
def test_ray_gives_the_same_numbers_though_workers_are_killed(cluster: Engine, tmp_path: Path) -> None:
    wanted = cells(seeds=tuple(range(20)))
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        chance = np.random.default_rng(0)
        while not over.wait(1.0) and len(killed) < 5:
            at_work = [pid for pid in descendants() if "ray::attempt" in said(pid)]
            if at_work:
                killed.append(at_work[chance.integers(len(at_work))])
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        spread = sweep(wanted, cluster, tmp_path)
    finally:
        over.set()
        thread.join()
    assert len(killed) == 5
    assert not spread.failed
    expect_equal(sweep(wanted, Here()), spread)
    expect_equal(spread, sweep(wanted, cluster, tmp_path))


@dataclasses.dataclass(frozen=True)
class Noted:
    """Makes a regulator, slowly, and leaves a file with the node where it began and ended to make it."""

    folder: str

    def __call__(self, task: Task) -> LQR:
        ray = pytest.importorskip("ray")
        if not ray.is_initialized():
            return LQR(task)
        note = Path(self.folder) / f"{ray.get_runtime_context().get_node_id()}-{uuid.uuid4().hex}"
        note.with_suffix(".begun").touch()
        time.sleep(0.5)
        note.with_suffix(".ended").touch()
        return LQR(task)


@pytest.mark.slow
def test_ray_gives_the_same_numbers_though_a_node_is_removed(tmp_path: Path) -> None:
    """One of two nodes leaves during a sweep, with the cell that it is running."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    from ctrl.cells.ray_engine import RayEngine

    notes = tmp_path / "notes"
    notes.mkdir()
    wanted = cells(controllers={"noted": Identified(Noted(str(notes)), "noted")}, settings=None, seeds=tuple(range(12)))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    over, lost = threading.Event(), list[int]()
    try:
        node = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        engine = RayEngine(cluster.address)
        assert engine.workers == 2

        def remove() -> None:
            while not over.wait(0.02):
                begun = set(notes.glob(f"{node.node_id}-*.begun"))
                if len(begun) > 1 and any(not note.with_suffix(".ended").exists() for note in begun):
                    cluster.remove_node(node, allow_graceful=False)
                    lost.append(sum(not note.with_suffix(".ended").exists() for note in begun))
                    return

        thread = threading.Thread(target=remove)
        thread.start()
        try:
            spread = sweep(wanted, engine, tmp_path)
        finally:
            over.set()
            thread.join()
        assert [member["Alive"] for member in ray.nodes()].count(True) == 1
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert lost == [1], "the node ran a cell when it was removed"
    assert not spread.failed
    expect_equal(sweep(wanted, Here()), spread)
