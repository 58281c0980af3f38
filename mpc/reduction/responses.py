"""Responses over a horizon that do not depend on the measured state: to inputs, to noise, and to feedback gains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpc.reduction.model import AgentMode, MultiModalModel

__all__ = ["ModeResponse", "Responses", "responses"]


@dataclass(frozen=True, eq=False)
class ModeResponse:
    """One mode of one agent. The gains K_1 .. K_(N-1), each (m, n_k), are flattened to a vector of f numbers.

    Args:
        F: (N + 1, n_k, N q_k), deviation of the agent's state from its mean, per noise.
        R: (N + 1, n_e, N q_k, f), deviation of the ego's state, per noise and gain.
        S: (f, f), the expected cost of the feedback is k' S k / 2.
        entries: by sample t, row and column (entries,) of R[t] where it is not zero, and its values (n_e, entries).
    """

    F: np.ndarray
    R: np.ndarray
    S: np.ndarray
    entries: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]


@dataclass(frozen=True, eq=False)
class Responses:
    """The ego's nominal states are phi_t(x) + G[t] h for the inputs h (N m,).

    Args:
        powers: (N + 1, n_e, n_e) and drift: (N + 1, n_e), phi_t(x) = powers[t] x + drift[t].
        G: (N + 1, n_e, N m).
        modes: by agent and mode.
    """

    powers: np.ndarray
    drift: np.ndarray
    G: np.ndarray
    modes: tuple[tuple[ModeResponse, ...], ...]


def responses(model: MultiModalModel, horizon: int) -> Responses:
    """Computes all responses for a horizon of N samples."""
    A, B, N = model.A, model.B, horizon
    n, m = B.shape
    powers, drift = np.empty((N + 1, n, n)), np.zeros((N + 1, n))
    powers[0] = np.eye(n)
    G = np.zeros((N + 1, n, N, m))
    for t in range(N):
        powers[t + 1] = A @ powers[t]
        drift[t + 1] = A @ drift[t] + model.c
        G[t + 1] = np.einsum("ab,bik->aik", A, G[t])
        G[t + 1, :, t] = B
    modes = tuple(tuple(_mode(mode, G, model.cost.H) for mode in agent) for agent in model.modes)
    return Responses(powers, drift, G.reshape(N + 1, n, N * m), modes)


def _mode(mode: AgentMode, G: np.ndarray, H: np.ndarray) -> ModeResponse:
    N, (n, m) = len(G) - 1, G.shape[1::2]
    n_k, q = mode.L.shape
    per_sample = np.zeros((N + 1, n_k, N, q))
    for t in range(N):
        per_sample[t + 1] = np.einsum("ab,biq->aiq", mode.A, per_sample[t])
        per_sample[t + 1, :, t] = mode.L
    F = per_sample.reshape(N + 1, n_k, N * q)
    # e_t = sum_i G[t, :, i] K_i F[i]; the deviation is zero at i = 0, so there is no K_0.
    R = np.einsum("taib,icw->tawibc", G[:, :, 1:], F[1:N]).reshape(N + 1, n, N * q, (N - 1) * m * n_k)
    inputs = np.zeros((N, m, N * q, N - 1, m, n_k))
    for i in range(1, N):
        inputs[i, :, :, i - 1] = np.einsum("ab,cw->awbc", np.eye(m), F[i])
    z = np.concatenate([R[:N], inputs.reshape(N, m, *R.shape[2:])], axis=1)
    gains = z.shape[-1]
    weighted = np.einsum("ab,tbwf->tawf", H, z).reshape(z.size // max(gains, 1), gains)
    S = weighted.T @ z.reshape(weighted.shape)
    last = np.einsum("ab,bwf->awf", H[:n, :n], R[N]).reshape(R[N].size // max(gains, 1), gains)
    S += last.T @ R[N].reshape(last.shape)
    entries = []
    for t in range(N + 1):
        rows, columns = np.nonzero(np.abs(R[t]).max(axis=0))
        entries.append((rows, columns, R[t][:, rows, columns]))
    return ModeResponse(F, R, S, tuple(entries))
