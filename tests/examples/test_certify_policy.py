"""The example of a learned policy on the cart-pole: trained once, and nothing claimed of one that has not learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctrl.controller import NotApplicable
from examples.certify_policy import Options, learned, policy_on_cartpole
from systems.library import cartpole


def test_what_has_not_learned_is_refused_and_trained_only_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(hidden=(4, 4), updates=4, seconds=5.0, policies=tmp_path)
    with pytest.raises(NotApplicable, match="closed loop"):
        policy_on_cartpole(options)
    assert "training: DSAC-T on cartpole, 4x4" in capsys.readouterr().out
    (file,) = tmp_path.iterdir()
    law = learned(cartpole(), (4, 4), 0, 4, tmp_path)
    assert [W.shape for W in law.weights] == [(4, 4), (4, 4), (1, 4), (1, 1)]
    assert np.abs(law(np.zeros((1, 4)))).max() <= 10.0
    assert "training" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [file]
