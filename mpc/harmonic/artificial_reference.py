"""MPC with an artificial reference: the prediction ends on a trajectory of the plant that is also optimised."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np

from ctrl.answers import NO_FORECAST
from ctrl.controller import NotApplicable
from ctrl.linearisation import expect_differentiable, linear_plant
from mpc.harmonic.conic_program import ConicProgram
from mpc.harmonic.outputs import Outputs, outputs
from mpc.harmonic.target import mean_of
from mpc.memory import expect_dense
from systems import InvalidValue, Quadratic, Task
from systems.arguments import expect_number
from systems.errors import expect
from systems.semidefinite import is_positive_definite

__all__ = [
    "OffsetWeights",
    "TrackingModel",
    "equality_program",
    "harmonic_program",
    "tracking_model",
    "tracking_program",
]


@dataclass(frozen=True, eq=False)
class TrackingModel:
    """The sampled plant x+ = A x + B u + c of a task, its bounded outputs, and the stage weights.

    Args:
        A: (n, n).
        B: (n, m).
        c: (n,).
        Q: (n, n).
        R: (m, m).
        S: (n, m), of the cross term 2 x' S u; default: none.
    """

    A: np.ndarray
    B: np.ndarray
    c: np.ndarray
    outputs: Outputs
    Q: np.ndarray
    R: np.ndarray
    S: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class OffsetWeights:
    """Weights of the distance between the artificial reference and its target, as in the papers; all symmetric and
    positive semidefinite.

    Args:
        Te: (n, n), of the mean of the state.
        Th: (n, n), of its amplitudes.
        Se: (m, m), of the mean of the input.
        Sh: (m, m), of its amplitudes.
    """

    Te: np.ndarray
    Th: np.ndarray
    Se: np.ndarray
    Sh: np.ndarray


def tracking_model(task: Task) -> TrackingModel:
    """The sampled plant of a task (linearised at its reference, or at the mean of a moving one), with its weights.

    Raises:
        NotApplicable: the cost is not quadratic, the plant has no derivative, an input costs nothing, or a
            constraint is not affine.
    """
    expect(task, Task, "the task of a controller", "such as systems.library.ball_and_plate_axis()")
    if task.plant.forecast is not None:
        names = ", ".join(task.plant.forecast.signals.names)
        raise NotApplicable(f"task '{task.name}': {NO_FORECAST.text.format(names=names)}")
    if not task.cost.is_distance:
        raise NotApplicable(f"task '{task.name}': its cost is not quadratic, which this controller needs")
    expect_differentiable(task)
    linear = linear_plant(task, *mean_of(task))
    Q, R, S = _weights(task)
    if not is_positive_definite(R):
        raise NotApplicable(f"task '{task.name}': an input has zero weight; give every input a positive weight in R")
    return TrackingModel(linear.A, linear.B, linear.c, outputs(task), Q, R, S)


def _weights(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Half the second derivatives of a quadratic stage cost: of the state, of the input, and the cross term."""
    n = len(task.plant.state)
    if isinstance(task.cost, Quadratic):
        Q, R, _ = task.cost.matrices(task.plant)
        return Q, R, None
    stage = task.stage_cost
    x, u, xr, ur = stage.sx_in()
    H = 0.5 * np.array(ca.DM(ca.evalf(ca.hessian(stage(x, u, xr, ur), ca.vertcat(x, u))[0])))
    return H[:n, :n], H[n:, n:], H[:n, n:]


def harmonic_program(
    system: TrackingModel, horizon: int, frequency: float, weights: OffsetWeights, eps: float
) -> ConicProgram:
    """Harmonic MPC (Krupa, Limon & Alamo, Harmonic based model predictive control for set-point tracking, 2022).

    The artificial reference is x_h(j) = x_e + x_s sin(w (j - N)) + x_c cos(w (j - N)), likewise u_h, and the prediction
    ends on it: x_N = x_e + x_c. The parameter is p = (x, x_re, u_re, x_rs, u_rs, x_rc, u_rc).
    """
    return _Writer(system, horizon, eps, parts=3).harmonic(frequency, weights)


def tracking_program(system: TrackingModel, horizon: int, weights: OffsetWeights, eps: float) -> ConicProgram:
    """MPC for tracking with an artificial steady state (Limon, Alvarado, Alamo & Camacho, 2008), with the end
    x_N = x_e.

    The parameter is p = (x, x_re, u_re).
    """
    return _Writer(system, horizon, eps, parts=1).steady(weights)


