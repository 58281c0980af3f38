"""Laws of physics that the plants must obey: equilibria, power balances, rotations."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from systems import Discretisation, Plant, Task
from systems.library import (
    BallAndPlate,
    CartPole,
    OscillatingMasses,
    Pendulum,
    PlanarQuadrotor,
    Quadrotor,
    QuadrotorInWind,
    VanDerPol,
)


def power_error(plant: Plant, energy, supplied) -> float:
    """Largest |dE/dt - supplied power| over random states, inputs and disturbances, relative to the energy's size."""
    f = plant.casadi()
    x, u, w = plant.state.symbol(), plant.input.symbol(), plant.disturbance.symbol()
    named = {s: v for group, column in ((plant.state, x), (plant.input, u), (plant.disturbance, w)) for s, v in
             zip(group.names, ca.vertsplit(column), strict=True)}  # fmt: skip
    e = energy(**{name: named[name] for name in plant.state.names})
    balance = ca.jtimes(e, x, f(x, u, w, [])) - supplied(named)
    g = ca.Function("balance", [x, u, w], [balance])
    rng = np.random.default_rng(0)
    draws = [rng.uniform(-1.5, 1.5, (200, len(s))) for s in (plant.state, plant.input, plant.disturbance)]
    return max(abs(float(g(*point))) for point in zip(*draws, strict=True))


# ---- rest, and references that the plant can follow ----


def test_a_set_point_is_an_equilibrium_and_a_trajectory_is_a_motion(task: Task) -> None:
    if task.plant.forecast is not None:
        pytest.skip("the signals known ahead move the plant: see tests/systems/test_known_ahead.py")
    k = np.arange(1 if task.reference.is_constant else task.steps)
    x, u = task.reference.at(task.plant, k)
    following, _ = task.reference.at(task.plant, k + 1)
    step = task.dynamics.function()
    for now, given, then in zip(x, u, following, strict=True):
        reached = step(now, given, np.zeros(len(task.plant.disturbance)), []).full()[:, 0]
        np.testing.assert_allclose(reached, then, atol=1e-9, rtol=1e-9)


def test_reference_inputs_respect_the_actuators(task: Task) -> None:
    _, u = task.reference.at(task.plant, np.arange(task.steps))
    lower, upper = task.input_bounds
    assert ((u >= lower) & (u <= upper)).all()


# ---- energy ----


def test_pendulum_power_balance() -> None:
    plant = Pendulum(damping=0.0)
    m, length, g = plant.mass, plant.length, plant.gravity
    error = power_error(
        plant,
        lambda angle, rate: 0.5 * m * length**2 * rate**2 + m * g * length * ca.cos(angle),
        lambda s: (s["torque"] + s["push"]) * s["rate"],
    )
    assert error < 1e-12


def test_cartpole_power_balance_of_cart_and_uniform_rod() -> None:
    plant = CartPole()
    m, half = plant.pole_mass, plant.half_length

    def energy(position, angle, velocity, rate):
        kinetic = 0.5 * (plant.cart_mass + m) * velocity**2 + m * half * velocity * rate * ca.cos(angle)
        return kinetic + 0.5 * (4.0 / 3.0) * m * half**2 * rate**2 + m * plant.gravity * half * ca.cos(angle)

    assert power_error(plant, energy, lambda s: (s["force"] + s["push"]) * s["velocity"]) < 1e-11


def test_planar_quadrotor_power_balance() -> None:
    plant = PlanarQuadrotor()

    def energy(x, z, angle, x_rate, z_rate, angle_rate):
        moving = 0.5 * plant.mass * (x_rate**2 + z_rate**2) + 0.5 * plant.inertia * angle_rate**2
        return moving + plant.mass * plant.gravity * z

    def supplied(s):
        along = -s["x_rate"] * ca.sin(s["angle"]) + s["z_rate"] * ca.cos(s["angle"])
        turning = plant.arm * (s["right"] - s["left"]) * s["angle_rate"]
        return (s["right"] + s["left"]) * along + turning + s["wind"] * s["x_rate"]

    assert power_error(plant, energy, supplied) < 1e-11


def test_quadrotor_power_balance_and_free_rotation() -> None:
    plant = Quadrotor()
    inertia = (plant.inertia_x, plant.inertia_y, plant.inertia_z)

    def energy(px, py, pz, qw, qx, qy, qz, vx, vy, vz, roll_rate, pitch_rate, yaw_rate):
        spin = sum(j * rate**2 for j, rate in zip(inertia, (roll_rate, pitch_rate, yaw_rate), strict=True))
        return 0.5 * plant.mass * (vx**2 + vy**2 + vz**2) + 0.5 * spin + plant.mass * plant.gravity * pz

    def supplied(s):
        # Each rotor at its place in the body: force along body z, reaction torque about it.
        d = plant.arm / 2**0.5
        places = {"front_left": (d, d, -1), "back_left": (-d, d, 1), "back_right": (-d, -d, -1),
                  "front_right": (d, -d, 1)}  # fmt: skip
        omega = ca.vertcat(s["roll_rate"], s["pitch_rate"], s["yaw_rate"])
        # Third column of the rotation matrix, as plain products so that it holds for the random quaternions drawn here.
        up = ca.vertcat(
            2 * (s["qx"] * s["qz"] + s["qw"] * s["qy"]),
            2 * (s["qy"] * s["qz"] - s["qw"] * s["qx"]),
            1 - 2 * (s["qx"] ** 2 + s["qy"] ** 2),
        )
        v = ca.vertcat(s["vx"], s["vy"], s["vz"])
        total = ca.dot(ca.vertcat(s["wind_x"], s["wind_y"], s["wind_z"]), v)
        for name, (px, py, turn) in places.items():
            torque = ca.cross(ca.vertcat(px, py, 0), ca.vertcat(0, 0, s[name]))
            torque += ca.vertcat(0, 0, turn * plant.drag_ratio * s[name])
            total += s[name] * ca.dot(up, v) + ca.dot(torque, omega)
        return total

    assert power_error(plant, energy, supplied) < 1e-11


