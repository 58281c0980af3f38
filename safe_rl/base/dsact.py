"""DSAC-T: distributional soft actor-critic with three refinements (Duan et al., 2023, arXiv 2310.05858)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from safe_rl.base.off_policy import OffPolicy, OffPolicySettings
from safe_rl.buffer import Batch
from safe_rl.environment import LearnableTask
from safe_rl.handlers.base import Handler
from safe_rl.networks import Ensemble
from safe_rl.optimiser import decayed, lerp_, mean_weight
from systems.arguments import is_whole
from systems.errors import InvalidValue, shown


@final
@dataclass(frozen=True)
class DSACTSettings(OffPolicySettings):
    """Settings of DSAC-T."""

    form: Literal[1, 2] = 1
    """Which published form of the critics' gradient; see `gradients_form_1` and `gradients_form_2`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_whole(self.form) or self.form not in (1, 2):
            raise InvalidValue(f"DSACTSettings: form = {shown(self.form)}; expected 1 or 2")


@final
class DSACT(OffPolicy):
    """Distributional soft actor-critic with expected value substitution, twin value distributions and
    variance-based adjustment of the critics' gradient.

    `update` contains the complete update rule. Two forms of the critics' gradient are published; the default is that of
    GOPS (`dsact`) and of DACER's repository, the other that of the later DSAC-v2 repository, which settles at half the
    variance. Cost critics, where there is a handler, are learned by the same gradient, without entropy and without the
    twins' minimum.

    Implementation details. As in the authors' settings: GELU, batch of 256, delay 2, 10 000 warm-up
    transitions, 20 transitions per update, target policy, target entropy -dim(A) with actions counted in
    [-1, 1], log-deviation of the policy in [-20, 0.5], discount from the task. Different, for tasks that are
    learned in thousands of updates on a CPU and not in millions:

    - two layers of 64 instead of three of 256; Adam steps 1e-3 for critics and policy (theirs 1e-4), 3e-3 for
      log(alpha) (theirs 3e-4), which starts at -2 instead of 1;
    - target averaging 0.02 instead of 0.005, the same for the moving averages s_i; on the pendulum this alone
      cuts the updates needed to a third;
    - 40 environments stepped once for every two updates instead of 20 for every update: the same data for
      half the overhead;
    - observations are scaled by mean and standard deviation of the warm-up data, then frozen;
    - rewards are divided by the size of a return under uniform actions, mean |r| / (1 - discount * share of
      steps that do not terminate), and multiplied by `return_scale`; units of the reward thus do not matter;
    - `mean_policy`, an average of the policy's weights (Polyak & Juditsky, 1992), is what to use after learning:
      the policy in training still varies around it. It has no part in the update;
    - the critics' output bias starts at the mean of that scaled return instead of near 0.

    A time limit ends an episode but not its value; only `terminated` does.

    Args:
        task: the task to learn; its `vector_env` is created here.
        seed: of networks, exploration, sampling and environment.
        device: where everything lives; a single CPU thread is used while learning (`settings.threads`).
        handler: of the task's constraints; without one the reward alone is learned.
    """

    settings_type: ClassVar[type[DSACTSettings]] = DSACTSettings
    settings: DSACTSettings

    def __init__(
        self,
        task: LearnableTask,
        seed: int = 0,
        settings: DSACTSettings | None = None,
        device: torch.device | str = "cpu",
        handler: Handler | None = None,
    ) -> None:
        settings = DSACTSettings() if settings is None else settings
        super().__init__(task, seed, settings, device, handler, outputs=2, target_policy=True)
        self.mean_std = torch.zeros(self.critics.members, 1, device=self.device)

    def update(self, batch: Batch) -> None:
        """One step of DSAC-T on a batch: the critics; in every `delay`-th one also policy, temperature and averages."""
        s, n = self.settings, len(batch.reward)
        assert self.target_policy is not None
        factor = decayed(self.updates, s.decay)
        noise = torch.randn(batch.action.shape, generator=self.generator, device=self.device)
        observation = self.policy.scale(batch.observation)
        successor = self.policy.scale(batch.next_observation)
        alpha = self.log_alpha.detach().exp()

        # Targets: y for the mean is free of the sampling of returns, y_z for the deviation is not. The twins of the
        # reward share theirs; each cost critic has its own, without entropy.
        with torch.no_grad():
            action, log_density = self.target_policy.sample(successor, noise)
            action = self.applied(batch.next_observation, action)
            q, sigma = value_distribution(self.target_critics, successor, action)
            least, twin = q[:2].min(dim=0)
            deviate = torch.randn(n, generator=self.generator, device=self.device).clamp_(-3.0, 3.0)
            z = least + sigma[:2].gather(0, twin.unsqueeze(0)).squeeze(0) * deviate
            reward, bonus = self.reward_scale * batch.reward, alpha * log_density
            survival = self.discount * (1.0 - batch.terminated)
            y = (reward + survival * (least - bonus)).expand(2, n)
            y_z = (reward + survival * (z - bonus)).expand(2, n)
            if self.constraints is not None:
                y = torch.cat((y, self.cost_targets(batch, q[2:])))
                y_z = torch.cat((y_z, self.cost_targets(batch, q[2:] + sigma[2:] * deviate)))

        # Critics.
        q, sigma = value_distribution(self.critics, observation, batch.action)
        with torch.no_grad():
            mean = sigma.mean(dim=1, keepdim=True)
            self.mean_std = torch.lerp(self.mean_std, mean, s.averaging) if self.updates else mean
            by = _FORMS[s.form](q, sigma, y, y_z, self.mean_std)
        parameters = self.critic_optimiser.parameters
        self.critic_optimiser.step(torch.autograd.grad((q, sigma), parameters, by), factor)

        # Policy and temperature, then target networks and mean policy.
        if (self.updates + 1) % s.delay == 0:
            noise = torch.randn(batch.action.shape, generator=self.generator, device=self.device)
            action, log_density = self.policy.sample(observation, noise)
            action = self.applied(batch.observation, action)
            at_policy, _ = value_distribution(self.critics, observation, action)
            loss = (alpha * log_density - at_policy[:2].amin(dim=0)).mean()
            if self.handler is None or self.constraints is None:
                gradients = torch.autograd.grad(loss, self.policy_weights)
            else:
                at_memory, costs = (values[2:].view(self.members, -1, n) for values in (q, at_policy))
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

    def diagnostics(self) -> dict[str, float]:
        return super().diagnostics() | {"deviation": float(self.mean_std[:2].mean())}

    def learner_state(self) -> dict[str, Any]:
        return super().learner_state() | {"mean_std": self.mean_std}

    def load_learner_state(self, state: dict[str, Any]) -> None:
        super().load_learner_state(state)
        self.mean_std.copy_(state["mean_std"])


