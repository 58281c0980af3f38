"""Activation functions: values, enclosures, slopes, and linear relaxations with error bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca
import numpy as np

from systems import UnknownName
from systems.arithmetic import interval_functions as rules
from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval

__all__ = ["Function", "derivative", "function", "relaxed"]

_LEAK = 0.01  # as in PyTorch's default
_PIECES = 16
# Bounds of the second derivatives: tanh's is largest at tanh^2 = 1/3, 4 / (3 sqrt 3); GELU's at 0, sqrt(2 / pi).
_CURVATURE = {"tanh": 0.76981, "gelu": 0.79789}
# GELU z Phi(z) is least at its only stationary point; its slope Phi + z phi is stationary at -+sqrt 2 only.
_GELU_LEAST = (-0.7517915247, -0.7517915246, -0.1699712075)
_SLOPE_LEAST, _SLOPE_MOST = -0.1289041452, 1.1289041452
_SQRT_2 = 1.4142135623730951
# scipy's Phi is not correctly rounded; its values are compared with Arb's in the tests.
_PHI = 2.0**-46


@dataclass(frozen=True)
class Function:
    """One activation on numbers, intervals and CasADi symbols."""

    number: Callable[[np.ndarray], np.ndarray]
    interval: Callable[[Interval], Interval]
    symbol: Callable[[ca.SX], ca.SX]


def _leaky(z: Interval) -> Interval:
    return rules.fmax(z, z * _LEAK)


def _phi(z: np.ndarray) -> Interval:
    """The normal distribution function at points."""
    from scipy.special import ndtr  # slow to import and only needed here

    value = ndtr(z)
    pad = np.minimum(_PHI * (1.0 + z * z), 1.0)  # in the tail an error of z^2 / 2 is one of the exponential
    return Interval(np.maximum(value * (1 - pad) - 1e-300, 0.0), np.minimum(value * (1 + pad) + 1e-300, 1.0))


def _gelu_number(z: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return np.asarray(z * ndtr(z))


def _gelu(z: Interval) -> Interval:
    with np.errstate(all="ignore"):
        ends = [Interval.of(p) * _phi(p) for p in (np.maximum(z.lo, -1e9), np.minimum(z.hi, 1e9))]
        low, high = np.minimum(ends[0].lo, ends[1].lo), np.maximum(ends[0].hi, ends[1].hi)
        low = np.where((z.lo <= _GELU_LEAST[1]) & (z.hi >= _GELU_LEAST[0]), _GELU_LEAST[2], low)
        wide = (z.lo < -1e9) | (z.hi > 1e9)
    return Interval(np.where(wide, _GELU_LEAST[2], low), np.where(wide, np.inf, high))


def _gelu_slope(z: Interval) -> Interval:
    scale = 1.0 / rules.sqrt(Interval.of(np.full(z.shape, 2.0)) * Interval(np.pi, np.nextafter(np.pi, 4.0)))
    ends = [
        _phi(p) + Interval.of(p) * (rules.exp(Interval.of(p).sq() * -0.5) * scale)
        for p in (np.clip(z.lo, -1e3, 1e3), np.clip(z.hi, -1e3, 1e3))
    ]
    low, high = np.minimum(ends[0].lo, ends[1].lo), np.maximum(ends[0].hi, ends[1].hi)
    near = 1e-9
    low = np.where((z.lo <= -_SQRT_2 + near) & (z.hi >= -_SQRT_2 - near), _SLOPE_LEAST, low)
    high = np.where((z.lo <= _SQRT_2 + near) & (z.hi >= _SQRT_2 - near), _SLOPE_MOST, high)
    beyond = (z.lo < -1e3) | (z.hi > 1e3)
    return Interval(np.where(beyond, _SLOPE_LEAST, low), np.where(beyond, _SLOPE_MOST, high))


_FUNCTIONS = {
    "relu": Function(lambda z: np.maximum(z, 0.0), lambda z: rules.fmax(z, 0.0), lambda z: ca.fmax(z, 0)),
    "leaky_relu": Function(lambda z: np.maximum(z, _LEAK * z), _leaky, lambda z: ca.fmax(z, _LEAK * z)),
    "tanh": Function(np.tanh, rules.tanh, ca.tanh),
    "gelu": Function(_gelu_number, _gelu, lambda z: 0.5 * z * (1 + ca.erf(z / np.sqrt(2.0)))),
    "identity": Function(lambda z: z, lambda z: z, lambda z: z),
}


def function(name: str) -> Function:
    """An activation by its name.

    Raises:
        UnknownName: there is no such activation.
    """
    if name not in _FUNCTIONS:
        raise UnknownName.among(name, _FUNCTIONS, "activation")
    return _FUNCTIONS[name]


def derivative(name: str, z: Interval) -> Interval:
    """Every slope over the intervals; at a kink the interval between the slopes on both sides."""
    if name == "identity":
        return Interval.of(np.ones(z.shape))
    if name == "tanh":
        return rules.fmin(rules.fmax(1.0 - rules.tanh(z).sq(), 0.0), 1.0)
    if name == "gelu":
        return _gelu_slope(z)
    low = 0.0 if name == "relu" else _LEAK
    return Interval(np.where(z.lo > 0, 1.0, low), np.where(z.hi < 0, low, 1.0))


def relaxed(name: str, z: Interval) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope, offset and error of the line that an activation follows over each interval, along its chord.

    The residual a(z) - slope z is largest and least at the ends or at kinks. Of a smooth activation the interval is cut
    in pieces of width h, on which the residual differs from the line through its ends by at most |a''| h^2 / 8.
    """
    if name == "identity":
        return np.ones(z.shape), np.zeros(z.shape), np.zeros(z.shape)
    a = function(name)
    with np.errstate(all="ignore"):
        finite = np.isfinite(z.lo) & np.isfinite(z.hi) & (np.abs(z.lo) < 1e8) & (np.abs(z.hi) < 1e8)
        low, high = np.where(finite, z.lo, 0.0), np.where(finite, z.hi, 0.0)
        steep = derivative(name, Interval.of(0.5 * (low + high))).mid
        chord = (a.number(high) - a.number(low)) / np.where(high > low, high - low, 1.0)
        slope = np.where(high - low > 1e-9, chord, steep)
        slack = np.zeros(z.shape)
        if name in _CURVATURE:
            points = [low + (high - low) * (k / _PIECES) for k in range(_PIECES)] + [high]
            h = (high - low) / _PIECES * (1 + 2.0**-40) + 2.0**-48 * (np.abs(low) + np.abs(high))
            slack = _CURVATURE[name] * 0.125 * h * h * (1 + 2.0**-40) + 1e-300
        else:
            points = [low, high, np.clip(0.0, low, high)]
        least, most = np.full(z.shape, np.inf), np.full(z.shape, -np.inf)
        for p in points:
            residual = Ball.of(a.interval(Interval.of(p))) - Ball.of(p) * slope
            least, most = np.minimum(least, residual.lo), np.maximum(most, residual.hi)
        offset = 0.5 * (least + most)
        spread = (np.maximum(most - offset, offset - least) + slack) * (1 + 2.0**-50) + 1e-300
    return slope, offset, np.where(finite, spread, np.inf)
