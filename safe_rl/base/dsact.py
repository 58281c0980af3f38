"""DSAC-T: distributional soft actor-critic with three refinements (Duan et al., 2023, arXiv 2310.05858)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from safe_rl.buffer import Batch, ReplayBuffer
from safe_rl.environment import LearnableTask
from safe_rl.networks import Ensemble
from safe_rl.optimiser import Adam
from safe_rl.training import Learner


@dataclass(frozen=True)
class DSACTSettings:
    """Settings of DSAC-T. Those that differ from the authors' are listed under `DSACT`."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of policy and critics."""
    critic_rate: float = 1e-3
    """Adam step of the critics."""
    policy_rate: float = 1e-3
    """Adam step of the policy."""
    temperature_rate: float = 3e-3
    """Adam step of log(alpha)."""
    initial_log_temperature: float = 0.0
    """log(alpha) at the start."""
    averaging: float = 0.005
    """tau: share of the new weights in the targets, and of a new batch in the mean deviations s_i."""
    delay: int = 2
    """Policy, temperature and targets move once in so many updates."""
    batch_size: int = 256
    """Transitions per update."""
    capacity: int = 1_000_000
    """Transitions kept in the replay memory."""
    warmup: int = 10_000
    """Transitions under uniform actions before the first update; they also fix the scales."""
    environments: int = 20
    """Environments stepped together."""
    updates_per_step: int = 1
    """Updates for each step of all environments."""
    return_scale: float = 20.0
    """Rewards are scaled so that a return under uniform actions is about this large."""
    threads: int = 1
    """CPU threads while learning; one is fastest for small networks, and results depend on the number."""


