"""Fits parameters of a hand-written plant to data, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from systems.arguments import expect_choice, expect_names, expect_whole
from systems.discretise import Discretisation, Integrator
from systems.errors import DimensionMismatch, InvalidValue, UnknownName, expect
from systems.identification.least_squares import Minimum, minimise
from systems.identification.runs import Runs
from systems.identification.segments import Prediction, Segments, cut
from systems.plant import Plant
from systems.statistics import LEVEL, Estimate

__all__ = [
    "Noise",
    "ParameterFit",
    "expect_runs",
    "fit_parameters",
    "information_inverse",
    "likeliest",
    "quantile",
]

Noise = Literal["measurement", "process"]
_PASSES = 20  # in which the deviations of the noise settle
_SETTLED = 1e-3


@final
@dataclass(frozen=True, eq=False)
class ParameterFit:
    """A plant whose parameters were fitted.

    Args:
        plant: with the fitted values.
        parameters: value and 95 % interval by name, from the Gauss-Newton approximation of the Hessian.
        covariance: of the estimates, (len(parameters),) * 2.
        noise: the assumed kind of errors: measurement or process noise.
        deviations: (n,), standard deviation of these errors for each state.
        sampling: the discretisation used for predictions.
        iterations: of the last minimisation.
        remarks: limitations of the fit, one sentence each.
    """

    plant: Plant
    parameters: dict[str, Estimate]
    covariance: np.ndarray
    noise: Noise
    deviations: np.ndarray
    sampling: Discretisation
    iterations: int
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.plant.name}, {self.noise} noise:"]
        for name, e in self.parameters.items():
            lines.append(f"  {name} = {e.value:.5g} ({LEVEL:.0%}: {e.low:.5g} to {e.high:.5g})")
        for signal, deviation in zip(self.plant.state, self.deviations, strict=True):
            lines.append(f"  {signal.name}: deviation {deviation:.3g} {signal.unit}")
        return "\n".join([*lines, *(f"  note: {remark}" for remark in self.remarks)])


def fit_parameters(
    plant: Plant,
    runs: Runs,
    parameters: Sequence[str],
    noise: Noise = "measurement",
    horizon: int = 20,
    integrator: Integrator = "rk4",
    substeps: int = 1,
) -> ParameterFit:
    """Fits parameters of a plant to runs by maximum likelihood with Gaussian errors.

    With *measurement noise*, the runs are cut into segments of ``horizon`` samples, and the undisturbed plant is
    simulated over each from an initial state that is also estimated (the output-error method of Ljung, 1999, section
    7.3, in multiple shooting). With *process noise*, the state is measured exactly and disturbed at every sample: the
    one-step prediction errors are minimised. Standard deviations of the errors are estimated for each state.

    Args:
        plant: nominal; its values are the initial guess. The declared range of a parameter is respected.
        runs: measured states and inputs with the signals of the plant.
        parameters: names of those to fit.
        noise: "measurement" or "process"; default: "measurement".
        horizon: samples of a segment, with measurement noise; shorter for unstable plants, longer for slow effects;
            default: 20.
        integrator: as of :class:`Discretisation`; default: "rk4".
        substeps: as of :class:`Discretisation`; default: 1.

    Raises:
        UnknownName: not a parameter of the plant.
        DimensionMismatch: other signals than the plant's.
        InvalidValue: too few data, parameters that the data do not identify, or a plant that diverges.
    """
    expect(plant, Plant, "the plant of a fit", "such as CartPole()")
    expect_runs(runs, plant)
    names = expect_names(parameters, "parameters to fit")
    if not names:
        raise InvalidValue("no parameters to fit; name some, such as ('mass',)")
    for name in names:
        if name not in plant.parameters:
            raise UnknownName.among(name, plant.parameters, f"parameter of {plant.name}")
    expect_choice(noise, "noise", ("measurement", "process"))
    samples = expect_whole(horizon, "horizon", least=1, unit="samples") if noise == "measurement" else 1
    sampling = Discretisation(plant, runs.dt, integrator, substeps)
    pieces = cut(runs, samples, overlap=noise == "process")
    first = np.array([float(plant.parameters[name]) for name in names])
    bounds = np.array([_range(plant, name) for name in names]).T
    predict = Prediction(sampling.function(names))
    minimum, deviations = likeliest(predict, runs, pieces, first, bounds, noise)
    covariance = information_inverse(minimum, names)
    half = quantile(minimum.freedom) * np.sqrt(np.diag(covariance))
    values = dict(zip(names, minimum.parameters.tolist(), strict=True))
    estimates = {
        name: Estimate(value, value - float(h), value + float(h))
        for (name, value), h in zip(values.items(), half, strict=True)
    }
    fitted = plant.with_parameters(values)
    ended = sampling.replace(fitted)
    remarks = (*runs.remarks, *_at_bounds(values, half, bounds))
    return ParameterFit(fitted, estimates, covariance, noise, deviations, ended, minimum.iterations, remarks)


def expect_runs(runs: Any, plant: Plant) -> None:
    """Refuses what are not runs of this plant.

    Raises:
        InvalidValue: not runs. DimensionMismatch: of other signals.
    """
    expect(runs, Runs, "the runs of a fit", "such as Runs(states, inputs, dt, plant.state, plant.input)")
    for role in ("state", "input"):
        given, expected = getattr(runs, role), getattr(plant, role)
        if given != expected:
            raise DimensionMismatch(
                f"the {role} of the runs is {', '.join(map(str, given))}; {plant.name} has "
                f"{', '.join(map(str, expected))}; give the columns in this order and these units"
            )


def quantile(freedom: int) -> float:
    """Of Student's t, for a two-sided interval."""
    from scipy.stats import t  # slow to import

    return float(t.ppf(0.5 + 0.5 * LEVEL, freedom))


