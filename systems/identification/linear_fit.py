"""Linear plants from measured states, by least squares."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from systems.discretise import Discretisation
from systems.distributions import Gaussian, Uniform
from systems.errors import InvalidValue, expect
from systems.identification.grey_box import quantile
from systems.identification.poles import Poles
from systems.identification.runs import Runs
from systems.linear import LinearPlant
from systems.signals import Signal, Signals

__all__ = ["LinearFit", "errors_of", "expect_told_apart", "fit_linear", "plain"]


@final
@dataclass(frozen=True, eq=False)
class LinearFit:
    """x+ = A x + B u + c + w, fitted.

    Args:
        plant: discrete; its disturbance w is added to every state and has that state's unit.
        half_widths: (n, n + m + 1), of the 95 % intervals of [A, B, c].
        poles: of A, with intervals by the delta method.
        covariance: of w, (n, n).
        largest: absolute errors of each state, (n,).
        remarks: limitations of the fit, one sentence each.
    """

    plant: LinearPlant
    half_widths: np.ndarray
    poles: Poles
    covariance: np.ndarray
    largest: np.ndarray
    remarks: tuple[str, ...]

    @property
    def noise(self) -> str:
        """The assumed kind of errors."""
        return "process"

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of the errors of each state, (n,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @cached_property
    def sampling(self) -> Discretisation:
        """The discretised plant."""
        assert self.plant.dt is not None
        return Discretisation(self.plant, self.plant.dt)

    @property
    def disturbance(self) -> Gaussian:
        """The disturbance of a task with this plant: the errors of the fit."""
        return Gaussian(covariance_matrix=self.covariance)

    @property
    def bounded_disturbance(self) -> Uniform:
        """The smallest box about zero that holds all errors of the fit, for tubes and proofs: estimated, not proved."""
        return Uniform(-self.largest, self.largest)

    def __str__(self) -> str:
        lines = [f"x+ = A x + B u + c + w, {self.sampling.dt:g} s:", str(self.poles)]
        for signal, variance in zip(self.plant.state, np.diag(self.covariance), strict=True):
            lines.append(f"  {signal.name}: deviation {np.sqrt(variance):.3g} {signal.unit} per sample")
        return "\n".join([*lines, *(f"  note: {remark}" for remark in self.remarks)])


def fit_linear(runs: Runs) -> LinearFit:
    """The linear plant with the smallest one-step prediction errors, with intervals.

    Intervals and covariance assume states that are measured exactly and a disturbance that is independent from sample
    to sample (Ljung, 1999, appendix II). If only outputs are measured, or with errors, see :func:`fit_subspace`.

    Args:
        runs: measured states and inputs.

    Raises:
        InvalidValue: too few samples, or linearly dependent columns.
    """
    expect(runs, Runs, "the runs of a fit", "such as Runs(states, inputs, dt, state, input)")
    x, u, after = runs.transitions()
    n, m = len(runs.state), len(runs.input)
    regressors = np.hstack([x, u, np.ones((len(x), 1))])
    freedom = len(x) - regressors.shape[1]
    if freedom < 1:
        raise InvalidValue(
            f"{len(x)} samples for {regressors.shape[1]} coefficients per state; give more than twice as many samples"
        )
    expect_told_apart(regressors, (*runs.state.names, *runs.input.names, "the offset"))
    coefficients, *_ = np.linalg.lstsq(regressors, after, rcond=None)
    residuals = after - regressors @ coefficients
    covariance = residuals.T @ residuals / freedom
    inverse = np.linalg.inv(regressors.T @ regressors)
    half = quantile(freedom) * np.sqrt(np.outer(np.diag(covariance), np.diag(inverse)))
    a, b, c = coefficients[:n].T, coefficients[n : n + m].T, coefficients[-1]
    state, inputs = plain(runs.state), plain(runs.input)
    plant = LinearPlant(a, b, np.eye(n), c, runs.dt, state, inputs, errors_of(state))
    poles, largest = _poles(a, inverse[:n, :n], covariance, quantile(freedom)), np.abs(residuals).max(axis=0)
    return LinearFit(plant, half, poles, covariance, largest, runs.remarks)


def plain(declared: Signals) -> Signals:
    """The same names and units, neither periodic nor parts of quaternions, which linear plants do not know."""
    return Signals(dataclasses.replace(signal, period=np.inf, quaternion="") for signal in declared)


def errors_of(state: Signals) -> Signals:
    """A disturbance for each state, which is added to it at every sample: ``angle_error [rad]`` for ``angle [rad]``."""
    return Signals(Signal(f"{signal.name}_error", signal.unit) for signal in state)


def expect_told_apart(regressors: np.ndarray, names: tuple[str, ...]) -> None:
    """Refuses columns (samples, names) of which one is a combination of the others.

    Raises:
        InvalidValue: names those that are.
    """
    scale = np.linalg.norm(regressors, axis=0)
    for name, s in zip(names, scale, strict=True):
        if s == 0:
            raise InvalidValue(f"{name} is zero at all samples: its effect is unknown; excite it, or leave it out")
    _, values, rows = np.linalg.svd(regressors / scale, full_matrices=False)
    if values[-1] < 1e-9 * values[0]:
        share = np.abs(rows[-1])
        among = ", ".join(name for name, s in zip(names, share, strict=True) if s > 0.05 * share.max())
        raise InvalidValue(
            f"the runs do not tell {among} apart: at all samples one of them is a combination of the others, as a "
            "constant column or an input that is a linear feedback of the states; excite the input on its own, or "
            "leave a column out"
        )


def _poles(a: np.ndarray, inverse: np.ndarray, covariance: np.ndarray, times: float) -> Poles:
    """Eigenvalues of A with the first-order covariance that follows from that of its entries."""
    from scipy.linalg import eig  # slow to import

    values, left, right = eig(a, left=True, right=True)
    low, high = values.copy(), values.copy()
    for i, (y, z) in enumerate(zip(left.T.conj(), right.T, strict=True)):
        # The derivative of an eigenvalue by A is y z' / (y' z); rows of A have covariance[r, s] * inverse.
        slope = np.outer(y, z) / (y @ z)
        parts = np.array([slope.real.ravel(), slope.imag.ravel()])
        deviation = np.sqrt(np.maximum(np.diag(parts @ np.kron(covariance, inverse) @ parts.T), 0.0))
        half = times * (deviation[0] + 1j * deviation[1])
        low[i], high[i] = values[i] - half, values[i] + half
    return Poles(values, low, high)
