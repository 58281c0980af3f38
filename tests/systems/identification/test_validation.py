"""Reports of fits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from systems import DimensionMismatch, Discretisation, InvalidValue
from systems.identification import Runs, fit_linear, fit_parameters, fit_subspace, validate
from systems.identification.grey_box import ParameterFit
from tests.systems.identification.plants import simulated
from tests.systems.identification.test_grey_box import Decay
from tests.systems.identification.test_linear_fits import output_runs, state_runs


def decay(a: float, noise: str, seed: int = 0, deviation: float = 0.1) -> tuple[ParameterFit, Runs]:
    """A fit that says a, and runs of the plant with a = 0.8."""
    rng = np.random.default_rng(seed)
    inputs, kind = rng.standard_normal((12, 41, 1)), {"measurement": "measured", "process": "process"}[noise]
    data = simulated(Decay(a=0.8), 1.0, np.ones((12, 1)), inputs, **{kind: 0.1}, seed=seed)  # type: ignore[arg-type]
    sampling = Discretisation(Decay(a=a), 1.0)
    told: Any = noise
    return ParameterFit(sampling.plant, {}, np.zeros((0, 0)), told, np.array([deviation]), sampling, 0, ()), data


def test_errors_grow_as_the_plant_says() -> None:
    """With process noise of deviation s, k steps ahead of a true model: variance s^2 (1 + a^2 + ... + a^(2k - 2))."""
    report = validate(*decay(0.8, "process"), horizon=10)
    expected = 0.1 * np.sqrt(np.cumsum(0.64 ** np.arange(10)))
    np.testing.assert_allclose(report.errors[1:, 0], expected, rtol=0.2)
    assert report.errors[0, 0] == 0.0
    assert report.changes[-1, 0] > 5.0 * report.errors[-1, 0]


@pytest.mark.parametrize("noise", ["measurement", "process"])
def test_errors_of_a_true_model_are_white_and_of_a_wrong_one_are_not(noise: str) -> None:
    values = np.array([validate(*decay(0.8, noise, seed), horizon=13).whiteness[0] for seed in range(20)])
    assert (values < 0.05).sum() <= 4  # 1 expected; more than 4 with probability 0.003
    assert 0.25 < values.mean() < 0.75
    assert validate(*decay(0.6, noise), horizon=13).whiteness[0] < 1e-6


@pytest.mark.parametrize("noise", ["measurement", "process"])
def test_coverage_counts_errors_in_the_interval(noise: str) -> None:
    for deviation, expected in ((0.1, 0.95), (0.05, 0.673)):
        (rate,) = validate(*decay(0.8, noise, deviation=deviation), horizon=20).coverage
        assert rate.n == (492 if noise == "process" else 12 * 42)
        assert rate.value == pytest.approx(expected, abs=0.05)


def test_what_the_choice_of_a_start_takes_from_errors_is_allowed_for() -> None:
    """Of pieces of two samples, whose starts take half of the information."""
    (rate,) = validate(*decay(0.8, "measurement"), horizon=1).coverage
    assert rate.n == 12 * 42
    assert rate.value == pytest.approx(0.95, abs=0.03)


def test_fits_are_validated_and_drawn() -> None:
    train, held = state_runs(runs=8).split()
    fit = fit_linear(train)
    report = validate(fit, held)
    assert all(rate.interval[0] < 0.95 < rate.interval[1] for rate in report.coverage), str(report)
    assert (report.whiteness > 1e-3).all()
    assert "of 160 in the 95% interval" in str(report)
    x, u, after = held.transitions()
    direct = after - x @ fit.plant.A.T - u @ fit.plant.B.T - fit.plant.c
    one_step = validate(fit, held, horizon=1)
    np.testing.assert_allclose(one_step.errors[1], np.sqrt((direct**2).mean(axis=0)))
    figure = report.figure()
    assert len(figure.axes) == 6
    lines = figure.axes[0].get_lines()
    np.testing.assert_array_equal(lines[0].get_ydata(), held.states[0][:, 0])
    assert lines[2].get_ydata()[0] == held.states[0][20, 0]  # type: ignore[index]


def test_what_cannot_be_validated_is_refused() -> None:
    fit, data = decay(0.8, "process")
    with pytest.raises(InvalidValue, match="shorter horizon"):
        validate(fit, data, horizon=50)
    other = dataclasses.replace(data, times=0.5)
    with pytest.raises(DimensionMismatch, match="resample"):
        validate(fit, other)
    with pytest.raises(DimensionMismatch, match="the fit has x"):
        validate(fit, state_runs())
    with pytest.raises(InvalidValue, match="SubspaceFit has no"):
        validate(fit_subspace(output_runs(), 2, draws=20), output_runs())  # type: ignore[arg-type]
    assert validate(fit_parameters(Decay(), data, ("a",), "process"), data).coverage[0].value > 0.9
