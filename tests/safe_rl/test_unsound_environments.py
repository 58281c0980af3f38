"""What no environment may return is refused with the environment, the copy, the run and the step, by every learner."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import casadi as ca
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from safe_rl import PLO, PPO, SAC, GymnasiumTask, PPOLagrangian, SACLagrangian, assess
from safe_rl.environment import LARGEST, expect_action_bounds
from systems import Box, InvalidValue, Nonlinear, Task
from systems.library import pendulum
from tests.safe_rl.tasks import TINY, swing_up

LEARNERS = [PLO, SACLagrangian, PPOLagrangian]


class Cart(gymnasium.Env[Any, Any]):
    """A sound environment; a mutant returns something else from ``step`` at step 5 of its second run."""

    def __init__(self, **changed: Any) -> None:
        self.changed = changed
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.runs = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.x, self.v, self.k = self.np_random.uniform(-1, 1), 0.0, 0
        self.runs += 1
        result = np.array([self.x, self.v], np.float32), {}
        return self.changed["reset"](result) if "reset" in self.changed and self.runs == 3 else result

    def step(self, action: Any) -> Any:
        self.v += 0.1 * float(action[0])
        self.x += 0.1 * self.v
        self.k += 1
        seen, cost = np.array([self.x, self.v], np.float32), float(abs(self.v) > 0.2)
        parts = {"o": seen, "r": -(self.x**2), "end": False, "late": self.k >= 8, "info": {"cost": cost}}
        if self.runs == 2 and self.k == 5:
            if "whole" in self.changed:
                return self.changed["whole"]
            if "act" in self.changed:
                self.action_space = self.changed["act"]
            parts |= {key: value for key, value in self.changed.items() if key in parts}
        return tuple(parts.values())


def task(make: Callable[[], Any] = Cart, **more: Any) -> GymnasiumTask:
    return GymnasiumTask("cart", make, **{"budgets": {"cost": 2.0}, "steps": 8, **more})


SPOILT = np.array([0.0, np.nan], np.float32)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nan observation": ({"o": SPOILT}, "entry 1 of the observation is nan; expected finite numbers"),
    "infinite observation": ({"o": [np.inf, 0.0]}, "entry 0 of the observation is inf"),
    "beyond 32 bits": ({"o": np.array([1e300, 0.0])}, "entry 0 of the observation is inf"),
    "longer observation": ({"o": np.zeros(3)}, r"observation of shape \(3,\); expected \(2,\)"),
    "column": ({"o": np.zeros((2, 1))}, r"observation of shape \(2, 1\)"),
    "no observation": ({"o": None}, "observation"),
    "text": ({"o": ["a", "b"]}, "returned the observation"),
    "dictionary": ({"o": {"x": 0.0}}, "returned the observation"),
    "nan reward": ({"r": np.nan}, "the reward is nan; expected a finite number"),
    "infinite reward": ({"r": -np.inf}, "the reward is -inf"),
    "large reward": ({"r": 1e39}, r"the reward is 1e\+39"),
    "no reward": ({"r": None}, "the reward is None"),
    "text reward": ({"r": "1"}, "the reward is '1'"),
    "two rewards": ({"r": np.array([1.0, 2.0])}, r"the reward is \[1.0, 2.0\]"),
    "complex reward": ({"r": 1j}, "the reward is 1j"),
    "nan cost": ({"info": {"cost": np.nan}}, "the cost 'cost' is nan"),
    "infinite cost": ({"info": {"cost": np.inf}}, "the cost 'cost' is inf"),
    "negative cost": ({"info": {"cost": -0.5}}, "the cost 'cost' is -0.5; expected a number of at least 0"),
    "no number as cost": ({"info": {"cost": None}}, "the cost 'cost' is None"),
    "two costs": ({"info": {"cost": [0.0, 1.0]}}, r"the cost 'cost' is \[0.0, 1.0\]"),
    "no info": ({"info": None}, "info = None; expected a dictionary"),
    "list info": ({"info": [1.0]}, r"info = \[1.0\]"),
    "number as flag": ({"end": 0}, "terminated = 0; expected True or False"),
    "text as flag": ({"late": "False"}, "truncated = 'False'; expected True or False"),
    "none as flag": ({"end": None}, "terminated = None"),
    "array as flag": ({"late": np.array([False])}, "truncated = "),
    "nothing": ({"whole": None}, r"step\(\) returned None; expected \(observation, reward"),
    "four values": ({"whole": (np.zeros(2), 0.0, False, {})}, "returned a tuple of 4"),
    "seven values": ({"whole": (0,) * 7}, "returned a tuple of 7"),
    "a list": ({"whole": [np.zeros(2), 0.0, False, False, {}]}, "expected .observation, reward"),
    "wider actions": (
        {"act": spaces.Box(-2.0, 2.0, (1,), np.float32)},
        r"action space is Box\(-2.0.*that of the first copy",
    ),
    "more actions": ({"act": spaces.Box(-1.0, 1.0, (2,), np.float32)}, "action space is Box"),
    "discrete actions": ({"act": spaces.Discrete(3)}, r"action space is Discrete\(3\)"),
    "reset of nothing": ({"reset": lambda found: None}, r"reset\(\) returned None; expected the pair"),
    "reset of an observation": ({"reset": lambda found: found[0]}, r"reset\(\) returned .*the pair"),
    "reset to nan": ({"reset": lambda found: (SPOILT, {})}, "entry 1 of the observation is nan"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_environment_may_return_is_refused_with_its_place(name: str) -> None:
    """Environment, copy, run and step are named; only the second copy is unsound, in its second run."""
    changed, said = WRONG[name]
    count = iter(range(100))
    sick = task(lambda: Cart(**changed) if next(count) == 2 else Cart())  # the first one made is the probe
    env = sick.vector_env(3)
    env.reset()
    run, step = (3, 0) if "reset" in changed else (2, 6 if "act" in changed else 5)

    def run_on() -> None:
        for _ in range(40):
            env.step(torch.zeros(3, 1))

    with pytest.raises(InvalidValue, match=said) as caught:
        run_on()
    assert str(caught.value).startswith(f"environment 'cart', copy 1, run {run}, step {step}: "), caught.value


@pytest.mark.parametrize("make", LEARNERS, ids=lambda make: make.name)
@pytest.mark.parametrize("name", ["nan observation", "nan reward", "infinite cost", "number as flag"])
def test_learners_stop_and_keep_policy_and_checkpoint(make: Any, name: str, tmp_path: Path) -> None:
    """The first updates are sound; then an environment is spoilt in the middle of training."""
    changed, said = WRONG[name]
    sick: list[Cart] = []

    def build() -> Cart:
        sick.append(Cart())
        return sick[-1]

    learner = make(task(build), settings=TINY[make.base])
    learner.learn(30, progress=False, checkpoint=tmp_path / "run")
    before = (tmp_path / "run").read_bytes()
    for cart in sick:
        cart.changed, cart.runs = changed, 1
    with pytest.raises(InvalidValue, match=said):
        learner.learn(2000, progress=False, checkpoint=tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == before
    for policy in (learner.policy, learner.result):
        assert all(torch.isfinite(p).all() for p in policy.state_dict().values())


def test_a_missing_cost_is_still_recognised() -> None:
    with pytest.raises(InvalidValue, match="reported no cost 'cost'; its info contains nothing"):
        SACLagrangian(task(lambda: Cart(info={})), settings=TINY[SAC]).learn(200, progress=False)


def test_truth_values_of_numpy_and_numbers_of_torch_are_fine() -> None:
    """Rewards and costs may be truth values or arrays of one entry, as environments have them."""
    for sound in ({"end": np.False_, "late": np.True_}, {"r": np.float64(1.0)}, {"r": True}, {"r": torch.tensor(1.0)},
                  {"r": np.array(2.0)}, {"info": {"cost": np.True_}}, {"info": {"cost": 1}}, {"o": [0.0, 1.0]},
                  {"o": torch.zeros(2)}):  # fmt: skip
        env = task(lambda sound=sound: Cart(**sound)).vector_env(1)
        env.reset()
        for _ in range(20):
            env.step(torch.zeros(1, 1))


def bounds(low: Any, high: Any, dtype: Any = np.float32) -> Callable[[], Any]:
    def build() -> Cart:
        cart = Cart()
        cart.action_space = spaces.Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)
        return cart

    return build


def acts(space: Any) -> Callable[[], Any]:
    def build() -> Cart:
        cart = Cart()
        cart.action_space = space
        return cart

    return build


def sees(space: Any) -> Callable[[], Any]:
    def build() -> Cart:
        cart = Cart()
        cart.observation_space = space
        return cart

    return build


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (bounds([-1e20], [1e20]), "square of such a range overflows 32 bits.*choose a larger unit"),
        (bounds([-LARGEST], [LARGEST]), "square of such a range overflows"),
        (bounds([-1e19], [1e19]), "square of such a range overflows"),
        (bounds([0.0], [1e300], np.float64), "finite bounds"),
        (bounds([-np.inf], [np.inf]), "finite bounds"),
        (bounds([0.0], [np.inf]), "finite bounds"),
        (bounds([0.0, -1.0], [1.0, np.inf]), "finite bounds"),
        (bounds([1.0], [1.0]), "low < high"),
        (bounds([1e8], [1e8 + 1.0], np.float64), "low < high for every action, also in 32 bits"),
        (acts(spaces.Box(0, 3, (1,), np.int32)), "finite Box of floats"),
        (acts(spaces.Discrete(4)), "finite Box of floats"),
        (acts(spaces.MultiDiscrete([2, 3])), "finite Box of floats"),
        (acts(spaces.MultiBinary(2)), "finite Box of floats"),
        (acts(spaces.Box(-1.0, 1.0, (2, 2))), "flat, finite Box"),
        (acts(spaces.Dict({"a": spaces.Box(-1.0, 1.0, (1,))})), "flat, finite Box"),
        (acts(None), "flat, finite Box"),
        (sees(spaces.Discrete(5)), "expected a flat Box"),
        (sees(spaces.MultiDiscrete([2, 3])), "expected a flat Box"),
        (sees(spaces.MultiBinary(4)), "expected a flat Box"),
        (sees(spaces.Box(0.0, 1.0, (3, 3))), "expected a flat Box"),
        (sees(spaces.Tuple([spaces.Box(0.0, 1.0, (1,))])), "expected a flat Box"),
        (sees(spaces.Dict({"a": spaces.Box(0.0, 1.0, (1,))})), "FlattenObservation"),
        (sees(None), "expected a flat Box"),
    ],
)
def test_spaces_that_no_learner_can_use_are_refused_at_once(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        task(make)


def test_reversed_bounds_are_refused() -> None:
    """Gymnasium's own Box may refuse them first; one that is changed later does not."""

    def build() -> Cart:
        cart = Cart()
        cart.action_space.low, cart.action_space.high = cart.action_space.high, cart.action_space.low
        return cart

    with pytest.raises(InvalidValue, match="expected low < high for every action"):
        task(build)


