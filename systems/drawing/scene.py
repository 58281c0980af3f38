"""Runs of a task as scenes: the plant in every frame, its goal, and what the constraints forbid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np

from systems.arguments import expect_whole
from systems.constraints import Box
from systems.drawing.shapes import Drawing, Drawn, Shape
from systems.errors import InvalidValue
from systems.inputs.augmented_plant import AugmentedPlant
from systems.lowering import lower
from systems.plant import Plant
from systems.runs import RecordedRuns
from systems.task import Task

__all__ = ["Frame", "Scene", "is_drawn", "scenes"]

ROUNDING = 1e-6
"""Margins up to this value count as satisfied, as in comparisons."""

_GRID = 160  # points along each side on which constraints are evaluated
_ROOM = 0.08  # around the moving parts, as a share of the larger side
_FAR = 4.0  # a domain that is more than this many times wider than the moving parts is cropped


@final
@dataclass(frozen=True, eq=False)
class Frame:
    """One instant.

    Args:
        time: seconds from the start of the run.
        shapes: of the plant.
        goal: the plant at the reference; empty if the reference is constant, see :class:`Scene`.
        is_violated: whether a constraint is violated at this sample.
    """

    time: float
    shapes: tuple[Shape, ...]
    goal: tuple[Shape, ...]
    is_violated: bool


@final
@dataclass(frozen=True, eq=False)
class Scene:
    """One run.

    Args:
        window: left, right, bottom and top of the visible part, in metres.
        unsafe: outlines (k, 2) of areas that constraints on the position forbid, filled by the even-odd rule.
        goal: the plant at a constant reference.
        limits: the plant there with one state at a bound of a box constraint, if that moves the drawing.
        frames: in order of time.
        interval: seconds from one frame to the next.
    """

    window: tuple[float, float, float, float]
    unsafe: tuple[np.ndarray, ...]
    goal: tuple[Shape, ...]
    limits: tuple[Shape, ...]
    frames: tuple[Frame, ...]
    interval: float


def is_drawn(task: Task) -> bool:
    """Whether the plant of a task, or its inner plant, can be drawn.

    Args:
        task: of the runs.
    """
    return isinstance(_innermost(task.plant), Drawn)


def scenes(task: Task, runs: Sequence[RecordedRuns], run: int = 0, frames: int = 100) -> list[Scene]:
    """The same run under several controllers, each as a scene with the same window.

    The area that a constraint forbids is drawn if the constraint depends on the two states that are the coordinates of
    the plane; other states and inputs are then those of the initial reference. Bounds of a box on any other state are
    drawn as the plant at its goal with that state at the bound.

    Args:
        task: whose plant has a method ``drawing``, see :class:`Drawn`.
        runs: of that task.
        run: index of the run; default: the first.
        frames: largest number of frames, evenly spaced; default: 100.

    Raises:
        InvalidValue: the plant cannot be drawn, or there is no such run.
    """
    frames = expect_whole(frames, "frames", least=2)
    if not is_drawn(task):
        raise InvalidValue(
            f"{task.plant.name} has no drawing; give its class a method drawing(x, u) that returns a "
            "systems.drawing.Drawing"
        )
    for each in runs:
        if not -len(each.states) <= run < len(each.states):
            raise InvalidValue(f"run {run} of {len(each.states)} runs; the first is 0")
    samples = len(runs[0].states[run]) - 1
    every = -(-samples // (frames - 1))
    made = [_frames(task, each, run, every) for each in runs]
    goal = _goal(task, 0) if task.reference.is_constant else ()
    planes = _drawing(task, runs[0].states[run][0], runs[0].inputs[run][0])
    window = _window(task, planes, [s for own in made for f in own for s in (*f.shapes, *f.goal)] + list(goal))
    unsafe = _unsafe(task, planes, window)
    limits = _limits(task, planes) if task.reference.is_constant else ()
    return [Scene(window, unsafe, goal, limits, own, every * task.dt) for own in made]


def _innermost(plant: Plant) -> Plant:
    return _innermost(plant.inner) if isinstance(plant, AugmentedPlant) else plant


def _drawing(task: Task, x: np.ndarray, u: np.ndarray) -> Drawing:
    """The true plant, or its inner plant with the inputs that reach it if these are states."""
    plant, values = task.true_dynamics.plant, dict(zip(task.plant.input.names, u, strict=True))
    values |= dict(zip(task.plant.state.names, x, strict=True))
    inner = _innermost(plant)
    if not isinstance(inner, Drawn):  # the true plant may differ from the nominal one
        inner = _innermost(task.plant)
    assert isinstance(inner, Drawn)
    state, inputs = (np.array([values.get(name, 0.0) for name in s.names]) for s in (inner.state, inner.input))
    return inner.drawing(state, inputs)


def _goal(task: Task, k: int) -> tuple[Shape, ...]:
    x, u = task.reference.at(task.plant, k)
    return tuple(shape for shape in _drawing(task, x, u).shapes if shape.kind in ("body", "rod"))


def _limits(task: Task, drawing: Drawing) -> tuple[Shape, ...]:
    """The plant at its goal with each state other than the plane's coordinates at the bounds of a box on it."""
    x_ref, u_ref = task.reference.at(task.plant, 0)
    goal, limits = _drawing(task, x_ref, u_ref).shapes, list[Shape]()
    for constraint in task.constraints:
        for bounds in constraint.interval(task.plant.state) if isinstance(constraint, Box) else ():
            for i, bound in enumerate(bounds):
                if task.plant.state.names[i] in (drawing.across, drawing.up) or not np.isfinite(bound):
                    continue
                moved = _drawing(task, np.where(np.arange(len(x_ref)) == i, bound, x_ref), u_ref).shapes
                limits += [
                    shape for shape, at_goal in zip(moved, goal, strict=True)
                    if shape.kind in ("body", "rod") and not np.allclose(shape.points, at_goal.points)
                ]  # fmt: skip
    return tuple(limits)


