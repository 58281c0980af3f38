"""The example of the measured pendulum."""

from __future__ import annotations

import pytest

from examples.measured_pendulum import ESTIMATORS, main


def test_every_estimator_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(starts=2)
    text = capsys.readouterr().out
    for name in ESTIMATORS:
        assert f"{name}: state from" in text
    assert "FAILED" not in text
    assert "skipped" not in text
    assert text.count(" 2/2 (") == len(ESTIMATORS) + 1  # all settle, and so does the regulator of the state
