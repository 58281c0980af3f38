"""Validation of a fit on held-out runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

import numpy as np

from systems.arguments import expect_whole
from systems.discretise import Discretisation
from systems.errors import DimensionMismatch, InvalidValue, expect
from systems.identification.grey_box import likeliest
from systems.identification.runs import Runs
from systems.identification.segments import Prediction, Segments, cut
from systems.signals import Signals
from systems.statistics import LEVEL, Rate
from systems.style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Fit", "Validation", "validate"]

_LAGS = 5
_ROWS = 200  # of which correlations are computed at once
_QUANTILE = 1.96


class Fit(Protocol):
    """A fitted plant with a description of its errors, such as :class:`ParameterFit` or :class:`ResidualFit`.

    Attributes:
        sampling: the plant from sample to sample.
        noise: "measurement" or "process": where the errors enter.
        deviations: their standard deviation for each state, (n,).
    """

    @property
    def sampling(self) -> Discretisation: ...

    @property
    def noise(self) -> str: ...

    @property
    def deviations(self) -> np.ndarray: ...


@final
@dataclass(frozen=True, eq=False)
class Validation:
    """The report of a fit.

    Args:
        state: signals.
        dt: seconds between samples.
        errors: (horizon + 1, n), root mean square of measured minus predicted state after 0, 1, ... samples, from
            measured states.
        changes: (horizon + 1, n), the same for the prediction that the state does not change.
        correlations: (lags, n), of errors that many samples apart, in standard deviations of what white errors give.
        whiteness: (n,), probability that white errors are correlated as much or more; below 0.05, the errors contain
            systematic effects.
        coverage: for each state, the share of errors in the fit's 95 % interval.
        runs: the held-out runs.
        predictions: for each run the states predicted over the horizon, again from measured ones at its end.
    """

    state: Signals
    dt: float
    errors: np.ndarray
    changes: np.ndarray
    correlations: np.ndarray
    whiteness: np.ndarray
    coverage: tuple[Rate, ...]
    runs: Runs
    predictions: tuple[np.ndarray, ...]

    def __str__(self) -> str:
        last = len(self.errors) - 1
        lines = [f"{len(self.runs)} runs held out, {self.runs.samples} samples of {self.dt:g} s"]
        for i, (signal, rate) in enumerate(zip(self.state, self.coverage, strict=True)):
            low, high = rate.interval
            lines.append(
                f"  {signal.name} [{signal.unit}]: error {self.errors[1, i]:.3g} after 1 sample (no change: "
                f"{self.changes[1, i]:.3g}), {self.errors[-1, i]:.3g} after {last} ({self.changes[-1, i]:.3g}); white "
                f"with p = {self.whiteness[i]:.2g}; {rate.k} of {rate.n} in the {LEVEL:.0%} interval ({low:.1%} to "
                f"{high:.1%})"
            )
        return "\n".join(lines)

    def figure(self) -> Figure:
        """A held-out run with its predictions, and the growth of the errors over the horizon, for each state."""
        import matplotlib.style
        from matplotlib.figure import Figure

        n, horizon = len(self.state), len(self.errors) - 1
        measured, predicted = self.runs.states[0], self.predictions[0]
        time, ahead = self.dt * np.arange(len(measured)), self.dt * np.arange(1, horizon + 1)
        with matplotlib.style.context(STYLE):
            page = Figure(figsize=(2.6 * n + 0.6, 4.4), layout="constrained")
            axes = page.subplots(2, n, squeeze=False)
            for i, signal in enumerate(self.state):
                top, bottom = axes[:, i]
                top.plot(time, measured[:, i], color="0.6", linewidth=3.0, label="measured")
                for k, start in enumerate(range(0, len(measured) - 1, horizon)):
                    # A prediction begins at the measured state, which the predicted run holds from the one before.
                    part = np.concatenate(
                        [measured[start : start + 1, i], predicted[start + 1 : start + horizon + 1, i]]
                    )
                    piece = time[start : start + len(part)]
                    top.plot(piece, part, color="C0", label=f"predicted, {horizon} samples" if k == 0 else None)
                top.set(title=signal.name, xlabel="time [s]", ylabel=f"{signal.name} [{signal.unit}]")
                bottom.plot(ahead, self.errors[1:, i], color="C0", label="fit")
                bottom.plot(ahead, self.changes[1:, i], color="0.6", label="no change")
                bottom.set(xlabel="time ahead [s]", ylabel=f"root mean square error [{signal.unit}]", yscale="log")
                bottom.set_title(f"white with p = {self.whiteness[i]:.2g}")
            axes[0, 0].legend()
            axes[1, 0].legend()
        return page


def validate(fit: Fit, runs: Runs, horizon: int = 20) -> Validation:
    """One-step and multi-step errors of a fit on held-out runs, their whiteness, and the coverage of its intervals.

    The tested errors are those that the fit assumed to be random: with process noise, the one-step errors; with
    measurement noise, measured minus simulated states from the initial state that fits a segment best, corrected for
    the correlation that this choice causes.

    Args:
        fit: of :func:`fit_parameters`, :func:`fit_linear`, :func:`fit_sparse` or :func:`fit_residual`.
        runs: held out from the fit; see :meth:`Runs.split`.
        horizon: samples of the longest prediction; default: 20.

    Raises:
        DimensionMismatch: runs of other signals, or another sample time.
        InvalidValue: runs that are shorter than the horizon.
    """
    expect(runs, Runs, "the held-out runs", "such as the second result of runs.split()")
    horizon = expect_whole(horizon, "horizon", least=1, unit="samples")
    for what in ("sampling", "noise", "deviations"):
        if not hasattr(fit, what):
            raise InvalidValue(
                f"{type(fit).__name__} has no {what}; give a fit of measured states, such as fit_parameters(...) gives"
            )
    sampling, plant = fit.sampling, fit.sampling.plant
    for role in ("state", "input"):
        given, own = ([str(signal) for signal in getattr(thing, role)] for thing in (runs, plant))
        if given != own:
            raise DimensionMismatch(f"the {role} of the runs is {', '.join(given)}; the fit has {', '.join(own)}")
    if abs(runs.dt - sampling.dt) > 1e-2 * sampling.dt:
        raise DimensionMismatch(f"runs sampled every {runs.dt:g} s; the fit is for {sampling.dt:g} s: resample them")
    predict, none = Prediction(sampling.function()), np.zeros(0)
    pieces = cut(runs, horizon, overlap=True)
    if pieces[0].inputs.shape[1] < horizon:
        raise InvalidValue(f"no held-out run has {horizon} samples; give longer runs, or a shorter horizon")
    whole = pieces[0]
    predicted = predict.states(whole.states[:, 0], whole.inputs, none)
    errors = runs.state.deviation(whole.states, predicted)
    changes = runs.state.deviation(whole.states, whole.states[:, :1])
    residuals, projections = _tested(fit, runs, predict, horizon)
    correlations = _correlations(residuals, projections)
    from scipy.stats import chi2  # slow to import

    whiteness = chi2.sf((correlations**2).sum(axis=0), len(correlations))
    with np.errstate(over="ignore", invalid="ignore"):
        sizes, no_change = (np.sqrt((part**2).mean(axis=0)) for part in (errors, changes))
    over_runs = tuple(_over_run(predict, x, u, horizon) for x, u in zip(runs.states, runs.inputs, strict=True))
    coverage = _coverage(fit, residuals, projections)
    return Validation(
        runs.state, runs.dt, sizes, no_change, correlations, np.asarray(whiteness), coverage, runs, over_runs
    )


def _over_run(predict: Prediction, x: np.ndarray, u: np.ndarray, horizon: int) -> np.ndarray:
    parts = [
        predict.states(x[k : k + 1], u[None, k : k + horizon], np.zeros(0))[0, 1:] for k in range(0, len(u), horizon)
    ]
    return np.concatenate([x[:1], *parts])


def _tested(fit: Fit, runs: Runs, predict: Prediction, horizon: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Errors that should be white, (rows, n) for each piece, and the covariance of those of each state there,
    (n, rows, rows), if errors are white with variance 1."""
    none = np.zeros(0)
    if fit.noise == "process":
        residuals = []
        for x, u in zip(runs.states, runs.inputs, strict=True):
            after = predict.states(x[:-1], u[:, None, :], none)[:, 1]
            errors = runs.state.deviation(x[1:], after)
            residuals += np.array_split(errors, 1 + len(errors) // _ROWS)
        return residuals, [np.broadcast_to(np.eye(len(e)), (e.shape[1], len(e), len(e))) for e in residuals]
    pieces = cut(runs, horizon)
    minimum, deviations = likeliest(predict, runs, pieces, none, np.zeros((2, 0)), "measurement")
    residuals, projections = [], []
    for piece, starts, errors in zip(pieces, minimum.starts, minimum.errors, strict=True):
        residuals += list(errors)
        projections += _projections(predict, piece, starts, deviations)
    return residuals, projections


def _projections(predict: Prediction, piece: Segments, starts: np.ndarray, deviations: np.ndarray) -> list[np.ndarray]:
    """What choosing the start leaves of white errors: I - J (J'J)^-1 J', the blocks of each state, for each piece."""
    _, dx, _ = predict.sensitivities(starts, piece.inputs, np.zeros(0))
    count, rows, n, _ = dx.shape
    q, _ = np.linalg.qr((dx / deviations[:, None]).reshape(count, rows * n, n))
    by_state = q.reshape(count, rows, n, n).transpose(0, 2, 1, 3)  # (pieces, states, rows, columns of q)
    return list(np.eye(rows) - by_state @ by_state.transpose(0, 1, 3, 2))


def _correlations(residuals: Sequence[np.ndarray], projections: Sequence[np.ndarray]) -> np.ndarray:
    """Sums of products of errors 1, 2, ... samples apart, less their mean, over their deviation, (lags, n)."""
    n = residuals[0].shape[1]
    score = np.zeros((_LAGS, n))
    for i in range(n):
        freedom = sum(float(np.trace(m[i])) for m in projections)
        variance = sum(float((e[:, i] ** 2).sum()) for e in residuals) / max(freedom, 1.0)
        for lag in range(1, _LAGS + 1):
            products, mean, spread = 0.0, 0.0, 0.0
            for e, m in zip(residuals, projections, strict=True):
                if len(e) <= lag:
                    continue
                products += float(e[:-lag, i] @ e[lag:, i])
                mean += float(np.trace(m[i], offset=lag))
                shifted = np.zeros_like(m[i])  # m S, with S the mean of a shift by the lag and its transpose
                shifted[:, lag:] += 0.5 * m[i][:, :-lag]
                shifted[:, :-lag] += 0.5 * m[i][:, lag:]
                spread += 2.0 * float(np.sum(shifted * shifted.T))
            if variance > 0.0 and spread > 0.0:
                score[lag - 1, i] = (products / variance - mean) / np.sqrt(spread)
    return score


def _coverage(fit: Fit, residuals: Sequence[np.ndarray], projections: Sequence[np.ndarray]) -> tuple[Rate, ...]:
    rates = []
    for i, deviation in enumerate(fit.deviations):
        share = np.concatenate([np.sqrt(np.maximum(np.diag(m[i]), 0.0)) for m in projections])
        errors = np.concatenate([e[:, i] for e in residuals])
        informative = share > 1e-6  # an error that the choice of the start takes away entirely tells nothing
        inside = np.abs(errors[informative]) <= _QUANTILE * float(deviation) * share[informative]
        rates.append(Rate(int(inside.sum()), int(informative.sum())))
    return tuple(rates)
