"""Equations from data."""

from __future__ import annotations

import pickle
from typing import Any

import casadi as ca
import numpy as np
import pytest

from systems import InvalidValue, LinearPlant, Plant, Quadratic, Task, Uniform, Vector
from systems.identification import Runs, fit_sparse, polynomials
from systems.identification.terms import named_terms
from systems.identification.weak_form import weak_form
from systems.library import pendulum
from systems.library.double_integrator import DoubleIntegrator
from systems.library.oscillating_masses import OscillatingMasses
from systems.library.van_der_pol import ReversedVanDerPol, VanDerPol
from tests.systems.identification.plants import simulated


def noisy(plant: Plant, relative: float, spread: float = 1.0, runs: int = 8, samples: int = 100) -> Runs:
    rng, dt = np.random.default_rng(3), 0.05
    starts = rng.uniform(-spread, spread, (runs, len(plant.state)))
    bound = np.where(np.isfinite(plant.bounds[1]), plant.bounds[1], 1.0)
    inputs = np.repeat(rng.uniform(-1.0, 1.0, (runs, samples // 10, len(plant.input))) * bound, 10, axis=1)
    clean = simulated(plant, dt, starts, inputs)
    return simulated(plant, dt, starts, inputs, measured=relative * np.concatenate(clean.states).std(axis=0))


def true_coefficients(plant: Plant, terms: Any) -> np.ndarray:
    """Coefficients of a polynomial plant, by interpolation."""
    names, function = named_terms(terms, plant.state, plant.input)
    rng, n, m = np.random.default_rng(0), len(plant.state), len(plant.input)
    x, u = rng.normal(size=(n, 10 * len(names))), rng.normal(size=(m, 10 * len(names)))
    values, ode = np.array(function(x, u)), np.array(plant.casadi()(x, u, np.zeros((len(plant.disturbance), 1)), []))
    return np.linalg.lstsq(values.T, ode.T, rcond=None)[0].T


@pytest.mark.parametrize(
    ("plant", "degree", "spread"),
    [(VanDerPol(), 3, 2.0), (ReversedVanDerPol(), 3, 1.0), (DoubleIntegrator(), 2, 1.0), (OscillatingMasses(), 1, 1.0)],
    ids=lambda value: type(value).__name__,
)
def test_polynomial_plants_of_the_library_are_recovered(plant: Plant, degree: int, spread: float) -> None:
    expected = true_coefficients(plant, polynomials(degree))
    fit = fit_sparse(noisy(plant, 0.02, spread), polynomials(degree), draws=20)
    np.testing.assert_array_equal(fit.coefficients != 0, np.abs(expected) > 1e-9, err_msg=str(fit))
    kept = fit.coefficients != 0
    errors = np.abs(fit.coefficients - expected)[kept] / fit.half_widths[kept]
    assert errors.max() < 2.0
    assert (errors <= 1.0).mean() >= 0.75
    assert fit.half_widths[kept].max() < 0.1


def test_equations_are_printed_and_read_like_a_hand_written_plant() -> None:
    runs = noisy(VanDerPol(), 0.01, 2.0)
    fit = fit_sparse(runs, polynomials(3), draws=5, input_limits=((-1.0, 1.0),))
    assert fit.equations[0].startswith(("x1' = 1 (+- ", "x1' = 1.00", "x1' = 0.99"))
    assert fit.equations[0].endswith(" x2")
    assert " x1^2 x2" in fit.equations[1]
    assert ") force" in fit.equations[1]
    assert "- 0.9" in fit.equations[1] or "- 1" in fit.equations[1]
    task = Task("learned", fit.plant, 0.1, 5, Quadratic([1.0, 1.0], [1.0]), Uniform([-1.0] * 2, [1.0] * 2))
    assert task == Task("learned", fit.plant, 0.1, 5, Quadratic([1.0, 1.0], [1.0]), Uniform([-1.0] * 2, [1.0] * 2))
    np.testing.assert_array_equal(task.input_bounds, ([-1.0], [1.0]))
    again = pickle.loads(pickle.dumps(fit.plant))
    value = np.array(again.casadi()([0.5, -0.3], [0.2], [], []))[:, 0]
    np.testing.assert_allclose(value, [-0.3, (1 - 0.25) * -0.3 - 0.5 + 0.2], atol=0.02)


def test_terms_of_one_s_own_find_the_pendulum() -> None:
    plant = pendulum().plant

    def terms(x: Vector, u: Vector) -> Any:
        return (x.angle, x.rate, x.rate**2, ca.sin(x.angle), ca.cos(x.angle), u.torque)

    fit = fit_sparse(noisy(plant, 0.01, 1.5), terms, draws=10)
    names = [name for name, value in zip(fit.terms, fit.coefficients[1], strict=True) if value]
    assert set(names) <= {"rate", "sin(angle)", "torque"}
    assert {"sin(angle)", "torque"} <= set(names)
    assert "rate^2" in fit.terms


def test_the_weak_form_integrates_by_parts() -> None:
    """x = sin(t): the integral of phi x' equals that of phi cos(t)."""
    t = 0.02 * np.arange(200)
    plant = LinearPlant([[0.0]], [[1.0]])
    runs = Runs((np.sin(t)[:, None],), (np.zeros((199, 1)),), 0.02, plant.state, plant.input)
    regressors, targets = weak_form(runs, lambda x, u: np.cos(t)[: len(x), None] if len(x) > 1 else x, 15, 7)
    assert len(targets) > 20
    # The rule is exact up to the fourth power of the samples per window, in which the test function is not smooth.
    np.testing.assert_allclose(regressors, targets, atol=5e-5)


def test_the_weak_form_takes_inputs_that_jump() -> None:
    """x' = u with inputs that are held: both sides agree to the second order of the samples per window."""
    u = np.repeat(np.random.default_rng(0).uniform(-1.0, 1.0, (20, 1)), 10, axis=0)
    x = 0.05 * np.concatenate([np.zeros((1, 1)), np.cumsum(u, axis=0)])
    plant = LinearPlant([[0.0]], [[1.0]])
    regressors, targets = weak_form(Runs((x,), (u,), 0.05, plant.state, plant.input), lambda x, u: u, 15, 7)
    np.testing.assert_allclose(regressors, targets, atol=1e-2)


def test_terms_that_the_likelihood_does_not_need_are_dropped() -> None:
    """Even where the threshold lets all of them through."""
    fit = fit_sparse(noisy(DoubleIntegrator(), 0.02), polynomials(1), threshold=0.0, draws=3)
    assert (fit.shares == 1.0).all()
    assert 2 <= (fit.coefficients != 0).sum() <= 3  # of eight; two are there, another with probability 0.3
    assert (np.abs(fit.coefficients) >= fit.half_widths).all()


def test_what_cannot_be_fitted_is_refused() -> None:
    runs = noisy(VanDerPol(), 0.02, runs=2, samples=40)
    with pytest.raises(InvalidValue, match="windows of 20 samples for 20 terms"):
        fit_sparse(runs, polynomials(3))
    with pytest.raises(InvalidValue, match=r"do not tell x1, two apart"):
        fit_sparse(runs, lambda x, u: {"x1": x.x1, "two": 2.0 * x.x1, "x2": x.x2})
    with pytest.raises(InvalidValue, match="returned x1 twice"):
        fit_sparse(runs, lambda x, u: (x.x1, x.x1))
    with pytest.raises(InvalidValue, match="not finite"):
        fit_sparse(runs, lambda x, u: (ca.log(x.x1), x.x2))
    with pytest.raises(InvalidValue, match="returned none"):
        fit_sparse(runs, lambda x, u: ())
