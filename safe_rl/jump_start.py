"""Jump start: a controller begins the runs and a learner completes them (Jiang et al., 2024, arXiv 2407.15083).

The length of the controller's part is drawn for every run, and its range shrinks as the runs succeed. The learner
therefore starts near the reference, then further and further away, without abrupt changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from ctrl.controller import Controller
from safe_rl.policy import Policy
from safe_rl.settings import expect_counts, expect_numbers
from systems import InvalidValue, Task
from systems.arguments import expect_factory
from systems.envs.vector import VectorEnv
from systems.errors import expect, shown

__all__ = ["JumpStart", "JumpStartSettings"]


@final
@dataclass(frozen=True)
class JumpStartSettings:
    """Settings for the decrease of the prior policy's part of a run."""

    longest: int = 20
    """Largest number of steps at the beginning of a run for which the prior policy acts."""
    threshold: float = 0.3
    """Success rate that is necessary for its part to shrink further."""
    step: float = 1.0 / 1500.0
    """Decrease of its range with each run that ends, as a share of the longest."""
    memory: int = 100
    """Runs over which that share is averaged, with exponential forgetting."""

    def __post_init__(self) -> None:
        expect_counts(self, ("longest", "memory"))
        expect_numbers(self, ("step",), above=0.0, most=1.0)
        expect_numbers(self, ("threshold",), least=0.0, most=1.0)


@final
class JumpStart:
    """The prior policy of one learner: acts for the first floor(H) steps of a run, H uniform on [0, longest * beta].

    beta starts at 1 and decreases by `step` with every run that ends while the moving success rate is at least the
    threshold. A run succeeds if its last state, at the time limit or on leaving the domain, is within `Task.arrival` of
    the reference; the run of a rocket may thus end on the ground.

    Args:
        task: defines the states that the prior policy observes.
        prior_policy: constructs the controller, as for a comparison: `LQR`, `NonlinearMPC`, a function of the task. A
            batch controller (`batch(x, k)`) is constructed once, any other once per environment.
        settings: default: those of :class:`JumpStartSettings`.

    Raises:
        InvalidValue: a controller, or its name, instead of a factory.
    """

    def __init__(
        self, task: Task, prior_policy: Callable[[Task], Controller], settings: JumpStartSettings | None = None
    ) -> None:
        expect(task, Task, "the task of JumpStart", "whose state the prior policy observes")
        expect_factory(
            prior_policy,
            "task",
            "prior_policy",
            "a factory of controllers of a task, such as LQR or lambda task: LQR(task)",
        )
        self.task, self.settings = task, JumpStartSettings() if settings is None else settings
        expect(self.settings, JumpStartSettings, "settings of JumpStart", "such as JumpStartSettings(longest=20)")
        self._make = prior_policy
        self._controllers: list[Any] = [prior_policy(task)]
        if not isinstance(self._controllers[0], Controller):
            raise InvalidValue(
                f"prior_policy makes {shown(self._controllers[0])}, which has no reset() and step(x, k); expected "
                "a factory of controllers of a task, such as LQR"
            )
        self.beta, self.success = 1.0, 0.0
        self.prior_acts = torch.zeros(0, dtype=torch.bool)
        self._length = torch.zeros(0)

    def begin(self, environment: VectorEnv, generator: torch.Generator) -> None:
        """Draws lengths for the current runs."""
        n = environment.n
        if not hasattr(self._controllers[0], "batch"):
            self._controllers += [self._make(self.task) for _ in range(n - len(self._controllers))]
        self._length = self._draw(n, generator)
        self.prior_acts = torch.zeros(n, dtype=torch.bool, device=environment.device)

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(n, generator=generator, device=generator.device)
        return torch.floor(uniform * self.settings.longest * self.beta)

    def act(self, environment: VectorEnv, age: Tensor, action: Tensor, policy: Policy) -> Tensor:
        """The normalised actions (n, m), with those of the prior policy during its part of the runs."""
        self.prior_acts = age < self._length
        state, sample = environment.state, environment.samples
        x = state.cpu().numpy().astype(float)
        k = sample.cpu().numpy()
        rows = np.flatnonzero(self.prior_acts.cpu().numpy())
        if not len(rows):
            return action
        inputs = torch.as_tensor(self._decide(x, k, rows, age), dtype=action.dtype, device=action.device)
        theirs = policy.normalised(inputs)
        actions = action.clone()
        actions[torch.from_numpy(rows).to(action.device)] = theirs
        return actions

    def _decide(self, x: np.ndarray, k: np.ndarray, rows: np.ndarray, age: Tensor) -> np.ndarray:
        if len(self._controllers) == 1 and hasattr(self._controllers[0], "batch"):
            inputs = np.empty((len(rows), len(self.task.plant.input)))
            for sample in np.unique(k[rows]):  # controllers take one sample index for all
                chosen = k[rows] == sample
                inputs[chosen] = self._controllers[0].batch(x[rows[chosen]], int(sample))
            return inputs
        decided = []
        for i in rows:
            if float(age[i]) == 0:
                self._controllers[i].reset()
            decided.append(self._controllers[i].step(x[i], int(k[i])).input)
        return np.array(decided)

    def count_runs(self, environment: VectorEnv, over: Tensor, generator: torch.Generator) -> None:
        """Counts the runs that ended, those in `over` (n,), and draws lengths for the next ones."""
        rows = over.nonzero().squeeze(1)
        if not len(rows):
            return
        s, (states, samples) = self.settings, environment.ends
        arrived = self.task.arrived(states[rows].cpu().numpy().astype(float), samples[rows].cpu().numpy())
        for has_arrived in arrived:
            self.success += (float(has_arrived) - self.success) / s.memory
            if self.success >= s.threshold:
                self.beta = max(self.beta - s.step, 0.0)
        self._length = torch.where(over, self._draw(len(over), generator), self._length)

    def state_dict(self) -> dict[str, Any]:
        """The state except for the memory of controllers, which is reset after a resumption."""
        return {"beta": self.beta, "success": self.success, "length": self._length}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.beta, self.success = float(state["beta"]), float(state["success"])
        self._length = state["length"].to(self._length)
