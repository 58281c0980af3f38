"""Simulation of a hybrid system in continuous time, with changes of mode located within a sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, final

import casadi as ca
import numpy as np

from systems.arguments import expect_arguments, expect_array, expect_number, expect_whole
from systems.discretise import rk4
from systems.errors import DimensionMismatch, InvalidValue, expect
from systems.hybrid.guards import Guard
from systems.hybrid.system import HybridSystem
from systems.plant import Plant

__all__ = ["End", "HybridRun", "Switch", "simulate_hybrid"]

_HALVINGS = 60  # of a substep: its 2^-60th part is below the rounding of its ends


class End(StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    ZENO = "zeno"  # more changes of mode in one sample than allowed
    DIVERGED = "diverged"  # a state that is not finite


@final
@dataclass(frozen=True, eq=False)
class Switch:
    """A change of mode.

    Args:
        time: seconds since the start.
        source: name of the mode that was left.
        target: name of the mode that was entered.
        before: (n,), state at the guard.
        after: (n',), state after the reset.
    """

    time: float
    source: str
    target: str
    before: np.ndarray
    after: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class HybridRun:
    """One run: what was so at each sample, and all changes of mode between them.

    Args:
        dt: seconds between samples.
        modes: name of the mode at each sample; one more than inputs if the run finished.
        states: state at each sample, (n,) each; n may differ between modes.
        inputs: (m,) each, held over the sample.
        switches: changes of mode, in order.
        end: how the run ended.
    """

    dt: float
    modes: tuple[str, ...]
    states: tuple[np.ndarray, ...]
    inputs: tuple[np.ndarray, ...]
    switches: tuple[Switch, ...]
    end: End

    @property
    def times(self) -> np.ndarray:
        """Seconds since the start, of each sample."""
        return self.dt * np.arange(len(self.states))


Feedback = Callable[[str, np.ndarray, int], np.ndarray]
"""The input (m,) in a mode, at a state (n,), at a sample."""


def simulate_hybrid(
    system: HybridSystem,
    mode: str,
    x: np.ndarray,
    feedback: Feedback,
    samples: int,
    dt: float,
    substeps: int = 10,
    disturbances: np.ndarray | None = None,
    max_switches: int = 100,
) -> HybridRun:
    """Runs a hybrid system from a mode and a state, its input held over each sample.

    A change of mode happens where its guard says, not at the next sample: an impact does not wait for a computer. The
    classical Runge-Kutta method advances the state; where a transition is due at the end of a substep, its instant
    within the substep is found by bisection to rounding error, and the rest of the sample belongs to the next mode. A
    guard that falls below 0 and rises again within one substep is missed: choose more substeps.

    Args:
        system: with plants in continuous time; those in discrete time change mode at samples, as
            :class:`SampledHybrid` does.
        mode: name of the first mode.
        x: (n,), state at the start.
        feedback: ``lambda mode, x, k: u``; the input is clipped to the actuators' limits.
        samples: number of samples.
        dt: seconds between samples.
        substeps: Runge-Kutta steps per sample; default: 10.
        disturbances: (samples, q), held over each sample; default: zero.
        max_switches: changes of mode within one sample, after which the run ends as Zeno; default: 100.

    Raises:
        InvalidValue: plants in discrete time, a state that is not finite, or an argument of another type.
        DimensionMismatch: a state, input or disturbances of another shape.
        UnknownName: no such mode.
    """
    expect(system, HybridSystem, "the system of simulate_hybrid", "such as HybridSystem(modes, transitions)")
    samples = expect_whole(samples, "samples", least=1)
    substeps = expect_whole(substeps, "substeps", least=1)
    max_switches = expect_whole(max_switches, "max_switches", least=0)
    dt = expect_number(dt, "dt", above=0.0, hint="the sample time in seconds")
    expect_arguments(feedback, "mode, x, k", "feedback")
    plant = system.mode(mode).plant
    if plant.is_discrete:
        raise InvalidValue(
            f"mode '{mode}' is in discrete time, so that nothing can be located between its samples; use "
            "SampledHybrid(system, dt), an ordinary plant"
        )
    x = expect_array(x, f"the state in mode '{mode}'", (len(plant.state),))
    q = len(plant.disturbance)
    w = np.zeros((samples, q)) if disturbances is None else expect_array(disturbances, "disturbances", (samples, q))
    flows = {m.name: _Flow(m.plant, system.guards[m.name]) for m in system.modes}
    modes, states, inputs, switches, end = [mode], [x], [], [], End.FINISHED
    for k in range(samples):
        plant = system.mode(mode).plant
        u = np.asarray(feedback(mode, x, k), dtype=float)
        if u.shape != (len(plant.input),):
            raise DimensionMismatch(
                f"feedback returned an input of shape {u.shape} in mode '{mode}'; expected ({len(plant.input)},) for "
                f"{', '.join(plant.input.names)}"
            )
        left, count = dt, 0
        while left > 0.0:
            h, guard, reached = flows[mode].advance(
                x, np.clip(u, *system.mode(mode).plant.bounds), w[k], left, dt / substeps
            )
            left = left - h if guard is not None or h < left else 0.0
            x = reached
            if not np.isfinite(x).all():
                end = End.DIVERGED
                break
            if guard is not None:
                if (count := count + 1) > max_switches:
                    end = End.ZENO
                    break
                after = np.array(guard.reset(x)).ravel()
                switches.append(Switch((k + 1) * dt - left, mode, guard.target, x, after))
                mode, x = guard.target, after
        inputs.append(u)
        if end is not End.FINISHED:
            break
        modes.append(mode)
        states.append(x)
    return HybridRun(dt, tuple(modes), tuple(states), tuple(inputs), tuple(switches), end)


@dataclass(frozen=True, eq=False)
class _Flow:
    """The dynamics of a mode up to its next transition."""

    plant: Plant
    guards: tuple[Guard, ...]

    @cached_property
    def step(self) -> ca.Function:
        """One Runge-Kutta step ``(x, u, w, h) -> x+``."""
        f = self.plant.casadi()
        h: Any = ca.SX.sym("h")
        x, u, w, p = f.sx_in()
        return ca.Function("step", [x, u, w, h], [rk4(lambda z: f(z, u, w, p), x, h)])

    def advance(
        self, x: np.ndarray, u: np.ndarray, w: np.ndarray, left: float, substep: float
    ) -> tuple[float, Guard | None, np.ndarray]:
        """One substep, or the part of it up to a transition: seconds, the guard that is due, the state reached."""
        h = left if left < 1.5 * substep else substep
        end = self.at(x, u, w, h)
        instants = [(self._instant(guard, x, u, w, h), i) for i, guard in enumerate(self.guards)]
        instant, i = min(instants, default=(np.inf, 0))
        return (h, None, end) if instant > h else (instant, self.guards[i], self.at(x, u, w, instant))

    def _instant(self, guard: Guard, x: np.ndarray, u: np.ndarray, w: np.ndarray, h: float) -> float:
        """Seconds up to which a guard becomes due within a substep; infinite if it does not."""
        if guard.is_due(x, u, w):
            return 0.0
        if not guard.is_due(self.at(x, u, w, h), u, w):
            return np.inf
        low, high = 0.0, h
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if guard.is_due(self.at(x, u, w, middle), u, w):
                high = middle
            else:
                low = middle
        return high

    def at(self, x: np.ndarray, u: np.ndarray, w: np.ndarray, h: float) -> np.ndarray:
        """The state after h seconds."""
        return np.array(self.step(x, u, w, h)).ravel()
