"""The hopper against its closed forms, against event location by scipy, and in its proved region."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ctrl.certify import largest_level
from ctrl.regulator import LQR
from systems.hybrid import End, HybridRun, simulate_hybrid
from systems.library.spring_hopper import GRAVITY, LENGTH, MASS, STIFFNESS, spring_hopper, vertical_hop

HOPPER = spring_hopper()


def hop(x: Any, inputs: Any, samples: int) -> HybridRun:
    """A run in flight from x, with inputs (swing, thrust) by mode."""
    return simulate_hybrid(HOPPER, "flight", np.array(x), lambda mode, x, k: np.array(inputs[mode]), samples, 0.02)


def next_apex(height: float, thrust: float) -> float:
    """Height of the apex after that at a height, with a constant thrust."""
    samples = int((np.sqrt(2 * (height - LENGTH) / GRAVITY) + 0.4) / 0.02)
    run = hop([0.0, height, 0.0, 0.0, 0.0], dict.fromkeys(passive(), (0.0, thrust)), samples)
    lift_off = run.switches[2].before
    return float(lift_off[1] + lift_off[3] ** 2 / (2 * GRAVITY))


def passive() -> dict[str, tuple[float, float]]:
    return dict.fromkeys(("flight", "compression", "extension"), (0.0, 0.0))


def test_hopping_on_the_spot_has_the_period_of_a_fall_and_a_spring() -> None:
    """Fall by sqrt(2 drop / g); then l0 - height = m g / k + A sin(w t - b) until it is 0 again."""
    drop = 0.3
    run = hop([0.0, LENGTH + drop, 0.0, 0.0, 0.0], passive(), 75)
    down, speed, rate = np.sqrt(2 * drop / GRAVITY), np.sqrt(2 * drop * GRAVITY), np.sqrt(STIFFNESS / MASS)
    sag = MASS * GRAVITY / STIFFNESS
    half = (np.pi / 2 + np.arctan(sag * rate / speed)) / rate
    times = [down, down + half, down + 2 * half, 3 * down + 2 * half, 3 * down + 3 * half, 3 * down + 4 * half]
    assert [s.target for s in run.switches[:3]] == ["compression", "extension", "flight"]
    np.testing.assert_allclose([s.time for s in run.switches[:6]], times, rtol=0, atol=1e-8)
    deepest = sag + np.hypot(sag, speed / rate)
    assert run.switches[1].before[1] == pytest.approx(LENGTH - deepest, abs=1e-8)
    assert run.end is End.FINISHED


def energy(mode: str, x: np.ndarray) -> float:
    spring = 0.0 if mode == "flight" else 0.5 * STIFFNESS * (LENGTH - np.hypot(x[0] - x[4], x[1])) ** 2
    return float(0.5 * MASS * (x[2] ** 2 + x[3] ** 2) + MASS * GRAVITY * x[1] + spring)


def test_without_thrust_the_energy_is_constant_in_the_plane() -> None:
    run = hop([0.0, 1.6, 1.0, 0.0, 0.05], passive(), 45)
    assert len(run.switches) >= 3
    energies = [energy(mode, x) for mode, x in zip(run.modes, run.states, strict=True)]
    np.testing.assert_allclose(energies, energies[0], rtol=1e-8)
    assert abs(run.states[-1][2] - 1.0) > 0.05  # the leg has changed the speed


def by_scipy(x: np.ndarray, inputs: dict[str, tuple[float, float]], phases: int) -> list[tuple[float, np.ndarray]]:
    """Instants and states before the first changes of mode, from equations in polar coordinates about the foot."""
    found, time, mode, foot = [], 0.0, "flight", 0.0
    state = np.array(x)
    for _ in range(phases):
        swing, thrust = inputs[mode]
        if mode == "flight":

            def flow(t: float, z: np.ndarray, swing: float = swing) -> Any:
                return [z[2], z[3], 0.0, -GRAVITY, swing]

            def event(t: float, z: np.ndarray) -> Any:
                return z[1] - LENGTH * np.cos(z[4])

            z0, direction = state, -1
        else:
            force = thrust if mode == "compression" else 0.0

            def flow(t: float, z: np.ndarray, force: float = force) -> Any:
                r, phi, rr, pp = z  # phi from the vertical, positive ahead of the foot
                radial = r * pp**2 - GRAVITY * np.cos(phi) + (STIFFNESS * (LENGTH - r) + force) / MASS
                return [rr, pp, radial, (GRAVITY * np.sin(phi) - 2 * rr * pp) / r]

            z0 = polar(state, foot)
            if mode == "compression":

                def event(t: float, z: np.ndarray) -> Any:
                    return z[2]
            else:

                def event(t: float, z: np.ndarray) -> Any:
                    return z[0] - LENGTH

            direction = 1
        event.terminal, event.direction = True, direction  # type: ignore[attr-defined]
        run = solve_ivp(flow, (0.0, 5.0), z0, events=event, rtol=1e-11, atol=1e-12, method="DOP853")
        time, end = time + run.t_events[0][0], run.y_events[0][0]
        state = end if mode == "flight" else cartesian(end, foot)
        found.append((time, state))
        if mode == "flight":
            foot, mode = state[0] + LENGTH * np.sin(state[4]), "compression"
        elif mode == "compression":
            mode = "extension"
        else:
            mode, state = "flight", np.array([*state[:4], -end[1]])
    return found


def polar(x: np.ndarray, foot: float) -> np.ndarray:
    phi = np.arctan2(x[0] - foot, x[1])
    out, along = np.array([np.sin(phi), np.cos(phi)]), np.array([np.cos(phi), -np.sin(phi)])
    r = np.hypot(x[0] - foot, x[1])
    return np.array([r, phi, x[2:4] @ out, x[2:4] @ along / r])


def cartesian(z: np.ndarray, foot: float) -> np.ndarray:
    r, phi, rr, pp = z
    out, along = np.array([np.sin(phi), np.cos(phi)]), np.array([np.cos(phi), -np.sin(phi)])
    return np.array([*(np.array([foot, 0.0]) + r * out), *(rr * out + r * pp * along), foot])


def test_changes_of_mode_in_the_plane_are_those_that_scipy_locates() -> None:
    inputs = {"flight": (0.1, 0.0), "compression": (0.0, -700.0), "extension": (0.0, 500.0)}
    start = np.array([0.2, 1.5, 0.8, 0.3, 0.02])
    run, oracle = hop(start, inputs, 45), by_scipy(start, inputs, 6)
    assert [s.source for s in run.switches[:3]] == ["flight", "compression", "extension"]
    # An input is held over a sample, so it changes up to 20 ms after the mode: only the first phase is the same.
    assert run.switches[0].time == pytest.approx(oracle[0][0], abs=1e-9)
    np.testing.assert_allclose(run.switches[0].before, oracle[0][1], rtol=0, atol=1e-8)
    same = dict.fromkeys(inputs, (0.03, -700.0))
    run, oracle = hop(start, same, 75), by_scipy(start, same, 6)
    assert len(run.switches) >= 6
    for switch, (time, state) in zip(run.switches[:6], oracle, strict=True):
        assert switch.time == pytest.approx(time, abs=1e-7)
        np.testing.assert_allclose(switch.before, state, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "thrust"), [(1.3, 0.0), (1.3, -2500.0), (2.5, 2000.0), (4.8, 3000.0)])
def test_the_map_from_apex_to_apex_is_that_of_the_simulation(height: float, thrust: float) -> None:
    mapped = vertical_hop().dynamics.lower("numpy")(np.array([height]), np.array([thrust]), np.zeros(0), np.zeros(0))
    assert mapped[0] == pytest.approx(next_apex(height, thrust), abs=1e-6)
    assert (mapped[0] < height) == (thrust > 0)


def test_from_the_proved_region_the_simulated_hopper_comes_to_its_height() -> None:
    """The thrust is chosen at each apex; what is proved of the map holds for the hybrid system hop by hop."""
    task = vertical_hop()
    law = LQR(task).law
    certificate = largest_level(task, law)
    assert certificate.is_proved
    low, high = (float(b[0]) for b in certificate.region.hull)
    assert 1.01 <= low < 1.05
    assert 4.95 < high <= 5.0
    for height in (low + 1e-6, high - 1e-6):
        apex = height
        for _ in range(3):
            thrust = float(law(np.array([apex]))[0])
            after = next_apex(apex, thrust)
            assert abs(after - 3.0) < abs(apex - 3.0) or abs(after - 3.0) < 1e-6
            apex = after
        assert apex == pytest.approx(3.0, abs=0.2)