def equality_program(system: TrackingModel, horizon: int) -> ConicProgram:
    """MPC that ends at the reference state: x_N = x_re. The parameter is p = (x, x_re, u_re)."""
    return _Writer(system, horizon, 0.0, parts=0).fixed()


class _Writer:
    """Writes the rows of one program. z = (x_0, u_0, .., x_{N-1}, u_{N-1}, artificial parts (x, u) each)."""

    def __init__(self, system: TrackingModel, horizon: int, eps: float, parts: int) -> None:
        self.system, self.N, self.eps = system, horizon, expect_number(eps, "eps", least=0.0)
        self.n, self.m = system.B.shape
        self.k = self.n + self.m
        self.d = (horizon + parts) * self.k
        expect_dense(horizon, 3.0 * self.d**2)
        self.parts = parts
        at = np.arange(self.d)
        self.stage = at[: horizon * self.k].reshape(horizon, self.k)
        self.state_at, self.input_at = self.stage[:, : self.n], self.stage[:, self.n :]
        self.part = at[horizon * self.k :].reshape(parts, self.k)
        self.parameters = self.n + self.k * max(parts, 1)
        self.target = np.arange(self.n, self.parameters).reshape(max(parts, 1), self.k)
        joint = np.zeros((self.k, self.k))
        joint[: self.n, : self.n], joint[self.n :, self.n :] = system.Q, system.R
        if system.S is not None:
            joint[: self.n, self.n :], joint[self.n :, : self.n] = system.S, system.S.T
        self.root = _root(joint)
        self.residuals: list[tuple[np.ndarray, np.ndarray]] = []
        self.equalities: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def harmonic(self, w: float, weights: OffsetWeights) -> ConicProgram:
        mean, sine, cosine = self.part
        for j in range(self.N):
            phase = w * (j - self.N)
            parts = ((self.stage[j], 1.0), (mean, -1.0), (sine, -np.sin(phase)), (cosine, -np.cos(phase)))
            self._charge(self.root, *parts)
        self._offset(0, _root(_blocks(weights.Te, weights.Se)))
        for i in (1, 2):
            self._offset(i, _root(_blocks(weights.Th, weights.Sh)))
        n = self.n
        self._predict((mean[:n], np.eye(n)), (cosine[:n], np.eye(n)))
        self._steady_mean()
        A, B, c, s = self.system.A, self.system.B, np.cos(w), np.sin(w)
        turn = np.eye(n)
        self._equal((sine[:n], c * turn - A), (cosine[:n], -s * turn), (sine[n:], -B))
        self._equal((cosine[:n], c * turn - A), (sine[:n], s * turn), (cosine[n:], -B))
        out = self.system.outputs
        gain = np.hstack([out.E, out.F])
        D = np.zeros((3 * len(gain), self.d))
        for i, part in enumerate(self.part):
            D[i::3, part] = gain
        return self._program(np.zeros((0, self.d)), np.zeros(0), np.zeros(0), D, out.lower, out.upper)

    def steady(self, weights: OffsetWeights) -> ConicProgram:
        mean = self.part[0]
        for j in range(self.N):
            self._charge(self.root, (self.stage[j], 1.0), (mean, -1.0))
        self._offset(0, _root(_blocks(weights.Te, weights.Se)))
        self._predict((mean[: self.n], np.eye(self.n)))
        self._steady_mean()
        out = self.system.outputs
        C = np.zeros((len(out.E), self.d))
        C[:, mean] = np.hstack([out.E, out.F])
        return self._program(C, out.lower + self.eps, out.upper - self.eps)

    def fixed(self) -> ConicProgram:
        for j in range(self.N):
            self._charge(self.root, (self.stage[j], 1.0), target=self.target[0])
        self._predict(parameter=self.target[0][: self.n])
        return self._program(np.zeros((0, self.d)), np.zeros(0), np.zeros(0))

    def _charge(self, root: np.ndarray, *parts: tuple[np.ndarray, float], target: np.ndarray | None = None) -> None:
        """Adds |root (sum of factor z[where]  -  p[target])|^2 to the objective."""
        S, T = np.zeros((len(root), self.d)), np.zeros((len(root), self.parameters))
        for where, factor in parts:
            S[:, where] += factor * root
        if target is not None:
            T[:, target] = root
        self.residuals.append((S, T))

    def _offset(self, i: int, root: np.ndarray) -> None:
        self._charge(root, (self.part[i], 1.0), target=self.target[i])

    def _equal(
        self,
        *parts: tuple[np.ndarray, np.ndarray],
        constant: np.ndarray | None = None,
        parameter: np.ndarray | None = None,
        sign: float = 1.0,
    ) -> None:
        """Adds sum of matrix z[where] = constant + sign p[parameter]."""
        G, B = np.zeros((self.n, self.d)), np.zeros((self.n, self.parameters))
        for where, matrix in parts:
            G[:, where] += matrix
        if parameter is not None:
            B[:, parameter] = sign * np.eye(self.n)
        self.equalities.append((G, B, np.zeros(self.n) if constant is None else constant))

    def _predict(self, *end: tuple[np.ndarray, np.ndarray], parameter: np.ndarray | None = None) -> None:
        """The measured state, then the dynamics; the state after the last input is given by ``end`` or by a
        parameter."""
        A, B, c = self.system.A, self.system.B, self.system.c
        self._equal((self.state_at[0], np.eye(self.n)), parameter=np.arange(self.n))
        for j in range(self.N):
            blocks = ((self.state_at[j], -A), (self.input_at[j], -B))
            last = j == self.N - 1
            following = end if last else ((self.state_at[j + 1], np.eye(self.n)),)
            self._equal(*blocks, *following, constant=c, parameter=parameter if last else None, sign=-1.0)

    def _steady_mean(self) -> None:
        """The mean of the artificial reference stands still."""
        mean, n = self.part[0], self.n
        self._equal((mean[:n], np.eye(n) - self.system.A), (mean[n:], -self.system.B), constant=self.system.c)

    def _program(
        self,
        C: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
        D: np.ndarray | None = None,
        low: np.ndarray | None = None,
        high: np.ndarray | None = None,
    ) -> ConicProgram:
        """The outputs of every stage come first, then the rows C and the triples D of the artificial reference."""
        out = self.system.outputs
        gain = np.hstack([out.E, out.F])
        acts = np.abs(out.F).max(axis=1, initial=0.0) > 0
        rows, lows, highs = [], [], []
        for j in range(self.N):
            # No decision changes what depends on the measured state alone.
            chosen = acts if j == 0 else np.ones(len(gain), dtype=bool)
            block = np.zeros((int(chosen.sum()), self.d))
            block[:, self.stage[j]] = gain[chosen]
            rows.append(block)
            lows.append(out.lower[chosen])
            highs.append(out.upper[chosen])
        stage = (out.E[~acts], out.lower[~acts], out.upper[~acts])
        empty = np.zeros(0, dtype=int)
        part = [*self.part, empty, empty, empty]
        # eps keeps the artificial reference away from its bounds.
        low = np.zeros(0) if low is None else low + self.eps
        high = np.zeros(0) if high is None else high - self.eps
        if (np.concatenate([lower, low]) >= np.concatenate([upper, high])).any():
            raise InvalidValue(f"eps = {self.eps} leaves the artificial reference no room between its bounds; lower it")
        return ConicProgram(
            S=np.vstack([S for S, _ in self.residuals]),
            T=np.vstack([T for _, T in self.residuals]),
            t=np.zeros(sum(len(S) for S, _ in self.residuals)),
            G=np.vstack([G for G, _, _ in self.equalities]),
            B=np.vstack([B for _, B, _ in self.equalities]),
            b=np.concatenate([b for _, _, b in self.equalities]),
            C=np.vstack([*rows, C]),
            lower=np.concatenate([*lows, lower]),
            upper=np.concatenate([*highs, upper]),
            D=np.zeros((0, self.d)) if D is None else D,
            low=low,
            high=high,
            state_at=self.state_at,
            input_at=self.input_at,
            mean_at=part[0],
            sine_at=part[1],
            cosine_at=part[2],
            measured=stage,
        )


def _blocks(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    n, k = len(first), len(first) + len(second)
    joint = np.zeros((k, k))
    joint[:n, :n], joint[n:, n:] = first, second
    return joint


def _root(weight: np.ndarray) -> np.ndarray:
    """L with L'L = weight."""
    values, vectors = np.linalg.eigh(weight)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
