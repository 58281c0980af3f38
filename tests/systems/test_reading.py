"""What a task says, against what can be worked out by hand or by another solver."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest
from scipy.optimize import minimize

from systems import (
    Box,
    Fixed,
    Inequality,
    InvalidValue,
    LinearPlant,
    Nonlinear,
    Plant,
    Polytope,
    Quadratic,
    SetPoint,
    Task,
    Trajectory,
    Uniform,
    angle,
    quaternion,
    signals,
)
from systems.library import cartpole, cartpole_track, pendulum_swing_up, quadrotor
from systems.reading import Part


@dataclass(frozen=True)
class Room(Plant):
    """A heated room: T' = -(T - 5)/10 + 0.4 q."""

    state, input = signals("T [degC]"), signals("q [kW]")

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        return (-(x.T - 5.0) / 10.0 + 0.4 * u.q,)

    def limits(self) -> Any:
        return {"q": (0.0, 8.0)}


def room(cost: Any, **changes: Any) -> Task:
    made = Task("room", Room(), 0.5, 40, Nonlinear(cost), Fixed([12.0]), reference=SetPoint([20.0], [3.75]))
    return dataclasses.replace(made, **changes)


@dataclass(frozen=True)
class Tank(Plant):
    """An integrator."""

    state, input = signals("level [m]"), signals("flow [m/s]")

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        return (u.flow,)

    def limits(self) -> Any:
        return {"flow": (-1.0, 1.0)}


def tank(cost: Any, **changes: Any) -> Task:
    return dataclasses.replace(Task("tank", Tank(), 0.2, 50, Nonlinear(cost), Fixed([0.5])), **changes)


# ---- the optimal steady state ----


def test_a_set_point_inside_the_cost_is_found() -> None:
    reading = tank(lambda x, u, xr, ur: (x.level - 3) ** 2 + 0.1 * u.flow**2).reading
    assert not reading.is_stationary
    assert Part.COST_ELSEWHERE in reading.parts
    steady = reading.free_steady_state
    assert steady is not None
    np.testing.assert_allclose([*steady.x, *steady.u, steady.cost], [3.0, 0.0, 0.0], atol=1e-7)


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.7])
def test_a_linear_cost_moves_the_steady_state_and_its_multiplier(weight: float) -> None:
    """Steady: T = 5 + 4 q, so min (T - 20)^2 + p q lies at 2 (T - 20) 4 + p = 0."""
    task = room(lambda x, u, xr, ur: (x.T - 20) ** 2 + weight * u.q)
    steady = task.reading.free_steady_state
    assert steady is not None
    q = (20 - weight / 8 - 5) / 4
    np.testing.assert_allclose([*steady.x, *steady.u], [5 + 4 * q, q], atol=1e-6)
    # The multiplier is the slope of the best cost with respect to a drift of the plant: d l / d T dT + ... = 0.
    step = task.dynamics.function()
    x, u, w, p = step.sx_in()
    slopes = ca.Function("s", [x, u], [ca.jacobian(step(x, u, w, p), x), ca.jacobian(step(x, u, w, p), u)])
    a, b = (float(v) for v in slopes(steady.x, steady.u))
    assert weight + steady.multipliers[0] * b == pytest.approx(0.0, abs=1e-6)
    assert 2 * (steady.x[0] - 20) + steady.multipliers[0] * (a - 1) == pytest.approx(0.0, abs=1e-6)
    assert task.reading.is_stationary == (weight == 0.0)


def test_a_reference_at_a_kink_is_where_the_optimum_lies() -> None:
    """2 per degree below 20 outweighs 0.3 per kW, so 20 degC is cheapest; at 0.05 per degree it is not."""
    for weight, right in ((2.0, 20.0), (0.05, 5.0)):
        steady = room(lambda x, u, xr, ur, w=weight: 0.3 * u.q + w * ca.fmax(20 - x.T, 0)).reading.steady_state
        assert steady is not None
        assert steady.x[0] == pytest.approx(right, abs=1e-5)


def test_constraints_hold_the_steady_state_and_are_named() -> None:
    reading = cartpole_track().reading
    assert reading.violated == ("track",)
    assert reading.free_steady_state is not None
    np.testing.assert_allclose(reading.free_steady_state.x, [0.8, 0, 0, 0], atol=1e-9)
    assert reading.steady_state is not None
    np.testing.assert_allclose(reading.steady_state.x, [0.7, 0, 0, 0], atol=1e-6)
    assert reading.steady_state.active == ("track",)
    comfort = room(lambda x, u, xr, ur: 0.3 * u.q, constraints=(Box("comfort", {"T": (20.0, np.inf)}).soft(2.0),))
    assert comfort.reading.steady_state is not None
    assert comfort.reading.free_steady_state is not None
    assert comfort.reading.steady_state.x[0] == pytest.approx(20.0, abs=1e-5)
    assert comfort.reading.free_steady_state.x[0] == pytest.approx(5.0, abs=1e-5)


