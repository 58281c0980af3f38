"""MPC with an artificial reference: the prediction must end on a trajectory of the plant that is itself optimised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrl.answers import EXACT, Announced, Answer, Answers, Refused
from ctrl.controller import NotApplicable
from ctrl.linearisation import expect_differentiable, linear_plant
from mpc.harmonic.conic_program import ConicProgram
from mpc.harmonic.outputs import Outputs, outputs
from mpc.harmonic.target import mean_of
from mpc.nonlinear.transcription import check_horizon, expect_dense
from mpc.online import DOMAIN, HELD_AS_HARD, UNDISTURBED
from systems import InvalidValue, Quadratic, Task
from systems.arguments import expect_number
from systems.errors import expect
from systems.reading import Part

MOST_CHANGE = 0.25  # of the derivatives along a reference, at which one linearisation no longer serves the run

__all__ = [
    "FITTED",
    "STANDING",
    "Model",
    "OffsetWeights",
    "answers",
    "check_horizon",
    "equality_program",
    "harmonic_program",
    "model",
    "tracking_program",
]


@dataclass(frozen=True, eq=False)
class Model:
    """What the predictions of a task rest on: x+ = A x + B u + c, its outputs, and the stage weights.

    Args:
        A: (n, n). B: (n, m). c: (n,). Q: (n, n). R: (m, m).
    """

    A: np.ndarray
    B: np.ndarray
    c: np.ndarray
    outputs: Outputs
    Q: np.ndarray
    R: np.ndarray


@dataclass(frozen=True, eq=False)
class OffsetWeights:
    """Prices of the distance between artificial and wanted reference, as in the papers: (Te, Se) of the mean, (Th, Sh)
    of the amplitudes. Te, Th are (n, n); Se, Sh are (m, m); all symmetric and positive semidefinite."""

    Te: np.ndarray
    Th: np.ndarray
    Se: np.ndarray
    Sh: np.ndarray


def model(task: Task) -> Model:
    """The sampled plant of a task (linearised where its reference stands, or at the mean of it), with its weights.

    Raises:
        NotApplicable: the cost is not quadratic, the plant has no derivative, an input costs nothing, or a
            constraint is not affine.
    """
    expect(task, Task, "the task of a controller", "such as systems.library.ball_and_plate_axis()")
    if not isinstance(task.cost, Quadratic):
        raise NotApplicable(f"task '{task.name}': its cost is not quadratic, which this controller needs")
    expect_differentiable(task)
    linear = linear_plant(task, *mean_of(task))
    Q, R, _ = task.cost.matrices(task.plant)
    if np.linalg.eigvalsh(R).min(initial=np.inf) <= 0:
        raise NotApplicable(f"task '{task.name}': an input costs nothing; give every input a positive weight in R")
    return Model(linear.A, linear.B, linear.c, outputs(task), Q, R)


FITTED = Announced("fits the reference ahead by a sinusoid where it is none of its frequency")
STANDING = Announced("takes the reference of each sample as if it stood still")


def answers(moving: Answer) -> Answers:
    """How controllers that end on an artificial reference take each part of a task.

    Args:
        moving: a reference that moves.
    """
    return Answers(
        {
            Part.NONLINEAR_PLANT: Announced("takes {names} as its linearisation"),
            Part.KINKED_PLANT: Announced("takes {names} in the plant by the slopes at the linearisation"),
            Part.SINGULAR_PLANT: EXACT,  # refused by model
            Part.MOVING_REFERENCE: moving,
            Part.VARYING_LINEARISATION: _varying,
            Part.COST_ELSEWHERE: EXACT,  # the artificial reference goes where the reference cannot be kept
            Part.REFERENCE_OUTSIDE: EXACT,
            Part.NON_QUADRATIC_COST: EXACT,  # refused by model
            Part.KINKED_COST: EXACT,
            Part.TERMINAL_COST: Refused(
                "it has a terminal cost, which a prediction that ends on an artificial reference does not take; leave "
                "it out, or use the linear or the nonlinear MPC"
            ),
            Part.HARD: EXACT,
            Part.SOFT: Announced("holds the soft {names} as hard"),
            Part.CHANCE: HELD_AS_HARD,
            Part.BUDGET: HELD_AS_HARD,
            Part.EXCESS_BUDGET: Refused(
                "the budget of {names} counts by how much it is exceeded, which this controller does not; use the "
                "nonlinear MPC"
            ),
            Part.NONLINEAR_CONSTRAINT: EXACT,  # refused by affine_conditions
            Part.KINKED_CONSTRAINT: EXACT,
            Part.DISTURBANCE: EXACT,
            Part.BIASED_DISTURBANCE: UNDISTURBED,
            Part.PERIODIC: EXACT,
            Part.DOMAIN: DOMAIN,
        }
    )


def _varying(task: Task) -> Answer:
    """One linearisation serves a whole run as long as the derivatives hardly change along the reference."""
    change = task.reading.linearisation_change
    if change > MOST_CHANGE:
        return Refused(
            f"along its reference the derivatives of the plant change by {100 * change:.0f} % and this controller "
            "linearises once; use LinearMPC, LQR or NonlinearMPC"
        )
    return Announced(f"linearises once, though the derivatives change by {100 * change:.2g} % along the reference")


def harmonic_program(system: Model, horizon: int, frequency: float, weights: OffsetWeights, eps: float) -> ConicProgram:
    """Harmonic MPC (Krupa, Limon & Alamo, Harmonic based model predictive control for set-point tracking, 2022).

    The artificial reference is x_h(j) = x_e + x_s sin(w (j - N)) + x_c cos(w (j - N)), likewise u_h, and the prediction
    ends on it: x_N = x_e + x_c. The parameter is p = (x, x_re, u_re, x_rs, u_rs, x_rc, u_rc).
    """
    return _Writer(system, horizon, eps, parts=3).harmonic(frequency, weights)


def tracking_program(system: Model, horizon: int, weights: OffsetWeights, eps: float) -> ConicProgram:
    """MPC for tracking with an artificial steady state (Limon, Alvarado, Alamo & Camacho, 2008), with the end
    x_N = x_e.

    The parameter is p = (x, x_re, u_re).
    """
    return _Writer(system, horizon, eps, parts=1).steady(weights)


def equality_program(system: Model, horizon: int) -> ConicProgram:
    """MPC that ends at the wanted state: x_N = x_re. The parameter is p = (x, x_re, u_re)."""
    return _Writer(system, horizon, 0.0, parts=0).fixed()


class _Writer:
    """Writes the rows of one program. z = (x_0, u_0, .., x_{N-1}, u_{N-1}, artificial parts (x, u) each)."""

    def __init__(self, system: Model, horizon: int, eps: float, parts: int) -> None:
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
        self.wanted = np.arange(self.n, self.parameters).reshape(max(parts, 1), self.k)
        joint = np.zeros((self.k, self.k))
        joint[: self.n, : self.n], joint[self.n :, self.n :] = system.Q, system.R
        self.root = _root(joint)
        self.residuals: list[tuple[np.ndarray, np.ndarray]] = []
        self.equalities: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def harmonic(self, w: float, weights: OffsetWeights) -> ConicProgram:
        mean, sine, cosine = self.part
        for j in range(self.N):
            phase = w * (j - self.N)
            parts = ((self.stage[j], 1.0), (mean, -1.0), (sine, -np.sin(phase)), (cosine, -np.cos(phase)))
            self._price(self.root, *parts)
        self._offset(0, _root(_blocks(weights.Te, weights.Se)))
        for i in (1, 2):
            self._offset(i, _root(_blocks(weights.Th, weights.Sh)))
        n = self.n
        self._predict((mean[:n], np.eye(n)), (cosine[:n], np.eye(n)))
        self._rest()
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
            self._price(self.root, (self.stage[j], 1.0), (mean, -1.0))
        self._offset(0, _root(_blocks(weights.Te, weights.Se)))
        self._predict((mean[: self.n], np.eye(self.n)))
        self._rest()
        out = self.system.outputs
        C = np.zeros((len(out.E), self.d))
        C[:, mean] = np.hstack([out.E, out.F])
        return self._program(C, out.lower + self.eps, out.upper - self.eps)

    def fixed(self) -> ConicProgram:
        for j in range(self.N):
            self._price(self.root, (self.stage[j], 1.0), wanted=self.wanted[0])
        self._predict(parameter=self.wanted[0][: self.n])
        return self._program(np.zeros((0, self.d)), np.zeros(0), np.zeros(0))

    def _price(self, root: np.ndarray, *parts: tuple[np.ndarray, float], wanted: np.ndarray | None = None) -> None:
        """Adds |root (sum of factor z[where]  -  p[wanted])|^2 to the objective."""
        S, T = np.zeros((len(root), self.d)), np.zeros((len(root), self.parameters))
        for where, factor in parts:
            S[:, where] += factor * root
        if wanted is not None:
            T[:, wanted] = root
        self.residuals.append((S, T))

    def _offset(self, i: int, root: np.ndarray) -> None:
        self._price(root, (self.part[i], 1.0), wanted=self.wanted[i])

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
            now = ((self.state_at[j], -A), (self.input_at[j], -B))
            last = j == self.N - 1
            following = end if last else ((self.state_at[j + 1], np.eye(self.n)),)
            self._equal(*now, *following, constant=c, parameter=parameter if last else None, sign=-1.0)

    def _rest(self) -> None:
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
