"""The observation of a task: a learner's function of the state and its reference, or the measured signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from systems.arguments import expect_whole
from systems.errors import expect
from systems.expressions import expect_arguments
from systems.signals import Signals, Vector

__all__ = ["MeasuredWindow", "Observation"]


@final
@dataclass(frozen=True)
class Observation:
    """A learner's observation as an expression of the state and the current reference, such as the sine of an angle.

    ``Observation(signals("cosine [-]", "sine [-]", "rate [rad/s]"),
    lambda x, xr: (cos(x.angle), sin(x.angle), x.rate))``

    Args:
        signals: names and units of the observation's entries.
        expression: function of the state and its reference that returns one CasADi scalar for each signal.
    """

    signals: Signals
    expression: Callable[[Vector, Vector], Any]

    def __post_init__(self) -> None:
        expect(self.signals, Signals, "the signals of an observation", 'such as signals("sine [-]", "rate [rad/s]")')
        expect_arguments(self.expression, "x, xr", "the observation")


@final
@dataclass(frozen=True)
class MeasuredWindow:
    """A learner's observation of the measured signals of a task and of earlier samples.

    It consists of the last reported value of each measured signal, the age of that value in samples for signals that
    are not reported at every sample, the values of the ``past`` samples before (newest first), the inputs applied in
    these samples (newest first), and the reference of the state if it moves. See
    :class:`systems.measured_history.MeasuredHistory`.

    Args:
        past: number of earlier samples; default: 0.

    Raises:
        InvalidValue: past is not a whole number of at least 0.
    """

    past: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "past", expect_whole(self.past, "past", least=0, unit="samples"))
