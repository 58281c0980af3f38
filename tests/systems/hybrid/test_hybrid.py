"""Hybrid systems against answers in closed form, and the errors of what does not fit together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from ctrl import simulate
from systems import DimensionMismatch, InvalidValue, LinearPlant, Plant, Quadratic, Task, Uniform, UnknownName, signals
from systems.hybrid import End, HybridSystem, Mode, SampledHybrid, Transition, WithIntegral, simulate_hybrid
from systems.signals import Signal, Vector

GRAVITY, BOUNCE = 9.81, 0.8


@dataclass(frozen=True)
class Ball(Plant):
    gravity: float = GRAVITY

    state = signals("height [m]", "speed [m/s]")
    input = signals("thrust [m/s^2]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return x.speed, u.thrust - self.gravity


@dataclass(frozen=True)
class Room(Plant):
    heating: float = 0.0  # degC at rest above the surroundings
    time_constant: float = 10.0

    state = signals("temperature [degC]")
    input = signals("none [-]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return ((self.heating - x.temperature) / self.time_constant,)


def ball(bounce: float = BOUNCE) -> HybridSystem:
    flight = Mode("flight", Ball())
    impact = Transition("flight", "flight", lambda x: x.height, lambda x: (x.height, -bounce * x.speed))
    return HybridSystem((flight,), (impact,))


def thermostat(low: float = 18.0, high: float = 22.0) -> HybridSystem:
    modes = (Mode("off", Room()), Mode("on", Room(heating=40.0)))
    return HybridSystem(
        modes,
        (
            Transition("off", "on", lambda x: x.temperature - low),
            Transition("on", "off", lambda x: high - x.temperature),
        ),
    )


def idle(mode: str, x: np.ndarray, k: int) -> np.ndarray:
    return np.zeros(1)


def test_a_bouncing_ball_lands_when_the_formula_says() -> None:
    """Impacts at t0 + 2 v0 / g (e + e^2 + ...), with speeds e^i v0; a parabola is exact for Runge-Kutta."""
    height = 2.0
    run = simulate_hybrid(ball(), "flight", np.array([height, 0.0]), idle, 40, 0.1)
    first, speed = np.sqrt(2 * height / GRAVITY), np.sqrt(2 * height * GRAVITY)
    bounces = BOUNCE ** np.arange(1, len(run.switches))
    impacts = np.concatenate(([first], first + np.cumsum(2 * speed / GRAVITY * bounces)))
    assert len(run.switches) >= 4
    np.testing.assert_allclose([s.time for s in run.switches], impacts, rtol=0, atol=1e-11)
    np.testing.assert_allclose(
        [s.before[1] for s in run.switches], -speed * BOUNCE ** np.arange(len(impacts)), rtol=1e-11
    )
    np.testing.assert_allclose([s.before[0] for s in run.switches], 0.0, atol=1e-11)
    assert run.end is End.FINISHED
    assert len(run.states) == 41
    assert run.times[-1] == pytest.approx(4.0)


def test_the_ball_comes_to_rest_and_the_run_says_zeno() -> None:
    """All impacts are over by first (1 + 2 e / (1 - e)): infinitely many in finite time."""
    run = simulate_hybrid(ball(0.5), "flight", np.array([1.0, 0.0]), idle, 100, 0.1)
    accumulation = np.sqrt(2 / GRAVITY) * (1 + 2 * 0.5 / (1 - 0.5))
    assert run.end is End.ZENO
    assert run.switches[-1].time == pytest.approx(accumulation, abs=1e-6)
    assert all(s.after[1] >= 0 for s in run.switches[:20])  # no impact turns a rising ball down


def test_a_thermostat_has_the_period_of_the_formula() -> None:
    """Off: tau log(high / low). On, towards 40: tau log((40 - low) / (40 - high))."""
    run = simulate_hybrid(thermostat(), "off", np.array([22.0]), idle, 120, 0.25)
    times = np.array([s.time for s in run.switches])
    off, on = 10 * np.log(22 / 18), 10 * np.log(22 / 18)  # symmetric about 20
    assert [s.target for s in run.switches[:4]] == ["on", "off", "on", "off"]
    np.testing.assert_allclose(np.diff(times), np.resize([on, off], len(times) - 1), atol=1e-9)
    assert times[0] == pytest.approx(off, abs=1e-9)
    assert min(x[0] for x in run.states) >= 18 - 1e-9
    assert max(x[0] for x in run.states) <= 22 + 1e-9


def test_a_guard_below_zero_at_the_start_is_taken_at_once_only_where_it_decreases() -> None:
    cold = simulate_hybrid(thermostat(), "off", np.array([15.0]), idle, 1, 0.1)
    assert cold.switches[0].time == 0.0
    assert cold.modes[-1] == "on"
    rising = simulate_hybrid(ball(), "flight", np.array([-0.1, 3.0]), idle, 1, 0.1)
    assert not rising.switches


def test_the_first_of_two_transitions_counts() -> None:
    system = thermostat()
    both = replace(system, transitions=(Transition("off", "off", lambda x: x.temperature - 18.0), *system.transitions))
    assert simulate_hybrid(both, "off", np.array([18.0]), idle, 1, 1e-3, max_switches=3).end is End.ZENO
    assert simulate_hybrid(system, "off", np.array([18.0]), idle, 1, 1e-3).modes[-1] == "on"


def test_the_sampled_plant_changes_mode_at_samples_within_a_sample_of_the_located_one() -> None:
    dt = 0.05
    plant = SampledHybrid(thermostat(), dt)
    task = Task(
        name="thermostat",
        plant=plant,
        dt=dt,
        steps=200,
        cost=Quadratic(Q={"temperature": 1.0}, R={"none": 1.0}),
        initial=Uniform({"temperature": 20.0, "mode": 0.0}, {"temperature": 21.0, "mode": 0.0}),
    )
    step, x = task.dynamics.lower("numpy"), np.array([21.0, 0.0])
    located = simulate_hybrid(thermostat(), "off", x[:1], idle, 200, dt)
    changes, modes = [], [0.0]
    for k in range(200):
        x = step(x, np.zeros(1), np.zeros(0), np.zeros(0))
        if x[1] != modes[-1]:
            changes.append((k + 1) * dt)
        modes.append(float(x[1]))
    ours = np.array([s.time for s in located.switches])
    assert len(changes) == len(ours) == 5
    late = np.array(changes) - ours
    assert (late >= 0).all()
    assert (late <= dt * (1 + np.arange(5) * 2)).all()
    runs = simulate(task, idle_controller(), np.array([[21.0, 0.0]]), np.zeros((1, 200, 0)))
    np.testing.assert_array_equal(runs.states[0, :, 1], modes)


def idle_controller() -> Any:
    from ctrl import Decision

    class Idle:
        def reset(self) -> None: ...

        def step(self, x: np.ndarray, k: int) -> Decision:
            return Decision(np.zeros(1))

    return Idle()


def test_the_sampled_ball_never_turns_a_rising_ball_down() -> None:
    step = SampledHybrid(ball(), 0.02).casadi()
    x = np.array([0.5, 0.0, 0.0])
    for _ in range(200):
        after = np.array(step(x, 0.0, [], [])).ravel()
        assert after[1] >= x[1] - GRAVITY * 0.02 - 1e-12
        x = after


def test_a_mode_clips_to_its_own_limits() -> None:
    @dataclass(frozen=True)
    class Weak(Ball):
        most: float = 1.0

        def limits(self) -> dict[str, tuple[float, float]]:
            return {"thrust": (-self.most, self.most)}

    modes = (Mode("weak", Weak()), Mode("strong", Weak(most=5.0)))
    system = HybridSystem(modes)
    plant = SampledHybrid(system, 0.1)
    assert plant.limits() == {"thrust": (-5.0, 5.0)}
    step = plant.casadi()
    for index, most in ((0.0, 1.0), (1.0, 5.0)):
        speed = float(step([100.0, 0.0, index], 9.0, [], [])[1])
        assert speed == pytest.approx(0.1 * (most - GRAVITY))
        run = simulate_hybrid(
            system, system.modes[int(index)].name, np.array([100.0, 0.0]), lambda m, x, k: np.array([9.0]), 1, 0.1
        )
        assert run.states[-1][1] == pytest.approx(0.1 * (most - GRAVITY))


def test_an_integral_counts_and_changes_nothing_else() -> None:
    plant = WithIntegral(Ball(), Signal("fallen", "m"), lambda plant, x: -x.speed)
    assert plant.state.names == ("height", "speed", "fallen")
    assert plant.parameters == {"gravity": GRAVITY}
    run = simulate_hybrid(HybridSystem((Mode("flight", plant),)), "flight", np.array([2.0, 1.0, 0.0]), idle, 10, 0.1)
    bare = simulate_hybrid(HybridSystem((Mode("flight", Ball()),)), "flight", np.array([2.0, 1.0]), idle, 10, 0.1)
    np.testing.assert_array_equal(run.states[-1][:2], bare.states[-1])
    assert run.states[-1][2] == pytest.approx(2.0 - run.states[-1][0])
    timed = WithIntegral(Ball(), Signal("elapsed", "s"), lambda plant, x: 1.0)
    bell = HybridSystem(
        (Mode("a", timed), Mode("b", timed)),
        (Transition("a", "b", lambda x: 0.123 - x.elapsed, lambda x: (x.height, x.speed, 0.0)),),
    )
    (switch,) = simulate_hybrid(bell, "a", np.array([5.0, 0.0, 0.0]), idle, 5, 0.1).switches
    assert switch.time == pytest.approx(0.123, abs=1e-12)


def test_modes_of_different_states_run_but_have_no_ordinary_plant() -> None:
    point = LinearPlant([[0.0]], [[1.0]], state=signals("place [m]"), input=signals("thrust [m/s^2]"))
    system = HybridSystem(
        (Mode("ball", Ball()), Mode("point", point)),
        (Transition("ball", "point", lambda x: x.height, lambda x: (x.height + 7.0,)),),
    )
    run = simulate_hybrid(system, "ball", np.array([0.1, 0.0]), idle, 5, 0.1)
    assert run.modes[-1] == "point"
    assert run.states[-1] == pytest.approx([7.0])
    with pytest.raises(InvalidValue, match="different states"):
        SampledHybrid(system, 0.1)


def test_what_does_not_fit_is_refused_where_it_is_written() -> None:
    flight = Mode("flight", Ball())
    with pytest.raises(UnknownName, match="Did you mean 'flight'"):
        HybridSystem((flight,), (Transition("flight", "fligt", lambda x: x.height),))
    with pytest.raises(UnknownName, match="hight"):
        HybridSystem((flight,), (Transition("flight", "flight", lambda x: x.hight),))
    with pytest.raises(InvalidValue, match="does not depend on the state"):
        HybridSystem((flight,), (Transition("flight", "flight", lambda x: 1.0),))
    with pytest.raises(DimensionMismatch, match=r"returned shape \(1, 1\)"):
        HybridSystem((flight,), (Transition("flight", "flight", lambda x: x.height, lambda x: (x.height,)),))
    with pytest.raises(DimensionMismatch, match="one expression"):
        HybridSystem((flight,), (Transition("flight", "flight", lambda x: x.column),))
    with pytest.raises(InvalidValue, match="names given twice: flight"):
        HybridSystem((flight, flight))
    with pytest.raises(InvalidValue, match="without modes"):
        HybridSystem(())
    with pytest.raises(InvalidValue, match="all modes need the same"):
        HybridSystem((flight, Mode("room", Room())))
    with pytest.raises(InvalidValue, match="guard of the transition a -> b takes"):
        Transition("a", "b", lambda: 1.0)
    with pytest.raises(InvalidValue, match="expected an instance of Plant"):
        Mode("flight", 3.0)  # type: ignore[arg-type]
    discrete = LinearPlant([[1.0]], [[1.0]], dt=0.1, state=signals("place [m]"), input=signals("thrust [m/s^2]"))
    with pytest.raises(InvalidValue, match="continuous and in discrete time"):
        HybridSystem((flight, Mode("point", discrete)))
    with pytest.raises(InvalidValue, match="use SampledHybrid"):
        simulate_hybrid(HybridSystem((Mode("point", discrete),)), "point", np.zeros(1), idle, 1, 0.1)
    with pytest.raises(DimensionMismatch, match="feedback returned"):
        simulate_hybrid(ball(), "flight", np.array([1.0, 0.0]), lambda mode, x, k: np.zeros(2), 1, 0.1)
    with pytest.raises(InvalidValue, match="nothing to integrate"):
        WithIntegral(discrete, Signal("sum", "m"), lambda plant, x: x.place)


def test_a_discrete_system_changes_mode_at_samples() -> None:
    """Counts down from 3 and starts again where 0 is reached: its guard's rate is the next sample's change."""
    count = LinearPlant([[1.0]], [[0.0]], c=[-1.0], dt=1.0, state=signals("count [-]"), input=signals("none [-]"))
    system = HybridSystem((Mode("down", count),), (Transition("down", "down", lambda x: x.count, lambda x: (3.0,)),))
    step, x, seen = SampledHybrid(system, 1.0).casadi(), [3.0, 0.0], []
    for _ in range(6):
        x = np.array(step(x, 0.0, [], [])).ravel()
        seen.append(x[0])
    assert seen == [2.0, 1.0, 3.0, 2.0, 1.0, 3.0]
