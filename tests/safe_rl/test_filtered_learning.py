"""Learning through a safety filter: the batch decides as the filter does, and what is applied is what is learned."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.filtered_tasks import can_stop, disturbed_braking, quadrotor_with_obstacle
from ctrl.controller import NotApplicable
from ctrl.filters import BarrierFilter, Filtered, SafetyFilter, with_hard_constraints
from ctrl.filters.safety_filter import Correction
from ctrl.loop import simulate
from safe_rl import DSACT, SAC, JumpStart, JumpStartSettings, Learner, Policy, PolicyController, assess
from safe_rl.batched_filter import BatchedFilter
from systems import Box, Inequality, InvalidValue, LinearPlant, Quadratic, Task, Uniform
from systems.library import cartpole_track, lane_bound
from tests.safe_rl.tasks import TINY, assert_same_run

# Starts from which it can stop.
TASK = dataclasses.replace(
    disturbed_braking(), initial=Uniform({"position": -1.8, "speed": 0.0}, {"position": -0.8, "speed": 0.5})
)
FILTER = BarrierFilter(TASK, [can_stop(0.85)], rate=5.0)


def two_inputs() -> tuple[Task, BarrierFilter]:
    """A point in the plane, whose two inputs overlap, before a slanted wall: affine in the input."""
    plant = LinearPlant([[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.5], [0.2, 1.0]])
    names, inputs = plant.state.names, plant.input.names
    wall = Inequality("wall", lambda x, u: x[names[0]] + 2.0 * x[names[1]] - 1.0)
    task = Task(
        "slanted wall",
        plant,
        dt=0.1,
        steps=20,
        cost=Quadratic(Q=dict.fromkeys(names, 1.0), R=dict.fromkeys(inputs, 1.0)),
        constraints=(wall, Box("input", {inputs[0]: (-1.0, 2.0), inputs[1]: (-0.5, 0.5)})),
        initial=Uniform([-1.0, -1.0], [0.0, 0.0]),
        discount=0.9,
    )
    return task, BarrierFilter(task, [wall], rate=3.0)


def cases() -> dict[str, tuple[BarrierFilter, tuple[float, ...], float]]:
    lane = with_hard_constraints(lane_bound())
    return {
        "two conditions, one input": (FILTER, (4.0, 2.0), 1e-4),
        "relative degree two": (BarrierFilter(TASK, rate=1.0), (4.0, 2.0), 1e-4),
        "a lane": (BarrierFilter(lane, rate=1.0), (1.0, 1.0), 1e-4),
        "two inputs, affine": (two_inputs()[1], (1.0, 1.0), 1e-5),
        "two inputs, not affine": (BarrierFilter(quadrotor_with_obstacle(), rate=2.0), (1.0,) * 6, 2e-3),
    }


@pytest.mark.parametrize("name", cases())
def test_a_batch_is_filtered_as_its_rows_are(name: str) -> None:
    safety_filter, reach, tolerance = cases()[name]
    rng = np.random.default_rng(0)
    low, high = safety_filter.task.applied_bounds
    x = rng.uniform(-1.0, 1.0, (400, len(reach))) * reach
    u = rng.uniform(low - 0.2 * (high - low), high + 0.2 * (high - low), (400, len(low)))
    applied = BatchedFilter(safety_filter)(torch.tensor(x), torch.tensor(u)).numpy()
    rows = [safety_filter.correct(*row, 0) for row in zip(x, u, strict=True)]
    away = np.abs(applied - np.array([row.input for row in rows])) / (high - low)
    reasons = np.array([str(row.reason or "") for row in rows])
    assert min((reasons == reason).sum() for reason in ("", "unsafe input", "no safe input")) > 5
    # A condition that hardly depends on the input turns its margin of 1e-6 into a distance.
    assert np.quantile(away, 0.99) < tolerance
    assert away.max() < 20 * tolerance
    assert (applied >= low).all()
    assert (applied <= high).all()
    c = np.array([np.array(safety_filter.conditions(*row)[0]).ravel() for row in zip(x, applied, strict=True)])
    assert (c[reasons != "no safe input"] >= 0.0).all()


def test_gradients_are_those_of_the_nearest_input() -> None:
    _, safety_filter = two_inputs()
    batched = BatchedFilter(safety_filter)
    rng = np.random.default_rng(1)
    x = torch.tensor(rng.uniform(-0.2, 0.6, (200, 2)))
    u = torch.tensor(rng.uniform([-0.9, -0.45], [1.9, 0.45], (200, 2)))
    moved = (batched(x, u) != u).any(dim=1)
    assert 50 < int(moved.sum()) < 190
    for direction in torch.eye(2, dtype=torch.float64):
        exact = torch.func.jvp(lambda v: batched(x, v), (u,), (direction.expand_as(u),))[1]
        ahead, behind = (batched(x, u + step * direction) for step in (1e-7, -1e-7))
        near = (exact - (ahead - behind) / 2e-7).abs().amax(dim=1)
        assert int((near > 1e-5).sum()) <= 2  # a kink between the two
        assert float(exact[moved].abs().max()) > 0.1  # along the wall, it is free
    given = u.clone().requires_grad_()
    (backward,) = torch.autograd.grad(batched(x, given)[:, 0].sum(), given)
    forward = torch.func.jvp(lambda v: batched(x, v), (u,), (torch.tensor([1.0, 0.0]).double().expand_as(u),))[1]
    torch.testing.assert_close(backward[:, 0], forward[:, 0])


def begun(base: Any, safety_filter: SafetyFilter | None = FILTER, **more: Any) -> Any:
    learner = base(TASK, seed=0, settings=dataclasses.replace(TINY[base], **more))
    return learner if safety_filter is None else learner.filtered(safety_filter)


@pytest.mark.parametrize("base", [SAC, DSACT])
def test_what_is_applied_is_what_is_stored_and_no_constraint_is_violated(base: type[Learner]) -> None:
    # Actions at random and a policy without training meet the wall; behind the filter they do not.
    many = {"environments": 40, "evaluation_environments": 20, "warmup": 4000, "capacity": 7000}
    for safety_filter in (None, FILTER):
        learner = begun(base, safety_filter, **many).learn(100, progress=False)
        rows = learner.buffer.contents()
        assert (float(rows.cost.sum()) > 0) == (safety_filter is None)
        u = learner.policy.physical(rows.action).double().numpy()
        c = FILTER.conditions.map(len(u))(rows.observation.double().numpy().T, u.T)[0]
        lowest = float(np.array(c).min())
        assert (lowest < -0.1) if safety_filter is None else (lowest > -1e-6)
        # The stored action leads to the stored successor: its speed is what the input and a disturbance make of it.
        change = (rows.next_observation - rows.observation)[:, 1].numpy() - TASK.dt * u[:, 0]
        assert np.abs(change).max() <= TASK.dt * 0.1 + 1e-5


@pytest.mark.parametrize("base", [SAC, DSACT])
def test_critics_are_asked_only_about_inputs_that_the_filter_lets_pass(base: type[Learner]) -> None:
    learner = begun(base)
    x = torch.tensor(np.random.default_rng(2).uniform([-1.5, 0.0], [0.0, 1.0], (200, 2)), dtype=torch.float32)
    proposed = torch.rand(200, 1) * 2.0 - 1.0
    applied = learner.applied(x, proposed)
    assert 20 < int((applied != proposed).sum()) < 190
    torch.testing.assert_close(learner.applied(x, applied), applied, atol=1e-5, rtol=0.0)
    asked: list[torch.Tensor] = []
    for critics in (learner.critics, learner.target_critics):
        critics.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0].detach()))
    learner.learn(2, progress=False)
    assert len(asked) == 5  # two targets, two critics at the memory, one at the policy
    for rows in asked:
        observation = rows[:, :2] * learner.policy.observation_std + learner.policy.observation_mean
        action = rows[:, 2:]
        torch.testing.assert_close(learner.applied(observation, action), action, atol=1e-4, rtol=0.0)


def test_a_run_resumes_to_the_bit_with_its_filter_and_with_no_other(tmp_path: Path) -> None:
    once = begun(DSACT).learn(60, progress=False)
    half = begun(DSACT).learn(30, progress=False)
    half.save(tmp_path / "half.pt")
    with pytest.raises(InvalidValue, match="started with a safety filter; give it again"):
        DSACT.load(tmp_path / "half.pt", TASK).learn(60, progress=False)
    with pytest.raises(InvalidValue, match=r"started with a barrier filter of 'can stop'.* at 5 per second"):
        DSACT.load(tmp_path / "half.pt", TASK).filtered(BarrierFilter(TASK, [can_stop(0.85)], rate=4.0))
    resumed = DSACT.load(tmp_path / "half.pt", TASK).filtered(FILTER).learn(60, progress=False)
    assert_same_run(once, resumed)
    share = once.history[-1].diagnostics["filtered share"]
    assert 0.0 < share < 1.0
    assert "filtered share" not in begun(SAC, None).learn(1, progress=False).history[-1].diagnostics


def test_the_policy_and_its_filter_are_one_controller(tmp_path: Path) -> None:
    learner = begun(SAC)
    with torch.no_grad():  # full speed ahead
        learner.mean_policy.network.biases[-1][0] = 3.0
    behind, alone = learner.controller(), PolicyController(TASK, learner.result)
    assert isinstance(behind, Filtered)
    starts = np.array([[-1.5, 0.3], [-0.9, 0.5]])
    assert simulate(TASK, behind, starts).margins.max() <= 0.0 < simulate(TASK, alone, starts).margins.max()
    assert behind.statistics.count > 0
    assert isinstance(begun(SAC, None).controller(), PolicyController)
    # A policy remembers that its inputs need a filter, in its file too.
    learner.result.save(tmp_path / "a.policy")
    for controller in (alone, PolicyController.load(TASK, tmp_path / "a.policy"), behind):
        assert any(
            "was trained with a barrier filter of 'can stop'" in text for text in controller.approximations or ()
        )
    assert not any("behind" in text for text in begun(SAC, None).controller().approximations)
    assert Policy.load(tmp_path / "a.policy").filtered_by == FILTER.description
    # An assessment is of the policy with the filter, if it is given.
    spent = [assess(learner.result, TASK, 20, safety_filter=given).spent.sum() for given in (None, FILTER)]
    assert spent[0] > 0 == spent[1]


def test_evaluations_during_training_are_filtered() -> None:
    learner = begun(SAC).learn(5, progress=False)
    with torch.no_grad():
        learner.mean_policy.network.biases[-1][0] = 3.0
    record = learner._record(True)
    assert record.evaluation == pytest.approx(assess(learner.result, TASK, 10, 0, FILTER).returns.mean())
    assert record.evaluation != pytest.approx(assess(learner.result, TASK, 10, 0).returns.mean())


class Other(SafetyFilter):
    """Passes every input on."""

    def correct(self, x: np.ndarray, u: np.ndarray, k: int) -> Correction:
        return Correction(u)

    def reset(self) -> None:
        """Nothing is remembered."""


def test_what_cannot_be_learned_through_is_refused() -> None:
    with pytest.raises(NotApplicable, match="Other cannot filter inputs in batches"):
        begun(SAC, Other(TASK))
    task, _ = two_inputs()
    both = [Inequality(str(k), lambda x, u, k=k: x[task.plant.state.names[k]] - 1.0) for k in (0, 1)]
    with pytest.raises(NotApplicable, match="2 conditions on 2 inputs"):
        BatchedFilter(BarrierFilter(task, both))
    other = with_hard_constraints(cartpole_track())
    with pytest.raises(InvalidValue, match="construct the filter with this task"):
        begun(SAC, BarrierFilter(other, rate=1.0))
    with pytest.raises(InvalidValue, match="before the first update"):
        begun(SAC, None).learn(1, progress=False).filtered(FILTER)
    with pytest.raises(InvalidValue, match="without a jump start or filter"):
        begun(SAC).residual()
    with pytest.raises(InvalidValue, match=r"not together with residual\(\) or clone\(\)"):
        begun(SAC, None).residual().filtered(FILTER)


def test_a_jump_start_passes_through_the_filter() -> None:
    def ahead(task: Task) -> Any:
        policy = begun(SAC, None).policy
        with torch.no_grad():
            policy.network.biases[-1][0] = 3.0
        return PolicyController(task, policy)

    learner = begun(SAC).with_jump_start(JumpStart(TASK, ahead, JumpStartSettings(longest=60)))
    acted, costs, applied = [], [], []
    for _ in range(40):
        rows = learner.collector.collect()
        acted.append(learner.collector.jump_start.prior_acts)
        costs.append(float(rows.cost.sum()))
        applied.append(rows.action)
    both = torch.stack(acted)
    assert bool(both.any())
    assert bool((~both).any())
    assert not any(costs)
    assert float(torch.stack(applied)[both].min()) < 0.5  # the prior policy proposes nearly 1
