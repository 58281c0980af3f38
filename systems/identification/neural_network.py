"""Regression with an ensemble of small neural networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from systems.arguments import expect_seed, expect_whole
from systems.errors import InvalidValue
from systems.identification.regression import FittedRegression, Regression, expect_samples

__all__ = ["NeuralNetwork"]

_ROUNDS = 6  # of alternating weights and hyperparameters
_STEPS = 25  # of Levenberg-Marquardt in each round
_SETTLED = 1e-5  # relative decrease of the loss below which a round ends
_FIRST = (1.0, 10.0)  # decay and precision of the first round; samples less precise end in a constant
_RANGE = (1e-6, 1e6)  # of decay and of the precision of samples, for scaled data


@final
@dataclass(frozen=True)
class NeuralNetwork(Regression):
    """The mean of an ensemble of networks with one hidden layer of tanh units.

    Each member is trained without its share of the samples, consecutive ones, from its own random weights, by
    Levenberg-Marquardt with the weight decay of largest evidence (MacKay, 1992; Foresee & Hagan, 1997). The standard
    deviation is the jackknife's, sqrt((M - 1) / M sum_j (f_j - mean)^2), which on average is not smaller than the
    true one (Efron & Stein, 1981); it does not include what a network of this size cannot represent.

    Args:
        units: of the hidden layer; default: 12.
        members: of the ensemble; default: 5.
        seed: of the first weights; default: 0.
    """

    units: int = 12
    members: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        expect_whole(self.units, "units of the network", least=1, most=200)
        expect_whole(self.members, "members of the ensemble", least=2, most=50)
        expect_seed(self.seed)

    def fit(self, z: np.ndarray, y: np.ndarray) -> FittedRegression:
        expect_samples(z, y)
        if len(y) < 2 * self.members:
            raise InvalidValue(
                f"{len(y)} samples for an ensemble of {self.members} networks, each trained without its share; give at "
                f"least {2 * self.members} samples, or fewer members"
            )
        centre, scale = float(y.mean()), float(y.std()) or 1.0
        networks = []
        shares = np.arange(len(y)) * self.members // len(y)
        for j, start in enumerate(self._starts(z.shape[1])):
            own = shares != j
            network = _Network(z[own].mean(axis=0), _widths(z[own]), centre, scale, start, *_FIRST)
            for _ in range(_ROUNDS):
                network = _reweighed(_trained(network, z[own], y[own]), z[own], y[own])
            networks.append(_trained(network, z[own], y[own], _ROUNDS * _STEPS))
        return _FittedEnsemble(tuple(networks), tuple(self._starts(z.shape[1])), shares, z, y)

    def _starts(self, d: int) -> list[np.ndarray]:
        """The first weights of each member: (units, d + 2), a row for each unit: of features, offset, of the output;
        the last row is for the offset of the output."""
        rng = np.random.default_rng(self.seed)
        starts = []
        for _ in range(self.members):
            inner = rng.standard_normal((self.units, d + 1)) / np.sqrt(d + 1)
            outer = 0.1 * rng.standard_normal(self.units)
            starts.append(np.concatenate([inner.ravel(), outer, [0.0]]))
        return starts


@final
@dataclass(frozen=True, eq=False)
class _Network:
    """centre + scale (v' tanh(W s + b) + c) of scaled features s.

    Args:
        middle, width: (d,), of the features.
        centre, scale: of the value.
        weights: (units (d + 2) + 1,): W beside b by rows, v, c.
        decay: precision of the weights' prior. precision: of the samples.
    """

    middle: np.ndarray
    width: np.ndarray
    centre: float
    scale: float
    weights: np.ndarray
    decay: float
    precision: float

    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """W, b, v and c."""
        d = len(self.middle)
        units = (len(self.weights) - 1) // (d + 2)
        inner = self.weights[: units * (d + 1)].reshape(units, d + 1)
        return inner[:, :d], inner[:, d], self.weights[units * (d + 1) : -1], float(self.weights[-1])

    def at(self, weights: np.ndarray, decay: float, precision: float) -> _Network:
        return _Network(self.middle, self.width, self.centre, self.scale, weights, decay, precision)

    def predict(self, z: np.ndarray) -> np.ndarray:
        inner, offset, outer, c = self.parts()
        hidden = np.tanh(((z - self.middle) / self.width) @ inner.T + offset)
        return np.asarray(self.centre + self.scale * (hidden @ outer + c))

    def expression(self, z: ca.SX) -> ca.SX:
        inner, offset, outer, c = self.parts()
        scaled = (z - ca.SX(self.middle)) / ca.SX(self.width)
        return self.centre + self.scale * (ca.SX(outer).T @ ca.tanh(ca.SX(inner) @ scaled + ca.SX(offset)) + c)

    def errors(self, z: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Of scaled values."""
        return np.asarray((self.predict(z) - y) / self.scale)

    def loss(self, z: np.ndarray, y: np.ndarray) -> float:
        errors = self.errors(z, y)
        return 0.5 * float(self.precision * errors @ errors + self.decay * self.weights @ self.weights)

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        """Of the scaled values with respect to the weights, (samples, weights)."""
        inner, offset, outer, _ = self.parts()
        scaled = np.concatenate([(z - self.middle) / self.width, np.ones((len(z), 1))], axis=1)
        hidden = np.tanh(scaled[:, :-1] @ inner.T + offset)
        slopes = (1.0 - hidden**2) * outer
        of_inner = (slopes[:, :, None] * scaled[:, None, :]).reshape(len(z), -1)
        return np.concatenate([of_inner, hidden, np.ones((len(z), 1))], axis=1)


@final
class _FittedEnsemble(FittedRegression):
    def __init__(
        self,
        networks: tuple[_Network, ...],
        starts: tuple[np.ndarray, ...],
        shares: np.ndarray,
        z: np.ndarray,
        y: np.ndarray,
    ) -> None:
        self.networks = networks
        self._data = starts, shares, z, y
        self.remarks = (
            f"the deviation of the residual is the jackknife's of {len(networks)} networks, each trained without its "
            "share of the samples; what networks of this size cannot represent is in the errors alone",
        )

    def mean(self, z: ca.SX) -> ca.SX:
        return ca.sum1(ca.vertcat(*[f.expression(z) for f in self.networks])) / len(self.networks)

    def deviation(self, z: ca.SX) -> ca.SX:
        values, count = ca.vertcat(*[f.expression(z) for f in self.networks]), len(self.networks)
        return ca.sqrt((count - 1) / count * ca.sumsqr(values - ca.sum1(values) / count))

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.stack([f.predict(z) for f in self.networks])
        return values.mean(axis=0), np.sqrt(len(values) - 1) * values.std(axis=0)

    def without(self, samples: np.ndarray) -> FittedRegression:
        starts, shares, z, y = self._data
        networks = []
        for j, (network, start) in enumerate(zip(self.networks, starts, strict=True)):
            own = ~samples & (shares != j)
            if not own.any():  # the samples left out hold all that this member has
                own = ~samples
            smooth = _trained(network.at(start, *_FIRST), z[own], y[own])  # the first round of the fit
            first = network.at(smooth.weights, network.decay, network.precision)
            networks.append(_trained(first, z[own], y[own], _ROUNDS * _STEPS))
        return _FittedEnsemble(tuple(networks), starts, shares[~samples], z[~samples], y[~samples])


def _widths(z: np.ndarray) -> np.ndarray:
    width = z.std(axis=0)
    return np.asarray(np.where(width > 0, width, 1.0))


def _trained(network: _Network, z: np.ndarray, y: np.ndarray, steps: int = _STEPS) -> _Network:
    """The network after some steps of Levenberg-Marquardt on its loss."""
    damping, loss, settled = 1e-2, network.loss(z, y), 0
    for _ in range(steps):
        jacobian = network.jacobian(z)
        gradient = network.precision * jacobian.T @ network.errors(z, y) + network.decay * network.weights
        hessian = network.precision * jacobian.T @ jacobian + network.decay * np.eye(len(gradient))
        while damping < 1e12:
            step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), -gradient)
            tried = network.at(network.weights + step, network.decay, network.precision)
            after = tried.loss(z, y)
            if after < loss:
                break
            damping *= 4.0
        else:
            return network
        settled = settled + 1 if loss - after < _SETTLED * loss else 0
        network, loss, damping = tried, after, max(damping / 4.0, 1e-9)
        if settled == 3:
            break
    return network


def _reweighed(network: _Network, z: np.ndarray, y: np.ndarray) -> _Network:
    """The network with the decay and the precision at which the evidence is stationary for these weights."""
    errors, weights = network.errors(z, y), network.weights
    values = np.maximum(np.linalg.eigvalsh(network.jacobian(z).T @ network.jacobian(z)), 0.0)
    determined = float((values / (values + network.decay / network.precision)).sum())  # number of weights
    decay = determined / max(float(weights @ weights), 1e-12)
    precision = max(len(y) - determined, 1.0) / max(float(errors @ errors), 1e-12)
    return network.at(weights, float(np.clip(decay, *_RANGE)), float(np.clip(precision, *_RANGE)))
