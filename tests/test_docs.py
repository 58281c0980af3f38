"""The pages under docs/ stay true where a test can tell."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from ctrl.answers import Announced, Refused
from systems.reading import Part

DOCS = Path(__file__).parents[1] / "docs"


COLUMNS = {
    "LQR": "ctrl.regulator",
    "linear, explicit MPC": "mpc.linear.linear_mpc",
    "nonlinear, adaptive MPC": "mpc.nonlinear.nonlinear_mpc",
    "MPC over scenarios": "mpc.scenario.scenario_mpc",
    "Lagrangian MPC": "mpc.lagrangian.lagrangian_mpc",
    "MPC by sampling": "mpc.sampling.sampling_mpc",
    "stochastic MPC": "mpc.stochastic.stochastic_mpc",
    "multi-modal MPC": "mpc.reduction.multimodal_mpc",
    "covariance steering": "mpc.steering.covariance_steering",
}
"""Of the table in tasks.md whose answers are one object, ``ANSWERS`` of a module."""


def _answers() -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of answers in tasks.md."""
    table = (DOCS / "tasks.md").read_text(encoding="utf-8").split("| part of a task", 1)[1].split("\n\n")[0]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    return ["part of a task", *head[1:]], rows


def test_every_part_of_a_task_has_its_row_and_every_row_all_columns() -> None:
    head, rows = _answers()
    assert [row[0] for row in rows] == [part.value for part in Part]
    assert all(len(row) == len(head) and all(row) for row in rows)


def test_every_controller_with_answers_has_a_column_of_the_table() -> None:
    root = DOCS.parent
    found = {
        ".".join(path.relative_to(root).with_suffix("").parts)
        for package in ("ctrl", "mpc")
        for path in (root / package).rglob("*.py")
        if "\nANSWERS = Answers(" in path.read_text(encoding="utf-8")
    }
    assert found == set(COLUMNS.values())
    assert set(COLUMNS) <= set(_answers()[0])


@pytest.mark.slow
def test_the_table_of_answers_is_that_of_the_controllers() -> None:
    head, rows = _answers()
    for row, part in zip(rows, Part, strict=True):
        for column, module in COLUMNS.items():
            answer, cell = importlib.import_module(module).ANSWERS.by_part[part], row[head.index(column)]
            if cell == "as nonlinear MPC":
                cell = row[head.index("nonlinear, adaptive MPC")]
            if isinstance(answer, Refused):
                assert "refused" in cell, (part, column)
            elif isinstance(answer, Announced):
                assert cell != "as written", (part, column)
                assert not cell.startswith("refused"), (part, column)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link


@pytest.mark.parametrize(("page", "objects"), [("architecture.md", 30), ("objects.md", 80)])
def test_tables_of_objects_name_what_exists(page: str, objects: int) -> None:
    """Every object of the tables is defined in the files beside it."""
    text = (DOCS / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]*) \| (`[^|]*) \|", text.split("| object |", 1)[1], flags=re.MULTILINE)
    missing = []
    assert len(rows) >= objects
    for named, places in rows:
        folder, text = DOCS.parent, ""
        for place in re.findall(r"`([^`]+)`", places):
            path = (DOCS.parent if "/" in place else folder) / place
            folder = path.parent
            files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
            text += "\n".join(file.read_text(encoding="utf-8") for file in files if file.exists())
            missing += [] if path.exists() else [place]
        for name in re.findall(r"`([A-Za-z_]\w*)", named):
            if not re.search(rf"^\s*(class|def) {name}\b|^\s*{name}\b.* = ", text, flags=re.MULTILINE):
                missing.append(f"{name} in {places}")
    assert not missing
