"""Docstrings without imports, against those that imports give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from ctrl.cli import main
from ctrl.comparison import workers
from ctrl.discovery import Group, entry_points, load
from ctrl.docstrings import summary, summary_of

ROOT = Path(__file__).parents[2]
POINTS = [(group, name) for group in get_args(Group) for name in entry_points(group)]


@pytest.mark.parametrize(("group", "name"), POINTS, ids=[f"{group}:{name}" for group, name in POINTS])
def test_every_entry_point_of_ours_is_described_without_importing_it(group: Group, name: str) -> None:
    point = entry_points(group)[name]
    line = summary(point.module, point.attr)
    assert line
    thing = load(group, name)
    if type(thing).__name__ == "Combination":
        assert line.startswith(f"Combination('{name}', ")
    else:
        assert line == summary_of(thing.__doc__)


def test_what_only_an_import_can_tell_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "even_module.py").write_text('def it():\n    """Something.\n\n    More."""\n')
    (tmp_path / "cut_module.py").write_text("def it(")
    assert summary("even_module", "it") == "Something."
    for module, attribute in (
        ("cut_module", "it"), ("even_module", "that"), ("even_module", "it.that"),
        ("even_module.below", "it"), ("no_such_module", "it"),
    ):  # fmt: skip
        assert summary(module, attribute) is None


@pytest.mark.parametrize("width", [80, 60])
def test_the_list_is_wrapped_and_nothing_of_it_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some = {group: entry_points(group) for group in ("trivium.controllers", "trivium.comparisons")}
    monkeypatch.setattr("ctrl.discovery.entry_points", lambda group: some.get(group, {}))
    monkeypatch.setenv("COLUMNS", "10000")
    assert main(["list"]) == 0
    whole = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["list"]) == 0
    wrapped = capsys.readouterr().out
    assert max(map(len, wrapped.splitlines())) <= width
    assert "".join(wrapped.split()) == "".join(whole.split())
    dsact = next(line for line in whole.splitlines() if line.startswith("  dsact "))
    assert dsact.endswith("if LQR brings the runs to the reference. (safe_rl.cached_policies:dsact)")


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        (None, ""),
        ("One.", "One."),
        ("A line that goes\n    on. And more.\n\nArgs:", "A line that goes on."),
        ("By 0.5 m, cf. eq. 3, e.g. so:\n\n  x", "By 0.5 m, cf. eq. 3, e.g. so"),
    ],
)
def test_a_summary_is_the_first_sentence_of_any_number_of_lines(docstring: str | None, sentence: str) -> None:
    assert summary_of(docstring) == sentence


def test_the_list_imports_no_controllers() -> None:
    code = (
        "import sys\nfrom ctrl.cli import main\nstatus = main(['list'])\n"
        "print(status, [name for name in ('torch', 'mpc', 'safe_rl', 'casadi.tools') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_cores_on_which_something_runs_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = iter([{0: 5.0, 1: 7.0, 2: 9.0, 3: 1.0}, {0: 5.2, 1: 7.01, 2: 9.19, 3: 1.2}])
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(workers, "_idle_seconds", lambda: next(idle))
    assert workers.cores() == 2
    monkeypatch.setattr(workers, "_idle_seconds", dict)
    assert workers.cores() == 3
    monkeypatch.setattr(workers, "_idle_seconds", lambda: {0: 1.0, 1: 1.0, 2: 1.0})
    assert workers.cores() == 1
