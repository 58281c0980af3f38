"""Equations from data: sparse regression over candidate terms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import casadi as ca
import numpy as np

from systems.arguments import expect_number, expect_seed, expect_whole
from systems.discretise import Discretisation
from systems.errors import InvalidValue, expect
from systems.identification.grey_box import information_inverse, likeliest, quantile
from systems.identification.learned_plant import LearnedPlant
from systems.identification.linear_fit import expect_told_apart
from systems.identification.runs import Runs
from systems.identification.segments import Prediction, cut
from systems.identification.terms import Terms, named_terms
from systems.identification.weak_form import weak_form
from systems.lowering import lower
from systems.signals import Signals
from systems.statistics import LEVEL

__all__ = ["SparseFit", "fit_sparse"]


@final
@dataclass(frozen=True, eq=False)
class SparseFit:
    """x' = coefficients times terms of x and u, with few terms.

    Args:
        plant: continuous, without disturbance.
        terms: names of the candidates.
        coefficients: (n, terms), 0 where a term is left out.
        half_widths: (n, terms), of the 95 % intervals of the coefficients that are kept.
        shares: (n, terms), in how many of the resampled fits a term was kept.
        deviations: (n,), standard deviation of the errors of measurement.
        dt: seconds between the samples of the data.
        remarks: limitations of the fit, one sentence each.
    """

    plant: LearnedPlant
    terms: tuple[str, ...]
    coefficients: np.ndarray
    half_widths: np.ndarray
    shares: np.ndarray
    deviations: np.ndarray
    dt: float
    remarks: tuple[str, ...]

    @property
    def noise(self) -> str:
        """The assumed kind of errors."""
        return "measurement"

    @cached_property
    def sampling(self) -> Discretisation:
        """The discretised plant."""
        return Discretisation(self.plant, self.dt)

    @property
    def equations(self) -> tuple[str, ...]:
        """One for each state, such as ``x2' = -1.002 (+- 0.004) x1 + 0.998 (+- 0.006) force``."""
        lines = []
        for name, row, half in zip(self.plant.state.names, self.coefficients, self.half_widths, strict=True):
            text = ""
            for term, value, width in zip(self.terms, row, half, strict=True):
                if value:
                    sign = " - " if value < 0 else " + " if text else ""
                    shown = f"{abs(value):.4g} (+- {width:.2g})" + ("" if term == "1" else f" {term}")
                    text += (sign if text else sign.strip()) + shown
            lines.append(f"{name}' = {text or '0'}")
        return tuple(lines)

    def __str__(self) -> str:
        lines = [*self.equations, f"(+-: {LEVEL:.0%})"]
        return "\n".join([*lines, *(f"note: {remark}" for remark in self.remarks)])


