"""Learners of measured signals: what environments and policies observe, in training and in the closed loop."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch

from ctrl import LQR, ExtendedKalmanFilter, NotApplicable, OutputFeedback, compare, simulate
from ctrl.check import check_controller, check_task
from ctrl.comparison.draws import draw_all
from ctrl.discovery import load
from ctrl.export import export
from ctrl.foreign import from_function
from ctrl.realtime import Loop, LoopSettings, SimulatedClock, SimulatedPlant
from safe_rl import DSACT, JumpStart, MeasuredPolicyController, Policy, PolicyController
from systems import (
    Fixed,
    Gaussian,
    InvalidValue,
    MeasuredWindow,
    Measurement,
    Observation,
    Sinusoid,
    Task,
    Trajectory,
    Uniform,
    signals,
)
from systems.inputs import limit_changes
from systems.library import pendulum
from systems.measurement import Sensors
from tests.exported import Compiled, check_project
from tests.safe_rl.tasks import TINY, everything

SENSORS = Measurement(
    signals("angle [rad]", "late [rad]", "rate [rad/s]"),
    lambda x, u: (x.angle, x.angle, x.rate + 0.1 * u.torque),
    delay={"late": 2},
    every={"late": 3},
)
NOISY = dataclasses.replace(
    SENSORS, noise=Gaussian({"angle": 0.02, "rate": 0.1}), quantum={"angle": 0.01}, dropout={"rate": 0.3}
)


def measured(measurement: Measurement = SENSORS, past: int = 2, **changes: object) -> Task:
    window = MeasuredWindow(past=past)
    return dataclasses.replace(pendulum(), measurement=measurement, observation=window, **changes)  # type: ignore[arg-type]


def policy_of(task: Task, seed: int = 0) -> Policy:
    bounds = [torch.tensor(bound) for bound in task.input_bounds]
    return Policy(len(task.observation_signals), *bounds, (16, 16), torch.Generator().manual_seed(seed))


def observations_by_hand(task: Task, x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Of the run x (steps + 1, 2), u (steps, 1), without noise, from the definition of each entry."""
    x_ref = task.reference.at(task.plant, np.arange(len(x)))[0]
    u_ref = task.reference.at(task.plant, 0)[1]
    applied = np.vstack([u_ref, u])  # before each sample
    rows, history, age = [], [], 0
    for k in range(len(x)):
        at = (k - 2) // 3 * 3  # the last sample at which the late signal was measured and has been reported since
        late, age = (x[at, 0], k - 2 - at) if k >= 2 else (x_ref[0, 0], k + 1)
        history.append([x[k, 0], late, x[k, 1] + 0.1 * applied[k, 0]])
        past = [history[max(k - j, 0)] for j in (1, 2)]
        inputs = [applied[max(k - j, 0)] for j in (0, 1)]
        moving = [] if task.reference.is_constant else x_ref[k]
        rows.append(np.concatenate([history[k], [age], *past, *inputs, moving]))
    return np.array(rows)


@pytest.mark.parametrize("moves", [False, True])
def test_both_environments_observe_what_is_measured_and_applied(moves: bool) -> None:
    task = measured(reference=Sinusoid(0.1, x_sine={"angle": 0.2})) if moves else measured()
    assert task.observation_signals.names[:6] == ("angle", "late", "rate", "late_age", "angle_1_ago", "late_1_ago")
    assert "applied_torque_2_ago" in task.observation_signals.names
    env, many = task.env(), task.vector_env(3, dtype=torch.float64)
    rng, n = np.random.default_rng(0), 12
    inputs = rng.uniform(-1.0, 1.0, (n, 1))
    first, _ = env.reset(options={"state": [0.1, -0.2]})
    of_one, states, rewards = [first], [np.array([0.1, -0.2])], []
    for u in inputs:
        observation, reward, *_, info = env.step(u)
        of_one.append(observation)
        states.append(info["state"])
        rewards.append(reward)
    applied = np.clip(inputs, *task.input_bounds)
    expected = observations_by_hand(task, np.array(states), applied)
    np.testing.assert_allclose(np.array(of_one), expected, rtol=1e-6, atol=1e-7)
    stage = task.stage_cost_function()
    x_ref, u_ref = task.reference.at(task.plant, np.arange(n))
    of_state = [-float(stage(states[k], applied[k], x_ref[k], u_ref[k])) for k in range(n)]
    np.testing.assert_allclose(rewards, of_state, rtol=1e-9)  # of the true state, not of what is measured

    seen, x = [many.reset().numpy()], [many.state.numpy()]
    for k in range(n):
        torque = torch.tensor(inputs[k]).expand(3, 1) * torch.tensor([[1.0], [0.5], [-1.0]])
        transition = many.step(torque)
        assert torch.equal(transition.observation, transition.next_observation)
        seen.append(transition.observation.numpy())
        x.append(many.state.numpy())
    for i, factor in enumerate((1.0, 0.5, -1.0)):
        u = np.clip(factor * inputs, *task.input_bounds)
        by_hand = observations_by_hand(task, np.array(x)[:, i], u)
        np.testing.assert_allclose(np.array(seen)[:, i], by_hand, rtol=1e-9, atol=1e-12)


