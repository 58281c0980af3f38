"""Every controller refuses what is no sample number and no state, before anything of it changes, and answers the rest.

Clocks that stand still, jump or count beyond the end, and states that are NaN or infinite, are numbers: they get an
input and a status. A float as a sample number, or text as a state, is misuse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ctrl import LQR, Controller, Decision, Status
from ctrl.controller import measured_state, measured_states, sample_index
from mpc import (
    MPPI,
    CrossEntropyMPC,
    EqualityMPC,
    ExplicitMPC,
    HarmonicMPC,
    LagrangianMPC,
    LinearMPC,
    NonlinearMPC,
    StochasticMPC,
    TrackingMPC,
    indirect_feedback_mpc,
    robust_stochastic_mpc,
)
from safe_rl import Policy, PolicyController
from safe_rl.driving import LaneChanging, LaneKeeping
from systems import Box, Sinusoid, Task, Trajectory, TriviumError, signals
from systems.library import ball_and_plate_axis, driving, pendulum, segway

SWINGING = dataclasses.replace(pendulum(), reference=Sinusoid(0.1, x_sine={"angle": 0.05}))
LISTED = dataclasses.replace(pendulum(), reference=Trajectory(np.linspace(0.0, 0.1, 60)[:, None] * [1.0, 0.0]))
AXIS = ball_and_plate_axis()
MOVING_AXIS = dataclasses.replace(AXIS, reference=Sinusoid(0.3, x_sine={AXIS.plant.state.names[0]: 0.1}))


def learned(task: Task) -> PolicyController:
    o, (low, high) = len(task.observation_signals), task.input_bounds
    bounds = (torch.tensor(bound, dtype=torch.float32) for bound in (low, high))
    return PolicyController(task, Policy(o, *bounds, (8,), torch.Generator().manual_seed(0)))


CONTROLLERS: dict[str, tuple[Task, Callable[[Task], Controller]]] = {
    "lqr": (pendulum(), LQR),
    "lqr, moving": (SWINGING, LQR),
    "lqr, listed": (LISTED, LQR),
    "linear": (pendulum(), lambda task: LinearMPC(task, 8)),
    "linear, moving": (SWINGING, lambda task: LinearMPC(task, 8)),
    "linear, listed": (LISTED, lambda task: LinearMPC(task, 8, solver="piqp")),
    "nonlinear": (pendulum(), lambda task: NonlinearMPC(task, 6)),
    "nonlinear, moving": (SWINGING, lambda task: NonlinearMPC(task, 6)),
    "lagrangian": (pendulum(), lambda task: LagrangianMPC(task, 5)),
    "path integral": (pendulum(), lambda task: MPPI(task, 5, 20)),
    "cross entropy, moving": (SWINGING, lambda task: CrossEntropyMPC(task, 5, 50)),
    "explicit": (pendulum(), lambda task: ExplicitMPC(task, 2)),
    "harmonic": (AXIS, lambda task: HarmonicMPC(task, 5, frequency=0.3)),
    "harmonic, moving": (MOVING_AXIS, lambda task: HarmonicMPC(task, 5)),
    "tracking": (AXIS, lambda task: TrackingMPC(task, 5)),
    "equality": (AXIS, lambda task: EqualityMPC(task, 6)),
    "stochastic": (segway(), robust_stochastic_mpc),
    "indirect feedback": (segway(), indirect_feedback_mpc),
    "stochastic, every third": (segway(), lambda task: StochasticMPC(task, recondition_every=3)),
    "policy": (pendulum(), learned),
    "policy, moving": (SWINGING, learned),
    "lane keeping": (driving(), LaneKeeping),
    "lane changing": (driving(), LaneChanging),
}
MADE: dict[str, Any] = {}

NO_SAMPLE = [
    float("nan"), float("inf"), -np.inf, 1.5, 2.0, np.float64(2.0), np.float32(1.0), "3", b"3", None, True, np.True_,
    1j, [0], (1,), np.array([1]), np.array(1.5), np.array(True), np.array("1"), object(), 2**70, -(2**70),
    np.datetime64("2020"),
]  # fmt: skip
SAMPLES = [0, 1, np.int64(2), np.uint8(3), np.array(4), 50, 10**6, -7]


def made(name: str) -> Any:
    """One of each is enough: what is under test is that nothing of it changes."""
    if name not in MADE:
        task, make = CONTROLLERS[name]
        MADE[name] = make(task)
    MADE[name].reset()
    return MADE[name]


def near(name: str) -> np.ndarray:
    task = CONTROLLERS[name][0]
    x_ref = task.reference.at(task.plant, 0)[0]
    return x_ref + 0.05 * (task.initial.mean(task.plant.state) + 0.01 - x_ref)


def no_states(n: int) -> list[Any]:
    return [
        "x", "1" * n, None, 5.0, [None] * n, ["1"] * n, [1j] * n, np.full(n, "a"), np.full(n, None),
        np.zeros(n, dtype=bool), np.array([object()] * n), np.zeros(n, dtype=complex), np.zeros(n + 1),
        np.zeros((1, n)), np.zeros((n, 1)), [], {},
        (0.0 for _ in range(n)), [[0.0]] * (n - 1) + [[0.0, 1.0]], [10**400] * n,
        torch.zeros(n, requires_grad=True), object(), np.zeros(n, dtype="datetime64[s]"),
    ]  # fmt: skip


def same(one: Decision, other: Decision) -> bool:
    return bool(np.allclose(one.input, other.input, rtol=1e-6, atol=1e-9)) and one.status is other.status


@pytest.mark.parametrize("name", CONTROLLERS)
def test_what_is_no_sample_number_is_refused_and_leaves_no_trace(name: str) -> None:
    controller, x = made(name), near(name)
    plain = [controller.step(x, k) for k in range(3)]
    controller.reset()
    for k in range(3):
        for wrong in NO_SAMPLE:
            with pytest.raises(TriviumError, match="sample k"):
                controller.step(x, wrong)
            if hasattr(controller, "batch"):
                with pytest.raises(TriviumError, match="sample k"):
                    controller.batch(x[None], wrong)
        assert same(controller.step(x, k), plain[k]), k


@pytest.mark.parametrize("name", CONTROLLERS)
def test_what_is_no_state_is_refused_and_leaves_no_trace(name: str) -> None:
    controller, x = made(name), near(name)
    plain = [controller.step(x, k) for k in range(2)]
    controller.reset()
    for k in range(2):
        for wrong in no_states(len(x)):
            with pytest.raises(TriviumError, match="state"):
                controller.step(wrong, k)
        assert same(controller.step(x, k), plain[k]), k
    if hasattr(controller, "batch"):
        for wrong in (
            "x",
            None,
            np.zeros((2, len(x) + 1)),
            np.full((2, len(x)), None),
            np.zeros((2, len(x)), dtype=complex),
        ):
            with pytest.raises(TriviumError, match="state"):
                controller.batch(wrong, 0)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_every_whole_number_is_answered(name: str) -> None:
    """Beyond the end of a run the reference goes on; before its beginning it is as documented by the reference."""
    task, _ = CONTROLLERS[name]
    controller, (lower, upper) = made(name), task.input_bounds
    for k in SAMPLES:
        decision = controller.step(near(name), k)
        assert ((lower <= decision.input) & (decision.input <= upper)).all(), k


@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_states_of_nan_or_infinity_get_an_input_and_a_status(name: str, bad: float) -> None:
    task, _ = CONTROLLERS[name]
    controller, (lower, upper), x = made(name), task.input_bounds, near(name)
    controller.step(x, 0)
    for k, spoilt in enumerate((np.full(len(x), bad), np.where(np.arange(len(x)) == 0, bad, x)), start=1):
        decision = controller.step(spoilt, k)
        assert decision.status is not Status.SOLVED
        assert ((lower <= decision.input) & (decision.input <= upper)).all()


def test_floats_are_refused_from_the_first_sample_on_and_not_in_the_middle_of_a_run() -> None:
    for k in np.arange(5) * 1.0:
        with pytest.raises(TriviumError, match="count samples instead of rounding a time"):
            sample_index(k)
    assert [type(sample_index(k)) for k in SAMPLES] == [int] * len(SAMPLES)
    assert [sample_index(k) for k in SAMPLES] == [int(k) for k in SAMPLES]


def test_states_keep_their_numbers() -> None:
    state = signals("a", "b")
    for x in ([1, 2], (1.0, 2.0), np.array([1, 2], dtype=np.int8), np.float32([1, 2]), torch.tensor([1.0, 2.0])):
        found = measured_state(x, state)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, [1.0, 2.0])
    assert np.isnan(measured_state([np.nan, 1.0], state)[0])
    assert measured_states(np.zeros((3, 4, 2)), state).shape == (3, 4, 2)


def test_beyond_the_end_of_a_run_references_go_on() -> None:
    """A list holds its last entry, a sinusoid swings on."""
    for task in (SWINGING, LISTED):
        controller = LQR(task)
        for k in (task.steps, task.steps + 1, 10 * task.steps):
            x_ref, u_ref = task.reference.at(task.plant, k)
            np.testing.assert_allclose(controller.step(x_ref, k).input, u_ref, atol=1e-12)
    end = LISTED.reference.at(LISTED.plant, 10**6)[0]
    np.testing.assert_array_equal(end, [0.1, 0.0])


def test_a_box_of_the_same_name_does_not_hide_the_state() -> None:
    """The message lists the signals, whatever was given."""
    with pytest.raises(TriviumError, match=r"expected \(2,\): a, b; one state per call"):
        measured_state(np.zeros((2, 2)), signals("a", "b"))
    with pytest.raises(TriviumError, match="a, b"):
        measured_state(Box("b", {}), signals("a", "b"))
