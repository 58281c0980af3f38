"""The notebooks in percent format: their cells, and that they run, with less training and fewer starts."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
SHORTER = {
    "my_plant": {"starts=8": "starts=1", "steps=80": "steps=20"},
    "mpc_or_rl": {"UPDATES = 2_000": "UPDATES = 20", "SEEDS = (0, 1)": "SEEDS = (0,)", "starts=16": "starts=2"},
    "is_it_safe": {"starts=32": "starts=4"},
}
PRINTED = {
    "my_plant": ["task 'wagon': 19 checks, 0 failed", "nonlinear-mpc:", "runs beyond the wall"],
    "mpc_or_rl": ["dsact, seed 0: minimises", "linear-mpc"],
    "is_it_safe": [
        "of 4 runs violate a constraint",
        "PROVED",
        "'speed limit' (hard): violated at",
        "'speed limit' (hard): satisfied in every state",
    ],
}


def test_every_notebook_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SHORTER)


@pytest.mark.parametrize("name", SHORTER)
def test_cells_are_in_percent_format(name: str) -> None:
    """Text cells are comments, each begins with a cell mark, and a title comes first."""
    head, *cells = re.split(r"^# %%", (FOLDER / f"{name}.py").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert not head
    assert cells[0].startswith(" [markdown]\n# # ")
    assert len(cells) >= 6
    for cell in cells:
        kind, _, body = cell.partition("\n")
        assert kind in ("", " [markdown]")
        assert body.strip()
        if kind:
            assert all(line.startswith("#") for line in body.splitlines() if line)


@pytest.mark.parametrize("name", SHORTER)
def test_notebooks_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    for given, shorter in SHORTER[name].items():
        assert given in source
        source = source.replace(given, shorter)
    (tmp_path / "notebook.py").write_text(source, encoding="utf-8")
    runpy.run_path(str(tmp_path / "notebook.py"), run_name="__main__")
    said = capsys.readouterr().out
    for words in PRINTED[name]:
        assert words in said
