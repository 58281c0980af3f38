"""The facts that follow from a task alone, each worked out once for all who read it."""

from systems.reading.dynamics import not_differentiable
from systems.reading.parts import Part
from systems.reading.reading import Reading

__all__ = ["Part", "Reading", "not_differentiable"]
