"""Retired words stay out: names, docstrings, messages, comments and pages use the words of docs/glossary.md."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = ("systems", "ctrl", "mpc", "safe_rl", "pages")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
GLOSSARY = ROOT / "docs" / "glossary.md"

CODE = re.compile(r"^```\w.*?^```|(?<!`)(``?)(?!`)[^`]+\1(?!`)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\([^)]*\)")
ENGLISH = re.compile(
    r"there (is|are|was|were) no|(is|are|was) no (longer|more|less|better|worse|\w+er than)|equations? of motion"
)


def table(heading: str) -> list[list[str]]:
    """Rows of the table under a heading of the glossary, without its head."""
    section = GLOSSARY.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


@cache
def retired() -> dict[str, list[str]]:
    """Retired words by where they are refused: ``names``, ``definitions``, ``prose``."""
    words: dict[str, list[str]] = {"names": [], "definitions": [], "prose": []}
    for cell, where, instead in table("Retired words"):
        assert instead, cell
        for kind in ("names", "prose") if where == "everywhere" else (where,):
            words[kind] += re.findall(r"`([^`]+)`", cell)
    return words


@cache
def exceptions() -> set[tuple[str, str]]:
    return {
        (word, place)
        for words, places, reason in table("Exceptions")
        if reason
        for word in re.findall(r"`([^`]+)`", words)
        for place in re.findall(r"`([^`]+)`", places)
    }


def is_excepted(path: Path, word: str) -> bool:
    name = path.relative_to(ROOT)
    return any((word, str(place)) in exceptions() for place in (name, *name.parents))


def in_name(name: str, *, is_definition: bool = True) -> set[str]:
    """Retired words in an identifier: ``_wantedState`` and ``wanted_state`` hold ``wanted``."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    words = {part.lower() for part in parts} & set(retired()["names"])
    return words | ({name.lstrip("_")} & set(retired()["definitions"]) if is_definition else set())


def in_text(text: str) -> set[str]:
    """Retired words in prose; text in backticks and code in fences are read as names."""
    text, words = LINK.sub(" ", text), set[str]()
    for code in CODE.finditer(text):
        for name in re.findall(r"[A-Za-z_]\w*", code[0]):
            words |= in_name(name, is_definition=False)
    prose = ENGLISH.sub(" ", " ".join(CODE.sub(" ", text).split()).lower())
    return words | {word for word in retired()["prose"] if re.search(rf"\b{re.escape(word)}\b", prose)}


def names(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Identifiers that a module makes, and whether they are definitions rather than variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, True
        elif isinstance(node, ast.arg):
            yield node.arg, True
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, True
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, False
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, False
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    yield item.target.id, True


def in_module(path: Path) -> set[str]:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    words = in_name(path.stem) | in_name(path.parent.name)
    for name, is_definition in names(tree):
        words |= in_name(name, is_definition=is_definition)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words |= in_text(node.value)
    comments = (t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT)
    for comment in comments:
        words |= in_text(comment)
    return {word for word in words if not is_excepted(path, word)}


def in_page(path: Path) -> set[str]:
    """Retired words of a page; a change log may quote the old names of things, and the glossary the words of others."""
    text = path.read_text(encoding="utf-8")
    if path == GLOSSARY:
        text = text.split("## Retired words")[0]
        text = re.sub(r"\|[^|\n]*\|\n", "|\n", text)
    if path.name == "CHANGELOG.md":
        text = CODE.sub(" ", text)
    return {word for word in in_text(text) if not is_excepted(path, word)}


def uses(place: str) -> set[tuple[str, str]]:
    """Pairs of path and retired word in a package, or in all pages."""
    paths = PAGES if place == "pages" else sorted((ROOT / place).rglob("*.py"))
    read = in_page if place == "pages" else in_module
    return {(path.relative_to(ROOT).as_posix(), word) for path in paths for word in read(path)}


@pytest.mark.parametrize("place", PLACES)
def test_no_retired_word_is_used(place: str) -> None:
    left = sorted(uses(place))
    assert not left, "see the retired words of docs/glossary.md for what to say instead"


def test_words_are_recognised_in_names_and_prose() -> None:
    assert in_name("Wanted") == in_name("_wanted_state") == in_name("theWantedOne") == {"wanted"}
    assert in_name("unwanted") == in_name("foundation") == set()
    assert in_name("_nothing") == {"nothing"}
    assert in_name("_nothing", is_definition=False) == in_name("nothing_left") == set()
    assert in_text("the price\nof it") == {"price of", "the price"}
    assert in_text("``found`` is not a name, what was found is") == {"found"}
    assert in_text("That is no name.") == {"is no"}
    assert in_text("There is no name; it is no longer here; the equations of motion.") == set()


def test_the_glossary_has_one_meaning_for_each_word() -> None:
    words = [word.strip() for row in table("Words") for word in row[0].split(",")]
    assert len(words) == len(set(words))
    assert all(row[1] and len(row) == 3 for row in table("Words"))


def test_words_in_use_are_not_retired() -> None:
    for row in table("Words"):
        assert not in_text(row[0]), row[0]
