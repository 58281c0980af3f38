"""Drawings of plants: shapes that a plant returns for a state, scenes of runs, and films."""

from systems.drawing.film import film, write_film
from systems.drawing.scene import Frame, Scene, is_drawn, scenes
from systems.drawing.shapes import Drawing, Drawn, Shape, box, disc, segment

__all__ = [
    "Drawing",
    "Drawn",
    "Frame",
    "Scene",
    "Shape",
    "box",
    "disc",
    "film",
    "is_drawn",
    "scenes",
    "segment",
    "write_film",
]
