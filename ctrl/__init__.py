"""Controllers and their evaluation: protocol, LQR, closed loop, comparison."""

import ctrl.shadows  # noqa: F401  # isort: skip  # first: names the file that shadows our package systems, if one does

from ctrl.check import check_controller, check_plant, check_task
from ctrl.comparison import Comparison, compare
from ctrl.controller import BatchController, Controller, Decision, Informed, NotApplicable, Preparing, Source, Status
from ctrl.estimation import (
    ExtendedKalmanFilter,
    KalmanFilter,
    LuenbergerObserver,
    OffsetFree,
    OutputFeedback,
    SteadyKalmanFilter,
    UnscentedKalmanFilter,
)
from ctrl.loop import simulate, totals
from ctrl.regulator import LQR, Gain, lqr
from ctrl.trajectories import Totals, Trajectories

__all__ = [
    "LQR",
    "BatchController",
    "Comparison",
    "Controller",
    "Decision",
    "ExtendedKalmanFilter",
    "Gain",
    "Informed",
    "KalmanFilter",
    "LuenbergerObserver",
    "NotApplicable",
    "OffsetFree",
    "OutputFeedback",
    "Preparing",
    "Source",
    "Status",
    "SteadyKalmanFilter",
    "Totals",
    "Trajectories",
    "UnscentedKalmanFilter",
    "check_controller",
    "check_plant",
    "check_task",
    "compare",
    "lqr",
    "simulate",
    "totals",
]
