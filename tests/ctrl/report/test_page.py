"""The page: whole, safe against what users write into names, and without anything from elsewhere."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import warnings
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, Comparison, compare
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.outlines import outline
from ctrl.cli import main
from ctrl.commands.compare import Compare, _save
from ctrl.comparison.data import ProvedShare
from ctrl.comparison.figure import shown_signals, signal_limits
from ctrl.report import page, summary, write_report
from ctrl.report.charts import Axis, Chart, linear, logarithmic
from ctrl.report.distributions import distributions
from ctrl.report.numbers import number
from ctrl.report.trajectories import traces
from systems import Box, Gaussian, Measurement, signals
from systems.library import cartpole
from tests.ctrl.report.comparisons import STEPS, comparison, runs, task

EVIL = "<script>alert('1')</script> & \"x\" \x00\x07"
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Reader(HTMLParser):
    """All tags with their attributes, all text, and whether every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text, self._open = "", list[str]()
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return compare(dataclasses.replace(cartpole(), steps=30), {"lqr": LQR, "again": LQR}, starts=20, workers=1)


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(compared: Comparison) -> None:
    text = page(compared)
    reader = Reader(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & {tag for tag, _ in reader.tags}
    for tag, attributes in reader.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href"):
                assert str(value).startswith("#"), (tag, value)
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", text)
    assert not re.search("@import|https?:", text)
    policy = next(a["content"] for t, a in reader.tags if t == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_links_and_clips_lead_somewhere_and_identifiers_are_unique(compared: Comparison) -> None:
    text = page(compared)
    identifiers = [a["id"] for _, a in Reader(text).tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r"url\(#([\w-]+)\)", text)) <= set(identifiers)
    assert {a["href"][1:] for t, a in Reader(text).tags if t == "a"} <= set(identifiers)


def test_tables_and_charts_can_be_read_aloud(compared: Comparison) -> None:
    tags = Reader(page(compared)).tags
    count = [tag for tag, _ in tags].count
    assert count("table") == count("caption") == 2
    assert all(a.get("scope") in ("row", "col") for t, a in tags if t == "th")
    drawings = [a for t, a in tags if t == "svg" and a.get("aria-hidden") != "true"]
    assert len(drawings) == count("title") - 1
    assert all(a["role"] == "img" for a in drawings)
    assert dict(tags)["html"] == {"lang": "en"}


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    evil = dataclasses.replace(task(), name=EVIL, constraints=(Box(EVIL, {"position": (-1.0, 1.0)}),))
    made = comparison(evil, {EVIL: runs(evil, [1.0, 2.0], {EVIL: [0.5, -1.0]}), "]]></style>": runs(evil, [2.0, 2.5])})
    made = dataclasses.replace(
        made,
        skipped={"<b>": "<img src=x onerror=alert(1)>"},
        failed={"\ud800": "</svg><script>"},
        approximations={EVIL: ("<i>all</i>",), "]]></style>": None},
    )
    file = write_report(made, tmp_path, ["trivium", "compare", "<u>"])
    reader = Reader(file.read_text(encoding="utf-8"))
    assert not {"script", "b", "img", "i", "u"} & {tag for tag, _ in reader.tags}
    assert "<script>alert('1')</script>" in reader.text
    assert not {"\x00", "\x07"} & set(reader.text)
    assert [tag for tag, _ in reader.tags].count("style") == 1


def test_light_dark_phone_and_print_are_in_the_style(compared: Comparison) -> None:
    text = page(compared)
    for rule in ("prefers-color-scheme: dark", "@media print", "max-width", "@page"):
        assert rule in text
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]  # type: ignore[index]
    assert style.count("{") == style.count("}")
    defined, used = set(re.findall(r"(--[\w-]+):", style)), set(re.findall(r"var\((--[\w-]+)", style))
    assert used - {"--c"} <= defined
    kinds = {kind for _, a in Reader(text).tags for kind in str(a.get("class", "")).split()}
    assert all(f".{kind}" in style for kind in kinds - {"wide"}), kinds


