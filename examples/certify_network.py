"""A network is trained to balance the torque-limited pendulum, and the region from which it does so is proved.

    python examples/certify_network.py

Training is gradient descent through the simulated closed loop, in torch, on the very plant that is then proved about:
the same CasADi expression, lowered to torch for one and to outward-rounded intervals for the other. The Lyapunov
function is a polynomial with the pendulum's energies, fitted to where simulated runs arrive; branch and bound has the
last word.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import casadi as ca
import numpy as np

from ctrl.certify import ClosedLoop, SearchLimits, largest_level, riccati
from ctrl.certify.candidates.fit import fitted, sampled_basin
from ctrl.laws import Network
from ctrl.regulator import LQR
from systems import Task
from systems.library import pendulum


def train(task: Task, rounds: int = 300, hidden: int = 8, seed: int = 0) -> Network:
    """u = tanh(W3 tanh(W2 tanh(W1 x))) times the torque limit; without biases, so that rest stays rest."""
    import torch  # the proof needs none of it

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    step = task.dynamics.lower("torch")
    upper = task.domain_bounds[1]
    limit = float(task.input_bounds[1][0])
    sizes = [2, hidden, hidden, 1]
    weights = [
        (torch.randn(b, a, generator=generator, dtype=torch.float64) / a**0.5).requires_grad_()
        for a, b in pairwise(sizes)
    ]
    K = torch.as_tensor(LQR(task).K)
    optimiser = torch.optim.Adam(weights, lr=1e-2)
    reach = torch.as_tensor(upper)

    def control(x: Any) -> Any:
        for W in weights:
            x = torch.tanh(x @ W.T)
        return limit * x

    for k in range(rounds):
        x = (2 * torch.rand(256, 2, generator=generator, dtype=torch.float64) - 1) * reach * min(1.0, (k + 30) / rounds)
        near = 0.1 * x
        loss = ((control(near) - torch.clamp(-near @ K.T, -limit, limit)) ** 2).mean()  # local stability
        for _ in range(60):
            u = control(x)
            x = step(x, u, torch.zeros_like(u), torch.zeros(len(x), 0, dtype=x.dtype))
            loss = loss + ((x / reach) ** 2).sum(-1).mean() / 60 + 1e-3 * (u**2).mean() / 60
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if k % 50 == 0:
            print(f"  round {k}: loss {loss.item():.4f}")
    matrices = [W.detach().numpy() for W in weights]
    layers = (*matrices, np.array([[limit]]))
    names = ("tanh", "tanh", "tanh", "identity")
    return Network(layers, tuple(np.zeros(len(W)) for W in layers), names)


def energies() -> ca.Function:
    """What the energy of a pendulum under a saturated torque is made of."""
    x = ca.SX.sym("x", 2)
    angle, rate = x[0], x[1]
    bowls = [ca.sqrt(1 + (k * angle) ** 2) - 1 for k in (1, 4)]
    cross = [rate * angle / ca.sqrt(1 + (k * angle) ** 2) for k in (1, 4)]
    waves = [ca.cos(angle) - 1, ca.cos(2 * angle) - 1, angle * ca.sin(angle)]
    turns = [rate * ca.sin(angle), rate * ca.sin(2 * angle), rate**2 * ca.cos(angle), rate**2 * bowls[0]]
    return ca.Function("energies", [x], [ca.vertcat(*bowls, *cross, *waves, *turns)])


def main() -> None:
    task = pendulum()
    print("training")
    law = train(task)
    loop = ClosedLoop(task, law)
    print("region of attraction")
    ellipse = largest_level(task, law, riccati(task), resolution=0.02, budget=SearchLimits(seconds=20))
    print(f"  the regulator's ellipse: {ellipse.kind}, area {ellipse.volume:.4g}")
    basin = sampled_basin(loop, *task.domain_bounds)
    print(f"  sampled: area {basin.volume:.4g} of 576")
    V = fitted(loop, 4, basin, share=0.6, margin=1e-3, rounds=10, features=energies())
    print(largest_level(task, law, V, resolution=5e-3, budget=SearchLimits(5_000_000, 120)))


if __name__ == "__main__":
    main()
