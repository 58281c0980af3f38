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


@final
@dataclass(frozen=True)
class SACSettings(OffPolicySettings):
    """Settings of SAC."""


@final
class SAC(OffPolicy):
    """Soft actor-critic: twin critics, the smaller target, a temperature that holds the entropy at -dim(A).

    `update` is the whole rule. Scales, warm-up, delay and rates are those of `DSACT`, so that the two differ in
    their critics alone; published settings (two layers of 256 with ReLU, 3e-4, averaging 0.005, no delay) are for
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
        """One step of SAC on a batch."""
        observation = self.policy.scale(batch.observation)
        successor = self.policy.scale(batch.next_observation)
        alpha = self.log_alpha.detach().exp()

        # Critics, each on y = r + discount (min_i Q_i(s', a') - alpha log pi(a'|s')); a cost critic on its own.
        with torch.no_grad():
            action, log_density = self.policy.sample(successor, self.noise(batch.action.shape))
            q_next = values(self.target_critics, successor, action)
            survival = self.discount * (1.0 - batch.terminated)
            soft = q_next[:2].amin(dim=0) - alpha * log_density
            y = self.with_costs(self.reward_scale * batch.reward + survival * soft, q_next[2:], batch, survival)
        q = values(self.critics, observation, batch.action)
        loss = 0.5 * (q - y).square().mean(dim=1).sum()
        parameters = self.critic_optimiser.parameters
        self.critic_optimiser.step(torch.autograd.grad(loss, parameters), self.rate())

        # Policy and temperature, then the targets.
        if (self.updates + 1) % self.settings.delay == 0:
            action, log_density = self.policy.sample(observation, self.noise(batch.action.shape))
            at_policy = values(self.critics, observation, action)
            loss = (alpha * log_density - at_policy[:2].amin(dim=0)).mean()
            self.follow(log_density, self.policy_gradient(loss, at_policy, q))
        self.updates += 1


def values(critics: Ensemble, observation: Tensor, action: Tensor) -> Tensor:
    """What the members say, (members, b)."""
    found: Tensor = critics(torch.cat((observation, action), dim=1)).squeeze(1)
    return found
