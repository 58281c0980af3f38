"""Pictures and videos of driving in traffic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from systems.library.driving.scene import Scene, scene
from systems.library.driving.traffic import LENGTH, WIDTH
from systems.runs import RecordedRuns
from systems.style import STYLE
from systems.task import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["film", "picture"]

BEHIND, AHEAD = 45.0, 75.0  # m of road shown
OVERHANG = 0.95  # m, from the rear axle to the rear bumper
DASH, GAP = 6.0, 12.0  # m, of the lane markings
ASPHALT, VERGE, EGO = "#d5d7da", "#e3e9dc", "#D55E00"
SPEEDS = (16.0, 30.0)  # m/s, ends of the colour scale
TRAIL = 20  # samples before and after that the ego's path shows


def picture(task: Task, runs: RecordedRuns, run: int = 0, instants: Sequence[float] | None = None) -> Figure:
    """One run on a page: the road around the ego at some instants, from above, then its speed, place and distance.

    Vehicles are coloured by speed, the ego is outlined; the line is its path from 2 s before to 2 s after.

    Args:
        task: of a :class:`Highway`.
        runs: of that task.
        run: which of them.
        instants: seconds of the views; default: six spread over the run.

    Raises:
        InvalidValue: as :func:`systems.library.driving.scene.scene`.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    view = scene(task, runs, run)
    end = view.time[-1]
    instants = np.linspace(0.03 * end, 0.97 * end, 6).tolist() if instants is None else list(instants)
    with matplotlib.style.context(STYLE):
        page = Figure(figsize=(7.2, 0.72 * len(instants) + 3.2), layout="constrained")
        heights = [0.68] * len(instants) + [0.85, 0.85, 0.6]
        rows = page.subplots(len(heights), 1, height_ratios=heights)
        for axes, instant in zip(rows, instants, strict=False):
            k = int(np.argmin(np.abs(view.time - instant)))
            _road(axes, view, k)
            axes.set_ylabel(f"{view.time[k]:.1f} s", rotation=0, ha="right", va="center")
        rows[len(instants) - 1].tick_params(labelbottom=True, bottom=True)
        rows[len(instants) - 1].set_xlabel("ahead of the ego [m]", labelpad=1)
        views = list(rows[: len(instants)])
        bar = page.colorbar(_colours(), ax=views, location="top", pad=0.01, fraction=0.02, aspect=90, shrink=0.6)
        bar.set_label("speed of vehicles [m/s]", labelpad=2)
        bar.outline.set_visible(False)
        _traces(rows[len(instants) :], view, instants)
    return page


def film(task: Task, runs: RecordedRuns, file: Path | str, run: int = 0, every: int = 2) -> Path:
    """Writes one run as an animated GIF that plays in real time and returns its path.

    Args:
        task: of a :class:`Highway`.
        runs: of that task.
        file: name of the GIF.
        run: which of them.
        every: samples from one frame to the next.

    Raises:
        InvalidValue: as :func:`systems.library.driving.scene.scene`.
    """
    import matplotlib.style
    from matplotlib.animation import PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    view, file = scene(task, runs, run), Path(file)
    with matplotlib.style.context(STYLE):
        page = Figure(figsize=(8.0, 2.15), dpi=110, layout="constrained")
        FigureCanvasAgg(page)
        road, speed = page.subplots(2, 1, height_ratios=[1.0, 1.0])
        writer = PillowWriter(fps=1.0 / (every * task.dt))  # type: ignore[arg-type]  # it takes any number
        with writer.saving(page, str(file), dpi=110):
            for k in range(0, len(view.time), every):
                road.clear()
                speed.clear()
                _road(road, view, k)
                road.set_title(
                    f"{view.time[k]:4.1f} s    {view.speed[k, 0]:4.1f} m/s    {view.driven[k]:4.0f} m",
                    loc="left",
                    family="monospace",
                    fontweight="normal",
                )
                _speeds(speed, view, k)
                speed.set_xlabel("time [s]")
                # Without a fixed box, frames would differ in size.
                writer.grab_frame(facecolor="white")
    return file


def _colours() -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(*SPEEDS), "viridis")


