"""Charts as inline SVG, whose colours come from the style sheet of the page, so they follow light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from ctrl.report.elements import Element, element

__all__ = ["COLOURS", "Axis", "Chart", "legend", "linear", "logarithmic", "thinned"]

COLOURS = 7
"""Number of colours in the style sheet; with more controllers they repeat, each time with other dashes."""

_DASHES = ("", "6 2", "2 2", "8 2 2 2")
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 10.0, 14.0, 38.0
_GLYPH, _LINE = 6.6, 12.0  # about the width of a character and the height of a line
_FAR = 1e4  # lines are clipped at this distance outside the chart


@final
@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Args:
        low, high: its ends, in data units.
        label: with the unit.
        is_log: logarithmic; default: linear.
    """

    low: float
    high: float
    label: str
    is_log: bool = False

    def place(self, values: np.ndarray | float) -> np.ndarray:
        """Positions between 0 and 1."""
        values = np.asarray(values, dtype=float)
        if not self.is_log:
            return np.asarray((values - self.low) / (self.high - self.low))
        with np.errstate(divide="ignore", invalid="ignore"):
            span = math.log(self.high / self.low)
            return np.asarray(np.log(np.maximum(values, 1e-300) / self.low) / span)

    def ticks(self, count: int) -> list[float]:
        """Round numbers on the axis, about as many as given."""
        if self.is_log:
            decades = range(math.floor(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
                marks = [factor * 10.0**k for k in decades for factor in factors]
                marks = [mark for mark in marks if self.low <= mark <= self.high]
                if len(marks) <= count:
                    return marks or [self.low]
            every = math.ceil(len(marks) / count)
            return marks[(len(marks) - 1) % every :: every]
        raw = (self.high - self.low) / count
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * unit for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * unit >= raw * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def linear(low: float, high: float, label: str, margin: float = 0.04) -> Axis:
    """A linear axis around these values.

    Args:
        low, high: of the data; if they are equal, the axis is widened around them.
        label: with the unit.
        margin: beyond the ends, as a share of their distance; default: 0.04.
    """
    if not high - low > 1e-12 * max(abs(low), abs(high), 1e-300):
        low, high = low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    room = margin * (high - low)
    return Axis(low - room, high + room, label)


def logarithmic(low: float, high: float, label: str) -> Axis:
    """A logarithmic axis around these positive values, at least a factor of four long."""
    low, high = low / 1.15, high * 1.15
    if high < 4 * low:
        middle = math.sqrt(low * high)
        low, high = middle / 2, middle * 2
    return Axis(low, high, label, is_log=True)


@final
class Chart:
    """A chart to which elements are added one by one.

    Args:
        x, y: its axes.
        width, height: in units of the drawing, which the page scales; default: 300, 200.
    """

    def __init__(self, x: Axis, y: Axis, width: float = 300.0, height: float = 200.0) -> None:
        self.x, self.y, self._width, self._height = x, y, width, height
        self._inside: list[Element] = []
        self._outside: list[Element] = []
        self._labels: list[tuple[float, float, float]] = []  # left, height and width

    def line(self, x: np.ndarray, y: np.ndarray, kind: str, index: int = 0, steps: bool = False) -> None:
        """A line, interrupted where a value is not finite.

        Args:
            x, y: values (k,).
            kind: class in the style sheet: ``run``, ``middle``, ``curve``, ``reference``, ``front``, ``region``.
            index: of the controller, whose colour it gets.
            steps: hold each value until the next; default: straight lines.
        """
        path = self._path(np.asarray(x, dtype=float), np.asarray(y, dtype=float), steps)
        if path:
            attributes = {"d": path, "class": f"{kind} c{index % COLOURS}"}
            if kind == "curve" and _DASHES[index // COLOURS % 4 or index % 4]:
                attributes["stroke-dasharray"] = _DASHES[index // COLOURS % 4 or index % 4]
            self._inside.append(element("path", attributes=attributes))

    def band(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, index: int = 0) -> None:
        """The area between two curves (k,)."""
        x, low, high = (np.asarray(part, dtype=float) for part in (x, low, high))
        path = self._path(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]]), False)
        if path:
            self._inside.append(element("path", attributes={"d": path + "Z", "class": f"band c{index % COLOURS}"}))

    def shade(self, low: float, high: float) -> None:
        """Shades the forbidden range between two values of y."""
        top, bottom = self._y(max(low, high)), self._y(min(low, high))
        attributes = {"x": _LEFT, "y": top, "width": self._width - _LEFT - _RIGHT, "height": bottom - top}
        self._inside.append(element("rect", attributes={**attributes, "class": "unsafe"}))

    def points(self, x: np.ndarray, y: np.ndarray, kind: str, index: int = 0) -> None:
        """Marks, of kind ``dot`` or ``cross``."""
        size, parts = (1.8, []) if kind == "dot" else (3.0, [])
        for px, py in zip(self._x(x), self._y_all(y), strict=True):
            if not math.isfinite(px + py):
                continue
            if kind == "dot":
                parts.append(
                    f"M{px - size:.1f} {py:.1f}a{size} {size} 0 1 0 {2 * size} 0a{size} {size} 0 1 0 {-2 * size} 0"
                )
            else:
                parts.append(
                    f"M{px - size:.1f} {py - size:.1f}l{2 * size} {2 * size}m0 {-2 * size}l{-2 * size} {2 * size}"
                )
        if parts:
            self._inside.append(
                element("path", attributes={"d": "".join(parts), "class": f"{kind} c{index % COLOURS}"})
            )

    def vertical(self, x: float, label: str) -> None:
        """A dashed line at one x, with a label above the chart; nothing outside the axis."""
        place = float(self.x.place(x))
        if 0 <= place <= 1:
            at = _LEFT + place * (self._width - _LEFT - _RIGHT)
            ends = {"x1": at, "x2": at, "y1": _TOP, "y2": self._height - _BOTTOM}
            self._outside.append(element("line", attributes={**ends, "class": "reference"}))
            anchor = {
                "x": at,
                "y": _TOP - 3,
                "text-anchor": "middle" if 0.1 < place < 0.9 else "end" if place > 0.5 else "start",
            }
            self._outside.append(element("text", label, attributes=anchor))

    def level(self, y: float, index: int) -> None:
        """A horizontal line over the whole width in the colour of a controller; nothing outside the axis."""
        self.line(np.array([self.x.low, self.x.high]), np.array([y, y]), "curve", index)

    def label(self, x: float, y: float, text: str, index: int) -> None:
        """A text beside a point, on the side that has room, above or below the labels already placed."""
        px, py = float(self._x(np.array([x]))[0]), self._y(y)
        right, width = px < 0.62 * self._width, _GLYPH * len(text)
        left = px + 6 if right else px - 6 - width
        heights = [py - 5 + _LINE * step for step in (0, -1, 1.4, -2, 2.4, -3, 3.4, -4, 4.4)]
        inside = [h for h in heights if _TOP + 8 < h < self._height - _BOTTOM] or heights
        at = next((h for h in inside if not any(self._covers(box, left, h, width) for box in self._labels)), inside[0])
        self._labels.append((left, at, width))
        place = {"x": px + 6 if right else px - 6, "y": at, "text-anchor": "start" if right else "end"}
        self._outside.append(element("text", text, attributes={**place, "class": f"name c{index % COLOURS}"}))

    @staticmethod
    def _covers(box: tuple[float, float, float], left: float, at: float, width: float) -> bool:
        return abs(box[1] - at) < _LINE - 1 and left < box[0] + box[2] and box[0] < left + width

    def finished(self, title: str, identifier: str) -> Element:
        """The chart with its axes.

        Args:
            title: a description for readers who cannot see the chart.
            identifier: unique on the page.
        """
        right, bottom = self._width - _RIGHT, self._height - _BOTTOM
        frame = [
            element("line", attributes={"x1": _LEFT, "x2": right, "y1": bottom, "y2": bottom, "class": "axis"}),
            element("line", attributes={"x1": _LEFT, "x2": _LEFT, "y1": _TOP, "y2": bottom, "class": "axis"}),
        ]
        free = -math.inf  # the numbers up to here are already drawn
        for value in self.x.ticks(5):
            at, number = float(self._x(np.array([value]))[0]), _tick(value, self.x)
            frame.append(
                element("line", attributes={"x1": at, "x2": at, "y1": bottom, "y2": bottom + 3, "class": "axis"})
            )
            half = 0.5 * _GLYPH * len("".join(part if isinstance(part, str) else part.text or "" for part in number))
            if at - half > free:
                free = at + half + 2
                is_cut = at + half > self._width
                place = {"x": self._width if is_cut else at, "y": bottom + 13}
                anchor = {"text-anchor": "end" if is_cut else "middle"}
                frame.append(element("text", *number, attributes={**place, **anchor}))
        for value in self.y.ticks(4):
            at = self._y(value)
            frame.append(
                element("line", attributes={"x1": _LEFT - 3, "x2": _LEFT, "y1": at, "y2": at, "class": "axis"})
            )
            frame.append(
                element("text", *_tick(value, self.y), attributes={"x": _LEFT - 5, "y": at + 3.5, "text-anchor": "end"})
            )
        middle = 0.5 * (_LEFT + right)
        frame.append(
            element("text", self.x.label, attributes={"x": middle, "y": self._height - 8, "text-anchor": "middle"})
        )
        turn = f"translate(11 {0.5 * (_TOP + bottom):.1f}) rotate(-90)"
        frame.append(element("text", self.y.label, attributes={"transform": turn, "text-anchor": "middle"}))
        clip = {"x": _LEFT, "y": _TOP, "width": right - _LEFT, "height": bottom - _TOP}
        return element(
            "svg",
            element("title", title),
            element("clipPath", element("rect", attributes=clip), attributes={"id": identifier}),
            element("g", self._inside, attributes={"clip-path": f"url(#{identifier})"}),
            frame,
            self._outside,
            attributes={"viewBox": f"0 0 {self._width:g} {self._height:g}", "role": "img"},
        )

    def _x(self, values: np.ndarray) -> np.ndarray:
        return np.clip(_LEFT + self.x.place(values) * (self._width - _LEFT - _RIGHT), -_FAR, _FAR)

    def _y_all(self, values: np.ndarray) -> np.ndarray:
        inside = self._height - _TOP - _BOTTOM
        return np.clip(self._height - _BOTTOM - self.y.place(values) * inside, -_FAR, _FAR)

    def _y(self, value: float) -> float:
        return float(self._y_all(np.array([value]))[0])

    def _path(self, x: np.ndarray, y: np.ndarray, steps: bool) -> str:
        parts, pen, before = [], "M", ""
        for px, py in zip(self._x(x).tolist(), self._y_all(y).tolist(), strict=True):
            if not math.isfinite(px + py):
                pen = "M"
                continue
            if steps and pen == "L":
                parts.append(f"H{px:.1f}V{py:.1f}")
                continue
            point = f"{px:.1f} {py:.1f}"
            if pen == "M" or point != before:  # coinciding points are drawn once
                parts.append(pen + point)
            pen, before = "L", point
        return "".join(parts)


def thinned(length: int, most: int) -> np.ndarray:
    """Indices of at most the given number of samples, evenly spread, including the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int))


def legend(names: Sequence[str]) -> Element:
    """The names of the controllers, each with its colour and its dashes."""
    items = []
    for i, name in enumerate(names):
        dashes = _DASHES[i // COLOURS % 4 or i % 4]
        line = {"x1": 0, "x2": 26, "y1": 5, "y2": 5, "class": f"curve c{i % COLOURS}"}
        swatch = element("line", attributes=line | ({"stroke-dasharray": dashes} if dashes else {}))
        sample = element("svg", swatch, attributes={"viewBox": "0 0 26 10", "class": "swatch", "aria-hidden": "true"})
        items.append(element("li", sample, name))
    return element("ul", items, attributes={"class": "legend"})


def _tick(value: float, axis: Axis) -> list[Element | str]:
    """The number at a tick."""
    if axis.is_log and not 1e-3 <= value < 1e4:
        power = round(math.log10(value))
        mark = "" if abs(value / 10.0**power - 1) < 1e-9 else f"{value / 10.0 ** math.floor(math.log10(value)):.0f}·"
        power = power if not mark else math.floor(math.log10(value))
        return [f"{mark}10", element("tspan", str(power), attributes={"dy": -4, "class": "power"})]
    size = axis.high - axis.low
    if not axis.is_log and abs(value) < 1e-9 * size:
        value = 0.0
    text = f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.4g}"
    return [text.replace("-", "\u2212")]
