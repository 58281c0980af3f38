"""A controller on a real plant: the loop at a fixed rate, its fallbacks, its log, and checks of the machine."""

from ctrl.realtime.clock import Clock, RealClock, SimulatedClock
from ctrl.realtime.connection import Measurement, PlantConnection
from ctrl.realtime.estimate import Freshness
from ctrl.realtime.log import Applied
from ctrl.realtime.loop import Loop
from ctrl.realtime.resample import resampled
from ctrl.realtime.run import LoopRun
from ctrl.realtime.runner import ControllerFailed
from ctrl.realtime.settings import LoopSettings, Overrun
from ctrl.realtime.simulated import SimulatedPlant
from ctrl.realtime.summary import LoopSummary, Quantiles
from ctrl.realtime.udp import UDPPeer, UDPPlant

__all__ = [
    "Applied",
    "Clock",
    "ControllerFailed",
    "Freshness",
    "Loop",
    "LoopRun",
    "LoopSettings",
    "LoopSummary",
    "Measurement",
    "Overrun",
    "PlantConnection",
    "Quantiles",
    "RealClock",
    "SimulatedClock",
    "SimulatedPlant",
    "UDPPeer",
    "UDPPlant",
    "resampled",
]
