"""The pages under docs/ stay true where a test can tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from systems.reading import Part

DOCS = Path(__file__).parents[1] / "docs"


def test_every_part_of_a_task_has_its_row_and_every_row_all_columns() -> None:
    lines = (DOCS / "tasks.md").read_text(encoding="utf-8").splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("| part of a task"))
    rows = []
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert [row[0] for row in rows] == [part.value for part in Part]
    columns = lines[head].count("|")
    assert all(len(row) == columns - 1 and all(row) for row in rows)


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
