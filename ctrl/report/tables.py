"""Tables of a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree.ElementTree import tostring

from ctrl.comparison.data import ComparisonData
from ctrl.comparison.problem import problem
from ctrl.comparison.verdicts import ROUNDING
from ctrl.report.differences import differences
from ctrl.report.elements import Element, Item, element
from ctrl.report.numbers import duration, interval, number, percent, rate
from systems.statistics import Estimate

__all__ = ["difference_table", "excerpt", "main_table", "table"]


def main_table(comparison: ComparisonData) -> Element:
    """One row per controller.

    Args:
        comparison: its results.
    """
    constraints = [constraint.name for constraint in comparison.task.constraints]
    heads = ["controller", "mean cost", "cost / cheapest", "arrive and stay", "proved share of starts",
        "settling, median", "left the domain", "step, median", "step, 99 %", "steps longer than dt"]  # fmt: skip
    heads += [f"'{name}' violated" for name in constraints] + [f"'{name}' worst margin" for name in constraints]
    rows, ratios = [], comparison.ratios
    for name, metrics in comparison.metrics.items():
        share = comparison.proved.get(name)
        proved = "not tried" if not comparison.is_proof_tried else "none possible" if share is None else percent(share)
        rows.append(
            [
                name,
                interval(metrics.cost),
                _ratio(ratios[name]),
                rate(metrics.settled),
                proved,
                "never" if math.isnan(metrics.settling) else f"{number(metrics.settling)} s",
                rate(metrics.left),
                duration(metrics.step_p50),
                duration(metrics.step_p99),
                f"{metrics.missed.k} of {metrics.missed.n}",
                *(rate(metrics.violations[constraint]) for constraint in constraints),
                *(number(metrics.worst_margin[constraint]) for constraint in constraints),
            ]
        )
    caption = (
        "Individual 95 % intervals: Student's t for mean costs, paired runs for their ratios, Wilson for rates. "
        f"A margin above {ROUNDING:g} is a violation."
    )
    # Controllers are columns: their number is small, and a narrow table can be read on a phone.
    columns = list(zip(*rows, strict=True))
    return table(
        caption, [heads[0], *columns[0]], [[head, *cells] for head, cells in zip(heads[1:], columns[1:], strict=True)]
    )


def difference_table(comparison: ComparisonData) -> Element | None:
    """All pairs of controllers with the difference of their mean costs; None if there is only one controller.

    Args:
        comparison: its results.
    """
    pairs = differences({name: runs.cost for name, runs in comparison.runs.items()})
    if not pairs:
        return None
    rows = []
    for pair in pairs.values():
        verdict = (
            f"{pair.first} costs less"
            if pair.is_clear
            else "tied, within the tolerance of solvers"
            if pair.is_negligible
            else "tied"
        )
        if not math.isfinite(pair.cost.low):
            verdict = "no interval"
        size = "at most a millionth of the cost" if pair.is_negligible else interval(pair.cost)
        rows.append([f"{pair.second} \u2212 {pair.first}", size, verdict])
    caption = "Difference of mean cost over paired runs. " + (
        f"The intervals of all {len(rows)} pairs hold simultaneously at 95 % (Bonferroni), so they are wider than "
        "those of the table above."
        if len(rows) > 1
        else "Interval at 95 %."
    )
    return table(caption, ["pair", "difference", "which means"], rows)


def excerpt(comparison: ComparisonData) -> str:
    """A small table in HTML without a style sheet, for notebooks: one row per controller.

    Args:
        comparison: its results.
    """
    heads = ["controller", "mean cost", "cost / cheapest", "with a violation", "arrive and stay", "step, median"]
    ratios = comparison.ratios
    rows = [
        [name, interval(m.cost), _ratio(ratios[name]), rate(m.violated), rate(m.settled), duration(m.step_p50)]
        for name, m in comparison.metrics.items()
    ]
    return tostring(table(problem(comparison), heads, rows), encoding="unicode", method="html")


def _ratio(ratio: Estimate) -> str:
    if math.isnan(ratio.value):
        return "none"
    return f"{ratio.value:.4g}" if ratio.low == ratio.high else interval(ratio)


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Element:
    """A table that scrolls if it is too wide, also by keyboard.

    Args:
        caption: shown above it.
        heads: of the columns.
        rows: of texts; the first text of each row is its head.
    """
    head = element("tr", [element("th", text, attributes={"scope": "col"}) for text in heads])
    body: list[Item] = [
        element("tr", element("th", row[0], attributes={"scope": "row"}), [element("td", text) for text in row[1:]])
        for row in rows
    ]
    made = element(
        "table", element("caption", element("span", caption)), element("thead", head), element("tbody", body)
    )
    return element("div", made, attributes={"class": "scroll", "role": "region", "aria-label": caption, "tabindex": 0})