def test_oscillating_masses_power_balance() -> None:
    plant = OscillatingMasses()

    def energy(p1, p2, p3, v1, v2, v3):
        springs = p1**2 + (p2 - p1) ** 2 + (p3 - p2) ** 2 + p3**2
        return 0.5 * (v1**2 + 0.5 * v2**2 + v3**2) + 0.5 * plant.stiffness * springs

    assert power_error(plant, energy, lambda s: s["force_1"] * s["v1"] + s["force_3"] * s["v3"]) < 1e-12


def test_van_der_pol_without_mu_is_a_harmonic_oscillator() -> None:
    error = power_error(VanDerPol(mu=0.0), lambda x1, x2: 0.5 * (x1**2 + x2**2), lambda s: s["force"] * s["x2"])
    assert error < 1e-14


def test_ball_accelerates_along_the_gradient_of_its_potential(rates) -> None:
    """Lagrange's equation of the ball: (m + I/r^2) p'' = m grad_p ((p . w)^2 / 2 + g p . sin(tilt))."""
    plant = BallAndPlate()
    p, tilt, w = (ca.SX.sym(name, 2) for name in ("p", "tilt", "w"))
    potential = 0.5 * ca.dot(p, w) ** 2 + plant.gravity * ca.dot(p, ca.sin(tilt))
    gradient = ca.Function("gradient", [p, tilt, w], [ca.gradient(potential, p)])
    rng = np.random.default_rng(0)
    for p0, v0, t0, w0 in rng.uniform(-1, 1, (50, 4, 2)):
        x = np.stack([p0, v0, t0, w0], axis=1).ravel()
        expected = 5.0 / 7.0 * gradient(p0, t0, w0).full()[:, 0]
        np.testing.assert_allclose(rates(plant, x)[[1, 5]], expected, rtol=1e-12, atol=1e-12)


# ---- attitude ----


def test_quaternion_stays_on_and_returns_to_the_sphere(rates) -> None:
    plant = Quadrotor()
    rng = np.random.default_rng(0)
    for _ in range(50):
        x = rng.uniform(-2, 2, 13)
        x[3:7] /= np.linalg.norm(x[3:7])
        assert abs(x[3:7] @ rates(plant, x)[3:7]) < 1e-14
        for scale in (0.9, 1.1):
            away = x.copy()
            away[3:7] *= scale
            assert (away[3:7] @ rates(plant, away)[3:7]) * (scale - 1.0) < 0


def test_quaternion_turns_as_rotations_do(rates) -> None:
    """A short step with body rates omega equals the rotation vector omega t applied on the right."""
    plant = Quadrotor()
    rng = np.random.default_rng(1)
    h = 1e-6
    for _ in range(20):
        attitude = Rotation.from_quat(rng.standard_normal(4))
        omega = rng.uniform(-2, 2, 3)
        x = np.zeros(13)
        x[3:7], x[10:] = np.roll(attitude.as_quat(), 1), omega  # scipy puts the scalar last
        after = x[3:7] + h * rates(plant, x)[3:7]
        expected = np.roll((attitude * Rotation.from_rotvec(h * omega)).as_quat(), 1)
        expected *= np.sign(expected @ x[3:7])
        np.testing.assert_allclose(after, expected, atol=1e-10)
        thrust = np.full(4, 0.1)
        pushed = rates(plant, x, thrust)[7:10] + np.array([0, 0, plant.gravity])
        np.testing.assert_allclose(pushed, attitude.apply([0, 0, 0.4 / plant.mass]), atol=1e-10)


def test_sampled_quaternion_norm_over_a_long_tumble() -> None:
    step = Discretisation(Quadrotor(), 0.01).lower("numpy")
    x = np.zeros(13)
    x[3], x[10:] = 1.0, (5.0, -3.0, 2.0)
    for _ in range(1000):
        x = step(x, np.zeros(4), np.zeros(3), np.zeros(0))
        assert abs(np.linalg.norm(x[3:7]) - 1.0) < 1e-6


def test_wind_adds_its_force_to_the_planar_quadrotor_and_has_no_source() -> None:
    calm, windy = PlanarQuadrotor(), QuadrotorInWind(side_wind=0.4, updraught=-0.3, vortex=0.7, cell=2.5)
    x, u = np.array([0.3, -0.4, 0.2, 0.5, -0.1, 0.3]), np.array([2.0, 3.0])

    def force(at: np.ndarray) -> np.ndarray:
        with_wind, without = (np.array(plant.casadi()(at, u, [0.1], []))[:, 0] for plant in (windy, calm))
        np.testing.assert_array_equal(with_wind[[0, 1, 2, 5]], without[[0, 1, 2, 5]])
        return np.asarray(windy.mass * (with_wind - without)[3:5])

    step = 1e-4 * np.eye(6)
    divergence = sum(float((force(x + step[i]) - force(x - step[i]))[i]) for i in range(2)) / 2e-4
    assert divergence == pytest.approx(0.0, abs=1e-6)
    corner = np.array([2.5 / 4, 0.0, *x[2:]])
    np.testing.assert_allclose(force(corner), [0.4 + 0.7, -0.3], atol=1e-12)
    np.testing.assert_array_equal(QuadrotorInWind().casadi()(x, u, [0.1], []), calm.casadi()(x, u, [0.1], []))
