"""The response of the violation to the multiplier, e(k+1) = e(k) + A + B lam(k), given or identified online."""

from __future__ import annotations

from typing import Protocol, final

import numpy as np

from ctrl.multipliers.base import Stateful, expect_shape
from systems import DimensionMismatch, InvalidValue
from systems.arguments import expect_array, expect_number, expect_whole

__all__ = ["GivenModel", "ResponseModel", "ViolationModel"]


class ResponseModel(Protocol):
    """A model of how violations respond to multipliers, as :class:`Predictive` needs it.

    Attributes:
        drift: A (..., c), the change of the violation per step without multipliers.
        effect: B (..., c, c), symmetric and negative semidefinite: -step <grad g_i, grad g_j> of plain descent.
        error: (..., c), the violation to act on. delay: steps before a multiplier shows, 0 or 1.
    """

    drift: np.ndarray
    effect: np.ndarray
    error: np.ndarray
    delay: int

    def observe(self, violation: np.ndarray, multipliers: np.ndarray, known: np.ndarray) -> None:
        """Learns from a violation (..., c) and the multipliers applied before it; only rows ``known`` (...) count."""

    def restart(self) -> None:
        """A new run begins: the next violation does not follow from the last one."""

    def state_dict(self) -> dict[str, np.ndarray]: ...

    def _memory(self) -> dict[str, np.ndarray]: ...


@final
class GivenModel(Stateful):
    """A model given from outside, by a caller that knows the gradients of the descent it represents.

    Args:
        drift: A, broadcast to the shape. effect: B, (..., c, c), or (c,) or a number for a diagonal.
        shape: c or (..., c).
    """

    delay = 0

    def __init__(self, drift: float | np.ndarray, effect: float | np.ndarray, shape: int | tuple[int, ...] = 1) -> None:
        full = expect_shape(shape)
        self.drift, self.effect, self.error = np.zeros(full), np.zeros((*full, full[-1])), np.zeros(full)
        effect = expect_array(effect, "effect", infinite=True, nan=True)
        self.set(
            expect_array(drift, "drift", infinite=True, nan=True),
            effect if effect.ndim >= 2 else effect * np.eye(full[-1]),
        )

    def _memory(self) -> dict[str, np.ndarray]:
        return {"drift": self.drift, "effect": self.effect, "error": self.error}

    def set(self, drift: float | np.ndarray, effect: np.ndarray) -> None:
        """The model from now on; B is (..., c, c), negative semidefinite.

        Raises:
            InvalidValue: a positive diagonal, under which more multiplier would mean more violation.
        """
        try:
            self.drift[:], self.effect[:] = drift, effect
        except ValueError as error:
            raise DimensionMismatch(
                f"drift {np.shape(drift)}, effect {np.shape(effect)}; expected {self.drift.shape}, {self.effect.shape}"
            ) from error
        if (np.diagonal(self.effect, axis1=-2, axis2=-1) > 0).any():
            raise InvalidValue("the effect of a multiplier on its own violation is positive; expected B <= 0")

    def observe(self, violation: np.ndarray, multipliers: np.ndarray, known: np.ndarray) -> None:
        self.error[known] = violation[known]

    def restart(self) -> None:
        self.error[:] = 0.0


