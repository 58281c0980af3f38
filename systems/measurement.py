"""Measured outputs of a plant: noise, delay, sample times, quantisation and drop-outs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import casadi as ca
import numpy as np

from systems.arguments import is_number
from systems.content import ByContent
from systems.distributions import Distribution, Fixed
from systems.errors import InvalidValue, expect, shown
from systems.expressions import column, evaluated, expect_arguments, without_nan
from systems.lowering.buffered import Buffered
from systems.plant import Plant
from systems.signals import Signals, Values, Vector, expect_values

__all__ = ["Measurement", "Sensors"]


@final
@dataclass(frozen=True, eq=False)
class Measurement(ByContent):
    """The outputs y = h(x, u) + v that are reported at the samples of a task, in place of its state.

    ``Measurement(signals("angle [rad]"), noise=Gaussian({"angle": 0.01}))`` measures the state of that name;
    ``Measurement(signals("range [m]"), lambda x, u: (ca.sqrt(x.east**2 + x.north**2),))`` a function of the state.

    At sample k, u is the input of the previous sample (that of the reference at the first), since the input of sample k
    is not yet decided. A signal without a report at a sample is NaN there. A signal with a delay of d samples reports
    at sample k the value of sample k - d; one with a value every r samples is measured at samples 0, r, 2r and so on.

    Args:
        signals: names and units of the outputs; declare an angle by ``angle("heading [rad]")``, so that differences of
            measurements are taken modulo one turn.
        expression: function of state and input that returns one CasADi scalar for each signal; default: the states with
            the names of the signals.
        noise: distribution of v, drawn at every sample; default: none.
        delay: whole samples, a number for all signals, by name (others: none) or in order; default: none.
        every: whole samples between two values, likewise; default: 1.
        quantum: resolution, to which values are rounded, in the signal's unit, likewise; default: 0, no
            rounding.
        dropout: probability that a value is lost, likewise; default: 0.

    Raises:
        InvalidValue: no signals, a negative number, one that is not whole where samples are counted, a probability of 1
            or more.
    """

    signals: Signals
    expression: Callable[[Vector, Vector], Any] | None = None
    noise: Distribution = field(default_factory=Fixed)
    delay: float | Values = ()
    every: float | Values = ()
    quantum: float | Values = ()
    dropout: float | Values = ()

    def __post_init__(self) -> None:
        expect(self.signals, Signals, "the signals of a measurement", 'such as signals("angle [rad]")')
        if not self.signals:
            raise InvalidValue('a measurement without signals; expected some, such as signals("angle [rad]")')
        if self.expression is not None:
            expect_arguments(self.expression, "x, u", "the expression of a measurement")
        expect(self.noise, Distribution, "the noise of a measurement", "such as Gaussian({signal: deviation})")
        self.noise.support(self.signals)
        for name, least, whole in (
            ("delay", 0, True),
            ("every", 1, True),
            ("quantum", 0, False),
            ("dropout", 0, False),
        ):
            values = self._each(name)
            wrong = (values < least) | ~np.isfinite(values) | (whole & (values != np.floor(values)))
            if name == "dropout":
                wrong |= values >= 1
            if wrong.any():
                kind = "whole samples" if whole else "a probability below 1" if name == "dropout" else "finite"
                raise InvalidValue(
                    f"measurement: {name} = {shown(getattr(self, name))}; expected {kind}, at least {least}"
                )

    def _each(self, name: str) -> np.ndarray:
        """A field as one number per signal, (p,)."""
        given, default = getattr(self, name), 1.0 if name == "every" else 0.0
        if is_number(given):
            return np.full(len(self.signals), float(given))
        if not isinstance(given, Mapping) and not np.size(given):
            return np.full(len(self.signals), default)
        expect_values(given, f"measurement: {name}")
        return self.signals.array(given, default=default, what=f"measurement: {name}")

    @property
    def delays(self) -> np.ndarray:
        """Samples by which each signal is late, (p,) of whole numbers."""
        return self._each("delay").astype(int)

    @property
    def periods(self) -> np.ndarray:
        """Samples between two values of each signal, (p,) of whole numbers."""
        return self._each("every").astype(int)

    @property
    def quanta(self) -> np.ndarray:
        """Distance of the values that each signal can report, (p,); 0 for no rounding."""
        return self._each("quantum")

    @property
    def dropouts(self) -> np.ndarray:
        """Probability that a value of each signal is lost, (p,)."""
        return self._each("dropout")

    @property
    def is_regular(self) -> bool:
        """Whether every signal is reported at every sample at once."""
        return not (self.delays.any() or (self.periods > 1).any() or self.dropouts.any())

    @property
    def is_sporadic(self) -> np.ndarray:
        """Which signals are not reported at every sample, be it late or not, (p,) of bool."""
        return np.asarray((self.periods > 1) | (self.dropouts > 0))

    @property
    def mean(self) -> np.ndarray:
        """Expected noise, (p,)."""
        return self.noise.mean(self.signals)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance (p, p) of the noise, a rounding counting as a uniform error over its quantum."""
        return self.noise.covariance(self.signals) + np.diag(self.quanta**2 / 12.0)

    def function(self, plant: Plant) -> ca.Function:
        """``h(x, u) -> (p, 1)``.

        Raises:
            UnknownName: no state has the name of a signal, where there is no expression.
            InvalidValue: the expression does not give one scalar per signal.
        """
        x, u = Vector(plant.state, plant.state.symbol(), "state"), Vector(plant.input, plant.input.symbol(), "input")
        if self.expression is None:
            outputs = ca.vertcat(*(x[name] for name in self.signals.names))
        else:
            where, expected = "the measurement", f"one expression per signal: {', '.join(self.signals.names)}"
            entries = evaluated(self.expression, where, x, u)
            scalar = isinstance(entries, (int, float)) or (isinstance(entries, ca.SX) and entries.is_scalar())
            outputs = column([entries] if scalar else entries, where, expected)
        if outputs.shape != (len(self.signals), 1):
            raise InvalidValue(
                f"the measurement gives {outputs.shape[0]} numbers for {len(self.signals)} declared signals"
            )
        try:
            f = ca.Function("measurement", [x.column, u.column], [ca.densify(outputs)], ["x", "u"], ["y"])
        except RuntimeError as error:
            raise InvalidValue(
                "the measurement contains symbols that are neither state nor input; CasADi says: "
                f"{str(error).splitlines()[-1]}"
            ) from error
        return without_nan(f, "the measurement")

    def sample(self, noise: np.random.Generator, losses: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draws of the noise (*shape, p), NaN where a value is lost.

        Args:
            noise, losses: two generators, so that the noise does not depend on the drop-outs.
            shape: of the draws.
        """
        errors = self.noise.sample(self.signals, noise, shape)
        lost = losses.random(errors.shape) < self.dropouts
        return np.where(lost, np.nan, errors)


@final
class Sensors:
    """The sensors of one run, sample by sample.

    Args:
        measurement: what they report.
        plant: whose state and input they read.
    """

    def __init__(self, measurement: Measurement, plant: Plant) -> None:
        self._x, self._u = np.zeros(len(plant.state)), np.zeros(len(plant.input))
        self._y = np.zeros(len(measurement.signals))
        self._function = Buffered(measurement.function(plant), [self._x, self._u], [self._y])
        self._delays, self._periods, self._quanta = measurement.delays, measurement.periods, measurement.quanta
        self._rounds = bool(self._quanta.any())
        self._plain = not self._delays.any() and bool((self._periods == 1).all())
        self._history: list[np.ndarray] = []

    def reset(self) -> None:
        """Starts a new run: discards measurements that have not been reported yet."""
        self._history = []

    def expected(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """h(x, u), (p,), for a state (n,) and an input (m,)."""
        self._x[:], self._u[:] = x, u
        self._function.run()
        return self._y.copy()

    def read(self, x: np.ndarray, u: np.ndarray, k: int, noise: np.ndarray | float = 0.0) -> np.ndarray:
        """The report at sample ``k``, (p,), NaN for signals without a report; called once for each sample of a run.

        Args:
            x: (n,), the state. u: (m,), the input of the sample before. k: the sample, 0 for the first of a run.
            noise: (p,), NaN where a value is lost; default: none.
        """
        values = self.expected(x, u)
        if not self._plain:
            self._history.append(values)
            if len(self._history) > self._delays.max() + 1:
                self._history.pop(0)
            taken = k - self._delays
            reported = (taken >= 0) & (taken % self._periods == 0)
            past = (self._history[max(len(self._history) - 1 - d, 0)][i] for i, d in enumerate(self._delays))
            values = np.where(reported, np.fromiter(past, float, len(values)), np.nan)
        values = values + noise
        if self._rounds:
            steps = np.where(self._quanta > 0, self._quanta, 1.0)
            values = np.where(self._quanta > 0, np.round(values / steps) * steps, values)
        return np.where(np.isfinite(values), values, np.nan)
