"""Random Fourier features of states and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from systems.arguments import expect_number, expect_seed, expect_whole
from systems.content import ByContent
from systems.errors import InvalidValue, UnknownName, shown
from systems.signals import Signals

__all__ = ["FourierFeatures"]


@final
@dataclass(frozen=True, eq=False)
class FourierFeatures(ByContent):
    """Features sqrt(2 / count) cos(w_i' z + b_i), w_i ~ N(0, 1 / length^2), b_i ~ U(0, 2 pi): their products
    approximate a Gaussian kernel of these lengths (Rahimi & Recht, 2007).

    Args:
        lengths: by name of the states and inputs in z: over which change of the signal, in its unit, the function to be
            learned varies. A periodic signal s of period T enters as T / (2 pi) times the sine and cosine of
            2 pi s / T, so that the function has its period.
        count: number of features; default: 200.
        seed: of the draw; default: 0.

    Raises:
        InvalidValue: no signal, or a length that is not positive.
    """

    lengths: Mapping[str, float]
    count: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.lengths, Mapping) or not self.lengths:
            raise InvalidValue(
                f"lengths = {shown(self.lengths)}; expected a length by name of a state or input, such as "
                '{"position": 0.5}'
            )
        for name, length in self.lengths.items():
            expect_number(length, f"length of {name}", above=0.0, hint="in the unit of the signal")
        expect_whole(self.count, "number of features", least=1, most=10_000)
        expect_seed(self.seed)

    def function(self, state: Signals, inputs: Signals) -> ca.Function:
        """``f(x, u) -> features``, (count, 1); their squares sum to at most 2.

        Args:
            state: with its periods. inputs: of the plant.

        Raises:
            UnknownName: a length of neither a state nor an input.
        """
        x, u = state.symbol(), inputs.symbol()
        known = dict(zip((*state.names, *inputs.names), (*ca.vertsplit(x), *ca.vertsplit(u)), strict=True))
        periods = dict(zip(state.names, state.periods.tolist(), strict=True))
        z, lengths = [], []
        for name, length in self.lengths.items():
            if name not in known:
                raise UnknownName.among(name, list(known), "state or input")
            radius = periods.get(name, np.inf) / (2.0 * np.pi)
            entries = [known[name]] if np.isinf(radius) else [
                radius * ca.sin(known[name] / radius), radius * ca.cos(known[name] / radius)
            ]  # fmt: skip
            z += entries
            lengths += [float(length)] * len(entries)
        rng = np.random.default_rng(self.seed)
        frequencies = rng.standard_normal((self.count, len(z))) / np.array(lengths)
        phases = rng.uniform(0.0, 2.0 * np.pi, self.count)
        values = np.sqrt(2.0 / self.count) * ca.cos(ca.SX(frequencies) @ ca.vertcat(*z) + ca.SX(phases))
        return ca.Function("features", [x, u], [values], ["x", "u"], ["features"])
