"""The parts of a task, which a controller may handle exactly, approximate or refuse."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Part"]


class Part(StrEnum):
    """A part of a task that not every controller handles exactly; controllers declare how they handle each part."""

    NONLINEAR_PLANT = "nonlinear plant"
    KINKED_PLANT = "kinks in the plant"
    SINGULAR_PLANT = "plant without a derivative at the reference"
    MOVING_REFERENCE = "moving reference"
    VARYING_LINEARISATION = "linearisation that varies along the reference"
    COST_ELSEWHERE = "reference that is not an optimal steady state"
    REFERENCE_OUTSIDE = "reference outside the constraints"
    NON_QUADRATIC_COST = "cost that is not quadratic"
    KINKED_COST = "kinks in the cost"
    TERMINAL_COST = "terminal cost"
    HARD = "hard constraint"
    CHANGE_LIMIT = "limit on the change of inputs"
    SOFT = "soft constraint"
    CHANCE = "chance constraint"
    BUDGET = "budget of violated samples"
    EXCESS_BUDGET = "budget of accumulated excess"
    NONLINEAR_CONSTRAINT = "constraint that is not affine"
    KINKED_CONSTRAINT = "kinks in a constraint"
    DISTURBANCE = "disturbance"
    BIASED_DISTURBANCE = "disturbance whose mean is not zero"
    INTEGER = "integer input"
    PERIODIC = "periodic signal"
    DOMAIN = "domain"
    MEASUREMENT = "measurement"
    FORECAST = "signals known ahead"
