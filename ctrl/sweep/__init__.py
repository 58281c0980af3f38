"""Sweeps: tasks, true plants, controllers, tunings and seeds in one table, each combination a cell."""

from ctrl.sweep.cell import SweepCell
from ctrl.sweep.grid import grid
from ctrl.sweep.perturbation import Perturbation
from ctrl.sweep.results import Sweep
from ctrl.sweep.run import sweep

__all__ = ["Perturbation", "Sweep", "SweepCell", "grid", "sweep"]
