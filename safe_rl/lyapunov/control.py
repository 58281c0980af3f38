"""Pretrains a controller network by gradient descent through the simulated closed loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ctrl.regulator import LQR
from safe_rl.lyapunov.networks import Control, Scale
from safe_rl.lyapunov.settings import LyapunovSettings
from systems import Task
from systems.lowering import lower

__all__ = ["field", "pretrained"]

_WALL, _INSIDE = 10.0, 0.95  # weight of states beyond this share of the box
_NEAR = 0.1  # of the box, where the regulator is the example


def field(task: Task, continuous: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """The next state, or in continuous time the velocity, of states (..., n) and inputs (..., m), undisturbed."""
    dynamics = task.true_dynamics
    f = lower(dynamics.plant.casadi(), to="torch") if continuous else dynamics.lower("torch")
    size = len(task.plant.disturbance)

    def undisturbed(x: Tensor, u: Tensor) -> Tensor:
        no_disturbance = torch.zeros(len(x), 0, dtype=x.dtype)
        zero = torch.zeros(len(x), size, dtype=x.dtype)
        result: Tensor = f(x, u, zero, no_disturbance)
        return result

    return undisturbed


def pretrained(
    task: Task, scale: Scale, control: Control, settings: LyapunovSettings, generator: torch.Generator
) -> Iterator[float]:
    """Losses, one per update: the mean over a simulation of |z|^2, of the inputs and of what is beyond the box; and
    near the reference the distance from the task's linear-quadratic regulator.

    Starts come from a box that grows to the whole one.
    """
    step = field(task, False)
    K, reference = torch.tensor(LQR(task).K), torch.tensor(task.reference.at(task.plant, 0)[1].astype(float))
    lower_, upper = map(torch.tensor, task.applied_bounds)
    half = 0.5 * (upper - lower_)
    centre, reach = torch.tensor(scale.centre), torch.tensor(scale.half)
    optimiser = torch.optim.Adam(control.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.controller_updates, 1e-3)
    for k in range(settings.controller_updates):
        grown = min(1.0, 0.1 + 1.2 * k / settings.controller_updates)
        z = 2.0 * torch.rand(256, len(centre), generator=generator, dtype=torch.float64) - 1.0
        near = centre + _NEAR * reach * z
        example = torch.minimum(torch.maximum(reference - (near - centre) @ K.T, lower_), upper)
        loss = (((control(near) - example) / half) ** 2).mean()
        x = centre + grown * reach * z
        for _ in range(settings.horizon):
            u = control(x)
            x = step(x, u)
            z = scale(x)
            beyond = torch.relu(z.abs() - _INSIDE)
            # States that diverged carry no information; their squares would dominate the sum.
            cost = torch.clamp((z * z).sum(-1) + _WALL * (beyond * beyond).sum(-1), max=10.0)
            input_cost = settings.input_weight * (((u - reference) / half) ** 2).sum(-1)
            loss = loss + (cost + input_cost).mean() / settings.horizon
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        yield loss.item()
