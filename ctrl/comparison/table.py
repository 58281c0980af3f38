"""The comparison as a table: the problem once, then one line per controller, with units and intervals."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ctrl.comparison.data import ComparisonData
from ctrl.comparison.metrics import Metrics
from ctrl.comparison.problem import problem
from ctrl.comparison.verdicts import NEGLIGIBLE, ROUNDING, Verdict
from ctrl.controller import Status
from systems import Budget, Chance, Task
from systems.statistics import Estimate, Rate, cheapest

__all__ = ["ComparisonTable", "columns", "interval", "number", "table", "text"]

_WIDTH = 132
_GAP = 2  # spaces between columns
_LONG = 20  # characters of a margin with the name of its constraint, beyond which the name gets a line of its own
_DECIMALS = 6
_NOISE = 1e-12  # a relative half-width below this is rounding

_ENDINGS = {
    Status.MAX_ITERATIONS: "the iteration limit was reached",
    Status.TIMEOUT: "the time limit was reached",
    Status.INFEASIBLE: "no plan satisfies the constraints, as far as the solver can tell",
    Status.TERMINAL_SET_UNREACHABLE: "the terminal set cannot be reached within the constraints; planned without it",
    Status.UNBOUNDED: "the solver's iterates grew without bound",
    Status.NUMERICAL: "the solver's point failed the optimality check, or the state was not finite",
}


def columns() -> int:
    """Width of the terminal, or ``$COLUMNS``; 132 if there is neither."""
    return shutil.get_terminal_size((_WIDTH, 24)).columns


@final
@dataclass(frozen=True)
class ComparisonTable:
    """The printed table of a comparison. Columns that do not fit side by side continue below, so none is truncated.

    Args:
        title: the problem.
        names: of the rows.
        columns: head and cells of each.
        notes: below.
    """

    title: str
    names: Sequence[Text]
    columns: Sequence[tuple[str, Sequence[Text]]]
    notes: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.title)
        first = min(max((cell_len(name.plain) for name in self.names), default=0), max(8, options.max_width // 3))
        for part in _side_by_side(self.columns, options.max_width - first - _GAP):
            grid = Table(box=None, header_style="dim", padding=(0, _GAP, 0, 0), pad_edge=False)
            grid.add_column("", overflow="fold", max_width=first)
            for head, _ in part:
                grid.add_column(Text(head), justify="right", overflow="fold")  # a plain text would lose "[s]" as markup
            for name, *cells in zip(self.names, *(cells for _, cells in part), strict=True):
                grid.add_row(name, *cells)
            yield grid
            yield Text()
        yield from (Text(note, style="dim", overflow="fold") for note in self.notes)


def _side_by_side(columns: Sequence[tuple[str, Sequence[Text]]], room: int) -> list[list[tuple[str, Sequence[Text]]]]:
    """The columns in groups that fit, in order; each group has at least one."""
    groups: list[list[tuple[str, Sequence[Text]]]] = [[]]
    left = room
    for head, cells in columns:
        width = max(cell_len(line) for text in (head, *(cell.plain for cell in cells)) for line in text.split("\n"))
        if groups[-1] and width > left:
            groups.append([])
            left = room
        groups[-1].append((head, cells))
        left -= width + _GAP
    return groups


def table(comparison: ComparisonData) -> ComparisonTable:
    """The problem, the table, and notes on violations, failures and approximations.

    Args:
        comparison: its results.
    """
    ratios, measured = comparison.ratios, comparison.metrics
    least = cheapest({name: metrics.cost.value for name, metrics in measured.items()})
    clear = _clear(comparison)
    heads = ["cost\n[95 %]", "cost\n/ cheapest", "violated\n[95 %]", "worst margin", "RoA sampled\n[95 %]",
        "RoA\nproved", "settling\n[s]", "step p50 / p99\n[ms]", "missed\n(> dt)"]  # fmt: skip
    rows = []
    for name, metrics in measured.items():
        cells = _cells(metrics, ratios[name], _proved(comparison.proved.get(name)))
        rows.append([Text(cell, "bold" if clear and name == least and not i else "") for i, cell in enumerate(cells)])
    shown = [True] * len(heads)
    shown[1] = len(measured) > 1
    shown[2] = shown[3] = bool(comparison.task.constraints)
    shown[5] = comparison.is_proof_tried
    return ComparisonTable(
        problem(comparison),
        [Text(name + _mark(m), "bold" if clear and name == least else "") for name, m in measured.items()],
        [(head, [row[i] for row in rows]) for i, head in enumerate(heads) if shown[i]],
        _notes(comparison),
    )


def _clear(comparison: ComparisonData) -> bool:
    """Whether one controller is cheaper than all others beyond noise."""
    ratios = comparison.ratios
    least = cheapest({name: ratio.value for name, ratio in ratios.items()})
    return len(ratios) > 1 and all(ratio.low > 1 + NEGLIGIBLE for name, ratio in ratios.items() if name != least)


def _mark(metrics: Metrics) -> str:
    """A star if the controller violated a hard constraint or left the domain, which may lower its cost."""
    return "*" if metrics.unsafe.k else ""


def _cells(metrics: Metrics, ratio: Estimate, proved: str) -> list[str]:
    # An undefined margin is worse than any number.
    worst = max(metrics.worst_margin.items(), key=lambda item: (math.isnan(item[1]), item[1]), default=None)
    margin = "-"
    if worst:
        value, name = _margin(worst[1]), f"({worst[0]})"
        margin = f"{value}{' ' if len(value) + len(name) < _LONG else chr(10)}{name}"
    return [
        interval(metrics.cost),
        number(ratio.value, 4) if ratio.low == ratio.high else interval(ratio),
        _rate(metrics.violated) if metrics.violations else "-",
        margin,
        _rate(metrics.settled),
        proved,
        number(metrics.settling),
        f"{number(1e3 * metrics.step_p50)} / {number(1e3 * metrics.step_p99)}",
        f"{metrics.missed.k}/{metrics.missed.n}",
    ]


def _notes(comparison: ComparisonData) -> list[str]:
    notes: list[str] = []
    for name, metrics in comparison.metrics.items():
        odd = {status: count for status, count in metrics.statuses.items() if count and status is not Status.SOLVED}
        parts = [f"{count} samples {status.replace('_', ' ')}" for status, count in odd.items()]
        if metrics.broke_hard.k:
            parts.append(f"violated a hard constraint in {metrics.broke_hard.k} run{'s' * (metrics.broke_hard.k > 1)}")
        if metrics.left.k:
            parts.append(f"{metrics.left.k}/{metrics.left.n} runs left the domain")
        if metrics.unsolved:
            parts.append(f"in {metrics.unsolved} of them equations of the plant were not solved")
        if len(metrics.violations) > 1:
            parts += [f"'{c}' violated in {_rate(rate)}" for c, rate in metrics.violations.items() if rate.k]
        notes += [f"{_mark(metrics)}{name}: {', '.join(parts)}"] if parts else []
        notes += [_announced(name, comparison)] if comparison.approximations[name] != () else []
        notes += [f"{name}: {note}" for verdict in metrics.verdicts if (note := _note(verdict, comparison.task))]
        notes += _estimation(name, comparison)
    notes += [f"{name}: skipped, {reason}" for name, reason in comparison.skipped.items()]
    notes += [f"{name}: FAILED, {reason}" for name, reason in comparison.failed.items()]
    return [*notes, *_endings(comparison), "; ".join(_legend(comparison))]


def _legend(comparison: ComparisonData) -> list[str]:
    """Explanations of the column heads and marks that occur in this table."""
    measured = comparison.metrics.values()
    several = len(comparison.starts) > 1
    parts = []
    if several:
        ratio = ", its ratio from paired runs" if len(measured) > 1 else ""
        parts.append(f"intervals at 95 %: Student's t for the cost{ratio}, Wilson for rates")
    if _clear(comparison):
        parts.append("bold: significantly cheaper than all others")
    if any(metrics.unsafe.k for metrics in measured):
        parts.append("*: violated a hard constraint or left the domain, so its cost is not comparable")
    if any(metrics.violated.k for metrics in measured):
        parts.append(f"violated: runs with a margin above {ROUNDING:g} or undefined, including soft constraints")
    parts.append("RoA sampled: runs that come within Task.tolerance of the reference and stay")
    if not comparison.is_proof_tried:
        parts.append("RoA proved: not tried")
    elif 0.0 in comparison.proved.values():
        parts.append("RoA proved 0: nothing was proved within the time limit; `trivium verify` gives the reasons")
    if any(metrics.missed.k for metrics in measured):
        parts.append(
            "missed: timed steps that took longer than dt, for which a shorter horizon or fewer iterations help"
        )
    parts.append(f"steps timed in {comparison.workers} process{'es' if comparison.workers > 1 else ''} at once")
    return parts


def _announced(name: str, comparison: ComparisonData) -> str:
    """A controller's approximations of the task."""
    texts = comparison.approximations[name]
    return (
        f"{name} does not announce its approximations" if texts is None else f"{name} approximates: {'; '.join(texts)}"
    )


