"""Long tests with many parameters: some run by default, the others among the slow tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(values: Iterable[Any], every: int) -> list[Any]:
    """All values as parameters of a test, of which the first and every n-th run by default."""
    slow = pytest.mark.slow
    values = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*value, marks=() if i % every == 0 else slow) for i, value in enumerate(values)]