def fit_sparse(
    runs: Runs,
    terms: Terms,
    threshold: float = 0.05,
    window: int = 20,
    draws: int = 50,
    horizon: int = 20,
    input_limits: tuple[tuple[float, float], ...] = (),
    seed: int = 0,
) -> SparseFit:
    """Differential equations with few terms, from states measured with errors.

    Terms are selected by sequentially thresholded least squares (Brunton, Proctor & Kutz, 2016, SINDy) on the weak form
    of the equations, for resampled windows of the data (Fasel et al., 2022): a term stays if at least half of the fits
    keep it. The coefficients are then estimated by maximum likelihood, as in :func:`fit_parameters`, with intervals; a
    term whose interval contains 0 is dropped, the least certain first.

    Args:
        runs: measured states and inputs.
        terms: the candidates, such as ``polynomials(3)`` or ``lambda x, u: (x.rate, ca.sin(x.angle), u.torque)``.
        threshold: root mean square of a term's contribution, relative to that of the derivative, below which it is
            left out; default: 0.05.
        window: samples of a window of the weak form: short enough for the fastest change, long enough to average the
            noise; default: 20.
        draws: number of resampled fits; default: 50.
        horizon: samples of a piece in the likelihood; see :func:`fit_parameters`; default: 20.
        input_limits: of the plant, one (lower, upper) per input; default: none.
        seed: of the resampling; default: 0.

    Raises:
        InvalidValue: too few samples, or terms that are linearly dependent in the runs.
    """
    expect(runs, Runs, "the runs of a fit", "such as Runs(states, inputs, dt, state, input)")
    threshold = expect_number(threshold, "threshold", least=0.0, below=1.0)
    half = expect_whole(window, "window", least=4, unit="samples") // 2
    draws, horizon = expect_whole(draws, "draws", least=1), expect_whole(horizon, "horizon", least=2, unit="samples")
    names, function = named_terms(terms, runs.state, runs.input)
    evaluated = lower(function, to="numpy")

    def values(x: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.broadcast_to(evaluated(x, u), (len(x), len(names)))

    regressors, targets = weak_form(runs, values, half, every=max(1, half // 2))
    if len(regressors) < 2 * len(names):
        raise InvalidValue(
            f"{len(regressors)} windows of {2 * half} samples for {len(names)} terms; give more or longer runs, a "
            "shorter window, or fewer terms"
        )
    if not np.isfinite(regressors).all():
        bad = names[int(np.argmin(np.isfinite(regressors).all(axis=0)))]
        raise InvalidValue(f"the term {bad} is not finite at all samples; leave it out")
    expect_told_apart(regressors, names)
    rng, kept = np.random.default_rng(expect_seed(seed)), []
    for _ in range(draws):
        chosen = rng.integers(len(regressors), size=len(regressors))
        kept.append(_thresholded(regressors[chosen], targets[chosen], threshold))
    shares = np.mean(kept, axis=0)
    active = shares >= 0.5
    first = _restricted(regressors, targets, active)
    coefficients, halves, deviations = _refined(runs, function, first, active, horizon)
    equations = ca.Function("learned", [*function.sx_in(), ca.SX(0, 1)], [_sum(function, ca.SX(coefficients))])
    plant = LearnedPlant(equations, runs.state, runs.input, Signals(), input_limits=input_limits)
    return SparseFit(plant, names, coefficients, halves, shares, deviations, runs.dt, runs.remarks)


def _sum(function: ca.Function, coefficients: ca.SX) -> ca.SX:
    """The right-hand side, in the symbols of ``function``."""
    return ca.sparsify(coefficients) @ function(*function.sx_in())


def _thresholded(regressors: np.ndarray, targets: np.ndarray, threshold: float) -> np.ndarray:
    """Which terms each equation keeps, (n, terms) of bool."""
    size = np.sqrt((regressors**2).mean(axis=0))
    rates = np.sqrt((targets**2).mean(axis=0))
    active = np.ones((targets.shape[1], regressors.shape[1]), dtype=bool)
    for _ in range(regressors.shape[1]):
        contribution = np.abs(_restricted(regressors, targets, active)) * size
        smaller = active & (contribution >= threshold * rates[:, None])
        if (smaller == active).all():
            break
        active = smaller
    return active


def _restricted(regressors: np.ndarray, targets: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Least squares with the terms of each equation that are active, (n, terms)."""
    coefficients = np.zeros(active.shape)
    for i, chosen in enumerate(active):
        if chosen.any():
            coefficients[i, chosen] = np.linalg.lstsq(regressors[:, chosen], targets[:, i], rcond=None)[0]
    return coefficients


def _refined(
    runs: Runs, function: ca.Function, first: np.ndarray, active: np.ndarray, horizon: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients of maximum likelihood, half widths of their intervals, and deviations of the noise."""
    pieces, (x, u), w = cut(runs, horizon), function.sx_in(), ca.SX(0, 1)
    rest = ca.Function("rest", [x, u, w], [ca.SX.zeros(*x.shape)])
    sampling = Discretisation(LearnedPlant(rest, runs.state, runs.input, Signals()), runs.dt)
    active, first = active.copy(), first.copy()
    while True:
        rows, columns = np.nonzero(active)
        p = ca.SX.sym("p", len(rows))
        coefficients = ca.SX.zeros(*active.shape)
        for k, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            coefficients[i, j] = p[k]
        source = ca.Function("source", [x, u, w, p], [_sum(function, coefficients)])
        after = sampling.stepper(source)(x, u, w, p)
        predict = Prediction(ca.Function("step", [x, u, w, p], [after]))
        unbounded = np.array([[-np.inf], [np.inf]]) * np.ones(len(rows))
        minimum, deviations = likeliest(predict, runs, pieces, first[active], unbounded, "measurement")
        names = [f"coefficient {k}" for k in range(len(rows))]
        covariance = information_inverse(minimum, names)
        halves, first = np.zeros(active.shape), np.zeros(active.shape)
        halves[active] = quantile(minimum.freedom) * np.sqrt(np.diag(covariance))
        first[active] = minimum.parameters
        certainty = np.full(active.shape, np.inf)
        certainty[active] = np.abs(first[active]) / np.maximum(halves[active], 1e-300)
        if certainty.min() >= 1.0:
            return first, halves, deviations
        active[np.unravel_index(certainty.argmin(), active.shape)] = False
        first[~active] = 0.0
