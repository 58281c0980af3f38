"""Learning curves: what the log of a training says, drawn where it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ctrl import LQR, compare
from ctrl.cells import Identified
from ctrl.commands.compare import Compare
from ctrl.report import page
from ctrl.report.additions import Additions
from ctrl.report.learning import LOG, learning_curves, read_log, seed_sentences
from ctrl.report.numbers import number
from ctrl.sweep import sweep
from ctrl.sweep.training import training_cells
from systems import Task
from systems.library import double_integrator
from tests.ctrl.report.comparisons import STEPS, comparison, runs, task

HEAD = "updates,charts/steps,charts/return"
MADE = comparison(task(), {"my": runs(task(), [20.0, 22.0]), "lqr": runs(task(), [10.0, 12.0])})


def test_lines_with_numbers_are_read(tmp_path: Path) -> None:
    file = tmp_path / LOG
    file.write_text(f"{HEAD}\n100,5,-40\n200,6,nan\n300,7,-20.5\n")
    updates, returns = read_log(file)  # type: ignore[misc]
    np.testing.assert_array_equal(updates, [100, 300])
    np.testing.assert_array_equal(returns, [-40, -20.5])


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", f"{HEAD}\n1,2\n3,4\n", f"{HEAD}\n1,2,x\n", f"{HEAD}\n1,2,-3\n", "\x00\xff"]
)
def test_other_files_are_no_log(tmp_path: Path, content: str) -> None:
    file = tmp_path / LOG
    file.write_text(content)
    assert read_log(file) is None
    assert read_log(tmp_path / "none") is None
    assert learning_curves(MADE, {"my": file}) == []


def test_the_curve_stands_beside_the_costs_of_all(tmp_path: Path) -> None:
    file = tmp_path / LOG
    file.write_text("\n".join([HEAD, *(f"{k},{k},{-50 + k}" for k in range(30))]))
    text = page(MADE, logs={"my": file})
    assert 'id="learning"' in text
    assert text.count('id="learning-0"') == 1
    assert 'id="learning"' not in page(MADE)
    (chart,) = learning_curves(MADE, {"my": file})
    levels = [e for e in chart.iter("path") if e.attrib["class"].startswith("curve")]
    (curve,) = (e for e in chart.iter("path") if e.attrib["class"].startswith("middle"))
    first, last = (float(point.split()[1]) for point in (curve.attrib["d"][1:].split("L")[i] for i in (0, -1)))
    assert first < last, "the cost falls from 50 to 21: the curve goes down the page"
    assert len(levels) == 2, "one line for each controller's mean cost"


def test_the_command_takes_the_log_beside_a_policy(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text(HEAD)
    command = Compare("double-integrator", ("lqr", f"{tmp_path}/my.policy", "elsewhere/other.policy"))
    assert command.logs() == {"my": tmp_path / LOG}


class Trained(LQR):
    """A law that is detuned by its training seed and left a log."""

    def __init__(self, task: Task, seed: int = 0) -> None:
        super().__init__(task)
        self.scale = 1.0 + 0.2 * seed
        self.training_log = LOGS.get(seed)

    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        return self.scale * super().batch(x, k)


LOGS: dict[int, Path] = {}


def test_several_seeds_give_a_band_and_their_policies_costs(tmp_path: Path) -> None:
    """The band lies between the lowest and the highest seed, its middle at their median."""
    for seed, end in enumerate((20.0, 26.0, 38.0)):
        LOGS[seed] = tmp_path / f"{seed}.csv"
        lines = [f"{k},{k},{-(end + 80.0 - 8.0 * min(k, 10))}" for k in range(21)]
        LOGS[seed].write_text("\n".join([HEAD, *lines]))
    steady = dataclasses.replace(double_integrator(), steps=STEPS)
    factories = {"my": Identified(Trained, "my"), "lqr": Identified(LQR, "lqr")}
    compared = compare(steady, factories, 4)
    assert compared.training_logs == {"my": LOGS[0]}
    assert 'id="learning-0"' in page(compared), "the curve of the training itself, without more work"
    done = sweep(training_cells(steady, factories, [1, 2, 0], 4), out=tmp_path / "o")
    assert [dict(cell.factory.settings) for cell in done.cells] == [{"seed": 1}, {"seed": 2}, {"seed": 0}]
    assert done.results[2] is not None
    assert done.results[2]["learning"][1][0] == 100.0, "a cost, minus the return"
    again = sweep(done.cells, out=tmp_path / "o")
    assert again.results == done.results
    (chart,) = learning_curves(compared, compared.training_logs, done)
    band = next(e for e in chart.iter("path") if e.attrib["class"].startswith("band")).attrib["d"]
    middle = next(e for e in chart.iter("path") if e.attrib["class"].startswith("middle")).attrib["d"]
    seeds = [e.attrib["d"] for e in chart.iter("path") if e.attrib["class"].startswith("run")]
    assert middle in seeds, "of three parallel curves the median is one"
    assert set(points(band)) == set(points(seeds[2])) | set(points(seeds[1])), "its edges are two seeds"
    costs = [np.mean(result["cost"]) for result in done.results if result is not None]
    (said,) = seed_sentences(done)
    assert "over 3 training seeds" in said
    assert f"between {number(min(costs))} and {number(max(costs))}" in said
    text = page(compared, ["trivium", "compare", "x", "--seeds", "3"], more=Additions(trainings=done))
    assert "How much does the training seed matter?" in text
    assert "--seeds 5" not in text
    assert "--seeds 3 --robustness" in text, "what is added keeps what is there"
    assert "--out o --seeds 5" in page(compared, ["trivium", "compare", "x"], folder="o")


def points(path: str) -> list[str]:
    return path[1:].rstrip("Z").split("L")
