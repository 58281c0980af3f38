"""The planner that chooses, at a change of mode or within a mode, the reference that the mode receives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import casadi as ca
import numpy as np

from ctrl.hybrid.prediction import ModePrediction, numbers
from ctrl.hybrid.references import ModeReference
from systems import InvalidValue, Plant
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
        is_proved: whether the state surely lies in its region, so that the mode keeps it there as long as it has this
            reference.
        is_predicted: whether the prediction enters regions at the coming changes of mode within the horizon.
        seconds: predicted to the end of the horizon.
    """

    index: int
    reference: ModeReference
    is_proved: bool
    is_predicted: bool
    seconds: float


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
    least outside. It may be asked again within a mode: where the region of the present reference overlaps with that of
    another one, the state is handed from one to the next (sequential composition, Burridge, Rizzi & Koditschek, 1999),
    which reaches references whose regions did not hold the state when the mode was entered.

    What is proved is that a mode whose choice ``is_proved`` keeps its state within the region at all samples until it
    ends or has another reference. What is predicted, the regions at coming changes, is checked when they come: the next
    choice says so.

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
        # All that depends on the modes alone is made here, so that a decision is quick from the first one on.
        self._positions = {mode.name: self._proved_states(mode.name) for mode in system.modes}
        self._laws = {name: [numbers(r.law, r.moved_by) for r in given] for name, given in self.references.items()}
        self._predictions = {
            mode.name: ModePrediction(
                mode.plant, guard, self._positions[mode.name], self.dt, self.integrator, self.samples
            )
            for mode in system.modes
            for guard in system.guards[mode.name]
        }

    def choose(self, mode: str, x: np.ndarray) -> Choice:
        """The reference of a mode that is entered at state x (n,), or that has not ended at it."""
        references = self.references[mode]
        costs, outside = self._sequences(mode, np.asarray(x, dtype=float)[None], self.horizon)
        score = costs[0] + _OUTSIDE * outside[0]
        best = len(score) - 1 - int(np.argmin(score[::-1]))
        own = x[self._positions[mode]]
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
        references, positions = self.references[mode], self._positions[mode]
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
        predict, laws = self._predictions[mode], self._laws[mode]
        runs = [predict(start, laws[column]) for start, column in zip(x, columns, strict=True)]
        taken, after, ended = zip(*runs, strict=True)
        return np.array(taken), np.array(after), np.array(ended)

    def _proved_states(self, mode: str) -> np.ndarray:
        """Positions of the proved states among those of the mode."""
        names = self.references[mode][0].certificate.state.names
        state = self.system.mode(mode).plant.state
        return np.array([state.where(name) for name in names])

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