def test_copies_that_differ_and_resets_without_seed_are_refused() -> None:
    count = iter(range(100))
    odd = task(lambda: bounds([-2.0], [2.0])() if next(count) == 3 else Cart())
    with pytest.raises(InvalidValue, match=r"environment 'cart', copy 2, run 0, step 0: its action space is Box\(-2.0"):
        odd.vector_env(4)

    class Unseeded(Cart):
        def reset(self) -> Any:  # type: ignore[override]
            return super().reset()

    with pytest.raises(InvalidValue, match=r"'cart': reset\(\).* takes no seed, so runs cannot be reproduced"):
        task(Unseeded)


@pytest.mark.parametrize("kind", [SAC, PPO], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("bound", [1e20, 1e19, LARGEST, 1e300])
def test_tasks_with_inputs_too_large_for_a_learner_are_refused(kind: Any, bound: float) -> None:
    plant = dataclasses.replace(pendulum().plant, max_torque=bound)
    with pytest.raises(InvalidValue, match=r"task 'pendulum': actions from .* (overflows 32 bits|finite bounds)"):
        kind(dataclasses.replace(pendulum(), plant=plant), settings=TINY[kind])


@pytest.mark.parametrize("kind", [SAC, PPO], ids=lambda kind: kind.__name__)
def test_rewards_that_overflow_are_refused_with_environment_and_step(kind: Any) -> None:
    """A cost beyond 32 bits, of a task of ours: the error names environment, step and what overflows."""
    task: Task = dataclasses.replace(swing_up(steps=20), cost=Nonlinear(lambda x, u, xr, ur: 1e38 * x.rate**4))
    with pytest.raises(InvalidValue) as caught:
        kind(task, settings=TINY[kind]).learn(50, progress=False)
    found = re.match(
        rf"task '{task.name}', environment (\d+), step (\d+) of its run: the reward is -?(inf|nan)", str(caught.value)
    )
    assert found, caught.value
    assert int(found[1]) < TINY[kind].environments
    assert 1 <= int(found[2]) <= 20
    assert "give the task a domain" in str(caught.value)


def test_numbers_too_large_to_be_scaled_are_refused() -> None:
    """They are finite, and so are their mean and largest; their spread is not, and a learner would see zeros."""
    large = dataclasses.replace(swing_up(steps=20), cost=Nonlinear(lambda x, u, xr, ur: 1e36 * (5 + ca.tanh(x.rate))))
    with pytest.raises(InvalidValue, match="the rewards under uniform actions are so large"):
        SAC(large, settings=TINY[SAC]).learn(5, progress=False)
    learner = PLO(task(), settings=TINY[PLO.base])
    rows = learner.collector.collect_random()
    for what, spoilt in (
        ("the observations", rows._replace(observation=rows.observation * np.inf)),
        ("the rewards", rows._replace(reward=rows.reward * 0.0 - LARGEST)),
        ("the costs", rows._replace(cost=rows.cost * 0.0 + np.inf)),
    ):
        with pytest.raises(InvalidValue, match=f"task 'cart': {what} under uniform actions are so large"):
            learner.fix_scales(spoilt, [learner.policy], 50.0)


def test_a_policy_is_assessed_where_there_is_no_budget() -> None:
    free = dataclasses.replace(swing_up(steps=10), constraints=())
    learner = SAC(free, settings=TINY[SAC]).learn(20, progress=False, evaluate_every=10)
    assert [record.evaluation for record in learner.history if record.evaluation is not None]
    found = assess(learner.result, free, episodes=3)
    assert found.returns.shape == (3,)
    assert found.spent.shape == (3, 0)
    foreign = task(budgets={})
    assert assess(SAC(foreign, settings=TINY[SAC]).result, foreign, episodes=2).spent.shape == (2, 0)


def test_discounted_and_plain_budgets_are_still_distinguished() -> None:
    task = dataclasses.replace(
        swing_up(steps=10),
        constraints=(
            Box("plain", {"rate": (-1e-9, 1e-9)}).budget(1.0),
            Box("less", {"rate": (-1e-9, 1e-9)}).budget(1.0, "discounted"),
        ),
    )
    spent = assess(SAC(task, settings=TINY[SAC]).result, task, episodes=2).spent
    np.testing.assert_allclose(spent[:, 0], 10.0)
    np.testing.assert_allclose(spent[:, 1], sum(0.99**k for k in range(10)), rtol=1e-6)


def test_bounds_are_accepted_exactly_where_their_square_is_a_number_of_32_bits() -> None:
    edge = LARGEST**0.5
    expect_action_bounds([0.0], [0.999 * edge], "here")
    with pytest.raises(InvalidValue, match="here: actions from"):
        expect_action_bounds([0.0], [1.001 * edge], "here")
