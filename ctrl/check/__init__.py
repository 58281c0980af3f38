"""Checks of users' plants, tasks and controllers, with advice on how to fix failures."""

from ctrl.check.controllers import check_controller
from ctrl.check.plants import check_plant
from ctrl.check.readings import check_readings
from ctrl.check.report import Check, CheckFailed, Report
from ctrl.check.tasks import check_task

__all__ = ["Check", "CheckFailed", "Report", "check_controller", "check_plant", "check_readings", "check_task"]