def _frames(task: Task, runs: RecordedRuns, run: int, every: int) -> tuple[Frame, ...]:
    states, inputs, margins = runs.states[run], runs.inputs[run], runs.margins[run]
    end = len(inputs) if runs.left[run] < 0 else int(runs.left[run])
    samples = [*range(0, end, every), end]
    violated = ~(margins <= ROUNDING).all(axis=-1)
    made = []
    for k in samples:
        at = min(k, len(inputs) - 1)
        goal = () if task.reference.is_constant else _goal(task, k)
        since = slice(max(k - every + 1, 0), at + 1)  # so that a violation between two frames is not missed
        made.append(
            Frame(k * task.dt, tuple(_drawing(task, states[k], inputs[at]).shapes), goal, bool(violated[since].any()))
        )
    return tuple(made)


def _window(task: Task, drawing: Drawing, shapes: Sequence[Shape]) -> tuple[float, float, float, float]:
    points = np.concatenate([shape.points for shape in shapes if shape.kind != "ground"])
    points = points[np.isfinite(points).all(axis=1)]
    low, high = points.min(axis=0), points.max(axis=0)
    for i, name in enumerate((drawing.across, drawing.up)):
        if name is None:
            continue
        least, most = (bound[task.plant.state.where(name)] for bound in task.domain_bounds)
        if most - least <= _FAR * (high[i] - low[i]):
            low[i], high[i] = min(low[i], least), max(high[i], most)
    room = _ROOM * max(high - low)
    return float(low[0] - room), float(high[0] + room), float(low[1] - room), float(high[1] + room)


def _unsafe(task: Task, drawing: Drawing, window: tuple[float, float, float, float]) -> tuple[np.ndarray, ...]:
    """Outlines of the part of the window where the largest margin is positive."""
    names = (drawing.across, drawing.up)
    if not task.constraints or names == (None, None):
        return ()
    from contourpy import contour_generator  # comes with matplotlib

    axes = np.linspace(window[0], window[1], _GRID), np.linspace(window[2], window[3], _GRID)
    x_ref, u_ref = task.reference.at(task.plant, 0)
    x = np.tile(x_ref, (_GRID, _GRID, 1))
    for name, values in zip(names, np.meshgrid(*axes), strict=True):
        if name is not None:
            x[..., task.plant.state.where(name)] = values
    margin = np.asarray(lower(task.margin_function(), to="numpy")(x, u_ref)).max(axis=-1)
    margin = np.nan_to_num(margin, nan=1.0, posinf=1e6, neginf=-1e6)  # undefined counts as violated
    if not (margin > 0).any():
        return ()
    filled = contour_generator(*axes, margin, fill_type="OuterOffset").filled(0.0, float(margin.max()) + 1.0)
    outlines = []
    for points, offsets in zip(*filled, strict=True):
        outlines += [points[first:last] for first, last in pairwise(offsets)]
    return tuple(outlines)
