"""The comparison as a table: the problem once, then one line per controller, with units and intervals."""

from __future__ import annotations

import math

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ctrl.comparison.data import ComparisonData
from ctrl.comparison.metrics import Metrics
from ctrl.comparison.problem import problem
from ctrl.comparison.verdicts import ROUNDING, Verdict
from ctrl.controller import Status
from systems import Budget, Chance, Task
from systems.statistics import Estimate, Rate, cheapest

__all__ = ["table", "text"]

WIDTH = 132

_ENDINGS = {
    Status.MAX_ITERATIONS: "stopped by the limit on iterations",
    Status.TIMEOUT: "stopped by the clock",
    Status.INFEASIBLE: "no plan keeps the constraints, as far as the solver can tell",
    Status.TERMINAL_SET_UNREACHABLE: "plans keep the constraints, none ends in the terminal set; planned without it",
    Status.UNBOUNDED: "the solver's iterates grew without bound",
    Status.NUMERICAL: "the solver ended at no point that passes the check of optimality, or was given no finite state",
}


def table(comparison: ComparisonData) -> Group:
    """The problem, the table, and notes on violations, failures and approximations.

    Args:
        comparison: its results.
    """
    grid = Table(box=None, header_style="dim", padding=(0, 1), collapse_padding=True)
    grid.add_column("", no_wrap=True)
    for head in (
        "cost\n[95 %]", "cost\n/ cheapest", "violated\n[95 %]", "worst\nmargin", "RoA\nsampled", "RoA\nproved",
        "settling\n[s]", "step p50\n/ p99 [ms]", "missed\n(> dt)",
    ):  # fmt: skip
        grid.add_column(head, justify="right")
    ratios = comparison.ratios
    least = cheapest({name: ratio.value for name, ratio in ratios.items()})
    clear = len(ratios) > 1 and all(ratio.low > 1 for name, ratio in ratios.items() if name != least)
    for name, metrics in comparison.metrics.items():
        bold = clear and name == least
        proved = _proved(comparison.proved.get(name)) if comparison.is_proof_tried else "not tried"
        cells = _cells(metrics, ratios[name], proved, bold)
        grid.add_row(Text(name + _mark(metrics), "bold" if bold else ""), *cells)
    return Group(Text(problem(comparison)), grid, *(Text(note, style="dim") for note in _notes(comparison)))


def _mark(metrics: Metrics) -> str:
    """A star if the controller broke a hard constraint or left the domain, which may lower its cost."""
    return "*" if metrics.unsafe.k else ""


def _cells(metrics: Metrics, ratio: Estimate, proved: str, bold: bool) -> list[Text]:
    # An undefined margin is worse than any number.
    worst = max(metrics.worst_margin.items(), key=lambda item: (math.isnan(item[1]), item[1]), default=None)
    cells = [
        _interval(metrics.cost),
        "1" if ratio.low == ratio.high else _interval(ratio),
        _rate(metrics.violated) if metrics.violations else "-",
        f"{_margin(worst[1])} ({worst[0]})" if worst else "-",
        _rate(metrics.settled),
        proved,
        _number(metrics.settling),
        f"{_number(1e3 * metrics.step_p50)} /\u00a0{_number(1e3 * metrics.step_p99)}",
        f"{metrics.missed.k}/{metrics.missed.n}",
    ]
    return [Text(cell, style="bold" if bold and i == 0 else "") for i, cell in enumerate(cells)]


