"""Adapts Gymnasium environments with a cost as tasks for our learners."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from safe_rl.environment import LARGEST, expect_action_bounds
from systems import DimensionMismatch, InvalidValue
from systems.arguments import expect_factory, expect_name, expect_number, expect_seed, expect_whole
from systems.constraints import Budget
from systems.envs.vector import Transition, expect_device
from systems.errors import shown

__all__ = ["GymnasiumTask", "NamedBudget"]


@final
@dataclass(frozen=True)
class NamedBudget:
    """A cost of an environment and its budget per run."""

    name: str
    requirement: Budget


@final
@dataclass(frozen=True)
class GymnasiumTask:
    """A task from a Gymnasium environment, which is stepped in Python at the environment's own speed.

    Costs come in any of three forms: ``info["cost"]``, ``info["costs"][name]``, or as the third of six values that
    ``step`` returns, as Safety-Gymnasium does. A cost may be any number of at least 0.

    Args:
        name: used in tables and for folders; a checkpoint is refused under another name.
        make: constructs an environment whose action space is a flat Box of floats with finite, moderate bounds, and
            whose observation space is a flat Box.
        budgets: by name of the cost; ``"cost"`` is the single one, other names are looked up in ``info["costs"]``.
            ``{"cost": 25}`` is 25 per episode; use a ``Budget(25, "discounted", "excess")`` for other kinds.
        steps: time limit; default: that of the environment's specification.
        discount: of the learner's return, per step.

    Raises:
        InvalidValue: no time limit is known, a space is of another kind, ``make`` is an environment instead of a
            function, or budgets have no names.
    """

    name: str
    make: Callable[[], Any]
    budgets: Mapping[str, float | Budget] = field(default_factory=dict)
    steps: int = 0
    discount: float = 0.99

    def __post_init__(self) -> None:
        expect_name(self.name, "the name of a GymnasiumTask")
        subject = f"'{self.name}'"
        expect_factory(
            self.make,
            "",
            f"{subject}: make",
            "a function without arguments, such as lambda: gymnasium.make('Pendulum-v1')",
        )
        if not isinstance(self.budgets, Mapping):
            raise InvalidValue(
                f"{subject}: budgets = {shown(self.budgets)}; expected them by name of the cost, such as "
                "{'cost': 25} for info['cost']"
            )
        for name, given in self.budgets.items():
            expect_name(name, f"{subject}: the name of a cost")
            if not isinstance(given, Budget):
                expect_number(given, f"{subject}: budget of '{name}'", least=0.0, hint="or a Budget(...)")
        steps = expect_whole(self.steps, f"{subject}: steps", least=0)
        discount = expect_number(self.discount, f"{subject}: discount", least=0.0, below=1.0, hint="such as 0.99")
        object.__setattr__(self, "discount", discount)
        probe = self.make()
        try:
            _expect_environment(probe, subject)
            object.__setattr__(self, "steps", steps or _time_limit(probe, subject))
        finally:
            if hasattr(probe, "close"):
                probe.close()

    @property
    def constraints(self) -> tuple[NamedBudget, ...]:
        """The budgets, in order."""
        return tuple(
            NamedBudget(name, given if isinstance(given, Budget) else Budget(float(given), "episode", "excess"))
            for name, given in self.budgets.items()
        )

    def vector_env(self, n: int, *, device: torch.device | str = "cpu", seed: int = 0) -> GymnasiumCopies:
        """``n`` copies, stepped one after the other."""
        n = expect_whole(n, "n", least=1, unit="environments")
        return GymnasiumCopies(self, n, expect_device(device), expect_seed(seed))


def _time_limit(environment: Any, subject: str) -> int:
    limit = _own_limit(environment)
    if not limit:
        raise InvalidValue(f"{subject}: the environment has no time limit; give steps, the length of the longest run")
    return limit


def _own_limit(environment: Any) -> int:
    """The time limit that an environment states, 0 for none."""
    return int(getattr(getattr(environment, "spec", None), "max_episode_steps", None) or 0)


def _expect_environment(environment: Any, subject: str) -> None:
    """Rejects environments whose spaces a learner cannot handle."""
    missing = [n for n in ("reset", "step", "action_space", "observation_space") if not hasattr(environment, n)]
    if missing:
        raise InvalidValue(
            f"{subject}: make() returned {shown(environment)}, which has no {', '.join(missing)}; expected a Gymnasium "
            "environment"
        )
    try:
        inspect.signature(environment.reset).bind(seed=0)
    except TypeError as error:
        raise InvalidValue(
            f"{subject}: reset{inspect.signature(environment.reset)} takes no seed, so runs cannot be reproduced; "
            "expected reset(self, *, seed=None, options=None)"
        ) from error
    space = environment.action_space
    low, high = getattr(space, "low", None), getattr(space, "high", None)
    if low is None or high is None or np.ndim(low) != 1 or np.asarray(low).dtype.kind != "f":
        raise InvalidValue(f"{subject}: actions in {space}; expected a flat, finite Box of floats")
    expect_action_bounds(low, high, subject)
    space = environment.observation_space
    if not hasattr(space, "low") or not hasattr(space, "high") or len(getattr(space, "shape", None) or ()) != 1:
        raise InvalidValue(
            f"{subject}: observations in {space}; expected a flat Box, such as gymnasium.wrappers.FlattenObservation "
            "makes"
        )


@final
class GymnasiumCopies:
    """``n`` environments with automatic reset, with the interface that learners need.

    The state of an external environment cannot be written to a file. Instead, the seed and the actions of each current
    run are saved, and loading repeats them, which is exact for every environment that is determined by its seed.

    Raises:
        InvalidValue: the spaces of the copies differ; later, an environment returned invalid values, such as
            observations, rewards or costs that are not finite, with copy, run and step.
    """

    def __init__(self, task: GymnasiumTask, n: int, device: torch.device, seed: int) -> None:
        self.task, self.n, self.device = task, n, device
        self._copies = [task.make() for _ in range(n)]
        self._seed, self._runs = seed, [0] * n
        self._actions: list[list[np.ndarray]] = [[] for _ in range(n)]
        self._late = [0] * n
        first = self._copies[0]
        _expect_environment(first, f"'{task.name}'")
        self._space = first.action_space
        self.observation_size = int(first.observation_space.shape[0])
        self.action_size = int(first.action_space.shape[0])
        self.action_low, self.action_high = (
            torch.as_tensor(np.asarray(bound), dtype=torch.float32, device=device)
            for bound in (first.action_space.low, first.action_space.high)
        )
        self.constraint_names = tuple(c.name for c in task.constraints)
        for i in range(n):
            self._action_space(i)

    @property
    def samples(self) -> Tensor:
        """The number of steps that each current run has used of its time limit, (n,) of int64."""
        used = [late + len(actions) for late, actions in zip(self._late, self._actions, strict=True)]
        return torch.tensor(used, dtype=torch.int64, device=self.device)

    def reset(self, staggered: bool = False) -> Tensor:
        """Restarts every run; returns the first observations (n, o).

        Staggered, each first run begins with a random share of its time limit used, so that later ones do not all end
        together. Runs that the environment itself ends before the task does are not shortened.
        """
        first = self._tensor([self._begin(i) for i in range(self.n)])
        if staggered and (_own_limit(self._copies[0]) or self.task.steps) >= self.task.steps:
            chance = np.random.default_rng((self._seed, self.n))
            self._late = chance.integers(self.task.steps, size=self.n).tolist()
        return first

    def step(self, action: Tensor) -> Transition:
        """One step of every environment under actions (n, m).

        Raises:
            DimensionMismatch: actions of another shape.
            InvalidValue: an environment returned an invalid value.
        """
        if action.shape != (self.n, self.action_size):
            raise DimensionMismatch(f"actions of shape {tuple(action.shape)}; expected ({self.n}, {self.action_size})")
        given = action.detach().cpu().numpy()
        observations, following, rewards, costs, ended, late = [], [], [], [], [], []
        for i in range(self.n):
            observation, reward, cost, terminated, truncated = self._advance(i, given[i])
            truncated = truncated or self._late[i] + len(self._actions[i]) >= self.task.steps
            following.append(observation)
            rewards.append(reward)
            costs.append(cost)
            ended.append(terminated)
            late.append(truncated)
            observations.append(self._begin(i) if terminated or truncated else observation)
        return Transition(
            self._tensor(observations),
            self._tensor(following),
            self._tensor(rewards),
            self._tensor(costs).view(self.n, len(self.constraint_names)),
            torch.tensor(ended, dtype=torch.bool, device=self.device),
            torch.tensor(late, dtype=torch.bool, device=self.device),
        )

    def _begin(self, i: int) -> np.ndarray:
        self._runs[i] += 1
        self._actions[i], self._late[i] = [], 0
        return self._restart(i)

    def _restart(self, i: int) -> np.ndarray:
        seed = np.random.SeedSequence((self._seed, i, self._runs[i])).generate_state(1)[0]
        result = self._copies[i].reset(seed=int(seed))
        if not isinstance(result, tuple) or len(result) != 2:
            raise self._broken(i, f"reset() returned {shown(result)}", "the pair (observation, info)")
        return self._observation(i, result[0], "reset()")

    def _advance(self, i: int, action: np.ndarray) -> tuple[np.ndarray, float, list[float], bool, bool]:
        self._actions[i].append(action)
        space = self._action_space(i)
        # Tanh and scaling may exceed the box by a rounding error, which some environments reject.
        result = self._copies[i].step(np.clip(action, space.low, space.high).astype(space.dtype))
        if not isinstance(result, tuple) or len(result) not in (5, 6):
            count = f"a tuple of {len(result)}" if isinstance(result, tuple) else shown(result)
            raise self._broken(
                i,
                f"step() returned {count}",
                "(observation, reward, terminated, truncated, info), or six values with the cost as the third",
            )
        observation, reward, terminated, truncated, info = result[0], result[1], *result[-3:]
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, (bool, np.bool_)):
                raise self._broken(i, f"step() returned {name} = {shown(flag)}", "True or False: write bool(...)")
        if not isinstance(info, Mapping):
            raise self._broken(i, f"step() returned info = {shown(info)}", "a dictionary")
        following = self._observation(i, observation, "step()")
        paid = self._number(i, reward, "the reward")
        costs = [self._cost(i, name, result) for name in self.constraint_names]
        return following, paid, costs, bool(terminated), bool(truncated)

    def _action_space(self, i: int) -> Any:
        space = self._copies[i].action_space
        if space is not self._space and space != self._space:
            raise self._broken(i, f"its action space is {space}", f"{self._space}, that of the first copy")
        shape = self._copies[i].observation_space.shape
        if shape != (self.observation_size,):
            raise self._broken(
                i, f"observations have shape {shape}", f"({self.observation_size},), as in the first copy"
            )
        return space

    def _observation(self, i: int, given: Any, method: str) -> np.ndarray:
        try:
            with np.errstate(over="ignore"):  # refused below
                observation = np.asarray(given, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise self._broken(i, f"{method} returned the observation {shown(given)}", "an array of numbers") from error
        if observation.shape != (self.observation_size,):
            raise self._broken(
                i, f"{method} returned an observation of shape {observation.shape}", f"({self.observation_size},)"
            )
        if not np.isfinite(observation).all():
            at = int(np.flatnonzero(~np.isfinite(observation))[0])
            raise self._broken(i, f"entry {at} of the observation is {observation[at]}", "finite numbers, in 32 bits")
        return observation

    def _number(self, i: int, given: Any, what: str) -> float:
        try:
            number = np.nan if given is None or isinstance(given, (str, bytes)) else float(given)
        except (TypeError, ValueError, OverflowError):
            number = np.nan
        if not abs(number) <= LARGEST:
            raise self._broken(i, f"{what} is {shown(given)}", "a finite number, in 32 bits")
        return number

    def _cost(self, i: int, name: str, result: tuple[Any, ...]) -> float:
        info = result[-1]
        if name == "cost" and len(result) == 6:
            given = result[2]
        else:
            costs_by_name = info if name == "cost" else info.get("costs", {})
            if not isinstance(costs_by_name, Mapping):
                raise self._broken(i, f'info["costs"] is {shown(costs_by_name)}', "a dictionary of costs by name")
            if name not in costs_by_name:
                held = ", ".join(map(repr, info)) or "nothing"
                raise InvalidValue(
                    f"'{self.task.name}': step() reported no cost '{name}'; its info contains {held}. Put "
                    'it into info["cost"], or return six values, or name one of info["costs"]'
                )
            given = costs_by_name[name]
        cost = self._number(i, given, f"the cost '{name}'")
        if cost < 0:
            raise self._broken(i, f"the cost '{name}' is {cost}", "a number of at least 0, which a budget can limit")
        return cost

    def _broken(self, i: int, given: str, expected: str) -> InvalidValue:
        """The error that states environment, copy, run and step, the invalid value and the expected one."""
        where = f"copy {i}, run {self._runs[i]}, step {len(self._actions[i])}"
        return InvalidValue(f"environment '{self.task.name}', {where}: {given}; expected {expected}")

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.float32), device=self.device)

    def state_dict(self) -> dict[str, Any]:
        """Seed and actions of each current run."""
        tapes = [np.asarray(tape, dtype=np.float32).reshape(len(tape), self.action_size) for tape in self._actions]
        actions = [torch.from_numpy(tape) for tape in tapes]
        return {"seed": self._seed, "runs": list(self._runs), "actions": actions, "late": list(self._late)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Repeats the runs of the saved state up to their saved steps."""
        late = state.get("late", [0] * self.n)
        if not len(state["runs"]) == len(late) == self.n:
            raise DimensionMismatch(f"saved with {len(state['runs'])} environments; this learner has {self.n}")
        self._seed, self._runs = int(state["seed"]), [int(run) for run in state["runs"]]
        self._late = [int(used) for used in late]
        for i, tape in enumerate(state["actions"]):
            self._actions[i] = []
            self._restart(i)
            for action in tape.cpu().numpy():
                self._advance(i, action)
