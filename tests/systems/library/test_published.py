"""Numbers known from elsewhere: limit cycles, sampled matrices, published derivatives, simulators of others."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.signal import cont2discrete

from ctrl.regulator import lqr
from systems import equilibrium, linearise
from systems.library import (
    CartPole,
    DynamicCar,
    KinematicCar,
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


@pytest.mark.slow
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
            trajectory = solve_ivp(
                lambda t, x: f(x, [], [], []).full()[:, 0], (0, 30), scale * start, rtol=1e-8, events=_far
            )
            end = np.linalg.norm(trajectory.y[:, -1])
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


def test_stirred_tank_has_no_hidden_mass(rates) -> None:
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
def test_cars_move_as_the_commonroad_models(rates, plant, published) -> None:
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


def test_swing_up_pendulum_moves_and_pays_as_gymnasiums(rates) -> None:
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


def test_cartpole_moves_as_gymnasiums(rates) -> None:
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
