"""Controllers that optimise online, each made from a task alone."""

from mpc.linear import LinearMPC
from mpc.nonlinear import NonlinearMPC

__all__ = ["LinearMPC", "NonlinearMPC"]