def test_a_plant_that_cannot_stay_has_no_steady_state() -> None:
    @dataclass(frozen=True)
    class Batch(Plant):
        state, input = signals("x [-]", "clock [s]"), signals("u [-]")

        def ode(self, x: Any, u: Any, w: Any) -> Any:
            return u.u, ca.SX(1.0)

    task = Task("batch", Batch(), 0.5, 10, Quadratic(Q=[1, 0], R=[1]), Fixed([0, 0]))
    assert task.reading.steady_state is None
    assert not task.reading.follows


def test_against_another_solver_on_a_nonlinear_plant() -> None:
    """A reactor with an economic cost, by scipy's SLSQP."""

    @dataclass(frozen=True)
    class Reactor(Plant):
        state, input = signals("a [-]", "b [-]"), signals("q [-]")

        def ode(self, x: Any, u: Any, w: Any) -> Any:
            return u.q * (1 - x.a) - 0.4 * x.a, -u.q * x.b + 0.4 * x.a - 0.05 * x.b**2

        def limits(self) -> Any:
            return {"q": (0.0, 2.0)}

    task = Task(
        "reactor", Reactor(), 0.5, 50,
        Nonlinear(lambda x, u, xr, ur: -2 * u.q * x.b + 0.5 * u.q),
        Fixed([0.5, 0.5]), reference=SetPoint([0.5, 0.5], [0.5]),
    )  # fmt: skip
    steady = task.reading.steady_state
    assert steady is not None
    found = minimize(
        lambda z: -2 * z[2] * z[1] + 0.5 * z[2], [0.5, 0.5, 0.5], method="SLSQP", options={"ftol": 1e-14},
        bounds=[(None, None), (None, None), (0.0, 2.0)],
        constraints={"type": "eq", "fun": lambda z: np.array(task.plant.casadi()(z[:2], z[2:], 0, 0))[:, 0]},
    )  # fmt: skip
    np.testing.assert_allclose([*steady.x, *steady.u], found.x, atol=1e-4)
    assert steady.cost == pytest.approx(found.fun, abs=1e-8)


def test_a_maximum_of_the_cost_is_not_taken_for_a_minimum() -> None:
    task = tank(lambda x, u, xr, ur: ca.cos(x.level) + u.flow**2)
    assert not task.reading.is_stationary
    steady = task.reading.free_steady_state
    assert steady is not None
    assert steady.cost == pytest.approx(-1.0, abs=1e-6)


# ---- parts ----


def test_parts_are_those_that_the_task_has() -> None:
    plain = Task("p", LinearPlant(0.5 * np.eye(1), np.eye(1), dt=1.0), 1.0, 5, Quadratic(Q=[1], R=[1]), Fixed([1.0]))
    assert plain.reading.parts == frozenset()
    assert {Part.NONLINEAR_PLANT, Part.SOFT, Part.DISTURBANCE, Part.DOMAIN} == cartpole().reading.parts
    biased = dataclasses.replace(cartpole(), disturbance=Uniform({"push": 0.1}, {"push": 0.3}))
    assert Part.BIASED_DISTURBANCE in biased.reading.parts
    excess = dataclasses.replace(plain, constraints=(Inequality("dose", lambda x, u: u.u1).budget(1.0, of="excess"),))
    assert excess.reading.parts == {Part.EXCESS_BUDGET}
    assert excess.reading.conditions.names == ()
    bounds = dataclasses.replace(plain, constraints=(Box("input", {"u1": (-1, 1)}),))
    assert bounds.reading.parts == frozenset()  # part of the input bounds
    with_terminal_cost = dataclasses.replace(plain, cost=Quadratic(Q=[1], R=[1], P=[3]))
    assert with_terminal_cost.reading.parts == {Part.TERMINAL_COST}


