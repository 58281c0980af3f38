"""Training of Lagrangian networks with torch, which this file imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch.func import grad, jacrev, vmap
from torch.nn.functional import softplus

from systems.identification.lagrangian_energies import FLOOR, Energies

__all__ = ["errors_at", "fit_with_contexts", "mass_and_force", "sample_error", "train"]

Errors: TypeAlias = Callable[..., torch.Tensor]
_AT_ONCE = 256  # samples whose Jacobians are in memory together
_SETTLED = 1e-3  # relative decrease of the loss below which, three times in a row, training ends
_ONE = float(np.log(np.e - 1.0))  # softplus of which is 1


def _triangles(energies: Energies, weights: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """L (1 + k, n, n) and V (1 + k) at q (n,)."""
    n, turning = len(energies.angles), energies.angles
    angles, others = np.flatnonzero(turning).tolist(), np.flatnonzero(~turning).tolist()
    middle, width = torch.as_tensor(energies.middle[others]), torch.as_tensor(energies.width[others])
    around = torch.stack([torch.sin(q[angles]), torch.cos(q[angles])], dim=1).flatten()
    values, used = torch.cat([around, (q[others] - middle) / width]), 0
    for i, (after, before) in enumerate(energies.shapes):
        matrix = weights[used : used + after * before].view(after, before)
        used += after * before
        values = matrix @ values + weights[used : used + after]
        used += after
        if i < len(energies.hidden):
            values = torch.tanh(values)
    parts = values.view(1 + energies.contexts, energies.heads)
    rows, columns = np.tril_indices(n)
    entries = torch.where(torch.as_tensor(rows == columns), softplus(parts[:, :-1]), parts[:, :-1])
    scatter = np.zeros((len(rows), n * n))
    scatter[np.arange(len(rows)), rows * n + columns] = 1.0
    return (entries @ torch.as_tensor(scatter)).view(-1, n, n), parts[:, -1]


def mass_and_force(
    energies: Energies, weights: torch.Tensor, context: torch.Tensor, q: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """M (n, n) and dL/dq (n,).

    Args:
        energies: sizes and scales; its weights are not used.
        weights: of the network, one vector.
        context: (k,).
        q, v: (n,).
    """
    root = torch.sqrt(torch.as_tensor(energies.inertia))
    shares = torch.cat([torch.ones(1, dtype=q.dtype), context])

    def mass(at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lower, potentials = _triangles(energies, weights, at)
        scaled = torch.einsum("jik,jlk,j->il", lower, lower, shares) + FLOOR * torch.eye(len(root), dtype=q.dtype)
        return root[:, None] * scaled * root, energies.energy * (shares * potentials).sum()

    def lagrangian(at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        matrix, potential = mass(at)
        return 0.5 * v @ matrix @ v - potential, matrix

    force, matrix = grad(lagrangian, has_aux=True)(q)
    return matrix, force


def sample_error(energies: Energies, dt: float) -> Errors:
    """(weights, context, q, v, force) -> M^-1 times the error of d/dt(M v) = dL/dq + B u - D v over one sample.

    The integral is Simpson's; q and v (3, n) are those at the start, in the middle and at the end of the sample, the
    force (n,) is B u, and the error (n,) is one of velocities.

    Args:
        energies: sizes and scales.
        dt: seconds between samples.
    """
    damping, n = torch.as_tensor(energies.damping), len(energies.angles)

    def error(
        weights: torch.Tensor, context: torch.Tensor, q: torch.Tensor, v: torch.Tensor, force: torch.Tensor
    ) -> torch.Tensor:
        mass, inner = vmap(lambda a, b: mass_and_force(energies, weights, context, a, b))(q, v)
        if energies.frictional:
            inner = inner - damping * softplus(weights[-n:]) * v
        mean = (inner[0] + 4.0 * inner[1] + inner[2]) / 6.0 + force
        return torch.linalg.solve(mass[1], mass[2] @ v[2] - mass[0] @ v[0] - dt * mean)

    return error


def errors_at(
    error: Errors, weights: np.ndarray, contexts: np.ndarray, run: np.ndarray, data: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Of all samples, (N, n).

    Args:
        error: of one sample, (weights, context, *sample) -> (n,).
        weights: one vector.
        contexts: of each run, (runs, k).
        run: number of each sample's run, (N,).
        data: what describes the samples, (N, ...) each.
    """
    at = torch.as_tensor(weights), torch.as_tensor(contexts)
    return np.asarray(_all(error, *at, torch.as_tensor(run), _tensors(data)))


