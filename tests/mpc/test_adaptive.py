"""Predictive control with a residual that is learned online."""

from __future__ import annotations

import dataclasses
import functools
import pickle
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import Status
from mpc import LinearMPC, NonlinearMPC
from mpc.adaptive import AdaptiveMPC, Learning
from systems import DimensionMismatch, Fixed, InvalidValue, Plant, Quadratic, Sinusoid, Task, UnknownName, signals
from systems.identification.online import FourierFeatures, Learned, ProjectedGradient, RecursiveLeastSquares
from systems.library import pendulum, pendulum_swing_up
from systems.signals import Vector

FAST = functools.partial(NonlinearMPC, horizon=10)
DT, FREQUENCY = 0.05, 2 * np.pi / 80
SIZES = {"position": 0.008, "speed": 0.3}


@dataclass(frozen=True)
class Cart(Plant):
    """A unit mass under a constant force, one that depends on the position, and drag."""

    constant: float = 0.0  # N
    ripple: float = 0.0  # N
    drag: float = 0.0  # N s^2/m^2

    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        unknown = self.constant + self.ripple * ca.sin(3 * x.position) - self.drag * x.speed * ca.fabs(x.speed)
        return x.speed, u.force + unknown

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"force": (-8.0, 8.0)}


def cart(steps: int = 160) -> Task:
    """The true cart moves to and fro like the reference; the nominal one knows no force but its own."""
    rate = FREQUENCY / DT
    reference = Sinusoid(FREQUENCY, (0, 0), (1, 0), (0, rate), (0,), (-(rate**2),), (0,))
    return Task(
        "cart", Cart(), DT, steps, Quadratic({"position": 10.0, "speed": 1.0}, {"force": 0.01}),
        Fixed([0.0, rate]), reference=reference, truth=Cart(1.5, 1.0, 0.3),
    )  # fmt: skip


def adaptive(task: Task, rule: Any = RecursiveLeastSquares(), **options: Any) -> AdaptiveMPC:  # noqa: B008
    features = FourierFeatures({"position": 0.5, "speed": 1.0}, count=60)
    return AdaptiveMPC(task, features, SIZES, rule, FAST, **options)


