"""Harmonic, tracking and equality MPC against tables computed independently with CVXPY and Clarabel, and against the
optima stored in the tests of the Spcies toolbox (Krupa, Limon & Alamo)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ctrl.controller import Controller, Status
from mpc import EqualityMPC, HarmonicMPC, TrackingMPC
from mpc.feasible import HasFeasibleSet, plot_sections
from mpc.harmonic.artificial_reference_mpc import ArtificialReferenceMPC, ConeBackEnd
from systems import Sinusoid, exact
from tests.mpc.harmonic_problems import (
    AXIS_FREQUENCY,
    START,
    axis,
    axis_controller,
    axis_tracking,
    masses,
    masses_controller,
)

SOLVERS: list[ConeBackEnd] = ["interior-point", "admm", "clarabel"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_oscillating_masses(solver: ConeBackEnd) -> None:
    controller = masses_controller(solver)
    decision = controller.step(START, 0)
    found = controller.prediction
    assert decision.status is Status.SOLVED
    assert controller.cost == pytest.approx(9.39594940, abs=1e-8)
    np.testing.assert_allclose(decision.input, 0.8, atol=1e-7)
    np.testing.assert_allclose(found.u[1], 0.58251565, atol=1e-8)
    np.testing.assert_allclose(found.mean[:3], 0.24020672, atol=1e-8)
    np.testing.assert_allclose(found.mean[6:], 0.48041343, atol=1e-8)
    np.testing.assert_allclose(found.x[1][:3], [0.0389466, 0.0243981, 0.0389466], atol=1e-7)


def test_oscillating_masses_as_stored_by_the_toolbox() -> None:
    # The toolbox's stored optimum charges the state from the first predicted sample on.
    controller = masses_controller("clarabel")
    program = controller.program
    S, T = program.S.copy(), program.T.copy()
    first = np.abs(S[:, program.state_at[0]]).max(axis=1) > 0
    S[first] = 0.0
    changed = dataclasses.replace(program, S=S, T=T)
    from mpc.solvers.harmonic.solver import CompiledSolver

    solver = CompiledSolver(changed, masses().input_bounds)
    parameter = np.concatenate([START, controller.target.parameters(0).ravel()])
    assert solver.solve(parameter, 0) is Status.SOLVED
    z = solver.point()
    assert changed.cost(z, parameter) == pytest.approx(7.21013678, abs=1e-8)
    np.testing.assert_allclose(z[program.input_at[0]], 0.8, atol=1e-7)
    np.testing.assert_allclose(z[program.input_at[1]], 0.590921, atol=1e-6)
    np.testing.assert_allclose(z[program.mean_at][:3], 0.242305, atol=1e-6)
    # Agreement with the stored numbers themselves, as close as the toolbox's own tolerance.
    np.testing.assert_allclose(z[program.input_at[1]], 0.590884, atol=6.5e-5)
    np.testing.assert_allclose(z[program.mean_at][6:], 0.484610, atol=6.5e-5)
    np.testing.assert_allclose(z[program.sine_at][6:], 0.0114852, atol=6.5e-5)
    np.testing.assert_allclose(z[program.cosine_at][6:], -0.0352419, atol=6.5e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_oscillating_masses_tracking(solver: ConeBackEnd) -> None:
    controller = TrackingMPC(masses(), 10, T=[150.0, 150.0, 150.0, 10.0, 10.0, 10.0], solver=solver)
    decision = controller.step(START, 0)
    found = controller.prediction
    assert controller.cost == pytest.approx(6.72412006, abs=1e-8)
    np.testing.assert_allclose(decision.input, 0.8, atol=1e-7)
    np.testing.assert_allclose(found.u[1], 0.12101178, atol=1e-8)
    np.testing.assert_allclose(found.mean[:3], 0.1817045, atol=1e-7)
    np.testing.assert_allclose(found.mean[6:], 0.363409, atol=1e-6)


def area(controller: HasFeasibleSet) -> float:
    return controller.feasible_set().section(("v1", "tilt_1"), directions=24).area


def test_feasible_sets_of_the_ball_and_plate() -> None:
    task = axis(0.0)
    table = {
        5: (0.00073, 0.01507, 0.23084),
        10: (0.02900, 0.17730, 0.23715),
    }
    for horizon, expected in table.items():
        controllers = (EqualityMPC(task, horizon), axis_tracking(task, horizon), axis_controller(task, horizon))
        np.testing.assert_allclose([area(c) for c in controllers], expected, atol=6e-6)


@pytest.mark.parametrize(("frequency", "expected"), [(0.0, 0.01507), (0.2, 0.20305), (AXIS_FREQUENCY, 0.23084)])
def test_feasible_set_over_the_frequency(frequency: float, expected: float) -> None:
    assert area(axis_controller(axis(0.0), 5, frequency)) == pytest.approx(expected, abs=6e-6)


def test_sections_can_be_drawn_over_each_other() -> None:
    task = axis(0.0)
    sections = {
        name: controller.feasible_set().section(("v1", "tilt_1"))
        for name, controller in {"tracking": axis_tracking(task), "harmonic": axis_controller(task)}.items()
    }
    axes = plot_sections(sections).axes[0]
    assert "0.2308" in axes.get_legend().get_texts()[1].get_text()


def closed_loop(controller: ArtificialReferenceMPC, steps: int) -> tuple[float, np.ndarray]:
    """Sum of |x - x_r|_Q^2 + |u|_R^2 and the states (steps + 1, n), every sample being solved."""
    task = controller.task
    plant = exact(task.plant, task.dt)
    Q, R, _ = task.cost.matrices(task.plant)  # type: ignore[attr-defined]
    x, states, total = np.zeros(4), [np.zeros(4)], 0.0
    for k in range(steps):
        decision = controller.step(x, k)
        assert decision.status is Status.SOLVED
        x_ref, _ = task.reference.at(task.plant, k)
        total += (x - x_ref) @ Q @ (x - x_ref) + decision.input @ R @ decision.input
        x = plant.A @ x + plant.B @ decision.input
        states.append(x)
    return float(total), np.array(states)


@pytest.mark.parametrize(
    ("kind", "horizon", "frequency", "cost", "final", "fastest"),
    [
        ("harmonic", 5, AXIS_FREQUENCY, 368.163, 1.79879, 0.478),
        ("harmonic", 5, 0.2, 555.16, None, None),
        ("tracking", 5, 0.0, 1479.880, 0.509, 0.045),
        ("tracking", 10, 0.0, 392.275, 1.80000, 0.500),
    ],
)
def test_closed_loop_of_the_ball_and_plate(
    kind: str, horizon: int, frequency: float, cost: float, final: float | None, fastest: float | None
) -> None:
    task = axis()
    controller = axis_controller(task, horizon, frequency) if kind == "harmonic" else axis_tracking(task, horizon)
    total, states = closed_loop(controller, 60)
    assert total == pytest.approx(cost, abs=6e-3 if cost == 555.16 else 6e-4)
    if final is not None:
        assert states[-1, 0] == pytest.approx(final, abs=6e-4 if final == 0.509 else 6e-6)
        assert states[:, 1].max() == pytest.approx(fastest, abs=6e-4)


@pytest.mark.parametrize("horizon", [15, 25])
def test_equality_mpc_cannot_reach_the_target(horizon: int) -> None:
    assert EqualityMPC(axis(), horizon).step(np.zeros(4), 0).status is Status.TERMINAL_SET_UNREACHABLE


def sinusoid(amplitude: float) -> Sinusoid:
    """p = amplitude sin(w k) with the other signals that follow from it on the sampled plant."""
    task = axis()
    plant = exact(task.plant, task.dt)
    w = AXIS_FREQUENCY
    response = np.linalg.solve(np.exp(1j * w) * np.eye(4) - plant.A, plant.B[:, 0])
    u = amplitude / response[0]  # phasors of Im(phasor exp(jwk))
    x = response * u
    return Sinusoid(w, x_sine=x.real, x_cosine=x.imag, u_sine=[u.real], u_cosine=[u.imag])


def test_reference_amplitudes_of_the_sinusoid() -> None:
    for amplitude, expected in ((0.25, (0.40676, 0.09444, 0.25111)), (0.60, (0.97622, 0.22665, 0.60267))):
        r = sinusoid(amplitude)
        x = np.hypot(r.x_sine, r.x_cosine)
        np.testing.assert_allclose([x[1], x[2], np.hypot(r.u_sine[0], r.u_cosine[0])], expected, atol=6e-6)


def test_admissible_sinusoid_is_followed() -> None:
    task = dataclasses.replace(axis(), reference=sinusoid(0.25))
    _, states = closed_loop(axis_controller(task), 120)
    wanted = 0.25 * np.sin(AXIS_FREQUENCY * np.arange(121))
    assert np.abs(states[:, 0] - wanted)[101:].max() <= 4.6e-6


def test_inadmissible_sinusoid_is_replaced_by_the_nearest_one() -> None:
    task = dataclasses.replace(axis(), reference=sinusoid(0.60))
    controller = axis_controller(task)
    _, states = closed_loop(controller, 120)
    found = controller.prediction
    amplitude = np.hypot(found.sine, found.cosine)
    assert amplitude[1] == pytest.approx(0.4999, abs=1e-5)
    assert np.abs(states[-20:, 0]).max() == pytest.approx(0.3074, abs=6e-5)
    assert states[:, 1].max() <= 0.5 + 1e-7
    assert states[:, 1].max() == pytest.approx(0.5, abs=6e-5)


def test_they_are_controllers() -> None:
    for controller in (EqualityMPC(axis(0.0), 6), axis_tracking(axis()), axis_controller(axis())):
        assert isinstance(controller, Controller)
        assert isinstance(controller, HasFeasibleSet)
    assert isinstance(axis_controller(axis()), HarmonicMPC)
