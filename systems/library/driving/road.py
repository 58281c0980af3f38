"""A straight motorway, closed to a ring: what leaves the section at its end comes in again at its beginning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import casadi as ca

from systems.arguments import expect_whole
from systems.parameters import expect_parameters, positive

__all__ = ["Road"]


@dataclass(frozen=True)
class Road:
    """Parallel lanes of one direction, their lateral coordinate counted from the middle of the road to the left.

    Raises:
        InvalidValue: no lane, or a width or length that is not positive.
    """

    lanes: int = 3
    lane_width: float = positive(3.5)  # m
    length: float = positive(200.0)  # m, after which traffic repeats

    def __post_init__(self) -> None:
        expect_whole(self.lanes, "Road.lanes", least=1)
        expect_parameters(self, "Road")

    @property
    def centres(self) -> tuple[float, ...]:
        """Lateral positions of the lanes' centre lines from right to left, m."""
        return tuple((k - 0.5 * (self.lanes - 1)) * self.lane_width for k in range(self.lanes))

    @property
    def edge(self) -> float:
        """Distance from the middle of the road to its edges, m."""
        return 0.5 * self.lanes * self.lane_width

    def nearest(self, y: Any) -> Any:
        """Centre line nearest to the lateral position y, m."""
        right, left = self.centres[0], self.centres[-1]
        lane = right + self.lane_width * ca.floor((y - right) / self.lane_width + 0.5)
        return ca.fmin(ca.fmax(lane, right), left)

    def forward(self, d: Any) -> Any:
        """The way from here to a point d further on, driving forwards: d brought into [0, length)."""
        return d - self.length * ca.floor(d / self.length)

    def signed(self, d: Any) -> Any:
        """The shorter way to a point d further on: d brought into [-length / 2, length / 2)."""
        return d - self.length * ca.floor(d / self.length + 0.5)

    def chord(self, d: Any) -> Any:
        """Smooth and periodic distance, length / pi sin(pi d / length): d for neighbours, and never longer than it."""
        return self.length / ca.pi * ca.sin(ca.pi / self.length * d)