def test_what_is_not_differentiable_at_the_reference_is_named() -> None:
    @dataclass(frozen=True)
    class Drag(Plant):
        state, input = signals("p [m]", "v [m/s]"), signals("a [m/s2]")

        def ode(self, x: Any, u: Any, w: Any) -> Any:
            return x.v, u.a - ca.sqrt(x.v**2 + 0 * x.p) * x.v - ca.sqrt(x.p**2 + x.v**2) * x.v

    task = Task("drag", Drag(), 0.1, 20, Quadratic(Q=[1, 1], R=[1]), Fixed([1.0, 0.0]))
    assert task.reading.singular == ("p", "v")
    assert task.reading.is_singular_on_the_way
    assert task.reading.is_stationary  # its cost is zero there, whatever the derivatives
    moved = dataclasses.replace(task, reference=SetPoint([1.0, 1.0]), initial=Fixed([1.0, 0.5]))
    assert moved.reading.singular == ()
    assert not moved.reading.is_singular_on_the_way


# ---- signals whose values come round ----


@dataclass(frozen=True)
class Robot(Plant):
    """A unicycle."""

    state, input = signals("px [m]", "py [m]", angle("yaw [rad]")), signals("v [m/s]", "omega [rad/s]")

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        return u.v * ca.cos(x.yaw), u.v * ca.sin(x.yaw), u.omega


def robot(**changes: Any) -> Task:
    made = Task("robot", Robot(), 0.05, 50, Quadratic(Q=[1, 1, 1], R=[1, 1]), Fixed([0, 0, 0]))
    return dataclasses.replace(made, **changes)


def test_a_turn_changes_neither_cost_nor_arrival() -> None:
    task = robot(reference=SetPoint([0.0, 0.0, 3.0]), tolerance=[0.1, 0.1, 0.1])
    stage = task.stage_cost_function()
    for turns in (-2, 0, 1, 5):
        x = [0.0, 0.0, 3.3 + 2 * np.pi * turns]
        assert float(stage(x, [0, 0], [0, 0, 3.0], [0, 0])) == pytest.approx(0.09, abs=1e-9)
        assert task.arrived(np.array([0.05, 0.0, 3.05 + 2 * np.pi * turns]), 0)
    assert not task.arrived(np.array([0.0, 0.0, 3.0 + np.pi]), 0)
    assert float(stage([0, 0, -3.0], [0, 0], [0, 0, 3.0], [0, 0])) == pytest.approx((2 * np.pi - 6.0) ** 2)


def test_a_wrapped_table_is_read_as_one_that_goes_on() -> None:
    yaw = 0.1 * np.arange(120)
    table = np.c_[np.zeros(120), np.zeros(120), (yaw + np.pi) % (2 * np.pi) - np.pi]
    states, _ = robot(reference=Trajectory(table)).reading.window(10, 80)
    np.testing.assert_allclose(np.diff(states[:, 2]), 0.1, atol=1e-9)
    late, _ = robot(reference=Trajectory(table)).reading.window(110, 30)  # beyond what is tabulated
    assert np.abs(np.diff(late[:, 2])).max() < 0.11


def test_what_does_not_come_round_is_refused() -> None:
    with pytest.raises(InvalidValue, match="yaw is declared periodic, but the stage cost changes"):
        robot(cost=Nonlinear(lambda x, u, xr, ur: x.yaw**2 + u.v**2))
    with pytest.raises(InvalidValue, match="but the constraint 'lean' changes"):
        robot(constraints=(Inequality("lean", lambda x, u: x.yaw - 1),))
    with pytest.raises(InvalidValue, match="two bounds"):
        robot(constraints=(Box("lean", {"yaw": (-np.inf, 1.0)}),))

    @dataclass(frozen=True)
    class Spring(Robot):
        def ode(self, x: Any, u: Any, w: Any) -> Any:
            return u.v, x.yaw, u.omega

    with pytest.raises(InvalidValue, match="but the plant changes"):
        robot(plant=Spring())
    boxed = robot(constraints=(Box("lean", {"yaw": (-1.0, 1.0)}),))
    np.testing.assert_allclose(boxed.margin_function()([0, 0, 6.5], [0, 0]), [[6.5 - 2 * np.pi - 1.0]])


def test_undeclared_angles_of_a_plant_are_recognised() -> None:
    assert np.isfinite(pendulum_swing_up().reading.state.periods).tolist() == [True, False]
    assert cartpole().reading.state.is_euclidean


