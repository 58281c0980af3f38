"""Robustness: loops that differ from what controllers know, against what the difference does by itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, compare, simulate
from ctrl.cells import Here, Identified
from ctrl.comparison.draws import draw_all
from ctrl.controller import Decision, NotApplicable
from ctrl.report import page
from ctrl.report.additions import Additions
from ctrl.report.robustness import robustness_charts
from ctrl.robustness import (
    Robustness,
    RobustnessAxis,
    delay_axis,
    disturbance_axis,
    noise_axis,
    parameter_axis,
    robustness,
    standard_axes,
)
from ctrl.sweep import Perturbation, SweepCell
from ctrl.sweep.perturbation import NOMINAL, NoisyState, spread
from systems import Fixed, Gaussian, InvalidValue, Measurement, Task, UnknownName, signals
from systems.inputs import delay_inputs
from systems.library import ball_and_plate, cartpole, double_integrator, pendulum
from tests.ctrl.report.test_page import Reader

SHORT = dataclasses.replace(cartpole(), steps=12)


class Counted(LQR):
    """Notes the plants that it is made for."""

    plants: list[Any] = []  # noqa: RUF012

    def __init__(self, task: Task) -> None:
        Counted.plants.append(task.plant)
        super().__init__(task)


class OfFirstStates:
    """A law of the states of the inner plant, on the plant with delayed inputs."""

    def __init__(self, law: LQR, states: int) -> None:
        self.law, self.states = law, states

    def reset(self) -> None:
        self.law.reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        return self.law.step(x[: self.states], k)


@pytest.mark.parametrize("samples", [1, 3])
def test_a_delay_is_that_of_the_plant_with_delayed_inputs(samples: int) -> None:
    """The states are those of a plant whose shift register holds the inputs."""
    task, (x0, w, *_) = SHORT, draw_all(SHORT, 3, (0,))
    law, delayed = LQR(task), delay_inputs(task, {"force": samples * task.dt})
    runs = simulate(task, Perturbation(delay=samples).controller(law, task), x0, w)
    register = np.zeros((3, len(delayed.plant.state) - 4))
    plain = simulate(delayed, OfFirstStates(law, 4), np.hstack([x0, register]), w)
    np.testing.assert_allclose(runs.states, plain.states[..., :4], rtol=1e-9, atol=1e-12)
    assert not np.allclose(runs.states, simulate(task, law, x0, w).states)


def test_noise_on_the_state_has_the_stated_size_and_changes_nothing_else() -> None:
    """The controller is given x + v; starts and disturbances are those of the nominal runs."""
    share, nominal = 0.1, dataclasses.replace(SHORT, steps=100, domain=None)
    noisy = Perturbation(state_noise=share).task(nominal)
    x0, w, noise, _ = draw_all(noisy, 40, (0,))
    for a, b in zip((x0, w), draw_all(nominal, 40, (0,))[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    seen: list[np.ndarray] = []

    class Seeing(OfFirstStates):
        def step(self, x: np.ndarray, k: int) -> Decision:
            seen.append(x.copy())
            return super().step(x, k)

    assert noisy.measurement is not None
    runs = simulate(noisy, NoisyState(Seeing(LQR(nominal), 4), noisy.measurement), x0, w, noise=noise)
    errors = np.array(seen).reshape(40, 100, 4) - runs.states[:, :-1]
    np.testing.assert_allclose(errors.std(axis=(0, 1)), share * spread(nominal), rtol=0.06)
    np.testing.assert_allclose(spread(nominal), np.array([2.4, 0.4, 1.0, 1.0]) / 12**0.5, rtol=1e-12)


def test_a_grown_disturbance_grows_the_cost_of_a_linear_loop_with_its_square() -> None:
    """From the reference, x and u of a linear loop are linear in w, and its cost is a quadratic form of it."""
    linear = double_integrator()
    name = linear.plant.disturbance.names
    assert name
    task = dataclasses.replace(
        linear, steps=8, initial=Fixed(), constraints=(), domain=None, tolerance={"position": 1.0},
        disturbance=Gaussian(dict.fromkeys(name, 1e-3)),
    )  # fmt: skip
    result = robustness(task, {"lqr": LQR}, 5, axes=[disturbance_axis(task, (3.0, 10.0))])
    ratios = [estimate.value for estimate in result.curve("lqr", result.axes[0]).ratio]
    np.testing.assert_allclose(ratios, [1.0, 9.0, 100.0], rtol=1e-6)


def test_the_true_plant_changes_and_the_controller_keeps_the_nominal_one() -> None:
    Counted.plants = []
    axis = parameter_axis(SHORT, ["pole_mass"], (0.5, 2.0))
    result = robustness(SHORT, {"counted": Counted}, 4, seed=3, axes=[axis, delay_axis(SHORT, (2,))])
    curve = result.curve("counted", axis)
    true = SHORT.with_truth(dataclasses.replace(SHORT.plant, pole_mass=0.2))  # type: ignore[type-var]
    by_hand = compare(true, {"lqr": LQR}, 4, seeds=3).metrics["lqr"].cost
    assert curve.values == (0.5, 1.0, 2.0)
    assert curve.cost[2].value == pytest.approx(by_hand.value, rel=1e-12)
    assert len({cost.value for cost in curve.cost}) == 3
    assert all(plant == SHORT.plant for plant in Counted.plants)
    assert len(Counted.plants) == 2, "once for the nominal cell, once for all the others"
    assert result.curve("counted", result.axes[1]).values == (0.0, 2.0)


def test_the_true_plant_of_the_task_is_what_is_scaled() -> None:
    true = SHORT.with_truth(dataclasses.replace(SHORT.plant, pole_mass=0.3))  # type: ignore[type-var]
    changed = Perturbation(parameters={"pole_mass": 2.0}).task(true)
    assert changed.truth is not None
    assert changed.truth.parameters["pole_mass"] == pytest.approx(0.6)
    assert changed.plant == SHORT.plant


def test_factors_stay_within_the_declared_range() -> None:
    task = ball_and_plate()
    axis = parameter_axis(task, ["rolling"], (0.5, 2.0))
    assert axis.values == (0.5, 1.0)
    assert "2" in axis.note
    assert "rolling" in axis.note
    with pytest.raises(NotApplicable, match="rolling"):
        parameter_axis(task, ["rolling"], (2.0, 3.0))
    with pytest.raises(UnknownName, match="gravity"):
        parameter_axis(task, ["gravitiy"])
    with pytest.raises(NotApplicable, match="0 times"):
        parameter_axis(dataclasses.replace(pendulum(), plant=dataclasses.replace(pendulum().plant, damping=0.0)),
            ["damping"])  # type: ignore[type-var]  # fmt: skip


def test_every_axis_that_applies_is_there_and_the_others_say_why() -> None:
    axes, left_out = standard_axes(SHORT)
    names = list(SHORT.plant.parameters)
    assert [axis.title for axis in axes] == [
        *names, f"{len(names)} parameters together", "disturbance", "noise on the state", "delay of the inputs"
    ]  # fmt: skip
    assert not left_out
    for axis in axes:
        assert list(axis.values) == sorted(set(axis.values))
        assert axis.perturbations[axis.values.index(axis.nominal)] == NOMINAL
    axes, left_out = standard_axes(ball_and_plate())
    assert "disturbance" in left_out
    measured = dataclasses.replace(
        pendulum(), measurement=Measurement(signals("angle [rad]"), noise=Gaussian({"angle": 0.01}))
    )
    axis = noise_axis(measured, (5.0,))
    x, y = draw_all(measured, 2, (0,)), Perturbation(noise=5.0).draws(draw_all(measured, 2, (0,)))
    assert axis.values == (1.0, 5.0)
    np.testing.assert_allclose(y.noise, 5.0 * x.noise)  # type: ignore[operator]
    np.testing.assert_array_equal(y.disturbances, x.disturbances)
    with pytest.raises(InvalidValue, match="measures something else"):
        Perturbation(state_noise=0.1).task(measured)
    still = dataclasses.replace(SHORT, initial=Fixed(), tolerance={"position": 0.1})
    with pytest.raises(NotApplicable, match="starts at its goal"):
        noise_axis(still)


def test_finished_cells_are_read_and_not_run_again(tmp_path: Path) -> None:
    axes = [delay_axis(SHORT, (1,)), parameter_axis(SHORT, ["gravity"], (1.2,))]
    said: list[str] = []
    first = robustness(SHORT, {"counted": Counted}, 3, axes=axes, out=tmp_path, announce=said.append)
    Counted.plants = []
    again = robustness(SHORT, {"counted": Counted}, 3, axes=axes, out=tmp_path, announce=said.append)
    assert not Counted.plants
    assert first.sweep.results == again.sweep.results
    assert "3 to run" in said[0]
    assert "0 to run" in said[-1]
    plain = SweepCell(SHORT, "", "counted", first.sweep.cells[0].factory, 3, 0)
    assert first.sweep.cells[0].key == plain.key, "the nominal cell is that of any sweep"
    assert len({cell.key for cell in first.sweep.cells}) == 3


def result_of(broken: dict[float, int], cost: dict[float, float]) -> Robustness:
    """A test of robustness with these numbers of broken runs of four and these costs."""
    changes = [NOMINAL if v == 1.0 else Perturbation(parameters={"gravity": v}) for v in broken]
    axis = RobustnessAxis("mass", "factor of mass [-]", 1.0, tuple(broken), tuple(changes), "mass x {:g}")
    made = robustness(SHORT, {"lqr": LQR}, 4, axes=[axis])
    results = []
    for cell, result in zip(made.sweep.cells, made.sweep.results, strict=True):
        value = cell.perturbation.parameters.get("gravity", 1.0)
        assert result is not None
        results.append({**result, "broken": broken[value], "cost": [cost[value]] * 4})
    return dataclasses.replace(made, sweep=dataclasses.replace(made.sweep, results=tuple(results)))


def test_the_range_ends_where_more_runs_break_something_and_the_page_says_so() -> None:
    """Beyond the first worse value nothing counts, even where it is better again."""
    numbers = {0.5: 0, 0.7: 3, 0.9: 1, 1.0: 1, 1.1: 0, 1.3: 2, 1.5: 1}
    result = result_of(numbers, {value: 10.0 * value for value in numbers})
    curve = result.curve("lqr", result.axes[0])
    assert curve.kept == (0.9, 1.1)
    assert [estimate.value for estimate in curve.ratio] == pytest.approx(list(numbers))
    assert [rate.k for rate in curve.broken] == list(numbers.values())
    assert "0.9 to 1.1" in str(result)
    assert "cost x 1.5" in str(result)
    compared = compare(SHORT, {"lqr": LQR}, 4)
    reader = Reader(page(compared, ["trivium", "compare", "cartpole"], more=Additions(robustness=result)))
    assert "at mass x 0.7 and mass x 1.3." in reader.text
    assert "--robustness" not in reader.text
    assert {a.get("id") for _, a in reader.tags} >= {"robustness", "robust-cost-0", "robust-share-0"}
    assert "--out results --robustness" in page(compared, ["trivium", "compare", "cartpole"], folder="results")


def test_runs_that_leave_are_broken_and_cells_are_told_apart_by_all_digits() -> None:
    task = dataclasses.replace(cartpole(), steps=60)
    result = robustness(task, {"lqr": LQR}, 3, axes=[delay_axis(task, (6,))]).sweep.results[1]
    assert result is not None
    assert result["left"] == result["broken"] > result["violated"]
    factory = Identified(LQR, "lqr")
    changed = [Perturbation(parameters={"gravity": factor}) for factor in (1.2, 1.2000001)]
    first, second = (SweepCell(task, "", "lqr", factory, 3, 0, change) for change in changed)
    assert str(first.perturbation) == str(second.perturbation)
    assert first.key != second.key


def test_a_controller_is_shared_within_a_task_only() -> None:
    Counted.plants, delayed = [], Perturbation(delay=1)
    for task in (SHORT, SHORT, dataclasses.replace(SHORT, dt=0.02)):
        SweepCell(task, "", "counted", Identified(Counted, "once"), 2, 0, delayed)()
    assert len(Counted.plants) == 2


class Noting(Here):
    """Notes how many cells it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[int] = []

    def run(self, cells: Any) -> Any:
        self.given.append(len(cells))
        return super().run(cells)


