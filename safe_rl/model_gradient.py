"""A small network trained by gradient descent through the simulated closed loop of a task."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from ctrl.controller import NotApplicable
from ctrl.laws import Network
from ctrl.regulator import LQR
from systems import Task

__all__ = ["train_through_model"]

BATCH, STEPS = 256, 60


def train_through_model(
    task: Task, rounds: int = 300, hidden: int = 8, seed: int = 0, report: Callable[[str], None] | None = None
) -> Network:
    """Trains u = limit * tanh(W3 tanh(W2 tanh(W1 x))) to bring the plant to rest at the origin.

    The loss is the sum of the squared state, relative to the domain, in simulated runs of 60 steps, a small cost of the
    input, and the difference from the saturated LQR near the origin. The starts spread over the whole domain during
    training.
    The network has no biases, so the origin remains an equilibrium.

    Args:
        task: with a bounded domain and input limits symmetric about zero; its reference is the origin.
        rounds: steps of Adam; default: 300.
        hidden: neurons in each of the two hidden layers; default: 8.
        seed: of weights and starts; default: 0.
        report: called with a line about the loss every 50 rounds; default: no report.

    Raises:
        NotApplicable: the reference is not the origin, or limits are infinite or not symmetric.
    """
    x_ref, u_ref = task.reference.at(task.plant, 0)
    (lower, upper), bound = task.input_bounds, task.domain_bounds[1]
    if np.any(x_ref) or np.any(u_ref) or not np.array_equal(lower, -upper):
        raise NotApplicable(f"task '{task.name}': expected the origin as reference and symmetric input limits")
    if not (np.isfinite(upper).all() and np.isfinite(bound).all()):
        raise NotApplicable(f"task '{task.name}': expected a bounded domain and bounded inputs")
    generator = torch.Generator().manual_seed(seed)
    step = task.dynamics.lower("torch")
    limit, reach, K = torch.as_tensor(upper), torch.as_tensor(bound), torch.as_tensor(LQR(task).K)
    n, m, q = len(task.plant.state), len(task.plant.input), len(task.plant.disturbance)
    weights = [
        (torch.randn(b, a, generator=generator, dtype=torch.float64) / a**0.5).requires_grad_()
        for a, b in pairwise([n, hidden, hidden, m])
    ]
    optimiser = torch.optim.Adam(weights, lr=1e-2)

    def control(x: Any) -> Any:
        for W in weights:
            x = torch.tanh(x @ W.T)
        return limit * x

    for k in range(rounds):
        share = min(1.0, (k + 30) / rounds)
        x = (2 * torch.rand(BATCH, n, generator=generator, dtype=torch.float64) - 1) * reach * share
        near = 0.1 * x
        loss = ((control(near) - torch.clamp(-near @ K.T, -limit, limit)) ** 2).mean()  # stability near the origin
        for _ in range(STEPS):
            u = control(x)
            x = step(x, u, torch.zeros(BATCH, q, dtype=x.dtype), torch.zeros(BATCH, 0, dtype=x.dtype))
            loss = loss + ((x / reach) ** 2).sum(-1).mean() / STEPS + 1e-3 * (u**2).mean() / STEPS
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if report is not None and k % 50 == 0:
            report(f"  round {k}: loss {loss.item():.4f}")
    layers = (*(W.detach().numpy() for W in weights), np.diag(upper))
    return Network(layers, tuple(np.zeros(len(W)) for W in layers), ("tanh", "tanh", "tanh", "identity"))
