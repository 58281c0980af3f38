"""Which plant a claim of the command line is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctrl.cli import main
from ctrl.commands.true_plant import nominal, plant_line, with_true_parameters
from systems import Uniform
from systems.library import pendulum

BASE = pendulum()
TRUE = BASE.with_truth(BASE.plant.with_parameters({"mass": 0.2}))
DRAWN = BASE.with_variation(Uniform({"mass": 0.14}, {"mass": 0.16}))


def test_a_line_says_which_plant_a_claim_is_about_and_how_to_ask_for_the_other() -> None:
    assert plant_line(BASE, is_nominal=False) == ""
    assert plant_line(TRUE, is_nominal=False) == (
        "about the plant that runs (true plant = nominal with mass 0.15 -> 0.2); --nominal proves a claim about the "
        "nominal plant"
    )
    said = plant_line(DRAWN, is_nominal=True)
    assert said.startswith("about the nominal plant; without --nominal, about the one that runs")
    assert "mass in [0.14, 0.16]" in said


def test_the_nominal_task_and_changed_parameters() -> None:
    assert nominal(TRUE) == BASE == nominal(DRAWN)
    assert with_true_parameters(BASE, ("mass=0.2",)) == TRUE
    assert with_true_parameters(DRAWN, ()) is DRAWN


@pytest.mark.parametrize("options", [["--nominal", "--true", "mass=1"], ["--check", "c.json", "--nominal"]])
def test_options_that_contradict_each_other(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *(["pendulum"] if options[0] == "--nominal" else []), *options]) == 2
    assert "--nominal" in capsys.readouterr().err


@pytest.mark.slow
def test_certificates_of_both_plants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text(
        "from systems.library import pendulum\n"
        "base = pendulum()\n"
        'true = base.with_truth(base.plant.with_parameters({"mass": 0.2}))\n'
    )
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "own.py:true", "--out", "true.json"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("about the plant that runs (")
    assert "\n  plant       true plant = nominal with mass 0.15 -> 0.2\n" in said
    assert main(["verify", "own.py:true", "--nominal", "--out", "nominal.json"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("about the nominal plant; without --nominal, ")
    assert "\n  plant       true plant = nominal\n" in said
    again = said.splitlines()[-1].removeprefix("to re-verify: trivium ").split()
    assert main(again) == 0
    assert main(again[:-1]) == 2, "of the other plant"
