"""The tasks of do-mpc's gallery: their equations at points where do-mpc 5.1's own models were evaluated, and a step."""

from __future__ import annotations

import dataclasses
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import Status
from mpc import NonlinearMPC
from systems import Plant, Task
from systems.library import StirredTank, gallery
from systems.signals import Vector

STIFF = gallery.polymerisation  # whose derivatives take seconds to write out
TASKS = [getattr(gallery, name) for name in gallery.__all__ if name.islower()]
SECOND, HOUR = 1.0, 3600.0


def rates(plant: Plant, x: list[float], u: list[float]) -> np.ndarray:
    return plant.casadi()(x, u, [], []).full()[:, 0]


@pytest.mark.parametrize(
    ("plant", "x", "u", "expected", "unit"),
    [
        (
            StirredTank(), [0.8, 0.5, 134.14, 130.0], [20.0, -3000.0],
            [41.19374379951874, 5.184372218446949, -107.56890323724267, 58.88831999999879], HOUR,
        ),
        (
            gallery.FedBatchBioreactor(), [2.0, 0.3, 0.5, 121.0], [0.1],
            [0.030955803090190442, 0.09315726434303509, 0.007586776859504133, 0.1], HOUR,
        ),
        (
            gallery.PolymerisationReactor(),
            [11000.0, 900.0, 500.0, 363.0, 361.0, 358.0, 320.0, 315.0, 2000.0, 380.0], [15000.0, 350.0, 340.0],
            [4995.0, 4755.879886699206, 5249.120113300794, -69.60619456159492, -55.3363074811256, -335.0979262672811,
             -13644.630861803425, 6785.714285714285, 15000.0, -13.415683290371405], HOUR,
        ),
        (
            gallery.Kite(), [0.5, 0.2, -0.7], [1.5],
            [0.10563209731142773, 0.20874480085786518, 0.41621200384228463], SECOND,
        ),
        (
            gallery.DoublePendulum(), [0.1, 0.4, -0.9, 0.5, -1.2, 0.8], [1.5],
            [0.5, -1.2, 0.8, 1.2087348918398726, 8.528627246010029, -26.64033450481177], SECOND,
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Plant) else "",
)  # fmt: skip
def test_equations_are_those_of_do_mpc(
    plant: Plant, x: list[float], u: list[float], expected: list[float], unit: float
) -> None:
    np.testing.assert_allclose(unit * rates(plant, x, u), expected, rtol=1e-11)


def test_what_examples_charge_and_limit_has_do_mpcs_values() -> None:
    kite, pendulum = gallery.Kite(), gallery.DoublePendulum()
    flying = Vector(kite.state, ca.SX([0.5, 0.2, -0.7]), "state")
    assert float(kite.thrust(flying, Vector(kite.input, ca.SX([1.5]), "input"))) == pytest.approx(594292.5832859284)
    assert float(kite.height(flying)) == pytest.approx(187.94757877980615)
    point = [0.1, 0.4, -0.9, 0.5, -1.2, 0.8]
    swung = Vector(pendulum.state, ca.SX(point), "state")
    assert float(pendulum.potential_energy(swung)) == pytest.approx(1.6596739892928345)
    # do-mpc's kinetic energy has the rate of the first rod in the rotation of the second.
    slip = 0.5 * pendulum.inertia_2 * (1.2**2 - 0.8**2)
    assert float(pendulum.kinetic_energy(swung)) == pytest.approx(0.10311673801816354 - slip)
    task = gallery.double_pendulum_obstacle()
    clearance = task.constraint_functions[0]([*point, 0.0], [0.0])
    assert -clearance.full()[:, 0] == pytest.approx([0.2932762530298219, 0.011044840212406981, -0.1181346139711689])


def test_energy_of_the_double_pendulum_changes_by_the_work_of_its_force() -> None:
    plant = gallery.DoublePendulum(length_1=0.4, mass_2=0.3)
    x, u = plant.state.symbol(), plant.input.symbol()
    state = Vector(plant.state, x, "state")
    energy = plant.kinetic_energy(state) + plant.potential_energy(state)
    power = ca.Function("power", [x, u], [ca.jacobian(energy, x) @ plant.casadi()(x, u, [], []) - x[3] * u])
    for point in np.random.default_rng(0).normal(size=(5, 6)):
        assert float(power(point, 1.3)) == pytest.approx(0.0, abs=1e-12)


def test_the_adiabatic_temperature_of_the_polymerisation_stays_what_it_is_defined_as() -> None:
    plant = gallery.PolymerisationReactor()
    x, u = plant.state.symbol(), plant.input.symbol()
    named = Vector(plant.state, x, "state")
    mass = named.water + named.monomer + named.polymer
    defined = named.monomer * plant.enthalpy / (mass * plant.heat_contents) + named.reactor - named.adiabatic
    drift = ca.Function("drift", [x, u], [ca.jacobian(defined, x) @ plant.casadi()(x, u, [], [])])
    task = gallery.polymerisation()
    start = task.initial.sample(task.plant.state, np.random.default_rng(0))[:10]
    assert float(drift(start, [9000.0, 350.0, 340.0])) == pytest.approx(0.0, abs=1e-15)
    assert float(ca.Function("defined", [x], [defined])(start)) == pytest.approx(0.0, abs=1e-12)


def test_the_quadcopter_hovers_and_turns_as_a_rigid_body() -> None:
    plant = gallery.Quadcopter()
    weight = plant.mass * plant.gravity
    assert rates(plant, [0.0] * 12, [weight / 4] * 4) == pytest.approx(0.0, abs=1e-12)
    # R' = R [w]x, with the rotation matrix written out independently.
    angles = ca.SX.sym("angles", 3)
    yaw, pitch, roll = ca.vertsplit(angles)

    def turn(axis: int, angle: Any) -> Any:
        c, s, i, j = ca.cos(angle), ca.sin(angle), (axis + 1) % 3, (axis + 2) % 3
        R = ca.SX.eye(3)
        R[i, i], R[j, j], R[i, j], R[j, i] = c, c, -s, s
        return R

    R = turn(2, yaw) @ turn(1, pitch) @ turn(0, roll)
    at, w = [0.4, -0.3, 0.7], np.array([0.5, -1.1, 0.8])
    rate = rates(plant, [0.0] * 6 + at + w.tolist(), [0.1, 0.08, 0.07, 0.06])
    turning = ca.Function("turning", [angles], [ca.reshape(ca.jacobian(ca.vec(R), angles) @ rate[6:9], 3, 3), R])
    change, attitude = (np.array(value) for value in turning(at))
    assert change == pytest.approx(attitude @ np.array(ca.skew(w)), abs=1e-12)
    assert rate[3:6] == pytest.approx(attitude[:, 2] * 0.31 / plant.mass - [0.0, 0.0, plant.gravity])
    # Rotors 1 and 2 stand to the left (y > 0), and 2 and 4 behind (x < 0): their thrusts roll and pitch.
    assert rates(plant, [0.0] * 12, [0.1, 0.1, 0.0, 0.0])[9] > 0.0
    assert rates(plant, [0.0] * 12, [0.0, 0.1, 0.0, 0.1])[10] > 0.0


@pytest.mark.parametrize(
    "make",
    [pytest.param(make, id=make.__name__, marks=[pytest.mark.slow] if make is STIFF else []) for make in TASKS],
)
@pytest.mark.every(3)
def test_a_step_of_nonlinear_mpc_is_solved(make: Any) -> None:
    task: Task = make()
    assert task.name == make.__name__.replace("_", "-")
    x = task.initial.sample(task.plant.state, np.random.default_rng(0))
    assert (task.margin_function()(x, task.reference.at(task.plant, 0)[1]).full() <= 1e-9).all()
    decision = NonlinearMPC(task, 5).step(x, 0)
    assert decision.status is Status.SOLVED
    low, high = task.input_bounds
    assert ((low <= decision.input) & (decision.input <= high)).all()


@pytest.mark.slow
@pytest.mark.parametrize("make", TASKS, ids=lambda make: make.__name__)
def test_samples_are_integrated_accurately(make: Any) -> None:
    """Against eight times as many steps, with inputs near their reference."""
    task = make()
    inner, sampling = task.plant.inner, task.plant.sampling
    if inner.is_discrete:
        return
    coarse, finer = (dataclasses.replace(sampling, substeps=n * sampling.substeps).function() for n in (1, 8))
    rng, reach = np.random.default_rng(0), 0.1 * np.subtract(*inner.bounds)
    x = task.initial.sample(task.plant.state, rng)[: len(inner.state)]
    for _ in range(5):
        u = np.clip(task.reference.at(task.plant, 0)[1] + reach * rng.uniform(-1.0, 1.0, len(reach)), *inner.bounds)
        after, exact = (np.array(f(x, u, [], []))[:, 0] for f in (coarse, finer))
        share = 1e-3 if sampling.integrator == "rk4" else 2e-2  # implicit ones damp fast modes without resolving them
        assert np.abs(after - exact).max() < share * max(np.abs(exact - x).max(), 1e-3)