def _notes(comparison: ComparisonData) -> list[str]:
    notes: list[str] = []
    for name, metrics in comparison.metrics.items():
        odd = {status: count for status, count in metrics.statuses.items() if count and status is not Status.SOLVED}
        parts = [f"{count} samples {status.replace('_', ' ')}" for status, count in odd.items()]
        if metrics.broke_hard.k:
            parts.append(f"broke a hard constraint in {metrics.broke_hard.k} runs")
        if metrics.left.k:
            parts.append(f"{metrics.left.k}/{metrics.left.n} runs left the domain")
        if len(metrics.violations) > 1:
            parts += [f"'{c}' violated in {_rate(rate)}" for c, rate in metrics.violations.items() if rate.k]
        notes += [f"{_mark(metrics)}{name}: {', '.join(parts)}"] if parts else []
        notes += [_announced(name, comparison)] if comparison.approximations[name] != () else []
        notes += [f"{name}: {note}" for verdict in metrics.verdicts if (note := _note(verdict, comparison.task))]
        notes += _estimation(name, comparison)
    notes += [f"{name}: skipped, {reason}" for name, reason in comparison.skipped.items()]
    notes += [f"{name}: FAILED, {reason}" for name, reason in comparison.failed.items()]
    key = (
        "intervals at 95 %: cost Student's t, its ratio from paired runs, rates Wilson; bold: cheaper than all others "
        "beyond noise; *: broke a hard constraint or left the domain, so its cost is not comparable; "
        f"violated: runs with a margin above {ROUNDING:g} or undefined, soft constraints included; "
        "settled: arrives and stays; "
        f"steps timed in {comparison.workers} process{'es' if comparison.workers > 1 else ''} at once"
    )
    if 0.0 in comparison.proved.values():
        key += "; RoA proved 0: nothing was proved in the time given, which `trivium verify` gives reasons for"
    return [*notes, *_endings(comparison), key]


def _announced(name: str, comparison: ComparisonData) -> str:
    """A controller's approximations of the task."""
    said = comparison.approximations[name]
    return f"{name} does not say what it approximates" if said is None else f"{name} approximates: {'; '.join(said)}"


def _estimation(name: str, comparison: ComparisonData) -> list[str]:
    """The estimator of a controller, and the error of its estimates."""
    errors, estimator = comparison.metrics[name].estimation_error, comparison.estimators.get(name)
    if not errors:
        return []
    units = dict(zip(comparison.task.plant.state.names, comparison.task.plant.state.units, strict=True))
    said = ", ".join(f"{state} {_number(error)} {units[state]}" for state, error in errors.items())
    return [f"{name}: state from {estimator or 'an estimator of its own'}, error (root mean square) {said}"]


def _endings(comparison: ComparisonData) -> list[str]:
    """The meaning of every status that occurred, and what a controller does then."""
    occurred = {
        status for metrics in comparison.metrics.values() for status, count in metrics.statuses.items() if count
    }
    meant = [f"{status.replace('_', ' ')}: {meaning}" for status, meaning in _ENDINGS.items() if status in occurred]
    if not meant:
        return []
    then = (
        "such a sample gets the solver's last point if that is nearly optimal, else the last plan shifted, else a "
        "backup law"
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
    said = "NOT KEPT" if not verdict.kept else "kept" if share <= bound else "perhaps kept, too few runs to tell"
    note = f"'{verdict.constraint}' {said}: "
    if isinstance(required, Chance) and isinstance(measured, Rate) and verdict.sample is not None:
        allowed, when = 100 * (1 - required.probability), verdict.sample * task.dt
        note += f"violated by {_rate(measured)} of the runs at its worst sample ({when:.3g} s)"
        return f"{note}; allowed {allowed:.3g}\u00a0%"
    if isinstance(required, Budget) and isinstance(measured, Estimate):
        what = ("excess per run" if required.of == "excess" else "violated samples per run") + (
            f" discounted by {task.discount:g}" if required.per == "discounted" else ""
        )
        return f"{note}{_interval(measured)} {what} on average; allowed {required.limit:g}"
    return None


def _margin(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:+.2g}"


def _interval(estimate: Estimate) -> str:
    half = estimate.high - estimate.value
    if not math.isfinite(half):
        return _number(estimate.value)
    # As many decimals as the interval supports: two significant digits of its half-width.
    decimals = min(max(0, 1 - math.floor(math.log10(half))), 4) if half > 0 else 3
    return f"{estimate.value:.{decimals}f} ±{half:.{decimals}f}"


def _rate(rate: Rate) -> str:
    low, high = rate.interval
    if rate.k == 0:
        return f"0/{rate.n} (≤{100 * high:.1f}\u00a0%)"
    if rate.k == rate.n:
        return f"{rate.k}/{rate.n} (≥{100 * low:.1f}\u00a0%)"
    return f"{rate.k}/{rate.n} ({100 * low:.0f}-{100 * high:.0f}\u00a0%)"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-" if math.isnan(value) else "inf"


def text(comparison: ComparisonData) -> str:
    """The table as plain text."""
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as caught:
        console.print(table(comparison))
    return caught.get()
