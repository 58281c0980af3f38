"""The report: one self-contained HTML page that explains a comparison."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ctrl.comparison.data import ComparisonData
from ctrl.comparison.problem import problem
from ctrl.report.additions import Additions
from ctrl.report.charts import legend
from ctrl.report.distributions import distributions, margins, trade_off
from ctrl.report.elements import Element, Item, document, element
from ctrl.report.films import films
from ctrl.report.learning import learning_curves, seed_sentences
from ctrl.report.missing import missing
from ctrl.report.robustness import robustness_charts, robustness_sentences, robustness_table
from ctrl.report.style import STYLE_SHEET
from ctrl.report.summary import summary
from ctrl.report.tables import difference_table, main_table
from ctrl.report.trajectories import RUNS, phase_portraits, traces
from systems.files import write

__all__ = ["FILE", "Section", "page", "write_report"]

FILE = "report.html"
"""Name of the report in a folder of results."""

_BESIDE = ("figure.png", "figure.pdf", "table.csv", "table.json", "task.json", "versions.json")
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
)


@final
@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        identifier: in links.
        title: its heading.
        content: below the heading.
    """

    identifier: str
    title: str
    content: Sequence[Item]


def page(
    comparison: ComparisonData,
    command: Sequence[str] = (),
    logs: Mapping[str, Path] | None = None,
    sources: Mapping[str, str] | None = None,
    more: Additions | None = None,
    folder: str | Path | None = None,
) -> str:
    """The report as text.

    Args:
        comparison: its results.
        command: the command line, shown so that it can be repeated, with those that add to it; default: none.
        logs: ``progress.csv`` of trainings, by controller, for learning curves; default: none.
        sources: how the command line names the task and the controllers, by the names under which they are shown;
            default: these names.
        more: results beyond the comparison; default: none.
        folder: of the results, to which the commands shown add; default: not named.
    """
    more = more or Additions()
    shown = films(comparison) if more.films else []
    sections = [
        *([Section("films", "Films", shown)] if shown else []),
        *_sections(comparison),
        *_learning(comparison, logs or {}, more),
        *_robustness(comparison, more),
    ]
    if command:
        absent = missing(comparison, command, sources or {}, more, folder)
        sections.append(Section("missing", "Not on this page", [absent]))
    links = [element("li", element("a", s.title, attributes={"href": f"#{s.identifier}"})) for s in sections]
    head = element(
        "head",
        element("meta", attributes={"charset": "utf-8"}),
        element("meta", attributes={"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", attributes={"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", attributes={"name": "color-scheme", "content": "light dark"}),
        element("title", f"{comparison.task.name}: {', '.join(comparison.runs)}"),
        element("style", STYLE_SHEET),
    )
    body = element(
        "body",
        element(
            "header",
            element("h1", f"{comparison.task.name}: {_count(comparison)}"),
            element("p", problem(comparison), attributes={"class": "problem"}),
        ),
        element("main", _first(comparison, more),
            element("nav", element("ul", links), attributes={"aria-label": "Sections"}),
            [_shown(section) for section in sections]),
        element("footer", element("p", _origin(command), attributes={"class": "note"})),
    )  # fmt: skip
    return document(element("html", head, body, attributes={"lang": "en"}))


def write_report(
    comparison: ComparisonData,
    folder: str | Path,
    command: Sequence[str] = (),
    logs: Mapping[str, Path] | None = None,
    sources: Mapping[str, str] | None = None,
    more: Additions | None = None,
) -> Path:
    """Writes ``report.html`` to a folder.

    Args:
        comparison: its results.
        folder: where to.
        command, logs, sources, more: as of :func:`page`.

    Returns:
        The file.
    """
    file = Path(folder) / FILE
    write(file, page(comparison, command, logs, sources, more, folder).encode("utf-8"))
    return file


def _first(comparison: ComparisonData, more: Additions) -> Element:
    answers = [(answer.question, answer.sentences) for answer in summary(comparison)]
    if more.robustness is not None:
        answers.insert(3, ("What if the plant differs?", tuple(robustness_sentences(more.robustness))))
    if more.trainings is not None and (on_seeds := seed_sentences(more.trainings)):
        answers.insert(1, ("How much does the training seed matter?", tuple(on_seeds)))
    parts = [
        element("section", element("h3", question), element("ul", [element("li", s) for s in sentences]))
        for question, sentences in answers
    ]
    failures = [f"{name} was skipped: {why}" for name, why in comparison.skipped.items()]
    failures += [f"{name} FAILED: {why}" for name, why in comparison.failed.items()]
    if more.robustness is not None:
        failures += [f"{name}, robustness: {why}" for name, why in more.robustness.failed.items()]
    if failures:
        parts.append(
            element(
                "section",
                element("h3", "Which controllers did not run?"),
                element("ul", [element("li", f) for f in failures]),
            )
        )
    return element("div", parts, attributes={"class": "summary"})


def _sections(comparison: ComparisonData) -> list[Section]:
    names = list(comparison.runs)
    sections = [
        Section("table", "Table", [main_table(comparison)]),
        Section("differences", "Differences of cost", [difference_table(comparison)]),
        Section("trajectories", "Trajectories", list(_trajectories(comparison))),
    ]
    portraits = phase_portraits(comparison)
    if portraits is not None:
        title, charts = portraits
        note = "Dots: starts from which the run arrives at the reference and stays; crosses: all other starts."
        if any(name in comparison.regions for name in names) and len(comparison.task.plant.state) == 2:
            note += " Bold outline: region from which arrival is proved for the loop without disturbances."
        if len(comparison.task.plant.state) > 2:
            note += " The states are projected onto this plane, where trajectories may cross."
        sections.append(Section("phase", f"Phase portraits: {title}", [_note(note), _grid(charts)]))
    pareto = trade_off(comparison)
    if pareto is not None:
        note = (
            "Points: mean cost and median time of a step, with the interval of the mean and the 99th percentile. Step "
            "line: the lowest mean cost up to a given time; constraints are not taken into account."
        )
        sections.append(Section("pareto", "Cost against the time of a step", [_note(note), _grid([pareto], wide=True)]))
    curves = [_titled(title, drawing) for title, drawing in distributions(comparison)]
    sections.append(
        Section("distributions", "Distributions of time and cost", [legend(names), _grid(curves, wide=True)])
    )
    worst = [_titled(f"'{title}'", drawing) for title, drawing in margins(comparison)]
    if worst:
        note = "Share of the runs whose largest margin is at most the value; at 0, the share without a violation."
        sections.append(
            Section("margins", "Distributions of violations", [_note(note), legend(names), _grid(worst, wide=True)])
        )
    return [section for section in sections if any(part is not None for part in section.content)]


def _learning(comparison: ComparisonData, logs: Mapping[str, Path], more: Additions) -> list[Section]:
    charts = learning_curves(comparison, {**comparison.training_logs, **logs}, more.trainings)
    if not charts:
        return []
    note = (
        "Thin: minus the mean undiscounted return of the training runs since the previous entry, with exploration "
        "noise; thick: its moving average over a twentieth of the entries. Horizontal: mean costs of this comparison."
    )
    if more.trainings is not None:
        note += (
            " With several seeds: the moving average of each seed, their median and the band from the lowest to the "
            "highest; dots: mean cost of the policy of each seed on the runs of this comparison."
        )
    return [
        Section("learning", "Learning curves", [_note(note), legend(list(comparison.runs)), _grid(charts, wide=True)])
    ]


def _robustness(comparison: ComparisonData, more: Additions) -> list[Section]:
    result = more.robustness
    if result is None:
        return []
    parts: list[Item] = [
        _note(
            "Loops that differ from the task for which the controllers were designed, in one respect at a time; the "
            "same starts and draws at every value. Bands: 95 %, Student's t for mean costs and Wilson for shares."
        ),
        robustness_table(result),
        legend(list(comparison.runs)),
    ]
    pairs = [
        element("div", element("h3", title), _note(f"{note[0].upper()}{note[1:]}.") if note else None, _grid(charts))
        for title, note, charts in robustness_charts(result, list(comparison.runs))
    ]
    parts.append(element("div", pairs, attributes={"class": "pairs"}))
    if result.left_out:
        parts.append(_note("Not varied: " + "; ".join(f"{name}: {why}" for name, why in result.left_out.items()) + "."))
    return [Section("robustness", "Robustness", parts)]


def _trajectories(comparison: ComparisonData) -> list[Item]:
    count = len(comparison.starts)
    shown = f"{RUNS} of {count} runs" if count > RUNS else "all runs"
    parts: list[Item] = [
        _note(
            f"Thin: {shown}; band: from the lowest to the highest of all runs; thick: the median of those that have "
            "not ended; dashed: the reference; shaded: beyond a bound of a box constraint or an actuator; crosses: "
            "runs that left the domain."
        )
    ]
    for title, charts in traces(comparison):
        parts += [element("h3", title), _grid(charts)]
    return parts


def _count(comparison: ComparisonData) -> str:
    count = len(comparison.runs)
    return next(iter(comparison.runs)) if count == 1 else f"{count} controllers compared"


def _shown(section: Section) -> Element:
    heading = element("h2", section.title, attributes={"id": section.identifier})
    return element("section", heading, section.content, attributes={"aria-labelledby": section.identifier})


def _origin(command: Sequence[str]) -> list[Item]:
    beside = f" Beside this page: {', '.join(_BESIDE)}." if command else None
    when = f"Written {time.strftime('%Y-%m-%d %H:%M')} by Trivium."
    return [when, [" Command: ", element("code", shlex.join(command)), "."] if command else None, beside]


def _note(text: str) -> Element:
    return element("p", text, attributes={"class": "note"})


def _grid(charts: Sequence[Element], wide: bool = False) -> Element:
    return element("div", charts, attributes={"class": "charts wide" if wide else "charts"})


def _titled(title: str, figure: Element) -> Element:
    figure.insert(0, element("strong", title))
    return figure
