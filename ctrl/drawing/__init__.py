"""Runs as pictures of what they are runs of."""

from ctrl.drawing.driving import film, picture

__all__ = ["film", "picture"]
