"""Approximations that several kinds of controller announce in the same words."""

from __future__ import annotations

from ctrl.answers import Announced, Refused

__all__ = [
    "DOMAIN",
    "HELD_AS_HARD",
    "INTEGER",
    "KINKED_CONSTRAINT",
    "LINEARISED",
    "SLOPES_OF_KINKS",
    "SMOOTHED_ROOTS",
    "UNDISTURBED",
]

HELD_AS_HARD = Announced("enforces {names} at every predicted sample and permits no violation")
UNDISTURBED = Announced("ignores the mean of the disturbance ({names})")
INTEGER = Refused("the input {names} must be an integer, which this controller does not give; use LinearMPC")
DOMAIN = Announced("ignores the domain")
KINKED_CONSTRAINT = Announced("solves with kinks in the constraint {names}, where the solver may stop early")
LINEARISED = Announced("linearises {names}")
SLOPES_OF_KINKS = Announced("replaces {names} in the plant by the slopes at the linearisation point")
SMOOTHED_ROOTS = "replaces roots sqrt(q) by sqrt(q + 1e-12), which are differentiable at 0"
