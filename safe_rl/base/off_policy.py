"""The data of off-policy learners: settings, networks, optimisers, replay buffer, warm-up and state."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from safe_rl.buffer import Batch, ReplayBuffer
from safe_rl.environment import LearnableTask
from safe_rl.handlers.base import Handler
from safe_rl.networks import Ensemble
from safe_rl.optimiser import Adam
from safe_rl.policy import Policy
from safe_rl.settings import expect_counts, expect_numbers, expect_widths
from safe_rl.training import Learner
from systems.errors import InvalidValue


@dataclass(frozen=True)
class OffPolicySettings:
    """Settings of off-policy learners. Those that differ from the authors' are listed under `DSACT`."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of policy and critics."""
    critic_rate: float = 1e-3
    """Adam step of the critics."""
    policy_rate: float = 1e-3
    """Adam step of the policy."""
    temperature_rate: float = 3e-3
    """Adam step of log(alpha)."""
    decay: int = 20_000
    """All Adam step sizes decrease linearly to a tenth over this number of updates, and stay there."""
    initial_log_temperature: float = -2.0
    """log(alpha) at the start."""
    entropy: float = -1.0
    """Target entropy per input, of actions counted in [-1, 1]."""
    averaging: float = 0.02
    """tau: share of the new weights in the targets, and of a new batch in the mean deviations s_i."""
    mean_updates: int = 1000
    """Updates over which `OffPolicy.mean_policy` averages the policy's weights."""
    delay: int = 2
    """Policy, temperature and targets are updated once in this number of updates."""
    batch_size: int = 256
    """Transitions per update."""
    capacity: int = 100_000
    """Capacity of the replay buffer in transitions."""
    warmup: int = 10_000
    """Transitions under uniform actions before the first update; they also fix the scales."""
    environments: int = 40
    """Environments stepped together."""
    evaluation_environments: int = 20
    """Number of environments that act without noise if constraints are handled; budgets are measured on these."""
    updates_per_step: int = 2
    """Updates for each step of all environments."""
    return_scale: float = 50.0
    """Rewards are scaled so that a return under uniform actions is about this large."""
    threads: int = 1
    """CPU threads while learning; one is fastest for small networks, and results depend on the number."""

    def __post_init__(self) -> None:
        expect_widths(self, ("hidden",))
        expect_counts(self, ("decay", "mean_updates", "delay", "batch_size", "capacity", "warmup"))
        expect_counts(self, ("environments", "updates_per_step", "threads"))
        expect_counts(self, ("evaluation_environments",), least=0)
        expect_numbers(self, ("critic_rate", "policy_rate", "temperature_rate", "return_scale"), above=0.0)
        expect_numbers(self, ("averaging",), above=0.0, most=1.0)
        expect_numbers(self, ("initial_log_temperature", "entropy"))
        if self.capacity < self.environments:
            raise InvalidValue(
                f"{type(self).__name__}: capacity = {self.capacity} of environments = {self.environments}: the memory "
                "does not hold one step of all; expected at least as many, such as 100_000"
            )


