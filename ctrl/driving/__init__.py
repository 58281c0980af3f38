"""Driving among others: its baseline controller, and what a batch of runs amounts to."""

from ctrl.driving.lane_keeping import LaneKeeping
from ctrl.driving.record import DrivingRecord, driving_record

__all__ = ["DrivingRecord", "LaneKeeping", "driving_record"]
