"""Elements of HTML and SVG as trees, so that every text and attribute is escaped when they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element, tostring

__all__ = ["Element", "Item", "document", "element"]

Item = Element | str | None | Iterable["Item"]
"""Content of an element: text, elements, a sequence of them, or none."""

_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def element(tag: str, *content: Item, attributes: Mapping[str, object] | None = None) -> Element:
    """One element.

    Args:
        tag: such as ``p``.
        content: in order; texts are escaped when the page is written.
        attributes: by name; numbers are written with as few digits as possible; default: none.
    """
    made = Element(tag, {name: _text(value) for name, value in (attributes or {}).items()})
    _fill(made, content)
    return made


def document(root: Element) -> str:
    """The page as text.

    Args:
        root: the element ``html``.
    """
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def _fill(parent: Element, content: Iterable[Item]) -> None:
    for item in content:
        if item is None:
            continue
        if isinstance(item, Element):
            parent.append(item)
        elif isinstance(item, str):
            text = _text(item)
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + text
            else:
                parent.text = (parent.text or "") + text
        else:
            _fill(parent, item)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))
