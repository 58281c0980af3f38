"""Learning curves: what the log of a training says, drawn where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctrl.commands.compare import Compare
from ctrl.report import page
from ctrl.report.learning import LOG, learning_curves, read_log
from tests.ctrl.report.comparisons import comparison, runs, task

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