def test_both_signs_of_a_quaternion_are_one_attitude() -> None:
    declared = signals(*quaternion("w", "x", "y", "z"), "rate [rad/s]")
    q, ref = np.array([-0.9, 0.1, -0.2, 0.3, 5.0]), np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(declared.nearest(q, ref), [0.9, -0.1, 0.2, -0.3, 5.0])
    x, xr = declared.symbol(), declared.symbol()
    near = ca.Function("near", [x, xr], [declared.nearest_expression(x, xr)])
    np.testing.assert_allclose(np.array(near(q, ref))[:, 0], declared.nearest(q, ref))
    sequence = np.array([[1.0, 0, 0, 0, 0], [-0.99, 0, 0, -0.14, 0], [0.96, 0, 0, 0.28, 0], [-0.9, 0, 0, -0.43, 0]])
    assert (declared.continuous(sequence)[:, 0] > 0).all()
    assert quadrotor().reading.state.is_euclidean or quadrotor().confined.all()


@pytest.mark.parametrize(("text", "period"), [("a [rad]", 2 * np.pi), ("a [deg]", 360.0)])
def test_representatives_of_angles(text: str, period: float) -> None:
    declared = signals(angle(text))
    rng = np.random.default_rng(0)
    a, b = 50 * rng.normal(size=(100, 1)), 50 * rng.normal(size=(100, 1))
    near = declared.nearest(a, b)
    assert (np.abs(near - b) <= period / 2 + 1e-9).all()
    turns = (near - a) / period
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-9)


def test_misuse_of_angles() -> None:
    with pytest.raises(InvalidValue, match="full turn is not known"):
        angle("a [gon]")
    for wrong in (0.0, -1.0, np.inf, np.nan, True):
        with pytest.raises(InvalidValue, match="above 0"):
            angle("a [rad]", period=wrong)
    assert angle("a [gon]", period=400.0).period == 400.0


def test_a_copy_in_another_process_works_it_out_anew() -> None:
    task = pickle.loads(pickle.dumps(cartpole_track())) if _picklable(cartpole_track()) else cartpole_track()
    assert "reading" not in task.__dict__
    assert task.reading.violated == ("track",)


def _picklable(task: Task) -> bool:
    try:
        pickle.dumps(task)
    except (pickle.PicklingError, AttributeError):
        return False
    return True


# ---- references on a bound and beyond, in any unit ----


@pytest.mark.parametrize("unit", [1e-10, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize(
    ("beyond", "violated"), [(-1e-3, False), (0.0, False), (1e-12, False), (1e-6, True), (0.3, True)]
)
@pytest.mark.parametrize("kind", ["state", "polytope", "curved", "input"])
def test_a_reference_is_beyond_a_bound_in_any_unit(unit: float, beyond: float, violated: bool, kind: str) -> None:
    """By 1e-12 of its size it is by rounding, by 1e-6 it is not."""
    plant = LinearPlant([[0.5]], [[0.5]], dt=1.0, input_limits=((-unit, unit),) if kind == "input" else ())
    at = unit * (1.0 + beyond)
    bounds = {
        "state": (Box("bound", {"x1": (-unit, unit)}),),
        "polytope": (Polytope("bound", ["x1"], [[3.0]], [3.0 * unit]),),
        "curved": (Inequality("bound", lambda x, u: (x.x1 / unit) ** 2 - 1.0),),
        "input": (),
    }[kind]
    task = Task("edge", plant, 1.0, 5, Quadratic([1.0], [1.0]), Fixed([0.0]), bounds, SetPoint([at], [at]))
    expected = {"input": ("u1",)}.get(kind, ("bound",))
    assert task.reading.violated == (expected if violated else ())
    found = float(task.reading.steady_state.x[0])
    if violated:
        near = 1e-4 if beyond < 0.1 else 1e-6
        assert unit * (1 - near) <= found <= unit * (1 + 1e-8)
    else:
        assert found == at


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e4])
def test_a_soft_bound_and_a_kinked_cost_move_the_steady_state_alike_in_any_unit(unit: float) -> None:
    """The optimum of (x - 2)^2 + 1.5 max(0, x - 1) + 0.1 |x - 2| is at 1.3, by hand; all in units of the state."""
    plant = LinearPlant([[0.5]], [[0.5]], dt=1.0)
    task = Task(
        "soft",
        plant,
        1.0,
        5,
        Nonlinear(lambda x, u, xr, ur: ((x.x1 - 2 * unit) / unit) ** 2 + 0.1 * ca.fabs(x.x1 / unit - 2.0) + 0 * u.u1),
        Fixed([0.0]),
        (Box("bound", {"x1": (-unit, unit)}).soft(1.5 / unit),),
        SetPoint([2 * unit], [2 * unit]),
    )
    steady = task.reading.steady_state
    assert steady.x / unit == pytest.approx(1.3, rel=1e-4)
    assert steady.cost == pytest.approx(0.49 + 0.45 + 0.07, rel=1e-4)
