"""The parametric cone program of an MPC, and its reduction to a projection in the free coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from ctrl.controller import NotApplicable

__all__ = ["ConicProgram", "Projection", "reduce"]


@dataclass(frozen=True, eq=False)
class ConicProgram:
    """min |S z - T p - t|^2  subject to  G z = B p + b,  lower <= C z <= upper,  |(s, c)| <= high - e, e - low.

    The parameter p = (x, r) consists of the measured state and the reference. The first n rows of G require that the
    first predicted state is the measured one.

    Args:
        S: (residuals, d).
        T: (residuals, len(p)).
        t: (residuals,).
        G: (equalities, d).
        B: (equalities, len(p)).
        b: (equalities,).
        C: (rows, d).
        lower, upper: (rows,), infinite where there is no bound.
        D: (3 cones, d), its triples (e, s, c).
        low, high: (cones,), infinite where there is no bound.
        state_at: (horizon, n) and input_at: (horizon, m), indices into z. The state after them is the end of the
            prediction.
        mean_at, sine_at, cosine_at: (n + m,) indices of the artificial reference in z, empty where there is none.
        measured: (k, n) matrix and its lower and upper bounds (k,): the conditions on the measured state alone, which
            no decision can change; they matter for the feasible set only.
    """

    S: np.ndarray
    T: np.ndarray
    t: np.ndarray
    G: np.ndarray
    B: np.ndarray
    b: np.ndarray
    C: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    D: np.ndarray
    low: np.ndarray
    high: np.ndarray
    state_at: np.ndarray
    input_at: np.ndarray
    mean_at: np.ndarray
    sine_at: np.ndarray
    cosine_at: np.ndarray
    measured: tuple[np.ndarray, np.ndarray, np.ndarray]

    def cones(self) -> tuple[np.ndarray, np.ndarray]:
        """Matrix (3 k, d) and vector (3 k,), such that right - matrix z lies in k second-order cones: the triples of
        finite upper bounds, then those of finite lower bounds."""
        rows, right = [np.zeros((0, self.D.shape[1]))], [np.zeros(0)]
        for bound, sign in ((self.high, 1.0), (self.low, -1.0)):
            for i in np.flatnonzero(np.isfinite(bound)):
                e, s, c = self.D[3 * i : 3 * i + 3]
                rows.append(np.array([sign * e, -s, -c]))
                right.append(np.array([sign * bound[i], 0.0, 0.0]))
        return np.vstack(rows), np.concatenate(right)

    def cost(self, z: np.ndarray, parameter: np.ndarray) -> float:
        """Objective at z (d,)."""
        residual = self.S @ z - self.T @ parameter - self.t
        return float(residual @ residual)


@dataclass(frozen=True, eq=False)
class Projection:
    """min |v|^2 / 2  subject to  lower <= J v + O p + o <= upper  and cones over triples of rows; z = Z v + Y p + y.

    v is the distance, measured by the objective, from the optimum without inequality constraints; the equality
    constraints hold for every v. The objective exceeds its value at v = 0 by |v|^2 / 2.

    Args:
        J: (rows + 3 cones, f), scaled so that the half-width of a two-sided row is 1.
        O: (rows + 3 cones, len(p)).
        o: (rows + 3 cones,).
        lower, upper: (rows,).
        low, high: (cones,). All of them scaled alike.
        Z: (d, f).
        Y: (d, len(p)).
        y: (d,).
    """

    J: np.ndarray
    O: np.ndarray  # noqa: E741  # the matrix whose vector is o
    o: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    low: np.ndarray
    high: np.ndarray
    Z: np.ndarray
    Y: np.ndarray
    y: np.ndarray


def reduce(program: ConicProgram) -> Projection:
    """Eliminates all equality constraints by an orthonormal null space, and the objective by a change of coordinates.

    Orthogonal factorisations of the whole prediction, and no powers of A, keep this accurate for unstable plants.

    Raises:
        NotApplicable: the equality constraints cannot be met from every state, or the optimum is not unique.
    """
    G, S = program.G, program.S
    equalities, d = G.shape
    q, r, order = linalg.qr(G.T, pivoting=True)
    scale = np.abs(np.diag(r)) if equalities <= d else np.zeros(1)
    if scale.min(initial=np.inf) <= 1e-10 * scale.max(initial=1.0):
        raise NotApplicable(
            "not every state can reach an artificial reference within the horizon: the plant is not controllable, or "
            "the horizon is shorter than its controllability index"
        )
    null = q[:, equalities:]
    weighted, triangle = linalg.qr(S @ null, mode="economic")
    scale = np.abs(np.diag(triangle))
    if len(triangle) < null.shape[1] or scale.min(initial=np.inf) <= 1e-9 * scale.max(initial=1.0):
        raise NotApplicable(
            "the optimum is not unique: some direction of plan or artificial reference has no cost; give every input "
            "a positive weight R, and every state that can rest anywhere (a position) a positive weight in Q or Te"
        )
    right = np.column_stack([program.B, program.b])
    met = q[:, :equalities] @ linalg.solve_triangular(r[:equalities].T, right[order], lower=True)
    target = np.column_stack([program.T, program.t]) - S @ met
    best = met + null @ linalg.solve_triangular(triangle, weighted.T @ target)
    Z = linalg.solve_triangular(triangle.T, null.T, lower=True).T / np.sqrt(2.0)

    row_width = _half_width(program.lower, program.upper)
    cone_width = _half_width(program.low, program.high)
    outputs = np.vstack([program.C, program.D]) / np.concatenate([row_width, np.repeat(cone_width, 3)])[:, None]
    offset = outputs @ best
    return Projection(
        np.ascontiguousarray(outputs @ Z),
        offset[:, :-1],
        offset[:, -1],
        program.lower / row_width,
        program.upper / row_width,
        program.low / cone_width,
        program.high / cone_width,
        np.ascontiguousarray(Z),
        best[:, :-1],
        best[:, -1],
    )


def _half_width(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    width = 0.5 * (upper - lower)
    return np.where(np.isfinite(width) & (width > 0), width, 1.0)
