"""A hybrid system as an ordinary plant in discrete time, its mode being one of the states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import casadi as ca

from systems.arguments import expect_number
from systems.discretise import Discretisation, Integrator
from systems.errors import InvalidValue, expect
from systems.hybrid.system import HybridSystem
from systems.plant import Plant
from systems.signals import Signal, Signals, Vector

__all__ = ["SampledHybrid"]


@final
@dataclass(frozen=True)
class SampledHybrid(Plant):
    """Modes change at samples: the state is advanced by its mode's dynamics over one sample; a transition that is due
    there resets it, at most one per sample.

    This is how a digital controller changes modes, and what invariance in discrete time speaks of: proofs of single
    modes hold for it as they are. It differs from :func:`simulate_hybrid`, where a mode ends between two samples, by
    less than one sample of dynamics per change. Its state is that of the modes and, last, ``mode``, the position of the
    mode in the system.

    Args:
        system: whose modes all have the same states.
        dt: seconds between samples.
        integrator: as in :class:`Discretisation`; default: ``rk4``.
        substeps: as in :class:`Discretisation`; default: 1.

    Raises:
        InvalidValue: modes with different states or limits, which no ordinary plant has, or a state called ``mode``.
    """

    system: HybridSystem
    dt: float
    integrator: Integrator = "rk4"
    substeps: int = 1

    def __post_init__(self) -> None:
        expect(self.system, HybridSystem, "SampledHybrid: system", "such as HybridSystem(modes, transitions)")
        expect_number(self.dt, "SampledHybrid: dt", above=0.0, hint="the sample time in seconds")
        first = self.system.modes[0]
        for mode in self.system.modes[1:]:
            if mode.plant.state != first.plant.state:
                raise InvalidValue(
                    f"modes '{first.name}' and '{mode.name}' have different states, so their sampled system is not an "
                    "ordinary plant; give all modes the same states, or use simulate_hybrid(system, ...)"
                )
        if "mode" in first.plant.state.names:
            raise InvalidValue("a state is called 'mode', which here is the name of the mode's position; rename it")
        super().__post_init__()

    @property
    def state(self) -> Signals:  # type: ignore[override]
        """Those of the modes, and the position of the mode."""
        return Signals((*self.system.modes[0].plant.state, Signal("mode", "-")))

    @property
    def input(self) -> Signals:  # type: ignore[override]
        """Those of the modes."""
        return self.system.modes[0].plant.input

    @property
    def disturbance(self) -> Signals:  # type: ignore[override]
        """Those of the modes."""
        return self.system.modes[0].plant.disturbance

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        *_, index = x
        state, after = x.column[:-1], x.column
        for i, mode in enumerate(self.system.modes):
            lower, upper = mode.plant.bounds
            applied = ca.fmin(ca.fmax(u.column, lower), upper)
            dynamics = Discretisation(mode.plant, self.dt, self.integrator, self.substeps)
            moved = dynamics.function()(state, applied, w.column, ca.SX(0, 1))
            result = ca.vertcat(moved, i)
            # The first transition that is due counts, so it is written last.
            for guard in reversed(self.system.guards[mode.name]):
                value, rate = guard.function(moved, applied, w.column)
                entered = ca.vertcat(guard.reset(moved), self.system.index(guard.target))
                result = ca.if_else(ca.logic_and(value <= 0, rate <= 0), entered, result)
            after = ca.if_else(index == i, result, after)
        return after

    def limits(self) -> Mapping[str, tuple[float, float]]:
        """The widest of the modes; each mode clips to its own."""
        bounds = [mode.plant.bounds for mode in self.system.modes]
        return {
            name: (float(min(low[i] for low, _ in bounds)), float(max(high[i] for _, high in bounds)))
            for i, name in enumerate(self.input.names)
        }
