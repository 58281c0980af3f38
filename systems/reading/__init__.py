"""The facts that follow from a task alone, each computed once."""

from systems.reading.derivatives import not_differentiable
from systems.reading.parts import Part
from systems.reading.reading import Reading

__all__ = ["Part", "Reading", "not_differentiable"]
