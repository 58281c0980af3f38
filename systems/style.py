"""The style of all figures."""

from __future__ import annotations

from pathlib import Path

__all__ = ["STYLE"]

STYLE = Path(__file__).with_name("trivium.mplstyle")
"""A style sheet for matplotlib: ``matplotlib.style.context(STYLE)``."""
