"""Driving among others on a motorway: road, drivers, traffic, the plant that joins them, and its task."""

from systems.library.driving.ego_drivers import lane_changing, lane_keeping
from systems.library.driving.highway import Highway
from systems.library.driving.task import driving

__all__ = ["Highway", "driving", "lane_changing", "lane_keeping"]
