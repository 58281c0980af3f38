"""The example of the quadrotor among pillars."""

from __future__ import annotations

import re

import pytest

from examples.quadrotor_among_pillars import main


@pytest.mark.slow
def test_every_controller_gets_past_the_pillars(capsys: pytest.CaptureFixture[str]) -> None:
    main(steps=60, runs=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["nonlinear MPC", "MPPI", "cross-entropy"]
    costs = [float(re.search(r"cost +([\d.]+)", line)[1]) for line in lines]  # type: ignore[index]
    assert all("0 of 1 runs" in line for line in lines)
    assert max(costs) < 1.5 * min(costs)
