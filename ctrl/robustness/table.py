"""Robustness as a table: one line per axis, one column per controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from ctrl.comparison.table import ComparisonTable, columns, number
from ctrl.robustness.axes import RobustnessAxis
from ctrl.robustness.curve import Curve

__all__ = ["table", "text"]


def table(
    title: str, axes: Sequence[RobustnessAxis], curves: Mapping[str, Sequence[Curve]], notes: Sequence[str]
) -> ComparisonTable:
    """For each axis the range of values that adds no violation, and the cost at the worst value.

    Args:
        title: above the table.
        axes: the rows.
        curves: by controller, one for each axis.
        notes: below the table.
    """
    names = [Text(f"{a.title}\n{a.values[0]:g} to {a.values[-1]:g}, nominal {a.nominal:g}") for a in axes]
    shown = [(name, [Text(f"{c.range}\ncost x {number(c.worst)}") for c in own]) for name, own in curves.items()]
    legend = (
        "range of values around the nominal one at which no more runs violate a constraint, leave the domain or "
        "diverge than at that one; below it: mean cost at the worst value tried, relative to the nominal one"
    )
    return ComparisonTable(title, names, shown, [legend, *notes])


def text(
    title: str, axes: Sequence[RobustnessAxis], curves: Mapping[str, Sequence[Curve]], notes: Sequence[str]
) -> str:
    """The table as plain text.

    Args:
        title, axes, curves, notes: see :func:`table`.
    """
    console = Console(width=columns(), color_system=None)
    with console.capture() as caught:
        console.print(table(title, axes, curves, notes))
    return caught.get()
