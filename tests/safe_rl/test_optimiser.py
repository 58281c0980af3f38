"""Adam against torch's own, and its state."""

from __future__ import annotations

import copy

import torch

from safe_rl.optimiser import Adam


def test_steps_equal_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    mine = [torch.randn(5, 3, generator=generator), torch.randn(7, generator=generator)]
    theirs = [torch.nn.Parameter(tensor.clone()) for tensor in mine]
    reference = torch.optim.Adam([{"params": [theirs[0]], "lr": 1e-2}, {"params": [theirs[1]], "lr": 3e-3}], fused=True)
    optimiser = Adam([([mine[0]], 1e-2), ([mine[1]], 3e-3)])
    for k in range(20):
        gradients = [torch.randn(tensor.shape, generator=generator) for tensor in mine]
        if k == 10:  # a copy through its state goes on as if nothing had happened
            state = copy.deepcopy(optimiser.state_dict())
            optimiser = Adam([([mine[0]], 1e-2), ([mine[1]], 3e-3)])
            optimiser.load_state_dict(state)
        optimiser.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        reference.step()
        for a, b in zip(mine, theirs, strict=True):
            assert torch.equal(a, b.detach())
