"""Cross-references of docstrings, such as ``:class:`LQR```, as the code that they name."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Roles(griffe.Extension):
    """Rewrites the roles of every docstring that is collected."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r":(?:\w+):`~?([^`]+)`", r"`\1`", obj.docstring.value)
