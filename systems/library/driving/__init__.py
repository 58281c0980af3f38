"""Driving among others on a motorway: plant, task, observation, feedback laws, the record of runs and their drawing."""

from systems.library.driving.ego_drivers import lane_changing, lane_keeping
from systems.library.driving.highway import Highway
from systems.library.driving.picture import film, picture
from systems.library.driving.record import DrivingRecord, driving_record
from systems.library.driving.task import driving

__all__ = [
    "DrivingRecord",
    "Highway",
    "driving",
    "driving_record",
    "film",
    "lane_changing",
    "lane_keeping",
    "picture",
]
