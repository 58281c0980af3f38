"""The figures of the documentation site, drawn by the library when the site is built."""

from __future__ import annotations

import io
from functools import cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctrl import LQR, Controller, Decision, NotApplicable, Trajectories, compare, simulate
from ctrl.comparison.draws import draw
from mpc import LinearMPC, NonlinearMPC
from systems import Box, Task
from systems.drawing import film, is_drawn
from systems.library import cartpole
from systems.style import STYLE

RUNS = 6
FRAMES = 40
FILM = """
??? note "Film of the first run"

    ![The plant of {name} in its first run, with what constraints forbid](figures/{name}.gif)
"""
PUBLISHED = {
    "stirred-tank-product": (20, 1), "fed-batch-bioreactor": (20, 1), "mass-pair": (7, 1),
    "quadcopter-figure-eight": (30, 1),
}  # fmt: skip
"""The examples of do-mpc's gallery that the site runs: the published horizon, and the quadratic programs per sample.
The others take minutes."""
DASHED: dict[str, Any] = {"color": "0.2", "linestyle": (0, (4, 3)), "linewidth": 0.7}


@cache
def comparison() -> tuple[str, bytes]:
    """The first page's comparison: its table, and its figure."""
    controllers: dict[str, Any] = {"lqr": LQR, "linear-mpc": LinearMPC, "nonlinear-mpc": NonlinearMPC}
    try:
        from safe_rl.cached_policies import dsact

        controllers["dsact"] = dsact
    except ImportError:  # without torch the page shows the others
        pass
    result = compare(cartpole(), controllers, starts=32, workers=1)
    return str(result), png(result.figure())


@cache
def registered() -> dict[str, Task]:
    """The tasks that this package registers, by name; of those of do-mpc's gallery only the ones that the site runs."""
    points = metadata.entry_points(group="trivium.tasks")
    return {
        point.name: point.load()() for point in sorted(points, key=lambda point: point.name)
        if point.value.startswith("systems.library.")
        and (point.name in PUBLISHED or not point.value.startswith("systems.library.gallery."))
    }  # fmt: skip


def tasks() -> dict[str, bytes]:
    """A figure of every task, by name."""
    return {name: png(driving(task) if name == "driving" else figure(task)) for name, task in registered().items()}


def controller(task: Task) -> tuple[str, Controller]:
    """What a figure shows: a controller that solves the task, or the reference's input where there is none."""
    if task.name in PUBLISHED:
        horizon, iterations = PUBLISHED[task.name]
        many = f"{iterations} quadratic programs" if iterations > 1 else "one quadratic program"
        return f"nonlinear MPC, N = {horizon}, {many} per sample", NonlinearMPC(task, horizon, iterations=iterations)
    if not len(task.plant.input):
        return "without input", ReferenceInput(task)
    for name, make in (("nonlinear MPC", NonlinearMPC), ("LQR", LQR)):
        if name == "LQR" or task.constraints or "swing-up" in task.name:
            try:
                return name, make(task)
            except NotApplicable:
                continue
    return "reference input", ReferenceInput(task)


@cache
def runs_of(task: Task) -> tuple[str, Trajectories]:
    """The runs that figures and films show, and the name of their controller."""
    name, control = controller(task)
    x0, w = draw(task, count(task), (0,))
    return name, simulate(task, control, x0, w)


def count(task: Task) -> int:
    """The number of runs that are shown: one where all begin alike and nothing is drawn."""
    is_drawn_anew = (
        task.initial.covariance(task.plant.state).any() or task.disturbance.covariance(task.plant.disturbance).any()
    )
    return RUNS if is_drawn_anew or task.variation is not None else 1


def films() -> dict[str, bytes]:
    """A film of the first run of every task whose plant has a drawing, by name, as a GIF."""
    made = {}
    with TemporaryDirectory() as folder:
        for name, task in registered().items():
            if is_drawn(task):
                made[name] = film(task, runs_of(task)[1], Path(folder) / f"{name}.gif", frames=FRAMES).read_bytes()
    return made


