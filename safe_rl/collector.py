"""Steps the environments and keeps the statistics of transitions and episodes."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional as F

from safe_rl.batched_filter import BatchedFilter
from safe_rl.buffer import Batch
from safe_rl.checkpoint import expect_like
from safe_rl.constraints import Constraints
from safe_rl.divergence import expect_finite_rows
from safe_rl.environment import VectorEnvironment
from safe_rl.gymnasium_adapter import GymnasiumCopies
from safe_rl.jump_start import JumpStart
from safe_rl.policy import Policy
from systems.envs.vector import VectorEnv
from systems.errors import InvalidValue


class EpisodeSummary(NamedTuple):
    """Means over the episodes that ended since the last summary; NaN if none did."""

    episodes: int
    mean_return: float
    mean_cost: tuple[float, ...]  # per named constraint
    mean_length: float  # steps
    filtered: float = float("nan")  # share of the actions that a safety filter replaced since the last summary


@final
class Collector:
    """Runs a policy, or uniform actions, in a vector environment; undiscounted sums stay on the device.

    Args:
        environment: stepped in place; its current observation is held here.
        policy: defines the physical units of actions; never changed.
        generator: the only source of randomness besides the environment's own.
        evaluation_environments: how many environments, the first ones, act without noise when the policy explores.
        constraints: receive the costs of every step. Their estimate is smoother if runs end at different times, so
            runs are started at different samples if the environment supports that.
        name: of the task, for messages.

    Attributes:
        over: which runs the last step ended, (n,) of bool.
    """

    def __init__(
        self,
        environment: VectorEnvironment,
        policy: Policy,
        generator: torch.Generator,
        constraints: Constraints | None = None,
        evaluation_environments: int = 0,
        name: str = "",
    ) -> None:
        self.environment = environment
        self.policy = policy
        self.name = name
        self.generator = generator
        self.constraints, self.evaluation_environments = constraints, evaluation_environments
        self._counts_samples = isinstance(environment, (VectorEnv, GymnasiumCopies))
        staggered = constraints is not None and self._counts_samples
        first = environment.reset(staggered=True) if staggered else environment.reset()  # type: ignore[call-arg]
        self.observation = first.to(torch.float32)
        self.jump_start: JumpStart | None = None
        self.filter: BatchedFilter | None = None
        self._stored_filter = ""
        self._stored_start: dict[str, Any] | None = None
        self.over = torch.zeros(environment.n, dtype=torch.bool, device=generator.device)
        self.steps = 0  # transitions collected, over all environments
        width = 2 + len(environment.constraint_names)
        self._running = torch.zeros(environment.n, width, device=generator.device)
        self._finished = torch.zeros(width + 1, dtype=torch.float64, device=generator.device)
        self._filtered = torch.zeros(2, dtype=torch.float64, device=generator.device)  # actions replaced, and all

    @torch.no_grad()
    def collect(self) -> Batch:
        """One step of every environment under samples of the policy."""
        shape = (self.environment.n, self.policy.action_size)
        noise = torch.randn(shape, generator=self.generator, device=self.generator.device)
        noise[: self.evaluation_environments] = 0.0
        action = self.policy.sample_action(self.policy.scale(self.observation), noise)
        if self.jump_start is None:
            return self._advance(action)
        assert isinstance(self.environment, VectorEnv)
        rows = self._advance(self.jump_start.act(self.environment, self._running[:, -1], action, self.policy))
        self.jump_start.count_runs(self.environment, self.over, self.generator)
        return rows

    @torch.no_grad()
    def collect_random(self) -> Batch:
        """One step of every environment under uniform actions."""
        shape = (self.environment.n, self.policy.action_size)
        uniform = torch.rand(shape, generator=self.generator, device=self.generator.device)
        return self._advance(2.0 * uniform - 1.0, of_policy=False)

    def _advance(self, action: Tensor, of_policy: bool = True) -> Batch:
        samples = self.environment.samples if self._counts_samples else None  # type: ignore[attr-defined]
        applied = self.policy.physical(action, self.observation)
        if self.filter is not None:
            assert isinstance(self.environment, VectorEnv)
            proposed, applied = applied, self.filter(self.environment.state, applied)
            action = self.policy.normalised(applied)
            replaced = (applied != proposed).any(dim=1).sum()
            self._filtered += torch.stack((replaced, torch.full_like(replaced, len(applied))))
        transition = self.environment.step(applied)
        rows = Batch(
            self.observation,
            transition.next_observation.to(torch.float32),
            action,
            transition.reward.to(torch.float32),
            transition.cost.to(torch.float32),
            transition.terminated.to(torch.float32),
        )
        self.observation = transition.observation.to(torch.float32)
        if self.observation.device.type == "cpu":  # reading a number would wait for the accelerator
            names = self.environment.constraint_names
            expect_finite_rows(rows, self.observation, self._running[:, -1], self.name, names)
        self.steps += self.environment.n
        sums = torch.cat((rows.reward.unsqueeze(1), rows.cost), dim=1)
        self.over = transition.terminated | transition.truncated
        if self.constraints is not None:
            age = self._running[:, -1]
            shortened = None
            if samples is not None:  # started later than at sample 0, and now at the time limit
                shortened = transition.truncated & ~transition.terminated & (samples > age)
            self.constraints.measure(rows.cost, age, self.over, shortened, of_policy)
        over = self.over.unsqueeze(1)
        self._running += F.pad(sums, (0, 1), value=1.0)
        ended = self._running * over
        self._running -= ended
        self._finished += F.pad(ended, (0, 1)).sum(dim=0).add_(F.pad(over.sum(0), (ended.shape[1], 0)))
        return rows

    def summary(self) -> EpisodeSummary:
        """Reads and resets the statistics. It waits for the device, so do not call it in every step."""
        *sums, episodes = self._finished.tolist()
        replaced, acted = self._filtered.tolist()
        self._finished.zero_()
        self._filtered.zero_()
        share = replaced / acted if acted else float("nan")
        means = [value / episodes if episodes else float("nan") for value in sums]
        return EpisodeSummary(int(episodes), means[0], tuple(means[1:-1]), means[-1], share)

    @property
    def lacks_jump_start(self) -> bool:
        """Whether the run that was loaded had a jump start that was not given again."""
        return self._stored_start is not None

    @property
    def lacks_filter(self) -> bool:
        """Whether the run that was loaded had a safety filter that was not given again."""
        return self.filter is None and bool(self._stored_filter)

    def set_filter(self, batched: BatchedFilter) -> None:
        """Applies inputs through a safety filter from now on; after a resumption it must be the same filter.

        Raises:
            InvalidValue: the environment is external, or the filter differs from that of the run that was loaded.
        """
        if not isinstance(self.environment, VectorEnv):
            raise InvalidValue(
                "a filter needs the plant's state, which only environments of a systems.Task provide; wrap the "
                "external environment in ctrl.filters.gym.FilteredActions"
            )
        given = batched.safety_filter.description
        if self._stored_filter and given != self._stored_filter:
            raise InvalidValue(
                f"this run was started with {self._stored_filter}, not with {given}; give the same filter"
            )
        self.filter = batched

    def set_jump_start(self, start: JumpStart) -> None:
        """Lets a prior policy begin the runs from now on; after a resumption it must be the same policy.

        Raises:
            InvalidValue: the environment is external, so no controller can observe its state.
        """
        if not isinstance(self.environment, VectorEnv):
            raise InvalidValue(
                "a prior policy observes the plant's state, which only environments of a systems.Task provide"
            )
        if self.policy.regulator is not None:
            raise InvalidValue("a residual policy already starts as its regulator; omit the jump start or the residual")
        self.jump_start = start
        stored, self._stored_start = self._stored_start, None
        if stored is None:
            start.begin(self.environment, self.generator)
        else:  # beginning must not draw from the restored generator
            start.begin(self.environment, torch.Generator(self.generator.device))
            start.load_state_dict(stored)

    def state_dict(self) -> dict[str, Any]:
        return {
            "jump_start": self._stored_start if self.jump_start is None else self.jump_start.state_dict(),
            "environment": self.environment.state_dict(),
            "observation": self.observation,
            "filter": self._stored_filter if self.filter is None else self.filter.safety_filter.description,
            "filtered": self._filtered,
            "steps": self.steps,
            "running": self._running,
            "finished": self._finished,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.environment.load_state_dict(state["environment"])
        self.observation = expect_like(state["observation"], self.observation, "observation")
        self.steps = int(state["steps"])
        self._running = expect_like(state["running"], self._running, "running")
        self._finished = expect_like(state["finished"], self._finished, "finished")
        self._stored_start = state["jump_start"]
        self._stored_filter = str(state.get("filter", ""))
        if "filtered" in state:  # missing in checkpoints of 0.1
            self._filtered = expect_like(state["filtered"], self._filtered, "filtered")