def _estimation(name: str, comparison: ComparisonData) -> list[str]:
    """The estimator of a controller, and the error of its estimates."""
    errors, estimator = comparison.metrics[name].estimation_error, comparison.estimators.get(name)
    if not errors:
        return []
    units = dict(zip(comparison.task.plant.state.names, comparison.task.plant.state.units, strict=True))
    listed = ", ".join(f"{state} {number(error)} {units[state]}" for state, error in errors.items())
    return [f"{name}: state from {estimator or 'its own estimator'}, root mean square error {listed}"]


def _endings(comparison: ComparisonData) -> list[str]:
    """The meaning of every status that occurred, and what a controller does then."""
    occurred = {
        status for metrics in comparison.metrics.values() for status, count in metrics.statuses.items() if count
    }
    meant = [f"{status.replace('_', ' ')}: {meaning}" for status, meaning in _ENDINGS.items() if status in occurred]
    if not meant:
        return []
    if not occurred & (_ENDINGS.keys() - {Status.TERMINAL_SET_UNREACHABLE}):
        return meant  # a plan was found and applied
    then = (
        "in such a sample, the solver's last point is applied if it is nearly optimal, otherwise the shifted last "
        "plan, or else a backup control law"
    )
    return ["; ".join([*meant, then])]


def _proved(share: float | None) -> str:
    """A lower bound, so it is rounded down."""
    return "-" if share is None else f"{math.floor(1e3 * share) / 10:.1f} %"


