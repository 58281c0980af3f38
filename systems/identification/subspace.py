"""Linear plants from inputs and outputs, by a subspace method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from systems.arguments import expect_seed, expect_whole
from systems.discretise import Discretisation
from systems.distributions import Gaussian
from systems.errors import InvalidValue, expect
from systems.identification.linear_fit import errors_of, expect_told_apart, plain
from systems.identification.poles import Poles, nearest_order
from systems.identification.runs import Runs
from systems.linear import LinearPlant
from systems.measurement import Measurement
from systems.signals import Vector, signals

__all__ = ["SubspaceFit", "fit_subspace"]

_QUANTILE = 1.96


@final
@dataclass(frozen=True, eq=False)
class SubspaceFit:
    """x+ = A x + B u + c + w, y = C x + d + v, fitted to u and y; the coordinates of x are balanced.

    Args:
        plant: discrete, with the states x1, x2, ...; w is added to each.
        C: (p, n). d: (p,). K: (n, p), the gain of the predictor in innovations form.
        innovations: their covariance, (p, p).
        process: covariance of w, (n, n), and ``output``: of v, (p, p), independent of each other: those whose Kalman
            filter comes nearest to K and to the innovations.
        output: see ``process``.
        poles: of A with intervals by the parametric bootstrap.
        singular_values: of the weighted Hankel matrix, by which an order is chosen: those after a gap are noise.
        outputs: signals of y.
        remarks: limitations of the fit, one sentence each.
    """

    plant: LinearPlant
    C: np.ndarray
    d: np.ndarray
    K: np.ndarray
    innovations: np.ndarray
    process: np.ndarray
    output: np.ndarray
    poles: Poles
    singular_values: np.ndarray
    outputs: Any
    remarks: tuple[str, ...]

    @cached_property
    def sampling(self) -> Discretisation:
        """The discretised plant."""
        assert self.plant.dt is not None
        return Discretisation(self.plant, self.plant.dt)

    @property
    def disturbance(self) -> Gaussian:
        """Of a task with this plant."""
        return Gaussian(covariance_matrix=self.process)

    @property
    def measurement(self) -> Measurement:
        """Of a task with this plant, which estimators read."""
        matrix, offset = self.C, self.d

        def outputs(x: Vector, u: Vector) -> Any:
            return ca.vertsplit(ca.SX(matrix) @ x.column + ca.SX(offset))

        return Measurement(self.outputs, outputs, noise=Gaussian(covariance_matrix=self.output))

    def __str__(self) -> str:
        lines = [f"order {len(self.plant.A)}, {self.sampling.dt:g} s:", str(self.poles)]
        for signal, variance in zip(self.outputs, np.diag(self.innovations), strict=True):
            lines.append(f"  {signal.name}: predicted to a deviation of {np.sqrt(variance):.3g} {signal.unit}")
        return "\n".join([*lines, *(f"  note: {remark}" for remark in self.remarks)])


@dataclass(frozen=True, eq=False)
class _Innovations:
    """x+ = A x + B u + c + K e, y = C x + d + e, with the states of every run at its first predicted sample."""

    A: np.ndarray
    B: np.ndarray
    c: np.ndarray
    C: np.ndarray
    d: np.ndarray
    K: np.ndarray
    covariance: np.ndarray
    singular_values: np.ndarray
    starts: np.ndarray


def fit_subspace(runs: Runs, order: int, lags: int = 10, draws: int = 100, seed: int = 0) -> SubspaceFit:
    """A state-space model of given order from inputs and outputs, by predictor-based subspace identification.

    A long autoregression gives the predictor's Markov parameters, the singular values of their Hankel matrix a state
    sequence, and two regressions the matrices (Chiuso, 2007, "The role of vector autoregressive modeling in
    predictor-based subspace identification"); data from a closed loop are admissible. Poles get intervals from fits to
    simulated runs of the fitted model under the same inputs, corrected for bias (Efron & Tibshirani, 1993).

    Args:
        runs: whose *states* are the outputs y that were measured.
        order: number of states.
        lags: samples of the autoregression; more for slow observer poles and noisy outputs; default: 10.
        draws: of the bootstrap; default: 100.
        seed: of the bootstrap; default: 0.

    Raises:
        InvalidValue: an order too high for the lags, too few samples, or inputs without sufficient excitation.
    """
    expect(runs, Runs, "the runs of a fit", "such as Runs(outputs, inputs, dt, outputs, input)")
    p, m = len(runs.state), len(runs.input)
    lags = expect_whole(lags, "lags", least=2, unit="samples")
    order = expect_whole(order, "order", least=1, most=(lags // 2) * p, hint="at most half the lags times the outputs")
    draws, seed = expect_whole(draws, "draws", least=20), expect_seed(seed)
    outputs, inputs = list(runs.states), list(runs.inputs)
    usable = sum(max(0, len(u) - lags) for u in inputs)
    if usable <= 2 * lags * (p + m):
        raise InvalidValue(
            f"{usable} samples beyond the first {lags} of each run for {lags * (p + m) + 1} coefficients; give more or "
            "longer runs, or fewer lags"
        )
    model = _identified(outputs, inputs, order, lags, check=(runs.state.names, runs.input.names))
    rng, values = np.random.default_rng(seed), np.linalg.eigvals(model.A)
    drawn = []
    for _ in range(draws):
        again = np.linalg.eigvals(_identified(_simulated(model, outputs, inputs, lags, rng), inputs, order, lags).A)
        drawn.append(again[nearest_order(values, again)])
    centre = 2.0 * values - np.mean(drawn, axis=0)
    half = _QUANTILE * (np.std(np.real(drawn), axis=0, ddof=1) + 1j * np.std(np.imag(drawn), axis=0, ddof=1))
    process, output = _independent(model)
    state = signals(*[f"x{i + 1}" for i in range(order)])
    plant = LinearPlant(model.A, model.B, np.eye(order), model.c, runs.dt, state, plain(runs.input), errors_of(state))
    return SubspaceFit(
        plant, model.C, model.d, model.K, model.covariance, process, output,
        Poles(values, centre - half, centre + half), model.singular_values, plain(runs.state), runs.remarks,
    )  # fmt: skip


def _past(y: np.ndarray, u: np.ndarray, lags: int) -> np.ndarray:
    """Rows [y_{k-1}, u_{k-1}, ..., y_{k-lags}, u_{k-lags}] for k = lags, ..., samples."""
    z = np.hstack([y[: len(u)], u])
    return np.hstack([z[lags - i : len(z) - i + 1] for i in range(1, lags + 1)])


def _identified(
    outputs: list[np.ndarray], inputs: list[np.ndarray], order: int, lags: int, check: Any = None
) -> _Innovations:
    long = [(y, u) for y, u in zip(outputs, inputs, strict=True) if len(u) > lags]
    p = outputs[0].shape[1]
    pasts = [_past(y, u, lags) for y, u in long]
    past = np.concatenate(pasts)
    regressors = np.hstack([past, np.ones((len(past), 1))])
    if check is not None:
        names = [f"{name} {i} samples before" for i in range(1, lags + 1) for name in (*check[0], *check[1])]
        expect_told_apart(regressors, (*names, "the offset"))
    y = np.concatenate([y[lags:] for y, _ in long])
    markov = np.linalg.lstsq(regressors, y, rcond=None)[0][:-1].T  # (p, lags * (p + m))
    width = markov.shape[1] // lags
    hankel = np.zeros((lags * p, lags * width))
    for j in range(lags):  # row j predicts y_{k+j} from what was known at k; later terms have decayed
        hankel[j * p : (j + 1) * p, : (lags - j) * width] = markov[:, j * width :]
    centred = past - past.mean(axis=0)
    root = np.linalg.qr(centred, mode="r") / np.sqrt(len(past))
    left, values, _ = np.linalg.svd(hankel @ root.T, full_matrices=False)
    to_state = (left[:, :order] / np.sqrt(values[:order])).T @ hankel
    states = [z @ to_state.T for z in pasts]
    x = np.concatenate([s[:-1] for s in states])
    ones = np.ones((len(x), 1))
    now = np.concatenate([y[lags:-1] for y, _ in long])
    output_map = np.linalg.lstsq(np.hstack([x, ones]), now, rcond=None)[0].T
    e = now - np.hstack([x, ones]) @ output_map.T
    u = np.concatenate([u[lags:] for _, u in long])
    after = np.concatenate([s[1:] for s in states])
    state_map = np.linalg.lstsq(np.hstack([x, u, e, ones]), after, rcond=None)[0].T
    n, m = order, u.shape[1]
    a, b, k, c = state_map[:, :n], state_map[:, n : n + m], state_map[:, n + m : -1], state_map[:, -1]
    starts = np.array([s[0] for s in states])
    return _Innovations(
        a, b, c, output_map[:, :-1], output_map[:, -1], k, e.T @ e / max(1, len(e) - n - 1), values, starts
    )


def _simulated(
    model: _Innovations, outputs: list[np.ndarray], inputs: list[np.ndarray], lags: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Outputs of the fitted model under the same inputs; the first samples of a run are those that were measured."""
    values, vectors = np.linalg.eigh(model.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn, starts = [], iter(model.starts)
    for y, u in zip(outputs, inputs, strict=True):
        if len(u) <= lags:
            drawn.append(y)
            continue
        x, new = next(starts), y.copy()
        noise = rng.standard_normal((len(y), y.shape[1])) @ root.T
        for k in range(lags, len(y)):
            new[k] = model.C @ x + model.d + noise[k]
            if k < len(u):
                x = model.A @ x + model.B @ u[k] + model.c + model.K @ noise[k]
        drawn.append(new)
    return drawn


def _independent(model: _Innovations) -> tuple[np.ndarray, np.ndarray]:
    """Covariances of independent w and v whose stationary Kalman filter comes nearest to K and the innovations."""
    from scipy.linalg import solve_discrete_are
    from scipy.optimize import least_squares

    (n, p), (rows, columns) = model.K.shape, np.tril_indices(model.K.shape[0])
    out_rows, out_columns = np.tril_indices(p)
    scale = np.sqrt(np.diag(model.covariance))
    spread = np.sqrt(np.trace(model.K @ model.covariance @ model.K.T) / n) or 1.0

    def covariances(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        root, out = np.zeros((n, n)), np.zeros((p, p))
        root[rows, columns] = spread * theta[: len(rows)]
        out[out_rows, out_columns] = theta[len(rows) :]
        out *= scale[:, None]
        return root @ root.T, out @ out.T + 1e-9 * np.diag(scale**2)

    def mismatch(theta: np.ndarray) -> np.ndarray:
        q, r = covariances(theta)
        try:
            prior = solve_discrete_are(model.A.T, model.C.T, q + 1e-12 * spread**2 * np.eye(n), r)
        except (np.linalg.LinAlgError, ValueError):
            return np.full(n * p + p * p, 1e3)
        innovations = model.C @ prior @ model.C.T + r
        gain = np.linalg.solve(innovations, model.C @ prior @ model.A.T).T
        change = (gain - model.K) * scale / spread
        return np.concatenate([change.ravel(), ((innovations - model.covariance) / np.outer(scale, scale)).ravel()])

    start = np.concatenate([np.eye(n)[rows, columns], 0.7 * np.eye(p)[out_rows, out_columns]])
    return covariances(least_squares(mismatch, start, max_nfev=100).x)
