"""Inputs that pass through memory, dead time, lags and integrators, against simulations written by hand."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import casadi as ca
import numpy as np
import pytest
from scipy.linalg import expm

from systems import (
    Box,
    Fixed,
    Gaussian,
    Inequality,
    InvalidValue,
    LinearPlant,
    Nonlinear,
    Observation,
    Plant,
    Quadratic,
    SetPoint,
    Task,
    Trajectory,
    Uniform,
    UnknownName,
    lower,
    signals,
)
from systems.inputs import delay_inputs, lag_inputs, limit_changes, rates_as_inputs
from systems.library import double_integrator, pendulum

A, B = np.array([[0.0, 1.0], [-2.0, -0.3]]), np.array([[0.0, 0.2], [1.0, 0.0]])
PLANT = LinearPlant(A, B, state=signals("a", "b"), input=signals("u [V]", "v"), input_limits=((-1, 1), (-2, 2)))
TASK = Task("plain", PLANT, 0.1, 20, Quadratic(Q=[1, 1], R=[1, 1]), Fixed([0.5, 0.0]), integrator="exact")


def held(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """The sampled plant, by one matrix exponential."""
    block = np.zeros((4, 4))
    block[:2, :2], block[:2, 2:] = A, B
    power = expm(block * seconds)
    return power[:2, :2], power[:2, 2:]


def run(task: Task, inputs: np.ndarray, start: np.ndarray) -> np.ndarray:
    step, x = lower(task.dynamics.function(), "numpy"), start
    states = [x]
    for u in inputs:
        x = step(x, u, np.zeros(len(task.plant.disturbance)), np.zeros(0))
        states.append(x)
    return np.array(states)


INPUTS = np.random.default_rng(0).uniform(-1, 1, (12, 2))


def test_a_dead_time_of_whole_samples_shifts_the_inputs() -> None:
    task = delay_inputs(TASK, {"u": 0.3})
    assert task.plant.state.names == ("a", "b", "u_1_ago", "u_2_ago", "u_3_ago")
    states = run(task, INPUTS, np.array([0.5, 0, 0, 0, 0]))
    shifted = np.column_stack([np.concatenate([np.zeros(3), INPUTS[:-3, 0]]), INPUTS[:, 1]])
    a, b = held(0.1)
    x = np.array([0.5, 0.0])
    for k, u in enumerate(shifted):
        assert np.allclose(states[k, :2], x, atol=1e-12)
        x = a @ x + b @ u


def test_a_fraction_of_a_sample_is_exact_for_inputs_that_are_held() -> None:
    task = delay_inputs(TASK, {"u": 0.13, "v": 0.05})
    assert task.plant.state.names == ("a", "b", "u_1_ago", "u_2_ago", "v_1_ago")
    states = run(task, INPUTS, np.array([0.5, 0, 0, 0, 0]))
    x, h = np.array([0.5, 0.0]), 0.01
    a, b = held(h)
    for i in range(12 * 10):
        if i % 10 == 0:
            assert np.allclose(states[i // 10, :2], x, atol=1e-12)
        k_u, k_v = (i - 13) // 10, (i - 5) // 10
        x = a @ x + b @ [INPUTS[k_u, 0] if k_u >= 0 else 0.0, INPUTS[k_v, 1] if k_v >= 0 else 0.0]


def test_a_fraction_is_refused_where_the_plant_is_discrete() -> None:
    discrete = dataclasses.replace(TASK, plant=LinearPlant(A, B, dt=0.1))
    assert delay_inputs(discrete, {"u1": 0.2}).plant.state.names[2:] == ("u1_1_ago", "u1_2_ago")
    with pytest.raises(InvalidValue, match="falls between its samples"):
        delay_inputs(discrete, {"u1": 0.25})


def test_a_lag_is_one_more_linear_state() -> None:
    task = lag_inputs(TASK, {"v": 0.4})
    states = run(task, INPUTS, np.array([0.5, 0, 0.2]))
    block = np.zeros((5, 5))
    block[:2, :2], block[:2, 3], block[:2, 2] = A, B[:, 0], B[:, 1]
    block[2, 2], block[2, 4] = -1 / 0.4, 1 / 0.4
    power, x = expm(block * 0.1), np.array([0.5, 0.0, 0.2])
    for k, u in enumerate(INPUTS):
        assert np.allclose(states[k], x, atol=1e-12)
        x = power[:3, :3] @ x + power[:3, 3:] @ u


def test_rates_as_inputs_are_integrators_in_front() -> None:
    task = rates_as_inputs(TASK, {"u": (-3.0, 3.0)}, {"u": 0.5})
    assert task.plant.state.names == ("a", "b", "u")
    assert [str(s) for s in task.plant.input] == ["u_rate [V/s]", "v [-]"]
    assert np.allclose(task.input_bounds, [[-3, -2], [3, 2]])
    assert task.constraints[-1].bounds == {"u": (-1.0, 1.0)}
    states = run(task, INPUTS, np.array([0.5, 0, 0.2]))
    assert np.allclose(states[1:, 2], 0.2 + 0.1 * np.cumsum(INPUTS[:, 0]))
    x, u, xr, ur = (np.array(v) for v in ([0.1, 0.2, 0.3], [0.4, 0.5], [0.0] * 3, [0.0] * 2))
    assert np.isclose(float(task.stage_cost(x, u, xr, ur)), 0.1**2 + 0.2**2 + 0.3**2 + 0.5**2 + 0.5 * 0.4**2)


def test_rk4_of_the_inner_plant_is_that_of_the_plant_alone() -> None:
    task = dataclasses.replace(pendulum(), substeps=3)
    changed = limit_changes(task, {"torque": 1.0})
    x, u = np.array([0.3, -0.4]), np.array([0.7])
    plain = lower(task.dynamics.function(), "numpy")(x, u, np.zeros(len(task.plant.disturbance)), np.zeros(0))
    states = run(changed, u[None], np.append(x, 0.1))
    assert np.array_equal(states[1, :2], plain)
    assert states[1, 2] == 0.7


def test_parameters_are_those_of_the_inner_plant() -> None:
    task = delay_inputs(pendulum(), {"torque": pendulum().dt})
    name = next(iter(pendulum().plant.parameters))
    assert task.plant.parameters == pendulum().plant.parameters
    heavier = task.plant.with_parameters({name: 0.9})
    assert heavier.inner.parameters[name] == 0.9
    f = task.dynamics.function([name])
    x, u = np.array([0.3, -0.4, 0.2]), np.array([0.7])
    w = np.zeros(len(task.plant.disturbance))
    expected = dataclasses.replace(task, plant=heavier).dynamics.function()(x, u, w, [])
    assert np.allclose(np.array(f(x, u, w, 0.9)), np.array(expected))


def test_all_of_a_task_is_carried_over() -> None:
    def cost(x: Any, u: Any, xr: Any, ur: Any) -> Any:
        a, b = x
        return a**2 + b**2 + u.u**2 + u.v**2

    def seen(x: Any, xr: Any) -> Any:
        a, b = x
        return a - b

    task = dataclasses.replace(
        TASK,
        cost=Nonlinear(cost),
        constraints=(
            Inequality("disc", lambda x, u: ca.sumsqr(x.column) + u.u - 4.0).soft(2.0),
            Box("v", {"v": (0, 1)}),
        ),
        initial=Gaussian([0.1, 0.2], [1.0, 0.0]),
        reference=Trajectory(np.zeros((5, 2)), np.arange(10.0).reshape(5, 2)),
        observation=Observation(signals("difference"), seen),
        domain=Box("model", {"a": (-9, 9)}),
        truth=dataclasses.replace(PLANT, A=1.1 * A),
    )
    twice = limit_changes(delay_inputs(task, {"u": 0.2}), {"v": 1.0}, previous={"v": 0.3})
    assert twice.plant.state.names == ("a", "b", "u_1_ago", "u_2_ago", "previous_v")
    assert np.allclose(twice.initial.mean(twice.plant.state), [1.0, 0.0, 0.0, 0.0, 0.3])
    assert np.allclose(np.diag(twice.initial.covariance(twice.plant.state)), [0.01, 0.04, 0, 0, 0])
    x_ref, u_ref = twice.reference.at(twice.plant, np.arange(4))
    assert np.allclose(x_ref[:, 2:], [[0, 0, 1], [0, 0, 1], [2, 0, 3], [4, 2, 5]])
    assert np.allclose(u_ref, np.arange(8.0).reshape(4, 2))
    assert twice.truth.inner.inner == task.truth
    assert twice.constraints[0].requirement == task.constraints[0].requirement
    assert twice.observation_signals.names == ("difference", "u_1_ago", "u_2_ago", "previous_v")
    x = np.array([0.5, 0.25, 0.1, 0.2, 0.3])
    assert np.allclose(np.array(twice.observe_function()(x, x)).ravel(), [0.25, 0.1, 0.2, 0.3])
    assert np.allclose(twice.arrival[:2], task.arrival)
    assert np.isinf(twice.arrival[2:]).all()
    assert np.isclose(float(twice.stage_cost(x, [1, 2], x, [0, 0])), 0.25 + 0.0625 + 5)
    assert np.isclose(float(twice.margin_function()(x, [1.0, 2.0])[0]), 0.3125 + 1.0 - 4.0)
    assert twice == limit_changes(delay_inputs(task, {"u": 0.2}), {"v": 1.0}, previous={"v": 0.3})
    assert twice != limit_changes(delay_inputs(task, {"u": 0.2}), {"v": 1.5}, previous={"v": 0.3})


def test_a_carried_task_goes_to_other_processes() -> None:
    task = limit_changes(lag_inputs(double_integrator(), {"acceleration": 0.2}), {"acceleration": 1.0})
    assert pickle.loads(pickle.dumps(task)) == task


def test_the_starts_of_a_seed_are_those_of_the_task_without_added_states() -> None:
    for initial in (Gaussian([0.1, 0.2], [1.0, 0.0]), Uniform([-1.0, 0.0], [1.0, 2.0]), Fixed([0.5, 0.0])):
        before = dataclasses.replace(TASK, initial=initial)
        task = limit_changes(delay_inputs(before, {"u": 0.2}), {"v": 1.0}, previous={"v": 0.3})
        for shape in ((), (5,), (2, 3)):
            drawn = task.initial.sample(task.plant.state, np.random.default_rng(3), shape)
            assert np.array_equal(drawn[..., :2], initial.sample(PLANT.state, np.random.default_rng(3), shape))
            assert np.array_equal(drawn[..., 2:], np.broadcast_to([0.0, 0.0, 0.3], (*shape, 3)))


def test_kinks_are_those_of_the_plant_within() -> None:
    @dataclasses.dataclass(frozen=True)
    class Rough(Plant):
        state, input = signals("a"), signals("u")

        def ode(self, x: Any, u: Any, w: Any) -> Any:
            return (ca.fabs(x.a) + u.u,)

    rough = Task("rough", Rough(), 0.1, 5, Quadratic(Q=[1], R=[1]), Fixed([0.1]))
    assert rough.reading.plant_kinks
    for make in (lambda t: limit_changes(t, {"u": 1.0}), lambda t: delay_inputs(t, {"u": 0.25}), lambda t: t):
        assert make(lag_inputs(rough, {"u": 1.0})).reading.plant_kinks == rough.reading.plant_kinks
    assert not limit_changes(delay_inputs(TASK, {"u": 0.1}), {"u": 1.0}).reading.plant_kinks


def test_a_true_plant_of_before_is_transformed_likewise() -> None:
    heavier = dataclasses.replace(PLANT, A=1.1 * np.asarray(PLANT.A))
    after = delay_inputs(TASK, {"u": 0.1}).with_truth(heavier)
    assert after.truth == delay_inputs(TASK.with_truth(heavier), {"u": 0.1}).truth
    assert after.truth != after.plant
    with pytest.raises(InvalidValue, match=r"other signals than the nominal one; give it by task\.with_truth"):
        delay_inputs(TASK, {"u": 0.1}).with_truth(double_integrator().plant)


def test_environments_observe_and_charge_changes() -> None:
    task = limit_changes(double_integrator(), {"acceleration": 2.0}, {"acceleration": 3.0})
    env = task.env()
    observed, _ = env.reset(options={"state": [1.0, 0.0, 0.1]})
    assert np.allclose(observed, [1.0, 0.0, 0.1])
    observed, reward, *_, info = env.step(np.array([0.9]))
    assert np.isclose(observed[2], 0.9)
    assert info["costs"]["rate limits"] == 1.0
    assert np.isclose(info["margins"]["rate limits"], 0.8 - 0.2)
    assert np.isclose(reward, -(1.0 + 0.1 * 0.9**2 + 3.0 * 0.8**2), atol=1e-6)
    *_, info = env.step(np.array([0.75]))
    assert info["costs"]["rate limits"] == 0.0


def test_constant_references_are_equilibria() -> None:
    rest = np.linalg.solve(A, -B @ [0.5, 0.2])
    task = dataclasses.replace(TASK, reference=SetPoint(rest, [0.5, 0.2]))
    for made in (
        limit_changes(task, {"u": 1.0}),
        delay_inputs(task, {"u": 0.25, "v": 0.1}),
        lag_inputs(task, {"u": 0.3}),
        rates_as_inputs(task, {"v": (-1, 1)}, [1.0]),
    ):
        assert made.reading.follows
        assert isinstance(made.reference, SetPoint)


@pytest.mark.parametrize("make", [lambda: limit_changes(TASK, {"x": 1.0}), lambda: delay_inputs(TASK, {"x": 1.0})])
def test_an_unknown_input_is_named(make: Any) -> None:
    with pytest.raises(UnknownName, match="x"):
        make()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: limit_changes(TASK), "without any limit"),
        (lambda: limit_changes(TASK, {"u": -1.0}), "u"),
        (lambda: limit_changes(TASK, {"u": (0.5, 1.0)}), "excludes a constant input"),
        (lambda: limit_changes(limit_changes(TASK, {"u": 1.0}), {"u": 1.0}), "already has a signal 'previous_u'"),
        (lambda: delay_inputs(TASK, {"u": 0.0}), "delays: u"),
        (lambda: delay_inputs(TASK, {}), "delays"),
        (lambda: lag_inputs(delay_inputs(TASK, {"u": 0.1}), {"u": 0.1}), "discrete by nature"),
        (lambda: lag_inputs(TASK, {"u": -1.0}), "time_constants: u"),
        (lambda: rates_as_inputs(limit_changes(TASK, {"u": 1.0}), {"u": (-1, 1)}, [1.0]), "discrete by nature"),
        (lambda: rates_as_inputs(TASK, {"u": 1.0}, [1.0]), "pair"),  # type: ignore[dict-item]
    ],
)
def test_misuse_is_refused_in_words(make: Any, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        make()


def test_changes_of_a_delayed_input_are_limited_after_the_delay() -> None:
    """The other way round, what is set now was compared with what acted a sample ago, set some time before."""
    task = limit_changes(TASK, {"u": 1.0}, {"u": 3.0})
    with pytest.raises(InvalidValue, match=r"delay first: limit_changes\(delay_inputs\(task, ...\), ...\)"):
        delay_inputs(task, {"u": 0.1, "v": 0.1})
    assert "v_1_ago" in delay_inputs(task, {"v": 0.1}).plant.state.names
    right = limit_changes(delay_inputs(TASK, {"u": 0.2}), {"u": 1.0}, {"u": 3.0})
    x, u = right.plant.state.array({"previous_u": 0.5, "u_1_ago": 0.5, "u_2_ago": -2.0}), np.array([0.5, 0.0])
    x_ref, u_ref = right.reference.at(right.plant, 0)
    before = delay_inputs(TASK, {"u": 0.2})
    assert np.isclose(
        float(right.stage_cost(x, u, x_ref, u_ref)),
        float(before.stage_cost(x[:-1], u, *before.reference.at(before.plant, 0))),
    )
