"""Driving among others: its baseline controllers, and what a batch of runs amounts to."""

from ctrl.driving.ego_drivers import LaneChanging, LaneKeeping
from ctrl.driving.record import DrivingRecord, driving_record

__all__ = ["DrivingRecord", "LaneChanging", "LaneKeeping", "driving_record"]