def _note(verdict: Verdict, task: Task) -> str | None:
    """Requirement, measurement and verdict of a chance constraint or a budget; None for any other constraint."""
    required, measured = verdict.requirement, verdict.measured
    share = measured.k / measured.n if isinstance(measured, Rate) else measured.value
    bound = 1 - required.probability if isinstance(required, Chance) else getattr(required, "limit", math.inf)
    outcome = "NOT KEPT" if not verdict.kept else "kept" if share <= bound else "perhaps kept, too few runs to tell"
    if outcome == "kept" and verdict.reaches_beyond:
        outcome = "kept in these runs, too few to rule out more"
    note = f"'{verdict.constraint}' {outcome}: "
    if isinstance(required, Chance) and isinstance(measured, Rate) and verdict.sample is not None:
        allowed, when = 100 * (1 - required.probability), verdict.sample * task.dt
        note += f"violated by {_rate(measured)} of the runs at its worst sample ({when:.3g} s)"
        return f"{note}; allowed {allowed:.3g}\u00a0%"
    if isinstance(required, Budget) and isinstance(measured, Estimate):
        what = ("excess per run" if required.of == "excess" else "violated samples per run") + (
            f" discounted by {task.discount:g}" if required.per == "discounted" else ""
        )
        return f"{note}{interval(measured)} {what} on average; allowed {required.limit:g}"
    return None


def _margin(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:+.2g}"


def interval(estimate: Estimate) -> str:
    """Four significant digits of the value, or more where the interval supports them: two of its half-width."""
    value, half = estimate.value, estimate.high - estimate.value
    if not math.isfinite(half):
        return number(value, 4)
    half = half if half > _NOISE * abs(value) else 0.0
    size = max(abs(value), half)
    if size and not 1e-3 <= size < 1e7:
        power = math.floor(math.log10(size))
        scaled = Estimate(value / 10.0**power, 0.0, value / 10.0**power + half / 10.0**power)
        return f"({interval(scaled)})e{power:+03d}"
    digits = 3 - math.floor(math.log10(abs(value))) if value else 0
    narrow = 1 - math.floor(math.log10(half)) if half > 0 else 0
    decimals = min(max(0, digits, narrow), _DECIMALS)
    width = f"{half:.1e}" if narrow > _DECIMALS else f"{half:.{max(0, narrow)}f}"
    return f"{value:.{decimals}f} ±{width}"


def _rate(rate: Rate) -> str:
    low, high = rate.interval
    if rate.k == 0:
        return f"0/{rate.n} (≤{100 * high:.1f}\u00a0%)"
    if rate.k == rate.n:
        return f"{rate.k}/{rate.n} (≥{100 * low:.1f}\u00a0%)"
    return f"{rate.k}/{rate.n} ({100 * low:.0f}-{100 * high:.0f}\u00a0%)"


def number(value: float, digits: int = 3) -> str:
    """A number with so many digits, a dash for one that does not exist."""
    return f"{value:.{digits}g}" if math.isfinite(value) else "-" if math.isnan(value) else "inf"


def text(comparison: ComparisonData) -> str:
    """The table as plain text, as wide as :func:`columns` says."""
    console = Console(width=columns(), color_system=None)
    with console.capture() as caught:
        console.print(table(comparison))
    return caught.get()