def test_a_run_that_is_started_anew_remembers_nothing_of_the_last_one() -> None:
    task = measured(steps=5, initial=Uniform([0.1, -0.2], [0.2, 0.2]))
    env = task.vector_env(4, dtype=torch.float64)
    env.reset()
    for _ in range(4):
        env.step(torch.full((4, 1), 0.3, dtype=torch.float64))
    transition = env.step(torch.full((4, 1), 0.3, dtype=torch.float64))
    assert transition.truncated.all()
    x, u = env.state.numpy(), np.zeros((0, 1))
    for i in range(4):
        np.testing.assert_allclose(transition.observation[i], observations_by_hand(task, x[i][None], u)[0])
        assert not torch.allclose(transition.next_observation[i], transition.observation[i])
    seen = [transition.observation.numpy()]
    states = [x]
    for _ in range(4):
        seen.append(env.step(torch.full((4, 1), -0.2, dtype=torch.float64)).next_observation.numpy())
        states.append(env.state.numpy())
    expected = observations_by_hand(task, np.array(states)[:, 0], np.full((4, 1), -0.2))
    np.testing.assert_allclose(np.array(seen)[:, 0], expected, rtol=1e-9, atol=1e-12)


def test_a_run_that_begins_at_a_later_sample_counts_as_having_stood_still() -> None:
    env = measured(past=0, steps=50, initial=Uniform([0.1, -0.2], [0.2, 0.2])).vector_env(64, dtype=torch.float64)
    seen, k = env.reset(staggered=True).numpy(), env.samples.numpy()
    due = (k >= 2) & ((k - 2) % 3 == 0)
    assert due.any()
    assert not due.all()
    np.testing.assert_array_equal(seen[:, 1], np.where(due, env.state.numpy()[:, 0], 0.0))
    np.testing.assert_array_equal(seen[:, 3], np.where(due, 0.0, 1.0))


def test_noise_rounding_and_losses_of_the_vector_environment_have_their_distributions() -> None:
    task = measured(NOISY, past=0, initial=Fixed([0.1, 0.0]))
    n = 20_000
    env = task.vector_env(n, dtype=torch.float64)
    seen = env.reset().numpy()
    names = task.observation_signals.names
    assert names == ("angle", "late", "rate", "late_age", "rate_age")
    angle, rate, age = seen[:, 0], seen[:, 2], seen[:, 4]
    np.testing.assert_allclose(angle / 0.01, np.round(angle / 0.01), atol=1e-9)
    assert abs(angle.mean() - 0.1) < 4 * 0.02 / np.sqrt(n)
    assert abs(angle.std() - np.sqrt(0.02**2 + 0.01**2 / 12)) < 5e-4
    lost = age == 1
    assert abs(lost.mean() - 0.3) < 4 * np.sqrt(0.21 / n)
    assert (rate[lost] == 0.0).all()  # that of the reference
    assert abs(rate[~lost].std() - 0.1) < 3e-3
    after = env.step(torch.zeros(n, 1, dtype=torch.float64)).observation.numpy()
    still = after[:, 4] > 0
    np.testing.assert_array_equal(after[still, 2], rate[still])
    np.testing.assert_array_equal(after[still, 4], age[still] + 1)
    assert abs((after[:, 4] == 2).mean() - 0.09) < 0.01


