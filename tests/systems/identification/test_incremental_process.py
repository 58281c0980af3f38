"""A Gaussian process that is updated point by point: against one that is fitted anew, and as a plant."""

from __future__ import annotations

import copy
import pickle

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from scipy.spatial.distance import cdist

from systems import DimensionMismatch, Discretisation, InvalidValue, LinearPlant, UnknownName, angle, signals
from systems.identification import Kernel
from systems.identification.online import IncrementalProcess, ProcessResidual
from systems.library import CartPole, PlanarQuadrotor

KERNEL = Kernel(np.array([0.6, 3.0]), 1.4, 0.05)


def covariance(kernel: Kernel, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return kernel.signal**2 * np.exp(-0.5 * cdist(a / kernel.lengths, b / kernel.lengths, "sqeuclidean"))


def refitted(process: IncrementalProcess, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factor, mean and deviation from the points alone, by scipy."""
    z, kernel = process.points, process.kernel
    whole = covariance(kernel, z, z) + kernel.noise**2 * np.eye(len(z))
    cross, factor = covariance(kernel, z, at), linalg.cho_factor(whole, lower=True)
    variance = kernel.signal**2 - np.einsum("ij,ij->j", cross, linalg.cho_solve(factor, cross))
    mean = cross.T @ linalg.cho_solve(factor, process.values)
    return np.linalg.cholesky(whole), mean, np.sqrt(np.maximum(variance, 0.0))


def filled(count: int, capacity: int = 25, seed: int = 0) -> tuple[IncrementalProcess, np.ndarray]:
    process, rng = IncrementalProcess(KERNEL, outputs=2, capacity=capacity), np.random.default_rng(seed)
    z = rng.uniform(-2.0, 2.0, (count, 2)) * [1.0, 4.0]
    for at in z:
        assert process.update(at, np.array([np.sin(2.0 * at[0]), 0.2 * at[1]]) + 0.05 * rng.standard_normal(2))
    return process, z


@pytest.mark.parametrize("count", [1, 25, 26, 500])
def test_updates_equal_a_fit_from_scratch(count: int) -> None:
    process, _ = filled(count)
    assert process.count == min(count, 25)
    at = np.random.default_rng(1).uniform(-3.0, 3.0, (20, 2))
    root, mean, deviation = refitted(process, at)
    np.testing.assert_allclose(process.root, root, atol=1e-10)
    np.testing.assert_allclose(process.predict(at)[0], mean, atol=1e-10)
    np.testing.assert_allclose(process.predict(at)[1], deviation, atol=1e-10)
    symbol = ca.SX.sym("z", 2)
    f = ca.Function("f", [symbol], [process.mean(symbol), process.deviation(symbol)])
    for i in range(20):
        values = [np.array(value).ravel() for value in f(at[i])]
        np.testing.assert_allclose(values[0], mean[i], atol=1e-8)
        np.testing.assert_allclose(values[1], deviation[i], atol=1e-8)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=40), st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_any_sequence_of_points_even_repeated_ones(given: list[tuple[int, int]], capacity: int) -> None:
    process = IncrementalProcess(KERNEL, capacity=capacity)
    for at in given:
        process.update(0.4 * np.array(at), np.array([float(sum(at))]))
    here = np.array([[0.1, -0.2], [2.0, 2.0]])
    root, mean, deviation = refitted(process, here)
    np.testing.assert_allclose(process.root, root, atol=1e-10)
    np.testing.assert_allclose(process.predict(here)[0], mean, atol=1e-8)
    np.testing.assert_allclose(process.predict(here)[1], deviation, atol=1e-8)
    np.testing.assert_array_equal(process.points[-1], 0.4 * np.array(given[-1]))  # the newest is never dropped
    assert process.count == min(len(given), capacity)


def test_the_point_that_the_others_predict_best_is_dropped() -> None:
    """One of the cluster goes, its oldest; and where points are added again and again, they replace each other."""
    process = IncrementalProcess(Kernel(np.array([1.0]), 1.0, 0.1), capacity=5)
    for at in (-9.0, 0.01, 0.0, 9.0, -0.01, 5.0):
        process.update(np.array([at]), np.array([at]))
    assert process.points[:, 0].tolist() == [-9.0, 0.0, 9.0, -0.01, 5.0]
    for k in range(20):
        process.update(np.array([5.0]), np.array([float(k)]))
    assert {-9.0, 9.0} < set(process.points[:, 0].tolist())
    # The variance given the others, directly.
    process, _ = filled(25)
    process.update(np.array([0.0, 0.0]), np.zeros(2))
    last, _ = filled(25)
    z = np.concatenate([last.points, [[0.0, 0.0]]])
    variances = []
    for i in range(25):
        rest = np.delete(z, i, axis=0)
        cross = covariance(KERNEL, rest, z[i : i + 1])
        own = covariance(KERNEL, rest, rest) + KERNEL.noise**2 * np.eye(25)
        variances.append(KERNEL.signal**2 + KERNEL.noise**2 - float(cross[:, 0] @ np.linalg.solve(own, cross)[:, 0]))
    gone = next(i for i in range(25) if not (np.abs(process.points - z[i]).sum(axis=1) == 0.0).any())
    assert gone == next(i for i in range(25) if variances[i] <= 1.1 * min(variances))


def test_it_follows_a_function_that_changes() -> None:
    process = IncrementalProcess(Kernel(np.array([1.0]), 1.0, 0.1), capacity=10)
    for level in (1.0, -1.0):
        for z in np.tile(np.linspace(-1.0, 1.0, 21), 3):
            process.update(np.array([z]), np.array([level]))
        assert process.predict(np.array([[0.0], [0.8]]))[0] == pytest.approx(level, abs=0.05)


def test_before_any_sample_it_is_the_prior() -> None:
    process, symbol = IncrementalProcess(KERNEL, 2), ca.SX.sym("z", 2)
    mean, deviation = process.predict(np.zeros((3, 2)))
    assert (mean.shape, mean.any(), deviation.tolist()) == ((3, 2), False, [1.4] * 3)
    assert process.mean(symbol).shape == (2, 1)
    assert float(process.deviation(symbol)) == 1.4


def test_bad_samples_are_omitted_and_reported() -> None:
    process, _ = filled(10)
    before = process.predict(np.zeros((1, 2)))
    for z, y in (([np.nan, 0.0], [0.0, 0.0]), ([0.0, 0.0], [np.inf, 0.0])):
        assert not process.update(np.array(z), np.array(y))
    for value, kept in zip(process.predict(np.zeros((1, 2))), before, strict=True):
        np.testing.assert_array_equal(value, kept)
    assert process.remarks == ("2 samples were not finite and were left out",)
    still = IncrementalProcess(KERNEL)
    for at in (0.0, 1.0):
        still.update(np.array([at, 2.0]), np.zeros(1))
    assert still.remarks == ("feature 1 is the same at all points, so nothing is known of its effect",)
    with pytest.raises(DimensionMismatch, match="z has shape"):
        process.update(np.zeros(3), np.zeros(2))
    with pytest.raises(DimensionMismatch, match="y has shape"):
        process.update(np.zeros(2), np.zeros(3))


def test_it_goes_on_elsewhere_to_the_bit() -> None:
    process, _ = filled(40)
    for other in (pickle.loads(pickle.dumps(process)), copy.deepcopy(process)):
        here = copy.deepcopy(process)
        for p in (here, other):
            p.update(np.array([0.3, 0.4]), np.ones(2))
        np.testing.assert_array_equal(here.root, other.root)
        np.testing.assert_array_equal(here.predict(np.ones((1, 2)))[0], other.predict(np.ones((1, 2)))[0])


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (Kernel(np.array([0.0]), 1.0, 0.1), "positive length"),
        (Kernel(np.array([1.0]), -1.0, 0.1), "signal of the kernel"),
        (Kernel(np.array([1.0]), 1.0, 1e-6), "at least 1e-4 times the signal"),
    ],
)
def test_kernels_without_a_process_are_refused(kernel: Kernel, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        IncrementalProcess(kernel)
    with pytest.raises(InvalidValue, match="capacity"):
        IncrementalProcess(KERNEL, capacity=0)


RESIDUAL = ProcessResidual({"x": 1.0, "z": 1.0}, {"x_rate": 2.0, "z_rate": 1.0}, capacity=30)


def test_nominal_plus_residual_is_a_plant_with_its_deviation_as_disturbance() -> None:
    nominal, process = PlanarQuadrotor(), RESIDUAL.start()
    for k in range(50):
        at = np.array([0.1 * k - 2.0, np.sin(k)])
        process.update(at, np.array([0.3 * at[0], -0.5]))
    plant = RESIDUAL.plant(nominal, process)
    assert plant.disturbance.names == ("wind", "x_rate_residual", "z_rate_residual")
    x, u = np.array([0.5, 0.1, 0.2, 0.3, -0.2, 0.1]), np.array([2.0, 2.5])
    before = np.array(nominal.casadi()(x, u, [0.1], []))[:, 0]
    mean, deviation = process.predict(x[None, :2])
    for w in ([0.0, 0.0], [1.0, -2.0]):
        after = np.array(plant.casadi()(x, u, [0.1, *w], []))[:, 0]
        added = np.array([2.0, 1.0]) * (mean[0] + deviation[0] * np.array(w))
        np.testing.assert_allclose(after - before, [0.0, 0.0, 0.0, *added, 0.0], atol=1e-12)
    np.testing.assert_array_equal(RESIDUAL.disturbance(nominal).covariance(plant.disturbance), np.diag([0.0, 1.0, 1.0]))
    assert RESIDUAL.band(nominal, 3.0).support(plant.disturbance)[1].tolist() == [0.0, 3.0, 3.0]
    given = RESIDUAL.disturbed(nominal)
    after = np.array(given.casadi()(x, u, [0.1, 0.7, -0.4], []))[:, 0]
    np.testing.assert_allclose(after - before, [0.0, 0.0, 0.0, 0.7, -0.4, 0.0], atol=1e-12)
    np.testing.assert_array_equal(given.bounds, nominal.bounds)
    assert Discretisation(plant, 0.02).function()(x, u, [0.0] * 3, []).shape == (6, 1)


def test_wrong_residuals_are_refused() -> None:
    with pytest.raises(UnknownName, match="height"):
        ProcessResidual({"height": 1.0}, {"x_rate": 1.0}).features(PlanarQuadrotor())
    with pytest.raises(UnknownName, match="speed"):
        ProcessResidual({"x": 1.0}, {"speed": 1.0}).disturbed(PlanarQuadrotor())
    with pytest.raises(InvalidValue, match="lengths"):
        ProcessResidual({}, {"x_rate": 1.0})
    with pytest.raises(InvalidValue, match="sizes: x_rate"):
        ProcessResidual({"x": 1.0}, {"x_rate": 0.0})
    with pytest.raises(InvalidValue, match="process"):
        RESIDUAL.plant(PlanarQuadrotor(), None)  # type: ignore[arg-type]
    assert ProcessResidual({"force": 1.0}, {"rate": 1.0}).features(CartPole())(np.zeros(4), 3.0) == 3.0
    turning = LinearPlant(np.zeros((1, 1)), np.ones((1, 1)), state=signals(angle("heading [rad]")))
    with pytest.raises(InvalidValue, match="heading is periodic"):
        ProcessResidual({"heading": 1.0}, {"heading": 1.0}).features(turning)
