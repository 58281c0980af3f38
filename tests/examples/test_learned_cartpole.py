"""The example of the cart-pole that is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.learned_cartpole import NOISE, NOMINAL, TRUE, main, recorded
from systems.identification import fit_parameters
from systems.library import cartpole


@pytest.mark.slow
def test_the_recorded_runs_tell_mass_and_friction() -> None:
    import dataclasses

    task = dataclasses.replace(cartpole(), plant=NOMINAL, truth=TRUE)
    fit = fit_parameters(NOMINAL, recorded(task, 6), ("cart_mass", "friction"))
    for name, estimate in fit.parameters.items():
        assert estimate.value == pytest.approx(getattr(TRUE, name), rel=0.01)
        assert abs(estimate.value - getattr(TRUE, name)) < 1.5 * estimate.half_width
    np.testing.assert_allclose(fit.deviations, NOISE, rtol=0.15)


@pytest.mark.slow
def test_with_fitted_models_mpc_costs_what_it_costs_with_the_true_one(tmp_path: Path) -> None:
    result, reports = main(4, str(tmp_path / "figure.png"))
    costs = {name: float(np.mean(runs.cost)) for name, runs in result.runs.items()}
    assert costs["fitted parameters"] == pytest.approx(costs["truth"], rel=0.01)
    assert costs["Gaussian process"] < 1.2 * costs["truth"]
    assert costs["data sheet"] > 1.2 * costs["truth"]
    assert (reports["fitted parameters"].whiteness > 1e-3).all()
    assert (tmp_path / "figure.png").stat().st_size > 10_000
