"""The example of the cart that learns the forces on it."""

from __future__ import annotations

import re

import pytest

from examples.unknown_forces import main


@pytest.mark.slow
def test_learning_tracks_better_than_the_nominal_model(capsys: pytest.CaptureFixture[str]) -> None:
    main(steps=120, features=50)
    lines = capsys.readouterr().out.splitlines()
    _, nominal, least_squares, gradient = (float(re.findall(r"error +([\d.]+)", line)[0]) for line in lines)
    assert least_squares < 0.1 * nominal
    assert gradient < 0.5 * nominal
