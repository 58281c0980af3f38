"""Settings of the training of a neural Lyapunov function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from safe_rl.settings import expect_counts, expect_numbers, expect_widths

__all__ = ["LyapunovSettings"]


@final
@dataclass(frozen=True)
class LyapunovSettings:
    """Sizes of the networks, numbers of updates and samples, weights."""

    hidden: tuple[int, ...] = (20, 20)
    """Units of the Lyapunov function's layers."""
    features: int = 8
    """Number of squares that it is a sum of, besides the quadratic form."""
    controller: tuple[int, ...] = (8, 8)
    """Units of the controller's layers, where it is trained along."""
    updates: int = 3000
    """Of the Lyapunov function, by Adam."""
    controller_updates: int = 250
    """Of the controller before that, each through one simulation."""
    horizon: int = 60
    """Samples of that simulation."""
    input_weight: float = 1e-3
    """Weight of the inputs in its cost: of the squared input at its bound, relative to the state at the box's edge."""
    starts: int = 3000
    """Initial states simulated for Zubov's function."""
    steps: int = 1500
    """Samples after which a trajectory that has not arrived counts as outside."""
    batch: int = 1024
    """States per update and term."""
    rate: float = 1e-2
    """Of learning, at the beginning; it decreases along a cosine. The controller's is a tenth."""
    margin: float = 0.05
    """V should decrease by this share of itself per second, less towards V = 1."""
    size: float = 0.3
    """Weight of area lost, relative to that of states that violate the condition."""
    period: int = 250
    """Updates between two searches for counterexamples."""
    probes: int = 20_000
    """States evaluated in a search."""

    def __post_init__(self) -> None:
        expect_widths(self, ("hidden", "controller"))
        expect_counts(self, ("features", "updates", "horizon", "starts", "steps", "batch", "period", "probes"))
        expect_counts(self, ("controller_updates",), least=0)
        expect_numbers(self, ("rate",), above=0.0)
        expect_numbers(self, ("input_weight", "margin", "size"), least=0.0)
