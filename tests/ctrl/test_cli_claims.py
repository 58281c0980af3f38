"""`trivium verify`: constraints, disturbances and rates of a proved set, and claims from random runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctrl.cli import main

TASK = "systems.library.double_integrator:double_integrator"
LQR = ("--controller", "ctrl.regulator:LQR")


def test_verify_says_what_the_proved_set_keeps_and_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("--within-constraints", "--survives", "push", "--time-constant", "5", "--out", "c.json")
    assert main(["verify", TASK, *LQR, *asked, "--seconds", "10"]) == 0
    said = capsys.readouterr().out
    assert "T = 5 s" in said
    assert "within:  the constraints hold up to" in said
    assert "constraints domain: kept" in said
    assert "'speed limit' (hard): kept by every state" in said
    assert said.count("survives proved: no trajectory leaves {V <= ") == 2
    assert main(["verify", "--check", "c.json", "--points", "5"]) == 0
    assert "'speed limit' (hard): kept by every state" in capsys.readouterr().out


def test_random_runs_are_no_proof_but_show_a_stated_probability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["verify", TASK, *LQR, "--samples", "10"]
    assert main(command) == 1
    said = capsys.readouterr().out
    assert said.startswith("SAMPLED, NOT PROVED: of 10 runs")
    assert main([*command, "--at-least", "0.99"]) == 1
    assert "NOT SHOWN: at least 0.99" in capsys.readouterr().out
    assert main([*command, "--at-least", "0.05"]) == 0
    assert "\nshown: at least 0.05" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--samples", "0"), "--samples 0; expected at least 1"),
        (("--samples", "5", "--at-least", "95"), "a probability between 0 and 1"),
        (("--samples", "5", "--survives", "all"), "--survives: of proofs"),
        (("--at-least", "0.9"), "--at-least is of --samples"),
        (("--time-constant", "0"), "expected seconds, more than 0"),
        (("--survives", "pull"), "no disturbance 'pull'; known: push, or 'all'"),
    ],
)
def test_options_that_make_no_sense_are_misuse(
    options: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", TASK, *LQR, *options]) == 2
    assert reason in capsys.readouterr().err
