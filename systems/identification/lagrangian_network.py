"""Fits mass matrix and potential of a mechanical system, with a context per run that stands for its load."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import final

import casadi as ca
import numpy as np

from systems.arguments import expect_array, expect_flag, expect_number, expect_seed, expect_whole
from systems.discretise import Discretisation
from systems.errors import DimensionMismatch, InvalidValue, expect
from systems.identification.lagrangian_energies import Energies
from systems.identification.lagrangian_plant import CONTEXT, LagrangianPlant, expect_limits, expect_mechanical
from systems.identification.runs import Runs
from systems.identification.segments import Prediction

__all__ = ["Context", "LagrangianFit", "LagrangianNetwork", "between", "fit_lagrangian"]

_PASSES = 3  # of weighted least squares for the context
_STANDSTILL = 1e-9  # relative size of rates or forces below which they are rounding errors


@final
@dataclass(frozen=True)
class LagrangianNetwork:
    """A network for the energies of a mechanical system, and how it is trained.

    Args:
        hidden: units of each hidden layer; default: 24, one layer.
        contexts: entries of the context, 0 to 3; default: 1.
        friction: whether each coordinate has viscous friction; default: True.
        decay: of weights and contexts in training, relative to the mean squared error of a model that explains nothing;
            default: 1e-6.
        iterations: of Levenberg-Marquardt, at most; default: 60.
        seed: of the first weights; default: 0.
    """

    hidden: tuple[int, ...] = (24,)
    contexts: int = 1
    friction: bool = True
    decay: float = 1e-6
    iterations: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, (tuple, list)) or not self.hidden:
            raise InvalidValue(f"hidden = {self.hidden!r}; expected the units of each layer, such as (24,)")
        object.__setattr__(
            self, "hidden", tuple(expect_whole(units, "hidden units", least=1, most=1000) for units in self.hidden)
        )
        expect_whole(self.contexts, "contexts", least=0, most=len(CONTEXT))
        expect_flag(self.friction, "friction")
        expect_number(self.decay, "decay", least=0.0)
        expect_whole(self.iterations, "iterations", least=1)
        expect_seed(self.seed)


@final
@dataclass(frozen=True, eq=False)
class Context:
    """An inferred context.

    Args:
        values: (k,), not negative.
        covariance: (k, k), of its error where no value is at 0, if the rates' errors are white.
    """

    values: np.ndarray
    covariance: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class LagrangianFit:
    """A fitted mechanical system with a context.

    Args:
        plant: with the mean context of the training runs, unless :meth:`with_context` gave another.
        contexts: of the training runs, (runs, k).
        deviations: (n,), root mean square of the one-step errors of each state in the training runs.
        rate_deviations: (n / 2,), of the errors of the rates' changes that training minimised.
        dt: seconds between samples of the runs.
        weights: number of the network's weights.
        iterations: of the training.
        remarks: limitations of the fit, one sentence each.
    """

    plant: LagrangianPlant
    contexts: np.ndarray
    deviations: np.ndarray
    rate_deviations: np.ndarray
    dt: float
    weights: int
    iterations: int
    remarks: tuple[str, ...]

    @property
    def noise(self) -> str:
        """The assumed kind of errors."""
        return "process"

    @cached_property
    def sampling(self) -> Discretisation:
        """The discretised plant."""
        return Discretisation(self.plant, self.dt)

    def __str__(self) -> str:
        k = self.contexts.shape[1]
        lines = [f"Lagrangian network of {', '.join(map(str, self.plant.state))}"]
        for i in range(k):
            low, high = self.contexts[:, i].min(), self.contexts[:, i].max()
            lines.append(f"  context_{i + 1}: {low:.3g} to {high:.3g} in {len(self.contexts)} runs")
        for signal, deviation in zip(self.plant.state, self.deviations, strict=True):
            lines.append(f"  {signal.name}: deviation {deviation:.3g} {signal.unit} after one sample")
        return "\n".join([*lines, *(f"  note: {remark}" for remark in self.remarks)])

    def with_context(self, values: np.ndarray) -> LagrangianFit:
        """The same fit, its plant with another context.

        Args:
            values: (k,), not negative.

        Raises:
            DimensionMismatch: another number. InvalidValue: a negative one.
        """
        names = self.plant.context_names
        array = expect_array(values, "values of the context", ("contexts",))
        if len(array) != len(names):
            raise DimensionMismatch(f"a context of {len(array)} values; this fit has {len(names)}")
        plant = self.plant.with_parameters(dict(zip(names, array.tolist(), strict=True)))
        return dataclasses.replace(self, plant=plant)

    def context(self, runs: Runs) -> Context:
        """The context that explains measured samples, which all have the same one.

        The errors d/dt(M v) - dL/dq - B u + D v, integrated over a sample, are affine in the context, so that weighted
        least squares with c >= 0 has one solution: a convex program. The training runs' mean and covariance are its
        prior, and M^-1 of the estimate before the weight.

        Args:
            runs: a window of past measurements or several, with the signals of the fit; their sample time may differ.

        Raises:
            DimensionMismatch: other signals. InvalidValue: a fit without context.
        """
        k = self.contexts.shape[1]
        if not k:
            raise InvalidValue("a fit without context; fit with LagrangianNetwork(contexts=1) to infer one")
        _expect_signals(runs, self.plant)
        mean = self.contexts.mean(axis=0)
        covariance = np.atleast_2d(np.cov(self.contexts, rowvar=False)) if len(self.contexts) > 1 else np.eye(k)
        covariance = covariance + 1e-6 * np.diag(mean**2 + 1e-6)
        root = np.linalg.cholesky(np.linalg.inv(covariance)).T  # its inverse is root' root
        constant, by_context = self._impulses(runs)
        from scipy.optimize import nnls  # slow to import

        values = mean
        for _ in range(_PASSES):
            weight = np.linalg.inv(self._mass(runs, values)) / self.rate_deviations[:, None]
            rows = np.concatenate([(weight @ by_context).reshape(-1, k), root])
            right = np.concatenate([-(weight @ constant[:, :, None]).ravel(), root @ mean])
            values = nnls(rows, right)[0]
        return Context(values, np.linalg.inv(rows.T @ rows))

    @cached_property
    def _lagrangian(self) -> ca.Function:
        """(q, v, c) -> (M v, dL/dq - D v, M), which are affine in c."""
        n, k = len(self.plant.friction), self.contexts.shape[1]
        q, v, c = ca.SX.sym("q", n), ca.SX.sym("v", n), ca.SX.sym("c", k)
        mass, potential = self.plant.terms(q, c)
        force = ca.gradient(0.5 * ca.bilin(mass, v, v) - potential, q) - ca.SX(self.plant.friction) * v
        return ca.Function("lagrangian", [q, v, c], [mass @ v, force, ca.vec(mass)])

    def _impulses(self, runs: Runs) -> tuple[np.ndarray, np.ndarray]:
        """The integrated errors without context (N, n), and by context (N, n, k)."""
        q, v, force, _ = between(runs, self.plant.matrix)
        n, k = q.shape[2], self.contexts.shape[1]

        def impulse(context: np.ndarray) -> np.ndarray:
            columns = q.reshape(-1, n).T, v.reshape(-1, n).T
            at = np.repeat(context[:, None], columns[0].shape[1], axis=1)
            momentum, inner, _ = (np.array(part).T for part in self._lagrangian(*columns, at))
            momentum, inner = momentum.reshape(q.shape), inner.reshape(q.shape)
            mean = (inner[0] + 4.0 * inner[1] + inner[2]) / 6.0 + force
            return np.asarray(momentum[2] - momentum[0] - runs.dt * mean)

        constant = impulse(np.zeros(k))
        return constant, np.stack([impulse(unit) - constant for unit in np.eye(k)], axis=2)

    def _mass(self, runs: Runs, context: np.ndarray) -> np.ndarray:
        """M in the middle of each sample, (N, n, n)."""
        q, v, _, _ = between(runs, self.plant.matrix)
        count, n = q.shape[1:]
        mass = self._lagrangian(q[1].T, v[1].T, np.repeat(context[:, None], count, axis=1))[2]
        return np.array(mass).T.reshape(count, n, n)


def fit_lagrangian(
    runs: Runs,
    network: LagrangianNetwork | None = None,
    matrix: np.ndarray | None = None,
    input_limits: tuple[tuple[float, float], ...] = (),
) -> LagrangianFit:
    """Fits M(q, c) q'' + C(q, q', c) q' + dV/dq + D q' = B u with a context c for each run.

    M and V are outputs of a network, and M is positive definite by construction (Lutter, Ritter & Peters, 2019); that a
    context conditions them is the idea of Schulze, Peters & Arenz (2025), of which the abstract alone was read. Ours
    are: the energies are affine in c >= 0, as those of a rigid body are in the mass of its load; c is a free
    parameter of each training run instead of the output of a recurrent network; and training compares momenta at
    neighbouring samples instead of torques, so that no acceleration is needed: M^-1 times the error of
    d/dt(M v) = dL/dq + B u - D v, integrated over a sample by Simpson's rule along the cubic through both states. c is
    determined up to its unit, and :meth:`LagrangianFit.context` infers it by convex least squares.

    Args:
        runs: measured coordinates and their rates, in this order, each run with one constant load; exact up to small
            noise.
        network: size and training; default: ``LagrangianNetwork()``.
        matrix: B, (n, m), known; default: the identity, one input for each coordinate.
        input_limits: one (lower, upper) per input, of the fitted plant; default: none.

    Raises:
        DimensionMismatch: a matrix of another shape.
        InvalidValue: states that are not coordinates and their rates, too few samples, inputs that are all zero, a
            coordinate that never moves, or torch is not installed.
    """
    expect(runs, Runs, "the runs of a fit", "such as Runs(states, inputs, dt, plant.state, plant.input)")
    settings = LagrangianNetwork() if network is None else network
    expect(settings, LagrangianNetwork, "network", "such as LagrangianNetwork(contexts=1)")
    n = expect_mechanical(runs.state)
    given = _matrix(matrix, n, runs)
    expect_limits(input_limits, runs.input)
    try:
        from systems.identification.lagrangian_training import errors_at, sample_error, train
    except ImportError as error:
        raise InvalidValue("training needs torch; install it with pip install 'trivium-control[rl]'") from error

    q, v, force, run = between(runs, given)
    if len(force) < 4 * n:
        raise InvalidValue(f"{len(force)} samples for a system of {n} coordinates; give at least {4 * n}, better 1000")
    size = np.sqrt(((v[2] - v[0]) ** 2).mean(axis=0))
    speed = np.sqrt((v[1] ** 2).mean(axis=0))
    torque = np.sqrt((force**2).mean(axis=0))
    for i in range(n):
        if size[i] <= _STANDSTILL * max(float(speed.max()), 1e-300):
            raise InvalidValue(f"{runs.state[n + i].name} never changes in these runs; excite it, or leave it out")
    if not torque.max() > 0:
        raise InvalidValue("all inputs are zero, which leaves the unit of mass undetermined; record runs with inputs")
    # Forces on a coordinate without input come through the others, and are assumed as large as theirs.
    torque = np.where(torque > _STANDSTILL * torque.max(), torque, np.sqrt((torque**2).mean()))
    angles = np.array([runs.state[i].unit == "rad" for i in range(n)])
    energies = Energies(
        angles,
        q[1].mean(axis=0),
        np.where(q[1].std(axis=0) > 0, q[1].std(axis=0), 1.0),
        torque * runs.dt / size,
        float(np.sqrt((torque**2).mean())),
        torque / speed,
        settings.contexts,
        settings.hidden,
        settings.friction,
        np.zeros(0),
    )
    data = (q.transpose(1, 0, 2), v.transpose(1, 0, 2), force)
    trained, contexts, iterations = train(
        energies, data, run, runs.dt, size, settings.decay, settings.iterations, settings.seed
    )
    errors = errors_at(sample_error(trained, runs.dt), trained.weights, contexts, run, data)
    rate_deviations = np.maximum(np.sqrt((errors**2).mean(axis=0)), 1e-9 * size)
    values = dict(zip(CONTEXT, contexts.mean(axis=0).tolist(), strict=False))
    plant = LagrangianPlant(trained.terms(), runs.state, runs.input, given, trained.friction(), input_limits, **values)
    deviations = _one_step_errors(plant, contexts, runs)
    remarks = [*runs.remarks, "deviations are those of the training runs; validate on held-out runs"]
    if settings.contexts and len(runs) < 5:
        remarks.append(f"{len(runs)} runs show as many contexts: others may act in another way")
    return LagrangianFit(
        plant, contexts, deviations, rate_deviations, runs.dt, len(trained.weights), iterations, tuple(remarks)
    )


def between(runs: Runs, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates and rates (3, N, n) at start, middle and end of each sample, B u (N, n), and the run's number (N,).

    In the middle they are those of the cubic through both states.

    Args:
        runs: of coordinates and rates.
        matrix: B, (n, m).
    """
    n, dt = len(runs.state) // 2, runs.dt
    before = np.concatenate([x[:-1] for x in runs.states])
    after = np.concatenate([x[1:] for x in runs.states])
    q0, v0, q1, v1 = before[:, :n], before[:, n:], after[:, :n], after[:, n:]
    middle = 0.5 * (q0 + q1) + dt / 8.0 * (v0 - v1)
    rate = 1.5 * (q1 - q0) / dt - 0.25 * (v0 + v1)
    force = np.concatenate(runs.inputs) @ matrix.T
    run = np.repeat(np.arange(len(runs)), [len(u) for u in runs.inputs])
    return np.stack([q0, middle, q1]), np.stack([v0, rate, v1]), force, run


def _matrix(matrix: np.ndarray | None, n: int, runs: Runs) -> np.ndarray:
    m = len(runs.input)
    if matrix is None:
        if m != n:
            raise DimensionMismatch(f"{m} inputs for {n} coordinates; give the input matrix, ({n}, {m})")
        return np.eye(n)
    array = expect_array(matrix, "the input matrix", ("coordinates", "inputs"))
    if array.shape != (n, m):
        raise DimensionMismatch(f"an input matrix of shape {array.shape}; expected ({n}, {m})")
    return array


def _expect_signals(runs: Runs, plant: LagrangianPlant) -> None:
    expect(runs, Runs, "the runs of a context", "such as Runs([states], [inputs], dt, plant.state, plant.input)")
    for role in ("state", "input"):
        given, own = getattr(runs, role), getattr(plant, role)
        if given != own:
            raise DimensionMismatch(
                f"the {role} of the runs is {', '.join(map(str, given))}; the fit has {', '.join(map(str, own))}"
            )


def _one_step_errors(plant: LagrangianPlant, contexts: np.ndarray, runs: Runs) -> np.ndarray:
    """Root mean squares, (2 n,)."""
    names = plant.context_names
    predict = Prediction(Discretisation(plant, runs.dt).function(names))
    errors = []
    for x, u, c in zip(runs.states, runs.inputs, contexts, strict=True):
        after = predict.states(x[:-1], u[:, None, :], c)[:, 1]
        errors.append(runs.state.deviation(x[1:], after))
    return np.asarray(np.sqrt((np.concatenate(errors) ** 2).mean(axis=0)))
