"""The terminal table of a run of a loop, also used by the live view."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ctrl.comparison.verdicts import violated_samples
from ctrl.realtime.summary import LoopSummary, Quantiles

if TYPE_CHECKING:
    from ctrl.realtime.data import LoopData

__all__ = ["content", "text"]

_WIDTH = 100
_ROWS = {
    "latency": "latency: due to start",
    "period": "period: start to start",
    "step": "step: request to answer",
    "computation": "computation",
    "response": "response: due to write",
}


def content(numbers: LoopSummary, title: str, rate: float) -> Any:
    """The rich renderable of the table: times, counts and the worst second.

    Args:
        numbers: of the run so far. title: of the table. rate: in Hz.
    """
    times = Table(
        r"times \[ms]", *(f"{name}" for name in ("p50", "p99", "p99.9", "worst")), title=title, title_justify="left"
    )
    for column in times.columns[1:]:
        column.justify = "right"
    for name, label in _ROWS.items():
        quantiles: Quantiles = getattr(numbers, name)
        values = (quantiles.p50, quantiles.p99, quantiles.p999, quantiles.worst)
        if quantiles.p50 == quantiles.p50:
            times.add_row(label, *(f"{1e3 * value:.3f}" for value in values))
    total = numbers.samples + numbers.skipped
    lines = [f"deadlines missed  {numbers.missed} of {total} at {rate:g} Hz, {numbers.skipped} of them skipped samples"]
    if numbers.worst_second is not None:
        worst = numbers.worst_second
        lines.append(
            f"worst second      from {worst.start:.1f} s: {worst.missed} missed, response up to "
            f"{1e3 * worst.response:.3f} ms"
        )
    for label, counts in (
        ("measurements", numbers.measurements),
        ("inputs", numbers.inputs),
        ("status", numbers.statuses),
        ("source", numbers.sources),
        ("fallback", numbers.fallbacks),
    ):
        if counts:
            lines.append(f"{label:<17} {', '.join(f'{word} {n}' for word, n in counts.items())}")
    return Group(times, Text("\n".join(lines)))


def text(run: LoopData) -> str:
    """The table of a finished run and what went wrong."""
    out = io.StringIO()
    numbers, dt = run.summary, run.task.dt
    plural = "" if numbers.samples == 1 else "s"
    title = f"{run.task.name} · {numbers.samples} sample{plural} of {1e3 * dt:g} ms"
    Console(file=out, width=_WIDTH).print(content(numbers, title, 1.0 / dt))
    more = []
    if len(run.columns.k):
        more.append(f"mean stage cost   {run.stage_costs.mean():.6g}")
        more += _violations(run)
    if numbers.held < numbers.samples:
        more.append(f"times are those of the last {numbers.held} samples, the ones held in the log")
    if run.estimator:
        more.append(f"estimator         {run.estimator}")
    if run.restarts:
        more.append(f"restarts          {run.restarts} of the controller's process")
    if run.stopped:
        more.append(f"stopped by        {run.stopped}")
    more += [f"error             {error}" for error in run.errors]
    return out.getvalue() + "\n".join(more)


def _violations(run: LoopData) -> list[str]:
    """One line per violated constraint; one in all if none is violated."""
    names = [constraint.name for constraint in run.task.constraints]
    if not names:
        return []
    label, lines = "constraints       ", []
    for name, margins in zip(names, run.margins.T, strict=True):
        violated = violated_samples(margins)
        if violated.any():
            worst = f"by up to {np.nanmax(margins):.3g}" if np.isfinite(margins[violated]).any() else "undefined there"
            lines.append(f"{label}'{name}' violated at {violated.sum()} of {len(margins)} samples, {worst}")
    return lines or [f"{label}no sample violates {', '.join(map(repr, names))}"]
