"""Control laws: controllers in closed form, with outward-rounded enclosures of value and slope."""

from ctrl.laws.expression import Expression
from ctrl.laws.lattice import Lattice, MaxMin
from ctrl.laws.lattice_network import relu_network
from ctrl.laws.law import Law
from ctrl.laws.network import Network
from ctrl.laws.residual import Residual
from ctrl.laws.saturated_linear import SaturatedLinear

__all__ = ["Expression", "Lattice", "Law", "MaxMin", "Network", "Residual", "SaturatedLinear", "relu_network"]
