"""The table of a comparison: whole numbers at every width, and a legend of what occurred."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from ctrl import LQR, Comparison, Decision, compare
from ctrl.comparison.metrics import measure
from ctrl.comparison.table import columns, interval, table, text
from ctrl.report.tables import main_table
from systems import Task
from systems.library import cartpole, double_integrator, driving, segway
from systems.statistics import Estimate

NAMES = ["lqr", "linear-mpc", "nonlinear-mpc", "dsact", "reset every 3 samples", "indirect feedback",
    "a_name_that_is_longer_than_a_third_of_eighty_columns", "x"]  # fmt: skip


class Still:
    """Never acts, whatever the plant."""

    def __init__(self, task: Task) -> None:
        self.u = np.clip(np.zeros(len(task.plant.input)), *task.input_bounds)

    def reset(self) -> None:
        pass

    def step(self, x: np.ndarray, k: int) -> Decision:
        return Decision(self.u)


@pytest.fixture(scope="module", params=[double_integrator, cartpole, driving, segway], ids=lambda make: make.__name__)
def compared(request: pytest.FixtureRequest) -> Comparison:
    return compare(dataclasses.replace(request.param(), steps=6), {"still": Still}, starts=3, workers=1)


def several(compared: Comparison, count: int) -> Comparison:
    """The same runs under other names, as by so many controllers."""

    def each(value: object) -> dict[str, object]:
        return dict.fromkeys(NAMES[:count], value)

    return dataclasses.replace(
        compared,
        runs=each(compared.runs["still"]),
        metrics=each(compared.metrics["still"]),
        proved=each(0.0),
        approximations=each(()),
        seconds=each(1.0),
        is_proof_tried=True,
    )


def printed(compared: Comparison, width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as caught:
        console.print(table(compared))
    return caught.get()


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.every(3)
def test_nothing_is_cut_at_any_width(compared: Comparison, width: int) -> None:
    for count in range(1, 9):
        shown = several(compared, count)
        lines = printed(shown, width).splitlines()
        assert all(cell_len(line) <= width for line in lines)
        assert "…" not in "".join(lines)
        content = table(shown)
        assert len(content.columns) == 9 - (count == 1) - 2 * (not compared.task.constraints)
        for head, cells in content.columns:
            for part in (*head.split("\n"), *(line for cell in cells for line in cell.plain.split("\n"))):
                assert any(part in line for line in lines), (part, width)
        for unit in ("[s]", "[ms]", "[95 %]"):
            assert any(unit in line for line in lines)
        for name in NAMES[: min(count, 6)]:
            assert any(line.startswith(name) for line in lines)


def test_a_wide_terminal_has_one_table_and_a_narrow_one_repeats_the_names(compared: Comparison) -> None:
    shown = several(compared, 3)
    assert len(re.findall(r"^linear-mpc\*? ", printed(shown, 200), flags=re.MULTILINE)) == 1
    assert len(re.findall(r"^linear-mpc\*? ", printed(shown, 80), flags=re.MULTILINE)) == 2


def test_text_is_as_wide_as_the_terminal(compared: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert columns() == 132
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(cell_len, text(several(compared, 4)).splitlines())) <= 80


def test_the_legend_explains_only_what_occurs() -> None:
    task = dataclasses.replace(cartpole(), steps=20)
    one = " ".join(text(compare(task, {"lqr": LQR}, starts=4)).split())
    assert "paired runs" not in one
    assert "bold" not in one
    assert "*:" not in one
    assert "missed:" not in one
    assert "cheapest" not in one
    two = " ".join(text(compare(task, {"lqr": LQR, "still": Still}, starts=8, workers=1)).split())
    assert "its ratio from paired runs" in two
    assert "bold: significantly cheaper" in two
    assert "Student" not in text(compare(task, {"lqr": LQR}, starts=1)), "one run has no interval"


@pytest.mark.parametrize(
    ("value", "half", "shown"),
    [
        (65.657, 28.123, "65.66 ±28"),
        (65.657, 0.0123, "65.657 ±0.012"),
        (1.00053, 0.00031, "1.00053 ±0.00031"),
        (1.0, 1e-15, "1.000 ±0"),
        (1.0, 1e-9, "1.000000 ±1.0e-09"),
        (744321.4, 28234.1, "744321 ±28234"),
        (1.2345e-5, 3.1e-7, "(1.234 ±0.031)e-05"),
        (2.5e9, 1e8, "(2.500 ±0.10)e+09"),
        (0.0, 0.0, "0 ±0"),
        (47.25, 0.0, "47.25 ±0"),
        (12.34567, np.nan, "12.35"),
    ],
)
def test_aninterval_has_the_digits_that_it_supports(value: float, half: float, shown: str) -> None:
    assert interval(Estimate(value, value - half, value + half)) == shown


def test_a_ratio_that_is_the_same_in_every_run_is_shown() -> None:
    """Costs that are exactly twice those of the cheapest have an interval without width, which is not 1."""
    task = dataclasses.replace(double_integrator(), steps=6)
    once = compare(task, {"a": Still}, starts=3, workers=1)
    costs = once.runs["a"].costs
    twice = dataclasses.replace(once.runs["a"], costs=2 * costs, terminal=2 * once.runs["a"].terminal)
    both = dataclasses.replace(
        once,
        runs={"a": once.runs["a"], "b": twice},
        metrics={"a": once.metrics["a"], "b": measure(task, twice)},
        approximations={"a": (), "b": ()},
        proved={"a": None, "b": None},
    )
    line = next(line for line in printed(both, 200).splitlines() if line.startswith("b"))
    assert re.search(r"\b2\b", line.split("±")[1]), line
    assert [row[2] for row in table_rows(main_table(both)) if row[0] == "cost / cheapest"] == ["2"]


def table_rows(made: Any) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in made.iter("tr")]


def test_a_difference_from_tolerances_of_solvers_is_not_shown_as_clear() -> None:
    task = dataclasses.replace(double_integrator(), steps=6)
    once = compare(task, {"a": Still}, starts=3, workers=1)
    for factor, clear in ((1 + 1e-9, False), (1.01, True)):
        more = dataclasses.replace(once.runs["a"], costs=factor * once.runs["a"].costs)
        both = dataclasses.replace(
            once,
            runs={"a": once.runs["a"], "b": more},
            metrics={"a": once.metrics["a"], "b": measure(task, more)},
            approximations={"a": (), "b": ()},
            proved={"a": None, "b": None},
        )
        assert ("bold: significantly cheaper than all others" in printed(both, 200)) == clear