def _road(axes: Axes, view: Scene, k: int) -> None:
    """The section of the road around the ego at sample k."""
    road = view.plant.road
    axes.set_facecolor(VERGE)
    axes.axhspan(-road.edge, road.edge, color=ASPHALT, linewidth=0)
    for edge in (-road.edge, road.edge):
        axes.axhline(edge, color="white", linewidth=1.4)
    period = DASH + GAP
    first = np.floor((view.driven[k] - BEHIND) / period) * period - view.driven[k]
    starts = np.arange(first, AHEAD, period)
    for line in road.centres[:-1]:
        axes.hlines([line + 0.5 * road.lane_width] * len(starts), starts, starts + DASH, color="white", linewidth=1.0)
    path = slice(max(k - TRAIL, 0), k + TRAIL + 1)
    axes.plot(view.driven[path] - view.driven[k], view.y[path, 0], color=EGO, linewidth=0.9, alpha=0.8, zorder=2)
    colours = _colours()
    for i in range(1, view.y.shape[1]):
        if -BEHIND - LENGTH < view.ahead[k, i] < AHEAD + LENGTH:
            _car(axes, view.ahead[k, i], view.y[k, i], view.heading[k, i], colours.to_rgba(view.speed[k, i]), "0.25")
    _car(axes, 0.0, view.y[k, 0], view.heading[k, 0], colours.to_rgba(view.speed[k, 0]), EGO)
    axes.set(xlim=(-BEHIND, AHEAD), ylim=(-road.edge - 0.7, road.edge + 0.7), aspect="equal", yticks=[])
    axes.tick_params(labelbottom=False, bottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _car(axes: Axes, x: float, y: float, heading: float, colour: Any, outline: str) -> None:
    """One car, its rear axle at (x, y)."""
    from matplotlib.patches import FancyBboxPatch, Polygon
    from matplotlib.transforms import Affine2D

    place = Affine2D().rotate(heading).translate(x, y) + axes.transData
    rear, half, strong = -OVERHANG, 0.5 * WIDTH, outline == EGO
    body = FancyBboxPatch(
        (rear + 0.45, -half + 0.45),
        LENGTH - 0.9,
        WIDTH - 0.9,
        boxstyle="round,pad=0.45,rounding_size=0.55",
        facecolor=colour,
        edgecolor=outline,
        linewidth=1.5 if strong else 0.5,
        zorder=4 if strong else 3,
    )
    glass = Polygon(
        [(2.3, -0.68), (2.3, 0.68), (1.55, 0.55), (1.55, -0.55)], facecolor="0.15", alpha=0.75, linewidth=0, zorder=5
    )
    for patch in (body, glass):
        patch.set_transform(place)
        patch.set_clip_path(axes.patch)
        axes.add_patch(patch)


def _traces(rows: Sequence[Axes], view: Scene, instants: Sequence[float]) -> None:
    """Speed, place on the road and distance to the constraints over time."""
    speed, place, margin = rows
    _speeds(speed, view, len(view.time) - 1)
    road = view.plant.road
    place.axhspan(-road.edge, road.edge, color=ASPHALT, alpha=0.5, linewidth=0)
    for line in road.centres[:-1]:
        place.axhline(line + 0.5 * road.lane_width, color="white", linewidth=1.0, linestyle=(0, (6, 6)))
    place.plot(view.time, view.y[:, 0], color=EGO)
    place.set(ylabel="across [m]", ylim=(-road.edge, road.edge), yticks=road.centres)
    nearest = view.margins[:, 0]
    margin.axhspan(0.0, 1.0, color="0.88", linewidth=0)
    margin.plot(view.time[:-1], np.maximum(nearest, -2.0), color="0.2")
    margin.set(ylabel="gap g [-]", xlabel="time [s]", ylim=(-2.0, 0.6), yticks=[-2, -1, 0])
    for axes in rows:
        axes.set_xlim(0.0, view.time[-1])
        axes.tick_params(labelbottom=axes is margin)
        for instant in instants:
            axes.axvline(instant, color="0.6", linewidth=0.5, zorder=0)


def _speeds(axes: Axes, view: Scene, k: int) -> None:
    """Speeds of all up to sample k."""
    others = axes.plot(view.time[: k + 1], view.speed[: k + 1, 1:], color="0.6", linewidth=0.6)
    (ego,) = axes.plot(view.time[: k + 1], view.speed[: k + 1, 0], color=EGO, linewidth=1.6)
    desired = axes.axhline(view.desired_speed, color="0.2", linestyle=(0, (4, 3)), linewidth=0.8)
    most = max(view.desired_speed, view.speed.max()) + 1.0
    names = ("ego", "desired", "others")
    axes.legend((ego, desired, others[0]), names, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderpad=0.1)
    axes.set(ylabel="speed [m/s]", xlim=(0.0, view.time[-1]), ylim=(max(view.speed.min() - 1.0, 0.0), most))
