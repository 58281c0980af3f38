"""The feedback that keeps a disturbed plant near its nominal prediction."""

from __future__ import annotations

import numpy as np

from ctrl.regulator import NotStabilisable
from systems import DimensionMismatch
from systems.arguments import expect_array

__all__ = ["tube_gain"]


def tube_gain(A: np.ndarray, B: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The gain whose stationary error covariance has the smallest trace, by semidefinite programming.

    min trace E subject to [[E - S, A E + B Y], [(A E + B Y)', E]] >= 0, with E >= (A - B K) E (A - B K)' + S for K = -Y
    E^-1 (Hewing & Zeilinger, 2018). Inputs are not weighted, so the gain is more aggressive than a regulator's.

    Args:
        A: (n, n).
        B: (n, m).
        covariance: S (n, n) of the noise of one sample.

    Returns:
        K (m, n), with u = -K x.

    Raises:
        NotStabilisable: no stabilising gain exists, or the solver found none.
        DimensionMismatch, InvalidValue: matrices whose shapes do not fit, or that are not numbers.
    """
    import cvxpy as cp

    A, B, covariance = (expect_array(a, name) for a, name in ((A, "A"), (B, "B"), (covariance, "covariance")))
    if B.ndim != 2:
        raise DimensionMismatch(f"B has shape {B.shape}; expected (n, m); write a column as [[1.0], [2.0]]")
    n, m = np.shape(B)
    if np.shape(A) != (n, n) or np.shape(covariance) != (n, n):
        raise DimensionMismatch(f"A {np.shape(A)}, B {np.shape(B)}, covariance {np.shape(covariance)} do not fit")
    size = float(np.trace(covariance)) / n
    # Scaled to trace n, and with a little noise in every state, without which E might be singular.
    S = np.asarray(covariance) / size if size > 0 else np.eye(n)
    S = S + 1e-6 * np.eye(n)
    E, Y = cp.Variable((n, n), symmetric=True), cp.Variable((m, n))
    ahead = A @ E + B @ Y
    problem = cp.Problem(cp.Minimize(cp.trace(E)), [cp.bmat([[E - S, ahead], [ahead.T, E]]) >> 0])
    try:
        problem.solve(cp.CLARABEL)
    except cp.SolverError as error:
        raise NotStabilisable(f"no tube gain found: {error}") from error
    if E.value is None or Y.value is None:
        raise NotStabilisable(f"no tube gain found: the program is {problem.status}; is the plant stabilisable?")
    K = -np.linalg.solve(E.value.T, Y.value.T).T
    if not np.abs(np.linalg.eigvals(A - B @ K)).max(initial=0.0) < 1.0:
        raise NotStabilisable("the tube gain found does not stabilise the plant; give one, such as that of lqr(...)")
    return K