class OffPolicy(Learner):
    """Networks, optimisers and replay memory of an actor-critic learner; a subclass writes `update`, the whole rule.

    The first two members of `critics` are the twins of the reward; after them come the cost critics of all
    constraints, `handler.members` times. One batched network holds them all.
    """

    settings: Any

    def __init__(
        self,
        task: LearnableTask,
        seed: int,
        settings: OffPolicySettings,
        device: torch.device | str,
        handler: Handler | None,
        *,
        outputs: int,
        target_policy: bool,
    ) -> None:
        self.expect_parts(settings, handler)
        s = settings
        super().__init__(
            task,
            seed,
            s,
            device,
            handler,
            environments=s.environments,
            evaluation_environments=s.evaluation_environments,
            hidden=s.hidden,
            threads=s.threads,
        )
        o, m = self.policy.observation_size, self.policy.action_size
        self.members = 1 if handler is None else handler.members
        costs = 0 if self.constraints is None else self.members * len(self.constraints.limits)
        self.buffer = ReplayBuffer(s.capacity, o, m, len(self.constraint_names), device=self.device)
        self.critics = Ensemble(2 + costs, [o + m, *s.hidden, outputs], self.generator)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.target_policy = copy.deepcopy(self.policy).requires_grad_(False) if target_policy else None
        self.log_alpha = nn.Parameter(torch.tensor(float(s.initial_log_temperature), device=self.device))
        self.mean_policy = copy.deepcopy(self.policy).requires_grad_(False)
        """Average of the policy over about the last `mean_updates` updates, to be used after training."""
        # The weights as lists, which updates of averages and optimisers take.
        self.policy_weights: list[Tensor] = list(self.policy.parameters())
        self.mean_weights: list[Tensor] = list(self.mean_policy.parameters())
        self.online_weights: list[Tensor] = list(self.critics.parameters())
        self.target_weights: list[Tensor] = list(self.target_critics.parameters())
        if self.target_policy is not None:
            self.online_weights += self.policy_weights
            self.target_weights += list(self.target_policy.parameters())
        self.critic_optimiser = Adam([(list(self.critics.parameters()), s.critic_rate)])
        temperature: list[Tensor] = [self.log_alpha]
        self.actor_optimiser = Adam([(self.policy_weights, s.policy_rate), (temperature, s.temperature_rate)])

    @abstractmethod
    def update(self, batch: Batch) -> None:
        """One step of the rule on a batch; raises `updates` by one."""

    @property
    def result(self) -> Policy:
        """`mean_policy`."""
        return self.mean_policy

    def compile(self) -> None:
        """Let `torch.compile` make kernels of `update`; the numbers agree to rounding, no longer to the bit.

        For accelerators and large networks. On a CPU it takes about a minute and gains nothing: an update took 1.3
        times as long with two layers of 64 units, and the same with 256. Not stored: a loaded learner has it not.
        """
        for optimiser in self._optimisers().values():  # its kernel is fused already, and moves what is compiled
            optimiser.step = torch.compiler.disable(optimiser.step)  # type: ignore[method-assign]
        self.update = torch.compile(self.update)  # type: ignore[method-assign]

    def prepare(self) -> None:
        """Fill the memory with uniform actions, fix the scales of observations, reward and costs."""
        while self.buffer.size < min(self.settings.warmup, self.settings.capacity):
            self.buffer.add(self.collector.collect_random())
        rows = self.buffer.contents()
        policies = [p for p in (self.policy, self.target_policy, self.mean_policy) if p is not None]
        survival = self.fix_scales(rows, policies, self.settings.return_scale)
        # The critics start at the mean of the scaled sums, not near 0.
        with torch.no_grad():
            means = (self.reward_scale * rows.reward.mean()).expand(2)
            if self.constraints is not None:
                costs = self.constraints.scaled(rows.cost).mean(dim=1)
                means = torch.cat((means, costs.repeat(self.members)))
            for critics in (self.critics, self.target_critics):
                critics.biases[-1][:, 0] += (means / (1.0 - survival)).unsqueeze(1)

    def iterate(self) -> None:
        if self.updates % self.settings.updates_per_step == 0:
            self.buffer.add(self.collector.collect())
            if self.constraints is not None:
                self.constraints.update_multipliers()
        self.update(self.buffer.sample(self.settings.batch_size, self.generator))

    # ---- state ----

    def diagnostics(self) -> dict[str, float]:
        return {"temperature": float(self.log_alpha.detach().exp()), "reward_scale": float(self.reward_scale)}

    def learner_state(self) -> dict[str, Any]:
        return {
            "networks": {name: module.state_dict() for name, module in self._modules().items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self._optimisers().items()},
            "buffer": self.buffer.state_dict(),
            "log_alpha": self.log_alpha.detach(),
        }

    def load_learner_state(self, state: dict[str, Any]) -> None:
        for name, module in self._modules().items():
            module.load_state_dict(state["networks"][name])
        for name, optimiser in self._optimisers().items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.buffer.load_state_dict(state["buffer"])
        if (self.buffer.size > 0) != (self.collector.steps > 0):
            raise ValueError(f"{self.buffer.size} transitions are held of {self.collector.steps} steps")
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])

    def networks(self) -> dict[str, nn.Module | Tensor]:
        return {**self._modules(), "temperature": self.log_alpha}

    def _modules(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {"policy": self.policy, "mean_policy": self.mean_policy}
        if self.target_policy is not None:
            modules["target_policy"] = self.target_policy
        return modules | {"critics": self.critics, "target_critics": self.target_critics}

    def _optimisers(self) -> dict[str, Adam]:
        return {"critic": self.critic_optimiser, "actor": self.actor_optimiser}
