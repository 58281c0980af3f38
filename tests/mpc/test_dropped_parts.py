"""Parts of a task that a controller, filter or estimator must take or refuse, each with two tasks that have it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR, KalmanFilter, NotApplicable, OffsetFree, OutputFeedback, simulate
from ctrl.certify import Certificate, largest_level
from ctrl.filters import BarrierFilter, Filtered, Shield
from mpc import (
    MPPI,
    CovarianceSteering,
    CrossEntropyMPC,
    HarmonicMPC,
    LinearMPC,
    MovingHorizonEstimator,
    NonlinearMPC,
    Scenario,
    ScenarioMPC,
    TrackingMPC,
)
from mpc.filters import PredictiveFilter
from systems import (
    Box,
    Fixed,
    Gaussian,
    Inequality,
    InvalidValue,
    LinearPlant,
    Measurement,
    Nonlinear,
    Plant,
    Quadratic,
    SetPoint,
    Signals,
    Task,
    Trajectory,
    Uniform,
    UnknownName,
    Vector,
    angle,
    quaternion,
    signals,
)


@dataclass(frozen=True)
class Cart(Plant):
    state = signals("p [m]", "v [m/s]")
    input = signals("f [N]")
    mass: float = 1.0
    most: float = 1.0
    share: float = 1.0

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return x.v, u.f / self.mass

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"f": (max(-5.0, -self.share), self.most)}


@dataclass(frozen=True)
class Arm(Plant):
    state = signals(angle("turn [rad]"), "rate [rad/s]")
    input = signals("torque [N m]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return x.rate, u.torque - 0.3 * x.rate + 2.0 * ca.sin(x.turn)

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"torque": (-5.0, 5.0)}


@dataclass(frozen=True)
class Attitude(Plant):
    state = Signals(quaternion("qw", "qx", "qy", "qz"))
    input = signals("a [rad/s]", "b [rad/s]", "c [rad/s]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return (
            0.5 * (-x.qx * u.a - x.qy * u.b - x.qz * u.c),
            0.5 * (x.qw * u.a + x.qy * u.c - x.qz * u.b),
            0.5 * (x.qw * u.b - x.qx * u.c + x.qz * u.a),
            0.5 * (x.qw * u.c + x.qx * u.b - x.qy * u.a),
        )

    def limits(self) -> dict[str, tuple[float, float]]:
        return dict.fromkeys(self.input.names, (-1.0, 1.0))


def cart(**changes: Any) -> Task:
    task = Task(
        "cart", Cart(), 0.2, 20, Quadratic([1, 0.1], [0.1]), Uniform([-0.2, -0.1], [0.2, 0.1]),
        domain=Box("domain", {"p": (-2.0, 2.0), "v": (-2.0, 2.0)}),
    )  # fmt: skip
    return replace(task, **changes)


def turning(speed: float) -> Task:
    turns = 2.8 + speed * np.arange(40)
    wrapped = (turns + np.pi) % (2 * np.pi) - np.pi
    reference = Trajectory(np.c_[wrapped, np.full(40, speed / 0.1)])
    return Task("arm", Arm(), 0.1, 30, Quadratic([4, 0.2], [0.05], [6, 1]), Fixed([2.8, 0.0]), reference=reference)


def pointing() -> Task:
    cost, start = Quadratic([1, 1, 1, 1], [0.1, 0.1, 0.1], [5, 5, 5, 5]), [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]
    return Task("pointing", Attitude(), 0.1, 30, cost, Fixed(start), reference=SetPoint([1.0, 0, 0, 0]))


@pytest.mark.parametrize(
    ("task", "x"),
    [
        (turning(0.25), np.array([2.5 - 4 * np.pi, 2.0])),
        (turning(0.0), np.array([-3.0, 0.4])),
        (pointing(), np.array([-0.6, 0.0, -0.8, 0.0])),
    ],
)
def test_scenarios_of_a_periodic_signal(task: Task, x: np.ndarray) -> None:
    """Two equal scenarios are one; each has its own nearest reference."""
    both = ScenarioMPC(task, [Scenario(), Scenario(weight=2.0)], 6).step(x, 2)
    np.testing.assert_allclose(both.input, NonlinearMPC(task, 6).step(x, 2).input, rtol=1e-4, atol=1e-4)


def test_scenarios_with_weak_actuators_are_refused() -> None:
    with pytest.raises(InvalidValue, match=r"limits f to \[-1, 0\.3\], but task 'cart' permits \[-1, 1\]"):
        ScenarioMPC(cart(), [Scenario(), Scenario(Cart(most=0.3))], 4)
    plants = [LinearPlant([[1.0]], [[1.0]], dt=1.0, input_limits=((low, 2.0),)) for low in (-3.0, -2.0)]
    task = Task("sum", plants[0], 1.0, 5, Quadratic([1], [1]), Fixed([1.0]))
    with pytest.raises(InvalidValue, match=r"Box\(.limits., \{.u1.: \(-2, 2\)\}\)"):
        ScenarioMPC(task, [Scenario(plants[1])], 2)
    tightened = replace(task, constraints=(Box("limits", {"u1": (-2.0, 2.0)}),))
    ScenarioMPC(tightened, [Scenario(plants[1]), Scenario(plants[0])], 2)


def test_weights_of_scenarios_may_be_large() -> None:
    x = np.array([0.5, 0.0])
    large, one = (ScenarioMPC(cart(), [Scenario(weight=w), Scenario(weight=w)], 4).step(x, 0) for w in (1.5e308, 1.0))
    np.testing.assert_allclose(large.input, one.input, atol=1e-9)


@dataclass(frozen=True)
class Sliding(Plant):
    state = signals("p [m]", "v [m/s]")
    input = signals("f [N]")
    friction: float = 0.0
    leak: float = 0.0

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        force = u.f
        if self.friction > 0:
            force = force - self.friction * ca.sign(x.v)
        if self.leak > 0:
            force = force - self.leak * ca.sqrt(x.p)
        return x.v, force


def test_what_scenarios_approximate_is_announced() -> None:
    task = Task("sliding", Sliding(), 0.2, 20, Quadratic([1, 0.1], [0.1]), Fixed([0.5, 0.0]))
    for plant, said in (
        (Sliding(friction=0.2), "solves with sign in the plant"),
        (Sliding(leak=0.1), "replaces roots"),
    ):
        smooth, rough = ([Scenario(), Scenario(other)] for other in (Sliding(), plant))
        assert not ScenarioMPC(task, smooth, 4, terminal="task").approximations
        assert any(said in text for text in ScenarioMPC(task, rough, 4, terminal="task").approximations)


@pytest.mark.parametrize("name", ["most", "share"])
def test_parameters_that_set_limits_cannot_change(name: str) -> None:
    with pytest.raises(InvalidValue, match=f"{name} sets the limits of the inputs, which set_parameters does not"):
        NonlinearMPC(cart(), 4, parameters=("mass", name))
    NonlinearMPC(cart(), 4, parameters=("mass",))


@pytest.mark.parametrize(
    ("cost", "where"),
    [
        (Nonlinear(lambda x, u, xr, ur: (x.p - 1) ** 2 + 0.1 * x.v**2 + 0.1 * u.f**2), "p = 1"),
        (Nonlinear(lambda x, u, xr, ur: ca.fmax(0.4 - x.p, 0) * 3 + x.p**2 + x.v**2 + u.f**2), "p = 0.4"),
    ],
)
def test_offset_free_control_needs_a_reference_of_least_cost(cost: Nonlinear, where: str) -> None:
    task = cart(cost=cost, measurement=Measurement(signals("p [m]"), noise=Gaussian([1e-3])))
    with pytest.raises(NotApplicable, match=f"optimal steady state {where}"):
        OffsetFree(NonlinearMPC(task, 4), task)


@pytest.mark.parametrize("make", [lambda task: TrackingMPC(task, 6), lambda task: HarmonicMPC(task, 6, frequency=0.3)])
def test_artificial_references_say_where_they_settle(make: Any) -> None:
    """The stage cost of the tank is least at 0.9; the artificial reference prefers the reference 1."""
    plant = LinearPlant([[0.9]], [[0.3]], dt=2.0, input_limits=((-5.0, 5.0),))
    tank = Task("tank", plant, 2.0, 60, Quadratic([1.0], [1.0]), Fixed([0.0]), reference=SetPoint([1.0]))
    end = simulate(tank, LinearMPC(tank, 6), np.zeros((1, 1))).states[0, -1, 0]
    assert end == pytest.approx(0.9, abs=1e-6)
    controller = make(tank)
    away = simulate(tank, controller, np.zeros((1, 1))).states[0, -1, 0]
    assert abs(away - end) > 0.05
    assert any("not at the optimal steady state x1 = 0.9" in text for text in controller.approximations)
    walled = cart(reference=SetPoint([1.5, 0.0]), constraints=(Box("wall", {"p": (-2.0, 1.0)}),))
    assert any(text.startswith("settles within 'wall'") for text in make(walled).approximations)
    assert not any("settles" in text for text in make(cart()).approximations)


def test_a_controller_of_another_sample_time_is_refused() -> None:
    fast, slow = cart(), cart(dt=0.5)
    said = r"samples of 0\.5 s, and is called every 0\.2 s"
    with pytest.raises(NotApplicable, match=f"LQR .* {said}"):
        simulate(fast, LQR(slow), np.zeros((1, 2)))
    with pytest.raises(NotApplicable, match=f"LinearMPC .* {said}"):
        simulate(fast, LinearMPC(slow, 4), np.zeros((1, 2)))
    walled = replace(fast, constraints=(Box("wall", {"p": (-1.0, 1.0)}),))
    with pytest.raises(NotApplicable, match=said):
        Filtered(LQR(slow), BarrierFilter(walled))
    measured = replace(fast, measurement=Measurement(signals("p [m]"), noise=Gaussian([1e-3])))
    for make in (LQR, lambda task: MPPI(task, 4)):
        with pytest.raises(NotApplicable, match=said):
            OutputFeedback(make(slow), KalmanFilter(measured))
        with pytest.raises(NotApplicable, match=said):
            OffsetFree(make(slow), measured)
    simulate(replace(fast, plant=Cart(mass=1.1)), LQR(fast), np.zeros((1, 2)))  # of another mass


@cache
def certificate() -> Certificate:
    return largest_level(cart(), LQR(cart()).law)


def test_shields_cover_the_parameters_that_are_drawn() -> None:
    assert Shield(cart(), certificate()).claim
    for low, high in ((0.5, 1.0), (1.0, 1.5)):
        varied = cart().with_variation(Uniform({"mass": low}, {"mass": high}))
        with pytest.raises(NotApplicable, match=f"mass from 1 to 1, but the task draws it from {low:g} to {high:g}"):
            Shield(varied, certificate())
    Shield(cart().with_variation(Uniform({"mass": 1.0}, {"mass": 1.0})), certificate())


def test_terminal_sets_fit_the_task_of_a_predictive_filter() -> None:
    PredictiveFilter(cart(constraints=(Box("wall", {"p": (-1.5, 1.5)}),)), certificate())
    for wall in (Box("wall", {"p": (-0.3, 1.0)}), Inequality("wall", lambda x, u: x.p + x.v - 0.3)):
        with pytest.raises(NotApplicable, match="does not provably satisfy the constraint 'wall'"):
            PredictiveFilter(cart(constraints=(wall,)), certificate())
    with pytest.raises(NotApplicable, match="beyond the bounds"):
        PredictiveFilter(cart(constraints=(Box("gentle", {"f": (-0.5, 1.0)}),)), certificate())
    for changes in ({"plant": Cart(mass=1.1)}, {"substeps": 2}):
        with pytest.raises(NotApplicable, match="another plant or sample time"):
            PredictiveFilter(cart(**changes), certificate())


@pytest.mark.parametrize(("turns", "declared"), [(1, True), (-2, False)])
def test_predictive_filters_know_that_angles_wrap(turns: int, declared: bool) -> None:
    """After whole turns the filter answers as before, also along a run that crosses half a turn."""
    plant = Arm()
    if not declared:  # the angle is recognised by its unit

        @dataclass(frozen=True)
        class Plain(Arm):
            state = signals("turn [rad]", "rate [rad/s]")

        plant = Plain()
    task = Task(
        "arm", plant, 0.05, 60,
        Nonlinear(lambda x, u, xr, ur: 1 - ca.cos(x.turn - xr.turn) + 0.1 * x.rate**2 + 0.01 * u.torque**2),
        Uniform([-0.2, -0.1], [0.2, 0.1]),
        constraints=(Inequality("cone", lambda x, u: 0.8 - ca.cos(x.turn)),),
    )  # fmt: skip
    here, there = PredictiveFilter(task, horizon=12), PredictiveFilter(task, horizon=12)
    whole, x, passed = np.array([2 * np.pi * turns, 0.0]), np.array([0.1, 0.0]), 0
    for k in range(16):
        one = here.correct(x, np.array([1.5]), k)
        other = there.correct(x + whole, np.array([1.5]), k)
        assert one.reason == other.reason
        np.testing.assert_allclose(one.input, other.input, atol=1e-5)
        passed += one.reason is None
        x = np.array(task.dynamics.function()(x, one.input, [], []))[:, 0]
        assert np.cos(x[0]) >= 0.8
    assert 0 < passed < 16


def test_misuse_that_was_accepted() -> None:
    measured = cart(measurement=Measurement(signals("p [m]"), noise=Gaussian([1e-3])))
    for name in ("f", "height"):
        with pytest.raises(UnknownName, match=name):
            MovingHorizonEstimator(measured, 3, bounds=Box("bounds", {name: (0.0, 1.0)}))
    for make in (MPPI, CrossEntropyMPC):
        with pytest.raises(InvalidValue, match=r"colour = 1000\.0"):
            make(cart(), 5, colour=1000.0)


def test_steering_announces_that_limits_are_kept_with_a_probability() -> None:
    plant = LinearPlant([[1.0]], [[1.0]], dt=1.0, input_limits=((-2.0, np.inf),))
    task = Task("sum", plant, 1.0, 3, Quadratic([1], [1]), Gaussian([0.1]))
    limited = CovarianceSteering(task, Gaussian([0.2]), input_probability=0.9)
    assert any("probability of 0.9" in text for text in limited.approximations)
    free = replace(task, plant=dataclasses.replace(plant, input_limits=()))
    assert not CovarianceSteering(free, Gaussian([0.2])).approximations


@pytest.mark.parametrize("per", ["episode", "discounted"])
def test_changes_of_a_task_do_not_renew_its_budgets(per: str) -> None:
    """A budget that is spent in part before the change; the cart brakes and accelerates by more than it allows."""
    gentle = Inequality("gentle", lambda x, u: ca.fabs(u.f) - 0.3).budget(0.5, per=per, of="excess")  # type: ignore[arg-type]
    task = cart(
        steps=12, discount=0.95, initial=Fixed([1.0, 0.0]), constraints=(gentle,), cost=Quadratic([1, 0.1], [0.01])
    )
    rate = 1.0 if per == "episode" else task.discount
    step = task.dynamics.function()
    for change in (
        lambda mpc: mpc.follow(SetPoint([-0.5, 0.0])),
        lambda mpc: mpc.set_cost(Quadratic([2, 0.1], [0.01])),
        lambda mpc: mpc.set_constraints((Box("fast", {"v": (-9.0, 9.0)}), gentle)),
    ):
        controller, x, spent = NonlinearMPC(task, 12, terminal="task"), np.array([1.0, 0.0]), 0.0
        for k in range(8):
            if k == 3:
                assert spent > 0.3
                change(controller)
            u = controller.step(x, k).input
            spent += rate**k * max(0.0, abs(u[0]) - 0.3)
            x = np.array(step(x, u, [], []))[:, 0]
        assert spent <= 0.5 + 1e-4


@pytest.mark.parametrize("name", ["mass", "drag"])
def test_changes_of_a_task_keep_parameters(name: str) -> None:
    @dataclass(frozen=True)
    class Dragged(Cart):
        drag: float = 0.0

        def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
            return x.v, (u.f - self.drag * x.v) / self.mass

    task, x = cart(plant=Dragged()), np.array([0.15, 0.1])
    ahead = SetPoint([0.1, 0.0])
    changed, made = (NonlinearMPC(t, 6, parameters=(name,)) for t in (task, replace(task, reference=ahead)))
    changed.set_parameters(np.array([2.0]))
    changed.follow(ahead)
    nominal = made.step(x, 0).input
    made.reset()
    made.set_parameters(np.array([2.0]))
    np.testing.assert_allclose(changed.step(x, 0).input, made.step(x, 0).input, atol=1e-6)
    assert np.abs(changed.step(x, 1).input - nominal).max() > 1e-2
    changed.reset()
    np.testing.assert_allclose(changed.step(x, 0).input, nominal, atol=1e-6)
