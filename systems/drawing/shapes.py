"""Shapes in a plane, in metres, and the drawing of a plant in a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, final, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Drawing", "Drawn", "Shape", "box", "disc", "segment"]

Kind = Literal["body", "rod", "ground", "force"]
"""``body``: filled; ``rod``: a thick line; ``ground``: a thin line, cut at the window, of what does not
move; ``force``: what an input does."""

_CORNERS = 20  # of a disc


@final
@dataclass(frozen=True, eq=False)
class Shape:
    """A line or a polygon.

    Args:
        points: (k, 2), to the right and up, in metres.
        kind: how it is drawn; only a ``body`` is closed and filled.
    """

    points: np.ndarray
    kind: Kind


@final
@dataclass(frozen=True, eq=False)
class Drawing:
    """A plant in one state.

    Args:
        shapes: from back to front.
        across, up: names of the states that are the coordinates of the plane, in which constraints on them are drawn;
            default: none.
    """

    shapes: Sequence[Shape]
    across: str | None = None
    up: str | None = None


@runtime_checkable
class Drawn(Protocol):
    """A plant that can be drawn."""

    def drawing(self, x: np.ndarray, u: np.ndarray) -> Drawing:
        """The plant in the state x (n,) under the input u (m,)."""


def box(centre: ArrayLike, width: float, height: float, turn: float = 0.0, kind: Kind = "body") -> Shape:
    """A rectangle.

    Args:
        centre: (2,).
        width, height: before the rotation.
        turn: counter-clockwise, rad; default: 0.
        kind: of the shape; default: body.
    """
    corners = 0.5 * np.array([(-width, -height), (width, -height), (width, height), (-width, height)])
    cosine, sine = np.cos(turn), np.sin(turn)
    return Shape(np.asarray(centre) + corners @ np.array([(cosine, sine), (-sine, cosine)]), kind)


def disc(centre: ArrayLike, radius: float) -> Shape:
    """A disc.

    Args:
        centre: (2,). radius: in metres.
    """
    turns = np.linspace(0.0, 2.0 * np.pi, _CORNERS, endpoint=False)
    return Shape(np.asarray(centre) + radius * np.stack([np.cos(turns), np.sin(turns)], axis=1), "body")


def segment(start: ArrayLike, end: ArrayLike, kind: Kind = "rod") -> Shape:
    """A straight line.

    Args:
        start, end: (2,) each.
        kind: of the shape; default: rod.
    """
    return Shape(np.array([start, end], dtype=float), kind)
