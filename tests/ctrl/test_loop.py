"""The closed loop, against a loop written out in CasADi."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, Decision, Status, simulate, totals
from ctrl.loop import TIMED
from systems import (
    Box,
    DimensionMismatch,
    Fixed,
    InvalidValue,
    Plant,
    Quadratic,
    SetPoint,
    Task,
    TriviumError,
    Uniform,
    signals,
)
from systems.library.cartpole import CartPole, cartpole
from systems.library.pendulum import pendulum

TASK = cartpole().with_truth(CartPole(pole_mass=0.17))


def draws(task: Task, runs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (runs, task.steps)
    return (
        task.initial.sample(task.plant.state, rng, (runs,)),
        task.disturbance.sample(task.plant.disturbance, rng, shape),
    )


class Single:
    """A regulator that hides its batch and remembers whether it was reset."""

    def __init__(self, task: Task, scale: float = 1.0) -> None:
        self.law, self.scale, self.resets, self.seen = LQR(task), scale, 0, []

    def reset(self) -> None:
        self.resets += 1
        self.seen.clear()

    def step(self, x: np.ndarray, k: int) -> Decision:
        assert k == len(self.seen), "reset() between the runs, and k counts from 0"
        self.seen.append(k)
        decision = self.law.step(x, k)
        x[:] = np.nan  # must not reach the record of the run
        return dataclasses.replace(decision, input=self.scale * decision.input)


@dataclass(frozen=True)
class Integrator(Plant):
    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")

    def ode(self, x, u, w):
        return x.speed, u.force

    def limits(self):
        return {"force": (-1.0, 1.0)}


@dataclass(frozen=True)
class Explosive(Plant):
    """Blows up in finite time: x' = x^2 from above zero."""

    state = signals("x [-]")
    input = signals("u [-]")

    def ode(self, x, u, w):
        return (x.x**2 + u.u,)


