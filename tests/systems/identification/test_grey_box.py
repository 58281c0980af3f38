"""Parameters of hand-written plants from data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from systems import DimensionMismatch, InvalidValue, Plant, UnknownName, Vector, parameter, signals
from systems.identification import fit_parameters
from systems.library import CartPole
from tests.systems.identification.plants import TRUE, RubbingCartPole, excited, simulated


@dataclass(frozen=True)
class Decay(Plant):
    """x+ = a x + b u."""

    a: float = 0.5
    b: float = parameter(1.0, above=0.0, most=1.8)
    c: float = 0.0
    dt: float = 1.0

    state = signals("x")
    input = signals("u")

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (self.a * x.x + (self.b + self.c) * u.u,)


def test_mass_and_friction_of_the_cart_pole_lie_in_their_intervals() -> None:
    runs = excited(TRUE, measured=np.array([0.005, 0.005, 0.02, 0.02]))
    fit = fit_parameters(RubbingCartPole(), runs, ("cart_mass", "friction"))
    for name in ("cart_mass", "friction"):
        estimate = fit.parameters[name]
        assert estimate.low < getattr(TRUE, name) < estimate.high, str(fit)
        assert estimate.half_width < 0.05
        assert getattr(fit.plant, name) == estimate.value
    np.testing.assert_allclose(fit.deviations, [0.005, 0.005, 0.02, 0.02], rtol=0.15)
    assert "cart_mass = 1." in str(fit)
    assert fit.remarks == ()


def test_data_without_noise_give_the_parameters_exactly() -> None:
    runs = excited(TRUE, runs=4, substeps=1)
    for noise in ("measurement", "process"):
        fit = fit_parameters(RubbingCartPole(), runs, ("cart_mass", "pole_mass", "half_length", "friction"), noise)
        for name, estimate in fit.parameters.items():
            assert estimate.value == pytest.approx(getattr(TRUE, name), rel=1e-6, abs=1e-6)


def linear_runs(process: float = 0.0, measured: float = 0.0, seed: int = 0, samples: int = 50) -> Any:
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((4, samples, 1))
    return simulated(Decay(a=0.8, b=1.5), 1.0, np.ones((4, 1)), inputs, measured, process, seed)


def test_process_noise_gives_the_closed_form_of_least_squares() -> None:
    runs = linear_runs(process=0.3)
    x, u, after = runs.transitions()
    regressors = np.hstack([x, u])
    expected, squares, _, _ = np.linalg.lstsq(regressors, after, rcond=None)
    freedom = len(x) - 2
    covariance = squares[0] / freedom * np.linalg.inv(regressors.T @ regressors)
    fit = fit_parameters(Decay(), runs, ("a", "b"), "process")
    assert [e.value for e in fit.parameters.values()] == pytest.approx(expected[:, 0], rel=1e-6)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-2)
    assert fit.deviations[0] == pytest.approx(np.sqrt(squares[0] / freedom), rel=1e-2)
    from scipy.stats import t

    half = t.ppf(0.975, freedom) * np.sqrt(np.diag(covariance))
    assert [e.half_width for e in fit.parameters.values()] == pytest.approx(half, rel=1e-2)


@pytest.mark.parametrize("noise", ["measurement", "process"])
def test_intervals_cover_as_often_as_they_say(noise: Any) -> None:
    inside = 0
    for seed in range(40):
        runs = linear_runs(**{"measured" if noise == "measurement" else "process": 0.2}, seed=seed, samples=30)
        estimate = fit_parameters(Decay(), runs, ("a", "b"), noise, horizon=9).parameters["a"]
        inside += estimate.low < 0.8 < estimate.high
    assert inside >= 34  # 38 expected; fewer than 34 with probability 0.003


def test_ranges_of_parameters_are_kept() -> None:
    runs = simulated(Decay(a=0.8, b=1.0, c=1.5), 1.0, np.ones((2, 1)), np.random.default_rng(0).normal(size=(2, 20, 1)))
    fit = fit_parameters(Decay(), runs, ("a", "b"))
    assert 1.7 < fit.plant.parameters["b"] <= 1.8
    assert any("b ended at 1.8" in remark for remark in fit.remarks)


def test_what_cannot_be_fitted_is_refused() -> None:
    runs = linear_runs(measured=0.1)
    with pytest.raises(InvalidValue, match="do not tell b and c apart"):
        fit_parameters(Decay(), runs, ("a", "b", "c"))
    still = simulated(Decay(), 1.0, np.ones((2, 1)), np.zeros((2, 30, 1)), measured=0.1)
    with pytest.raises(InvalidValue, match="b changes nothing that was measured"):
        fit_parameters(Decay(), still, ("a", "b"))
    with pytest.raises(UnknownName, match="drag"):
        fit_parameters(Decay(), runs, ("drag",))
    with pytest.raises(InvalidValue, match="no parameters"):
        fit_parameters(Decay(), runs, ())
    with pytest.raises(DimensionMismatch, match="CartPole has position"):
        fit_parameters(CartPole(), runs, ("cart_mass",))
    short = simulated(Decay(), 1.0, np.ones((1, 1)), np.ones((1, 1, 1)))
    with pytest.raises(InvalidValue, match="more samples"):
        fit_parameters(Decay(), short, ("a", "b"))
    with pytest.raises(InvalidValue, match="shorter horizon"):
        fit_parameters(replace(Decay(), a=1e200), runs, ("a",))
