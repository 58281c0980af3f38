"""The example of a residual policy: no worse than its regulator, and proved as one law."""

from __future__ import annotations

import pytest

from examples.residual_policy import Options, main


@pytest.mark.parametrize(
    ("options", "gain"),
    [
        (Options(updates=1_000, hidden=(8, 8), starts=40), -0.02),
        pytest.param(Options(), 0.1, marks=pytest.mark.slow),
    ],
    ids=["short", "whole"],
)
def test_the_sum_costs_no_more_than_the_regulator_and_is_proved(options: Options, gain: float) -> None:
    costs, certificate = main(options)
    assert costs["with residual"] <= (1.0 - gain) * costs["regulator"]
    assert costs["LQR of the task"] < costs["regulator"]
    assert certificate.kind == "proved"
    assert certificate.volume > 0.1
