"""The examples of do-mpc's gallery as tasks, with the data published there (Fiedler et al., 2023)."""

from systems.library.gallery.bioreactor import FedBatchBioreactor, fed_batch_bioreactor
from systems.library.gallery.double_pendulum import DoublePendulum, double_pendulum_obstacle
from systems.library.gallery.kite import Kite, towing_kite
from systems.library.gallery.oscillating_masses import MassPair, mass_pair
from systems.library.gallery.polymerisation import PolymerisationReactor, polymerisation
from systems.library.gallery.quadcopter import Quadcopter, quadcopter_figure_eight
from systems.library.gallery.stirred_tank import stirred_tank_product

__all__ = [
    "DoublePendulum",
    "FedBatchBioreactor",
    "Kite",
    "MassPair",
    "PolymerisationReactor",
    "Quadcopter",
    "double_pendulum_obstacle",
    "fed_batch_bioreactor",
    "mass_pair",
    "polymerisation",
    "quadcopter_figure_eight",
    "stirred_tank_product",
    "towing_kite",
]
