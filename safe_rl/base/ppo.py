"""PPO: proximal policy optimisation with a clipped objective (Schulman et al., 2017, arXiv 1707.06347)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from safe_rl.buffer import Batch
from safe_rl.checkpoint import expect_like
from safe_rl.environment import LearnableTask
from safe_rl.handlers.base import Handler
from safe_rl.networks import Ensemble
from safe_rl.optimiser import Adam, clip_norm_, decayed, lerp_, mean_weight
from safe_rl.policy import Policy
from safe_rl.settings import expect_counts, expect_numbers, expect_widths
from safe_rl.training import Learner
from systems.errors import InvalidValue


@dataclass(frozen=True)
class PPOSettings:
    """Settings of PPO."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of policy and value functions."""
    policy_rate: float = 1e-3
    """Adam step of the policy."""
    value_rate: float = 2e-3
    """Adam step of the value functions."""
    decay: int = 20_000
    """Both decrease linearly to a tenth over this number of updates, and stay there."""
    environments: int = 64
    """Environments stepped together."""
    horizon: int = 32
    """Steps of all environments between two rounds of updates."""
    passes: int = 8
    """Number of passes over the data of a round."""
    batch_size: int = 256
    """Transitions per update."""
    clip: float = 0.2
    """Half-width of the range around 1 to which the surrogate clips the probability ratio."""
    trace: float = 0.95
    """lambda of generalised advantage estimation, for reward and costs."""
    entropy: float = 0.003
    """Weight of the entropy against standardised advantages."""
    mean_updates: int = 1000
    """Updates over which `PPO.mean_policy` averages the policy's weights."""
    largest_gradient: float = 1.0
    """Norm to which gradients of the policy are clipped."""
    warmup: int = 10_000
    """Transitions under uniform actions that fix the scales."""
    return_scale: float = 10.0
    """Rewards are scaled so that a return under uniform actions is about this large."""
    threads: int = 1
    """CPU threads while learning."""

    def __post_init__(self) -> None:
        expect_widths(self, ("hidden",))
        expect_counts(self, ("decay", "environments", "horizon", "passes", "batch_size"))
        expect_counts(self, ("mean_updates", "warmup", "threads"))
        expect_numbers(self, ("policy_rate", "value_rate", "clip", "largest_gradient", "return_scale"), above=0.0)
        expect_numbers(self, ("trace",), least=0.0, most=1.0)
        expect_numbers(self, ("entropy",))
        if self.batch_size > self.horizon * self.environments:
            raise InvalidValue(
                f"PPOSettings: batch_size = {self.batch_size}, but a round collects horizon x environments = "
                f"{self.horizon * self.environments} transitions; expected at most as many"
            )


class _Round(NamedTuple):
    """The data of one round, samples in front (s = horizon * environments)."""

    scaled: Tensor  # (s, o), observations
    before: Tensor  # (s, m), actions before the tanh
    log_density: Tensor  # (s,), of the policy that acted
    advantage: Tensor  # (1 + c, s), standardised for the reward
    target: Tensor  # (1 + c, s), of the value functions
    own: Tensor  # (s,), 1 where the policy acted and 0 where a prior policy did


