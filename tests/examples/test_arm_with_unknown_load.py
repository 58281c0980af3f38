"""The example of the arm that lifts an unknown load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.arm_with_unknown_load import main


@pytest.mark.slow
def test_with_the_context_the_arm_ends_nearer_to_its_goal(tmp_path: Path) -> None:
    result, fit = main(12, 3, 25, str(tmp_path / "figure.png"))
    errors = {name: np.abs(runs.states[:, -1, :2] - [2.0, 0.5]).max() for name, runs in result.runs.items()}
    assert errors["learned, with context"] < errors["learned, without"]
    assert fit.contexts.shape == (12, 1)
    assert (tmp_path / "figure.png").stat().st_size > 10_000
