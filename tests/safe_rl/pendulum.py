"""Gymnasium's Pendulum-v1 as a batched torch environment: same dynamics, reward and time limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Step(NamedTuple):
    observation: Tensor
    next_observation: Tensor
    reward: Tensor
    cost: Tensor
    terminated: Tensor
    truncated: Tensor


class PendulumEnvironment:
    action_low = torch.tensor([-2.0])
    action_high = torch.tensor([2.0])
    observation_size = 3
    action_size = 1
    constraint_names = ("fast",)
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, n: int, seed: int, steps: int = 200, reward_factor: float = 1.0) -> None:
        self.n, self.limit, self.reward_factor = n, steps, reward_factor
        self.generator = torch.Generator().manual_seed(seed)
        self.state = torch.zeros(n, 2)
        self.count = torch.zeros(n, dtype=torch.int64)

    def _start(self) -> Tensor:
        return (2.0 * torch.rand(self.n, 2, generator=self.generator) - 1.0) * torch.tensor([math.pi, 1.0])

    def _observe(self) -> Tensor:
        angle, rate = self.state.unbind(1)
        return torch.stack((angle.cos(), angle.sin(), rate), dim=1)

    def reset(self) -> Tensor:
        self.state = self._start()
        self.count = torch.zeros(self.n, dtype=torch.int64)
        return self._observe()

    def step(self, action: Tensor) -> Step:
        angle, rate = self.state.unbind(1)
        torque = action[:, 0].clamp(-2.0, 2.0)
        wrapped = torch.remainder(angle + math.pi, 2.0 * math.pi) - math.pi
        cost = wrapped**2 + 0.1 * rate**2 + 0.001 * torque**2
        rate = (rate + (15.0 * angle.sin() + 3.0 * torque) * 0.05).clamp(-8.0, 8.0)
        self.state = torch.stack((angle + 0.05 * rate, rate), dim=1)
        successor = self._observe()
        self.count = self.count + 1
        truncated = self.count >= self.limit
        self.state = torch.where(truncated.unsqueeze(1), self._start(), self.state)
        self.count = torch.where(truncated, 0, self.count)
        fast = (rate.abs() > 6.0).to(torch.float32).unsqueeze(1)
        terminated = torch.zeros(self.n, dtype=torch.bool)
        return Step(self._observe(), successor, -self.reward_factor * cost, fast, terminated, truncated)

    def state_dict(self) -> dict[str, Tensor]:
        return {"state": self.state, "count": self.count, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.state, self.count = state["state"].clone(), state["count"].clone()
        self.generator.set_state(state["generator"])


@dataclass(frozen=True)
class PendulumTask:
    name: str = "pendulum"
    discount: float = 0.99
    steps: int = 200
    reward_factor: float = 1.0

    def vector_env(self, n: int, *, device: torch.device | str = "cpu", seed: int = 0) -> PendulumEnvironment:
        return PendulumEnvironment(n, seed, self.steps, self.reward_factor)
