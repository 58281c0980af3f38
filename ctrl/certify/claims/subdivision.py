"""The subdivision of a box by repeated halving, which reproduces the boxes of a proof without a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from systems.arithmetic.interval import Interval

__all__ = ["Halves", "Subdivision", "Tree", "halved"]


@final
@dataclass(frozen=True, eq=False)
class Subdivision:
    """A box of a frame's coordinates and its halvings: node k is halved along axis[k] into nodes left[k] and right[k].

    Args:
        T: (n, n), the frame.
        core: (n,), half-widths of the parallelepiped around the centre that is settled at once.
        low, high: (n,), the box.
        axis: (k,), -1 for nodes that were not halved.
        left, right: (k,).
    """

    T: np.ndarray
    core: np.ndarray
    low: np.ndarray
    high: np.ndarray
    axis: np.ndarray
    left: np.ndarray
    right: np.ndarray

    def leaves(self) -> tuple[np.ndarray, np.ndarray]:
        """The boxes (b, n) that were not halved; together they cover the whole.

        Raises:
            ValueError: the halvings form no tree.
        """
        sizes = {len(self.axis), len(self.left), len(self.right)}
        size, n = len(self.axis), len(self.low)
        children = np.concatenate([self.left, self.right])
        if len(sizes) > 1 or not size or (self.axis >= n).any() or (children < 0).any() or (children >= size).any():
            raise ValueError("the halvings of the proof do not form a tree")
        visited = 0
        node, low, high = np.zeros(1, dtype=int), self.low[None], self.high[None]
        ends: list[tuple[np.ndarray, np.ndarray]] = []
        while len(node):
            visited += len(node)
            if visited > size:
                raise ValueError("the halvings of the proof do not form a tree")
            axis = self.axis[node]
            end = axis < 0
            ends.append((low[end], high[end]))
            node, axis, low, high = node[~end], axis[~end], low[~end], high[~end]
            rows, middle = np.arange(len(node)), Interval(low, high).mid
            cut_high, cut_low = high.copy(), low.copy()
            cut_high[rows, axis] = cut_low[rows, axis] = middle[rows, axis]
            node = np.concatenate([self.left[node], self.right[node]])
            low, high = np.concatenate([low, cut_low]), np.concatenate([cut_high, high])
        return np.concatenate([a for a, _ in ends]), np.concatenate([b for _, b in ends])


class Tree:
    """The halvings so far."""

    def __init__(self) -> None:
        self.size = 1
        self._cuts: list[tuple[np.ndarray, np.ndarray, int]] = []

    def cut(self, node: np.ndarray, axis: np.ndarray) -> np.ndarray:
        """Numbers of the halves, first all lower ones, then all upper ones, as :func:`halved` orders them."""
        self._cuts.append((node, axis, self.size))
        self.size += 2 * len(node)
        return np.arange(self.size - 2 * len(node), self.size)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Axis, left and right of every node."""
        axis = np.full(self.size, -1, dtype=np.int8)
        left, right = np.zeros(self.size, dtype=np.int32), np.zeros(self.size, dtype=np.int32)
        for node, along, first in self._cuts:
            axis[node] = along
            left[node] = first + np.arange(len(node))
            right[node] = first + len(node) + np.arange(len(node))
        return axis, left, right


@dataclass(frozen=True)
class Halves:
    """Lower halves, then upper halves: bounds (2b, n), spreads (2b, n); and the axis (b,) of each cut."""

    low: np.ndarray
    high: np.ndarray
    spread: np.ndarray
    axis: np.ndarray


def halved(low: np.ndarray, high: np.ndarray, spread: np.ndarray) -> Halves | None:
    """Boxes (b, n) halved along the direction of the largest spread; None where one cannot be."""
    middle = Interval(low, high).mid
    splittable = (low < middle) & (middle < high)
    if not splittable.any(axis=1).all():
        return None
    rows = np.arange(len(low))
    axis = np.argmax(np.where(splittable, spread, -1.0), axis=1)
    left, right, less = high.copy(), low.copy(), spread.copy()
    left[rows, axis] = right[rows, axis] = middle[rows, axis]
    less[rows, axis] *= 0.5
    return Halves(np.concatenate([low, right]), np.concatenate([left, high]), np.concatenate([less, less]), axis)
