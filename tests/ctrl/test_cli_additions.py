"""`trivium compare --seeds --robustness --films`: what is added goes into the folder and the report, and goes on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from ctrl import Comparison
from ctrl.cli import main

CODE = """
import dataclasses
from pathlib import Path
from ctrl import LQR
from systems.library import double_integrator

def task():
    return dataclasses.replace(double_integrator(), steps=10)

class Trained(LQR):
    made = 0

    def __init__(self, task, seed=0):
        Trained.made += 1
        super().__init__(task)
        self.training_log = Path(__file__).with_name("log.csv")
"""


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure of the comparison is not looked at here, and slow to draw."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Comparison, "figure", lambda _: Figure())


@pytest.mark.slow
def test_additions_go_into_the_folder_and_are_not_run_again(capsys: Any) -> None:
    Path("my.py").write_text(CODE)
    Path("log.csv").write_text("updates,charts/return\n" + "\n".join(f"{k},{k - 30}" for k in range(25)))
    command = ["compare", "my.py:task", "--controllers", "my.py:Trained", "--starts", "3", "--proof-seconds", "0",
        "--workers", "1", "--out", "o"]  # fmt: skip
    assert main(command) == 0
    before = Path("o/report.html").read_text()
    assert 'id="learning-0"' in before
    for option in ("--robustness", "--films", "--seeds 5"):
        assert f"--out o {option}" in before
    assert main([*command, "--seeds", "2", "--robustness", "--films"]) == 0
    said, after = capsys.readouterr().out, Path("o/report.html").read_text()
    assert "training Trained with seeds 1; the total time is estimated after the first" in said
    assert re.search(r"(about \d+ s|less than 1 s) to go if a controller's cells are alike", said)
    for identifier in ("films", "learning", "robustness", "robust-cost-0"):
        assert f'id="{identifier}"' in after
    missing = after.split('id="missing"')[1].split("<footer")[0]
    assert not re.search("--robustness|--films|--seeds", missing)
    assert "2 training seeds" in after
    assert sorted(path.name for path in Path("o").iterdir() if path.is_dir()) == [
        "cells", "films", "robustness", "trainings"
    ]  # fmt: skip
    assert Path("o/films/1-Trained.gif").read_bytes().startswith(b"GIF")
    assert len(after) < 1_000_000
    assert main([*command, "--seeds", "2", "--robustness"]) == 0
    assert capsys.readouterr().out.count("; 0 to run") == 2
    assert main([*command, "--seeds", "0"]) == 2
    assert "--seeds 0; expected at least 1" in capsys.readouterr().err


def test_additions_that_are_not_possible_are_reported(capsys: Any) -> None:
    command = ["compare", "systems.library.van_der_pol:van_der_pol", "--controllers", "ctrl.regulator:LQR"]
    more = ["--starts", "2", "--proof-seconds", "0", "--workers", "1", "--seeds", "2", "--films"]
    assert main([*command, *more, "--out", "o"]) == 0
    said = capsys.readouterr().out
    assert "none of LQR is trained with a seed" in said
    assert "has no drawing" in said
    assert 'id="films"' not in Path("o/report.html").read_text()
