"""References as harmonic parameters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ctrl.controller import Status
from mpc import HarmonicMPC
from mpc.harmonic.target import FittedTarget, SinusoidTarget, SteadyTarget, fit_matrix
from systems import InvalidValue, SetPoint, Sinusoid, Task, Trajectory, exact
from tests.mpc.harmonic_problems import axis, masses


def sinusoidal(frequency: float) -> Task:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=size) for size in (6, 6, 6, 2, 2, 2)]
    return dataclasses.replace(masses(), reference=Sinusoid(frequency, *parts))


def value(parts: np.ndarray, frequency: float, j: int, horizon: int) -> np.ndarray:
    phase = frequency * (j - horizon)
    return np.array([1.0, np.sin(phase), np.cos(phase)]) @ parts


@pytest.mark.parametrize("k", [0, 3, 1000])
def test_a_sinusoid_is_turned_to_the_end_of_the_horizon(k: int) -> None:
    task = sinusoidal(0.4)
    parts = SinusoidTarget(task, horizon=7).parameters(k)
    for j in (0, 1, 7, 20):
        expected = np.concatenate(task.reference.at(task.plant, k + j))
        np.testing.assert_allclose(value(parts, 0.4, j, 7), expected, atol=1e-9)


@pytest.mark.parametrize("k", [0, 5])
def test_the_local_fit_of_a_sinusoid_of_its_frequency_is_exact(k: int) -> None:
    task = sinusoidal(0.4)
    found = FittedTarget(task, 7, 0.4, 30).parameters(k)
    np.testing.assert_allclose(found, SinusoidTarget(task, 7).parameters(k), atol=1e-9)


def test_the_local_fit_of_a_set_point_is_steady() -> None:
    task = masses()
    found = FittedTarget(task, 10, 0.5, 30).parameters(4)
    np.testing.assert_allclose(found, SteadyTarget(task, 3).parameters(4), atol=1e-12)


def test_near_samples_count_most() -> None:
    j = np.arange(41)
    jump = np.where(j < 25, 0.0, 1.0)
    parts = fit_matrix(10, 0.3, 40) @ jump[:, None]
    near = [abs(value(parts, 0.3, i, 10)[0] - jump[i]) for i in range(5)]
    far = [abs(value(parts, 0.3, i, 10)[0] - jump[i]) for i in range(25, 30)]
    assert max(near) < 0.5 * max(far)


def test_a_window_that_determines_nothing_is_refused() -> None:
    with pytest.raises(InvalidValue, match="window"):
        fit_matrix(10, 0.0, 40)
    with pytest.raises(InvalidValue, match="window"):
        fit_matrix(10, 0.3, 1)


def test_the_reference_of_a_steady_one_is_held_at_the_end() -> None:
    task = dataclasses.replace(masses(), reference=Trajectory(np.arange(30.0).reshape(5, 6)), steps=4)
    target = SteadyTarget(task, 1)
    np.testing.assert_allclose(target.parameters(2)[0, :6], np.arange(12.0, 18.0))
    np.testing.assert_allclose(target.parameters(99), target.parameters(4))


def test_the_reference_of_a_steady_one_goes_on_beyond_the_run() -> None:
    """As it does for every other controller: a list to its own end, a sinusoid for ever."""
    listed = dataclasses.replace(masses(), reference=Trajectory(np.arange(60.0).reshape(10, 6)), steps=4)
    for task in (listed, dataclasses.replace(sinusoidal(0.4), steps=4)):
        for k in (0, 4, 5, 7, 9, 50, -2):
            expected = np.concatenate(task.reference.at(task.plant, k))
            np.testing.assert_array_equal(SteadyTarget(task, 3).parameters(k), [expected, 0 * expected, 0 * expected])


@pytest.mark.slow
def test_a_trajectory_is_followed_through_harmonic_fits() -> None:
    # Two sinusoids at once, neither of the controller's frequency, small enough to be admissible.
    task = axis(0.0)
    plant = exact(task.plant, task.dt)
    k = np.arange(300)
    x, u = np.zeros((300, 4), dtype=complex), np.zeros((300, 1), dtype=complex)
    for w, amplitude in ((0.15, 0.3), (0.25, 0.1)):
        response = np.linalg.solve(np.exp(1j * w) * np.eye(4) - plant.A, plant.B[:, 0])
        phasor = amplitude / response[0] * np.exp(1j * w * k)
        x, u = x + phasor[:, None] * response, u + phasor[:, None]
    moving = dataclasses.replace(task, reference=Trajectory(x.imag, u.imag))
    controller = HarmonicMPC(moving, horizon=8, frequency=0.2)
    steady = HarmonicMPC(dataclasses.replace(task, reference=SetPoint()), horizon=8, frequency=0.2)
    errors = {}
    for name, candidate in {"fit": controller, "steady": steady}.items():
        state, worst = np.zeros(4), []
        for i in range(200):
            if name == "steady":
                candidate.follow(SetPoint(x.imag[i], u.imag[i]))
            decision = candidate.step(state, i)
            assert decision.status is Status.SOLVED
            worst.append(abs(state[0] - x.imag[i, 0]))
            state = plant.A @ state + plant.B @ decision.input
        errors[name] = max(worst[100:])
    assert errors["fit"] < 0.02
    assert errors["fit"] < 0.2 * errors["steady"]


def test_the_frequency_of_a_sinusoid_is_taken_over() -> None:
    assert HarmonicMPC(sinusoidal(0.37), 10).frequency == 0.37