@final
class PPO(Learner):
    """Clipped policy gradient on fresh data; value functions of reward and costs as one batched network.

    `update` contains the complete update rule. With a handler, each cost enters through its own clipped surrogate and
    advantage, so a Lagrangian one gives the advantage (A_r - lam A_c) / (1 + lam) of PPO-Lagrangian. The policy is the
    tanh-Gaussian one of the other learners, with a state-dependent deviation; a run that meets the time limit is
    continued by its value. Samples from the prior policy train the value functions only. An update is one step on one
    batch.

    Args: as for `DSACT`. A handler must have one cost critic per constraint and have episodes as its source.
    """

    settings_type: ClassVar[type[PPOSettings]] = PPOSettings
    settings: PPOSettings

    def __init__(
        self,
        task: LearnableTask,
        seed: int = 0,
        settings: PPOSettings | None = None,
        device: torch.device | str = "cpu",
        handler: Handler | None = None,
    ) -> None:
        s = PPOSettings() if settings is None else settings
        self.expect_parts(s, handler)
        if handler is not None and (handler.members != 1 or handler.source != "episodes"):
            raise InvalidValue(
                f"PPO has one value function per cost and no replay memory; {type(handler).__name__} was given with "
                f"members = {handler.members}, source = {handler.source!r}: give members=1, source='episodes'"
            )
        if handler is not None and handler.critics != "accumulated cost":
            raise InvalidValue(
                f"PPO estimates advantages of accumulated costs; {type(handler).__name__} was given with critics = "
                f"{handler.critics!r}: give critics='accumulated cost', or use DSACT or SAC"
            )
        super().__init__(
            task,
            seed,
            s,
            device,
            handler,
            environments=s.environments,
            evaluation_environments=0,
            hidden=s.hidden,
            threads=s.threads,
        )
        self._costs = 0 if self.constraints is None else len(self.constraints.limits)
        self.values = Ensemble(1 + self._costs, [self.policy.observation_size, *s.hidden, 1], self.generator)
        self.mean_policy = copy.deepcopy(self.policy).requires_grad_(False)
        """Average of the policy over about the last `mean_updates` updates, to be used after training."""
        self.mean_weights: list[Tensor] = list(self.mean_policy.parameters())
        self.policy_optimiser = Adam([(list(self.policy.parameters()), s.policy_rate)])
        self.value_optimiser = Adam([(list(self.values.parameters()), s.value_rate)])
        size, (o, m) = s.horizon * s.environments, (self.policy.observation_size, self.policy.action_size)
        shapes = ((size, o), (size, m), (size,), (1 + self._costs, size), (1 + self._costs, size), (size,))
        self._round = _Round(*(torch.zeros(shape, device=self.device) for shape in shapes))
        self._order = torch.zeros(size, dtype=torch.int64, device=self.device)

    @property
    def result(self) -> Policy:
        """`mean_policy`: the policy itself, and with it its cost, still varies from round to round."""
        return self.mean_policy

    def prepare(self) -> None:
        rows = []
        while self.collector.steps < self.settings.warmup:
            rows.append(self.collector.collect_random())
        self.fix_scales(_joined(rows), [self.policy, self.mean_policy], self.settings.return_scale)

    def iterate(self) -> None:
        s = self.settings
        batches = len(self._order) // s.batch_size
        place = self.updates % (batches * s.passes)
        if place == 0:
            self._round = self._collect()
        if place % batches == 0:
            self._order = torch.randperm(len(self._order), generator=self.generator, device=self.device)
        start = (place % batches) * s.batch_size
        self.update(self._order[start : start + s.batch_size])

    @torch.no_grad()
    def _collect(self) -> _Round:
        """Run the policy for `horizon` steps and estimate advantages (Schulman et al., 2016, arXiv 1506.02438)."""
        s = self.settings
        rows, ends, own = [], [], []
        for _ in range(s.horizon):
            rows.append(self.collector.collect())
            if self.constraints is not None:
                self.constraints.update_multipliers()
            ends.append(self.collector.over.to(torch.float32))
            start = self.collector.jump_start
            own.append(torch.ones_like(ends[-1]) if start is None else (~start.prior_acts).to(torch.float32))
        data = _joined(rows)
        scaled, successor = self.policy.scale(data.observation), self.policy.scale(data.next_observation)
        shape = (1 + self._costs, s.horizon, s.environments)
        value, next_value = (self.values(x).squeeze(1).view(shape) for x in (scaled, successor))
        gain = (self.reward_scale * data.reward).unsqueeze(0)
        if self.constraints is not None:
            gain = torch.cat((gain, self.constraints.scaled(data.cost)))
        survival = self.discount * (1.0 - data.terminated.view(shape[1:]))
        error = gain.view(shape) + survival * next_value - value
        advantage, last = torch.empty_like(error), torch.zeros_like(error[:, 0])
        for k in reversed(range(s.horizon)):
            last = error[:, k] + self.discount * s.trace * (1.0 - ends[k]) * last
            advantage[:, k] = last
        target = (advantage + value).flatten(1)
        advantage = advantage.flatten(1)
        # One unit for all: the spread of the reward's advantage. A cost keeps its size against it.
        advantage = (advantage - advantage.mean(dim=1, keepdim=True)) / (advantage[0].std() + 1e-6)
        before = torch.atanh(data.action.clamp(-1.0 + 1e-6, 1.0 - 1e-6))
        log_density, _ = self.policy.log_density(scaled, before)
        return _Round(scaled, before, log_density, advantage, target, torch.cat(own))

    def update(self, rows: Tensor) -> None:
        """One step of PPO on a minibatch of the round: the policy, then the value functions."""
        s, data = self.settings, self._round
        scaled = data.scaled[rows]
        # The actions of a prior policy say nothing for or against those of this one.
        advantage = data.advantage[:, rows] * data.own[rows]
        factor = decayed(self.updates, s.decay)

        log_density, entropy = self.policy.log_density(scaled, data.before[rows])
        ratio = (log_density - data.log_density[rows]).exp()
        gain, costs = surrogates(ratio, advantage, s.clip)
        loss = -gain.mean() - s.entropy * entropy.mean()
        parameters = self.policy_optimiser.parameters
        if self.handler is None or self.constraints is None:
            gradients = torch.autograd.grad(loss, parameters)
        else:
            gradients = self.handler.gradient(loss, costs.unsqueeze(0), self.constraints.state, parameters)
        clip_norm_(gradients, s.largest_gradient)
        self.policy_optimiser.step(gradients, factor)
        with torch.no_grad():
            lerp_(self.mean_weights, parameters, mean_weight(self.updates, s.mean_updates))

        error = self.values(scaled).squeeze(1) - data.target[:, rows]
        loss = 0.5 * error.square().mean(dim=1).sum()
        self.value_optimiser.step(torch.autograd.grad(loss, self.value_optimiser.parameters), factor)
        self.updates += 1

    def networks(self) -> dict[str, nn.Module | Tensor]:
        return {"policy": self.policy, "mean_policy": self.mean_policy, "values": self.values}

    def diagnostics(self) -> dict[str, float]:
        return {"reward_scale": float(self.reward_scale)}

    def learner_state(self) -> dict[str, Any]:
        return {
            "policy": self.policy.state_dict(),
            "mean_policy": self.mean_policy.state_dict(),
            "values": self.values.state_dict(),
            "policy_optimiser": self.policy_optimiser.state_dict(),
            "value_optimiser": self.value_optimiser.state_dict(),
            "round": list(self._round),
            "order": self._order,
        }

    def load_learner_state(self, state: dict[str, Any]) -> None:
        self.policy.load_state_dict(state["policy"])
        self.mean_policy.load_state_dict(state["mean_policy"])
        self.values.load_state_dict(state["values"])
        self.policy_optimiser.load_state_dict(state["policy_optimiser"])
        self.value_optimiser.load_state_dict(state["value_optimiser"])
        stored = zip(state["round"], self._round, _Round._fields, strict=True)
        self._round = _Round(*(expect_like(given, mine, name) for given, mine, name in stored))
        self._order = expect_like(state["order"], self._order, "order")
        if not bool(((self._order >= 0) & (self._order < len(self._order))).all()):
            raise ValueError("order contains indices of no transition")


def surrogates(ratio: Tensor, advantage: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Pessimistic surrogates (Schulman et al., 2017, eq. 7) of reward, (b,), and costs, (c, b).

    Of the plain and the clipped product the reward takes the smaller, and a cost, which is minimised, the larger.

    Args:
        ratio: (b,), of the probability under the policy to that under the policy that acted.
        advantage: (1 + c, b), of the reward and of each cost.
        clip: largest deviation of the ratio from 1 that still counts.
    """
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    gain = torch.minimum(ratio * advantage[0], clipped * advantage[0])
    return gain, torch.maximum(ratio * advantage[1:], clipped * advantage[1:])


def _joined(rows: list[Batch]) -> Batch:
    return Batch(*(torch.cat(parts) for parts in zip(*rows, strict=True)))