def run(controller: Any, task: Task, first: int = 0, x: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the position and costs at the samples from ``first`` to the end of the run."""
    advance, x = task.true_dynamics.function(), task.initial.mean(task.plant.state) if x is None else x
    x_ref, u_ref = task.reading.window(0, task.steps + 1)
    errors, costs = [], []
    for k in range(first, task.steps):
        u = controller.step(x, k).input
        costs.append(float(task.stage_cost(x, u, x_ref[k], u_ref[k])))
        errors.append(x[0] - x_ref[k, 0])
        x = np.array(advance(x, u, [], [])).ravel()
    return np.array(errors), np.array(costs)


def test_the_tracking_error_drops_and_regret_grows_slower_than_time() -> None:
    task = cart(240)
    nominal, _ = run(FAST(task), task)
    _, best = run(FAST(dataclasses.replace(task, plant=task.truth, truth=None)), task)
    errors, costs = run(adaptive(task), task)
    assert np.sqrt((errors**2).mean()) < 0.1 * np.sqrt((nominal**2).mean())
    regret = np.cumsum(costs - best)
    assert 0.0 < regret[-1] < 0.01 * best.sum()
    assert regret[-1] - regret[119] < 0.2 * regret[119]  # while half of the time remains
    slow, _ = run(adaptive(task, ProjectedGradient()), task)
    assert np.sqrt((slow**2).mean()) < 0.5 * np.sqrt((nominal**2).mean())


def test_the_model_is_the_nominal_plant_with_the_learned_residual() -> None:
    """Against a controller that is built anew with the weights as numbers."""
    task = cart(40)
    controller = AdaptiveMPC(
        task, FourierFeatures({"position": 0.5}, count=20), SIZES,
        predictive=functools.partial(NonlinearMPC, horizon=10, terminal="task"),
    )  # fmt: skip
    run(controller, task)
    assert controller.learned.samples == 39
    inner: Any = controller.controller
    plant = inner.task.plant
    weights = controller.learned.weights.T.ravel()
    numbers = dict(zip(plant.weight_names, weights.tolist(), strict=True))
    anew = NonlinearMPC(dataclasses.replace(inner.task, plant=plant.with_parameters(numbers)), 10, terminal="task")
    x, u = np.array([0.3, -0.2]), np.array([1.0])
    controller.learning = Learning.WAITING
    decision = controller.step(x, 45)  # a gap, after which nothing is learned
    assert controller.learning is Learning.WAITING
    assert np.allclose(decision.input, anew.step(x, 45).input, atol=1e-6)
    nominal = np.array(task.dynamics.function()(x, u, [], [])).ravel()
    learned = np.array(anew.task.dynamics.function()(x, u, [], [])).ravel()
    assert np.allclose(controller.residual(x, u), learned - nominal, atol=1e-12)
    assert np.abs(controller.residual(x, u)).min() > 1e-4


def test_numbers_that_are_not_finite_teach_nothing() -> None:
    task = cart(20)
    controller = adaptive(task)
    run(controller, task)
    learned = controller.learned
    for k, x in enumerate(([np.nan, 0.0], [0.0, np.inf], [0.1, 0.2]), 20):
        decision = controller.step(np.array(x), k)
        assert np.isfinite(decision.input).all()
        assert controller.learning is (Learning.WAITING if k == 22 else Learning.SKIPPED)
        assert (decision.status is Status.SOLVED) == (k == 22)
        assert controller.learned is learned
    after = np.array(task.true_dynamics.function()([0.1, 0.2], decision.input, [], [])).ravel()
    controller.step(after, 23)
    assert controller.learning is Learning.LEARNED
    controller.step(np.array([1e3, 0.2]), 24)
    assert controller.learning is Learning.LIMITED
    assert controller.learned.samples == learned.samples + 2
    controller.step(np.array([1e300, 1e300]), 25)
    controller.step(np.array([-1e308, 1e308]), 26)
    assert np.isfinite(controller.learned.estimate).all()


def test_learning_goes_on_elsewhere_to_the_bit() -> None:
    task = cart(40)
    whole = adaptive(task)
    run(whole, dataclasses.replace(task, steps=20))
    saved: Learned = pickle.loads(pickle.dumps(whole.learned))
    whole.controller.reset()
    whole._last = None
    resumed = adaptive(task, learned=saved)
    x = np.array([0.5, 0.5])
    a, b = (run(c, task, 20, x)[0] for c in (whole, resumed))
    assert np.array_equal(a, b)
    assert np.array_equal(whole.learned.estimate, resumed.learned.estimate)
    assert np.array_equal(whole.learned.covariance, resumed.learned.covariance)
    assert whole.learned.samples == 38
    resumed.reset()
    assert resumed.learned is saved
    again = adaptive(task)
    assert not np.array_equal(run(again, task, 20, x)[0], b)


def test_a_run_does_not_depend_on_the_one_before() -> None:
    task = cart(30)
    controller = adaptive(task)
    first = run(controller, task)[0]
    controller.reset()
    assert controller.learned.samples == 0
    assert np.array_equal(run(controller, task)[0], first)
    copy = pickle.loads(pickle.dumps(controller))
    assert np.array_equal(run(copy, task)[0], first)


def test_an_angle_may_be_measured_a_turn_away() -> None:
    task = pendulum_swing_up()
    assert np.isfinite(task.reading.state.periods[0])
    wound, plain = (
        AdaptiveMPC(task, FourierFeatures({"angle": 0.5}, count=20), {"rate": 0.2}, predictive=FAST) for _ in range(2)
    )
    for k, at in enumerate((0.3, 0.25, 0.2, 0.1)):
        x = np.array([at, -0.1])
        u = plain.step(x, k).input
        assert np.allclose(wound.step(x + np.array([2 * np.pi * (k % 2), 0.0]), k).input, u, atol=1e-5)
    assert wound.learning is Learning.LEARNED
    assert np.allclose(wound.learned.estimate, plain.learned.estimate, atol=1e-6)


def test_parameters_change_without_building_anew() -> None:
    task = pendulum()
    controller = NonlinearMPC(task, 10, terminal="task", parameters=("damping", "mass"))
    x = np.array([0.3, 0.1])
    nominal = controller.step(x, 0).input
    controller.set_parameters(np.array([0.2, 0.25]))
    heavy = dataclasses.replace(task, plant=task.plant.with_parameters({"mass": 0.25, "damping": 0.2}))
    expected = NonlinearMPC(heavy, 10, terminal="task").step(x, 1).input
    assert np.allclose(controller.step(x, 1).input, expected, atol=1e-6)
    controller.reset()
    assert np.allclose(controller.step(x, 0).input, nominal, atol=1e-6)
    assert abs(nominal - controller.step(x, 1).input) < 1e-6
    ipopt = NonlinearMPC(task, 10, "ipopt", terminal="task", parameters=("damping", "mass"))
    ipopt.set_parameters(np.array([0.2, 0.25]))
    assert np.allclose(ipopt.step(x, 1).input, expected, atol=1e-6)


def test_prepared_samples_take_parameters_that_were_set_afterwards() -> None:
    task, x = pendulum(), np.array([0.3, 0.1])
    prepared, plain = (NonlinearMPC(task, 10, iterations=1, parameters=("mass",)) for _ in range(2))
    for controller in (prepared, plain):
        controller.step(x, 0)
    prepared.prepare(1)
    inputs = []
    for controller in (prepared, plain):
        controller.set_parameters(np.array([0.3]))
        inputs.append(controller.step(x, 1).input)
    assert np.allclose(*inputs, atol=1e-9)


def test_misuse_is_refused() -> None:
    task, features = cart(), FourierFeatures({"position": 0.5}, count=10)
    controller = NonlinearMPC(task, 5, iterations=1, parameters=("drag",))
    with pytest.raises(DimensionMismatch, match="2 values"):
        controller.set_parameters(np.zeros(2))
    with pytest.raises(InvalidValue, match="NaN"):
        controller.set_parameters(np.array([np.nan]))
    with pytest.raises(UnknownName, match="weight"):
        NonlinearMPC(task, 5, parameters=("weight",))
    with pytest.raises(InvalidValue, match="do-mpc"):
        NonlinearMPC(task, 5, "do-mpc", parameters=("drag",))
    with pytest.raises(ValueError, match="without parameters"):
        controller.c_code(10)
    with pytest.raises(UnknownName, match="height"):
        AdaptiveMPC(task, features, {"height": 1.0})
    with pytest.raises(InvalidValue, match="outputs"):
        AdaptiveMPC(task, features, {})
    with pytest.raises(InvalidValue, match="size of speed"):
        AdaptiveMPC(task, features, {"speed": -1.0})
    with pytest.raises(InvalidValue, match="predictive"):
        AdaptiveMPC(task, features, SIZES, predictive=controller)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="whose parameters"):
        AdaptiveMPC(task, features, SIZES, predictive=lambda task, parameters: LinearMPC(cart_at_rest()))
    with pytest.raises(DimensionMismatch, match="learned"):
        AdaptiveMPC(task, features, SIZES, predictive=FAST, learned=RecursiveLeastSquares().start(9, 2))


def cart_at_rest() -> Task:
    return dataclasses.replace(cart(), reference=Sinusoid(FREQUENCY))
