"""A mode of a hybrid system under a saturated linear law, simulated up to its end."""

from __future__ import annotations

from typing import final

import casadi as ca
import numpy as np

from ctrl.laws.saturated_linear import SaturatedLinear
from systems.discretise import Discretisation, Integrator
from systems.hybrid.guards import Guard
from systems.lowering.buffered import Buffered
from systems.plant import Plant

__all__ = ["ModePrediction", "numbers"]

_AT_ONCE = 16  # samples per call of the function: a call costs as much as several samples


def numbers(law: SaturatedLinear, moved_by: np.ndarray) -> np.ndarray:
    """What a :class:`ModePrediction` reads of a law whose reference is moved, (l,): gain, reference, input, bounds."""
    return np.concatenate([law.K.ravel(), law.x_ref + moved_by, law.u_ref, law.lower, law.upper])


@final
class ModePrediction:
    """The undisturbed plant of a mode under u = clip(u_ref - K (x - x_ref)), sample by sample until its transition.

    One function of CasADi holds many samples; those after the end leave the state as it is.

    Args:
        plant: of the mode.
        guard: of its only transition.
        positions: (n',), of the states that the laws read, among those of the plant.
        dt: seconds between samples.
        integrator: as in :class:`Discretisation`.
        samples: after which a mode that has not ended is given up.
    """

    def __init__(
        self, plant: Plant, guard: Guard, positions: np.ndarray, dt: float, integrator: Integrator, samples: int
    ) -> None:
        n, m, own = len(plant.state), len(plant.input), len(positions)
        sizes = [m * own, own, m, m, m]
        step, w = Discretisation(plant, dt, integrator).function(), np.zeros(len(plant.disturbance))
        start, law = ca.SX.sym("start", n + 2), ca.SX.sym("law", sum(sizes))
        gain, x_ref, u_ref, lower, upper = ca.vertsplit(law, [0, *np.cumsum(sizes).tolist()])
        K = ca.reshape(gain, own, m).T
        x, taken, ended = start[:n], start[n], start[n + 1]
        for _ in range(_AT_ONCE):
            u = ca.fmin(ca.fmax(u_ref - K @ (x[positions.tolist()] - x_ref), lower), upper)
            after = step(x, u, w, ca.SX(0, 1))
            value, rate = guard.function(after, u, w)
            goes_on = ca.logic_and(ended == 0, taken < samples)
            x = ca.if_else(goes_on, after, x)
            taken += goes_on
            ended = ca.fmax(ended, ca.logic_and(goes_on, ca.logic_and(value <= 0, rate <= 0)))
        function = ca.Function("prediction", [start, law], [ca.vertcat(x, taken, ended)])
        self._start, self._law, self._reached = np.zeros(n + 2), np.zeros(sum(sizes)), np.zeros(n + 2)
        self._buffered = Buffered(function, [self._start, self._law], [self._reached])
        self._n, self._samples, self._reset = n, samples, guard.reset

    def __call__(self, x: np.ndarray, law: np.ndarray) -> tuple[int, np.ndarray, bool]:
        """From state x (n,) under a law's :func:`numbers`: samples taken, the state after the reset, and whether the
        mode ended; where it did not, the state is NaN."""
        n, start, reached = self._n, self._start, self._reached
        start[:n], start[n:], self._law[:] = x, 0.0, law
        while True:
            self._buffered.run()
            if reached[n + 1] > 0:
                return int(reached[n]), np.array(self._reset(reached[:n])).ravel(), True
            if reached[n] >= self._samples or not np.isfinite(reached).all():
                return int(reached[n]), np.full(self._reset.size1_out(0), np.nan), False
            start[:] = reached