def test_a_policy_acts_in_the_closed_loop_on_what_it_observed_in_training() -> None:
    task = measured(NOISY)
    controller = MeasuredPolicyController(task, policy_of(task))
    draws = draw_all(task, 3, (1,))
    runs = simulate(task, controller, **draws.arguments)
    assert draws.noise is not None
    assert runs.outputs is not None
    act = controller.policy.law()
    for i in range(3):
        sensors, steps = Sensors(task.measurement, task.plant), task.steps  # type: ignore[arg-type]
        values, age, before = [], np.array([0.0, 0.0]), np.zeros(1)
        held = sensors.expected(*task.reference.at(task.plant, 0))
        for k in range(steps):
            y = sensors.read(runs.states[i, k], before, k, draws.noise[i, k])
            np.testing.assert_array_equal(y, runs.outputs[i, k])
            held = np.where(np.isfinite(y), y, held)
            age = np.where(np.isfinite(y[1:]), 0.0, age + 1.0)
            values.append(held)
            past = [values[max(k - j, 0)] for j in (1, 2)]
            inputs = [runs.inputs[i, k - j] if k >= j else np.zeros(1) for j in (1, 2)]
            u = np.clip(act(np.concatenate([held, age, *past, *inputs])), *task.input_bounds)
            np.testing.assert_allclose(runs.inputs[i, k], u, rtol=1e-12, atol=1e-14)
            before = runs.inputs[i, k]


