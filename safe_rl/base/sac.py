"""SAC: soft actor-critic with a tuned temperature (Haarnoja et al., 2018, arXiv 1812.05905)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from safe_rl.base.off_policy import OffPolicy, OffPolicySettings
from safe_rl.buffer import Batch
from safe_rl.environment import LearnableTask
from safe_rl.handlers.base import Handler
from safe_rl.networks import Ensemble
from safe_rl.optimiser import decayed, lerp_, mean_weight


@final
@dataclass(frozen=True)
class SACSettings(OffPolicySettings):
    """Settings of SAC."""


@final
class SAC(OffPolicy):
    """Soft actor-critic: twin critics, the minimum of both targets, a temperature tuned to an entropy of -dim(A).

    `update` contains the complete update rule. Scales, warm-up, delay and rates are those of `DSACT`, so the two differ
    only in their critics; published settings (two layers of 256 with ReLU, 3e-4, averaging 0.005, no delay) are for
    millions of steps. A time limit ends an episode but not its value.

    Args: as for `DSACT`.
    """

    settings_type: ClassVar[type[SACSettings]] = SACSettings
    settings: SACSettings

    def __init__(
        self,
        task: LearnableTask,
        seed: int = 0,
        settings: SACSettings | None = None,
        device: torch.device | str = "cpu",
        handler: Handler | None = None,
    ) -> None:
        settings = SACSettings() if settings is None else settings
        super().__init__(task, seed, settings, device, handler, outputs=1, target_policy=False)

    def update(self, batch: Batch) -> None:
        """One step of SAC on a batch: the critics; in every `delay`-th one also policy, temperature and averages."""
        s, n = self.settings, len(batch.reward)
        factor = decayed(self.updates, s.decay)
        observation = self.policy.scale(batch.observation)
        successor = self.policy.scale(batch.next_observation)
        alpha = self.log_alpha.detach().exp()

        # Critics: the twins on y = r + discount (min_i Q_i(s', a') - alpha log pi(a'|s')), a cost critic on its own.
        with torch.no_grad():
            noise = torch.randn(batch.action.shape, generator=self.generator, device=self.device)
            action, log_density = self.policy.sample(successor, noise)
            action = self.applied(batch.next_observation, action)
            q_next = values(self.target_critics, successor, action)
            survival = self.discount * (1.0 - batch.terminated)
            soft = q_next[:2].amin(dim=0) - alpha * log_density
            y = (self.reward_scale * batch.reward + survival * soft).expand(2, n)
            if self.constraints is not None:
                y = torch.cat((y, self.cost_targets(batch, q_next[2:])))
        q = values(self.critics, observation, batch.action)
        loss = 0.5 * (q - y).square().mean(dim=1).sum()
        parameters = self.critic_optimiser.parameters
        self.critic_optimiser.step(torch.autograd.grad(loss, parameters), factor)

        # Policy and temperature, then target networks and mean policy.
        if (self.updates + 1) % s.delay == 0:
            noise = torch.randn(batch.action.shape, generator=self.generator, device=self.device)
            action, log_density = self.policy.sample(observation, noise)
            action = self.applied(batch.observation, action)
            at_policy = values(self.critics, observation, action)
            loss = (alpha * log_density - at_policy[:2].amin(dim=0)).mean()
            if self.handler is None or self.constraints is None:
                gradients = torch.autograd.grad(loss, self.policy_weights)
            else:
                at_memory, costs = (members[2:].view(self.members, -1, n) for members in (q, at_policy))
                self.constraints.update_multipliers_by_critics(at_memory)
                costs = self.constraints.charged(costs)
                gradients = self.handler.gradient(loss, costs, self.constraints.state, self.policy_weights)
            # The gradient of -log_alpha * mean(log pi + target entropy), the target being -dim(A) by default.
            surplus = -s.entropy * self.policy.action_size - log_density.detach().mean()
            self.actor_optimiser.step((*gradients, surplus), factor * self.actor_factor)
            with torch.no_grad():
                lerp_(self.target_weights, self.online_weights, s.averaging)
                lerp_(self.mean_weights, self.policy_weights, mean_weight(self.updates, s.mean_updates, s.delay))
        self.updates += 1


def values(critics: Ensemble, observation: Tensor, action: Tensor) -> Tensor:
    """Values of all members, (members, b)."""
    value: Tensor = critics(torch.cat((observation, action), dim=1)).squeeze(1)
    return value
