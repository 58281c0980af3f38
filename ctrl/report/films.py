"""Films of a comparison's runs: frames side by side in one drawing, which the style sheet shifts while it plays.

There is no script: a checkbox starts and stops all films of the page.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctrl.comparison.data import ComparisonData
from ctrl.report.charts import COLOURS
from ctrl.report.elements import Element, Item, element
from systems.drawing import Scene, Shape, is_drawn, scenes

__all__ = ["films", "shown_run"]

_WIDTH = 300.0  # units of a drawing
_HEIGHTS = (60.0, 300.0)
_TITLE = 18.0  # above the drawing
_LONGEST = 12.0  # seconds of a film
_FRAMES = 80


def shown_run(comparison: ComparisonData) -> int:
    """The run whose cost, on average over the controllers, is the median one.

    Args:
        comparison: its results.
    """
    costs = np.nan_to_num(np.mean([runs.cost for runs in comparison.runs.values()], axis=0), nan=np.inf)
    return int(np.argsort(costs, kind="stable")[(len(costs) - 1) // 2])


def films(comparison: ComparisonData) -> list[Item]:
    """The same run under every controller, with a switch that plays them; empty where the plant has no drawing.

    Args:
        comparison: its results.
    """
    if not is_drawn(comparison.task):
        return []
    run = shown_run(comparison)
    drawn = scenes(comparison.task, list(comparison.runs.values()), run, _FRAMES)
    lasts = drawn[0].interval * len(drawn[0].frames)
    speed = "in real time" if lasts <= _LONGEST else f"{lasts / _LONGEST:.3g} times as fast as real time"
    note = (
        f"Run {run + 1} of {len(comparison.starts)}, of median cost, {speed}. Red: a constraint is violated; shaded: "
        "what constraints on the place forbid; dashed: the goal, and in red bounds of other states; thin bars: inputs."
    )
    figures = [
        element(
            "figure",
            element("strong", name),
            _film(scene, min(lasts, _LONGEST), f"Film of {name}"),
            attributes={"class": f"c{i % COLOURS}"},
        )
        for i, (name, scene) in enumerate(zip(comparison.runs, drawn, strict=True))
    ]
    return [
        element("p", note, attributes={"class": "note"}),
        element("input", attributes={"type": "checkbox", "id": "play", "class": "play"}),
        element("label", "Play", attributes={"for": "play"}),
        element("div", figures, attributes={"class": "charts wide films"}),
    ]


def _film(scene: Scene, seconds: float, title: str) -> Element:
    left, right, bottom, top = scene.window
    scale = min(_WIDTH / (right - left), _HEIGHTS[1] / (top - bottom))
    height = max(scale * (top - bottom), _HEIGHTS[0])
    # The scene is centred; its window is extended to both sides to fill the drawing.
    room = 0.5 * (_WIDTH / scale - (right - left)), 0.5 * (height / scale - (top - bottom))
    ends = (left - room[0], right + room[0], bottom - room[1], top + room[1])

    def path(points: np.ndarray, closed: bool) -> str:
        x = scale * (np.clip(points[:, 0], ends[0], ends[1]) - ends[0])
        y = _TITLE + scale * (ends[3] - np.clip(points[:, 1], ends[2], ends[3]))
        steps = np.stack([x, y], axis=1)
        if not np.isfinite(steps).all():
            return ""
        return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in steps) + ("Z" if closed else "")

    def drawn(shapes: Sequence[Shape], kind: str = "") -> list[Element]:
        return [
            element("path", attributes={"d": d, "class": kind or shape.kind})
            for shape in shapes
            if (d := path(shape.points, shape.kind == "body"))
        ]

    forbidden = "".join(path(outline, True) for outline in scene.unsafe)
    fixed = [
        element("path", attributes={"d": forbidden, "class": "unsafe", "fill-rule": "evenodd"}) if forbidden else None,
        drawn(scene.goal, "goal"),
        drawn(scene.limits, "bound"),
    ]
    frames = []
    for i, frame in enumerate(scene.frames):
        clock = element("text", f"{frame.time:.2f} s", attributes={"x": 2, "y": 12})
        place = {"transform": f"translate({i * _WIDTH:g} 0)"} | ({"class": "broken"} if frame.is_violated else {})
        frames.append(element("g", clock, drawn(frame.goal, "goal"), drawn(frame.shapes), attributes=place))
    count = len(frames)
    timing = (
        f"--shift: {-count * _WIDTH:g}px; animation-duration: {seconds:.2f}s; animation-timing-function: steps({count})"
    )
    moving = element("g", frames, attributes={"class": "frames", "style": timing})
    box = {"viewBox": f"0 0 {_WIDTH:g} {_TITLE + height:.0f}", "role": "img", "class": "film"}
    return element("svg", element("title", title), fixed, moving, attributes=box)
