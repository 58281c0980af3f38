"""Closed loops on the gallery's examples, beside do-mpc's own."""

from __future__ import annotations

import pytest

pytest.importorskip("do_mpc")

from benchmarks.gallery import EXAMPLES, measured


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CSTR", "oscillating masses", "batch bioreactor", "quadcopter"])
def test_closed_loops_cost_what_do_mpcs_cost(name: str) -> None:
    loops, ours = measured(EXAMPLES[name], 20)
    assert loops["converged"].cost == pytest.approx(loops["do-mpc"].cost, rel=5e-3)
    assert ours["converged"].unsolved == 0
    assert len(loops["do-mpc"].seconds) == 20
