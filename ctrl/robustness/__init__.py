"""Robustness: cost and violations of controllers in loops that differ from the task for which they were designed."""

from ctrl.robustness.axes import RobustnessAxis, delay_axis, disturbance_axis, noise_axis, parameter_axis, standard_axes
from ctrl.robustness.curve import Curve
from ctrl.robustness.result import Robustness
from ctrl.robustness.run import robustness

__all__ = [
    "Curve",
    "Robustness",
    "RobustnessAxis",
    "delay_axis",
    "disturbance_axis",
    "noise_axis",
    "parameter_axis",
    "robustness",
    "standard_axes",
]