@final
class ViolationModel(Stateful):
    """A and B by recursive least squares with forgetting on the pairs (lam(k), e(k+1) - e(k)).

    Inner products of gradients give A and B of plain descent; under momentum, Adam or a line search they are wrong, and
    the drift changes as the run goes on. So both are identified. B is kept symmetric with no eigenvalue above -b_min,
    the sign it has for every descent method that works; with one constraint this is B <= -b_min. While the multipliers
    are constant, they carry no information about B, and the covariance would grow without bound; it is therefore not
    inflated beyond its initial value.

    Args:
        effect: first guess of B, a negative number for the diagonal. shape: c or (..., c).
        forgetting: weight of the last pair when the next one comes, in (0, 1].
        b_min: least effect of a multiplier on its own violation per step.
        max_drift_change: of A per step, in units of violation.
        covariance: first variance of A and B in units of that of a pair; large means quick to leave the first guess.
        delay: 1 where a violation is measured on what the last multiplier but one brought about, else 0.
        smoothing: share of the old value in the moving average of e that is acted and learned on, in [0, 1).
    """

    def __init__(
        self,
        effect: float,
        shape: int | tuple[int, ...] = 1,
        forgetting: float = 0.97,
        b_min: float = 1e-3,
        max_drift_change: float = np.inf,
        covariance: float = 100.0,
        delay: int = 0,
        smoothing: float = 0.0,
    ) -> None:
        expect_number(b_min, "b_min", above=0.0)
        expect_number(effect, "effect", most=-b_min, hint="which is -b_min")
        expect_number(forgetting, "forgetting", above=0.0, most=1.0, hint="such as 0.97")
        expect_number(max_drift_change, "max_drift_change", above=0.0, infinite=True)
        expect_number(covariance, "covariance", above=0.0)
        delay = expect_whole(delay, "delay", least=0, most=1)
        expect_number(smoothing, "smoothing", least=0.0, below=1.0, hint="the share of the old value")
        full = expect_shape(shape)
        c, batch = full[-1], full[:-1]
        self._first, self._covariance = effect, covariance
        self.forgetting, self.b_min, self.max_drift_change = forgetting, b_min, max_drift_change
        self.delay, self.smoothing = delay, smoothing
        self.drift, self.effect, self.error = np.zeros(full), np.zeros((*full, c)), np.zeros(full)
        self._free = np.zeros((*full, c + 1))  # A and B of least squares, before their sign is imposed
        self._p = np.zeros((*batch, c + 1, c + 1))
        self._applied = np.zeros((delay + 1, *full))  # the newest multipliers first
        self._consecutive = np.zeros(batch, dtype=int)  # violations without a gap
        self._begun = np.zeros(batch, dtype=bool)
        self.reset()

    def _memory(self) -> dict[str, np.ndarray]:
        return {
            "drift": self.drift,
            "effect": self.effect,
            "error": self.error,
            "estimate": self._free,
            "covariance": self._p,
            "applied": self._applied,
            "seen": self._consecutive,
            "begun": self._begun,
        }

    def reset(self) -> None:
        """Forgets all that was learned."""
        self.drift[:] = 0.0
        self.effect[:] = self._first * np.eye(self.effect.shape[-1])
        self._free[..., 0], self._free[..., 1:] = self.drift, self.effect
        self._p[:] = self._covariance * np.eye(self._p.shape[-1])
        self.restart()

    def restart(self) -> None:
        self.error[:], self._applied[:], self._consecutive[...], self._begun[...] = 0.0, 0.0, 0, False

    def observe(self, violation: np.ndarray, multipliers: np.ndarray, known: np.ndarray) -> None:
        keep = np.where(self._begun[..., None], self.smoothing, 0.0)
        error = keep * self.error + (1.0 - keep) * violation
        applied = np.concatenate([multipliers[None], self._applied[:-1]])
        learn = known & (self._consecutive > self.delay)
        if learn.any():
            self._learn((error - self.error)[learn], applied[-1][learn], learn)
        self._applied[:] = applied
        self.error[known] = error[known]
        # A gap breaks the chain of pairs: the next violation does not follow from the one before the gap by one step.
        self._consecutive[...] = np.where(known, self._consecutive + 1, 0)
        self._begun |= known

    def _learn(self, change: np.ndarray, applied: np.ndarray, rows: np.ndarray) -> None:
        phi = np.concatenate([np.ones((*applied.shape[:-1], 1)), applied], axis=-1)
        p = self._p[rows]
        filtered = np.einsum("...ij,...j->...i", p, phi)
        gain = filtered / (self.forgetting + np.einsum("...i,...i->...", filtered, phi))[..., None]
        free = self._free[rows]
        free = free + (change - np.einsum("...ij,...j->...i", free, phi))[..., :, None] * gain[..., None, :]
        self._free[rows] = free
        p = p - gain[..., :, None] * filtered[..., None, :]
        trace = np.trace(p, axis1=-2, axis2=-1)
        most = self._covariance * phi.shape[-1]
        p *= np.minimum(1.0 / self.forgetting, np.maximum(most / trace, 1.0))[..., None, None]
        self._p[rows] = 0.5 * (p + np.swapaxes(p, -1, -2))
        effect = _negative(free[..., 1:], self.b_min)
        # With the sign imposed on B, A is what keeps the prediction at the present multipliers.
        drift = free[..., 0] + np.einsum("...ij,...j->...i", free[..., 1:] - effect, applied)
        limit = self.max_drift_change
        self.drift[rows] += np.clip(drift - self.drift[rows], -limit, limit)
        self.effect[rows] = effect


def _negative(matrix: np.ndarray, floor: float) -> np.ndarray:
    """The nearest symmetric matrices (Frobenius norm) with eigenvalues of at most -floor (Higham, 1988)."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + np.swapaxes(matrix, -1, -2)))
    return np.einsum("...ij,...j,...kj->...ik", vectors, np.minimum(values, -floor), vectors)