@final
class DSACT(Learner):
    """Distributional soft actor-critic, refined: expected value substitution, twin value distributions,
    variance-based critic gradient adjustment.

    Implementation details (deviations from the authors' settings, made for tasks of CPU size):
    see `DSACTSettings`.
    """

    settings_type: ClassVar[type[DSACTSettings]] = DSACTSettings
    settings: DSACTSettings

    def __init__(
        self,
        task: LearnableTask,
        seed: int = 0,
        settings: DSACTSettings | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        s = settings or DSACTSettings()
        super().__init__(task, seed, s, device, environments=s.environments, hidden=s.hidden, threads=s.threads)
        o, m = self.policy.observation_size, self.policy.action_size
        self.buffer = ReplayBuffer(s.capacity, o, m, len(self.constraint_names), device=self.device)
        self.critics = Ensemble(2, [o + m, *s.hidden, 2], self.generator)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.target_policy = copy.deepcopy(self.policy).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(float(s.initial_log_temperature), device=self.device))
        self.mean_std = torch.zeros(2, 1, device=self.device)
        self.reward_scale = torch.ones((), device=self.device)
        policy = list(self.policy.parameters())
        self.critic_optimiser = Adam([(list(self.critics.parameters()), s.critic_rate)])
        self.actor_optimiser = Adam([(policy, s.policy_rate), ([self.log_alpha], s.temperature_rate)])
        self._sources: list[Tensor] = [*self.critics.parameters(), *self.policy.parameters()]
        self._targets: list[Tensor] = [*self.target_critics.parameters(), *self.target_policy.parameters()]

    def prepare(self) -> None:
        """Fill the memory with uniform actions, fix the scales of observations and of the reward."""
        while self.buffer.size < min(self.settings.warmup, self.settings.capacity):
            self.buffer.add(self.collector.wander())
        seen = self.buffer.contents()
        std, mean = torch.std_mean(seen.observation, dim=0)
        for policy in (self.policy, self.target_policy):
            policy.observation_mean.copy_(mean)
            policy.observation_std.copy_(torch.where(std > 1e-6 * (1.0 + mean.abs()), std, 1.0))
        survival = self.discount * (1.0 - seen.terminated.mean())
        size = seen.reward.abs().mean() / (1.0 - survival)
        self.reward_scale.copy_(torch.where(size > 0, self.settings.return_scale / size, 1.0))
        with torch.no_grad():
            value = self.reward_scale * seen.reward.mean() / (1.0 - survival)
            for critics in (self.critics, self.target_critics):
                critics.biases[-1][:, 0] += value

    def iterate(self) -> None:
        if self.updates % self.settings.updates_per_step == 0:
            self.buffer.add(self.collector.explore())
        self.update(self.buffer.sample(self.settings.batch_size, self.generator))

    def update(self, batch: Batch) -> None:
        """One step of DSAC-T on a batch."""
        s, eps = self.settings, 0.1
        noise = self._noise(batch.action.shape)
        observation = self.policy.scale(batch.observation)
        successor = self.policy.scale(batch.next_observation)
        alpha = self.log_alpha.detach().exp()

        # Targets: y for the mean is free of the sampling of returns, y_z for the deviation is not.
        with torch.no_grad():
            action, log_density = self.target_policy.sample(successor, noise)
            q, sigma = value_distribution(self.target_critics, successor, action)
            q, twin = q.min(dim=0)
            z = q + sigma.gather(0, twin.unsqueeze(0)).squeeze(0) * self._noise(q.shape).clamp_(-3.0, 3.0)
            reward, bonus = self.reward_scale * batch.reward, alpha * log_density
            survival = self.discount * (1.0 - batch.terminated)
            y, y_z = reward + survival * (q - bonus), reward + survival * (z - bonus)

        # Critics: both rows are gradients of the surrogate loss
        #   -(s_i^2 + eps) mean[ (y - Q)/(sigma^2 + eps) Q + ((Q - y_b)^2 - sigma^2)/(sigma^3 + eps) sigma ],
        # where everything but the trailing Q and sigma is held constant.
        q, sigma = value_distribution(self.critics, observation, batch.action)
        with torch.no_grad():
            mean = sigma.mean(dim=1, keepdim=True)
            self.mean_std = torch.lerp(self.mean_std, mean, s.averaging) if self.updates else mean
            weight = (self.mean_std.square() + eps) / q.shape[1]
            bound = 3.0 * self.mean_std
            deviation = torch.minimum(torch.maximum(y_z - q, -bound), bound)
            variance = sigma.square()
            q_gradient = weight * (q - y) / (variance + eps)
            sigma_gradient = weight * (variance - deviation.square()) / (variance * sigma + eps)
        parameters = self.critic_optimiser.parameters
        self.critic_optimiser.step(torch.autograd.grad((q, sigma), parameters, (q_gradient, sigma_gradient)))

        # Policy and temperature, then all targets.
        if (self.updates + 1) % s.delay == 0:
            action, log_density = self.policy.sample(observation, self._noise(batch.action.shape))
            q, _ = value_distribution(self.critics, observation, action)
            loss = (alpha * log_density - q.amin(dim=0)).mean()
            gradients = torch.autograd.grad(loss, self.actor_optimiser.parameters[:-1])
            # Gradient of -log_alpha * mean(log pi + target entropy), target entropy -dim(A).
            surplus = self.policy.action_size - log_density.detach().mean()
            self.actor_optimiser.step((*gradients, surplus))
            with torch.no_grad():
                torch._foreach_lerp_(self._targets, self._sources, s.averaging)
        self.updates += 1

    def diagnostics(self) -> dict[str, float]:
        return {
            "temperature": float(self.log_alpha.detach().exp()),
            "deviation": float(self.mean_std.mean()),
            "reward_scale": float(self.reward_scale),
        }

    def learner_state(self) -> dict[str, Any]:
        return {
            "networks": {name: module.state_dict() for name, module in self._modules().items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self._optimisers().items()},
            "buffer": self.buffer.state_dict(),
            "log_alpha": self.log_alpha.detach(),
            "mean_std": self.mean_std,
            "reward_scale": self.reward_scale,
        }

    def load_learner_state(self, state: dict[str, Any]) -> None:
        for name, module in self._modules().items():
            module.load_state_dict(state["networks"][name])
        for name, optimiser in self._optimisers().items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.buffer.load_state_dict(state["buffer"])
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        self.mean_std.copy_(state["mean_std"])
        self.reward_scale.copy_(state["reward_scale"])

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "policy": self.policy,
            "target_policy": self.target_policy,
            "critics": self.critics,
            "target_critics": self.target_critics,
        }

    def _optimisers(self) -> dict[str, Adam]:
        return {"critic": self.critic_optimiser, "actor": self.actor_optimiser}

    def _noise(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)


def value_distribution(critics: Ensemble, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the twins' returns, each (2, b)."""
    mean, raw = critics(torch.cat((observation, action), dim=1)).unbind(dim=1)
    return mean, F.softplus(raw)
