"""Runs the cells of a sweep that have no result yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ctrl.cells import Engine, Here
from ctrl.comparison.progress import Progress, about
from ctrl.sweep.cell import SweepCell
from ctrl.sweep.results import Sweep
from ctrl.sweep.store import SweepStore
from systems import InvalidValue

__all__ = ["sweep"]

_MANY = 8  # cells of a controller


def sweep(
    cells: Sequence[SweepCell],
    engine: Engine | None = None,
    out: str | Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> Sweep:
    """Runs every cell, the first ones of each controller in this process to measure how long they take.

    Args:
        cells: as from :func:`ctrl.sweep.grid`.
        engine: runs them; default: this process.
        out: folder in which finished cells are stored; an interrupted sweep resumes from there. Default: nothing is
            stored.
        announce: called with lines about the plan and its estimated duration; default: they are printed on a terminal.

    Raises:
        InvalidValue: no cells, or of different numbers of starts.
        OutputError: `out` holds a sweep of another number of starts or of other versions.
    """
    if len({cell.starts for cell in cells}) != 1:
        raise InvalidValue(f"{len(cells)} cells; expected at least one, all with the same number of starts")
    engine = Here() if engine is None else engine
    store = None if out is None else SweepStore(Path(out), cells[0].starts)
    results: list[dict[str, Any] | None] = [None if store is None else store.read(cell) for cell in cells]
    missing = [i for i, result in enumerate(results) if result is None]
    failed: dict[int, str] = {}
    skipped: dict[int, str] = {}
    with Progress(["cells"], len(cells)) as progress:
        say = progress.say if announce is None else announce
        at_once = f"{engine.workers} at once" if engine.workers > 1 else "one after the other"
        say(f"sweep of {len(cells)} cells with {cells[0].starts} runs each, {at_once}; {len(missing)} to run")
        advance = progress.advance("cells")
        advance(len(cells) - len(missing))
        # Some of each controller alone: they measure the time, and what is trained on first use is trained once.
        first = _first(cells, missing, _seconds(cells, results))
        for part, with_engine in ((first, Here()), ([i for i in missing if i not in first], engine)):
            if with_engine is engine and part:
                measured = _seconds(cells, results)
                left = sum(measured.get(cells[i].controller, 0.0) for i in part) / engine.workers
                say(f"{about(left)} to go if a controller's cells are alike; Ctrl-C stops")
            with closing(with_engine.run([cells[i] for i in part])) as ends:
                for ended in ends:
                    i = part[ended.index]
                    if ended.failed:
                        failed[i] = ended.failed
                    elif ended.skipped:
                        skipped[i] = ended.skipped
                    else:
                        results[i] = ended.value
                        if store is not None:
                            store.keep(cells[i], ended.value)
                    advance(1)
    return Sweep(tuple(cells), tuple(results), failed, skipped)


def _seconds(cells: Sequence[SweepCell], results: Sequence[dict[str, Any] | None]) -> dict[str, float]:
    """How long a cell of each controller took, of those that have a result."""
    return {
        cell.controller: float(result["seconds"])
        for cell, result in zip(cells, results, strict=True)
        if result is not None
    }


def _first(cells: Sequence[SweepCell], missing: Sequence[int], measured: Mapping[str, float]) -> list[int]:
    """The cells that measure the time: of each controller without a result one, or two of many, as in the first one its
    code is loaded and compiled."""
    cells_of = {
        cells[i].controller: [j for j in missing if cells[j].controller == cells[i].controller] for i in missing
    }
    return sorted(
        i for name, own in cells_of.items() if name not in measured for i in own[: 2 if len(own) > _MANY else 1]
    )
