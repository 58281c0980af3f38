"""A residual of the equations of a plant that a Gaussian process learns online."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np

from systems.arguments import expect_number, expect_whole
from systems.content import ByContent
from systems.distributions import Gaussian, Uniform
from systems.errors import InvalidValue, UnknownName, expect, shown
from systems.identification.gaussian_process import Kernel
from systems.identification.learned_plant import LearnedPlant
from systems.identification.online.incremental_process import IncrementalProcess
from systems.plant import Plant
from systems.signals import Signals, signals

__all__ = ["ProcessResidual"]


@final
@dataclass(frozen=True, eq=False)
class ProcessResidual(ByContent):
    """x' = f(x, u) + r(z) in some of the states, or x+ = f(x, u) + r(z) for a plant that is discrete by nature, with r
    from an :class:`IncrementalProcess`.

    Args:
        lengths: by name of the states and inputs in z: over which change of the signal, in its unit, r varies.
        sizes: by name of the states with a residual: its standard deviation before any sample, in the unit of the
            state per second (per sample for a discrete plant).
        noise: standard deviation of what one sample says of r, relative to ``sizes``; default: 0.1.
        capacity: largest number of points of the process; default: 50.

    Raises:
        InvalidValue: no feature or no output, or a number that is not positive.
    """

    lengths: Mapping[str, float]
    sizes: Mapping[str, float]
    noise: float = 0.1
    capacity: int = 50

    def __post_init__(self) -> None:
        for what, numbers in (("lengths", self.lengths), ("sizes", self.sizes)):
            if not isinstance(numbers, Mapping) or not numbers:
                raise InvalidValue(
                    f"{what} = {shown(numbers)}; expected a number by name of a signal, such as " + '{"speed": 0.5}'
                )
            for name, value in numbers.items():
                expect_number(value, f"{what}: {name}", above=0.0)
        expect_number(self.noise, "noise", least=1e-4, hint="relative to the sizes")
        expect_whole(self.capacity, "capacity", least=1, most=2000)

    def start(self) -> IncrementalProcess:
        """The process before any sample, of r relative to ``sizes``."""
        lengths = np.array(list(self.lengths.values()), dtype=float)
        return IncrementalProcess(Kernel(lengths, 1.0, float(self.noise)), len(self.sizes), self.capacity)

    def rows(self, plant: Plant) -> np.ndarray:
        """Indices of the states with a residual.

        Raises:
            UnknownName: of a state that the plant does not have.
        """
        return np.array([plant.state.where(name) for name in self.sizes], dtype=int)

    def features(self, plant: Plant) -> ca.Function:
        """``(x, u) -> z``, (d, 1).

        Raises:
            UnknownName: a length of neither a state nor an input. InvalidValue: of a periodic signal.
        """
        x, u = plant.state.symbol(), plant.input.symbol()
        known = dict(zip((*plant.state.names, *plant.input.names), ca.vertsplit(ca.vertcat(x, u)), strict=True))
        periods = dict(zip(plant.state.names, plant.state.periods.tolist(), strict=True))
        for name in self.lengths:
            if name not in known:
                raise UnknownName.among(name, list(known), "state or input")
            if np.isfinite(periods.get(name, np.inf)):
                raise InvalidValue(f"the feature {name} is periodic, which this kernel is not; leave it out")
        return ca.Function("features", [x, u], [ca.vertcat(*(known[name] for name in self.lengths))])

    def disturbed(self, plant: Plant) -> LearnedPlant:
        """The plant with r as its disturbances, behind its own, in the unit of ``sizes``."""
        return self._with(plant, lambda x, u, w: w)

    def plant(self, plant: Plant, process: IncrementalProcess) -> LearnedPlant:
        """The plant with the present mean of r, and deviation times a disturbance: of standard deviation 1, if these
        are drawn from ``disturbance``. The deviation is that of the function, larger away from the points.

        Args:
            plant: the nominal one. process: made by :meth:`start`.
        """
        expect(process, IncrementalProcess, "the process of a residual", "such as residual.start()")
        features = self.features(plant)
        sizes = ca.DM(list(self.sizes.values()))

        def residual(x: ca.SX, u: ca.SX, w: ca.SX) -> ca.SX:
            z = features(x, u)
            return sizes * (process.mean(z) + process.deviation(z) * w)

        return self._with(plant, residual)

    def disturbance(self, plant: Plant) -> Gaussian:
        """Of :meth:`plant`: independent standard normal numbers; disturbances of the nominal plant are zero."""
        errors, own = len(self.sizes), len(plant.disturbance)
        return Gaussian(covariance_matrix=np.diag([0.0] * own + [1.0] * errors))

    def band(self, plant: Plant, deviations: float = 2.0) -> Uniform:
        """Of :meth:`plant`: within so many deviations, for tubes and proofs, which need bounds.

        Args:
            plant: the nominal one. deviations: half of the width of the band; default: 2.
        """
        expect_number(deviations, "deviations", above=0.0)
        high = np.array([0.0] * len(plant.disturbance) + [float(deviations)] * len(self.sizes))
        return Uniform(-high, high)

    def _with(self, plant: Plant, residual: Any) -> LearnedPlant:
        expect(plant, Plant, "the nominal plant of a residual", "such as CartPole()")
        rows, own = self.rows(plant), len(plant.disturbance)
        declared = Signals((*plant.disturbance, *signals(*(f"{name}_residual" for name in self.sizes))))
        x, u, w = plant.state.symbol(), plant.input.symbol(), ca.SX.sym("w", len(declared))
        result = ca.SX(plant.casadi()(x, u, w[:own], ca.SX(0, 1)))
        added = residual(x, u, w[own:])
        for j, i in enumerate(rows.tolist()):
            result[i] += added[j]
        equations = ca.Function("learned", [x, u, w], [result], ["x", "u", "w"], ["next"])
        limits = tuple(zip(*(bound.tolist() for bound in plant.bounds), strict=True))
        dt = getattr(plant, "dt", None) if plant.is_discrete else None
        return LearnedPlant(equations, plant.state, plant.input, declared, dt, limits)
