"""Runs as pictures of what they are runs of."""

from ctrl.drawing.driving import film, picture
from ctrl.drawing.rocket import landings

__all__ = ["film", "landings", "picture"]
