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
    """Runs every controller, designed for the nominal task, in loops that differ from it.

    All loops start from the same states and draw the same disturbances, so runs are equally difficult at every value.

    Args:
        task: for which the controllers are designed; its true plant is varied.
        controllers: factories by name, such as ``{"lqr": LQR}``.
        starts: number of initial states; default: 32.
        seed: of initial states, disturbances and noise; default: 0.
        axes: quantities to vary; default: :func:`standard_axes`.
        engine: that runs the cells; default: this process.
        out: folder in which finished cells are stored, so that interrupted work can be resumed; default: nothing is
            stored.
        announce: called with lines that state what will be done and about how long it takes; default: they are printed
            on a terminal.

    Raises:
        InvalidValue: no controllers or no axes, or a controller that is already constructed.
        OutputError: `out` contains a sweep with another number of starts or of other versions.
    """
    expect(task, Task, "the task of robustness", "such as systems.library.cartpole()")
    expect(controllers, Mapping, "controllers", 'such as {"lqr": LQR}, by the names to display')
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
