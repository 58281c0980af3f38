"""Training of Lagrangian networks with torch, which this file imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from scipy.optimize import minimize
from torch.nn.functional import softplus

from systems.identification.lagrangian_energies import _FLOOR, Energies

__all__ = ["Transitions", "momentum_and_force", "train", "velocity_errors"]


@final
@dataclass(frozen=True, eq=False)
class Transitions:
    """Neighbouring samples of all runs.

    Args:
        q, v: (3, N, n): coordinates and rates at the start, in the middle and at the end of a sample.
        force: (N, n): B u.
        dt: seconds.
        run: (N,): the number of the run.
        size: (n,): standard deviation of the change of the rates.
    """

    q: np.ndarray
    v: np.ndarray
    force: np.ndarray
    dt: float
    run: np.ndarray
    size: np.ndarray


def _triangles(energies: Energies, weights: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """L (N, 1 + k, n, n) and V (N, 1 + k)."""
    n, turning = len(energies.angles), torch.as_tensor(energies.angles)
    middle, width = torch.as_tensor(energies.middle), torch.as_tensor(energies.width)
    angles = q[:, turning]
    around = torch.stack([torch.sin(angles), torch.cos(angles)], dim=2).flatten(1)
    values, used = torch.cat([around, ((q - middle) / width)[:, ~turning]], dim=1), 0
    for i, (after, before) in enumerate(energies.shapes):
        matrix = weights[used : used + after * before].view(after, before)
        used += after * before
        values = torch.addmm(weights[used : used + after], values, matrix.T)
        used += after
        if i < len(energies.hidden):
            values = torch.tanh(values)
    parts = values.view(len(q), 1 + energies.contexts, energies.heads)
    rows, columns = np.tril_indices(n)
    diagonal = torch.as_tensor(rows == columns)
    entries = torch.where(diagonal, softplus(parts[..., :-1]), parts[..., :-1])
    # By a constant matrix, since indexed assignment has slow second derivatives.
    scatter = torch.zeros(len(rows), n * n, dtype=q.dtype)
    scatter[torch.arange(len(rows)), torch.as_tensor(rows * n + columns)] = 1.0
    return (entries @ scatter).view(len(q), 1 + energies.contexts, n, n), parts[..., -1]


def momentum_and_force(
    energies: Energies, weights: torch.Tensor, q: torch.Tensor, v: torch.Tensor, shares: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """M v, dL/dq and M: (N, n), (N, n) and (N, n, n).

    Args:
        energies: sizes and scales; its weights are not used.
        weights: of the network, one vector.
        q, v: (N, n).
        shares: 1 and the context, (N, 1 + k).
    """
    root = torch.sqrt(torch.as_tensor(energies.inertia))
    q = q if q.requires_grad else q.detach().requires_grad_()
    lower, potentials = _triangles(energies, weights, q)
    scaled = root * v
    projected = torch.einsum("bjik,bi->bjk", lower, scaled)
    kinetic = 0.5 * (shares[:, :, None] * projected**2).sum() + 0.5 * _FLOOR * (scaled**2).sum()
    lagrangian = kinetic - energies.energy * (shares * potentials).sum()
    (force,) = torch.autograd.grad(lagrangian, q, create_graph=True)
    momentum = root * (_FLOOR * scaled + torch.einsum("bjik,bjk,bj->bi", lower, projected, shares))
    mass = torch.einsum("bjik,bjlk,bj->bil", lower, lower, shares) + _FLOOR * torch.eye(len(root), dtype=q.dtype)
    return momentum, force, root[:, None] * mass * root


def velocity_errors(
    energies: Energies, weights: torch.Tensor, contexts: torch.Tensor, data: Transitions
) -> torch.Tensor:
    """M^-1 times the error of d/dt(M v) = dL/dq + B u - D v, integrated over each sample, (N, n).

    The integral is Simpson's, so that no acceleration is needed.

    Args:
        energies, weights: as in :func:`momentum_and_force`.
        contexts: of each run, (runs, k).
        data: measured.
    """
    n, count = data.q.shape[2], data.q.shape[1]
    shares = torch.cat([torch.ones(len(contexts), 1, dtype=weights.dtype), contexts], dim=1)
    of_samples = shares[torch.as_tensor(data.run)].repeat(3, 1)
    q, v = (torch.as_tensor(a).reshape(-1, n) for a in (data.q, data.v))
    momentum, force, mass = (
        part.view(3, count, *part.shape[1:]) for part in momentum_and_force(energies, weights, q, v, of_samples)
    )
    if energies.frictional:
        force = force - torch.as_tensor(energies.damping) * softplus(weights[-n:]) * torch.as_tensor(data.v)
    mean = (force[0] + 4.0 * force[1] + force[2]) / 6.0 + torch.as_tensor(data.force)
    impulse = momentum[2] - momentum[0] - data.dt * mean
    return torch.linalg.solve(mass[1], impulse)


def train(
    energies: Energies, data: Transitions, decay: float, iterations: int, seed: int
) -> tuple[Energies, np.ndarray, int]:
    """Minimises the scaled velocity errors over the weights and the context of every run, by L-BFGS.

    Args:
        energies: sizes and scales.
        data: for training.
        decay: of weights, relative to a mean squared error of 1.
        iterations: at most.
        seed: of the first weights.

    Returns:
        energies with weights, contexts (runs, k), and the number of iterations.
    """
    runs, k, size = int(data.run.max()) + 1, energies.contexts, torch.as_tensor(data.size)
    first = energies.first(seed)
    count = len(first)

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        weights, contexts = at[:count], softplus(at[count:]).view(runs, k)
        errors = velocity_errors(energies, weights, contexts, data) / size
        value = (errors**2).mean() + decay * (weights**2).mean()
        if k:
            value = value + decay * ((contexts - 1.0) ** 2).mean()
        value.backward()  # type: ignore[no-untyped-call]
        assert at.grad is not None
        return float(value.detach()), at.grad.numpy()

    start = np.concatenate([first, np.full(runs * k, np.log(np.e - 1.0))])  # softplus of which is 1
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 20, "ftol": 1e-12, "gtol": 1e-9}
    result = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    contexts = np.logaddexp(0.0, result.x[count:]).reshape(runs, k)
    return energies.replace(result.x[:count]), contexts, int(result.nit)
