"""What README and docs/ show runs: the Python blocks of a page as one program, commands as far as parsing."""

from __future__ import annotations

import importlib.util
import re
import runpy
import shlex
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import ctrl.cli
from tests.pages import PAGES, ROOT, Block, blocks, commands

# README's blocks are run by test_readme.py, with fewer starts, and those of the real-time page on a simulated clock by
# tests/ctrl/realtime/test_results.py.
RUN_ELSEWHERE = ("README.md", "realtime.md")
PROGRAMS = {"chrt", "cmake", "cd", "ctest", "mkdocs", "pip", "python", "trivium"}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def program(page: Path, *, slow: bool) -> list[Block]:
    """The blocks that run here: slow ones only if asked for, others where their packages are installed."""
    found = [block for block in blocks(page, "python") if slow or not block.is_slow]
    return [block for block in found if all(importlib.util.find_spec(package) for package in block.needs)]


def run(page: Path, folder: Path, *, slow: bool) -> None:
    code = "\n".join(block.code for block in program(page, slow=slow))
    (folder / "page.py").write_text(code, encoding="utf-8")
    runpy.run_path(str(folder / "page.py"), run_name="__main__")


SHOWN = [page for page in PAGES if blocks(page, "python") and page.name not in RUN_ELSEWHERE]


@pytest.mark.parametrize("page", [page for page in SHOWN if program(page, slow=False)], ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    run(page, tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in SHOWN if any(b.is_slow for b in blocks(p, "python"))], ids=name)
def test_slow_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    run(page, tmp_path, slow=True)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_block_escapes(page: Path) -> None:
    """Every fence is read, has a language, and, if it is Python, compiles, also where it cannot run."""
    text = page.read_text(encoding="utf-8")
    fences = len(re.findall(r"^ *```", text, flags=re.MULTILINE))
    found = blocks(page, "python", "bash", "c", "text", "toml", "cmake", "json", "")
    assert 2 * len(found) == fences, "a fence in another language, or one that is not closed"
    assert len(re.findall(r"^<!-- (slow|needs)\b", text, flags=re.MULTILINE)) == sum(
        block.is_slow or bool(block.needs) for block in found
    ), "a mark that is not in the line before a block"
    for block in found:
        if block.language == "python":
            compile(block.code, name(page), "exec")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command line made of its arguments, instead of running it."""
    made: list[Any] = []
    for kind in ("Check", "Compare", "Doctor", "Export", "List", "Loop", "SweepCommand", "Train", "Verify"):
        monkeypatch.setattr(getattr(ctrl.cli, kind), "run", lambda self: made.append(self) or 0)
    return made


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_commands_can_be_parsed(page: Path, parsed: list[Any]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for line in commands(page):
        program, *arguments = shlex.split(line)
        program = Path(program).name.replace("python3", "python")
        if "trivium" in arguments:  # chrt -f 50 trivium ...
            program, arguments = "trivium", arguments[arguments.index("trivium") + 1 :]
        assert program in PROGRAMS, f"{line}: a program that this test does not know"
        if program == "trivium":
            assert ctrl.cli.main(arguments) == 0, line
            assert_names_exist(parsed.pop(), line)
        elif program == "python" and arguments[:1] == ["-m"]:
            module = arguments[1]
            assert module in ("venv", "pytest") or importlib.util.find_spec(module), line
        elif program == "python":
            assert (ROOT / arguments[0]).exists() or arguments[0] in page.read_text(encoding="utf-8"), line
        elif program == "pip":
            for extra in re.findall(r"\[([\w,]+)\]", line):
                assert set(extra.split(",")) <= set(extras), line


def assert_names_exist(command: Any, line: str) -> None:
    """Names of tasks, controllers and learners that are not files or modules of the reader."""
    groups = {
        "task": "tasks", "tasks": "tasks", "controller": "controllers", "controllers": "controllers",
        "learner": "learners", "fallbacks": "controllers",
    }  # fmt: skip
    for field, group in groups.items():
        given = getattr(command, field, None) or ()
        known = {point.name for point in metadata.entry_points(group=f"trivium.{group}")}
        for text in (given,) if isinstance(given, str) else given:
            assert text in known | {"relay"} or ":" in text or "/" in text, f"{line}: {field} {text}"