def likeliest(
    predict: Prediction,
    runs: Runs,
    pieces: Sequence[Segments],
    first: np.ndarray,
    bounds: np.ndarray,
    noise: Noise,
) -> tuple[Minimum, np.ndarray]:
    """The minimum of the likelihood, and the deviations of the errors, (n,), which settle in alternation."""
    spread = np.concatenate(runs.states).std(axis=0)
    smallest = 1e-9 * np.where(spread > 0, spread, 1.0)  # data without noise leave deviations of rounding
    deviations = np.where(spread > 0, spread, 1.0)
    minimum = None
    for _ in range(_PASSES):
        starts = [piece.states[:, 0] for piece in pieces] if minimum is None else minimum.starts
        at = first if minimum is None else minimum.parameters
        minimum = minimise(predict, runs.state, pieces, starts, at, bounds, deviations, free=noise == "measurement")
        rows = noise == "process"  # the first row of a piece is then its start, not an error
        errors = np.concatenate([e[:, rows:].reshape(-1, len(spread)) for e in minimum.errors])
        before, share = deviations, errors.size / minimum.freedom
        deviations = np.maximum(np.sqrt(share * (errors**2).mean(axis=0)), smallest)
        if (np.abs(deviations - before) <= _SETTLED * before).all():
            break
    assert minimum is not None
    return minimum, deviations


def _range(plant: Plant, name: str) -> tuple[float, float]:
    """Where a parameter may lie, by its declaration."""
    field = next(field for field in dataclasses.fields(plant) if field.name == name)  # type: ignore[arg-type]
    limits = field.metadata.get("range") or {}
    low = [limits[key] for key in ("above", "least") if limits.get(key) is not None]
    high = [limits[key] for key in ("below", "most") if limits.get(key) is not None]
    return max(low, default=-np.inf), min(high, default=np.inf)


def _at_bounds(values: dict[str, float], half: np.ndarray, bounds: np.ndarray) -> list[str]:
    """A sentence for each estimate that ended at the end of its range."""
    remarks = []
    for i, (name, value) in enumerate(values.items()):
        near = bounds[:, i][np.abs(bounds[:, i] - value) <= 1e-2 * half[i]]
        if near.size:
            remarks.append(
                f"{name} ended at {near[0]:g}, the end of its declared range: its interval means nothing, and the "
                "plant lacks an effect that the data show, or the range is wrong"
            )
    return remarks


def information_inverse(minimum: Minimum, names: Sequence[str]) -> np.ndarray:
    """Of the estimates: the inverse of the information, which has to be regular."""
    scale = np.sqrt(np.diag(minimum.information))
    for name, s in zip(names, scale, strict=True):
        if not s > 0:
            raise InvalidValue(f"{name} changes nothing that was measured in these runs; leave it as it is")
    values, vectors = np.linalg.eigh(minimum.information / np.outer(scale, scale))
    if values[0] < 1e-10:
        share = np.abs(vectors[:, 0])
        confounded = " and ".join(name for name, s in zip(names, share, strict=True) if s > 0.1 * share.max())
        raise InvalidValue(
            f"the runs do not tell {confounded} apart: changing them together explains the data as well; fit fewer of "
            "them, or excite the plant in another way"
        )
    return np.asarray((vectors / values) @ vectors.T / np.outer(scale, scale))
