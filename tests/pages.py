"""The pages of README and docs/, and the code that they show."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCS", "PAGES", "ROOT", "Block", "blocks", "commands"]

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

MARK = r"(?:^<!-- (?P<slow>slow)?(?:, )?(?:needs (?P<needs>[\w, ]+))? -->\n)?"
FENCE = re.compile(
    MARK + r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", flags=re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        language: after the fence.
        code: without the fences and their indentation.
        is_slow: marked by ``<!-- slow -->`` in the line before, or by ``<!-- slow, needs NAME -->``.
        needs: packages that it is marked to need, by ``<!-- needs NAME, NAME -->``.
    """

    language: str
    code: str
    is_slow: bool
    needs: tuple[str, ...]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, in order."""
    found = []
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        if match["language"] in languages:
            needs = tuple(re.split(r", *", match["needs"])) if match["needs"] else ()
            found.append(Block(match["language"], textwrap.dedent(match["code"]), bool(match["slow"]), needs))
    return found


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks, continued ones joined, chained ones apart."""
    lines = "\n".join(block.code for block in blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [part.strip() for line in lines for part in line.split(" #")[0].split("&&") if part.strip()]
