"""What the documentation site adds to the pages: figures that the library draws, and pages for files beside docs/."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "site"))

import figures  # noqa: E402

PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def on_files(files: Files, config: Any) -> Files:
    """Adds the figures, the examples and the pages beside README."""
    for name, content in drawn().items():
        files.append(File.generated(config, f"figures/{name}", content=content))
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, f"project/{name}", content=re.sub(r"\]\(docs/", "](../", text)))
    for path in sorted((ROOT / "examples").rglob("*.py")):
        place = path.relative_to(ROOT).with_suffix(".md").as_posix()
        files.append(File.generated(config, place, content=example(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leads links out of docs/ to the pages made here; fills in the gallery and the first page's comparison."""
    markdown = re.sub(r"\]\((?:\.\./)+examples/([\w/]+)\.py\)", rf"]({up(page)}examples/\1.md)", markdown)
    markdown = re.sub(r"\]\((?:\.\./)+([A-Z]+\.md)\)", rf"]({up(page)}project/\1)", markdown)
    if "<!-- comparison -->" in markdown:
        markdown = markdown.replace("<!-- comparison -->", comparison())
    for marker, is_published in (("<!-- gallery -->", False), ("<!-- do-mpc gallery -->", True)):
        if marker in markdown:
            markdown = markdown.replace(marker, figures.gallery(is_published))
    return markdown


def comparison() -> str:
    """The first page's comparison as Markdown."""
    alternative = "Every run of every controller, the phase plane, and cost against step time"
    return f"```{{.text .comparison}}\n{figures.comparison()[0]}\n```\n\n![{alternative}](figures/comparison.png)"


def up(page: Any) -> str:
    return "../" * page.file.src_uri.count("/")


@cache  # the pages are built again while they are written
def drawn() -> dict[str, bytes]:
    made = {"comparison.png": figures.comparison()[1]} | {f"{name}.png": png for name, png in figures.tasks().items()}
    return made | {f"{name}.gif": gif for name, gif in figures.films().items()}


def example(path: Path) -> str:
    """A script as a page: its docstring, then its source."""
    source = path.read_text(encoding="utf-8")
    title = path.stem.replace("_", " ").capitalize()
    return f"# {title}\n\n`{path.relative_to(ROOT).as_posix()}`\n\n```python\n{source}```\n"
