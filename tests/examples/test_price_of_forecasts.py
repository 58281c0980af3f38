"""The example of the heat pump under forecasts."""

from __future__ import annotations

import pytest

from examples.price_of_forecasts import HORIZONS, main


def test_a_longer_look_ahead_is_never_dearer(capsys: pytest.CaptureFixture[str]) -> None:
    main(steps=30, runs=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(HORIZONS)
    costs = [float(line.split("ahead:")[1].split("EUR")[0]) for line in lines]
    assert costs[0] > costs[-1]
