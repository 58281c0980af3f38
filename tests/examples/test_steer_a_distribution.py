"""The example of the carts that arrive as one distribution."""

from __future__ import annotations

import re

import pytest

from examples.steer_a_distribution import main


@pytest.mark.slow
def test_limits_are_kept_where_they_are_planned_with(capsys: pytest.CaptureFixture[str]) -> None:
    main(runs=400)
    lines = capsys.readouterr().out.splitlines()
    costs = [float(cost) for line in lines for cost in re.findall(r"expected cost ([\d.]+)", line)]
    assert costs[0] < costs[1] < 1.2 * costs[0]
    lowest = [float(low) for line in lines for low in re.findall(r"worst: ([\d.]+)%", line)]
    assert len(lowest) == 4
    assert max(lowest[:2]) > 5.0  # significantly more than allowed
    assert max(lowest[2:]) < 5.0