def test_lines_lie_where_the_numbers_say() -> None:
    """A known line in a known chart."""
    chart = Chart(Axis(0.0, 10.0, "x"), Axis(0.0, 1.0, "y"), 110.0, 152.0)
    chart.line(np.array([0.0, 5.0, 10.0]), np.array([0.0, 1.0, np.nan]), "run")
    path = next(e for e in chart.finished("t", "i").iter("path")).attrib["d"]
    assert path == "M50.0 114.0L75.0 14.0"  # the frame is 50 wide from x = 50 and 100 high from y = 14


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3e-7, 2e-7), (1e5, 1.1e5), (-1e9, 4e9)])
def test_ticks_are_inside_and_round(low: float, high: float) -> None:
    ticks = linear(low, high, "").ticks(5)
    axis = linear(low, high, "")
    assert 3 <= len(ticks) <= 8
    assert all(axis.low <= tick <= axis.high for tick in ticks)
    span = logarithmic(1e-3, 50.0, "")
    assert len(span.ticks(5)) >= 3
    assert all(span.low <= tick <= span.high * 1.0001 for tick in span.ticks(5))
    assert Axis(1.0, 100.0, "", is_log=True).place(10.0) == pytest.approx(0.5)


def test_odd_comparisons_have_a_page(tmp_path: Path) -> None:
    """One run; nothing timed; infinite costs; undefined margins; runs that left."""
    plain = task()
    name = plain.constraints[0].name
    one = comparison(plain, {"a": runs(plain, [1.0])})
    untimed = comparison(plain, {"a": runs(plain, [1.0, 2.0], seconds=np.nan)})
    infinite = comparison(
        plain, {"a": runs(plain, [np.inf, np.inf]), "b": runs(plain, [-1.0, 0.0], {name: [np.nan, np.inf]})}
    )
    gone = runs(plain, [3.0, 4.0])
    left = comparison(plain, {"a": dataclasses.replace(gone, left=np.array([0, 3]))})
    for each in (one, untimed, infinite, left):
        assert len(Reader(page(each)).text) > 1000
    assert "left the domain" in Reader(page(left)).text


