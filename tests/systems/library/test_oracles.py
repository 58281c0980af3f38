"""Physics known from elsewhere: equilibria, power balances, published derivatives, simulators of others."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.signal import cont2discrete
from scipy.spatial.transform import Rotation

from ctrl.lqr import lqr
from systems import Discretisation, Plant, Task, equilibrium, linearise
from systems.library import (
    BallAndPlate,
    CartPole,
    DynamicCar,
    KinematicCar,
    OscillatingMasses,
    Pendulum,
    PlanarQuadrotor,
    Quadrotor,
    ReversedVanDerPol,
    Segway,
    StirredTank,
    VanDerPol,
    ball_and_plate_axis,
    double_integrator,
    oscillating_masses,
    pendulum_swing_up,
    segway,
)


def rates(plant: Plant, x, u=None, w=None) -> np.ndarray:
    u = np.zeros(len(plant.input)) if u is None else u
    w = np.zeros(len(plant.disturbance)) if w is None else w
    return plant.casadi()(x, u, w, []).full()[:, 0]


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


def test_ball_accelerates_along_the_gradient_of_its_potential() -> None:
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


def test_quaternion_stays_on_and_returns_to_the_sphere() -> None:
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


def test_quaternion_turns_as_rotations_do() -> None:
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


# ---- van der Pol ----


@pytest.fixture(scope="module")
def limit_cycle() -> np.ndarray:
    """One turn of the limit cycle for mu = 1, (samples, 2), from its crossing of x2 = 0."""
    f = VanDerPol().casadi()

    def flow(t, x):
        return f(x, 0, [], []).full()[:, 0]

    def crossing(t, x):
        return x[1]

    crossing.direction = -1  # type: ignore[attr-defined]
    settled = solve_ivp(flow, (0, 60), [2.0, 0.0], rtol=1e-9, atol=1e-11, events=crossing)
    start, turn = settled.y_events[0][-1], np.diff(settled.t_events[0])[-1]
    assert turn == pytest.approx(6.66328686, abs=1e-5)  # the known period for mu = 1
    return solve_ivp(flow, (0, turn), start, rtol=1e-9, atol=1e-11, t_eval=np.linspace(0, turn, 4001)).y.T


def test_van_der_pol_amplitude(limit_cycle: np.ndarray) -> None:
    assert np.abs(limit_cycle[:, 0]).max() == pytest.approx(2.00861986, abs=1e-5)
    assert np.abs(limit_cycle[:, 1]).max() == pytest.approx(2.6784, abs=1e-3)


def test_reversed_van_der_pol_falls_in_from_inside_the_cycle_only(limit_cycle: np.ndarray) -> None:
    a, b = limit_cycle[:-1], limit_cycle[1:]
    area = 0.5 * abs(np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]))
    assert area == pytest.approx(13.7222, abs=1e-3)
    f = ReversedVanDerPol().casadi()
    for scale, inside in ((0.97, True), (1.03, False)):
        for start in limit_cycle[::800]:
            motion = solve_ivp(
                lambda t, x: f(x, [], [], []).full()[:, 0], (0, 30), scale * start, rtol=1e-8, events=_far
            )
            end = np.linalg.norm(motion.y[:, -1])
            assert end < 0.1 if inside else end > 4.0


def _far(t: float, x: np.ndarray) -> float:
    return float(np.linalg.norm(x) - 5.0)


_far.terminal = True  # type: ignore[attr-defined]


# ---- linear plants ----


def test_oscillating_masses_are_sampled_as_scipy_does() -> None:
    k = np.array([[-4.0, 2.0, 0.0], [4.0, -8.0, 4.0], [0.0, 2.0, -4.0]])
    a = np.block([[np.zeros((3, 3)), np.eye(3)], [k, np.zeros((3, 3))]])
    b = np.zeros((6, 2))
    b[3, 0] = b[5, 1] = 1.0
    ad, bd, *_ = cont2discrete((a, b, np.eye(6), np.zeros((6, 2))), 0.2)
    ours = linearise(oscillating_masses().dynamics, np.zeros(6), np.zeros(2))
    np.testing.assert_allclose(ours.A, ad, atol=1e-14)
    np.testing.assert_allclose(ours.B, bd, atol=1e-14)


def test_double_integrator_is_sampled_exactly() -> None:
    task = double_integrator()
    following = task.dynamics.function()([1.0, 2.0], 0.5, 0.25, []).full()[:, 0]
    np.testing.assert_allclose(following, [1.0 + 0.2 + 0.5 * 0.75 * 0.01, 2.075], rtol=1e-14)


def test_ball_and_plate_axis_is_a_chain_of_integrators() -> None:
    plant = ball_and_plate_axis().plant
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[2, 3] = 1.0
    expected[1, 2] = 5.0 / 7.0 * 9.81
    np.testing.assert_allclose(plant.A, expected, atol=1e-15)
    np.testing.assert_allclose(plant.B, [[0], [0], [0], [1]], atol=0)


def test_segway_matrices_and_regulator() -> None:
    task = segway()
    linear = linearise(Segway(), [0, 0], [0])
    np.testing.assert_allclose(linear.A, [[1, 0.15], [0.15 * 9.81 / 1.3, 1 - 0.15 * 0.5]], rtol=1e-15)
    np.testing.assert_allclose(linear.B, [[0], [0.15]], rtol=1e-15)
    np.testing.assert_allclose(linear.E, np.eye(2), rtol=1e-15)
    q, r, _ = task.cost.matrices(task.plant)  # type: ignore[attr-defined]
    np.testing.assert_allclose(lqr(linear, q, r).K, [[13.02926, 4.33103]], atol=1e-5)


# ---- published numbers and other people's simulators ----


@pytest.mark.parametrize(
    ("inlet", "feed", "heat", "state", "digits"),
    [
        # The operating point of the benchmark of Chen, Kremling & Allgoewer (1995), whose feed has 104.9 degC.
        (104.9, 14.19, -1113.5, (2.14, 1.09, 114.2, 112.9), (0.005, 0.005, 0.05, 0.05)),
        # The usual operating point with a feed of 130 degC.
        (130.0, 18.83, -4495.7, (1.235, 0.90, 134.14, 128.95), (0.001, 0.005, 0.015, 0.015)),
    ],
)
def test_stirred_tank_rests_at_the_published_operating_points(inlet, feed, heat, state, digits) -> None:
    plant = StirredTank(inlet_temperature=inlet)
    found = equilibrium(plant, x=state, u=(feed, heat), hold=("feed", "heat"))
    assert (np.abs(found.x - state) <= digits).all()
    np.testing.assert_allclose(found.u, (feed, heat))


def test_stirred_tank_has_no_hidden_mass() -> None:
    """With no flow and no reaction A -> 2 D, the sum of A, B and C is constant: B made is A lost less C made."""
    plant = StirredTank(k_ad=0.0, k_bc=0.0)
    made = rates(plant, [1.0, 0.5, 134.0, 130.0], [0.0, -4000.0])
    assert made[0] == pytest.approx(-made[1], rel=1e-12)


# Derivatives from the unit test of the CommonRoad vehicle models (vehicle 2, steering rate 0.15 rad/s); the
# acceleration is what their engine limit leaves of it.
KS = (
    [3.9579422297936526, 0.0391650102771405, 0.0378491427211811, 16.3546957860883566, 0.0294717351052816],
    [16.3475935934250209, 0.4819314886013121, 0.1500000000000000, 5.1464424102339752, 0.2401426578627629],
)
ST = (
    [2.0233348142065677, 0.0041907137716636, 0.0197545248559617, 15.7216236334290116, 0.0025857914776859,
     0.0529001056654038, 0.0033012170610298],
    [15.7213512030862397, 0.0925527979719355, 0.1500000000000000, 5.3536773276413925, 0.0529001056654038,
     0.6435589397748606, 0.0313297971641291],
)  # fmt: skip


@pytest.mark.parametrize(("plant", "published"), [(KinematicCar(), KS), (DynamicCar(), ST)], ids=["KS", "ST"])
def test_cars_move_as_the_commonroad_models(plant, published) -> None:
    x, expected = published
    np.testing.assert_allclose(rates(plant, x, [0.15, expected[3]]), expected, rtol=2e-6)


def test_dynamic_car_turns_in_a_circle_as_the_kinematic_one_when_slow() -> None:
    """At walking pace the slips vanish: the steady yaw rate tends to speed tan(steering) / wheelbase."""
    plant, speed, steering = DynamicCar(), 1.0, 0.01
    f = plant.casadi()
    x = ca.SX.sym("x", 2)
    still = f(ca.vertcat(0, 0, steering, speed, 0, x), [0, 0], [], [])[5:]
    yaw_rate, _ = ca.rootfinder("r", "newton", {"x": x, "g": still})([0.0, 0.0], []).full()[:, 0]
    base = plant.front + plant.rear
    assert yaw_rate == pytest.approx(speed * np.tan(steering) / base, rel=5e-3)


def test_swing_up_pendulum_moves_and_pays_as_gymnasiums() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    env = gymnasium.make("Pendulum-v1").unwrapped
    task = pendulum_swing_up()
    cost = task.stage_cost_function()
    rng = np.random.default_rng(0)
    for angle, rate, torque in rng.uniform((-9, -6, -2), (9, 6, 2), (50, 3)):
        env.reset(seed=0)
        env.state = np.array([angle, rate])
        _, reward, *_ = env.step(np.array([torque]))
        acceleration = (env.state[1] - rate) / env.dt
        np.testing.assert_allclose(rates(task.plant, [angle, rate], [torque])[1], acceleration, rtol=1e-9, atol=1e-9)
        assert float(cost([angle, rate], torque, [0, 0], 0)) == pytest.approx(-reward, rel=1e-9)


def test_cartpole_moves_as_gymnasiums() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    env = gymnasium.make("CartPole-v1").unwrapped
    plant = CartPole(gravity=env.gravity)
    rng = np.random.default_rng(0)
    for position, velocity, angle, rate in rng.uniform(-0.2, 0.2, (50, 4)) * (1, 5, 1, 5):
        env.reset(seed=0)
        env.state = np.array([position, velocity, angle, rate])
        action = int(rng.integers(2))
        env.step(action)
        force = plant.max_force * (2 * action - 1)
        moved = (np.array(env.state) - (position, velocity, angle, rate)) / env.tau
        ours = rates(plant, [position, angle, velocity, rate], [force])
        np.testing.assert_allclose(ours[[0, 2, 1, 3]], moved, rtol=1e-6, atol=1e-6)
