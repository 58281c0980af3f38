"""Kinks of expressions, and the same expressions without them."""

from systems.nonsmooth.epigraphs import Epigraph, Penalties, branches, epigraph, penalties, smoothed
from systems.nonsmooth.kinks import Kink, kinks

__all__ = ["Epigraph", "Kink", "Penalties", "branches", "epigraph", "kinks", "penalties", "smoothed"]
