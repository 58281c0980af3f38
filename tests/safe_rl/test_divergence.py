"""A learner never returns, saves or keeps a policy with a weight that is no number."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_rl import DSACT, PLO, PPO, SAC, TrainingDiverged
from safe_rl.buffer import Batch
from safe_rl.divergence import LastFinite, expect_finite_rows
from safe_rl.policy import Policy
from systems import InvalidValue, TriviumError
from tests.safe_rl.tasks import TINY, everything, swing_up

KINDS = [DSACT, SAC, PPO]
TASK = swing_up(steps=20)


def weights(policy: Policy) -> list[torch.Tensor]:
    return [value.detach().clone() for value in policy.state_dict().values()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def finite(policy: Policy) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in policy.state_dict().values())


def networks(learner: Any) -> list[str]:
    return sorted(learner.networks())


def spoil(learner: Any, name: str, value: float = math.nan) -> None:
    network = learner.networks()[name]
    tensor = network if isinstance(network, torch.Tensor) else next(network.parameters())
    with torch.no_grad():
        tensor.view(-1)[0] = value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_network_is_watched_and_the_policies_are_put_back(kind: Any, tmp_path: Path) -> None:
    """One weight of one network turns into NaN or infinity between two checks; nothing of it is written or kept."""
    learner = kind(TASK, settings=TINY[kind])
    held = {id(parameter) for module in vars(learner).values() if isinstance(module, torch.nn.Module)
            for parameter in module.parameters()}  # fmt: skip
    watched = {id(p) for n in learner.networks().values() if isinstance(n, torch.nn.Module) for p in n.parameters()}
    assert held == watched
    for value, name in zip([math.nan, math.inf, -math.inf] * 3, networks(learner), strict=False):
        learner = kind(TASK, settings=TINY[kind]).learn(20, progress=False, checkpoint=tmp_path / name)
        good, written = (weights(learner.policy), weights(learner.result)), (tmp_path / name).read_bytes()
        spoil(learner, name, value)
        with pytest.raises(TrainingDiverged, match=rf"weights of {name}\b.* policy and result are those of update 20"):
            learner.learn(40, progress=False, checkpoint=tmp_path / name)
        assert (tmp_path / name).read_bytes() == written
        assert equal(good[0], weights(learner.policy))
        assert equal(good[1], weights(learner.result))
        if name not in ("policy", "mean_policy", "target_policy"):  # these are mended by putting them back
            with pytest.raises(TrainingDiverged, match="became NaN or infinite"):
                learner.save(tmp_path / "other")
            assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_update_that_overflows_ends_training(kind: Any) -> None:
    """Steps of 1e38 leave no finite weight. The environment that is given an action of NaN is not blamed."""
    rates = {"policy_rate": 1e38, "value_rate" if kind is PPO else "critic_rate": 1e38}
    learner = kind(TASK, settings=dataclasses.replace(TINY[kind], **rates))
    first = weights(learner.policy)
    with pytest.raises(TrainingDiverged) as caught:
        learner.learn(1000, progress=False)
    said = str(caught.value)
    assert f"{learner.name} on task '{TASK.name}': weights of " in said
    assert f"between updates 0 and {learner.updates}" in said
    assert "Lower the step sizes" in said
    assert equal([w for w in first if w.ndim == 2], [w for w in weights(learner.policy) if w.ndim == 2])
    assert finite(learner.policy)
    assert finite(learner.result)
    with pytest.raises(TrainingDiverged, match=f"between updates 0 and {learner.updates}"):  # going on is no way out
        learner.learn(2000, progress=False)
    assert issubclass(TrainingDiverged, TriviumError)


@pytest.mark.parametrize(("evaluate_every", "found"), [(None, 200), (50, 50), (300, 200)])
def test_weights_that_no_environment_meets_are_found_at_the_next_report(evaluate_every: int | None, found: int) -> None:
    """A round of 1600 transitions is gone through in 500 updates, none of which meets an environment."""
    learner = PPO(TASK, settings=dataclasses.replace(TINY[PPO], horizon=200, passes=10, value_rate=1e38))
    with pytest.raises(TrainingDiverged, match=rf"weights of values became NaN or infinite between .* and {found};"):
        learner.learn(1000, progress=False, evaluate_every=evaluate_every)
    assert learner.updates == found


def test_a_policy_that_is_returned_is_finite_at_every_end() -> None:
    """An end between two reports is checked as well: by updates, by steps and by interruption."""
    for goal in ({"updates": 7}, {"steps": 240}):
        learner = SAC(TASK, settings=dataclasses.replace(TINY[SAC], policy_rate=1e38, critic_rate=1e38))
        with pytest.raises(TrainingDiverged):
            learner.learn(**goal, progress=False)  # type: ignore[arg-type]
        assert finite(learner.policy)
        assert finite(learner.result)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_checking_changes_no_number(kind: Any, monkeypatch: Any) -> None:
    plain = kind(TASK, settings=TINY[kind])
    monkeypatch.setattr(LastFinite, "check", lambda *_: None)
    plain.learn(40, progress=False)
    monkeypatch.undo()
    watched = kind(TASK, settings=TINY[kind]).learn(40, progress=False)
    assert equal(everything(plain), everything(watched))


def test_a_checkpoint_of_weights_that_are_no_numbers_is_not_gone_on_from(tmp_path: Path, monkeypatch: Any) -> None:
    learner = PLO(TASK, settings=TINY[PLO.base]).learn(10, progress=False)
    spoil(learner, "critics")
    monkeypatch.setattr(type(learner), "_check_finite", lambda *_: None)  # as a version before this one wrote it
    learner.save(tmp_path / "run")
    monkeypatch.undo()
    with pytest.raises(TrainingDiverged, match=r"weights of critics became NaN or infinite .*no usable policy"):
        PLO.load(tmp_path / "run", TASK).learn(20, progress=False)


@settings(max_examples=60)
@given(
    st.sampled_from(["next_observation", "reward", "cost", "observation"]),
    st.integers(0, 3),
    st.integers(0, 1),
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.integers(0, 50),
)
def test_the_place_of_a_number_that_is_none_is_named(what: str, i: int, j: int, value: float, age: int) -> None:
    rows = Batch(
        torch.zeros(4, 2), torch.ones(4, 2), torch.zeros(4, 1), torch.ones(4), torch.zeros(4, 2), torch.zeros(4)
    )
    first, ages = torch.zeros(4, 2), torch.full((4,), float(age))
    expect_finite_rows(rows, first, ages, "t", ("a", "b"))
    spoilt = {"observation": first, "next_observation": rows.next_observation, "cost": rows.cost}
    if what == "reward":
        rows.reward[i] = value
    else:
        spoilt[what][i, j] = value
    with pytest.raises(InvalidValue) as caught:
        expect_finite_rows(rows, first, ages, "t", ("a", "b"))
    said = {
        "next_observation": f"entry {j} of the observation is",
        "observation": f"entry {j} of the first observation of the next run is",
        "reward": "the reward is",
        "cost": f"the cost '{'ab'[j]}' is",
    }[what]
    assert f"task 't', environment {i}, step {age + 1} of its run: {said} {value}" in str(caught.value)


def test_large_finite_numbers_are_no_fault() -> None:
    """Their sum overflows, which must not be taken for one of them."""
    rows = Batch(
        torch.zeros(2, 1), torch.full((2, 1), 3e38), torch.zeros(2, 1), torch.full((2,), 3e38), torch.zeros(2, 0),
        torch.zeros(2),
    )  # fmt: skip
    expect_finite_rows(rows, torch.full((2, 1), -3e38), torch.zeros(2), "t", ())
