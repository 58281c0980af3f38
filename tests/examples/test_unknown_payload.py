"""The example of the unknown payload."""

from __future__ import annotations

import pytest

from examples.unknown_payload import TRUE, main


@pytest.mark.slow
def test_the_mass_is_recovered_and_the_pendulum_balanced(capsys: pytest.CaptureFixture[str]) -> None:
    comparison, controller = main(starts=3)
    assert controller.parameters[0] == pytest.approx(TRUE, rel=0.02)
    nominal, adaptive = (comparison.metrics[name] for name in ("nominal", "adaptive"))
    assert adaptive.settled.k == 3 > nominal.settled.k
    assert adaptive.cost.value < 0.5 * nominal.cost.value
    text = capsys.readouterr().out
    assert "FAILED" not in text
    assert "takes the estimates of mass for exact" in " ".join(text.split())
