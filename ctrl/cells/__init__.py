"""Cells: units of work whose results depend on their description alone, and the engines that run them."""

from ctrl.cells.engine import Cell, Ended, Engine
from ctrl.cells.here import Here
from ctrl.cells.identity import Identified, identity
from ctrl.cells.processes import Processes

__all__ = ["Cell", "Ended", "Engine", "Here", "Identified", "Processes", "identity"]
