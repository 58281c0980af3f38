"""The task: what it derives, and what it refuses before anything runs."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import casadi as ca
import numpy as np
import pytest

from systems import (
    Box,
    DimensionMismatch,
    Fixed,
    Gaussian,
    Inequality,
    InvalidValue,
    Nonlinear,
    Observation,
    Polytope,
    Quadratic,
    SetPoint,
    Sinusoid,
    Task,
    Trajectory,
    Uniform,
    UnknownName,
    library,
    signals,
)
from systems.library import CartPole, DoubleIntegrator, Pendulum, Segway
from systems.lowering import lower


def task(**changes: Any) -> Task:
    plain = Task(
        name="slide",
        plant=DoubleIntegrator(),
        dt=0.1,
        steps=50,
        cost=Quadratic({"position": 1.0}, {"acceleration": 0.1}),
        initial=Uniform([-1.0, 0.0], [1.0, 0.0]),
    )
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dt": 0.0}, InvalidValue, "dt = 0.0; expected a finite number above 0, the sample time in seconds"),
        ({"dt": -0.1}, InvalidValue, "dt = -0.1"),
        ({"dt": float("nan")}, InvalidValue, "dt = nan"),
        ({"steps": 0}, InvalidValue, "task 'slide': steps = 0; expected a whole number of at least 1"),
        ({"steps": -3}, InvalidValue, "steps = -3"),
        ({"steps": 2.5}, InvalidValue, "steps = 2.5"),
        ({"discount": 0.0}, InvalidValue, "discount = 0.0; expected a finite number above 0, at most 1"),
        ({"discount": 1.1}, InvalidValue, "discount = 1.1"),
        ({"discount": float("nan")}, InvalidValue, "discount = nan"),
        ({"integrator": "heun"}, InvalidValue, "integrator = 'heun'; expected 'rk4', 'euler' or 'exact'"),
        ({"substeps": 0}, InvalidValue, "substeps = 0"),
        (
            {"plant": DoubleIntegrator},
            InvalidValue,
            "plant = the class DoubleIntegrator; expected an instance of Plant",
        ),
        ({"plant": Segway()}, InvalidValue, "Segway is discrete with dt = 0.15 s, but requested with dt = 0.1 s"),
        ({"cost": Quadratic(np.eye(3), [1.0])}, DimensionMismatch, r"Q has shape \(3, 3\); expected \(2, 2\)"),
        (
            {"cost": Quadratic({"angle": 1.0}, [1.0])},
            UnknownName,
            "task 'slide': cost: unknown signal 'angle'; known: pos",
        ),
        ({"cost": Nonlinear(lambda x, u, xr, ur: x.angle)}, UnknownName, "unknown state signal 'angle'"),
        (
            {"cost": Nonlinear(lambda x, u, xr, ur: 0, lambda x, xr: x.angle)},
            UnknownName,
            "unknown state signal 'angle'",
        ),
        (
            {"constraints": Box("b", {"speed": (0, 1)})},
            InvalidValue,
            r"constraints = Box.*such as a tuple: \(constraint,\)",
        ),
        (
            {"constraints": (Box("b", {"sped": (0, 1)}),)},
            UnknownName,
            "task 'slide': constraint 'b': .*'sped'.*Did you mean 'speed'",
        ),
        ({"constraints": (Box("b", {"speed": (0, 1)}),) * 2}, InvalidValue, "constraint names given twice among b, b"),
        ({"constraints": (Box("b", {}),)}, InvalidValue, "constraint 'b' bounds nothing"),
        (
            {"constraints": (Box("b", {"acceleration": (2.0, 3.0)}),)},
            InvalidValue,
            r"no input satisfies the limits; lower \[2.\], upper \[1.\]",
        ),
        ({"initial": Uniform([0.0], [1.0])}, DimensionMismatch, r"given an array of shape \(1,\), expected \(2,\)"),
        ({"initial": Fixed({"angle": 1.0})}, UnknownName, "task 'slide': initial: unknown signal 'angle'"),
        (
            {"disturbance": Uniform({"gust": 0.0}, {"gust": 1.0})},
            UnknownName,
            "disturbance: unknown signal 'gust'; known: push",
        ),
        ({"reference": SetPoint({"angle": 1.0})}, UnknownName, "reference: unknown signal 'angle'"),
        ({"reference": SetPoint([1.0])}, DimensionMismatch, "reference of the state"),
        ({"reference": Trajectory(np.zeros((4, 3)))}, DimensionMismatch, "3 columns for 2 signals"),
        ({"domain": Box("model", {"angle": (0, 1)})}, UnknownName, "domain: unknown signal 'angle'"),
        ({"tolerance": {"angle": 1.0}}, UnknownName, "tolerance: unknown signal 'angle'"),
        ({"tolerance": [1.0]}, DimensionMismatch, r"tolerance: given an array of shape \(1,\)"),
        ({"tolerance": {"speed": -1.0}}, InvalidValue, "a half-width must not be negative"),
        (
            {"observation": Observation(signals("a"), lambda x, xr: (x.speed, x.position))},
            InvalidValue,
            "the observation gives 2 numbers for 1 declared signals",
        ),
        ({"observation": Observation(signals("a"), lambda x, xr: (x.angle,))}, UnknownName, "observation: .*'angle'"),
        ({"plant": "DoubleIntegrator"}, InvalidValue, "plant = 'DoubleIntegrator'; expected an instance of Plant"),
        ({"dt": "0.1"}, InvalidValue, "task 'slide': dt = '0.1'; expected a finite number above 0, the sample time"),
        ({"discount": "0.9"}, InvalidValue, "discount = '0.9'; expected a finite number above 0, at most 1"),
        ({"reference": [0, 0]}, InvalidValue, r"reference = \[0, 0\]; expected an instance of Reference, .*SetPoint"),
        ({"initial": np.zeros(2)}, InvalidValue, r"initial = .*an instance of Distribution, such as Fixed"),
        ({"initial": None}, InvalidValue, "initial = None; expected an instance of Distribution"),
        ({"disturbance": np.zeros(1)}, InvalidValue, "disturbance = .*an instance of Distribution"),
        ({"domain": {"speed": (0, 1)}}, InvalidValue, "domain = {.*an instance of Box, such as Box"),
        ({"cost": lambda x, u, xr, ur: 0}, InvalidValue, "cost = <.*an instance of Cost, .*Nonlinear"),
        ({"cost": Quadratic}, InvalidValue, "cost = the class Quadratic"),
        ({"observation": signals("a")}, InvalidValue, "observation = .*an instance of Observation"),
        ({"constraints": (lambda x, u: 0,)}, InvalidValue, "a constraint = <.*an instance of Constraint"),
        ({"constraints": 3}, InvalidValue, "constraints = 3; expected an instance of list or tuple"),
        ({"truth": Pendulum}, InvalidValue, "truth = the class Pendulum"),
        ({"truth": Pendulum()}, InvalidValue, "the true plant has other signals than the nominal one"),
    ],
)
def test_a_task_that_cannot_run_is_refused(changes, error, message) -> None:
    with pytest.raises(error, match=message):
        task(**changes)


def test_unknown_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="horizon"):
        task(horizon=3)


def test_input_bounds_are_tightened_by_hard_boxes_only() -> None:
    hard = Box("gentle", {"acceleration": (-0.5, 2.0)})
    np.testing.assert_array_equal(task(constraints=(hard,)).input_bounds, [[-0.5], [1.0]])
    np.testing.assert_array_equal(task(constraints=(hard.soft(1.0),)).input_bounds, [[-1.0], [1.0]])
    np.testing.assert_array_equal(task().input_bounds, task().plant.bounds)


def test_arrival() -> None:
    np.testing.assert_array_equal(task(tolerance={"position": 0.2}).arrival, [0.2, np.inf])
    # 5 % of three standard deviations plus the distance of the mean; a state without spread does not decide.
    np.testing.assert_allclose(task().arrival, [0.05 * 3 * 2 / np.sqrt(12), np.inf])
    shifted = task(reference=SetPoint([3.0, 0.0]), initial=Fixed([1.0, 0.0]))
    np.testing.assert_allclose(shifted.arrival, [0.1, np.inf])


def test_arrived_is_within_the_tolerance_of_the_reference_of_that_sample() -> None:
    moving = task(reference=Trajectory(np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])), tolerance={"position": 0.2})
    x = np.array([[0.1, 9.0], [1.1, 9.0], [1.1, 0.0], [1.3, 0.0]])
    assert list(moving.arrived(x, np.array([0, 1, 2, 1]))) == [True, True, False, False]
    assert bool(moving.arrived(x[1], 1))
    assert not moving.arrived(np.full(2, np.nan), 0)


def test_margins_are_the_largest_row_of_each_constraint_in_order() -> None:
    two = task(constraints=(Box("speed", {"speed": (-1, 1)}), Box("place", {"position": (-5, 2)}).soft(3.0)))
    np.testing.assert_allclose(two.margin_function()([4.0, -3.0], 0).full()[:, 0], [2.0, 2.0])
    assert task().margin_function().size_out(0) == (0, 1)


def test_the_charged_cost_includes_soft_violations_only() -> None:
    boxes = Box("speed", {"speed": (-1, 1)}), Box("place", {"position": (-5, 2)})
    charged = task(constraints=(boxes[0], boxes[1].soft(3.0))).stage_cost_function()
    assert float(charged([4.0, 9.0], 1.0, [0, 0], 0)) == pytest.approx(16.0 + 0.1 + 3.0 * 2.0)
    assert float(charged([1.0, 9.0], 1.0, [0, 0], 0)) == pytest.approx(1.1)


def sided(name: str) -> Inequality:
    """Undefined in its first, its second or its only row where the position is negative."""
    rows = {
        "first": lambda x, u: (ca.sqrt(x.position) - 9.0, x.speed),
        "second": lambda x, u: (x.speed, ca.sqrt(x.position) - 9.0),
        "only": lambda x, u: ca.sqrt(x.position) - 9.0,
    }
    return Inequality(name, rows[name])


@pytest.mark.parametrize("name", ["first", "second", "only"])
def test_a_constraint_undefined_in_one_row_has_no_margin_and_no_price(name: str) -> None:
    hard, soft = task(constraints=(sided(name),)), task(constraints=(sided(name).soft(3.0),))
    margin, charge = hard.margin_function(), soft.stage_cost_function()
    for to in ("casadi", "numpy"):
        read = [f if to == "casadi" else lower(f, to="numpy") for f in (margin, charge)]
        x, u, still = np.array([-1.0, -0.5]), np.zeros(1), np.zeros(2)
        assert np.isnan(np.array(read[0](x, u))).all()
        assert np.isnan(np.array(read[1](x, u, still, u))).all()
        x = np.array([4.0, -0.5])
        np.testing.assert_allclose(np.array(read[0](x, u)).ravel(), [-0.5 if name != "only" else -7.0])
        np.testing.assert_allclose(np.array(read[1](x, u, still, u)).ravel(), [16.0])


def full(**changes: Any) -> Task:
    """A task with something in every field, built anew at every call."""
    plain = Task(
        name="full",
        plant=DoubleIntegrator(),
        dt=0.1,
        steps=50,
        cost=Nonlinear(lambda x, u, xr, ur: x.position**2 + u.acceleration**2, lambda x, xr: x.speed**2),
        initial=Uniform({"position": -1.0}, {"position": 1.0}),
        constraints=(
            Box("box", {"speed": (-1.0, 1.0)}).soft(2.0),
            Polytope("polytope", ("position", "speed"), np.eye(2), np.ones(2)),
            Inequality("zone", lambda x, u: x.position - 3.0),
        ),
        reference=Trajectory(np.ones((4, 2))),
        disturbance=Gaussian([0.1]),
        domain=Box("domain", {"position": (-9.0, 9.0)}),
        tolerance=np.array([0.1, 0.2]),
        observation=Observation(signals("place"), lambda x, xr: x.position),
        truth=DoubleIntegrator(),
    )
    return dataclasses.replace(plain, **changes)


def test_tasks_are_equal_where_they_say_the_same() -> None:
    assert full() == full()
    assert full() != "full"
    assert hash(full()) == hash(full())
    assert len({full(), full(), full(name="other")}) == 2
    original = full()
    assert original == original
    assert pickle.loads(pickle.dumps(task())) == task()
    for module in (library.cartpole, library.kinematic_car, library.segway):
        assert module() == module()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"dt": 0.2},
        {"steps": 51},
        {"cost": Nonlinear(lambda x, u, xr, ur: x.position**2 + 2 * u.acceleration**2, lambda x, xr: x.speed**2)},
        {"initial": Uniform({"position": -1.0}, {"position": 1.0 + 1e-15})},
        {"constraints": ()},
        {"reference": Trajectory(np.ones((5, 2)))},
        {"disturbance": Gaussian([0.2])},
        {"domain": None},
        {"tolerance": np.array([0.1, 0.3])},
        {"discount": 0.9},
        {"integrator": "euler"},
        {"substeps": 2},
        {"observation": Observation(signals("place"), lambda x, xr: x.speed)},
        {"truth": None},
    ],
)
def test_tasks_that_differ_in_a_field_are_unequal(changes: dict[str, Any]) -> None:
    assert full(**changes) != full()


def test_observations() -> None:
    assert task().observation_signals.names == ("position", "speed")
    moving = task(reference=Sinusoid(0.1, x_sine={"position": 1.0}))
    assert moving.observation_signals.names == ("position", "speed", "position_reference", "speed_reference")
    np.testing.assert_array_equal(moving.observe_function()([1, 2], [3, 4]).full()[:, 0], [1, 2, 3, 4])
    for expression in (lambda x, xr: (x.position - xr.position,), lambda x, xr: x.position - xr.position):
        error = task(observation=Observation(signals("error [m]"), expression))
        assert error.observation_signals.units == ("m",)
        np.testing.assert_array_equal(error.observe_function()([1, 2], [3, 4]).full(), [[-2]])


def test_the_true_plant_may_differ() -> None:
    heavy = CartPole(pole_mass=0.2)
    nominal = Task("poles", CartPole(), 0.05, 10, Quadratic([1, 1, 1, 1], [1]), Fixed())
    known, real = nominal.dynamics, nominal.with_truth(heavy).true_dynamics
    assert nominal.true_dynamics == known
    assert (real.plant, real.dt, real.integrator) == (heavy, known.dt, known.integrator)
    assert nominal.with_truth(heavy).dynamics == known


def test_a_task_without_input_is_a_task() -> None:
    from systems.library import van_der_pol_reversed

    free = van_der_pol_reversed()
    assert free.input_bounds[0].shape == (0,)
    assert float(free.stage_cost_function()([1, 2], [], [0, 0], [])) == 5
    assert free.dynamics.lower("numpy")(np.ones((7, 2)), np.zeros(0), np.zeros(0), np.zeros(0)).shape == (7, 2)


def test_numbers_of_numpy_are_numbers() -> None:
    assert task(steps=np.int64(7)).steps == 7
    assert isinstance(task(steps=np.int64(7)).steps, int)
