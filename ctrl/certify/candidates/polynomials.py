"""Functions that are linear in their coefficients: monomials in scaled variables, and user-defined features."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from systems.lowering import jacobian, lower

__all__ = ["Features", "Monomials"]


@final
@dataclass(frozen=True, eq=False)
class Monomials:
    """The monomials prod_i ((x_i - centre_i) / scale_i)^e_i.

    Args:
        exponents: (k, n) of integers.
        centre, scale: (n,).
    """

    exponents: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    @staticmethod
    def up_to(degree: int, centre: np.ndarray, scale: np.ndarray, even: bool = False) -> Monomials:
        """All monomials of total degree 2 to ``degree``; on request, only those of even degree."""
        n = len(centre)
        exponents = [e for e in itertools.product(range(degree + 1), repeat=n) if 2 <= sum(e) <= degree]
        exponents = [e for e in exponents if not even or sum(e) % 2 == 0]
        return Monomials(np.array(sorted(exponents, key=lambda e: (sum(e), e))), np.array(centre), np.array(scale))

    def __len__(self) -> int:
        return len(self.exponents)

    def values(self, x: np.ndarray) -> np.ndarray:
        """(b, k) at states (b, n)."""
        z = (x - self.centre) / self.scale
        table = np.stack(
            [np.ones_like(z), *itertools.accumulate([z] * int(self.exponents.max(initial=1)), np.multiply)]
        )
        result = np.ones((len(x), len(self)))
        for i in range(z.shape[1]):
            result *= table[self.exponents[:, i], :, i].T
        return result

    def slopes(self, x: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Derivatives (b, k) along directions (b, n)."""
        result = np.zeros((len(x), len(self)))
        for i in range(x.shape[1]):
            lowered = self.exponents.copy()
            lowered[:, i] = np.maximum(lowered[:, i] - 1, 0)
            part = Monomials(lowered, self.centre, self.scale).values(x)
            result += self.exponents[:, i] * part * (direction[:, i] / self.scale[i])[:, None]
        return result

    def function(self, coefficients: np.ndarray) -> ca.Function:
        """The polynomial with the given coefficients as a CasADi function of the state, nested by Horner's rule."""
        x = ca.SX.sym("x", len(self.centre))
        z = (x - ca.DM(self.centre)) / ca.DM(self.scale)
        terms = {tuple(e): float(c) for e, c in zip(self.exponents.tolist(), coefficients, strict=True) if c != 0}
        return ca.Function("V", [x], [_horner(terms, z, 0)])


@final
@dataclass(frozen=True, eq=False)
class Features:
    """Monomials followed by the entries of a CasADi function from the state (n, 1) to one column (k, 1)."""

    monomials: Monomials
    own: ca.Function | None = None

    def __len__(self) -> int:
        return len(self.monomials) + (0 if self.own is None else self.own.size1_out(0))

    def values(self, x: np.ndarray) -> np.ndarray:
        """(b, k) at states (b, n)."""
        rows = self.monomials.values(x)
        return rows if self.own is None else np.concatenate([rows, lower(self.own, to="numpy")(x)], axis=1)

    def slopes(self, x: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Derivatives (b, k) along directions (b, n)."""
        rows = self.monomials.slopes(x, direction)
        if self.own is None:
            return rows
        along = lower(jacobian(self.own), to="numpy")(x) @ direction[..., None]
        return np.concatenate([rows, along[..., 0]], axis=1)

    def function(self, coefficients: np.ndarray) -> ca.Function:
        """Their sum with these coefficients as a CasADi function of the state."""
        x = ca.SX.sym("x", len(self.monomials.centre))
        value = self.monomials.function(coefficients[: len(self.monomials)])(x)
        if self.own is not None:
            value += ca.DM(coefficients[len(self.monomials) :]).T @ self.own(x)
        return ca.Function("V", [x], [value])


def _horner(terms: dict[tuple[int, ...], float], z: ca.SX, i: int) -> ca.SX:
    """The sum of coefficients times monomials in z_i, z_i+1, ..., nested, because enclosures are then tighter."""
    if i == z.numel():
        return ca.SX(sum(terms.values()))
    powers = sorted({e[i] for e in terms}, reverse=True)
    if not powers:
        return ca.SX(0)
    result = ca.SX(0)
    for k, power in enumerate(powers):
        inner = {e: c for e, c in terms.items() if e[i] == power}
        result = result + _horner(inner, z, i + 1)
        step = power - (powers[k + 1] if k + 1 < len(powers) else 0)
        if step:
            result = result * z[i] ** step
    return result
