"""Residuals that are learned while a controller runs."""

from systems.identification.online.features import FourierFeatures
from systems.identification.online.incremental_process import IncrementalProcess
from systems.identification.online.process_residual import ProcessResidual
from systems.identification.online.projected_gradient import ProjectedGradient
from systems.identification.online.recursive_least_squares import RecursiveLeastSquares
from systems.identification.online.residual_plant import ResidualPlant
from systems.identification.online.rule import Learned, OnlineRule

__all__ = [
    "FourierFeatures",
    "IncrementalProcess",
    "Learned",
    "OnlineRule",
    "ProcessResidual",
    "ProjectedGradient",
    "RecursiveLeastSquares",
    "ResidualPlant",
]
