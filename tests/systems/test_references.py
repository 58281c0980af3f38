"""Where to be: set-points, sinusoids, trajectories."""

from __future__ import annotations

import numpy as np
import pytest

from systems import DimensionMismatch, InvalidValue, SetPoint, Sinusoid, Trajectory, UnknownName
from systems.library import DoubleIntegrator

PLANT = DoubleIntegrator()


def test_set_point() -> None:
    reference = SetPoint(x={"speed": 2.0}, u=[0.5])
    assert reference.is_constant
    x, u = reference.at(PLANT, np.arange(6).reshape(2, 3))
    assert x.shape == (2, 3, 2)
    assert u.shape == (2, 3, 1)
    assert (x == [0, 2]).all()
    assert (u == 0.5).all()
    x, u = SetPoint().at(PLANT, 7)
    np.testing.assert_array_equal(x, [0, 0])
    np.testing.assert_array_equal(u, [0])


def test_sinusoid() -> None:
    reference = Sinusoid(0.3, x_mean=[1, 2], x_sine={"position": 3}, x_cosine={"speed": 4}, u_sine=[5])
    assert not reference.is_constant
    k = np.arange(10)
    x, u = reference.at(PLANT, k)
    np.testing.assert_allclose(x[:, 0], 1 + 3 * np.sin(0.3 * k))
    np.testing.assert_allclose(x[:, 1], 2 + 4 * np.cos(0.3 * k))
    np.testing.assert_allclose(u[:, 0], 5 * np.sin(0.3 * k))
    np.testing.assert_allclose(reference.at(PLANT, 3)[0], x[3])


def test_trajectory_holds_its_ends() -> None:
    reference = Trajectory(np.arange(6.0).reshape(3, 2), np.array([[1.0], [2.0], [3.0]]))
    x, u = reference.at(PLANT, [-1, 0, 2, 5])
    np.testing.assert_array_equal(x, [[0, 1], [0, 1], [4, 5], [4, 5]])
    np.testing.assert_array_equal(u[:, 0], [1, 1, 3, 3])
    assert Trajectory(np.zeros((3, 2))).at(PLANT, 1)[1] == 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SetPoint(x={"x": 1}), UnknownName, "unknown signal 'x'; known: position, speed"),
        (lambda: SetPoint(x=[1, 2, 3]), DimensionMismatch, r"reference of the state: given an array of shape \(3,\)"),
        (lambda: SetPoint(u=[np.nan]), InvalidValue, "set-point u = .* contains NaN"),
        (lambda: Sinusoid(np.inf), InvalidValue, "frequency = inf; expected a finite number, in rad per sample"),
        (lambda: Sinusoid(0.1, x_sine=[1]), DimensionMismatch, "sinusoidal reference: given an array"),
        (
            lambda: Trajectory(np.zeros(3)),
            DimensionMismatch,
            r"trajectory x has shape \(3,\); expected \(samples, signals\)",
        ),
        (lambda: Trajectory(np.zeros((0, 2))), InvalidValue, "lists no sample; expected at least one"),
        (lambda: Trajectory(np.full((2, 2), np.nan)), InvalidValue, "trajectory x = .* contains NaN"),
        (lambda: Trajectory(np.zeros((3, 2)), np.zeros((2, 1))), DimensionMismatch, "3 samples of x, 2 of u"),
        (lambda: Trajectory(np.zeros((3, 4))), DimensionMismatch, "4 columns for 2 signals: position, speed"),
        (lambda: Trajectory(np.zeros((3, 2)), np.zeros((3, 2))), DimensionMismatch, "2 columns for 1 signals"),
    ],
)
def test_bad_references(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make().at(PLANT, 0)
