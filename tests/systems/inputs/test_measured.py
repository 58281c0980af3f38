"""Sensors of a plant whose inputs pass through something: they go on reading the plant."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from systems import Fixed, InvalidValue, LinearPlant, Measurement, Quadratic, Task, signals
from systems.inputs import delay_inputs, lag_inputs, limit_changes, rates_as_inputs

PLANT = LinearPlant([[0.0, 1.0], [-2.0, -0.3]], [[0.0], [1.0]], state=signals("a", "b"), input=signals("u [V]"))


def read(x: Any, u: Any) -> Any:
    a, b = x  # as many as the inner plant has
    (v,) = u
    return a + 2 * b, v


def difference(x: Any, u: Any) -> Any:
    a, b = x
    return (a - b,)


def measured(expression: Any, *names: str) -> Task:
    measurement = Measurement(signals(*names), expression, delay=1, quantum=0.5)
    return Task("plain", PLANT, 0.1, 20, Quadratic(Q=[1, 1], R=[1]), Fixed([0.5, 0.0]), measurement=measurement)


@pytest.mark.parametrize(
    ("make", "added", "acting"),
    [
        (lambda t: limit_changes(t, {"u": 1.0}), [0.7], 0.3),  # behind: the input before
        (lambda t: lag_inputs(t, {"u": 0.2}), [0.7], 0.7),
        (lambda t: rates_as_inputs(t, {"u": (-1.0, 1.0)}, [1.0]), [0.7], 0.7),
        (lambda t: limit_changes(lag_inputs(t, {"u": 0.2}), {"u": 1.0}), [0.7, 0.9], 0.7),
    ],
)
def test_sensors_read_what_acts_on_the_plant(make: Any, added: list[float], acting: float) -> None:
    task = make(measured(read, "sum", "voltage [V]"))
    h = task.measurement.function(task.plant)
    assert np.allclose(np.array(h([1.0, 0.25, *added], [0.3])).ravel(), [1.5, acting])
    assert task.measurement.delays.tolist() == [1, 1]
    assert task.measurement.quanta.tolist() == [0.5, 0.5]
    assert task == make(measured(read, "sum", "voltage [V]"))


def test_sensors_of_the_state_are_carried_over_a_dead_time() -> None:
    task = delay_inputs(measured(difference, "difference"), {"u": 0.25})
    h = task.measurement.function(task.plant)
    assert np.allclose(np.array(h([1.0, 0.25, 7.0, 8.0, 9.0], [0.3])).ravel(), [0.75])
    assert pickle.loads(pickle.dumps(task)) == task
    by_name = delay_inputs(measured(None, "b"), {"u": 0.25})
    assert np.allclose(np.array(by_name.measurement.function(by_name.plant)(range(5), [0.3])).ravel(), [1.0])


def test_a_sensor_of_a_delayed_input_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidValue, match=r"reads the input u.*u_1_ago"):
        delay_inputs(measured(read, "sum", "voltage [V]"), {"u": 0.1})
