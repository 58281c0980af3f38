"""Driving among others on a motorway: road, drivers, traffic, the plant that joins them, and its task."""

from systems.library.driving.highway import Highway
from systems.library.driving.lane_keeping import lane_keeping
from systems.library.driving.task import driving

__all__ = ["Highway", "driving", "lane_keeping"]
