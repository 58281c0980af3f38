"""A nominal plant with a residual whose weights are parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, final

import casadi as ca

from systems.discretise import Discretisation
from systems.errors import DimensionMismatch
from systems.identification.online.features import FourierFeatures
from systems.inputs.augmented_plant import SampledPlant
from systems.signals import Signals, Vector

__all__ = ["ResidualPlant"]


@final
@dataclass(frozen=True)
class ResidualPlant(SampledPlant):
    """x+ = nominal(x, u, w) + sum_j size_j a_j' phi(x, u) e_j, with weights a_j that are parameters, zero unless given.

    Args:
        sampling: the nominal plant at samples.
        features: phi.
        outputs: names of the states with a residual.
        sizes: of the residual of each output, in the state's unit.
        periodic: the nominal state with its periods.
        weights: all weights, those of the first output first; default: zero.
    """

    sampling: Discretisation
    features: FourierFeatures
    outputs: tuple[str, ...]
    sizes: tuple[float, ...]
    periodic: Signals
    weights: tuple[Any, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.weights:
            object.__setattr__(self, "weights", (0.0,) * (self.features.count * len(self.outputs)))
        if len(self.weights) != self.features.count * len(self.outputs):
            raise DimensionMismatch(
                f"{len(self.weights)} weights; expected {self.features.count} features x {len(self.outputs)} outputs"
            )
        super().__post_init__()

    @property
    def state(self) -> Signals:  # type: ignore[override]
        return self.periodic

    @property
    def added(self) -> Signals:
        return Signals()

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights as parameters."""
        return tuple(f"{name}_weight_{i}" for name in self.outputs for i in range(self.features.count))

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of the nominal plant, and the weights."""
        return {**self.inner.parameters, **dict(zip(self.weight_names, self.weights, strict=True))}

    def with_parameters(self, values: Mapping[str, float]) -> Self:
        own = {name: values[name] for name in values if name in self.weight_names}
        inner = {name: value for name, value in values.items() if name not in own}
        weights = tuple(own.get(n, w) for n, w in zip(self.weight_names, self.weights, strict=True))
        plant = self.inner.with_parameters(inner) if inner else self.inner
        return dataclasses.replace(self, sampling=self.sampling.replace(plant), weights=weights)

    def symbolic(self, names: Sequence[str]) -> tuple[Self, Any]:
        own = set(self.weight_names)
        plant, of_inner = super().symbolic([name for name in names if name not in own])
        symbols = {name: ca.SX.sym(name) for name in names if name in own}
        if symbols:
            weights = tuple(symbols.get(n, w) for n, w in zip(self.weight_names, self.weights, strict=True))
            plant = dataclasses.replace(plant, weights=weights)
        inner = iter(ca.vertsplit(of_inner))
        return plant, ca.vertcat(ca.SX(0, 1), *(symbols[name] if name in own else next(inner) for name in names))

    def _expect_followed(self, f: ca.Function, parameters: Sequence[str]) -> None:
        own = set(self.weight_names)
        self.inner.casadi([name for name in parameters if name not in own])  # the others are read here alone

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        after = self.advance(x, u.column, w)
        phi, count = self.features.function(self.periodic, self.inner.input)(x.column, u.column), self.features.count
        for j, (name, size) in enumerate(zip(self.outputs, self.sizes, strict=True)):
            weights = ca.vertcat(*self.weights[j * count : (j + 1) * count])
            after[self.inner.state.where(name)] += size * ca.dot(weights, phi)
        return after
