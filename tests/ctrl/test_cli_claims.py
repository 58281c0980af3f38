"""`trivium verify`: constraints, disturbances and rates of a proved set, and claims from random runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ctrl.cli import main

TASK = "systems.library.double_integrator:double_integrator"
LQR = ("--controller", "ctrl.regulator:LQR")


@pytest.mark.slow
def test_verify_says_what_the_proved_set_keeps_and_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("--within-constraints", "--survives", "push", "--time-constant", "5", "--out", "c.json")
    assert main(["verify", TASK, *LQR, *asked, "--seconds", "10"]) == 0
    said = capsys.readouterr().out
    assert "T = 5 s" in said
    assert "within:  the constraints hold up to" in said
    assert "constraints domain: satisfied in every state" in said
    reached = float(said.split("\nreaches: position")[1].split("speed ")[1].split()[0])
    assert reached <= 1.0, "the set that was lowered is meant, and the speed limit is 1 m/s"
    assert "'speed limit' (hard): satisfied in every state" in said
    assert said.count("survives proved: no trajectory leaves {V <= ") == 2
    assert main(["verify", "--check", "c.json", "--points", "5"]) == 0
    assert "'speed limit' (hard): satisfied in every state" in capsys.readouterr().out


def test_a_rate_that_says_nothing_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the set is the one that trajectories end in, V need not fall anywhere in it."""
    from ctrl.commands import proofs

    def ends_where_it_starts(*given: Any) -> Any:
        certificate, lines = prove(*given)
        region = dataclasses.replace(certificate.claimed.region, inner=certificate.level)
        return dataclasses.replace(certificate, claimed=dataclasses.replace(certificate.claimed, region=region)), lines

    prove = proofs.best_certificate
    monkeypatch.setattr(proofs, "best_certificate", ends_where_it_starts)
    monkeypatch.chdir(tmp_path)
    command = ["verify", TASK, *LQR, "--seconds", "5"]
    assert main([*command, "--time-constant", "5"]) == 1
    said = capsys.readouterr().out
    assert "NOT SHOWN: a time constant" in said
    assert not list(tmp_path.glob("runs/*.json"))


def test_what_reaches_beyond_a_hard_constraint_names_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["verify", TASK, *LQR, "--seconds", "5"]) == 0
    said = capsys.readouterr().out
    assert "'speed limit' (hard): violated at [" in said
    assert "--within-constraints proves the part of the set" in said


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
