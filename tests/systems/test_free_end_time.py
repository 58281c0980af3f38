"""Free end time: minimum-time manoeuvres against their closed forms, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import simulate
from mpc import NonlinearMPC
from systems import (
    Box,
    DimensionMismatch,
    Fixed,
    Gaussian,
    InvalidValue,
    LinearPlant,
    Measurement,
    Nonlinear,
    Quadratic,
    Sinusoid,
    Task,
    sample_times,
    signals,
    with_free_end_time,
)
from systems.inputs import limit_changes
from systems.library import oscillating_masses

ACCELERATION = 2.0  # m/s^2


def move(distance: float, steps: int, **changes: Any) -> Task:
    """From rest over a distance to rest at zero, as fast as possible."""
    plant = LinearPlant(
        [[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]], state=signals("position [m]", "speed [m/s]"),
        input=signals("acceleration [m/s^2]"), input_limits=((-ACCELERATION, ACCELERATION),),
    )  # fmt: skip
    cost = Nonlinear(lambda x, u, xr, ur: 0.0, lambda x, xr: 100.0 * ca.fabs(x.position) + 100.0 * ca.fabs(x.speed))
    given: dict[str, Any] = {
        "name": "move", "plant": plant, "dt": 0.1, "steps": steps, "cost": cost, "initial": Fixed([-distance, 0.0]),
        "integrator": "exact",
    }  # fmt: skip
    return Task(**{**given, **changes})


@pytest.mark.parametrize("distance", [0.5, 3.0])
def test_minimum_time_of_the_double_integrator(distance: float) -> None:
    """2 sqrt(d / a), by bang-bang control; the plan ends at rest."""
    task = with_free_end_time(move(distance, 10), weight=1.0)
    controller = NonlinearMPC(task, task.steps, terminal="task")
    controller.step(np.array([-distance, 0.0]), 0)
    times = sample_times(task, controller.plan.u)
    assert times[-1] == pytest.approx(2.0 * np.sqrt(distance / ACCELERATION), rel=1e-5)
    assert controller.plan.x[-1] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert np.abs(controller.plan.u[:, 0]).max() <= ACCELERATION + 1e-8


def test_minimum_time_with_a_speed_limit() -> None:
    """d / v + v / a: accelerate, cruise, brake."""
    limited = move(4.0, 12, constraints=(Box("speed", {"speed": (-1.0, 1.0)}),))
    task = with_free_end_time(limited, weight=1.0)
    controller = NonlinearMPC(task, task.steps, terminal="task")
    controller.step(np.array([-4.0, 0.0]), 0)
    assert sample_times(task, controller.plan.u)[-1] == pytest.approx(4.0 + 1.0 / ACCELERATION, rel=1e-4)


def test_the_closed_loop_keeps_the_time_of_the_first_plan() -> None:
    task = with_free_end_time(move(2.0, 8), weight=1.0)
    runs = simulate(task, NonlinearMPC(task, 8, terminal="task"), np.array([[-2.0, 0.0]]))
    assert sample_times(task, runs.inputs)[0, -1] == pytest.approx(2.0, rel=1e-4)
    assert runs.states[0, -1] == pytest.approx([0.0, 0.0], abs=1e-4)
    assert runs.cost[0] == pytest.approx(2.0, rel=1e-2)


def test_samples_are_alike_where_changes_are_weighted() -> None:
    free = with_free_end_time(move(2.0, 8), weight=1.0)
    task = limit_changes(free, weights={"time_scale": 1e-3}, previous={"time_scale": 2.5})
    controller = NonlinearMPC(task, 8, terminal="task")
    controller.step(np.array([-2.0, 0.0, 2.5]), 0)
    lengths = np.diff(sample_times(task, controller.plan.u))
    assert np.ptp(lengths) < 0.02
    assert lengths.sum() == pytest.approx(2.0, rel=1e-3)


def test_a_scale_of_one_changes_nothing() -> None:
    """Sample by sample, and cost by cost; twice the scale is half the dt at twice the samples."""
    plain = oscillating_masses()
    plain = dataclasses.replace(plain, disturbance=Fixed(), integrator="rk4", substeps=4)
    task = with_free_end_time(plain, weight=0.0)
    rng = np.random.default_rng(0)
    x, u = rng.standard_normal(6), rng.standard_normal(len(plain.plant.input))
    w, p = np.zeros(len(plain.plant.disturbance)), np.zeros(0)
    one, two = (np.append(u, s) for s in (1.0, 2.0))
    step, scaled = plain.dynamics.lower("numpy"), task.dynamics.lower("numpy")
    assert scaled(x, one, w, p) == pytest.approx(step(x, u, w, p), abs=1e-14)
    longer = dataclasses.replace(plain, dt=2.0 * plain.dt).dynamics.lower("numpy")
    assert scaled(x, two, w, p) == pytest.approx(longer(x, u, w, p), abs=1e-14)
    zero, none = np.zeros(6), np.zeros(len(u))
    own = float(plain.stage_cost(x, u, zero, none))
    assert float(task.stage_cost(x, two, zero, np.append(none, 1.0))) == pytest.approx(2.0 * own)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: with_free_end_time(move(1.0, 5), weight=-1.0), InvalidValue, "weight = -1.0"),
        (lambda: with_free_end_time(move(1.0, 5), 1.0, (0.0, 1.0)), InvalidValue, "expected two positive numbers"),
        (lambda: with_free_end_time(move(1.0, 5), 1.0, (1.0, np.inf)), InvalidValue, "expected two positive numbers"),
        (lambda: with_free_end_time(move(1.0, 5), 1.0, (2.0, 1.0)), InvalidValue, "lower <= upper"),
        (lambda: with_free_end_time(5, 1.0), InvalidValue, "the task of with_free_end_time"),  # type: ignore[arg-type]
        (
            lambda: with_free_end_time(with_free_end_time(move(1.0, 5), 1.0), 1.0),
            InvalidValue,
            "already has a signal 'time_scale'",
        ),
        (
            lambda: with_free_end_time(limit_changes(move(1.0, 5), {"acceleration": 1.0}), 1.0),
            InvalidValue,
            "before limit_changes",
        ),
        (
            lambda: with_free_end_time(move(1.0, 5, reference=Sinusoid(0.1, x_sine=[1.0, 0.0])), 1.0),
            InvalidValue,
            "a moving reference",
        ),
        (
            lambda: with_free_end_time(move(1.0, 5, measurement=Measurement(signals("position [m]"))), 1.0),
            InvalidValue,
            "a measurement",
        ),
        (
            lambda: with_free_end_time(
                move(
                    1.0,
                    5,
                    plant=LinearPlant([[0.0]], [[1.0]], [[1.0]]),
                    cost=Quadratic([1.0], [1.0]),
                    initial=Fixed([0.0]),
                    disturbance=Gaussian([0.1]),
                ),
                1.0,
            ),
            InvalidValue,
            "a disturbance that is drawn",
        ),
        (lambda: sample_times(move(1.0, 5), np.zeros((5, 1))), InvalidValue, "has no input time_scale"),
        (
            lambda: sample_times(with_free_end_time(move(1.0, 5), 1.0), np.zeros((5, 3))),
            DimensionMismatch,
            "shape",
        ),
    ],
)
def test_misuse(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