def _all(
    error: Errors, weights: torch.Tensor, contexts: torch.Tensor, run: torch.Tensor, data: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    return vmap(error, in_dims=(None, *([0] * (1 + len(data)))))(weights, contexts[run], *data)


def _tensors(data: tuple[np.ndarray, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.as_tensor(part) for part in data)


def fit_with_contexts(
    error: Errors,
    data: tuple[np.ndarray, ...],
    run: np.ndarray,
    weights: np.ndarray,
    contexts: np.ndarray,
    decay: float,
    steps: int,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Least squares over the weights and a context for each run, by Levenberg-Marquardt.

    The loss is the mean of the squared errors, plus the decay times the mean square of the weights and the mean squared
    distance of the contexts to their first values.

    Args:
        error: of one sample, (weights, context, *sample) -> (n,), of size 1.
        data: what describes the samples, (N, ...) each.
        run: number of each sample's run, (N,).
        weights: the first, one vector.
        contexts: the first, (runs, k).
        decay: of weights and contexts.
        steps: at most.

    Returns:
        weights, contexts and the number of steps.
    """
    count, k = len(weights), contexts.shape[1]
    samples, runs = _tensors(data), torch.as_tensor(run)
    x = torch.tensor(np.concatenate([weights, contexts.ravel()]))
    centre = torch.cat([torch.zeros(count, dtype=x.dtype), x[count:]])
    over = 1 + len(samples)

    def valued(w: torch.Tensor, c: torch.Tensor, *sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value = error(w, c, *sample)
        return value, value

    jacobians = vmap(jacrev(valued, argnums=(0, 1), has_aux=True), in_dims=(None, *([0] * over)))

    def split(at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return at[:count], at[count:].view(len(contexts), k)

    def loss(at: torch.Tensor) -> float:
        return float((_all(error, *split(at), runs, samples) ** 2).sum() + (prior * (at - centre) ** 2).sum())

    size = _all(error, *split(x), runs, samples).numel()
    spread = torch.full((len(contexts) * k,), decay * size / max(len(contexts) * k, 1), dtype=x.dtype)
    prior = torch.cat([torch.full((count,), decay * size / count, dtype=x.dtype), spread])

    def normal(at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gauss-Newton Hessian and gradient."""
        hessian, gradient = torch.diag(prior), prior * (at - centre)
        w, c = split(at)
        for start in range(0, len(runs), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            numbers = runs[part]
            (by_weights, by_context), errors = jacobians(w, c[numbers], *(s[part] for s in samples))
            jacobian = torch.zeros(*errors.shape, len(at), dtype=x.dtype)
            jacobian[:, :, :count] = by_weights
            for i in range(k):
                jacobian[torch.arange(len(numbers)), :, count + k * numbers + i] = by_context[:, :, i]
            jacobian = jacobian.flatten(0, 1)
            hessian = hessian.addmm(jacobian.T, jacobian)
            gradient = gradient + jacobian.T @ errors.flatten()
        return hessian, gradient

    damping, now, settled, done = 1e-2, loss(x), 0, 0
    for done in range(1, steps + 1):  # noqa: B007
        hessian, gradient = normal(x)
        while damping < 1e12:
            step = torch.linalg.solve(hessian + damping * torch.diag(torch.diag(hessian)), -gradient)
            tried = loss(x + step)
            if tried < now:
                break
            damping *= 4.0
        else:
            break
        settled = settled + 1 if now - tried < _SETTLED * now else 0
        x, now, damping = x + step, tried, max(damping / 5.0, 1e-9)
        if settled == 3:
            break
    end = x.numpy()
    return end[:count], end[count:].reshape(contexts.shape), done


def train(
    energies: Energies, data: tuple[np.ndarray, ...], run: np.ndarray, dt: float, size: np.ndarray, decay: float,
    steps: int, seed: int,
) -> tuple[Energies, np.ndarray, int]:  # fmt: skip
    """Energies with weights, the contexts (runs, k) of the training runs, and the number of steps.

    Args:
        energies: sizes and scales.
        data: q and v (N, 3, n) and force (N, n), as in :func:`sample_error`.
        run: number of each sample's run, (N,).
        dt: seconds between samples.
        size: (n,), of the errors if nothing is explained.
        decay: of weights and contexts before softplus.
        steps: of Levenberg-Marquardt, at most.
        seed: of the first weights.
    """
    error, scale = sample_error(energies, dt), torch.as_tensor(size)

    def scaled(weights: torch.Tensor, raw: torch.Tensor, *sample: torch.Tensor) -> torch.Tensor:
        return error(weights, softplus(raw), *sample) / scale

    first = np.full((int(run.max()) + 1, energies.contexts), _ONE)
    weights, raw, done = fit_with_contexts(scaled, data, run, energies.first(seed), first, decay, steps)
    return energies.replace(weights), np.logaddexp(0.0, raw), done
