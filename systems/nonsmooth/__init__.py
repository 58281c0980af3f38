"""Kinks of expressions, and their removal."""

from systems.nonsmooth.epigraphs import Epigraph, Penalties, branches, epigraph, penalties, smoothed
from systems.nonsmooth.kinks import Kink, kinks

__all__ = ["Epigraph", "Kink", "Penalties", "branches", "epigraph", "kinks", "penalties", "smoothed"]