def gradients_form_1(q: Tensor, sigma: Tensor, y: Tensor, y_z: Tensor, mean_std: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients with respect to q and sigma (each (members, b)) of the surrogate loss of GOPS and of DACER,

        -(s_i^2 + eps) mean[ (y - Q)/(sigma^2 + eps) Q + ((Q - y_b)^2 - sigma^2)/(sigma^3 + eps) sigma ],

    where everything but the trailing Q and sigma is held constant, y_b is y_z clipped to Q +- 3 s_i and eps = 0.1.
    Targets drawn from a normal distribution are matched in mean and deviation.
    """
    eps = 0.1
    weight = (mean_std.square() + eps) / q.shape[1]
    bound = 3.0 * mean_std
    deviation = torch.minimum(torch.maximum(y_z - q, -bound), bound)
    variance = sigma.square()
    return (
        weight * (q - y) / (variance + eps),
        weight * (variance - deviation.square()) / (variance * sigma + eps),
    )


def gradients_form_2(q: Tensor, sigma: Tensor, y: Tensor, y_z: Tensor, mean_std: Tensor) -> tuple[Tensor, Tensor]:
    """The same for the loss of the DSAC-v2 repository, with H the Huber function of threshold 50,

        mean[ w (H(Q - y) + sigma (sigma^2 - H(Q - y_b))/(sigma + 0.1)) ],  w = clamp(s_i^2/(sigma^2 + 0.1), 0.1, 10).

    H carries a factor 1/2, so sigma^2 settles at half the mean squared deviation.
    """
    eps, edge = 0.1, 50.0
    bound = 3.0 * mean_std
    deviation = torch.minimum(torch.maximum(y_z - q, -bound), bound)
    weight = (mean_std.square() / (sigma.square() + eps)).clamp_(0.1, 10.0) / q.shape[1]
    huber = F.huber_loss(deviation, torch.zeros_like(deviation), reduction="none", delta=edge)
    return weight * (q - y).clamp(-edge, edge), weight * (sigma.square() - huber) / (sigma + eps)


_FORMS = {1: gradients_form_1, 2: gradients_form_2}


def value_distribution(critics: Ensemble, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the members' returns, each (members, b)."""
    mean, raw = critics(torch.cat((observation, action), dim=1)).unbind(dim=1)
    return mean, F.softplus(raw)
