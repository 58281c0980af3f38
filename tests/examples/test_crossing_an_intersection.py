"""The example of the intersection."""

from __future__ import annotations

import pytest

from examples.crossing_an_intersection import main


@pytest.mark.slow
def test_who_ignores_the_others_collides(capsys: pytest.CaptureFixture[str]) -> None:
    main(steps=30, runs=3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["multi-modal MPC", "ignoring"]
    assert "0 of 3 runs" in lines[0]
    assert "0 of 3 runs" not in lines[1]
