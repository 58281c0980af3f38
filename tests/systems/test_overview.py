"""What a task shows of itself in a terminal and in a notebook."""

from __future__ import annotations

import dataclasses

import pytest

from systems import Gaussian, Inequality, InvalidValue, Measurement, Observation, Task, Uniform, know_ahead, signals
from systems.errors import expect
from systems.inputs import delay_inputs, limit_changes
from systems.library import cartpole, double_integrator, pendulum_swing_up

TASK = cartpole()


def row(task: Task, label: str) -> str:
    """The text of a row, its lines joined."""
    lines = repr(task).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"  {label:<13}"))
    rest = []
    for line in lines[first + 1 :]:
        if not line.startswith(" " * 15):
            break
        rest.append(line.strip())
    return " ".join([lines[first][15:], *rest])


def test_every_part_of_a_task_is_shown() -> None:
    assert str(TASK) == repr(TASK)
    assert repr(TASK).splitlines()[0] == "Task 'cartpole'"
    assert row(TASK, "run") == "100 samples of 0.05 s (rk4), 5 s in all"
    assert row(TASK, "input") == "force [N] in [-10, 10]"
    assert row(TASK, "disturbance") == "uniform: push in [-0.5, 0.5]"
    assert row(TASK, "cost") == "quadratic: Q position 1, angle 5, velocity 0.1, rate 0.1; R force 0.01"
    assert row(TASK, "constraint") == "'track', soft with a weight of 10: position in [-2.2, 2.2]"
    assert row(TASK, "domain") == "position in [-2.4, 2.4], angle in [-0.6, 0.6]"
    assert row(TASK, "arrived") == "within position +-0.2, angle +-0.1"
    assert row(TASK, "true plant") == "nominal"


def test_measurement_variation_and_truth_are_shown() -> None:
    measurement = Measurement(
        signals("position [m]", "angle [rad]"), noise=Gaussian({"angle": 0.01}), delay={"angle": 2},
        every={"position": 5}, quantum=0.001, dropout=0.1,
    )  # fmt: skip
    task = dataclasses.replace(
        TASK,
        measurement=measurement,
        truth=TASK.plant.with_parameters({"pole_mass": 0.2}),
        variation=Uniform({"cart_mass": 0.9}, {"cart_mass": 1.1}),
    )
    assert row(task, "measured") == (
        "position [m], every 5 samples, rounded to 0.001, lost with probability 0.1; angle [rad], noise of standard "
        "deviation 0.01, 2 samples late, rounded to 0.001, lost with probability 0.1"
    )
    assert row(task, "true plant") == (
        "nominal with pole_mass 0.1 -> 0.2, drawn for every run: cart_mass in [0.9, 1.1]"
    )
    assert "position_age [samples]" in row(task, "learners")


def test_signals_known_ahead_are_shown_without_their_series() -> None:
    names = signals("price [EUR/kWh]")
    task = know_ahead(
        TASK, names, {"price": [1.0, 3.0] * 51}, {"price": [2.0] * 101}, constraints=[
            Inequality("cheap", lambda x, u: x.price - 5.0).chance(0.9)
        ], errors=Uniform({"price": -0.1}, {"price": 0.1}), persistence=0.5, preview=2,
    )  # fmt: skip
    assert row(task, "known ahead") == (
        "price [EUR/kWh] from 1 to 3; 102 samples; the actual values differ from the forecast; errors decay by 0.5 per "
        "sample; the next 2 values are states"
    )
    assert "price" not in row(task, "state") + row(task, "initial")
    assert row(task, "disturbance") == "uniform: push in [-0.5, 0.5], price_next in [-0.1, 0.1]"
    assert "  constraint   'cheap', with a probability of 0.9: (price-5) <= 0" in repr(task)
    assert row(task, "learners").endswith("observe the state and its reference")


@pytest.mark.parametrize(
    "task",
    [
        limit_changes(delay_inputs(TASK, {"force": 0.1}), rates={"force": 4.0}),
        pendulum_swing_up(),
        dataclasses.replace(
            double_integrator(),
            initial=Gaussian((0.1, 0.1)),
            observation=Observation(signals(*(f"o{i}" for i in range(40))), lambda x, xr: [x.position] * 40),
        ),
    ],
)
def test_lines_end_within_80_columns(task: Task) -> None:
    assert max(map(len, repr(task).splitlines())) <= 80


def test_a_notebook_shows_the_same_escaped() -> None:
    task = dataclasses.replace(TASK, name="<b>&")
    page = task._repr_html_()
    assert "&lt;b&gt;&amp;" in page
    assert "<b>" not in page
    for label in ("known ahead", "run", "true plant"):
        assert (f">{label}</th>" in page) is (label in repr(task))


def test_an_error_shows_one_line_of_a_task() -> None:
    with pytest.raises(InvalidValue) as caught:
        expect(TASK, int, "a number", "such as 1")
    assert "\n" not in str(caught.value)
