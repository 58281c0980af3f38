"""The semidefinite program of one mode: mean and covariance of state and input over a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ctrl.certify.semidefinite.solver import solve
from ctrl.controller import NotApplicable
from mpc.steering.affine_chances import AffinePlant, ChanceConstraint, QuadraticCost

__all__ = ["ModePlan", "steer"]

_SMALLEST = 1e-6  # least variance, relative to the mean one of its constraint, at which a root is linearised


@dataclass(frozen=True, eq=False)
class ModePlan:
    """u_k = v_k + K_k (x_k - m_k), and the resulting distribution N(m_k, S_k) of the state.

    Args:
        v: (steps, m). K: (steps, m, n). m: (steps + 1, n). S: (steps + 1, n, n), under these gains.
        gap: largest eigenvalue of Y - K S K' over that of Y; zero if the relaxation is tight.
    """

    v: np.ndarray
    K: np.ndarray
    m: np.ndarray
    S: np.ndarray
    gap: float

    def joint(self, k: int) -> np.ndarray:
        """Covariance (n + m, n + m) of state and input at sample k of the run."""
        gain = np.vstack([np.eye(self.S.shape[1]), self.K[k]])
        return np.asarray(gain @ self.S[k] @ gain.T)

    def expected(self, cost: QuadraticCost) -> float:
        """The expected sum of the stage costs."""
        total = float(cost.d.sum())
        for k, g in enumerate(cost.g):
            z = np.concatenate([self.m[k], self.v[k]])
            total += float(0.5 * z @ cost.H @ z + g @ z + 0.5 * np.trace(cost.H @ self.joint(k)))
        return total

    def variance(self, chance: ChanceConstraint, k: int) -> float:
        """The variance of a constraint's row at sample k, for a norm the largest in any direction."""
        n = self.S.shape[1]
        spread = self.joint(k) if k < len(self.K) else np.pad(self.S[k], (0, chance.C.shape[1] - n))
        return float(np.linalg.eigvalsh(chance.C @ spread @ chance.C.T)[-1])


def steer(
    plant: AffinePlant,
    cost: QuadraticCost,
    chances: tuple[ChanceConstraint, ...],
    start: tuple[np.ndarray, np.ndarray],
    target: tuple[np.ndarray, np.ndarray],
    around: ModePlan | None,
) -> ModePlan:
    """The plan of least expected cost from N(mean, covariance) to N(mean, covariance).

    With U_k = K_k S_k and Y_k >= K_k S_k K_k', state and input have the covariance [[S, U'], [U, Y]], in which cost and
    chance constraints are linear except for square roots of variances, sqrt(s) <= s / (2 sqrt(s0)) + sqrt(s0) / 2.

    Args:
        start, target: mean (n,) and covariance (n, n).
        around: the plan whose variances are s0; default: none, without chance constraints.

    Raises:
        NotApplicable: no plan was found.
    """
    import cvxpy as cp  # slow to import and only needed here

    n, m = plant.B.shape
    steps = len(cost.g)
    mean, v = cp.Variable((steps + 1, n)), cp.Variable((steps, m))
    joint = [cp.Variable((n + m, n + m), PSD=True) for _ in range(steps)]
    last = cp.Variable((n, n), symmetric=True)
    AB = np.hstack([plant.A, plant.B])
    rules: list[Any] = [mean[0] == start[0], joint[0][:n, :n] == start[1], mean[steps] == target[0], last == target[1]]
    total: Any = float(cost.d.sum())
    for k in range(steps):
        after = joint[k + 1][:n, :n] if k + 1 < steps else last
        rules += [mean[k + 1] == plant.A @ mean[k] + plant.B @ v[k] + plant.c]
        rules += [after == AB @ joint[k] @ AB.T + plant.noise]
        z = cp.hstack([mean[k], v[k]])
        total += 0.5 * cp.quad_form(z, cp.psd_wrap(cost.H)) + cost.g[k] @ z + 0.5 * cp.trace(cost.H @ joint[k])
    for chance in chances if around is not None else ():
        assert around is not None
        imposed = [k for k in range(steps + 1) if chance.is_imposed(k, steps)]
        variances = np.array([around.variance(chance, k) for k in imposed])
        for k, s0 in zip(imposed, np.maximum(variances, _SMALLEST * max(variances.mean(), 1e-12)), strict=True):
            C = chance.C if k < steps else chance.C[:, :n]
            spread = C @ (joint[k] if k < steps else last) @ C.T
            centre = C @ (cp.hstack([mean[k], v[k]]) if k < steps else mean[k]) - chance.d
            if chance.is_norm:
                s = cp.Variable()
                rules.append(s * np.eye(len(C)) - 0.5 * (spread + spread.T) >> 0)
                root = s / (2.0 * np.sqrt(s0)) + 0.5 * np.sqrt(s0)
                rules.append(cp.norm(centre) + chance.quantile * root <= 1.0)
            else:
                root = spread[0, 0] / (2.0 * np.sqrt(s0)) + 0.5 * np.sqrt(s0)
                rules.append(centre[0] + chance.quantile * root <= 0.0)
    status = solve(cp.Minimize(total), rules)
    if mean.value is None or status not in ("optimal", "optimal_inaccurate"):
        raise NotApplicable(
            f"no steering of the covariance was found: the program is {status}; give the run more samples, the target "
            "a larger covariance, which must exceed the noise of a sample, or the chance constraints less probability"
        )
    return _followed(plant, start, mean.value, v.value, [j.value for j in joint])


def _followed(
    plant: AffinePlant, start: tuple[np.ndarray, np.ndarray], mean: np.ndarray, v: np.ndarray, joint: list[np.ndarray]
) -> ModePlan:
    """The plan with the distribution that actually results from its inputs and gains."""
    n, steps = len(plant.A), len(v)
    K, m, S = np.empty((steps, v.shape[1], n)), np.empty((steps + 1, n)), np.empty((steps + 1, n, n))
    m[0], S[0], gap = *start, 0.0
    for k in range(steps):
        spread, U, Y = joint[k][:n, :n], joint[k][n:, :n], joint[k][n:, n:]
        K[k] = np.linalg.lstsq(spread, U.T, rcond=1e-10)[0].T
        loose = np.linalg.eigvalsh(Y - K[k] @ U.T)[-1]
        gap = max(gap, float(loose / max(np.linalg.eigvalsh(Y)[-1], 1e-9)))
        loop = plant.A + plant.B @ K[k]
        m[k + 1] = plant.A @ m[k] + plant.B @ v[k] + plant.c
        S[k + 1] = loop @ S[k] @ loop.T + plant.noise
    return ModePlan(np.array(v), K, m, S, gap)
