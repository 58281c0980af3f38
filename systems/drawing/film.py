"""A run as an animated GIF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from systems.drawing.scene import Scene, scenes
from systems.drawing.shapes import Shape
from systems.runs import RecordedRuns
from systems.style import STYLE
from systems.task import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["film", "write_film"]

UNSAFE, BODY, BROKEN, GOAL = "#e3d5d5", "#0072B2", "#B5311C", "0.45"
_LONGEST = 12.0  # seconds
_WIDTH = 4.6  # inches


def film(task: Task, runs: RecordedRuns, file: Path | str, run: int = 0, frames: int = 60) -> Path:
    """Writes one run as an animated GIF and returns its path. It plays in real time, or faster if it lasts longer than
    12 s.

    Red marks a violated constraint; shaded areas are forbidden by constraints on the position; dashed lines show the
    goal and, in red, the bounds of other states.

    Args:
        task: whose plant has a method ``drawing``, see :class:`systems.drawing.Drawn`.
        runs: of that task.
        file: name of the GIF.
        run: index of the run; default: the first.
        frames: largest number of frames; default: 60.

    Raises:
        InvalidValue: see :func:`systems.drawing.scenes`.
    """
    return write_film(scenes(task, [runs], run, frames)[0], file)


def write_film(scene: Scene, file: Path | str) -> Path:
    """Writes a scene as an animated GIF.

    Args:
        scene: a run.
        file: name of the GIF.
    """
    import matplotlib.style
    from matplotlib.animation import PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left, right, bottom, top = scene.window
    height = min(max(_WIDTH * (top - bottom) / (right - left), 0.8), 4.6) + 0.35
    seconds = min(scene.interval * len(scene.frames), _LONGEST)
    with matplotlib.style.context(STYLE):
        page = Figure(figsize=(_WIDTH, height), dpi=90, layout="constrained")
        FigureCanvasAgg(page)
        axes = page.subplots()
        writer = PillowWriter(fps=len(scene.frames) / seconds)  # type: ignore[arg-type]  # it takes any number
        with writer.saving(page, str(file), dpi=90):
            for frame in scene.frames:
                axes.clear()
                _unsafe(axes, scene)
                for shapes, colour in (((*scene.goal, *frame.goal), GOAL), (scene.limits, BROKEN)):
                    for shape in shapes:
                        axes.plot(*_closed(shape).T, color=colour, linewidth=0.8, linestyle=(0, (3, 2)), zorder=2)
                for shape in frame.shapes:
                    _shape(axes, shape, BROKEN if frame.is_violated else BODY)
                axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                axes.set_title(f"{frame.time:.2f} s", loc="left", family="monospace", fontweight="normal")
                writer.grab_frame(facecolor="white")
    return Path(file)


def _unsafe(axes: Axes, scene: Scene) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    if scene.unsafe:
        outlines = Outline.make_compound_path(*(Outline(points, closed=True) for points in scene.unsafe))
        axes.add_patch(PathPatch(outlines, facecolor=UNSAFE, edgecolor="none", zorder=0))


def _shape(axes: Axes, shape: Shape, colour: str) -> None:
    styles: dict[str, dict[str, Any]] = {
        "rod": {"color": colour, "linewidth": 2.6, "zorder": 4, "solid_capstyle": "round"},
        "ground": {"color": "0.4", "linewidth": 0.8, "zorder": 1},
        "force": {"color": "#E69F00", "linewidth": 1.6, "zorder": 5},
    }
    if shape.kind == "body":
        axes.fill(*shape.points.T, facecolor=colour, edgecolor="none", zorder=3)
    else:
        axes.plot(*shape.points.T, **styles[shape.kind])


def _closed(shape: Shape) -> np.ndarray:
    return np.vstack([shape.points, shape.points[:1]]) if shape.kind == "body" else shape.points
