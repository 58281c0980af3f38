"""Runs controllers over the values of every axis, as cells of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctrl.cells import Engine
from ctrl.cells.identity import identified
from ctrl.robustness.axes import RobustnessAxis, standard_axes
from ctrl.robustness.result import Robustness
from ctrl.sweep import SweepCell, sweep
from ctrl.sweep.perturbation import NOMINAL
from systems import InvalidValue, Task
from systems.arguments import expect_seed, expect_whole
from systems.errors import expect

__all__ = ["STARTS", "robustness"]

STARTS = 32
"""Initial states at each value of an axis."""


def robustness(
    task: Task,
    controllers: Mapping[str, Callable[[Task], Any]],
    starts: int = STARTS,
    seed: int = 0,
    axes: Sequence[RobustnessAxis] | None = None,
    engine: Engine | None = None,
    out: str | Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> Robustness:
    """Runs every controller, made for the task as it is, in loops that differ from it.

    All loops start from the same states and draw the same disturbances, so what makes a run hard for all of them is
    the same at every value.

    Args:
        task: that the controllers are made for; its true plant is what is changed.
        controllers: factories by name, such as ``{"lqr": LQR}``.
        starts: number of initial states; default: 32.
        seed: of initial states, disturbances and noise; default: 0.
        axes: what is varied; default: :func:`standard_axes`.
        engine: what runs the cells; default: this process.
        out: folder that keeps finished cells; work that was interrupted goes on from there. Default: nothing is kept.
        announce: called with lines that say what will be done and about how long it takes; default: they are printed
            on a terminal.

    Raises:
        InvalidValue: no controllers or no axes, or a controller that is already made.
        OutputError: `out` holds a sweep of another number of starts or of other versions.
    """
    expect(task, Task, "the task of robustness", "such as systems.library.cartpole()")
    expect(controllers, Mapping, "controllers", 'such as {"lqr": LQR}: every one by the name it is shown under')
    starts, seed = expect_whole(starts, "starts", least=1), expect_seed(seed)
    left_out: dict[str, str] = {}
    if axes is None:
        axes, left_out = standard_axes(task)
    if not controllers or not axes:
        raise InvalidValue(f"{len(controllers)} controllers, {len(axes)} axes; expected at least one of each")
    cells = []
    for name, given in controllers.items():
        factory = identified(name, given)
        perturbations = [NOMINAL, *(p for axis in axes for p in axis.perturbations if p != NOMINAL)]
        cells += [SweepCell(task, "", name, factory, starts, seed, perturbation) for perturbation in perturbations]
    return Robustness(tuple(axes), sweep(cells, engine, out, announce), left_out)
