"""Any Gymnasium environment with a cost as a task for our learners."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from systems import DimensionMismatch, InvalidValue
from systems.constraints import Budget
from systems.envs.vector import Transition

__all__ = ["GymnasiumTask", "NamedBudget"]


@final
@dataclass(frozen=True)
class NamedBudget:
    """A cost of an environment and how much of it a run may spend."""

    name: str
    requirement: Budget


@final
@dataclass(frozen=True)
class GymnasiumTask:
    """A task made of a Gymnasium environment, stepped in Python, so as fast as the environment is.

    Costs come in any of three forms: ``info["cost"]``, ``info["costs"][name]``, or as the third of six values that
    ``step`` returns, as Safety-Gymnasium does. A cost may be any number of at least 0.

    Args:
        name: what tables and folders call it; a checkpoint is refused under another name.
        make: an environment, fresh, with a finite Box to act in and a flat Box to observe.
        budgets: by name of the cost; ``"cost"`` is the single one, other names are looked up in ``info["costs"]``.
            ``{"cost": 25}`` is 25 per episode; a ``Budget(25, "discounted", "excess")`` says the rest.
        steps: time limit; that of the environment's specification where left out.
        discount: of the learner's return, per step.

    Raises:
        InvalidValue: no time limit is known, a space of another kind, an environment instead of what makes it, or
            budgets without names.
    """

    name: str
    make: Callable[[], Any]
    budgets: Mapping[str, float | Budget] = field(default_factory=dict)
    steps: int = 0
    discount: float = 0.99

    def __post_init__(self) -> None:
        if not callable(self.make):
            raise InvalidValue(
                f"'{self.name}': make = {self.make!r}; expected a function without arguments, such as "
                "lambda: gymnasium.make('Pendulum-v1')"
            )
        if not isinstance(self.budgets, Mapping):
            raise InvalidValue(
                f"'{self.name}': budgets = {self.budgets!r}; expected them by name of the cost, such as "
                "{'cost': 25} for info['cost']"
            )
        probe = self.make()
        spec = getattr(probe, "spec", None)
        limit = self.steps or getattr(spec, "max_episode_steps", None)
        if not limit:
            raise InvalidValue(f"'{self.name}': the environment states no time limit; give steps, the longest run")
        object.__setattr__(self, "steps", int(limit))
        low, high = getattr(probe.action_space, "low", None), getattr(probe.action_space, "high", None)
        if low is None or np.ndim(low) != 1 or not np.isfinite([low, high]).all():
            raise InvalidValue(f"'{self.name}': actions in {probe.action_space}; learners act in a flat, finite Box")
        if len(getattr(probe.observation_space, "shape", None) or ()) != 1:
            raise InvalidValue(
                f"'{self.name}': observations in {probe.observation_space}; learners see a flat Box, such as "
                "gymnasium.wrappers.FlattenObservation gives"
            )
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
        return GymnasiumCopies(self, n, torch.device(device), seed)


@final
class GymnasiumCopies:
    """``n`` environments with automatic reset, in the form our learners step.

    The state of a foreign environment cannot be written to a file. What is saved instead is how each present run came
    about, its seed and its actions, and loading repeats it: exact for every environment that its seed determines.
    """

    def __init__(self, task: GymnasiumTask, n: int, device: torch.device, seed: int) -> None:
        self.task, self.n, self.device = task, n, device
        self._copies = [task.make() for _ in range(n)]
        self._seed, self._runs = seed, [0] * n
        self._actions: list[list[np.ndarray]] = [[] for _ in range(n)]
        first = self._copies[0]
        self.observation_size = int(first.observation_space.shape[0])
        self.action_size = int(first.action_space.shape[0])
        self.action_low, self.action_high = (
            torch.as_tensor(np.asarray(bound), dtype=torch.float32, device=device)
            for bound in (first.action_space.low, first.action_space.high)
        )
        self.constraint_names = tuple(c.name for c in task.constraints)

    def reset(self) -> Tensor:
        """Starts every run anew; the first observations (n, o)."""
        return self._tensor([self._begin(i) for i in range(self.n)])

    def step(self, action: Tensor) -> Transition:
        """One step of every environment under actions (n, m).

        Raises:
            DimensionMismatch: actions of another shape. InvalidValue: an environment states no cost by some name.
        """
        if action.shape != (self.n, self.action_size):
            raise DimensionMismatch(f"actions of shape {tuple(action.shape)}; expected ({self.n}, {self.action_size})")
        given = action.detach().cpu().numpy()
        seen, following, rewards, costs, ended, late = [], [], [], [], [], []
        for i in range(self.n):
            observation, reward, cost, terminated, truncated = self._advance(i, given[i])
            truncated = truncated or len(self._actions[i]) >= self.task.steps
            following.append(observation)
            rewards.append(reward)
            costs.append(cost)
            ended.append(terminated)
            late.append(truncated)
            seen.append(self._begin(i) if terminated or truncated else observation)
        return Transition(
            self._tensor(seen),
            self._tensor(following),
            self._tensor(rewards),
            self._tensor(costs).view(self.n, len(self.constraint_names)),
            torch.tensor(ended, dtype=torch.bool, device=self.device),
            torch.tensor(late, dtype=torch.bool, device=self.device),
        )

    def _begin(self, i: int) -> np.ndarray:
        self._runs[i] += 1
        self._actions[i] = []
        return self._restart(i)

    def _restart(self, i: int) -> np.ndarray:
        seed = np.random.SeedSequence((self._seed, i, self._runs[i])).generate_state(1)[0]
        observation, _ = self._copies[i].reset(seed=int(seed))
        return np.asarray(observation, dtype=np.float32)

    def _advance(self, i: int, action: np.ndarray) -> tuple[np.ndarray, float, list[float], bool, bool]:
        self._actions[i].append(action)
        space = self._copies[i].action_space
        # Tanh and scaling may leave the box by a rounding, which some environments refuse.
        result = self._copies[i].step(np.clip(action, space.low, space.high).astype(space.dtype))
        observation, reward, terminated, truncated = result[0], result[1], result[-3], result[-2]
        costs = [self._cost(name, result) for name in self.constraint_names]
        return np.asarray(observation, dtype=np.float32), float(reward), costs, bool(terminated), bool(truncated)

    def _cost(self, name: str, result: Sequence[Any]) -> float:
        info = result[-1]
        if name == "cost" and len(result) == 6:
            return float(result[2])
        found = info if name == "cost" else info.get("costs", {})
        if name not in found:
            held = ", ".join(map(repr, info)) or "nothing"
            raise InvalidValue(
                f"'{self.task.name}': step() stated no cost '{name}'; its info holds {held}. Put "
                'it into info["cost"], or return six values, or name one of info["costs"]'
            )
        return float(found[name])

    def _tensor(self, values: Sequence[Any]) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.float32), device=self.device)

    def state_dict(self) -> dict[str, Any]:
        """How each present run came about."""
        tapes = [np.asarray(tape, dtype=np.float32).reshape(len(tape), self.action_size) for tape in self._actions]
        return {"seed": self._seed, "runs": list(self._runs), "actions": [torch.from_numpy(tape) for tape in tapes]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Repeats the runs of the saved state up to where they were."""
        if len(state["runs"]) != self.n:
            raise DimensionMismatch(f"saved from {len(state['runs'])} environments; here are {self.n}")
        self._seed, self._runs = int(state["seed"]), [int(run) for run in state["runs"]]
        for i, tape in enumerate(state["actions"]):
            self._actions[i] = []
            self._restart(i)
            for action in tape.cpu().numpy():
                self._advance(i, action)
