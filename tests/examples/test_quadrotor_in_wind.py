"""The example of the quadrotor in wind."""

from __future__ import annotations

import pytest

from examples.quadrotor_in_wind import main


def test_with_barriers_it_keeps_off_the_pillars(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(steps=20, runs=1)["with barriers"] == 0
    text = capsys.readouterr().out
    assert "with barriers: cost" in text
    assert "wind learned" in text
