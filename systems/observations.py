"""The observation of a task: what a learner sees of the state and its reference."""

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
    """What a learner sees, as an expression of the state and its present reference, such as the sine of an angle.

    ``Observation(signals("cosine [-]", "sine [-]", "rate [rad/s]"),
    lambda x, xr: (cos(x.angle), sin(x.angle), x.rate))``
    """

    signals: Signals
    expression: Callable[[Vector, Vector], Any]

    def __post_init__(self) -> None:
        expect(self.signals, Signals, "the signals of an observation", 'such as signals("sine [-]", "rate [rad/s]")')
        expect_arguments(self.expression, "x, xr", "the observation")