def task_of(plant: Plant, **changes) -> Task:
    n, m = len(plant.state), len(plant.input)
    base = Task(
        "t", plant, 0.1, 30, Quadratic(np.eye(n), np.eye(m), 2 * np.eye(n)), Uniform([1.0] * n, [2.0] * n)
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


class Constant:
    def __init__(self, *u: float) -> None:
        self.u = np.array(u)

    def reset(self) -> None:
        pass

    def step(self, x: np.ndarray, k: int) -> Decision:
        return Decision(self.u, Status.MAX_ITERATIONS if k == 3 else Status.SOLVED)


def naive(task: Task, law: LQR, x0: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """The loop as one would write it by hand, one CasADi call after the other."""
    step, cost, margin = task.true_dynamics.function(), task.stage_cost_function(), task.margin_function()
    states, inputs, costs, margins = [x0], [], [], []
    for k in range(task.steps):
        x, u = states[-1], np.clip(law.step(states[-1], k).input, *task.plant.bounds)
        x_ref, u_ref = task.reference.at(task.plant, k)
        inputs.append(u)
        costs.append(float(cost(x, u, x_ref, u_ref)))
        margins.append(np.array(margin(x, u))[:, 0])
        states.append(np.array(step(x, u, w[k], 0))[:, 0])
    return np.array(states), np.array(inputs), np.array(costs), np.array(margins)


@pytest.mark.parametrize("make", [LQR, Single])
def test_equals_a_loop_written_out_in_casadi(make) -> None:
    x0, w = draws(TASK, 3)
    runs = simulate(TASK, make(TASK), x0, w)
    assert runs.stayed.all()
    for i in range(3):
        expected = naive(TASK, LQR(TASK), x0[i], w[i])
        for name, value in zip(("states", "inputs", "costs", "margins"), expected, strict=True):
            np.testing.assert_allclose(getattr(runs, name)[i], value, rtol=1e-9, atol=1e-10, err_msg=name)
    assert runs.states.shape == (3, TASK.steps + 1, 4)
    assert runs.margins.shape == (3, TASK.steps, 1)


def test_without_disturbances_a_run_is_an_undisturbed_one_of_the_tasks_length() -> None:
    x0, _ = draws(TASK, 3)
    left_out = simulate(TASK, LQR(TASK), x0)
    given = simulate(TASK, LQR(TASK), x0, np.zeros((3, TASK.steps, len(TASK.plant.disturbance))))
    np.testing.assert_array_equal(left_out.states, given.states)


def test_a_moving_reference_is_charged_at_its_own_sample() -> None:
    from systems import Sinusoid

    task = dataclasses.replace(
        task_of(Integrator()), reference=Sinusoid(0.3, x_sine={"position": 0.5}, u_cosine=[0.1])
    )  # fmt: skip
    x0, w = draws(task, 2)
    runs = simulate(task, LQR(task), x0, w)
    states, _, costs, _ = naive(task, LQR(task), x0[1], w[1])
    np.testing.assert_allclose(runs.states[1], states, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(runs.costs[1], costs, rtol=1e-9, atol=1e-12)
    x_ref, _ = task.reference.at(task.plant, task.steps)
    np.testing.assert_allclose(runs.terminal[1], 2 * ((states[-1] - x_ref) ** 2).sum(), rtol=1e-9)


def test_batch_equals_single() -> None:
    x0, w = draws(TASK, 5)
    together, alone = simulate(TASK, LQR(TASK), x0, w), simulate(TASK, Single(TASK), x0, w)
    np.testing.assert_allclose(together.states, alone.states, atol=1e-11)
    np.testing.assert_allclose(together.cost, alone.cost, rtol=1e-10)


def test_every_run_of_a_single_controller_is_reset_and_timed() -> None:
    x0, w = draws(TASK, 4)
    controller = Single(TASK)
    runs = simulate(TASK, controller, x0, w)
    assert controller.resets == 4
    assert (runs.seconds > 0).all()


def test_a_batch_is_timed_by_single_steps() -> None:
    class Counted(LQR):
        steps = 0

        def step(self, x: np.ndarray, k: int) -> Decision:
            self.steps += 1
            return super().step(x, k)

    x0, w = draws(TASK, 20)
    controller = Counted(TASK)
    runs = simulate(TASK, controller, x0, w)
    assert controller.steps == np.isfinite(runs.seconds).sum() == TIMED


def test_inputs_are_clipped_as_the_actuator_would() -> None:
    task = task_of(Integrator())
    runs = simulate(task, Constant(7.0), *draws(task, 2))
    assert (runs.inputs == 1.0).all()
    at = runs.states[:, :-1]
    np.testing.assert_allclose(runs.costs, (at**2).sum(axis=-1) + 1.0)


def test_a_run_that_leaves_the_domain_is_held_and_charged_there() -> None:
    task = task_of(
        Integrator(),
        domain=Box("model", {"position": (-3.0, 3.0)}),
        constraints=(Box("wall", {"position": (-2.5, 2.5)}),),
        reference=SetPoint(u=[0.25]),
    )
    runs = simulate(task, Constant(1.0), *draws(task, 3))
    assert (runs.left > 0).all()
    for i, k in enumerate(runs.left):
        point = runs.states[i, k]
        assert runs.states[i, k - 1, 0] <= 3.0 < point[0]
        assert (runs.states[i, k:] == point).all()
        assert (runs.inputs[i, k:] == 0.25).all()
        np.testing.assert_allclose(runs.costs[i, k:], (point**2).sum())
        np.testing.assert_allclose(runs.margins[i, k:], point[0] - 2.5)
        assert (runs.statuses[i, k:] == -1).all()
        assert (runs.statuses[i, :k] >= 0).all()
        assert np.isnan(runs.seconds[i, k:]).all()


def test_leaving_never_pays() -> None:
    """Staying where it left costs at least what it cost there, so a crash is no way to end a bad run."""
    task = task_of(Integrator(), domain=Box("model", {"position": (-6.0, 6.0)}))
    crash, stay = (simulate(task, c, *draws(task, 4)) for c in (Constant(1.0), LQR(task)))
    assert stay.stayed.all()
    assert (crash.cost > stay.cost).all()


def test_a_start_outside_the_domain_ends_at_once() -> None:
    task = task_of(Integrator(), domain=Box("model", {"position": (-1.5, 1.5)}))
    for controller in (Constant(0.0), LQR(task)):
        runs = simulate(task, controller, np.array([[2.0, 1.0], [1.0, 0.0]]), np.zeros((2, 30, 0)))
        assert runs.left[0] == 0
        np.testing.assert_allclose(runs.costs[0], 5.0)


@pytest.mark.parametrize("runs", [1, 3])
def test_a_state_that_is_not_finite_ends_the_run(runs: int) -> None:
    task = task_of(Explosive(), constraints=(Box("small", {"x": (-1e300, 1e300)}).soft(1.0),))

    class Zero(LQR):
        def __init__(self) -> None: ...
        def batch(self, x: np.ndarray, k: int) -> np.ndarray:
            return np.zeros((*x.shape[:-1], 1))

        def step(self, x: np.ndarray, k: int) -> Decision:
            return Decision(np.zeros(1))

    result = simulate(task, Zero(), np.full((runs, 1), 2.0), np.zeros((runs, 30, 0)))
    k = int(result.left[0])
    assert 0 < k < 30
    assert np.isfinite(result.states).all()
    assert (result.states[:, k:] == result.states[:, k - 1, None]).all()
    assert (result.margins[:, k - 1 :] == np.inf).all()


def test_statuses_are_recorded() -> None:
    task = task_of(Integrator())
    runs = simulate(task, Constant(0.0), *draws(task, 2))
    index = list(Status).index(Status.MAX_ITERATIONS)
    assert (runs.statuses == index).sum(axis=1).tolist() == [1, 1]
    assert (runs.statuses[:, 3] == index).all()


def test_rows_a_batch_cannot_answer_are_put_to_step() -> None:
    class Holes(LQR):
        def batch(self, x: np.ndarray, k: int) -> np.ndarray:
            u = super().batch(x, k)
            return np.where(np.arange(len(x))[:, None] == 1, np.nan, u) if k == 5 and x.ndim == 2 else u

    x0, w = draws(TASK, 3)
    holes, whole = simulate(TASK, Holes(TASK), x0, w), simulate(TASK, LQR(TASK), x0, w)
    np.testing.assert_allclose(holes.states, whole.states, atol=1e-12)


@pytest.mark.parametrize(
    ("controller", "said"),
    [
        (Constant(np.nan), "finite"),
        (Constant(0.0, 0.0), "shape"),
        (type("Bare", (Constant,), {"step": lambda self, x, k: self.u})(0.0), "Decision"),
    ],
)
def test_a_controller_that_breaks_the_contract_is_named(controller, said: str) -> None:
    task = task_of(Integrator())
    with pytest.raises((InvalidValue, DimensionMismatch), match=said):
        simulate(task, controller, *draws(task, 2))


def test_arrays_that_do_not_fit_are_refused() -> None:
    task = task_of(Integrator())
    with pytest.raises(DimensionMismatch, match="starts"):
        simulate(task, Constant(0.0), np.zeros((2, 3)), np.zeros((2, 30, 0)))
    with pytest.raises(DimensionMismatch, match="disturbances"):
        simulate(task, Constant(0.0), np.zeros((2, 2)), np.zeros((2, 30, 1)))
    with pytest.raises(InvalidValue, match="finite"):
        simulate(task, Constant(0.0), np.full((1, 2), np.nan), np.zeros((1, 30, 0)))


def test_soft_constraints_have_their_price() -> None:
    task = task_of(Integrator(), constraints=(Box("wall", {"position": (-0.5, 0.5)}).soft(10.0),))
    runs = simulate(task, Constant(0.0), np.array([[1.0, 0.0]]), np.zeros((1, 30, 0)))
    np.testing.assert_allclose(runs.costs, 1.0 + 10 * 0.5)


def test_the_true_actuators_limit_the_input() -> None:
    task = TASK.with_truth(dataclasses.replace(TASK.plant, max_force=0.5))
    x0, w = draws(task, 4)
    runs = simulate(task, LQR(task), x0, w)
    assert np.abs(runs.inputs).max() == 0.5


def test_a_regulator_follows_its_reference_beyond_the_run() -> None:
    from systems import Sinusoid

    task = dataclasses.replace(task_of(Integrator()), reference=Sinusoid(0.3, x_sine={"position": 0.5}))
    controller, late = LQR(task), 3 * task.steps
    x_ref, u_ref = task.reference.at(task.plant, late)
    np.testing.assert_allclose(controller.step(x_ref, late).input, u_ref, atol=1e-12)


@pytest.mark.parametrize("steps", [8, 40])
def test_the_loop_and_the_environment_judge_alike(steps: int) -> None:
    """Same states, stage costs and violations, also of runs that leave the domain, at their last sample or before."""
    fence = Box("fence", {"angle": (-0.8, 0.8)})
    task = dataclasses.replace(TASK, steps=steps, constraints=(fence,), disturbance=Fixed(), domain=fence, truth=None)
    x0, w = task.initial.sample(task.plant.state, np.random.default_rng(0), (64,)), np.zeros((64, steps, 1))

    class Push:
        def reset(self) -> None: ...

        def step(self, x: np.ndarray, k: int) -> Decision:
            return Decision(np.array([10.0]))

    runs = simulate(task, Push(), x0, w)
    assert (runs.left >= 0).any()
    env = task.env()
    for i in range(len(x0)):
        env.reset(seed=0, options={"state": x0[i]})
        ended, violated, k = False, False, 0
        while not ended and k < steps:
            _, reward, ended, _, info = env.step(np.array([10.0], dtype=np.float32))
            violated |= bool(info["costs"]["fence"])
            if not ended:
                assert reward == pytest.approx(-runs.costs[i, k], rel=1e-6)
            k += 1
        assert runs.left[i] == (k if ended else -1)
        assert (runs.margins[i] > 0).any() == violated


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (np.zeros(1), "step returned ndarray; expected a Decision"),
        (None, "step returned NoneType; expected a Decision"),
        (Decision("x"), "the input at sample 0 = 'x'; expected real numbers"),  # type: ignore[arg-type]
        (Decision(None), "the input at sample 0 = None"),  # type: ignore[arg-type]
        (Decision(np.array([1j])), "the input at sample 0"),
        (Decision(np.array([None])), "the input at sample 0"),
        (Decision(np.array([True])), "the input at sample 0"),
        (Decision(np.zeros(2)), r"an input of shape \(2,\); expected \(1,\)"),
        (Decision(np.array([np.nan])), "an input must always be finite"),
        (Decision(np.zeros(1), "fine"), "returned status 'fine' and source .*; expected a Status and a Source"),  # type: ignore[arg-type]
        (Decision(np.zeros(1), None), "returned status None"),  # type: ignore[arg-type]
        (Decision(np.zeros(1), Status.SOLVED, 3), "returned status .* and source 3"),  # type: ignore[arg-type]
        (Decision(np.zeros(1), np.array(["solved", "solved"])), "returned status "),  # type: ignore[arg-type]
    ],
)
def test_answers_that_are_no_decisions_are_refused_with_the_controller(answer, said) -> None:
    class Odd:
        def reset(self) -> None: ...

        def step(self, x: np.ndarray, k: int) -> Any:
            return answer

    with pytest.raises(TriviumError, match=rf"Odd\.step.*{said.removeprefix('step ')}"):
        simulate(pendulum(), Odd(), np.zeros((1, 2)))


@pytest.mark.parametrize("answer", ["x", None, [[1j]], [["1"]], [[None]], np.zeros((2, 1)), np.zeros(1), [[True]]])
def test_batches_of_no_numbers_are_refused_with_the_controller(answer) -> None:
    class Odd(LQR):
        def batch(self, x: np.ndarray, k: int) -> Any:
            return answer

    with pytest.raises(TriviumError, match=r"Odd\.batch"):
        simulate(pendulum(), Odd(pendulum()), np.zeros((1, 2)))


def test_blocks_of_runs_are_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of runs that end, and of a last block that is not a whole one."""
    task = dataclasses.replace(TASK, steps=12)
    x0, w = draws(task, 45)
    whole = simulate(task, LQR(task), 4.0 * x0, w)
    assert 0 < (whole.left >= 0).sum() < 45
    monkeypatch.setattr("ctrl.loop.BLOCK", 16)
    finished: list[int] = []
    parts = simulate(task, LQR(task), 4.0 * x0, w, finished.append)
    assert finished == [16, 29]
    for field in dataclasses.fields(whole):
        if field.name != "seconds":
            np.testing.assert_array_equal(getattr(parts, field.name), getattr(whole, field.name), err_msg=field.name)


@pytest.mark.parametrize("make", [LQR, Single])
def test_totals_are_those_of_the_record(monkeypatch: pytest.MonkeyPatch, make) -> None:
    task = dataclasses.replace(TASK, steps=12)
    x0, w = draws(task, 20)
    monkeypatch.setattr("ctrl.loop.BLOCK", 8)
    runs = simulate(task, make(task), 4.0 * x0, w)
    finished: list[int] = []
    sums = totals(task, make(task), 4.0 * x0, w, finished.append)
    assert sum(finished) == len(sums) == 20
    assert (runs.margins > 0).any()
    assert 0 < runs.stayed.sum() < 20
    np.testing.assert_array_equal(sums.cost, runs.cost)
    np.testing.assert_array_equal(sums.final, runs.states[:, -1])
    np.testing.assert_array_equal(sums.worst, runs.margins.max(axis=1))
    np.testing.assert_array_equal(sums.violated, (runs.margins > 0).sum(axis=1))
    np.testing.assert_array_equal(sums.stayed, runs.stayed)


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_one_run_alone_is_the_first_of_two_to_the_bit(scale: float) -> None:
    """A batch of one and a run of single steps are computed in different code."""
    x0, w = draws(TASK, 1)
    together, alone = (simulate(TASK, make(TASK), scale * x0, w) for make in (LQR, Single))
    for field in dataclasses.fields(together):
        if field.name != "seconds":
            one, other = getattr(together, field.name), getattr(alone, field.name)
            np.testing.assert_array_equal(one, other, err_msg=field.name)
