"""One task, three back-ends."""

from __future__ import annotations

import pytest

from examples.backends import Options, main


def test_all_back_ends_cost_the_same() -> None:
    pytest.importorskip("do_mpc")
    costs = main(Options(steps=12, horizon=15))
    assert {"sqp", "do-mpc", "do-mpc alone"} <= set(costs)
    assert costs["do-mpc"] == pytest.approx(costs["sqp"], rel=1e-5)
    if "acados" in costs:
        assert costs["acados"] == pytest.approx(costs["sqp"], rel=1e-4)
