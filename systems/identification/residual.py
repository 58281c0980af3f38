"""A nominal plant with a fitted residual, which is also a plant."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from systems.arguments import expect_names
from systems.discretise import Discretisation, Integrator
from systems.distributions import Distribution, Gaussian, Uniform
from systems.errors import DimensionMismatch, InvalidValue, expect
from systems.identification.grey_box import expect_runs
from systems.identification.learned_plant import LearnedPlant
from systems.identification.linear_fit import errors_of
from systems.identification.regression import FittedRegression, Regression
from systems.identification.runs import Runs
from systems.identification.segments import Prediction
from systems.identification.terms import Terms, named_terms
from systems.lowering import lower
from systems.plant import Plant
from systems.signals import Signals, Vector
from systems.task import Task

__all__ = ["ResidualFit", "fit_residual"]

_FOLDS = 5  # of the cross-validation that measures errors


@final
@dataclass(frozen=True, eq=False)
class ResidualFit:
    """x+ = nominal(x, u) + r(z) + w, with features z of x and u.

    Args:
        plant: discrete; its disturbance w is added to every state and has that state's unit. Disturbances of the
            nominal plant keep their names, but do nothing here: what they did to the data is in w.
        nominal: the plant from sample to sample without the residual.
        functions: the fitted residual of each state; None where there is none.
        features: z, as a function of x and u.
        errors: (samples, n), of predictions by fits without the runs that the sample belongs to: neighbours within a
            run are so alike that leaving out one of them alone would tell nothing.
        covariance: of w, (n, n): the second moments of these errors.
        remarks: limitations of the fit, one sentence each.
    """

    plant: LearnedPlant
    nominal: Discretisation
    functions: tuple[FittedRegression | None, ...]
    features: ca.Function
    errors: np.ndarray
    covariance: np.ndarray
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
        return Discretisation(self.plant, self.nominal.dt)

    @property
    def disturbance(self) -> Gaussian:
        """Of the plant: normal, with the covariance of the errors."""
        q = len(self.nominal.plant.disturbance)
        whole = np.zeros((q + len(self.covariance),) * 2)
        whole[q:, q:] = self.covariance
        return Gaussian(covariance_matrix=whole)

    @property
    def bounded_disturbance(self) -> Uniform:
        """The same as the smallest box about zero that holds all errors, for tubes and proofs. It is estimated, not
        proved: of N runs like those of the fit, one more leaves it, in a given state, with a probability of about
        1 / (N + 1)."""
        largest = np.concatenate([np.zeros(len(self.nominal.plant.disturbance)), np.abs(self.errors).max(axis=0)])
        return Uniform(-largest, largest)

    def mean_and_deviation(self) -> ca.Function:
        """``(x, u) -> (mean, deviation)`` of the residual of each state, (n, 1) each; the deviation is that of r alone,
        larger away from the data, without the noise of a sample."""
        x, u = self.features.sx_in()
        z = self.features(x, u)
        mean = [ca.SX(0) if f is None else f.mean(z) for f in self.functions]
        deviation = [ca.SX(0) if f is None else f.deviation(z) for f in self.functions]
        outputs = [ca.vertcat(*mean), ca.vertcat(*deviation)]
        return ca.Function("residual", [x, u], outputs, ["x", "u"], ["mean", "deviation"])

    def task(self, task: Task, *, bounded: bool = False) -> Task:
        """The task with this plant and its disturbance. If the task has a true plant, that one is still simulated,
        disturbed as before; otherwise this plant is simulated with errors drawn at every sample, and proofs refer to
        it, too.

        Args:
            task: with the nominal plant, or with one of the same signals.
            bounded: whether the errors are drawn from their box, which tubes and proofs need, instead of the normal
                distribution; default: no.

        Raises:
            DimensionMismatch: a task with other signals.
            InvalidValue: another sample time; or a disturbance of the task that is bounded where errors are normal, or
                the other way round.
        """
        expect(task, Task, "the task of a fitted plant", "such as systems.library.cartpole()")
        for role in ("state", "input", "disturbance"):
            given, own = getattr(task.plant, role), getattr(self.nominal.plant, role)
            if given != own:
                raise DimensionMismatch(
                    f"task '{task.name}' has the {role} ({', '.join(map(str, given))}); the fit is for "
                    f"({', '.join(map(str, own))}); give a task with these signals"
                )
        disturbance = self._joined(task, bounded)
        truth = None if task.truth is None else _with_signals(task.truth, self.plant)
        return dataclasses.replace(task, plant=self.plant, truth=truth, disturbance=disturbance)

    def _joined(self, task: Task, bounded: bool) -> Distribution:
        """The disturbance of the task and, independent of it, that of the plant."""
        own, declared = task.disturbance, task.plant.disturbance
        q, mean = len(declared), own.mean(declared)
        fixed = not own.covariance(declared).any()
        if bounded:
            low, high = own.support(declared)
            if not np.isfinite([low, high]).all():
                raise InvalidValue(
                    f"task '{task.name}': its disturbance is not bounded; leave out bounded=True, or give the task a "
                    "Uniform disturbance"
                )
            errors = self.bounded_disturbance.support(self.plant.disturbance)
            return Uniform(np.concatenate([low, errors[0][q:]]), np.concatenate([high, errors[1][q:]]))
        if not fixed and own.affine(declared).base != "normal":
            raise InvalidValue(
                f"task '{task.name}': its disturbance is bounded, and one distribution cannot hold it beside normal "
                "errors; give bounded=True"
            )
        covariance = self.disturbance.covariance(self.plant.disturbance)
        covariance[:q, :q] = own.covariance(declared)
        average = np.concatenate([mean, np.zeros(len(covariance) - q)])
        return Gaussian(average=average, covariance_matrix=covariance)

    def __str__(self) -> str:
        lines = [f"{self.nominal.plant.name} + residual, {self.nominal}:"]
        for i, signal in enumerate(self.plant.state):
            kind = "no residual" if self.functions[i] is None else "with residual"
            lines.append(
                f"  {signal.name}: {kind}, errors of {np.sqrt(self.covariance[i, i]):.3g} {signal.unit} per sample, at "
                f"most {np.abs(self.errors[:, i]).max():.3g}"
            )
        return "\n".join([*lines, *(f"  note: {remark}" for remark in self.remarks)])


def fit_residual(
    nominal: Plant,
    runs: Runs,
    regression: Regression,
    outputs: Sequence[str],
    features: Sequence[str] | Terms,
    integrator: Integrator = "rk4",
    substeps: int = 1,
) -> ResidualFit:
    """Fits the one-step prediction error of a nominal plant as a function of some features.

    Args:
        nominal: a hand-written or fitted plant.
        runs: measured states and inputs with the signals of the plant, states without errors of measurement.
        regression: ``GaussianProcess()``, ``SparseGaussianProcess()``, ``RandomFeatures()`` or ``NeuralNetwork()``.
        outputs: names of the states whose change per sample gets a residual.
        features: names of states and inputs that it depends on, or a function of x and u that returns expressions, such
            as ``lambda x, u: (ca.sin(x.angle), x.rate)``; the fewer, the less data it takes.
        integrator: as of :class:`Discretisation`; default: "rk4".
        substeps: as of :class:`Discretisation`; default: 1.

    Raises:
        UnknownName: of an output or a feature.
        DimensionMismatch: runs of other signals.
        InvalidValue: too few samples, or features that do not vary.
    """
    expect(nominal, Plant, "the nominal plant of a residual", "such as CartPole()")
    expect_runs(runs, nominal)
    expect(regression, Regression, "the regression of a residual", "such as GaussianProcess()")
    names = expect_names(outputs, "outputs of the residual")
    where = [nominal.state.where(name) for name in names]
    if not where:
        raise InvalidValue(f"a residual of no state; name some of {', '.join(nominal.state.names)}")
    labels, function = named_terms(_terms(features, nominal), nominal.state, nominal.input)
    sampling = Discretisation(nominal, runs.dt, integrator, substeps)
    x, u, after = runs.transitions()
    predicted = Prediction(sampling.function()).states(x, u[:, None, :], np.zeros(0))[:, 1]
    residuals = runs.state.deviation(after, predicted)
    z = np.broadcast_to(lower(function, to="numpy")(x, u), (len(x), len(labels)))
    for name, column in zip(labels, z.T, strict=True):
        if not np.isfinite(column).all():
            raise InvalidValue(f"the feature {name} is not finite at all samples; choose another")
        if np.ptp(column) == 0:
            raise InvalidValue(f"the feature {name} is constant in these runs; leave it out, or excite it")
    if len(z) < 10 * len(labels):
        raise InvalidValue(
            f"{len(z)} samples for a function of {len(labels)} features; give at least {10 * len(labels)} samples, or "
            "fewer features"
        )
    functions: list[FittedRegression | None] = [None] * len(runs.state)
    errors, folds = residuals.copy(), _folds(runs)
    for i in where:
        functions[i] = fitted = regression.fit(z, residuals[:, i])
        for fold in folds:
            errors[fold, i] -= fitted.without(fold).predict(z[fold])[0]
    texts = dict.fromkeys(remark for f in functions if f is not None for remark in f.remarks)
    covariance = errors.T @ errors / len(errors)
    plant = _plant(sampling, function, functions)
    return ResidualFit(plant, sampling, tuple(functions), function, errors, covariance, (*runs.remarks, *texts))


def _folds(runs: Runs) -> list[np.ndarray]:
    """Parts of the samples, (samples,) of bool each, that no run shares; of few runs, stretches of samples."""
    lengths = [len(u) for u in runs.inputs]
    numbers = np.repeat(np.arange(len(runs)), lengths)
    if len(runs) < _FOLDS:
        numbers = np.arange(runs.samples) * _FOLDS // runs.samples
    return [numbers % _FOLDS == k for k in range(_FOLDS)]


def _terms(features: Any, plant: Plant) -> Terms:
    """Features by name as a function."""
    if callable(features):
        return features
    names = expect_names(features, "features of the residual")
    state = [name for name in names if name in plant.state.names]
    inputs = {name: plant.input.where(name) for name in names if name not in state}

    def terms(x: Vector, u: Vector) -> Any:
        return {name: u[inputs[name]] if name in inputs else x[name] for name in names}

    return terms


def _plant(
    sampling: Discretisation, features: ca.Function, functions: Sequence[FittedRegression | None]
) -> LearnedPlant:
    nominal = sampling.plant
    disturbance = Signals((*nominal.disturbance, *errors_of(nominal.state)))
    (x, u), w = features.sx_in(), ca.SX.sym("w", len(disturbance))
    after = sampling.function()(x, u, ca.SX.zeros(len(nominal.disturbance)), ca.SX(0, 1))
    z = features(x, u)
    residual = ca.vertcat(*[ca.SX(0) if f is None else f.mean(z) for f in functions])
    result = after + residual + w[len(nominal.disturbance) :]
    equations = ca.Function("learned", [x, u, w], [result], ["x", "u", "w"], ["next"])
    return LearnedPlant(equations, nominal.state, nominal.input, disturbance, sampling.dt, _limits(nominal))


def _with_signals(plant: Plant, like: LearnedPlant) -> LearnedPlant:
    """A plant that runs as it does, with further disturbances that do nothing to it."""
    x, u, w = like.state.symbol(), like.input.symbol(), like.disturbance.symbol()
    after = plant.casadi()(x, u, w[: len(plant.disturbance)], ca.SX(0, 1))
    equations = ca.Function("truth", [x, u, w], [after])
    dt = plant.dt if plant.is_discrete else None
    return LearnedPlant(equations, plant.state, plant.input, like.disturbance, dt, _limits(plant))


def _limits(plant: Plant) -> tuple[tuple[float, float], ...]:
    return tuple(zip(*(bound.tolist() for bound in plant.bounds), strict=True))