@pytest.mark.parametrize(("values", "alone"), [(2, 1), (9, 2)])
def test_the_first_cells_measure_the_time(values: int, alone: int) -> None:
    """One of few, two of many: the first one also loads and compiles."""
    engine = Noting()
    axis = parameter_axis(SHORT, ["gravity"], np.linspace(0.8, 0.99, values).tolist())
    robustness(SHORT, {"lqr": LQR}, 1, axes=[axis], engine=engine)
    assert engine.given == [1 + values - alone]


def test_curves_have_the_colours_of_the_page() -> None:
    result = robustness(SHORT, {"lqr": LQR}, 2, axes=[delay_axis(SHORT, (1,))])
    ((_, _, charts),) = robustness_charts(result, ["other", "lqr"])
    curves = [e.attrib["class"] for chart in charts for e in chart.iter("path") if "curve" in e.attrib["class"]]
    assert curves == ["curve c1", "curve c1"]


def test_misuse_is_refused() -> None:
    with pytest.raises(InvalidValue, match="its factory"):
        robustness(SHORT, {"lqr": LQR(SHORT)})  # type: ignore[dict-item]
    with pytest.raises(InvalidValue, match="0 controllers"):
        robustness(SHORT, {})
    for given in ({"disturbance": 0.0}, {"noise": -1.0}, {"state_noise": -0.1}, {"delay": 0.5}):
        with pytest.raises(InvalidValue):
            Perturbation(**given)  # type: ignore[arg-type]