def figure(task: Task) -> Figure:
    """A few runs: each signal over time, its reference dashed, what violates a box or a limit shaded."""
    name, runs = runs_of(task)
    x_ref, u_ref = task.reference.at(task.plant, np.arange(task.steps + 1))
    rows = [(s, runs.states[..., i], x_ref[:, i], i, "x") for i, s in enumerate(task.plant.state)]
    inputs = np.concatenate([runs.inputs, runs.inputs[:, -1:]], axis=1)  # the last one is held to the end
    rows += [(s, inputs[..., i], u_ref[:, i], i, "u") for i, s in enumerate(task.plant.input)]
    with matplotlib.style.context(STYLE):
        count = -(-len(rows) // 3)
        page = Figure(figsize=(8.0, 1.5 * count + 0.4), layout="constrained")
        grid = page.subplots(count, 3, squeeze=False).ravel()
        for axes, (signal, values, reference, i, kind) in zip(grid, rows, strict=False):
            time = task.dt * np.arange(values.shape[1])
            steps = "steps-post" if kind == "u" else "default"
            axes.plot(time, values.T, color="C0" if kind == "x" else "C1", linewidth=0.8, drawstyle=steps)
            axes.plot(time, np.broadcast_to(reference, time.shape), **DASHED)
            axes.set_title(str(signal).replace("_", " "), fontsize=7)
            shade(axes, *limits(task, kind, i))
        for axes in grid[len(rows) :]:
            axes.set_visible(False)
        page.supxlabel(f"time [s]; {len(runs.states)} run{'s' * (len(runs.states) > 1)}, {name}", fontsize=7)
    return page


def limits(task: Task, kind: str, i: int) -> tuple[float, float]:
    """The tightest bounds that boxes and, for inputs, actuators set to a signal."""
    declared = task.plant.state if kind == "x" else task.plant.input
    boxes = [box.interval(declared) for box in task.constraints if isinstance(box, Box)]
    boxes += [task.plant.bounds] if kind == "u" else []
    low, high = (max((b[0][i] for b in boxes), default=-np.inf), min((b[1][i] for b in boxes), default=np.inf))
    return float(low), float(high)


def shade(axes: Axes, low: float, high: float) -> None:
    """Shades what lies beyond the bounds, where the runs come near them."""
    bottom, top = axes.get_ylim()
    span = top - bottom
    if high < top + 0.3 * span:
        top = max(top, high + 0.1 * span)
        axes.axhspan(high, top + span, color="0.88")
    if low > bottom - 0.3 * span:
        bottom = min(bottom, low - 0.1 * span)
        axes.axhspan(bottom - span, low, color="0.88")
    axes.set_ylim(bottom, top)


def driving(task: Task) -> Figure:
    """The road from above, driven by the rule-based driver that changes lanes."""
    from safe_rl.driving import LaneChanging
    from systems.library.driving import picture

    x0, w = draw(task, 1, (0,))
    return picture(task, simulate(task, LaneChanging(task), x0, w))


class ReferenceInput:
    """Applies the reference's input, whatever the state."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def reset(self) -> None:
        """Nothing to forget."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        return Decision(self.task.reference.at(self.task.plant, np.asarray(k))[1])


def gallery(is_published: bool = False) -> str:
    """The gallery's Markdown: what each task asks for, its size, its figure.

    Args:
        is_published: whether of the examples of do-mpc's gallery, under headings of a lower level; default: of all
            others.
    """
    parts = []
    for name, task in registered().items():
        if (name in PUBLISHED) is not is_published:
            continue
        point = next(p for p in metadata.entry_points(group="trivium.tasks") if p.name == name)
        summary = (point.load().__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        plant = task.plant
        counts = ((len(plant.state), "state"), (len(plant.input), "input"), (task.steps, "sample"))
        size = ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in counts) + f" of {task.dt:g} s"
        limits = ", ".join(f"`{c.name}` ({type(c.requirement).__name__.lower()})" for c in task.constraints) or "none"
        level = "###" if is_published else "##"
        parts.append(
            f"{level} {name}\n\n{' '.join(summary.split())}\n\n{size}. Constraints: {limits}. "
            f"`trivium compare {name}`\n\n![Runs of {name}: states and inputs over time](figures/{name}.png)\n"
            + (FILM.format(name=name) if is_drawn(task) else "")
        )
    return "\n".join(parts)


def png(page: Figure) -> bytes:
    target = io.BytesIO()
    page.savefig(target, format="png", dpi=110)
    return target.getvalue()