def test_the_command_writes_it_beside_the_rest(tmp_path: Path) -> None:
    command = ["compare", "double-integrator", "--controllers", "lqr", "--starts", "4", "--proof-seconds", "0"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert {"report.html", "figure.png", "table.csv"} <= {path.name for path in tmp_path.iterdir()}
    assert "double-integrator" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_option_of_the_command_omits_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctrl.comparison.results.save", lambda *_: None)
    assert Compare("double-integrator").report
    _save(comparison(task(), {"a": runs(task(), [1.0, 2.0])}), False, {}, {}, tmp_path)
    assert not list(tmp_path.iterdir())
    _save(comparison(task(), {"a": runs(task(), [1.0, 2.0])}), True, {}, {}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_proved_region_of_two_states_is_outlined() -> None:
    """The outline of an ellipse lies on the ellipse, and the chart of the proved controller alone has it."""
    P = np.array([[2.0, 0.3], [0.3, 1.0]])
    region = SublevelSet(QuadraticLyapunov(P, np.zeros(2)), 0.5, np.full(2, -np.inf), np.array([0.4, np.inf]))
    (line,) = outline(region)
    value = np.einsum("ki,ij,kj->k", line, P, line)
    on_box = np.abs(line[:, 0] - 0.4) < 0.02
    assert on_box.any()
    np.testing.assert_allclose(value[~on_box], 0.5, atol=0.01)
    assert (value < 0.51).all()
    plain = task()
    both = {name: runs(plain, [1.0, 2.0]) for name in "ab"}
    text = page(comparison(plain, both, {"a": ProvedShare(0.25, [line]), "b": 0.0}))
    assert text.count('class="region c0"') == 1
    assert 'class="region c1"' not in text
    assert "at least 25.0" in text


def test_a_proved_share_is_a_number_that_keeps_its_outline() -> None:
    share = pickle.loads(pickle.dumps(ProvedShare(0.5, [np.ones((3, 2))])))
    assert share == 0.5
    assert json.dumps(share) == "0.5"
    assert share.outlines[0].shape == (3, 2)


def test_frames_hold_the_numbers_of_the_runs(compared: Comparison) -> None:
    pandas = pytest.importorskip("pandas")
    table, each = compared.frame(), compared.run_frame()
    assert isinstance(table, pandas.DataFrame)
    assert list(table.index) == ["lqr", "again"]
    assert table.loc["lqr", "cost"] == compared.metrics["lqr"].cost.value
    np.testing.assert_array_equal(each.loc["again", "cost"], compared.runs["again"].cost)
    assert (each["settling_s"] < np.inf).groupby("controller").sum()["lqr"] == compared.metrics["lqr"].settled.k


def test_a_notebook_shows_a_small_table(compared: Comparison) -> None:
    evil = dataclasses.replace(compared, metrics={"<b>": compared.metrics["lqr"]}, runs={"<b>": compared.runs["lqr"]})
    text = evil._repr_html_()
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert Reader(text).text.count("of 20 runs") == 2


def test_the_knowledge_of_controllers_is_shown(compared: Comparison) -> None:
    said = " ".join(summary(compared)[-1].sentences)
    assert "lqr: minimises the cost of the task to second order" in said
    assert "The reference is constant" in said
    silent = " ".join(summary(comparison(task(), {"x": runs(task(), [1.0, 2.0])}))[-1].sentences)
    assert "x: does not state what it minimises" in silent


def test_the_band_covers_all_runs_and_a_distribution_ends_at_one() -> None:
    plain = task()
    spread = runs(plain, [1.0, 2.0, 3.0, 4.0])
    spread.states[:, :, 0] = np.array([-2.0, 0.0, 1.0, 3.0])[:, None]
    made = comparison(plain, {"a": spread})
    chart = next(traces(made))[1][0]
    band = next(e for e in chart.iter("path") if e.attrib["class"].startswith("band")).attrib["d"]
    run = [e.attrib["d"] for e in chart.iter("path") if e.attrib["class"].startswith("run")]
    heights = {float(line.split()[1].split("L")[0]) for line in run}
    on_band = {float(y) for y in re.findall(r" ([\d.]+)", band)}
    assert on_band == {min(heights), max(heights)}
    costs = dict(distributions(made))["Cost of a run"]
    path = next(e for e in costs.iter("path") if e.attrib["class"].startswith("curve")).attrib["d"]
    y = [float(value) for value in re.findall(r"V([\d.]+)", path)]
    assert min(y) == pytest.approx(182 - 168 / 1.02, abs=0.06)  # all runs, at the height of 1
    assert len(set(y)) == 4


def test_nothing_is_drawn_once_every_run_has_left() -> None:
    plain = task()
    gone = runs(plain, [1.0, 2.0])
    gone.states[:, :, 0] = np.array([-2.0, 3.0])[:, None]
    made = comparison(plain, {"a": dataclasses.replace(gone, left=np.array([2, 3]))})
    chart = next(traces(made))[1][0]
    for kind in ("band", "run"):
        path = next(e for e in chart.iter("path") if e.attrib["class"].startswith(kind)).attrib["d"]
        x, y = np.array([[float(value) for value in point.split()] for point in re.findall(r"[ML]([-\d. ]+)", path)]).T
        assert x.max() <= 50 + 240 * 3 / STEPS + 0.1  # nothing after sample 3 of the 6
        assert y.min() > 14
        assert y.max() < 162


def test_a_signal_that_never_changes_is_drawn_between_its_limits() -> None:
    plain = task()
    pushed = runs(plain, [1.0, 2.0])
    pushed.inputs[:] = plain.input_bounds[1]
    signals = [("x", i) for i in range(2)] + [("u", 0)]
    assert shown_signals(plain) == signals
    low, high = signal_limits(plain, ("u", 0))
    chart = list(traces(comparison(plain, {"a": pushed})))[-1][1][0]
    ticks = {float(text.replace("\u2212", "-")) for e in chart.iter("text") if (text := e.text or "")[-1:].isdigit()}
    assert low in ticks
    assert high in ticks


@pytest.mark.parametrize("starts", [1, 3])
@pytest.mark.every(2)
def test_tasks_of_one_sample_have_figure_and_page(starts: int, tmp_path: Path) -> None:
    """The single input is a line as long as its sample, and nothing warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = compare(dataclasses.replace(task(), steps=1), {"lqr": LQR}, starts=starts, workers=1)
        made.save(tmp_path)
        chart = list(traces(made))[-1][1][0]
    path = next(e for e in chart.iter("path") if e.attrib["class"].startswith("middle")).attrib["d"]
    assert re.match(r"M50\.0 [\d.]+H290\.0", path)


def test_the_commands_that_add_to_a_page_are_the_users_own(tmp_path: Path) -> None:
    """Names of files in them, not the short names of tables; and without a command there are none."""
    made = comparison(task(), {"Relay": runs(task(), [1.0, 2.0])}, {"Relay": 0.25})
    command = ["trivium", "compare", "my mass.py:mine", "--controllers", "relay.py:Relay", "--starts", "2", "--out=x"]
    sources = {made.task.name: "my mass.py:mine", "Relay": "relay.py:Relay"}
    text = Reader(write_report(made, tmp_path, command, sources=sources).read_text()).text
    again = "trivium compare 'my mass.py:mine' --controllers relay.py:Relay"
    assert f"{again} --starts 8" in text
    assert f"{again} --starts 2 --true max_acceleration=1.2" in text
    assert "trivium verify 'my mass.py:mine' --controller relay.py:Relay" in text
    changed = dataclasses.replace(task(), truth=dataclasses.replace(task().plant, max_acceleration=1.1))
    proved = comparison(changed, {"Relay": runs(changed, [1.0, 2.0])}, {"Relay": 0.25})
    again = [*command, "--true", "max_acceleration=1.1"]
    text = Reader(write_report(proved, tmp_path, again, sources=sources).read_text()).text
    assert "trivium verify" not in text, "it proves nothing of another true plant"
    plain = Reader(page(made)).text
    assert "Not on this page" not in plain
    assert "Beside this page" not in plain


def test_estimators_errors_and_knowledge_are_shown_for_a_measured_task() -> None:
    sensors = Measurement(signals("position [m]"), noise=Gaussian({"position": 0.02}))
    seen = dataclasses.replace(task(), measurement=sensors, constraints=())
    made = compare(seen, {"lqr": LQR}, starts=3, workers=1)
    errors = made.runs["lqr"].estimates - made.runs["lqr"].states[:, :-1]
    text = Reader(page(made)).text
    assert "The controllers receive position [m]" in text
    assert "lqr uses the state estimated by KalmanFilter" in text
    assert f"position {number(float(np.sqrt((errors[..., 0] ** 2).mean())))} m and speed" in text
    assert "The starts, the disturbances and the noise of 3 runs" in text
    assert "lqr: minimises the cost of the task to second order" in text


@pytest.mark.parametrize(("low", "high"), [(1.4, 75.0), (250.0, 1300.0), (3e-3, 40.0), (2.2, 9.0), (1e-9, 1e12)])
def test_ticks_of_logarithmic_axes_reach_over_it_and_do_not_overlap(low: float, high: float) -> None:
    axis = Axis(low, high, "", is_log=True)
    place = axis.place(np.array(axis.ticks(5)))
    assert 2 <= len(place) <= 5
    assert place.min() < 0.4
    assert place.max() > 0.6
    drawing = Chart(axis, Axis(0.0, 1.0, "")).finished("t", "i")
    numbers = [e for e in drawing.iter("text") if e.get("text-anchor") == "middle" and "transform" not in e.attrib]
    widths = [6.0 * len("".join(e.itertext())) for e in numbers if e.text]
    x = [float(e.get("x", "nan")) for e in numbers if e.text]
    ends = [(a - 0.5 * w, a + 0.5 * w) for a, w in zip(x, widths, strict=True)]
    assert all(one[1] < other[0] for one, other in pairwise(ends))


def test_labels_of_points_beside_each_other_do_not_overlap() -> None:
    chart = Chart(Axis(0.0, 1.0, ""), Axis(0.0, 1.0, ""), 420.0, 260.0)
    for i in range(6):
        chart.label(0.3 + 0.01 * i, 0.5, f"controller-{i}", i)
    heights = sorted(
        float(e.get("y", "nan")) for e in chart.finished("t", "i").iter("text") if "name" in e.get("class", "")
    )
    assert len(heights) == 6
    assert min(np.diff(heights)) >= 11
    assert heights[0] > 14
    assert heights[-1] < 222
