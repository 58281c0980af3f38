"""The observation of a task: a learner's function of the state and its reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from systems.errors import expect
from systems.expressions import expect_arguments
from systems.signals import Signals, Vector

__all__ = ["Observation"]


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
