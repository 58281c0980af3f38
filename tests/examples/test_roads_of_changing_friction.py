"""The example of roads of changing friction."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.roads_of_changing_friction import Options, main


@pytest.mark.slow
def test_the_planner_stays_in_the_lane_with_every_entry_proved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(Options(out=tmp_path / "road.png"))
    lines = capsys.readouterr().out.splitlines()
    (planned,) = (line for line in lines if line.startswith("planner:"))
    (posted,) = (line for line in lines if line.startswith("posted speeds:"))
    assert planned == "planner: stays in the lane; region proved at entry: [True, True, True, True, True]"
    assert "False" in posted  # the snow is entered too fast for its region
    assert (tmp_path / "road.png").stat().st_size > 10_000