def test_a_learner_trains_on_measurements_and_resumes_to_the_bit(tmp_path: Path) -> None:
    task = measured(NOISY, steps=30)
    first = DSACT(task, settings=TINY[DSACT]).learn(10, progress=False)
    first.save(tmp_path / "half")
    assert any("acts on the last reported values of angle, late, rate" in said for said in first.approximations)
    resumed = DSACT.load(tmp_path / "half", task)
    for a, b in zip(
        everything(first.learn(20, progress=False)), everything(resumed.learn(20, progress=False)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert first.policy.observation_size == len(task.observation_signals) == 13
    with pytest.raises(Exception, match="made for another task"):
        DSACT.load(tmp_path / "half", dataclasses.replace(task, observation=MeasuredWindow(past=1)))


def test_comparison_and_check_say_what_is_observed(tmp_path: Path) -> None:
    task = measured(NOISY, steps=20)
    policy = policy_of(task)
    own = compare(
        task,
        {"policy": lambda t: MeasuredPolicyController(t, policy), "lqr": LQR, "mine": from_function(lambda o: o[:1])},
        starts=2,
        workers=1,
    )
    assert set(own.estimators) == {"lqr"}
    said = (
        "acts on the last reported values of angle, late, rate, the ages of late, rate, and measurements and inputs of "
    )
    assert said + "the 2 samples before, without an estimator" in " ".join(str(own).split())
    assert own.metrics["policy"].estimation_error == {}
    report = str(check_task(task))
    assert "it says what learners observe" in report
    assert "measurements and inputs of the 2 samples before" in report
    assert check_controller(MeasuredPolicyController(task, policy), task).passed
    copied = cloudpickle.loads(cloudpickle.dumps(MeasuredPolicyController(task, policy)))
    y = np.array([0.1, np.nan, 0.2])
    np.testing.assert_array_equal(copied.step(y, 0).input, MeasuredPolicyController(task, policy).step(y, 0).input)


def test_what_does_not_go_together_is_refused_in_words() -> None:
    task = measured()
    policy = policy_of(task)
    with pytest.raises(NotApplicable, match="use MeasuredPolicyController"):
        PolicyController(task, policy)
    with pytest.raises(NotApplicable, match=r"use PolicyController\(task, policy\)"):
        MeasuredPolicyController(pendulum(), policy_of(pendulum()))
    with pytest.raises(NotApplicable, match="maps 13 observations"):
        MeasuredPolicyController(dataclasses.replace(task, observation=None), policy_of(measured(NOISY)))
    with pytest.raises(InvalidValue, match="task without a measurement"):
        dataclasses.replace(task, measurement=None)
    with pytest.raises(InvalidValue, match="past = -1"):
        MeasuredWindow(past=-1)
    with pytest.raises(InvalidValue, match="not a function of the state"):
        task.observe_function()
    with pytest.raises(NotApplicable, match="clone it on"):
        DSACT(task, settings=TINY[DSACT]).clone(LQR, runs=1)
    with pytest.raises(NotApplicable, match="observes something other"):
        DSACT(task, settings=TINY[DSACT]).residual()


def test_a_policy_of_the_state_is_still_paired_with_an_estimator() -> None:
    state = Observation(signals("angle [rad]", "rate [rad/s]"), lambda x, xr: (x.angle, x.rate))
    task = dataclasses.replace(pendulum(), measurement=NOISY, observation=state, steps=10)
    assert task.vector_env(2).reset().shape == (2, 2)
    controller = PolicyController(task, policy_of(task))
    assert any("uses the estimate" in said for said in controller.approximations)
    loop = OutputFeedback(controller, ExtendedKalmanFilter(task, model_error={"rate": 0.01}))
    assert np.isfinite(simulate(task, loop, **draw_all(task, 2, (0,)).arguments).cost).all()


def test_a_prior_policy_of_the_state_begins_the_runs_of_a_learner_of_measurements() -> None:
    task = measured(steps=30)
    learner = DSACT(task, settings=TINY[DSACT])
    learner.with_jump_start(JumpStart(task, LQR)).learn(5, progress=False)
    assert np.isfinite(learner.predict(np.zeros(learner.policy.observation_size))[0]).all()


def test_transformations_of_inputs_keep_the_window() -> None:
    task = limit_changes(measured(), {"torque": 5.0})
    assert task.observation == MeasuredWindow(past=2)
    assert task.observes_measurement
    reference = Trajectory(np.zeros((40, 2)))
    assert dataclasses.replace(measured(), reference=reference).observation_signals.names[-1] == "rate_reference"


@pytest.mark.parametrize(("past", "moves"), [(0, False), (3, True)])
@pytest.mark.every(2)
def test_a_policy_of_measurements_in_c_is_the_policy(past: int, moves: bool, tmp_path: Path) -> None:
    changes = {"reference": Sinusoid(0.1, x_sine={"angle": 0.2})} if moves else {}
    task = measured(NOISY, past, steps=80, **changes)
    controller = MeasuredPolicyController(task, policy_of(task))
    check_project(controller.export(tmp_path, "pilot"))
    compiled, rng = Compiled(tmp_path, task), np.random.default_rng(0)
    for _ in range(2):
        controller.reset()
        compiled.reset()
        for k in range(60):
            y = np.where(rng.random(3) < 0.3, np.nan, rng.normal(size=3))
            decision, (u, status, source) = controller.step(y, k), compiled.step(y, k)
            assert (status, source) == (decision.status, decision.source)
            np.testing.assert_allclose(u, decision.input, rtol=1e-9, atol=1e-12)
    header = (tmp_path / "include" / "pilot.h").read_text()
    assert "pilot_state_late = 1" in header
    assert "NaN for those" in header


def test_an_estimator_has_no_c_code(tmp_path: Path) -> None:
    task = dataclasses.replace(pendulum(), measurement=NOISY)
    with pytest.raises(NotApplicable, match="has no C code"):
        export(OutputFeedback(LQR(task), ExtendedKalmanFilter(task)), tmp_path)


def test_a_file_is_loaded_as_what_its_task_observes(tmp_path: Path) -> None:
    """As `trivium compare TASK --controllers FILE.policy` loads it."""
    for task, kind in ((measured(), MeasuredPolicyController), (pendulum(), PolicyController)):
        policy_of(task).save(tmp_path / "a.policy")
        controller = load("trivium.controllers", str(tmp_path / "a.policy"))(task)
        assert type(controller) is kind
        assert np.isfinite(simulate(task, controller, task.initial.mean(task.plant.state)[None]).cost).all()


def test_a_policy_of_measured_signals_in_a_loop() -> None:
    """The numbers of the closed loop; what was skipped, or applied in place of its answer, is in its memory."""
    task = measured(NOISY)
    policy, drawn = policy_of(task), draw_all(task, 1, (2,))
    assert drawn.noise is not None
    settings = LoopSettings(seconds=task.steps * task.dt, in_process=True)
    expected = simulate(task, MeasuredPolicyController(task, policy), **drawn.arguments)
    clock = SimulatedClock()
    plant = SimulatedPlant(task, clock, drawn.starts[0], drawn.disturbances[0], noise=drawn.noise[0])
    run = Loop(task, MeasuredPolicyController(task, policy), plant, settings, clock=clock).run()
    np.testing.assert_array_equal(run.columns.u, expected.inputs[0])
    np.testing.assert_array_equal(run.columns.y, expected.outputs[0])
    told, silent = (MeasuredPolicyController(task, policy) for _ in range(2))
    nothing, other = np.full(run.columns.y.shape[1], np.nan), run.columns.u[0] + 0.1
    for controller in (told, silent):
        controller.step(run.columns.y[0], 0)
    told.inform(other)
    told.observe(nothing, 1)
    silent._run.apply(other)
    silent.step(nothing, 1)
    for controller in (told, silent):
        controller.inform(other)
    assert (told.step(run.columns.y[2], 2).input == silent.step(run.columns.y[2], 2).input).all()
    told.rewind()
    assert (told.step(run.columns.y[0], 0).input == run.columns.u[0]).all()
