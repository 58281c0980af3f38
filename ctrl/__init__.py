"""What a controller is, and how it fares: protocol, LQR, closed loop, comparison."""

from ctrl.check import check_controller, check_plant, check_task
from ctrl.compare import Comparison, compare
from ctrl.controller import BatchController, Controller, Decision, NotApplicable, Source, Status
from ctrl.lqr import LQR, Gain, lqr
from ctrl.simulate import Trajectories, simulate

__all__ = [
    "LQR",
    "BatchController",
    "Comparison",
    "Controller",
    "Decision",
    "Gain",
    "NotApplicable",
    "Source",
    "Status",
    "Trajectories",
    "check_controller",
    "check_plant",
    "check_task",
    "compare",
    "lqr",
    "simulate",
]
