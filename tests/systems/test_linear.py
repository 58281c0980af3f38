"""Linear plants, discretisation, linearisation and equilibria."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.integrate import solve_ivp
from scipy.signal import StateSpace, cont2discrete

from systems import (
    DimensionMismatch,
    Discretisation,
    InvalidValue,
    LinearPlant,
    Plant,
    UnknownName,
    equilibrium,
    exact,
    linear_plant,
    linearise,
    signals,
)
from systems.library import CartPole, DoubleIntegrator, Pendulum, Segway

A, B = np.array([[0.0, 1.0], [-2.0, -0.3]]), np.array([[0.0], [1.5]])
entries = st.floats(-2, 2, allow_subnormal=False)


# ---- matrices ----


def test_linear_plant_is_its_matrices() -> None:
    plant = LinearPlant(A, B, E=np.eye(2), c=[1.0, 2.0], input_limits=((-1.0, 1.0),))
    value = plant.casadi()([1, 2], 3, [4, 5], []).full()[:, 0]
    np.testing.assert_allclose(value, A @ [1, 2] + B[:, 0] * 3 + [4, 5] + [1, 2])
    assert plant.state.names == ("x1", "x2")
    assert plant.disturbance.names == ("w1", "w2")
    assert plant.bounds[0] == [-1.0]
    assert not plant.is_discrete
    assert plant == LinearPlant(A, B, E=np.eye(2), c=[1.0, 2.0], input_limits=((-1.0, 1.0),))
    assert plant != LinearPlant(A, B)
    assert len({plant, LinearPlant(A, B)}) == 2
    with pytest.raises(ValueError, match="read-only"):
        plant.A[0, 0] = 1.0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"A": A[:1], "B": B}, DimensionMismatch, r"A has shape \(1, 2\); expected a square matrix"),
        ({"A": [1.0, 2.0], "B": B}, DimensionMismatch, r"A has shape \(2,\)"),
        (
            {"A": A, "B": [0.0, 1.5]},
            DimensionMismatch,
            r"B has shape \(2,\); expected \(2, columns\); write a column as",
        ),
        ({"A": A, "B": np.eye(3)}, DimensionMismatch, r"B has shape \(3, 3\); expected \(2, columns\)"),
        ({"A": A, "B": B, "E": np.eye(3)}, DimensionMismatch, r"E has shape \(3, 3\)"),
        ({"A": A, "B": B, "c": [1.0]}, DimensionMismatch, r"c has shape \(1,\); expected \(2,\)"),
        ({"A": A * np.nan, "B": B}, InvalidValue, "A = .* contains NaN; give finite numbers"),
        (
            {"A": A, "B": B, "dt": 0.0},
            InvalidValue,
            r"dt = 0.0; expected a finite number above 0, seconds between samples",
        ),
        ({"A": A, "B": B, "dt": -0.1}, InvalidValue, r"dt = -0.1"),
        ({"A": A, "B": B, "dt": np.nan}, InvalidValue, r"dt = nan"),
        (
            {"A": A, "B": B, "state": signals("a")},
            DimensionMismatch,
            r"1 state signals declared \(a\); the matrices have 2",
        ),
        (
            {"A": A, "B": B, "input_limits": ((0, 1), (0, 1))},
            DimensionMismatch,
            "2 input limits given; .* per input: 1",
        ),
    ],
)
def test_bad_matrices(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        LinearPlant(**arguments)


def test_plants_from_other_packages() -> None:
    assert linear_plant(StateSpace(A, B, np.eye(2), np.zeros((2, 1)))) == LinearPlant(A, B)
    assert linear_plant(SimpleNamespace(A=A, B=B, dt=0.1)) == LinearPlant(A, B, dt=0.1)
    with pytest.raises(InvalidValue, match="list has no A and B"):
        linear_plant([A, B])
    with pytest.raises(InvalidValue, match=r"dt=True.*set dt in seconds"):
        linear_plant(SimpleNamespace(A=A, B=B, dt=True))


def test_control_and_back() -> None:
    pytest.importorskip("control")
    for plant in (
        LinearPlant(A, B, state=signals("p", "v"), input=signals("f")),
        LinearPlant(A, B, dt=0.2),
    ):
        back = linear_plant(plant.to_control())
        np.testing.assert_array_equal(back.A, plant.A)
        assert (back.dt, back.state.names, back.input.names) == (plant.dt, plant.state.names, plant.input.names)


# ---- discretisation ----


@settings(max_examples=60)
@given(
    arrays.arrays(np.float64, (3, 3), elements=entries),
    arrays.arrays(np.float64, (3, 2), elements=entries),
    st.floats(0.01, 1.0),
)
def test_exact_discretisation_is_scipys(a: np.ndarray, b: np.ndarray, dt: float) -> None:
    ad, bd, *_ = cont2discrete((a, b, np.eye(3), np.zeros((3, 2))), dt)
    sampled = exact(LinearPlant(a, b), dt)
    np.testing.assert_allclose(sampled.A, ad, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sampled.B, bd, rtol=1e-12, atol=1e-12)
    assert sampled.dt == dt


def test_exact_discretisation_carries_disturbance_offset_names_and_limits() -> None:
    plant = LinearPlant(A, B, E=[[1.0], [0.0]], c=[0.2, -0.1], state=signals("p", "v"), input=signals("f"),
                        input_limits=((-1.0, 2.0),))  # fmt: skip
    sampled = exact(plant, 0.3)
    trajectory = solve_ivp(
        lambda t, x: A @ x + B[:, 0] * 0.7 + [0.4, 0] + [0.2, -0.1], (0, 0.3), [1, 2], rtol=1e-12, atol=1e-13
    )
    reached = sampled.casadi()([1, 2], 0.7, 0.4, []).full()[:, 0]
    np.testing.assert_allclose(reached, trajectory.y[:, -1], atol=1e-10)
    assert sampled.state.names == ("p", "v")
    assert sampled.bounds[1] == [2.0]


def test_what_cannot_be_discretised_exactly() -> None:
    with pytest.raises(InvalidValue, match=r"Pendulum is not linear.*use integrator='rk4'"):
        exact(Pendulum(), 0.1)
    with pytest.raises(InvalidValue, match="Segway is discrete by nature"):
        exact(Segway(), 0.15)
    with pytest.raises(InvalidValue, match="no symbolic parameters"):
        Discretisation(DoubleIntegrator(), 0.1, "exact").function(["max_acceleration"])


@pytest.mark.parametrize(("integrator", "order"), [("euler", 1), ("rk4", 4)])
def test_order_of_the_integrators(integrator, order) -> None:
    plant, x, u, w = CartPole(), [0.1, 0.4, -0.2, 0.5], [2.0], [0.3]
    trajectory = solve_ivp(
        lambda t, z: plant.casadi()(z, u, w, []).full()[:, 0], (0, 0.4), x, rtol=1e-12, atol=1e-13, method="DOP853"
    ).y[:, -1]
    errors = [
        np.abs(Discretisation(plant, 0.4, integrator, n).function()(x, u, w, []).full()[:, 0] - trajectory).max()
        for n in (4, 8, 16)
    ]
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert rates == pytest.approx([order, order], abs=0.35)


def test_symbolic_parameters_reach_the_step() -> None:
    step = Discretisation(Pendulum(), 0.05).function(["mass"])
    for mass in (0.1, 0.2):
        expected = Discretisation(Pendulum(mass=mass), 0.05).function()([0.3, 0.1], 0.2, 0, [])
        np.testing.assert_allclose(step([0.3, 0.1], 0.2, 0, mass).full(), expected.full(), rtol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0,), r"dt = 0.0; expected a finite number above 0, the sample time in seconds"),
        ((-0.1,), r"dt = -0.1"),
        ((float("nan"),), r"dt = nan"),
        ((float("inf"),), r"dt = inf"),
        ((0.1, "heun"), r"integrator = 'heun'; expected 'rk4', 'euler' or 'exact'"),
        ((0.1, "rk4", 0), r"substeps = 0; expected a whole number of at least 1"),
        ((0.1, "rk4", 1.5), r"substeps = 1.5"),
    ],
)
def test_bad_sampling(arguments, message) -> None:
    with pytest.raises(InvalidValue, match=message):
        Discretisation(Pendulum(), *arguments)


def test_a_discrete_plant_keeps_its_own_time() -> None:
    with pytest.raises(InvalidValue, match=r"Segway is discrete with dt = 0.15 s, but requested with dt = 0.1 s"):
        Discretisation(Segway(), 0.1)
    sampled = Discretisation(Segway(), 0.15, "exact")
    x = [0.1, 0.2]
    np.testing.assert_array_equal(sampled.function()(x, 1, [0, 0], []), Segway().casadi()(x, 1, [0, 0], []))
    assert str(sampled) == "discrete plant, 0.15 s"
    assert str(Discretisation(Pendulum(), 0.05, substeps=2)) == "rk4 x 2, 0.05 s"


# ---- linearisation and equilibria ----


def test_linearisation_of_the_pendulum_by_hand() -> None:
    plant = Pendulum()
    inertia = plant.mass * plant.length**2
    up = linearise(plant, [0, 0], [0])
    np.testing.assert_allclose(up.A, [[0, 1], [plant.gravity / plant.length, -plant.damping / inertia]], rtol=1e-14)
    np.testing.assert_allclose(up.B, [[0], [1 / inertia]], rtol=1e-14)
    np.testing.assert_allclose(up.E, up.B)
    assert not up.c.any()
    assert up.state == plant.state
    assert up.bounds[1] == plant.bounds[1]


def test_linearisation_is_the_tangent_in_absolute_variables() -> None:
    model = Discretisation(CartPole(), 0.05)
    x, u = np.array([0.3, 0.4, -0.2, 0.1]), np.array([1.0])
    tangent, step = linearise(model, x, u), model.function()
    assert tangent.dt == 0.05
    for size in (1e-2, 1e-3):
        near, with_u = x + size * np.array([0.5, 1, -1, 0.2]), u - size
        error = tangent.casadi()(near, with_u, 0, []).full() - step(near, with_u, 0, []).full()
        assert np.abs(error).max() < size**2
    with pytest.raises(UnknownName, match="unknown signal 'angel'"):
        linearise(model, {"angel": 0.1}, [0])


def test_equilibria() -> None:
    plant = Pendulum(max_torque=1.0)
    tilted = equilibrium(plant, x={"angle": 0.5}, hold=("angle",))
    assert tilted.x == pytest.approx([0.5, 0.0])
    assert tilted.residual < 1e-9
    assert tilted.u == pytest.approx([-plant.mass * plant.gravity * plant.length * np.sin(0.5)], rel=1e-6)
    hanging = equilibrium(plant, x={"angle": 3.0}, hold=("torque",))
    assert hanging.x[0] == pytest.approx(np.pi)
    rest = equilibrium(Segway(), u={"torque": 1.0}, hold=("torque",))
    assert rest.x == pytest.approx([-1.3 / 9.81, 0.0])


def test_a_missing_equilibrium_is_reported() -> None:
    with pytest.raises(InvalidValue, match=r"Pendulum has no equilibrium near.*within its input limits"):
        equilibrium(Pendulum(max_torque=0.1), x={"angle": 1.5}, hold=("angle",))
    with pytest.raises(UnknownName, match="unknown signal 'spin'; known: angle, rate, torque"):
        equilibrium(Pendulum(), hold=("spin",))


@dataclass(frozen=True)
class Tanks(Plant):
    """Two tanks that empty through their bottoms: the outflow's slope is infinite where one is empty."""

    state = signals("upper [m]", "lower [m]")
    input = signals("flow [m^2/s]")

    def ode(self, x, u, w):
        above, below = (0.2 * ca.sqrt(2 * 9.81 * ca.fmax(level, 0)) for level in (x.upper, x.lower))
        return u.flow - above, above - below

    def limits(self):
        return {"flow": (0.0, 1.0)}


def test_an_equilibrium_is_found_beside_states_where_slopes_are_undefined() -> None:
    """The nearest one by hand: level h and flow 0.2 sqrt(2 g h) that minimise 2 (h - 0.5)^2 + flow^2."""
    found = equilibrium(Tanks(), {"upper": 0.5, "lower": 0.5})
    level = 0.5 - 0.04 * 2 * 9.81 / 4  # of 4 (h - 0.5) + 0.04 * 2 g = 0
    np.testing.assert_allclose(found.x, level, rtol=1e-6)
    np.testing.assert_allclose(found.u, 0.2 * np.sqrt(2 * 9.81 * level), rtol=1e-6)
