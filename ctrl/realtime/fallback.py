"""The chain of fallback controllers, which are called if the loop's own controller does not answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import numpy as np

from ctrl.controller import Controller, Status
from ctrl.realtime.asked import takes_outputs
from systems import InvalidValue
from systems.errors import expect, shown

__all__ = ["FallbackChain", "FallbackInput"]


class FallbackInput(NamedTuple):
    """The answer of a fallback controller.

    Args:
        position: of the controller in the chain. input: (m,), finite.
    """

    position: int
    input: np.ndarray


@final
class FallbackChain:
    """Calls controllers in order; the first one that solves its problem supplies the input, else the first finite
    input.

    They run in the loop's thread, so they should be fast.

    Args:
        controllers: by name.
        inputs: number of inputs.

    Raises:
        InvalidValue: something that is not a controller, or one of measured outputs.

    Attributes:
        names: of the controllers, in order. error: the first one that a controller raised; empty for none.
    """

    def __init__(self, controllers: Mapping[str, Controller], inputs: int) -> None:
        expect(controllers, Mapping, "fallbacks", "such as {'lqr': LQR(task)}")
        for name, controller in controllers.items():
            if isinstance(controller, type) or not isinstance(controller, Controller):
                raise InvalidValue(
                    f"fallbacks: '{name}' is {shown(controller)}; expected a controller, made for the task"
                )
            if takes_outputs(controller):
                raise InvalidValue(
                    f"fallbacks: '{name}' takes measured outputs, and needs all of them to know where it is; give the "
                    "controller of the state inside it, which is called with the loop's estimate"
                )
        self.names, self._controllers = tuple(controllers), tuple(controllers.values())
        self._shape, self.error = (inputs,), ""

    def reset(self) -> None:
        for controller in self._controllers:
            controller.reset()

    def decide(self, x: np.ndarray, k: int) -> FallbackInput | None:
        """The input in state ``x`` (n,) at sample ``k``; None if no controller gives a finite one."""
        usable = None
        for i, controller in enumerate(self._controllers):
            try:
                decision = controller.step(x.copy(), k)
                u = np.asarray(decision.input, dtype=float)
                if u.shape != self._shape or not np.isfinite(u).all():
                    continue
            except Exception as error:  # somebody else's code must not end the loop
                self.error = self.error or f"fallback '{self.names[i]}': {type(error).__name__}: {error}"
                continue
            if decision.status is Status.SOLVED:
                return FallbackInput(i, u)
            usable = usable or FallbackInput(i, u)
        return usable
