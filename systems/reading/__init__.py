"""The facts that follow from a task alone, each computed once."""

from systems.reading.derivatives import not_differentiable
from systems.reading.parts import Part
from systems.reading.reading import Reading
from systems.reading.reference import STILL
from systems.reading.steady import SteadyState

__all__ = ["STILL", "Part", "Reading", "SteadyState", "not_differentiable"]
