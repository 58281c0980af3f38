"""Plants, constraints, costs, references, distributions, and the task that combines them.

Independent of solvers, networks and controllers.
"""

from systems.constraints import Box, Budget, Chance, Constraint, Ellipsoid, Hard, Inequality, Polytope, Soft
from systems.costs import Cost, Nonlinear, Quadratic
from systems.differential_algebraic import DifferentialAlgebraicPlant
from systems.discretise import Discretisation, exact
from systems.distributions import Distribution, Fixed, Gaussian, Uniform
from systems.equilibria import Equilibrium, equilibrium, linearise
from systems.error_coordinates import in_error_coordinates
from systems.errors import DimensionMismatch, InvalidValue, NotReady, TriviumError, UnknownName
from systems.estimated_parameters import estimate_parameters
from systems.forecast import Forecast
from systems.free_end_time import sample_times, with_free_end_time
from systems.implicit import Gauss, Radau
from systems.known_ahead import know_ahead
from systems.linear import LinearPlant, linear_plant
from systems.lowering import lower
from systems.measurement import Measurement
from systems.parameters import nonnegative, parameter, positive
from systems.plant import Plant
from systems.references import Reference, SetPoint, Sinusoid, Trajectory
from systems.signals import Signal, Signals, Vector, angle, integer, quaternion, signals
from systems.task import MeasuredWindow, Observation, Task

__all__ = [
    "Box",
    "Budget",
    "Chance",
    "Constraint",
    "Cost",
    "DifferentialAlgebraicPlant",
    "DimensionMismatch",
    "Discretisation",
    "Distribution",
    "Ellipsoid",
    "Equilibrium",
    "Fixed",
    "Forecast",
    "Gauss",
    "Gaussian",
    "Hard",
    "Inequality",
    "InvalidValue",
    "LinearPlant",
    "MeasuredWindow",
    "Measurement",
    "Nonlinear",
    "NotReady",
    "Observation",
    "Plant",
    "Polytope",
    "Quadratic",
    "Radau",
    "Reference",
    "SetPoint",
    "Signal",
    "Signals",
    "Sinusoid",
    "Soft",
    "Task",
    "Trajectory",
    "TriviumError",
    "Uniform",
    "UnknownName",
    "Vector",
    "angle",
    "equilibrium",
    "estimate_parameters",
    "exact",
    "in_error_coordinates",
    "integer",
    "know_ahead",
    "linear_plant",
    "linearise",
    "lower",
    "nonnegative",
    "parameter",
    "positive",
    "quaternion",
    "sample_times",
    "signals",
    "with_free_end_time",
]
