"""The planner that chooses, at a change of mode, the reference that the next mode receives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.hybrid.references import ModeReference
from systems import Discretisation, InvalidValue, Plant, lower
from systems.arguments import expect_whole
from systems.discretise import Integrator
from systems.errors import expect
from systems.hybrid import HybridSystem
from systems.lowering.program import read
from systems.lowering.same import same_function

__all__ = ["Choice", "RegionPlanner"]

_OUTSIDE = 1e6  # seconds that a unit of V over its level is counted as, so that membership comes first
_FAR = 1e3  # V over its level from which on it is not distinguished further


@final
@dataclass(frozen=True, eq=False)
class Choice:
    """A reference chosen for a mode.

    Args:
        index: of the reference among those of the mode.
        reference: itself.
        is_proved: whether the state surely lies in its region, so that the mode keeps it there until it ends.
        is_predicted: whether the prediction enters regions at the coming changes of mode within the horizon.
        seconds: predicted to the end of the horizon.
    """

    index: int
    reference: ModeReference
    is_proved: bool
    is_predicted: bool
    seconds: float


Step = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""x+ (b, n) of x (b, n) and u (b, m)."""


@lru_cache(maxsize=256)
def _step(plant: Plant, dt: float, integrator: Integrator) -> Step:
    """One sample of an undisturbed plant, for many states at once."""
    f = Discretisation(plant, dt, integrator).lower("numpy")
    w, p = np.zeros(len(plant.disturbance)), np.zeros(0)

    def step(x: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.asarray(f(x, u, w, p))

    return step


@lru_cache(maxsize=256)
def _is_carried(plant: Plant, inner: Plant) -> bool:
    """Whether the states of a plant that have the names of an inner plant's obey its equations, with its actuators."""
    if plant.input != inner.input or any(name not in plant.state.names for name in inner.state.names):
        return False
    if not np.array_equal(plant.bounds, inner.bounds):
        return False
    f, g = plant.casadi(), inner.casadi()
    x, u, w, p = f.sx_in()
    rows = [plant.state.where(name) for name in inner.state.names]
    own = ca.vertcat(*[x[i] for i in rows])
    equations = f(x, u, 0 * w, p)[rows]
    others = [x[i] for i in range(x.shape[0]) if i not in rows]
    if others and ca.depends_on(equations, ca.vertcat(*others)):
        return False
    ours = ca.Function("f", [own, u], [equations])
    theirs = ca.Function("f", [own, u], [g(own, u, 0, ca.SX(0, 1))])
    return same_function(read(ours), read(theirs))


@final
class RegionPlanner:
    """Chooses references by the regions that are proved for them, after Meng & Fan (2023), whose regions are estimated.

    At a change of mode every reference of the mode that is entered, whose proved region holds the state, is simulated
    to the end of the mode and reset; from there on in the same way, so many changes of mode ahead. Of the sequences of
    references that enter a region at every change the fastest is chosen; where there is none, the one whose states lie
    least outside. A reference stays until the mode ends, since it is only then that its region says nothing.

    What is proved is that a mode whose choice ``is_proved`` keeps its state within the region at all samples until it
    ends. What is predicted, the regions at coming changes, is checked when they come: the next choice says so.

    Args:
        system: modes in a sequence, each with at most one transition.
        references: of each mode, by name, at least one; of those that are equally fast the last is chosen, as in the
            last mode of a sequence.
        dt: seconds between samples, those of the certificates.
        integrator: that of the certificates; default: ``rk4``.
        horizon: changes of mode that are simulated; default: 2.
        samples: after which a mode that has not ended is given up; default: 400.

    Raises:
        InvalidValue: a mode without references or with several transitions, or a certificate about other dynamics than
            the mode's.
    """

    def __init__(
        self,
        system: HybridSystem,
        references: Mapping[str, Sequence[ModeReference]],
        dt: float,
        integrator: Integrator = "rk4",
        horizon: int = 2,
        samples: int = 400,
    ) -> None:
        expect(system, HybridSystem, "the system of RegionPlanner", "such as HybridSystem(modes, transitions)")
        self.system, self.dt, self.integrator = system, dt, integrator
        self.horizon = expect_whole(horizon, "horizon", least=0)
        self.samples = expect_whole(samples, "samples", least=1)
        self.references = {name: tuple(given) for name, given in references.items()}
        self._lowered: dict[str, tuple[Any, Any]] = {}
        for mode in system.modes:
            given = self.references.get(mode.name, ())
            if not given:
                raise InvalidValue(f"mode '{mode.name}' has no reference; give it at least one ModeReference")
            if len(system.guards[mode.name]) > 1:
                raise InvalidValue(
                    f"mode '{mode.name}' has {len(system.guards[mode.name])} transitions; expected at most one, so "
                    "that it is known which mode comes next"
                )
            for reference in given:
                self._expect_about(mode.name, reference)

    def choose(self, mode: str, x: np.ndarray) -> Choice:
        """The reference of a mode that is entered at state x (n,)."""
        references = self.references[mode]
        costs, outside = self._sequences(mode, np.asarray(x, dtype=float)[None], self.horizon)
        score = costs[0] + _OUTSIDE * outside[0]
        best = len(score) - 1 - int(np.argmin(score[::-1]))
        own = x[self._positions(mode)]
        return Choice(
            best,
            references[best],
            bool(references[best].contains(own)),
            bool(outside[0, best] == 0.0),
            float(costs[0, best]),
        )

    def _sequences(self, mode: str, x: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """Of states (b, n) entering a mode, for each reference (r): seconds of the best sequence that begins with it,
        and how far outside of regions its states are in all; both (b, r)."""
        references, positions = self.references[mode], self._positions(mode)
        own = x[:, positions]
        excess = np.stack([reference.excess(own) for reference in references], axis=1)
        outside = np.clip(np.nan_to_num(excess, nan=_FAR, posinf=_FAR) - 1.0, 0.0, _FAR)
        seconds = np.zeros_like(outside)
        guards = self.system.guards[mode]
        if horizon == 0 or not guards:
            return seconds, outside
        # What is not in a region is worth simulating only where nothing else is.
        tried = (outside == 0.0) | ((outside.min(axis=1, keepdims=True) > 0) & (outside < _FAR))
        rows, columns = np.nonzero(tried)
        seconds[~tried], outside[~tried] = np.inf, np.maximum(outside[~tried], 1e-12) + _FAR
        if not len(rows):
            return seconds, outside
        taken, after, ended = self._simulated(mode, x[rows], columns)
        later, beyond = self._sequences(guards[0].target, after, horizon - 1)
        best = np.argmin(later + _OUTSIDE * beyond, axis=1)
        at = np.arange(len(rows)), best
        seconds[rows, columns] = self.dt * taken + later[at]
        outside[rows, columns] += np.where(ended, beyond[at], _FAR)
        return seconds, outside

    def _simulated(self, mode: str, x: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """States (b, n) under references (b,) until the mode ends: samples taken (b,), states after the reset, and
        which modes ended."""
        references, positions = self.references[mode], self._positions(mode)
        step, (guard, reset) = _step(self.system.mode(mode).plant, self.dt, self.integrator), self._ends(mode)
        K = np.stack([r.law.K for r in references])[columns]
        centre = np.stack([r.law.x_ref + r.moved_by for r in references])[columns]
        u_ref, low, high = (
            np.stack([getattr(r.law, a) for r in references])[columns] for a in ("u_ref", "lower", "upper")
        )
        x, taken, ended = x.copy(), np.zeros(len(x)), np.zeros(len(x), dtype=bool)
        left = np.arange(len(x))
        for k in range(self.samples):
            away = x[left][:, positions] - centre[left]
            u = np.clip(u_ref[left] - np.einsum("bij,bj->bi", K[left], away), low[left], high[left])
            x[left] = step(x[left], u)
            due = guard(x[left], u)
            taken[left] = k + 1
            ended[left[due]] = True
            left = left[~due & np.isfinite(x[left]).all(axis=1)]
            if not len(left):
                break
        x[ended] = reset(x[ended])
        return taken, x, ended

    def _positions(self, mode: str) -> np.ndarray:
        """Positions of the proved states among those of the mode."""
        names = self.references[mode][0].certificate.state.names
        state = self.system.mode(mode).plant.state
        return np.array([state.where(name) for name in names])

    def _ends(
        self, mode: str
    ) -> tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
        """When a mode ends, (b,) of bool, and its reset, for states (b, n) at once."""
        if mode not in self._lowered:
            transition, plant = self.system.guards[mode][0], self.system.mode(mode).plant
            guard, reset = lower(transition.function, to="numpy"), lower(transition.reset, to="numpy")
            w = np.zeros(len(plant.disturbance))

            def is_due(x: np.ndarray, u: np.ndarray) -> np.ndarray:
                value, rate = guard(x, u, w)
                return np.asarray((value[..., 0] <= 0) & (rate[..., 0] <= 0))

            self._lowered[mode] = is_due, reset
        return self._lowered[mode]

    def _expect_about(self, mode: str, reference: ModeReference) -> None:
        """Raises InvalidValue where a certificate is not about the dynamics of its mode."""
        expect(reference, ModeReference, f"a reference of mode '{mode}'", "such as ModeReference(certificate)")
        task = reference.certificate.claimed.loop.task
        dynamics = task.true_dynamics  # which the certificate is about
        if not _is_carried(self.system.mode(mode).plant, dynamics.plant):
            raise InvalidValue(
                f"the certificate of task '{task.name}' is about other equations or actuator limits than those of mode "
                f"'{mode}'; its plant must be the mode's, with the same parameters, or the one that the mode's carries"
            )
        sampling = (dynamics.dt, dynamics.integrator, dynamics.substeps)
        if sampling != (self.dt, self.integrator, 1):
            raise InvalidValue(
                f"the certificate of task '{task.name}' is about {dynamics}; expected {self.integrator}, "
                f"{self.dt:g} s, as the planner simulates"
            )
