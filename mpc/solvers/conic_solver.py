"""Interface of back-ends for the parametric cone program."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from ctrl.controller import Status

__all__ = ["ConicSolver"]


class ConicSolver(ABC):
    """Solves one :class:`mpc.harmonic.conic_program.ConicProgram` repeatedly for different parameters.

    Attributes:
        input: (m,), the first planned input of the last solve, clipped to its bounds; a view that the next solve
            overwrites, of no meaning unless the status was SOLVED.
        iterations, residual: of the last solve.
    """

    input: np.ndarray
    iterations: int
    residual: float

    @abstractmethod
    def solve(self, parameter: np.ndarray, elapsed: int) -> Status:
        """Solves; the status is SOLVED only if the residuals, which are checked here, are within tolerance.

        Args:
            parameter: (t,), finite.
            elapsed: samples since the point that was kept last, which is the warm start; 0 for
                a cold start.
        """

    @abstractmethod
    def keep(self) -> None:
        """Keeps the point of the last solve although its status was not SOLVED; a SOLVED one is kept automatically."""

    @abstractmethod
    def point(self) -> np.ndarray:
        """The last point z (d,) that was kept."""

    @abstractmethod
    def parameter(self) -> np.ndarray:
        """The parameter (t,) of the point that was kept last."""
